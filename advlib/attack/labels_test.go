package attack_test

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/gomlx/gomlx/core/tensors"

	"advlab/advlib"
	"advlab/advlib/attack"
	"advlab/advlib/attack/attacktest"
	"advlab/advlib/oracle"
)

// labelsOf is a linear model as a Go function of images of 8×8 pixels that answers with labels only; asked is called
// for each question.
func labelsOf(l *attacktest.Linear, asked func(x []float32)) (advlib.Victim, *advlib.Examples) {
	s := advlib.Signature{Input: []int{8, 8, 1}, Box: advlib.UnitBox, Classes: len(l.W)}
	v := oracle.Decide(l.Examples.Name, s, func(x []float32) int {
		if asked != nil {
			asked(x)
		}
		best, class := math.Inf(-1), 0
		for k, w := range l.W {
			z := 0.
			for j, v := range w {
				z += v * float64(x[j])
			}
			if z > best {
				best, class = z, k
			}
		}
		return class
	})
	e := *l.Examples
	e.X = tensors.FromFlatDataAndDimensions(tensors.MustCopyFlatData[float32](e.X), e.Len(), 8, 8, 1)
	return v, &e
}

// byLabels returns the attacks by labels, with a budget for each example.
func byLabels(queries int) []advlib.Attack {
	return []advlib.Attack{
		attack.HopSkipJump{Norm: advlib.L2, Queries: queries},
		attack.HopSkipJump{Norm: advlib.Linf, Queries: queries},
		attack.RayS{Queries: queries},
		attack.CGBAH{Queries: queries},
		attack.SurFree{Queries: queries},
		attack.SignOPT{Queries: queries},
		attack.Pointwise{Norm: advlib.L0, Queries: queries},
		attack.Pointwise{Norm: advlib.L2, Queries: queries},
		attack.BoundaryAttack{Queries: queries},
	}
}

func measured(t *testing.T, v advlib.Victim, e *advlib.Examples, a advlib.Attack) *advlib.Result {
	t.Helper()
	res, err := advlib.Run(context.Background(), v, e, a)
	if err != nil {
		t.Fatalf("%v: %v", a, err)
	}
	return res
}

// A batch gives each example what it gets alone, bit for bit, and a run with a small budget is the beginning of one
// with a large one: its distance is the smallest of the questions that both ask, and the large one asks the same.
func TestLabelsAloneAndInTheBeginning(t *testing.T) {
	l := linear(t, attacktest.LinearSpec{Seed: 5, Coordinates: 64, Examples: 6})
	var asked [][]float32
	v, e := labelsOf(l, func(x []float32) { asked = append(asked, slices.Clone(x)) })
	questions := func(e *advlib.Examples, a advlib.Attack) ([][]float32, *advlib.Result) {
		asked = nil
		res := measured(t, v, e, a)
		return asked, res
	}
	short, long := byLabels(300), byLabels(2600) // other starts begin after 2000
	for i := range short {
		all := measured(t, v, e, short[i])
		for row := range 2 {
			one := e.Select([]int{row})
			first, alone := questions(one, short[i])
			if all.Distance[row] != alone.Distance[0] {
				t.Errorf("%v, example %d: distance %g in a batch, %g alone", short[i], row, all.Distance[row], alone.Distance[0])
			}
			second, more := questions(one, long[i])
			if n := len(first) - 1; !slices.EqualFunc(first[:n], second[:n], slices.Equal) { // the last one is the check
				t.Errorf("%v, example %d: the first %d questions differ with a budget of 2600", short[i], row, n)
			}
			if more.Distance[0] > alone.Distance[0] {
				t.Errorf("%v, example %d: distance %g with a larger budget, %g before", short[i], row, more.Distance[0], alone.Distance[0])
			}
		}
	}
}

// A victim that counts by itself is asked as often as the budget says, never more; with a budget of 1 or 2 there is
// nothing left for the search, and nothing is found.
func TestLabelsBudget(t *testing.T) {
	l := linear(t, attacktest.LinearSpec{Seed: 6, Coordinates: 64, Examples: 4, Binary: true})
	asked := 0
	v, e := labelsOf(l, func([]float32) { asked++ })
	for _, queries := range []int{1, 2, 10, 400} {
		for _, a := range byLabels(queries) {
			for row := range e.Len() {
				asked = 0
				res := measured(t, v, e.Select([]int{row}), a)
				if asked > max(2, queries) || queries > 10 && asked < queries-1 {
					t.Errorf("%v, example %d: %d queries", a, row, asked)
				}
				if queries <= 2 && res.Success[0] {
					t.Errorf("%v, example %d: broken without a question", a, row)
				}
				if queries == 400 && !res.Success[0] {
					t.Errorf("%v, example %d: not broken", a, row)
				}
			}
		}
	}
}

// Given points are where an attack begins: of the target's class for a targeted goal, of another class than the label
// without one; the first question about an example is such a point.
func TestLabelsStarts(t *testing.T) {
	l := linear(t, attacktest.LinearSpec{Seed: 7, Coordinates: 64, Examples: 40})
	var asked [][]float32
	v, all := labelsOf(l, func(x []float32) { asked = append(asked, slices.Clone(x)) })
	e, from := all.First(4), all.Slice(4, 40)
	given := tensors.MustCopyFlatData[float32](from.X)
	for _, goal := range []advlib.Goal{advlib.Untargeted, advlib.Targeted(int(from.Y[0]))} {
		for _, a := range []advlib.Attack{
			attack.HopSkipJump{Norm: advlib.L2, Goal: goal, Queries: 1000, Starts: attack.Starts{From: from}},
			attack.HopSkipJump{Norm: advlib.Linf, Goal: goal, Queries: 1000, Starts: attack.Starts{From: from, OneStart: true}},
			attack.RayS{Goal: goal, Queries: 1000, From: from},
		} {
			for row := range e.Len() {
				if goal.IsTargeted() && e.Y[row] == from.Y[0] {
					continue
				}
				asked = nil
				res := measured(t, v, e.Select([]int{row}), a)
				if !res.Success[0] {
					t.Errorf("%v, example %d: not broken", a, row)
				}
				if _, rays := a.(attack.RayS); rays {
					continue // begins at the corner in that direction
				}
				k := 0
				for k < from.Len()-1 && !slices.Equal(given[k*64:(k+1)*64], asked[1]) {
					k++
				}
				if fits := from.Y[k] != e.Y[row]; !slices.Equal(given[k*64:(k+1)*64], asked[1]) || !fits ||
					goal.IsTargeted() && from.Y[k] != from.Y[0] {
					t.Errorf("%v, example %d of class %d: it begins at none of the given points of the goal", a, row, e.Y[row])
				}
			}
		}
	}
}

// What cannot be a start is refused before the first question.
func TestLabelsStartsRefused(t *testing.T) {
	l := linear(t, attacktest.LinearSpec{Seed: 8, Coordinates: 64, Examples: 2})
	v, e := labelsOf(l, func([]float32) { t.Error("a question") })
	for _, c := range []struct {
		a    advlib.Attack
		want string
	}{
		{attack.HopSkipJump{Norm: advlib.L2, Starts: attack.Starts{From: l.Examples}}, "of shape [64]"},
		{attack.RayS{From: l.Examples}, "of shape [64]"},
		{attack.HopSkipJump{Norm: advlib.L2, Starts: attack.Starts{Tries: 3, OneStart: true}}, "contradict"},
		{attack.HopSkipJump{Norm: advlib.L1}, "L2, Linf"},
		{attack.HopSkipJump{Norm: advlib.L2, Queries: -1}, "below 0"},
		{attack.RayS{Tolerance: 2}, "Tolerance = 2"},
	} {
		if _, err := advlib.Run(context.Background(), v, e, c.a); err == nil || !strings.Contains(fmt.Sprint(err), c.want) {
			t.Errorf("%+v: the error is %v, without %q", c.a, err, c.want)
		}
	}
}

// With images of bytes every question is one, and noise is not rounded away: distances are at most a step and a half of
// every pixel more than 1.3 of the optimum without steps, but for the two attacks that are not as near without steps.
func TestLabelsOnBytes(t *testing.T) {
	l := linear(t, attacktest.LinearSpec{Seed: 9, Coordinates: 64, Examples: 4, Binary: true})
	odd := 0
	v, e := labelsOf(l, func(x []float32) {
		for _, p := range x {
			if b := 255 * float64(p); math.Abs(b-math.Round(b)) > 1e-4 {
				odd++
			}
		}
	})
	bytes := make(advlib.Domain, 64)
	for j := range bytes {
		bytes[j] = advlib.Feature{Lo: 0, Hi: 1, Step: 1. / 255}
	}
	s := v.Signature()
	s.Domain = bytes
	rounded := oracle.Decide("bytes", s, func(x []float32) int {
		a, err := v.Query(context.Background(), tensors.FromFlatDataAndDimensions(slices.Clone(x), 1, 8, 8, 1))
		if err != nil {
			t.Fatal(err)
		}
		return int(a[0].Label)
	})
	for _, a := range byLabels(1500) {
		norm := advlib.Norm(advlib.Linf)
		if strings.Contains(a.String(), "L2") {
			norm = advlib.L2
		}
		res, factor := measured(t, rounded, e, a), 1.3
		switch a.(type) {
		case attack.Pointwise, attack.BoundaryAttack:
			continue
		case attack.SignOPT: // a step rounds away most of what it tries
			factor = 2
		}
		for i, d := range res.Distance {
			if most := factor*l.Distance(norm, i) + norm.Diameter(64, 1.5/255); !(d <= most) {
				t.Errorf("%v, example %d: distance %g, more than %g", a, i, d, most)
			}
		}
	}
	if odd > 0 {
		t.Errorf("%d values were asked about that are no bytes", odd)
	}
}
