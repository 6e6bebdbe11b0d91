package attack_test

import (
	"context"
	"fmt"
	"math"
	"os"
	"slices"
	"testing"

	"github.com/gomlx/compute"
	"github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"

	"advlab/advlib"
	"advlab/advlib/attack"
	"advlab/advlib/attack/attacktest"
	"advlab/advlib/backend"
)

// full runs the reference tests at full size on the Go backend too, which takes minutes: ADVLAB_FULL=1 go test
// ./advlib/attack
var full = os.Getenv("ADVLAB_FULL") != ""

// onBackends runs a test on the backend in use and on the Go backend.
func onBackends(t *testing.T, test func(t *testing.T, b compute.Backend, slow bool)) {
	t.Helper()
	main, err := backend.Open()
	if err != nil {
		t.Fatal(err)
	}
	pure, err := backend.OpenNamed(backend.Go)
	if err != nil {
		t.Fatal(err)
	}
	if main != pure {
		t.Run(main.Name(), func(t *testing.T) { test(t, main, false) })
	}
	t.Run(pure.Name(), func(t *testing.T) { test(t, pure, !full) })
}

func reference(t testing.TB, name string, b compute.Backend) *attacktest.Reference {
	t.Helper()
	r, err := attacktest.LoadReference(name, b)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func array(t testing.TB, r *attacktest.Reference, key string) []float32 {
	t.Helper()
	flat, _, err := r.Array(key)
	if err != nil {
		t.Fatal(err)
	}
	return flat
}

// batch returns all examples as one batch, those misclassified too.
func batch(e *advlib.Examples) advlib.Batch {
	return advlib.Batch{X: e.X, Y: e.Y, Index: e.Index}
}

// radii are those of the peers' attacks, as they stand in the keys of the arrays.
func radii(name string, n advlib.Norm) map[string]float64 {
	switch {
	case n == advlib.Norm(advlib.Linf):
		return map[string]float64{"0.05": 0.05, "0.1": 0.1}
	case name == "cnn-mnist-adv":
		return map[string]float64{"0.5": 0.5, "1.0": 1}
	}
	return map[string]float64{"0.25": 0.25, "0.5": 0.5}
}

var normKeys = map[string]advlib.ConvexNorm{"linf": advlib.Linf, "l2": advlib.L2}

// FGM agrees with foolbox's in every pixel within 1e-5. Where the gradient is so near to 0 that rounding decides its
// sign, by less than 1e-5 of the largest of the example, Linf may differ by 2ε: such pixels are counted, and must be
// few.
func TestReferenceFGM(t *testing.T) {
	const tolerance, tie, tiesAllowed = 1e-5, 1e-5, 1e-3
	onBackends(t, func(t *testing.T, b compute.Backend, _ bool) {
		for _, name := range attacktest.References {
			r := reference(t, name, b)
			g := array(t, r, "grad_ce_sum")
			for key, n := range normKeys {
				for text, ε := range radii(name, n) {
					want := array(t, r, "fgm_"+key+"__"+text)
					adv, err := attack.FGM{Ball: n.Ball(ε)}.Perturb(context.Background(), advlib.Count(r.Classifier), batch(r.Examples))
					if err != nil {
						t.Fatal(err)
					}
					got := tensors.MustCopyFlatData[float32](adv)
					size := len(got) / r.Examples.Len()
					ties, worst := 0, 0.
					for i := range got {
						diff := math.Abs(float64(got[i]) - float64(want[i]))
						if diff > tolerance && n == advlib.Linf && math.Abs(float64(g[i])) <= tie*largest(g[i/size*size:(i/size+1)*size]) {
							ties++
							continue
						}
						worst = max(worst, diff)
					}
					t.Logf("%s, %v ≤ %g: largest difference %.2g, %d of %d pixels with a gradient of nearly 0 differ", name, n, ε, worst, ties, len(got))
					if worst > tolerance {
						t.Errorf("%s, %v ≤ %g: differs from the peer by %g", name, n, ε, worst)
					}
					if float64(ties) > tiesAllowed*float64(len(got)) {
						t.Errorf("%s, %v ≤ %g: %d of %d pixels differ where the gradient is nearly 0", name, n, ε, ties, len(got))
					}
				}
			}
		}
	})
}

func largest(v []float32) float64 {
	m := 0.
	for _, x := range v {
		m = max(m, math.Abs(float64(x)))
	}
	return m
}

// PGD-20 with the peer's settings leaves as many examples standing as the peer's, within one; ours keeps the best
// iterate, the peer the last. The peer's number is also recomputed from its adversarial examples.
func TestReferencePGD(t *testing.T) {
	const allowed = 1
	onBackends(t, func(t *testing.T, b compute.Backend, _ bool) {
		for _, name := range attacktest.References {
			r := reference(t, name, b)
			for key, n := range normKeys {
				for text, ε := range radii(name, n) {
					peer := robust(t, r, array(t, r, "pgd_"+key+"_a=eps__4_s=20__"+text))
					if accuracy, ok := r.Peers["pgd_"+key+"_a=eps/4_s=20/"+text]; ok &&
						int(math.Round(accuracy*float64(r.Examples.Len()))) != count(peer) {
						t.Errorf("%s, %v ≤ %g: the peer's examples leave %d standing, its summary says %g", name, n, ε, count(peer), accuracy)
					}
					a := attack.PGD{Ball: n.Ball(ε), Steps: 20, StepSize: ε / 4, NoRandomStart: true}
					res, err := advlib.Run(context.Background(), r.Classifier, r.Examples, a)
					if err != nil {
						t.Fatal(err)
					}
					ours := make([]bool, len(res.Success))
					var differ []string
					for i, success := range res.Success {
						ours[i] = !success
						if ours[i] != peer[i] {
							differ = append(differ, fmt.Sprintf("example %d (ours standing: %v)", i, ours[i]))
						}
					}
					t.Logf("%s, %v ≤ %g: ours %d, peer %d of %d standing; differing: %v", name, n, ε, count(ours), count(peer), len(peer), differ)
					if d := count(ours) - count(peer); d > allowed || d < -allowed {
						t.Errorf("%s, %v ≤ %g: ours leaves %d standing, the peer %d: %v", name, n, ε, count(ours), count(peer), differ)
					}
				}
			}
		}
	})
}

// robust tells which examples keep their label at the given points.
func robust(t *testing.T, r *attacktest.Reference, at []float32) []bool {
	t.Helper()
	z, err := r.Classifier.Logits(tensors.FromFlatDataAndDimensions(at, r.Examples.X.Shape().Dimensions...))
	if err != nil {
		t.Fatal(err)
	}
	b, stands := batch(r.Examples), make([]bool, len(z))
	for i := range z {
		stands[i] = !b.Reached(i, z[i])
	}
	return stands
}

func count(v []bool) int {
	n := 0
	for _, b := range v {
		if b {
			n++
		}
	}
	return n
}

// Carlini & Wagner with the peer's settings: the median distance over correctly classified examples, failures counting
// as infinite, is at most 1.001 times foolbox's. On the Go backend the MLPs run on their first 8 examples, the CNN on
// its first 2 with 2 searches of 150 steps at rate 0.03 from c = 3 and a ratio of at most 1.01, unless ADVLAB_FULL is
// set.
func TestReferenceCarliniWagner(t *testing.T) {
	onBackends(t, func(t *testing.T, b compute.Backend, slow bool) {
		for _, name := range attacktest.References {
			ratio, a := 1.001, attack.CarliniWagner{BinarySearchSteps: 9, Steps: 1000, LearningRate: 0.01, InitialConst: 1e-3}
			r := reference(t, name, b)
			e := r.Examples
			if slow {
				e = e.First(8)
				if name == "cnn-mnist-adv" {
					ratio, e, a = 1.01, e.First(2), attack.CarliniWagner{BinarySearchSteps: 2, Steps: 150, InitialConst: 3, LearningRate: 0.03}
				}
			}
			againstPeer(t, r, e, "norm__cw_l2_9x1000_lr=0.01_c0=1e-3", a, ratio)
		}
	})
}

func median(v []float64) float64 {
	v = slices.Clone(v)
	slices.Sort(v)
	return (v[(len(v)-1)/2] + v[len(v)/2]) / 2
}

// The gradient that attacks are given is the one of the graph: compared with central differences of the loss in
// float32.
type lossKey struct{ l advlib.Loss }

func TestLossGradientByDifferences(t *testing.T) {
	const h, tolerance = 1e-2, 2e-2
	b, err := backend.Open()
	if err != nil {
		t.Fatal(err)
	}
	l := linear(t, linearSpecs[0])
	_ = b
	for _, loss := range []advlib.Loss{advlib.CrossEntropy, advlib.Margin, advlib.DLR} {
		step := advlib.Count(l.Classifier).Compile(lossKey{loss}, func(m *advlib.Model, in []*graph.Node) []*graph.Node {
			L := loss.Of(m.Logits(in[0]), advlib.GoalNodes{Label: in[1]})
			return []*graph.Node{L, m.Gradient(L, in[0])}
		})
		x := tensors.MustCopyFlatData[float32](l.Examples.X)
		at := func(x []float32) (L, g []float32) {
			out, err := step.Run(l.Examples.Len(), tensors.FromFlatDataAndDimensions(x, l.Examples.X.Shape().Dimensions...), l.Examples.Y)
			if err != nil {
				t.Fatal(err)
			}
			return tensors.MustCopyFlatData[float32](out[0]), tensors.MustCopyFlatData[float32](out[1])
		}
		_, g := at(x)
		d := l.Examples.Shape()[0]
		for j := range d {
			up, down := slices.Clone(x), slices.Clone(x)
			for i := range l.Examples.Len() {
				up[i*d+j] += h
				down[i*d+j] -= h
			}
			above, _ := at(up)
			below, _ := at(down)
			bad := 0
			for i := range above {
				if math.Abs(float64(above[i]-below[i])/(2*h)-float64(g[i*d+j])) > tolerance*(1+math.Abs(float64(g[i*d+j]))) {
					bad++ // at a kink, where the runner-up changes
				}
			}
			if bad > 3 {
				t.Errorf("%v: coordinate %d: %d of %d derivatives differ from differences", loss, j, bad, len(above))
			}
		}
	}
}
