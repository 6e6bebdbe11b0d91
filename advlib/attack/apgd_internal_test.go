package attack

import (
	"math"
	"slices"
	"testing"

	"github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"

	"advlab/advlib"
	"advlab/advlib/attack/craft"
	"advlab/advlib/backend"
)

// paced runs the schedule of 100 steps on two rows whose losses are given by step, and returns the steps after which
// each goes back to its best point, and the final step sizes in units of ε.
func paced(a APGD, losses func(step int) []float32) (back [2][]int, η []float32) {
	a = craft.Filled(a)
	a.Ball.Radius = 1
	rows := &craft.Search{Rows: &craft.Rows{At: []int{0, 1}}}
	s := &autoAscent{Search: rows, L: losses(0), bestL: losses(0), restart: make([]bool, 2), η: make([]float32, 2)}
	p := a.schedule(s, a.stages()[0], true)
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

// With 100 steps the checkpoints are p₀ = 0, p₁ = 0.22, pⱼ₊₁ = pⱼ + max(pⱼ − pⱼ₋₁ − 0.03, 0.06) of them: Croce & Hein
// (2020), section 3.2.
func TestAPGDCheckpoints(t *testing.T) {
	a := APGD{Ball: advlib.Linf.Ball(1)}
	// The first row always rises; the second always falls, so that every checkpoint halves it.
	back, η := paced(a, func(i int) []float32 { return []float32{float32(i), float32(-i)} })
	if back[0] != nil || η[0] != 2 {
		t.Errorf("a loss that always rises is sent back at %v, its step size is %g·ε, want 2·ε", back[0], η[0])
	}
	if want := []int{22, 41, 57, 70, 80, 87, 93, 99}; !slices.Equal(back[1], want) || η[1] != 2./256 {
		t.Errorf("checkpoints %v, want %v; step size %g·ε, want ε/128", back[1], want, η[1])
	}
}

// The first row rises in exactly 0.75 of the steps of the first interval (no: 16 of 22 are fewer), the second in 17
// of 22.
func TestAPGDConditions(t *testing.T) {
	a := APGD{Ball: advlib.L2.Ball(1)}
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
	// Condition 1 at 22 for 16 rises: 16 ≤ 0.75·22 = 16.5. At 41 the best loss is unchanged: condition 2 holds for the row
	// that was not halved at 22; the other one rose in 18 of 19 steps and was halved, so it stays. At 57 it is the other
	// way round.
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
		a := APGD{Ball: advlib.L1.Ball(1), Steps: steps, LargerRadii: true}
		if got := a.stages(); !slices.Equal(got, want) {
			t.Errorf("%d steps: %v, want %v", steps, got, want)
		}
	}
}

// plainAPGD is algorithm 1 of Croce & Hein (2020) in L2 for one example, in float64 and without a box: the losses after
// each step. The gradient comes with the loss.
func plainAPGD(x0, start []float64, ε float64, steps int, loss func(x []float64) (float64, []float64)) []float64 {
	add := func(a float64, x []float64, b float64, y []float64) []float64 {
		z := make([]float64, len(x))
		for i := range z {
			z[i] = a*x[i] + b*y[i]
		}
		return z
	}
	norm := func(x []float64) float64 {
		s := 0.
		for _, v := range x {
			s += v * v
		}
		return math.Sqrt(s)
	}
	project := func(x []float64) []float64 {
		δ := add(1, x, -1, x0)
		return add(1, x0, min(1, ε/norm(δ)), δ)
	}
	checkpoint := map[int]bool{22: true, 41: true, 57: true, 70: true, 80: true, 87: true, 93: true, 99: true}
	x, old := start, start
	L, g := loss(x)
	best, bestL, bestG := x, L, g
	η, rises, since, lastL, halved := 2*ε, 0, 0, L, true
	var losses []float64
	for k := 1; k <= steps; k++ {
		α := 0.75
		if k == 1 {
			α = 1
		}
		z := project(add(1, x, η/norm(g), g))
		next := project(add(1, add(1, x, α, add(1, z, -1, x)), 1-α, add(1, x, -1, old)))
		old, x = x, next
		before := L
		L, g = loss(x)
		losses = append(losses, L)
		if L > before {
			rises++
		}
		if L > bestL {
			best, bestL, bestG = x, L, g
		}
		if since++; checkpoint[k] {
			few, stuck := float64(rises) <= 0.75*float64(since), !halved && bestL == lastL
			if halved = few || stuck; halved {
				η /= 2
				x, g = best, bestG
			}
			rises, since, lastL = 0, 0, bestL
		}
	}
	return losses
}

// Step by step, the graph and the schedule are the algorithm of the paper: the margins of three logits agree within
// 1e-3 over 100 steps from the same start. Among them are steps that fall, and steps back to the best point, which the
// test makes sure of.
func TestAPGDIsTheAlgorithm(t *testing.T) {
	b, err := backend.OpenNamed(backend.Go)
	if err != nil {
		t.Fatal(err)
	}
	// The sine bends the loss so that long steps go too far; the label leads by so much that it is never left.
	W := [][]float64{{3, -2, 1}, {-1, 2, 2}, {0.5, 1, -3}, {2, -1, -1}}
	W32 := make([][]float32, len(W))
	for i, row := range W {
		for _, v := range row {
			W32[i] = append(W32[i], float32(v))
		}
	}
	c, err := advlib.NewClassifier(advlib.Spec{Name: "bent", Input: []int{4}, Box: advlib.Box{Lo: -8, Hi: 8}, Backend: b,
		Logits: func(_ *model.Scope, x *graph.Node) *graph.Node {
			z := graph.Dot(graph.Sin(graph.MulScalar(x, 9)), graph.Const(x.Graph(), W32)).Product()
			return graph.Add(z, graph.Const(x.Graph(), [][]float32{{30, 0, 0}}))
		}})
	if err != nil {
		t.Fatal(err)
	}
	const y, ε = 0, 0.25
	x0 := []float64{0.5, -0.5, 0.25, 0.5}
	loss := func(x []float64) (float64, []float64) {
		z := []float64{30, 0, 0}
		for k := range z {
			for i, v := range x {
				z[k] += W[i][k] * math.Sin(9*v)
			}
		}
		j := 1
		if z[2] > z[1] {
			j = 2
		}
		g := make([]float64, len(x))
		for i, v := range x {
			g[i] = (W[i][j] - W[i][y]) * 9 * math.Cos(9*v)
		}
		return z[j] - z[y], g
	}
	a := craft.Filled(APGD{Ball: advlib.L2.Ball(ε), Loss: advlib.Margin})
	batch := advlib.Batch{X: tensors.FromFlatDataAndDimensions([]float32{0.5, -0.5, 0.25, 0.5}, 1, 4), Y: []int32{y}}
	s := a.start(advlib.Count(c), batch, []int{0}, 0)
	defer s.Free()
	if err := s.enter(t.Context(), ε, true); err != nil {
		t.Fatal(err)
	}
	var start []float64
	for _, v := range tensors.MustCopyFlatData[float32](s.State[0])[:4] {
		start = append(start, float64(v))
	}
	want := plainAPGD(x0, start, ε, 100, loss)
	p := a.schedule(s, a.stages()[0], true)
	falls, back := 0, 0
	for k := range 100 {
		before := s.L
		if err := s.step(t.Context(), k); err != nil {
			t.Fatal(err)
		}
		if s.solved[0] {
			t.Fatalf("solved after step %d: this tests too little", k+1)
		}
		if got := float64(s.L[0]); math.Abs(got-want[k]) > 1e-3 {
			t.Fatalf("step %d: the loss is %.6f, by the algorithm %.6f", k+1, got, want[k])
		}
		if s.L[0] < before[0] {
			falls++
		}
		p.after(s, before)
		if s.restart[0] {
			back++
		}
	}
	if falls < 10 || back < 3 {
		t.Errorf("the loss fell in %d steps, the search went back %d times: this tests too little", falls, back)
	}
}
