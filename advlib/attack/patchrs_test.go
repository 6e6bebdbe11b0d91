package attack_test

import (
	"math"
	"strings"
	"testing"

	"github.com/gomlx/gomlx/core/tensors"

	"advlab/advlib"
	"advlab/advlib/attack"
	"advlab/advlib/attack/attacktest"
	"advlab/advlib/oracle"
)

// scoresOf is a linear model as a Go function of images of that shape that answers with logits.
func scoresOf(l *attacktest.Linear, shape ...int) (advlib.Victim, *advlib.Examples) {
	s := advlib.Signature{Input: shape, Box: advlib.UnitBox, Classes: len(l.W), Returns: advlib.Logits}
	v := oracle.Func(l.Examples.Name, s, func(x []float32) []float32 {
		z := make([]float32, len(l.W))
		for k, w := range l.W {
			sum := 0.
			for j, v := range w {
				sum += v * float64(x[j])
			}
			z[k] = float32(sum)
		}
		return z
	})
	e := *l.Examples
	e.X = tensors.FromFlatDataAndDimensions(tensors.MustCopyFlatData[float32](e.X), append([]int{e.Len()}, shape...)...)
	return v, &e
}

// lead returns by how much the best patch of h × w pixels makes another class lead: at each place each value goes to
// the end that is better for that class.
func lead(l *attacktest.Linear, x []float32, y, h, w int, shape [3]int) float64 {
	best := math.Inf(-1)
	for k := range l.W {
		if k == y {
			continue
		}
		gap, gain := 0., make([]float64, len(x))
		for j := range x {
			v := l.W[k][j] - l.W[y][j]
			gap += v * float64(x[j])
			gain[j] = max(v*(1-float64(x[j])), -v*float64(x[j]))
		}
		for top := range shape[0] - h + 1 {
			for left := range shape[1] - w + 1 {
				sum := gap
				for i := range h {
					for j := range w * shape[2] {
						sum += gain[((top+i)*shape[1]+left)*shape[2]+j]
					}
				}
				best = max(best, sum)
			}
		}
	}
	return best
}

// On linear models it is known which examples a patch can break: those are broken whose best patch leads clearly, none
// that no patch can break, and what has changed lies in one rectangle of the patch's sides, at the
// ends of the box. Images may be narrower than the patch, and have any channels.
func TestPatchRSOnLinearModels(t *testing.T) {
	for _, c := range []struct {
		shape  [3]int
		values float64
		h, w   int
	}{
		{[3]int{8, 8, 1}, 4, 2, 2}, {[3]int{8, 8, 1}, 9, 3, 3}, {[3]int{6, 7, 3}, 14, 2, 2}, {[3]int{6, 7, 3}, 27, 3, 3},
		{[3]int{2, 30, 1}, 9, 2, 4}, {[3]int{1, 64, 1}, 4, 1, 4},
	} {
		breakable, found := 0, 0
		for seed := range uint64(3) {
			l := linear(t, attacktest.LinearSpec{Seed: seed + 40, Coordinates: c.shape[0] * c.shape[1] * c.shape[2], Examples: 20})
			v, e := scoresOf(l, c.shape[:]...)
			res := measured(t, v, e, attack.PatchRS{Ball: advlib.L0.Ball(c.values), Queries: 1500})
			x, adv := tensors.MustCopyFlatData[float32](e.X), tensors.MustCopyFlatData[float32](res.Adversarial)
			n := len(x) / e.Len()
			for i := range e.Len() {
				x, adv := x[i*n:(i+1)*n], adv[i*n:(i+1)*n]
				can := lead(l, x, int(e.Y[i]), c.h, c.w, c.shape)
				if can > 0.3 {
					breakable++
					if res.Success[i] {
						found++
					}
				}
				if can < -1e-4 && res.Success[i] {
					t.Errorf("%v, %v values, example %d: broken, where the best patch leads by %g", c.shape, c.values, i, can)
				}
				top, left, bottom, right := n, n, -1, -1
				for j := range x {
					if x[j] == adv[j] {
						continue
					}
					row, column := j/c.shape[2]/c.shape[1], j/c.shape[2]%c.shape[1]
					top, left, bottom, right = min(top, row), min(left, column), max(bottom, row), max(right, column)
					if adv[j] != 0 && adv[j] != 1 {
						t.Errorf("%v, example %d: %g at %d", c.shape, i, adv[j], j)
					}
				}
				if bottom-top >= c.h || right-left >= c.w {
					t.Errorf("%v, example %d: rows %d to %d and columns %d to %d have changed, of a patch of %d × %d", c.shape, i, top, bottom,
						left, right, c.h, c.w)
				}
			}
		}
		t.Logf("%v, a patch of %d × %d: %d of %d broken", c.shape, c.h, c.w, found, breakable)
		if breakable < 50 || found < breakable {
			t.Errorf("%v, a patch of %d × %d: %d of %d broken", c.shape, c.h, c.w, found, breakable)
		}
	}
}

// A patch reaches all places: one that can be in the last row and column only, and one that is the image.
func TestPatchRSReachesEdges(t *testing.T) {
	s := advlib.Signature{Input: []int{5, 5}, Box: advlib.UnitBox, Classes: 2, Returns: advlib.Logits}
	corner := oracle.Func("the last pixel", s, func(x []float32) []float32 { return []float32{0.5, x[24]} })
	all := oracle.Func("all pixels", s, func(x []float32) []float32 {
		sum := float32(0)
		for _, v := range x {
			sum += v
		}
		return []float32{24.5, sum}
	})
	e, err := advlib.NewExamples("black", make([]float32, 25), []int{5, 5}, []int32{0})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		v      advlib.Victim
		values float64
	}{{corner, 1}, {corner, 4}, {all, 25}, {all, 100}} {
		if res := measured(t, c.v, e, attack.PatchRS{Ball: advlib.L0.Ball(c.values), Queries: 1500}); !res.Success[0] {
			t.Errorf("%s: a patch of %g values does not break it", c.v.Name(), c.values)
		}
	}
	// Of one pixel there are 50 points; none is asked about twice.
	never := oracle.Count(oracle.Func("never", s, func(x []float32) []float32 { return []float32{2, x[24] + x[3]} }))
	measured(t, never, e, attack.PatchRS{Ball: advlib.L0.Ball(1), Queries: 1500})
	if n := never.Queries(); n > 52 {
		t.Errorf("%d queries about 50 points, the clean one and the last check", n)
	}
}

func TestPatchRSRefusals(t *testing.T) {
	l := linear(t, attacktest.LinearSpec{Seed: 1, Coordinates: 48, Examples: 2})
	v, _ := scoresOf(l, 4, 4, 3)
	l0 := advlib.L0.Ball(27)
	for want, a := range map[string]attack.PatchRS{
		"the ball is unset":                     {},
		"L0":                                    {Ball: advlib.L2.Ball(1)},
		"radius 2 is less than the 3 values of": {Ball: advlib.L0.Ball(2)},
		"Area = 1.5 is not in (0, 1]":           {Ball: l0, Area: 1.5},
		"Period = -1 is below 0":                {Ball: l0, Period: -1},
		"Queries = -1 is below 0":               {Ball: l0, Queries: -1},
	} {
		if _, err := a.Threat(v); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: error %v does not say %q", a, err, want)
		}
	}
	if _, err := (attack.PatchRS{Ball: l0}).Threat(oracle.Labels(v)); err == nil {
		t.Error("a victim that answers labels only is not refused")
	}
	a := attack.PatchRS{Ball: l0, Goal: advlib.Targeted(1), Period: 5}
	if got, want := a.String(), "Patch-RS-10000 L0 ≤ 27, targeted(1), place at each 5"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
