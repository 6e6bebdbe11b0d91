package attack

import (
	"slices"
	"testing"

	"advlab/advlib"
)

// paced runs the schedule of 100 steps on two rows whose losses are given by step, and returns the steps after which each goes back to its
// best point, and the final step sizes in units of ε.
func paced(a APGD, losses func(step int) []float32) (back [2][]int, η []float32) {
	a.Ball.Radius = 1
	s := &autoAscent{group: &group{rows: []int{0, 1}}, L: losses(0), bestL: losses(0), restart: make([]bool, 2), η: make([]float32, 2)}
	p := a.pace(s, a.stages()[0], true)
	for i := 1; i <= 100; i++ {
		before := s.L
		s.L = losses(i)
		clear(s.restart)
		for r, L := range s.L {
			s.bestL[r] = max(s.bestL[r], L)
		}
		p.after(s, before)
		for r, again := range s.restart {
			if again {
				back[r] = append(back[r], i)
			}
		}
	}
	return back, s.η
}

// With 100 steps the checkpoints are p₀ = 0, p₁ = 0.22, pⱼ₊₁ = pⱼ + max(pⱼ − pⱼ₋₁ − 0.03, 0.06) of them: Croce & Hein (2020), section 3.2.
func TestAPGDCheckpoints(t *testing.T) {
	a := APGD{Ball: advlib.BallOf(advlib.Linf, 1)}
	// The first row always rises; the second always falls, so that every checkpoint halves it.
	back, η := paced(a, func(i int) []float32 { return []float32{float32(i), float32(-i)} })
	if back[0] != nil || η[0] != 2 {
		t.Errorf("a loss that always rises is sent back at %v, its step size is %g·ε, want 2·ε", back[0], η[0])
	}
	if want := []int{22, 41, 57, 70, 80, 87, 93, 99}; !slices.Equal(back[1], want) || η[1] != 2./256 {
		t.Errorf("checkpoints %v, want %v; step size %g·ε, want ε/128", back[1], want, η[1])
	}
}

// The first row rises in exactly 0.75 of the steps of the first interval (no: 16 of 22 are fewer), the second in 17 of 22.
func TestAPGDConditions(t *testing.T) {
	a := APGD{Ball: advlib.BallOf(advlib.L2, 1)}
	curve := func(rises int) []float32 {
		l := []float32{0}
		for i := 1; i <= 100; i++ {
			switch {
			case i <= 22-rises: // falls first
				l = append(l, l[i-1]-0.1)
			case i <= 22:
				l = append(l, l[i-1]+1)
			case i <= 23: // one fall, so that the best loss is not reached again before the next checkpoint
				l = append(l, l[i-1]-100)
			default:
				l = append(l, l[i-1]+1)
			}
		}
		return l
	}
	few, many := curve(16), curve(17)
	back, _ := paced(a, func(i int) []float32 { return []float32{few[i], many[i]} })
	// Condition 1 at 22 for 16 rises: 16 ≤ 0.75·22 = 16.5. At 41 the best loss is unchanged: condition 2 holds for the row that was not halved
	// at 22; the other one rose in 18 of 19 steps and was halved, so it stays. At 57 it is the other way round.
	if len(back[0]) < 2 || back[0][0] != 22 || back[0][1] != 57 {
		t.Errorf("16 rises of 22: sent back at %v, want 22, 57, …", back[0])
	}
	if len(back[1]) < 1 || back[1][0] != 41 {
		t.Errorf("17 rises of 22: sent back at %v, want 41, …", back[1])
	}
}

// 0.3, 0.3 and 0.4 of the steps are spent in the balls of 3ε, 2ε and ε: Croce & Hein (2021), section 3.4.
func TestAPGDStages(t *testing.T) {
	for steps, want := range map[int][]stage{
		100: {{3, 30}, {2, 30}, {1, 40}},
		20:  {{3, 6}, {2, 6}, {1, 8}},
		3:   {{3, 1}, {2, 1}, {1, 1}},
	} {
		a := APGD{Ball: advlib.BallOf(advlib.L1, 1), Steps: steps, LargerRadii: true}
		if got := a.stages(); !slices.Equal(got, want) {
			t.Errorf("%d steps: %v, want %v", steps, got, want)
		}
	}
}
