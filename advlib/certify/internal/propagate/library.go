package propagate

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"sync"

	"github.com/gomlx/compute"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
)

// libraryError bounds the error of a backend's function f̂ in float32, of an exact argument: |f̂ − f| is at most
// relative·|f|, and at most absolute·max(|f|, 1), beside 2⁻¹²³ for what is flushed.
type libraryError struct{ relative, absolute float64 }

type library map[NodeType]libraryError

// function is one of a backend's library, with its values in float64, which are exact to a few 2⁻⁵².
type function struct {
	graph func(*Node) *Node
	value func(float64) float64
}

var functions = map[NodeType]function{
	NodeTypeExp:      {Exp, math.Exp},
	NodeTypeExpm1:    {Expm1, math.Expm1},
	NodeTypeLog:      {Log, math.Log},
	NodeTypeLog1p:    {Log1p, math.Log1p},
	NodeTypeSqrt:     {Sqrt, math.Sqrt},
	NodeTypeLogistic: {Logistic, func(x float64) float64 { return 1 / (1 + math.Exp(-x)) }},
	NodeTypeTanh:     {Tanh, math.Tanh},
	NodeTypeErf:      {Erf, math.Erf},
	NodeTypeSin:      {Sin, math.Sin},
	NodeTypeCos:      {Cos, math.Cos},
	NodeTypeAtan2:    {Arctan, math.Atan},
}

// sweep are arguments over all of float32: for each exponent, evenly and then some more, both signs.
func sweep() []float32 {
	const stride = 1021 // a prime: 4 million of the 4 billion numbers
	var x []float32
	for bits := uint64(0); bits < 1<<32; bits += stride {
		if v := math.Float32frombits(uint32(bits)); v == v && !math.IsInf(float64(v), 0) {
			x = append(x, v)
		}
	}
	return x
}

// margin is the factor between the largest error measured on the sweep and what is assumed of all arguments.
const margin = 2

type libraryOfBackend struct {
	mu    sync.Mutex
	known library
}

var libraries sync.Map // by backend

// LibraryOf measures the errors of the given functions on a backend, once in a process.
func LibraryOf(b compute.Backend, types []NodeType) (library, error) {
	v, _ := libraries.LoadOrStore(b, &libraryOfBackend{known: library{}})
	l := v.(*libraryOfBackend)
	l.mu.Lock()
	defer l.mu.Unlock()
	var missing []NodeType
	for _, t := range types {
		if _, ok := l.known[t]; !ok {
			missing = append(missing, t)
		}
	}
	if len(missing) > 0 {
		if err := l.measure(b, missing); err != nil {
			return nil, fmt.Errorf("measuring the errors of the backend's functions: %w", err)
		}
	}
	known := library{}
	for _, t := range types {
		known[t] = l.known[t]
	}
	return known, nil
}

func (l *libraryOfBackend) measure(b compute.Backend, types []NodeType) error {
	var probes []function
	var of []NodeType
	for _, t := range types {
		all := []function{functions[t]}
		if t == NodeTypePow {
			all = nil
			for k := 2.; k <= largestExponent; k++ {
				all = append(all, function{func(x *Node) *Node { return PowScalar(x, k) }, func(x float64) float64 { return math.Pow(x, k) }})
			}
		}
		for _, f := range all {
			probes, of = append(probes, f), append(of, t)
		}
	}
	x := sweep()
	in := tensors.FromFlatDataAndDimensions(x, len(x))
	out, err := ExecOnceN(b, func(x *Node) []*Node {
		results := make([]*Node, len(probes))
		for i, f := range probes {
			results[i] = f.graph(x)
		}
		return results
	}, in)
	if err != nil {
		return err
	}
	for i, f := range probes {
		e, old := worst(x, tensors.MustCopyFlatData[float32](out[i]), f.value), l.known[of[i]]
		l.known[of[i]] = libraryError{max(e.relative, old.relative), max(e.absolute, old.absolute)}
		out[i].MustFinalizeAll()
	}
	return nil
}

// worst returns bounds of what is seen, with a margin.
func worst(x, got []float32, value func(float64) float64) (e libraryError) {
	for i, v := range x {
		if v != 0 && math.Abs(float64(v)) < Tiny {
			continue // it may be flushed, which is an error of the argument
		}
		want := value(float64(v))
		if math.IsNaN(want) || math.Abs(want) > Largest {
			continue // overflow is checked by who uses the function
		}
		d := math.Abs(float64(got[i])-want) - 4*Tiny
		if math.IsNaN(d) {
			d = math.Inf(1)
		}
		if d <= 0 {
			continue
		}
		e.relative = max(e.relative, margin*d/math.Abs(want))
		e.absolute = max(e.absolute, margin*d/max(math.Abs(want), 1))
	}
	return e
}

// LibraryFunctions lists the functions of the backend's library that the outputs are computed with, those of constants
// too.
func (w *Walk) LibraryFunctions() (types []NodeType) {
	seen := map[NodeId]bool{}
	used := map[NodeType]bool{}
	var visit func(v *Node)
	visit = func(v *Node) {
		if seen[v.Id()] {
			return
		}
		seen[v.Id()] = true
		t := v.Type()
		if t == NodeTypeRsqrt || t == NodeTypeBatchNormForInference {
			t = NodeTypeSqrt
		}
		if _, ok := functions[t]; ok || t == NodeTypePow {
			used[t] = true
		}
		for _, in := range v.Inputs() {
			visit(in)
		}
	}
	visit(w.Out)
	return slices.Sorted(maps.Keys(used))
}
