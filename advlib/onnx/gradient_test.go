package onnx_test

import (
	"math"
	"strings"
	"testing"

	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"

	_ "advlab/advlib" // whose rule for the gradient of convolutions attacks use
	"advlab/advlib/backend"
)

// TestGradientsAgainstCentralDifferences builds each fixture in float64 and compares the gradient of a random linear
// function of its outputs, along random directions, with central differences.
func TestGradientsAgainstCentralDifferences(t *testing.T) {
	all := fixtures(t)
	for name, b := range backends(t) {
		for i, f := range all {
			op, _, _ := strings.Cut(f.name, "/")
			if name != backend.Go && (i+1 < len(all) && strings.HasPrefix(all[i+1].name, op+"/") || spared(op, i)) {
				continue // XLA compiles for long: only one opset of each
			}
			switch op {
			case "Ceil", "Floor", "Sign", "Round": // zero everywhere
				continue
			}
			t.Run(name+"/"+f.name, func(t *testing.T) {
				n := f.network(t)
				store, err := n.WideStore()
				if err != nil {
					t.Fatal(err)
				}
				// y along the line x + s·direction.
				along := func(s *model.Scope, x, direction, step *Node) *Node {
					out := n.Graph(s.Store().RootScope(), Add(x, Mul(direction, step)))
					return ReduceAllSum(Mul(out, Sin(MulScalar(IotaFull(out.Graph(), out.Shape()), 1.7))))
				}
				value, err := model.NewExec(b, store, along)
				if err != nil {
					t.Fatal(err)
				}
				slope, err := model.NewExec(b, store, func(s *model.Scope, x, direction *Node) *Node {
					g := Gradient(along(s, x, direction, ScalarZero(x.Graph(), x.DType())), x)[0]
					return ReduceAllSum(Mul(g, direction))
				})
				if err != nil {
					t.Fatal(err)
				}
				x, directions := make([]float64, len(f.x)), make([][]float64, 3)
				for i, v := range f.x {
					x[i] = float64(v)
				}
				for k := range directions {
					directions[k] = make([]float64, len(x))
					for i := range x {
						directions[k][i] = math.Sin(float64(3*i*i+k*k+i*k) * 0.7)
					}
				}
				at := tensors.FromFlatDataAndDimensions(x, f.dims...)
				const step = 1e-6
				for k, d := range directions {
					direction := tensors.FromFlatDataAndDimensions(d, f.dims...)
					y := func(step float64) float64 {
						out, err := value.Exec(at, direction, step)
						if err != nil {
							t.Fatal(err)
						}
						return tensors.ToScalar[float64](out[0])
					}
					out, err := slope.Exec(at, direction)
					if err != nil {
						t.Fatal(err)
					}
					got, want := tensors.ToScalar[float64](out[0]), (y(step)-y(-step))/(2*step)
					if !(math.Abs(got-want) <= 2e-6*max(1, math.Abs(want), math.Abs(y(0)))) {
						t.Errorf("along direction %d the gradient gives %g, central differences %g", k, got, want)
					}
				}
			})
		}
	}
}
