package attack

import (
	"cmp"
	"context"
	"math"
	"slices"

	. "advlab/advlib/internal/equation"

	"github.com/gomlx/gomlx/core/tensors"

	"advlab/advlib"
	"advlab/advlib/attack/craft"
)

func init() {
	register[JSMA](Nearest, Command{Name: "jsma", About: "JSMA: pairs of values by their saliency, up or down",
		Make: func(advlib.Ball) advlib.Attack {
			return JSMA{BothDirections: true, Gamma: 1}
		}})
}

// JSMA is the attack by saliency map of Papernot et al. (2016), arXiv:1511.07528, algorithm 2: in each step it changes
// the two coordinates that together raise the logit of the target and lower the sum of the others most.
//
// As in the paper the derivatives are those of the logits, not of the probabilities, and a step moves a coordinate to
// the end of the box. Without a target, which the paper does not have, the map is that of the label with its signs
// turned (Wiyatno & Xu 2018, arXiv:1808.07945, NT-JSMA). At the end changes that are not needed are undone.
// [AllTargets] with BothDirections is the strongest form.
type JSMA struct {
	// Goal is untargeted if zero.
	Goal advlib.Goal
	// Theta is θ, how far a coordinate moves in a step, in widths of the box; 0 means 1, to its end.
	Theta float64
	// Gamma is γ, the largest share of the coordinates that is changed, at most 1; 0 means 0.145.
	Gamma float64
	// BothDirections lets a coordinate fall as well as rise; the paper lets it rise.
	BothDirections bool
	// Candidates is among how many coordinates the pair is searched, those that alone do most; 0 means 1024. Time is
	// quadratic in it, memory linear.
	Candidates int
	// NoLineSearch leaves the final undoing out.
	NoLineSearch bool
}

// Describe implements [craft.Described].
func (a *JSMA) Describe(d *craft.Description) {
	d.Paper("Papernot et al. 2016, arXiv:1511.07528")
	d.Gradients()
	d.Minimal(advlib.L0)
	d.Goal(&a.Goal)
	d.Size(&a.Theta, 1).As("θ = %g")
	d.Portion(&a.Gamma, 0.145, "the largest share of the coordinates that is changed")
	d.Flag(&a.BothDirections, "both directions")
	d.Refuse(a.Candidates == 1, "Candidates = 1 is no pair: leave it at 0 for 1024, or give at least 2")
	d.Count(&a.Candidates, 1024).As("%d candidates")
	d.Flag(&a.NoLineSearch, "no line search")
	d.Name("JSMA %.4g %%", 100*a.Gamma)
}

// String returns for example "JSMA 14.5 % L0 minimal".
func (a JSMA) String() string { return craft.Name(a) }

// Threat implements [advlib.Attack].
func (a JSMA) Threat(v advlib.Victim) (advlib.Threat, error) { return craft.Threat(a, v) }

// Perturb implements [advlib.Attack].
func (a JSMA) Perturb(ctx context.Context, v *advlib.Counted, b advlib.Batch) (*tensors.Tensor, error) {
	a, err := craft.Ready(a, v, b)
	if err != nil {
		return nil, err
	}
	limits := v.Signature().Limits()
	if err := limits.Check(); err != nil {
		return nil, err
	}
	step := craft.Compile(v, b, jsmaStep{}, jsmaStep{}.graph)
	return craft.Nearest(ctx, b, func(s *craft.Search) error {
		if err := a.search(ctx, s, step, limits); err != nil {
			return err
		}
		if a.NoLineSearch {
			return nil
		}
		return s.Restore(ctx, v)
	})
}

// search changes pairs of coordinates until all rows are adversarial, or nothing more may be changed.
func (a JSMA) search(ctx context.Context, s *craft.Search, step *advlib.Step, limits advlib.Limits) error {
	flat, dims := tensors.MustCopyFlatData[float32](s.X0), s.X0.Shape().Dimensions
	size := len(flat) / s.Size
	most := int(a.Gamma * float64(limits.Free()))
	original := slices.Clone(flat)
	done := make([]bool, len(s.At))
	for slices.Contains(done, false) {
		x := tensors.FromFlatDataAndDimensions(flat, dims...)
		out, err := s.Run(ctx, step, x)
		advlib.Free(x)
		if err != nil {
			return err
		}
		hit := tensors.MustCopyFlatData[bool](out[0])
		rise, fall := tensors.MustCopyFlatData[float32](out[1]), tensors.MustCopyFlatData[float32](out[2])
		advlib.Free(out...)
		for i := range s.At {
			if done[i] = done[i] || hit[i]; done[i] {
				continue
			}
			row := func(v []float32) []float32 { return v[i*size : (i+1)*size] }
			done[i] = !a.change(row(flat), row(original), row(rise), row(fall), most, limits)
		}
	}
	return nil
}

// move is a coordinate and a direction in which it may go.
type move struct {
	at   int
	to   float32
	α, β float64 // the derivatives of the target's logit and of the sum of the others, in that direction
	new  bool    // the coordinate has not been changed before
}

// change moves the pair of coordinates of largest saliency in x. It returns false if there is none, or it would be more
// than may be changed.
func (a JSMA) change(x, original, rise, fall []float32, most int, limits advlib.Limits) bool {
	changed := 0
	var moves []move
	for j := range x {
		fresh := x[j] == original[j]
		if !fresh {
			changed++
		}
		for _, direction := range []float64{1, -1} {
			if direction < 0 && !a.BothDirections {
				continue
			}
			θ := a.Theta * limits.RangeOf(j).Width()
			to := limits.Clamp(j, float64(x[j])+direction*θ, original[j])
			if to == x[j] {
				continue
			}
			// A coordinate goes one way only, or pairs could take each other back for ever.
			if !fresh && (to > x[j]) != (x[j] > original[j]) {
				continue
			}
			moves = append(moves, move{at: j, to: to, α: direction * float64(rise[j]), β: direction * float64(fall[j]), new: fresh})
		}
	}
	p, q, ok := salient(strongest(moves, a.Candidates), most-changed)
	if !ok {
		return false
	}
	x[p.at], x[q.at] = p.to, q.to
	return true
}

// strongest returns the moves that alone do most for both derivatives, each measured by its largest value.
func strongest(moves []move, most int) []move {
	if len(moves) <= most {
		return moves
	}
	var α, β float64
	for _, m := range moves {
		α, β = max(α, math.Abs(m.α)), max(β, math.Abs(m.β))
	}
	alone := func(m move) float64 { return m.α*β - m.β*α }
	slices.SortStableFunc(moves, func(a, b move) int { return cmp.Compare(alone(b), alone(a)) })
	return moves[:most]
}

// salient returns the pair of moves of different coordinates with the largest saliency −α·β, where α > 0 is the sum of
// their derivatives of the target's logit and β < 0 of those of the others' sum: Papernot et al. (2016), algorithm 3.
// At most room coordinates may be new.
func salient(moves []move, room int) (p, q move, ok bool) {
	best := 0.
	for i, m := range moves {
		for _, n := range moves[i+1:] {
			α, β := m.α+n.α, m.β+n.β
			if α <= 0 || β >= 0 || -α*β <= best || m.at == n.at {
				continue
			}
			news := 0
			if m.new {
				news++
			}
			if n.new {
				news++
			}
			if news > room {
				continue
			}
			p, q, best, ok = m, n, -α*β, true
		}
	}
	return p, q, ok
}

// jsmaStep determines the graph of a step.
type jsmaStep struct{}

// graph judges x, and returns whether it is adversarial, ∂Z_t/∂x and ∂(Σ_{j≠t} Z_j)/∂x; without a target, those of the
// label, negated.
func (s jsmaStep) graph(p *craft.Point, in []*Node) []*Node {
	best, bestD, x := in[0], in[1], in[2]
	z := p.Logits(x)
	hit := p.Reached(z)
	best, bestD, _ = p.Nearer(advlib.L0, x, hit, best, bestD)
	class, sign := p.Goal.Label, -1.
	if p.Goal.Target != nil {
		class, sign = p.Goal.Target, 1
	}
	zt := advlib.At(z, class)
	rise := p.Gradient(MulScalar(zt, sign), x)
	fall := p.Gradient(MulScalar(Sub(ReduceSum(z, -1), zt), sign), x)
	return []*Node{best, bestD, hit, rise, fall}
}
