package transform_test

import (
	"math"
	"math/rand/v2"
	"testing"

	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"

	"advlab/advlib"
	"advlab/advlib/backend"
	"advlab/advlib/transform"
)

// TestGradients compares the gradients of transforms that have one with differences, in float64.
func TestGradients(t *testing.T) {
	const n, h, w, c = 1, 6, 5, 2
	r := rand.New(rand.NewPCG(4, 1))
	x, along, weights := make([]float64, n*h*w*c), make([]float64, n*h*w*c), make([]float64, n*h*w*c)
	for i := range x {
		x[i], along[i], weights[i] = r.Float64(), r.NormFloat64(), r.NormFloat64()
	}
	b, err := backend.OpenNamed("go")
	if err != nil {
		t.Fatal(err)
	}
	for _, of := range []transform.Transform{
		transform.Gaussian{Sigma: 0.7}, transform.Median{Size: 3}, transform.Bilateral{SigmaColor: 0.3, SigmaSpatial: 1},
		transform.NonLocalMeans{PatchSize: 3, PatchDistance: 2, H: 0.3},
		transform.Chambolle{Weight: 0.1, Eps: 1e-15, MaxIterations: 4000},
	} {
		if of.Traits() != (transform.Traits{}) {
			t.Errorf("%v has traits %v, and a gradient", of, of.Traits())
		}
		store := model.NewStore()
		loss := func(x *Node) *Node {
			y := of.Graph(store.RootScope(), x, advlib.UnitBox)
			return ReduceAllSum(Mul(y, Reshape(ConstAsDType(x.Graph(), x.DType(), weights), n, h, w, c)))
		}
		exec, err := NewExec(b, func(x, along *Node) []*Node {
			const step = 1e-6
			difference := MulScalar(Sub(loss(Add(x, MulScalar(along, step))), loss(Sub(x, MulScalar(along, step)))), 0.5/step)
			return []*Node{difference, ReduceAllSum(Mul(Gradient(loss(x), x)[0], along))}
		})
		if err != nil {
			t.Fatal(err)
		}
		out, err := exec.Call(tensors.FromFlatDataAndDimensions(x, n, h, w, c), tensors.FromFlatDataAndDimensions(along, n, h, w, c))
		if err != nil {
			t.Fatalf("%v: %v", of, err)
		}
		want, got := tensors.ToScalar[float64](out[0]), tensors.ToScalar[float64](out[1])
		t.Logf("%v: slope %.7g, by differences %.7g", of, got, want)
		if math.Abs(got-want) > 1e-4*max(1, math.Abs(want)) {
			t.Errorf("%v: slope %g, by differences %g", of, got, want)
		}
	}
}

// TestLoops: what is iterated in a loop on the device stands in a graph with sums of its own, on both backends, as one
// of its results too, and a flat image, whose total variation has a corner, gives no NaN.
func TestLoops(t *testing.T) {
	x := make([]float32, 2*5*4*3)
	for i := range x[len(x)/2:] {
		x[i] = float32(i%7) / 7 // the other image is flat
	}
	for _, name := range []string{backend.Auto, "go"} {
		b, err := backend.OpenNamed(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, of := range []transform.Transform{transform.Chambolle{Weight: 0.1}, transform.TotalVariance{Drop: 0.5, Weight: 0.1}} {
			exec, err := model.NewExec(b, model.NewStore(), func(scope *model.Scope, x *Node) []*Node {
				y := of.Graph(scope, x, advlib.UnitBox)
				out := []*Node{y, ReduceAllSum(y), ReduceAllMax(y)}
				if !of.Traits().Flat {
					out = append(out, Gradient(ReduceAllSum(Square(y)), x)[0])
				}
				return out
			})
			if err != nil {
				t.Fatal(err)
			}
			out, err := exec.Exec(tensors.FromFlatDataAndDimensions(x, 2, 5, 4, 3))
			if err != nil {
				t.Fatalf("%v on %s: %v", of, name, err)
			}
			for k, tensor := range out {
				if tensor.Rank() == 0 {
					continue
				}
				for i, v := range tensors.MustCopyFlatData[float32](tensor) {
					if v != v || math.Abs(float64(v)) > 10 {
						t.Fatalf("%v on %s: value %d of result %d is %g", of, name, i, k, v)
					}
				}
			}
		}
	}
}
