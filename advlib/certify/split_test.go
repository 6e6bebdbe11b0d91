package certify

import (
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"testing"
	"time"

	"advlab/advlib"
	"advlab/advlib/attack/attacktest"

	"advlab/advlib/certify/internal/chain"
	"advlab/advlib/certify/internal/search"

	"github.com/gomlx/compute/dtypes"
)

// TestTune: tuned bounds are not below CROWN's, are below what the network computes, with any signs given that an input
// has, and are above CROWN's on the average.
func TestTune(t *testing.T) {
	r := rand.New(rand.NewPCG(15, 16))
	net := random32(r, 1, 20, 25, 25, 3)
	_, c := mustChain(t, net.source(goBackend(t), false), Float32AnyOrder)
	p := c.NewPass()
	gain := 0.
	for range 20 {
		centre := make([]float64, 20)
		box := search.Cell{}
		for i := range centre {
			centre[i] = r.NormFloat64()
			l, u := search.Outward32(centre[i]-0.2, centre[i]+0.2)
			box.Lower, box.Upper = append(box.Lower, l), append(box.Upper, u)
		}
		row := []float64{1, -1, 0}
		// Signs as at one input, of a few ReLUs, so that the part is not empty.
		x0 := pointOf(box, r)
		for i := range x0 {
			x0[i] = float64(float32(x0[i]))
		}
		signs := c.NoSigns()
		for k, z := range net.preactivations(x0) {
			for i, v := range z {
				if r.IntN(4) == 0 && math.Abs(v) > 1e-3 {
					signs[k][i] = 1
					if v < 0 {
						signs[k][i] = -1
					}
				}
			}
		}
		for _, given := range [][][]int8{c.NoSigns(), signs} {
			p.Cell, p.Signs, p.Empty = box, given, false
			var candidates [][]float64
			for k := range p.Layers {
				if !p.Interval(k) {
					t.Fatalf("layer %d: empty %v", k, p.Empty)
				}
			}
			plain := p.Back(len(p.Layers)-1, row, nil).Lower
			tuned, _, _ := p.Tune(row, math.Inf(1), 40, p.NewTuning(nil))
			if tuned < plain {
				t.Errorf("tuned %g, CROWN %g", tuned, plain)
			}
			gain += tuned - plain
			// Any slopes and multipliers give a bound, whether they make it large or not.
			highest := tuned
			for range 20 {
				drawn := p.NewTuning(nil)
				for k := range drawn.Alpha {
					for i := range drawn.Alpha[k] {
						if p.Bends(k, i) {
							drawn.Alpha[k][i] = r.Float64()
						}
						drawn.Beta[k][i] = math.Abs(0.1 * r.NormFloat64())
					}
				}
				v := p.Back(len(p.Layers)-1, row, drawn).Lower
				highest = max(highest, v)
				_, _, x := p.Tune(row, math.Inf(-1), 0, drawn) // the input where it is least
				candidates = append(candidates, x)
			}
			for j := range 200 {
				x := pointOf(box, r)
				if j < len(candidates) {
					copy(x, candidates[j])
				}
				for i := range x {
					x[i] = min(max(float64(float32(x[i])), box.Lower[i]), box.Upper[i])
					if r.IntN(2) == 0 {
						x[i] = x0[i]
					}
				}
				meets := true
				for k, z := range net.preactivations(x) {
					for i, v := range z {
						meets = meets && v*float64(given[k][i]) >= 0
					}
				}
				if y := net.at(x, orders["forward"]); meets && y[0]-y[1] < highest {
					t.Fatalf("%g is below %g", y[0]-y[1], highest)
				}
			}
		}
	}
	t.Logf("mean gain %g", gain/40)
	if gain <= 0 {
		t.Error("nothing is gained")
	}
}

// preactivations are those of the hidden layers, in float32.
func (n network64) preactivations(x []float64) (all [][]float64) {
	h := x
	for k, W := range n.W[:len(n.W)-1] {
		z := make([]float64, len(W))
		next := make([]float64, len(W))
		for i, w := range W {
			z[i] = float64(float32(orders["forward"](w, h)) + float32(n.b[k][i]))
			next[i] = max(z[i], 0)
		}
		all, h = append(all, z), next
	}
	return all
}

// TestVerifyMLPs decides the examples of the two reference MLPs at ε = 0.05: none is left, none that AutoAttack breaks
// is verified, and all that auto_LiRPA's CROWN proves are. Without ADVLAB_FULL, the first 12.
func TestVerifyMLPs(t *testing.T) {
	for _, name := range []string{"mlp-digits", "mlp-digits-adv"} {
		ref, err := attacktest.LoadReference(name, goBackend(t))
		if err != nil {
			t.Fatal(err)
		}
		e := ref.Examples
		if os.Getenv("ADVLAB_FULL") == "" {
			e = e.First(12)
		}
		const ε = 0.05
		start := time.Now()
		v, err := Verify(t.Context(), ref.Classifier, e, advlib.Linf.Ball(ε), Options{Timeout: 10 * time.Minute})
		if err != nil {
			t.Fatal(err)
		}
		slowest, branches := time.Duration(0), 0
		for i, verdict := range v.Decisions {
			slowest, branches = max(slowest, verdict.Elapsed), max(branches, verdict.Cells)
			if verdict.Status == advlib.Unknown {
				t.Errorf("%s, example %d: %v", name, i, verdict)
			}
		}
		// All examples are decided, so that the share of the verified is the robust accuracy: attacks cannot leave less, and
		// incomplete bounds cannot prove more.
		share := float64(v.Count(advlib.Verified)) / float64(e.Len())
		if crown, attacked := ref.Peers["verified_crown_linf/0.05"], ref.Peers["autoattack_standard_linf/0.05"]; e.Len() == ref.Examples.Len() &&
			!(crown <= share && share <= attacked) {
			t.Errorf("%s: %g verified, auto_LiRPA's CROWN has %g, AutoAttack leaves %g", name, share, crown, attacked)
		}
		margins, err := Margins(t.Context(), ref.Classifier, e.First(8), v.Ball, CROWN)
		if err != nil {
			t.Fatal(err)
		}
		for i, row := range margins {
			if slices.Min(row) > 0 && v.Decisions[i].Status != advlib.Verified {
				t.Errorf("%s, example %d: CROWN proves it, and it is %v", name, i, v.Decisions[i])
			}
		}
		t.Logf("%s: %v; %.1f s, the slowest %.2f s, the most branches %d", name, v, time.Since(start).Seconds(), slowest.Seconds(), branches)
	}
}

// wide is a random classifier of 20 numbers, on examples that it classifies right; x are their values.
func wide(t *testing.T, examples int) (c *advlib.Classifier, e *advlib.Examples, x []float32) {
	t.Helper()
	r := rand.New(rand.NewPCG(21, 22))
	s := random32(r, 1, 20, 15, 15, 3).source(goBackend(t), false)
	c, err := advlib.NewClassifier(advlib.Spec{Name: "wide", Logits: s.Graph, Store: s.Store, Input: s.Input, Box: advlib.Box{Lo: -4, Hi: 4},
		Backend: s.Backend})
	if err != nil {
		t.Fatal(err)
	}
	x = make([]float32, 20*examples)
	for i := range x {
		x[i] = float32(r.NormFloat64())
	}
	e, err = advlib.NewExamples("random", x, []int{20}, make([]int32, examples))
	if err != nil {
		t.Fatal(err)
	}
	logits, err := c.Logits(e.X)
	if err != nil {
		t.Fatal(err)
	}
	for i, z := range logits {
		e.Y[i] = int32(slices.Index(z, slices.Max(z)))
	}
	return c, e, x
}

// TestSplittingAlone decides examples without the search for counterexamples: branch and bound comes to the same, finds
// the counterexamples by itself, and where it may not look at them does not prove that there are none.
func TestSplittingAlone(t *testing.T) {
	c, e, x := wide(t, 30)
	ball := advlib.Linf.Ball(0.12)
	with, err := Verify(t.Context(), c, e, ball, Options{Cells: 2000})
	if err != nil {
		t.Fatal(err)
	}
	alone, err := Verify(t.Context(), c, e, ball, Options{Cells: 2000, Starts: -1})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("with a search: %v; alone: %v", with, alone)
	n, err := Of(c)
	if err != nil {
		t.Fatal(err)
	}
	numbers, err := n.chain(CROWN)
	if err != nil {
		t.Fatal(err)
	}
	for i, v := range alone.Decisions {
		if v.Status != with.Decisions[i].Status || v.Status == advlib.Unknown {
			t.Errorf("example %d: %v, alone %v", i, with.Decisions[i], v)
		}
		if v.Status != advlib.Falsified {
			continue
		}
		// Blind to counterexamples, it must not run out of branches.
		around, err := Around(c, e, ball, false)
		if err != nil {
			t.Fatal(err)
		}
		p := aroundExample(c, x[20*i:20*i+20], e.Y[i], ball, around.Select([]int{i}))
		p.IsUnsafe = func([]float64) bool { return false }
		d := &deployed{input: c.Input(), size: 20, dtype: dtypes.Float32, run: onTarget{advlib.Count(c)}}
		out, err := (&search.Splitting{Search: &search.Search{Problem: p, Outputs: d.outputs, Cells: 400},
			Splitter: chain.NewSplitter(numbers, p)}).Run(t.Context())
		if err != nil || out.Reason == "" {
			t.Errorf("example %d has a counterexample, and was closed: %+v, %v", i, out, err)
		}
	}
	if alone.Count(advlib.Verified) < 5 || alone.Count(advlib.Falsified) < 5 {
		t.Errorf("%v: too few to tell", alone)
	}
}
