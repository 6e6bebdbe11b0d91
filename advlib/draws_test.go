package advlib_test

import (
	"bytes"
	"context"
	"encoding/json"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"

	"advlab/advlib"
	"advlab/advlib/report"
)

// noisy answers 1 where x + 0.1·N(0, 1) > 0.5: with probability Φ((x − 0.5)/0.1).
func noisy(t *testing.T) *advlib.Classifier {
	t.Helper()
	return advlib.MustClassifier(advlib.Spec{Name: "noisy", Input: []int{1}, Box: advlib.UnitBox, Random: true,
		Logits: func(scope *model.Scope, x *Node) *Node {
			x = Add(x, MulScalar(scope.RandomNormal(x.Graph(), x.Shape()), 0.1))
			return MulScalar(Concatenate([]*Node{OneMinus(x), x}, 1), 3)
		}})
}

func same(t *testing.T, x float32, y int32, n int) *advlib.Examples {
	e, err := advlib.NewExamples("the same", slices.Repeat([]float32{x}, n), []int{1}, slices.Repeat([]int32{y}, n))
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// shift moves all coordinates up by the radius.
type shift struct{ advlib.Ball }

func (s shift) Threat(advlib.Victim) (advlib.Threat, error) {
	return advlib.Threat{Norm: s.Norm, Radius: s.Radius}, nil
}

func (s shift) Perturb(_ context.Context, _ *advlib.Counted, b advlib.Batch) (*tensors.Tensor, error) {
	x := tensors.MustCopyFlatData[float32](b.X)
	for i := range x {
		x[i] += float32(s.Radius)
	}
	return tensors.FromFlatDataAndDimensions(x, b.X.Shape().Dimensions...), nil
}

// TestRandomVictims: shares are means over fresh draws, and what a lucky draw breaks is not broken.
func TestRandomVictims(t *testing.T) {
	const n = 200
	Φ := func(z float64) float64 { return math.Erfc(-z/math.Sqrt2) / 2 }
	c := noisy(t)
	for _, tc := range []struct {
		radius  float64
		success bool
	}{{0.12, false}, {0.25, true}} { // 0.3 is moved to 0.42, and to 0.55
		e := same(t, 0.3, 0, n)
		a := shift{advlib.Linf.Ball(tc.radius)}
		res, err := advlib.Run(t.Context(), c, e, a)
		if err != nil {
			t.Fatal(err)
		}
		want, got := Φ((tc.radius-0.2)/0.1), res.SuccessRate()
		if lo, hi := got.Wilson(); got.Of != n || got.Draws != 20 || math.Abs(got.Value()-want) > 0.02 || lo > want || hi < want {
			t.Errorf("ε = %g: success %v %s, want %.3f", tc.radius, got, got.Interval(), want)
		}
		most := 0
		for i, s := range res.Success {
			if s != (res.Reached[i] > 10) && res.Reached[i] != 10 {
				t.Fatalf("example %d: success %v by %d of %d draws", i, s, res.Reached[i], res.Draws)
			}
			if s {
				most++
			}
		}
		// By one draw 0.21 and 0.69 are broken; by most of 20 draws hardly any, and most.
		if tc.success && most < n*9/10 || !tc.success && most > n/20 {
			t.Errorf("ε = %g: most draws break %d of %d", tc.radius, most, n)
		}
		r, err := advlib.Evaluate(t.Context(), c, e, []advlib.Attack{a})
		if err != nil {
			t.Fatal(err)
		}
		robust := r.Robust(advlib.Linf.Ball(tc.radius))
		if math.Abs(robust.Value()-(1-want)) > 0.02 || r.Clean().Value() < 0.96 || r.Clean().Value() > 0.99 {
			t.Errorf("ε = %g: robust %v, clean %v, want %.3f and %.3f", tc.radius, robust, r.Clean(), 1-want, Φ(2))
		}
		if less := r.Robust(advlib.Linf.Ball(tc.radius / 2)); less != r.Clean() {
			t.Errorf("the attack counts in a smaller ball: %v", less)
		}
		checkPortable(t, r)
	}
	for _, draws := range []int{1, 19, -1} {
		if _, err := (advlib.Settings{Draws: draws}).Run(t.Context(), c, same(t, 0.3, 0, 2), shift{advlib.Linf.Ball(0.1)}); err == nil ||
			!strings.Contains(err.Error(), "at least 20") {
			t.Errorf("%d draws: %v", draws, err)
		}
	}
}

// TestMostlyWrongIsAttacked: what most draws get wrong stands in the others, so that it is attacked as well, after
// others that left some of it, too; and what does no better leaves it as it is.
func TestMostlyWrongIsAttacked(t *testing.T) {
	const n = 100
	e := same(t, 0.53, 0, n) // wrong with probability Φ(0.3) = 0.62
	near, far := shift{advlib.Linf.Ball(0.05)}, shift{advlib.Linf.Ball(0.3)}
	for _, alone := range []bool{true, false} {
		r, err := advlib.Settings{Alone: alone}.Evaluate(t.Context(), noisy(t), e, []advlib.Attack{near, far})
		if err != nil {
			t.Fatal(err)
		}
		clean, some, all := r.Clean().Value(), r.Robust(near.Ball).Value(), r.Robust(far.Ball).Value()
		if math.Abs(clean-0.38) > 0.05 || math.Abs(some-0.21) > 0.05 || all > 0.01 {
			t.Errorf("alone %v: clean %.3f, %.3f and %.3f stand, want 0.38, 0.21, 0", alone, clean, some, all)
		}
		if got := r.Attacks[1].SuccessRate().Value(); got < 0.99 {
			t.Errorf("alone %v: the second attack succeeds in %.3f of the draws", alone, got)
		}
	}
}

// checkPortable: the report of draws is read as it was written, and merged by examples.
func checkPortable(t *testing.T, r *advlib.Report) {
	t.Helper()
	text, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	var read report.Report
	if err := json.Unmarshal(text, &read); err != nil {
		t.Fatal(err)
	}
	again, err := json.Marshal(&read)
	if err != nil || !bytes.Equal(text, again) {
		t.Errorf("written again, the report differs: %v", err)
	}
	twice, err := r.Merge(&read)
	if err != nil {
		t.Fatal(err)
	}
	ball := r.Balls()[0]
	if a, b := twice.Robust(ball), r.Robust(ball); a.Of != 2*b.Of || a.Value() != b.Value() || a.Draws != b.Draws {
		t.Errorf("merged with itself, %+v becomes %+v", b, a)
	}
	read.Attacks[0].Reached = read.Attacks[0].Reached[1:]
	if text, err = json.Marshal(&read); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, new(report.Report)); err == nil || !strings.Contains(err.Error(), "draws") {
		t.Errorf("draws of too few examples are read: %v", err)
	}
	if !strings.Contains(r.String(), "answers are random") {
		t.Errorf("the report does not say that the answers are random:\n%v", r)
	}
}

// unseeded is a victim without a graph that tosses its own coins: one answer in four is wrong.
type unseeded struct {
	asked int
	coin  *rand.Rand
}

func (*unseeded) Name() string { return "unseeded" }
func (*unseeded) Signature() advlib.Signature {
	return advlib.Signature{Input: []int{1}, Box: advlib.UnitBox, Classes: 2, Returns: advlib.Label, Random: true}
}
func (u *unseeded) Query(_ context.Context, x *tensors.Tensor) ([]advlib.Answer, error) {
	said := make([]advlib.Answer, x.Shape().Dimensions[0])
	for i := range said {
		said[i].Kind = advlib.Label
		if u.asked++; u.coin.IntN(4) == 0 {
			said[i].Label = 1
		}
	}
	return said, nil
}

// TestRandomVictimsThatOnlyAnswer are judged the same way, and what that sends is on the bill.
func TestRandomVictimsThatOnlyAnswer(t *testing.T) {
	u := &unseeded{coin: rand.New(rand.NewPCG(1, 2))}
	r, err := advlib.Settings{Draws: 40}.Evaluate(t.Context(), u, same(t, 0.3, 0, 8), []advlib.Attack{shift{advlib.Linf.Ball(0.1)}})
	if err != nil {
		t.Fatal(err)
	}
	a := r.Attacks[0]
	if clean := r.Clean(); math.Abs(clean.Value()-0.75) > 0.07 || math.Abs(a.SuccessRate().Value()-0.25) > 0.07 || r.Draws != 40 {
		t.Errorf("clean %v, success %v of %d draws, want 0.75 and 0.25 of 40", clean, a.SuccessRate(), r.Draws)
	}
	if sent := r.Originals + a.Sent; int(sent) != u.asked || r.Originals != 8*40 {
		t.Errorf("%d inputs were sent, and %d are on the bill, %d of them for originals", u.asked, sent, r.Originals)
	}
}
