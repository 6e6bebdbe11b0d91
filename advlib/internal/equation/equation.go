// Package equation has the operations of GoMLX's graphs under the names that equations use:
//
//	import . "advlab/advlib/internal/equation"
//
//	x = Add(x, MulScalar(Sign(g), α))
//
// It stands in for a dot import of GoMLX's graph package in the package attack, which has an attack named Square, as
// GoMLX has an operation. An operation that is missing here is added as a line.
package equation

import (
	"github.com/gomlx/compute/dtypes/gotype"
	"github.com/gomlx/gomlx/core/graph"
)

// Node is a value of a graph under construction.
type Node = graph.Node

// The operations, each as GoMLX documents it.
var (
	Abs              = graph.Abs
	Add              = graph.Add
	ArgMin           = graph.ArgMin
	AxisElem         = graph.AxisElem
	AxisRange        = graph.AxisRange
	BroadcastToDims  = graph.BroadcastToDims
	BroadcastToShape = graph.BroadcastToShape
	Ceil             = graph.Ceil
	ClipScalar       = graph.ClipScalar
	Concatenate      = graph.Concatenate
	Const            = graph.Const
	ConstTensor      = graph.ConstTensor
	ConvertDType     = graph.ConvertDType
	CumSum           = graph.CumSum
	Div              = graph.Div
	Dot              = graph.Dot
	Einsum           = graph.Einsum
	Equal            = graph.Equal
	Floor            = graph.Floor
	Gather           = graph.Gather
	Gradient         = graph.Gradient
	GreaterOrEqual   = graph.GreaterOrEqual
	GreaterThan      = graph.GreaterThan
	Infinity         = graph.Infinity
	InsertAxes       = graph.InsertAxes
	Iota             = graph.Iota
	IsFinite         = graph.IsFinite
	LessOrEqual      = graph.LessOrEqual
	LessThan         = graph.LessThan
	LogicalAnd       = graph.LogicalAnd
	LogicalNot       = graph.LogicalNot
	LogicalOr        = graph.LogicalOr
	Max              = graph.Max
	Min              = graph.Min
	Mul              = graph.Mul
	Neg              = graph.Neg
	NotEqual         = graph.NotEqual
	OneMinus         = graph.OneMinus
	OnePlus          = graph.OnePlus
	OnesLike         = graph.OnesLike
	ReduceAllMean    = graph.ReduceAllMean
	ReduceAllSum     = graph.ReduceAllSum
	ReduceMax        = graph.ReduceMax
	ReduceMean       = graph.ReduceMean
	ReduceSum        = graph.ReduceSum
	Reshape          = graph.Reshape
	ScalarZero       = graph.ScalarZero
	Sign             = graph.Sign
	Slice            = graph.Slice
	Sort             = graph.Sort
	Sqrt             = graph.Sqrt
	StopGradient     = graph.StopGradient
	Sub              = graph.Sub
	Tanh             = graph.Tanh
	TopKMask         = graph.TopKMask
	Where            = graph.Where
	ZerosLike        = graph.ZerosLike
)

// Operations with a number.

func AddScalar[N gotype.NumericNotComplex](x *Node, c N) *Node { return graph.AddScalar(x, c) }
func DivScalar[N gotype.NumericNotComplex](x *Node, c N) *Node { return graph.DivScalar(x, c) }
func MaxScalar[N gotype.NumericNotComplex](x *Node, c N) *Node { return graph.MaxScalar(x, c) }
func MinScalar[N gotype.NumericNotComplex](x *Node, c N) *Node { return graph.MinScalar(x, c) }
func MulScalar[N gotype.NumericNotComplex](x *Node, c N) *Node { return graph.MulScalar(x, c) }
func PowScalar[N gotype.NumericNotComplex](x *Node, c N) *Node { return graph.PowScalar(x, c) }
