package vmap

import (
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/core/tensors/images"

	"advlab/advlib/backend"
)

// constant returns numbers that depend on nothing, of the type of x.
func constant(x *Node, dims ...int) *Node {
	flat := IotaFull(x.Graph(), shapes.Make(dtypes.Int32, dims...))
	return Sin(MulScalar(ConvertDType(flat, x.DType()), 1.3))
}

// cases are functions of a row of shape [2, 3, 4].
var cases = map[string]func(x *Node) *Node{
	"flat":     func(x *Node) *Node { return DotProduct(Reshape(x, 24), constant(x, 24, 3)) },
	"mean":     func(x *Node) *Node { return Sub(x, ReduceAllMean(x)) },
	"greatest": func(x *Node) *Node { return Add(ReduceMax(x, 0, 2), ReduceMin(x, 0, 2)) },
	"product":  func(x *Node) *Node { return ReduceMultiply(x, 1) },
}

func init() {
	number := func(x *Node, v float64) *Node { return Scalar(x.Graph(), x.DType(), v) }
	for name, f := range map[string]func(x *Node) *Node{
		"and": func(x *Node) *Node {
			return ConvertDType(ReduceLogicalAnd(GreaterThan(x, number(x, -1)), 2), x.DType())
		},
		"or": func(x *Node) *Node { return ConvertDType(ReduceLogicalOr(GreaterThan(x, number(x, 1)), 0), x.DType()) },
		"a number": func(x *Node) *Node {
			s := ReduceAllSum(x)
			return Add(Mul(s, constant(x, 5)), ReduceSum(Mul(s, s)))
		},
		"transpose":  func(x *Node) *Node { return Mul(TransposeAllAxes(x, 2, 0, 1), constant(x, 4, 2, 3)) },
		"broadcast":  func(x *Node) *Node { return Mul(x, constant(x, 1, 3, 1)) },
		"broadcast2": func(x *Node) *Node { return ExpandAndBroadcast(ReduceSum(x, 1), []int{2, 5, 4}, []int{1}) },
		"concatenate": func(x *Node) *Node {
			return Concatenate([]*Node{x, constant(x, 2, 1, 4), Reverse(x, 1, 2)}, 1)
		},
		"slice": func(x *Node) *Node { return Slice(x, AxisRange(), AxisRange(1, 3), AxisRange(0, 4).Stride(2)) },
		"pad": func(x *Node) *Node {
			return Pad(x, number(x, 2), PadAxis{}, PadAxis{Start: 1, End: 2}, PadAxis{End: 1, Interior: 1})
		},
		"arg": func(x *Node) *Node {
			return Add(ConvertDType(ArgMax(x, 1), x.DType()), ConvertDType(ArgMin(x, 1), x.DType()))
		},
		"cumulative": func(x *Node) *Node {
			return Add(CumSum(x, 1), CumSum(x, 2, &CumSumOptions{Reverse: true, Exclusive: true}))
		},
		"where": func(x *Node) *Node { return Where(GreaterThan(x, number(x, 0)), x, number(x, -3)) },
		"where by a number": func(x *Node) *Node {
			return Where(GreaterThan(x, constant(x, 2, 3, 4)), ReduceAllSum(x), constant(x, 2, 3, 4))
		},
		"clip":        func(x *Node) *Node { return Clip(x, number(x, -0.5), number(x, 0.7)) },
		"attention":   func(x *Node) *Node { return Einsum("htd,hsd->hts", x, MulScalar(x, 0.5)) },
		"heads":       func(x *Node) *Node { return Einsum("htd,hde->hte", x, constant(x, 2, 4, 3)) },
		"heads right": func(x *Node) *Node { return Einsum("hed,htd->het", constant(x, 2, 5, 4), x) },
		"from left":   func(x *Node) *Node { return DotGeneral(constant(x, 5, 3), []int{1}, nil, x, []int{1}, nil) },
		"vector left": func(x *Node) *Node { return DotGeneral(constant(x, 3), []int{0}, nil, x, []int{1}, nil) },
		"self":        func(x *Node) *Node { f := Reshape(x, 24); return DotProduct(f, f) },
		"convolution": func(x *Node) *Node {
			return Convolve(Reshape(x, 1, 2, 3, 4), constant(x, 5, 2, 3, 3)).ChannelsAxis(images.ChannelsFirst).PadSame().Done()
		},
		"convolution of images": func(x *Node) *Node {
			return Convolve(Reshape(x, 2, 3, 4, 1), constant(x, 2, 2, 1, 5)).Strides(2).NoPadding().Done()
		},
		"max pool": func(x *Node) *Node {
			return MaxPool(Reshape(x, 1, 2, 3, 4)).ChannelsAxis(images.ChannelsFirst).Window(2).Strides(1).Done()
		},
		"mean pool": func(x *Node) *Node { return MeanPool(Reshape(x, 2, 3, 4, 1)).Window(2).Strides(1).NoPadding().Done() },
		"sum over images": func(x *Node) *Node {
			return BackendReduceWindow(x, compute.ReduceOpSum, []int{2, 1, 2}, []int{1, 1, 2}, nil, nil, [][2]int{{1, 0}, {0, 0}, {0, 0}})
		},
		"gather": func(x *Node) *Node { return Gather(x, Const(x.Graph(), [][]int32{{1}, {0}, {1}})) },
		"gather by the row": func(x *Node) *Node {
			return Gather(constant(x, 4, 2), InsertAxes(ArgMax(x, 2), -1))
		},
		"gather of the row by itself": func(x *Node) *Node {
			return Gather(TransposeAllAxes(x, 2, 0, 1), InsertAxes(ArgMax(x, 2), -1))
		},
		"stopped": func(x *Node) *Node { return Mul(x, StopGradient(Sigmoid(x))) },
		"many": func(x *Node) *Node {
			y := Add(Tanh(Neg(Abs(x))), Sqrt(AddScalar(Exp(Cos(x)), 1)))
			y = Add(y, Div(Sign(x), Add(Log1P(Abs(Sin(x))), number(x, 2))))
			y = Add(y, Pow(AddScalar(Abs(x), 1), number(x, 1.5)))
			y = Add(y, Max(Erf(x), Min(x, Sin(x))))
			return Add(y, Log(AddScalar(Abs(x), 2)))
		},
		"independent": func(x *Node) *Node { return constant(x, 3, 2) },
		"masks": func(x *Node) *Node {
			zero := number(x, 0)
			m := LogicalAnd(LogicalNot(LessThan(x, zero)),
				LogicalOr(LessOrEqual(x, number(x, 1)), LogicalXor(GreaterOrEqual(x, zero), LogicalOr(Equal(x, zero), NotEqual(x, Neg(x))))))
			return Mul(ConvertDType(LogicalAnd(m, LogicalOr(IsFinite(x), LogicalNot(IsNaN(x)))), x.DType()),
				Add(Mul(Expm1(Min(Floor(x), Round(Ceil(x)))), Rsqrt(AddScalar(Abs(x), 1))), Mod(x, number(x, 0.7))))
		},
	} {
		cases[name] = f
	}
}

// flat are the functions that GoMLX has no gradient of, or that have none.
var flat = []string{"and", "arg", "clip", "independent", "masks", "or", "product", "sum over images", "gather by the row"}

func TestRows(t *testing.T) {
	const n = 3
	x := make([]float32, n*24)
	for i := range x {
		x[i] = float32(2 * math.Sin(float64(i*i)*0.37+1))
	}
	info, err := backend.Describe()
	if err != nil {
		t.Fatal(err)
	}
	used := map[NodeType]bool{}
	for _, on := range []string{backend.Go, info.Name} {
		b, err := backend.OpenNamed(on)
		if err != nil {
			t.Fatal(err)
		}
		for name, f := range cases {
			if on != backend.Go && name != "attention" && name != "convolution of images" && !strings.HasPrefix(name, "gather") &&
				name != "cumulative" {
				continue // XLA compiles for long, and the rules know of no backend
			}
			t.Run(on+"/"+name, func(t *testing.T) {
				run := func(build func(x *Node) []*Node, x []float32, dims ...int) [][]float32 {
					e, err := NewExec(b, build)
					if err != nil {
						t.Fatal(err)
					}
					out, err := e.Call(tensors.FromFlatDataAndDimensions(x, dims...))
					if err != nil {
						t.Fatal(err)
					}
					var values [][]float32
					for _, v := range out {
						values = append(values, tensors.MustCopyFlatData[float32](v))
					}
					return values
				}
				// The function and its gradient: for all rows, and row by row.
				both := func(f func(x *Node) *Node) func(x *Node) []*Node {
					return func(x *Node) []*Node {
						y := f(x)
						weights := Sin(MulScalar(OnesLike(y), 2))
						if slices.Contains(flat, name) {
							return []*Node{y, ZerosLike(x)}
						}
						return []*Node{y, Gradient(ReduceAllSum(Mul(Mul(y, y), weights)), x)[0]}
					}
				}
				all := run(both(func(x *Node) *Node {
					return Rows(x, func(row *Node) []*Node {
						y := f(row)
						for _, node := range between(row, []*Node{y}) {
							used[node.Type()] = true
						}
						return []*Node{y}
					})[0]
				}), x, n, 2, 3, 4)
				for k, part := range []string{"value", "gradient"} {
					var want []float32
					for i := range n {
						want = append(want, run(both(f), x[24*i:24*i+24], 2, 3, 4)[k]...)
					}
					if len(all[k]) != len(want) {
						t.Fatalf("%s: %d numbers, want %d", part, len(all[k]), len(want))
					}
					for i, w := range want {
						if !(math.Abs(float64(all[k][i]-w)) <= 1e-5*max(1, math.Abs(float64(w)))) {
							t.Fatalf("%s: number %d is %g, want %g", part, i, all[k][i], w)
						}
					}
				}
			})
		}
	}
	for op := range rules {
		if !used[op] && !strings.Contains(op.String(), "TotalOrder") && !strings.Contains(op.String(), "Bitwise") &&
			!strings.Contains(op.String(), "Shift") {
			t.Errorf("the rule of %s is not tested", op)
		}
	}
}

func TestRefused(t *testing.T) {
	b, err := backend.OpenNamed(backend.Go)
	if err != nil {
		t.Fatal(err)
	}
	for want, f := range map[string]func(x *Node) *Node{
		"ScatterSum": func(x *Node) *Node {
			return ScatterSum(x, Const(x.Graph(), [][]int32{{1}}), Slice(x, AxisRange(0, 1)), false, false)
		},
		"depend on the example":  func(x *Node) *Node { return Pad(x, ReduceAllSum(x), PadAxis{Start: 1}) },
		"ConvGeneral, with para": func(x *Node) *Node { return Convolve(constant(x, 1, 5, 5, 4), Reshape(x, 2, 3, 4, 1)).Done() },
	} {
		_, err := NewExec(b, func(x *Node) []*Node { return Rows(x, func(row *Node) []*Node { return []*Node{f(row)} }) })
		if err == nil {
			e, _ := NewExec(b, func(x *Node) []*Node { return Rows(x, func(row *Node) []*Node { return []*Node{f(row)} }) })
			_, err = e.Call(tensors.FromFlatDataAndDimensions(make([]float32, 48), 2, 2, 3, 4))
		}
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "cannot be mapped") {
			t.Errorf("%v, want an error with %q", err, want)
		}
	}
}
