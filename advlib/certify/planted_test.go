package certify

import (
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"testing"
	"time"

	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"

	"advlab/advlib"
	"advlab/advlib/attack"
)

// planted adds to a network with one hidden layer a bump: depth·max(0, 1 − ‖x − at‖₁/r) is taken from the first output.
// Outside of it the network and its gradients are as they were.
func (n network64) planted(at []float64, r, depth float64) network64 {
	d, hidden, classes := len(at), len(n.W[0]), len(n.W[1])
	first, b := slices.Clone(n.W[0]), slices.Clone(n.b[0])
	for j := range 2 * d { // x − at, at − x
		row := make([]float64, d)
		sign := float64(1 - 2*(j%2))
		row[j/2] = sign
		first, b = append(first, row), append(b, -sign*at[j/2])
	}
	var second [][]float64 // hidden units go on as they are, which are not negative
	c := make([]float64, hidden+1)
	for i := range hidden + 1 {
		row := make([]float64, hidden+2*d)
		if i < hidden {
			row[i] = 1
		} else {
			for j := range 2 * d {
				row[hidden+j] = -1 / r
			}
			c[i] = 1
		}
		second = append(second, row)
	}
	var last [][]float64
	for k := range classes {
		row := append(slices.Clone(n.W[1][k]), 0)
		if k == 0 {
			row[hidden] = -depth
		}
		last = append(last, row)
	}
	return network64{W: [][][]float64{first, second, last}, b: [][]float64{b, c, n.b[1]}}
}

// hideCounterexample returns a classifier of the given kind, and an example with a counterexample in its ball.
func hideCounterexample(t *testing.T, name, kind, where string, d int, norm advlib.ConvexNorm, radius float64,
	r *rand.Rand) (*advlib.Classifier, *advlib.Examples) {
	t.Helper()
	b := goBackend(t)
	x := make([]float32, d)
	at := make([]float64, d)
	for j := range x {
		x[j] = float32(2*r.Float64() - 1)
		at[j] = float64(x[j])
	}
	step := 0.6 * radius // in one coordinate: inside of the ball of each norm
	at[r.IntN(d)] += step
	if where == "at a corner" {
		for j := range at {
			v := float32(float64(x[j]) + radius)
			if float64(v)-float64(x[j]) > radius {
				v = math.Nextafter32(v, x[j])
			}
			at[j] = float64(v)
		}
	}
	for j := range at {
		at[j] = float64(float32(at[j]))
	}
	base := random32(r, 0.2, d, 8, 3)
	base.b[1] = []float64{20, 0, 0} // far from any other class
	s := base.planted(at, 1./256, 64).source(b, false)
	if kind == "residual" { // |x − at| as one operation, and a path beside it
		graph := base.source(b, false).Graph
		s = base.source(b, false)
		s.Graph = func(scope *model.Scope, x *Node) *Node {
			flat := make([]float32, d)
			for j, v := range at {
				flat[j] = float32(v)
			}
			p := ConvertDType(Const(x.Graph(), tensors.FromFlatDataAndDimensions(flat, 1, d)), x.DType())
			bump := OneMinus(MulScalar(ReduceAndKeep(Abs(Sub(x, p)), ReduceSum, 1), 256))
			bump = MulScalar(Max(bump, ZerosLike(bump)), 64)
			return Sub(graph(scope, x), Concatenate([]*Node{bump, ZerosLike(bump), ZerosLike(bump)}, 1))
		}
	}
	c, err := advlib.NewClassifier(advlib.Spec{Name: name, Logits: s.Graph, Store: s.Store, Input: s.Input,
		Box: advlib.Box{Lo: -2, Hi: 2}, Backend: b})
	if err != nil {
		t.Fatal(err)
	}
	e, err := advlib.NewExamples("one", x, []int{d}, []int32{0})
	if err != nil {
		t.Fatal(err)
	}
	hidden := make([]float32, d)
	for j, v := range at {
		hidden[j] = float32(v)
	}
	z, err := c.Logits(tensors.FromFlatDataAndDimensions(append(slices.Clone(x), hidden...), 2, d))
	if err != nil {
		t.Fatal(err)
	}
	if z[0][0] < max(z[0][1], z[0][2]) || z[1][0] > max(z[1][1], z[1][2]) || norm.Distance(hidden, x) > radius {
		t.Fatalf("%s: logits %v and %v at a distance of %g: nothing is hidden", name, z[0], z[1], norm.Distance(hidden, x))
	}
	return c, e
}

// TestPlanted hides a counterexample in the ball, as SoundnessBench does (Zhou et al. 2024, arXiv:2412.03154): in a
// bump that is so narrow that no gradient outside of it points there, inside of the ball or at its very corner. Nothing
// may certify the example, nor verify it: of a network that is a chain, of one that is none, with few inputs and with
// many.
func TestPlanted(t *testing.T) {
	cells, seeds := 200, 1
	if os.Getenv("ADVLAB_FULL") != "" {
		cells, seeds = 20000, 4
	}
	const radius = 0.25
	tried, found := 0, 0
	methods := []Method{IBP, CROWNIBP, CROWN, CROWN.ByGraphs(), CROWN.WithIBP(), CROWN.WithIBP().WithBestLine(), AlphaCROWN}
	for seed := range seeds {
		for _, d := range []int{3, 20} {
			for _, where := range []string{"inside", "at a corner"} {
				for _, norm := range []advlib.ConvexNorm{advlib.Linf, advlib.L2, advlib.L1} {
					if where == "at a corner" && norm != advlib.Linf {
						continue
					}
					for _, kind := range []string{"chain", "residual"} {
						name := fmt.Sprintf("%s of %d inputs, %s, %v", kind, d, where, norm)
						c, e := hideCounterexample(t, name, kind, where, d, norm, radius, rand.New(rand.NewPCG(uint64(seed), uint64(d))))
						ball := norm.Ball(radius)
						if res, err := advlib.Run(t.Context(), c, e, attack.PGD{Ball: ball, Steps: 20, NoRandomStart: true}); err != nil || res.Success[0] {
							t.Fatalf("%s: PGD from the centre finds it, or %v", name, err)
						}
						for _, m := range methods {
							margins, err := Margins(t.Context(), c, e, ball, m)
							if err != nil {
								t.Fatal(err)
							}
							if slices.Min(margins[0]) > 0 {
								t.Errorf("%s: %v certifies it, margins %v", name, m, margins[0])
							}
						}
						v, err := Verify(t.Context(), c, e, ball, Options{Cells: cells, Starts: 8, Steps: 10, Timeout: time.Minute})
						if err != nil {
							t.Fatal(err)
						}
						if v.Decisions[0].Status == advlib.Verified {
							t.Errorf("%s: %v", name, v.Decisions[0])
						}
						tried++
						found += v.Count(advlib.Falsified)
					}
				}
			}
		}
	}
	t.Logf("%d planted, %d of them found by Verify, none certified", tried, found)
}
