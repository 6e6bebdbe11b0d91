package attack

import (
	"context"
	"slices"

	. "advlab/advlib/internal/equation"

	"github.com/gomlx/gomlx/core/tensors"

	"advlab/advlib"
	"advlab/advlib/attack/craft"
)

func init() {
	register[DeepFool](Nearest, Command{Name: "deepfool", About: "DeepFool: the nearest boundary, step by step",
		Make: func(b advlib.Ball) advlib.Attack {
			return DeepFool{Norm: b.Norm}
		}})
}

// DeepFool is the attack of Moosavi-Dezfooli et al. (2016), arXiv:1511.04599, algorithm 2: each step goes to the
// nearest of the boundaries with the most likely other classes, as if the classifier were linear, until the label is
// left.
//
// As in foolbox, whose constants are those of the paper's authors, 10 classes with the label are looked at, the most
// likely by the logits of the original; the point judged is x₀ + (1 + overshoot)·Σ rᵢ, clipped to the box; and an
// example is left alone once it is adversarial. With a target, which the paper does not have, the only boundary looked
// at is that with the target. Its result is the first adversarial example, not the nearest: other attacks of minimal
// norm come nearer.
type DeepFool struct {
	// Norm is what is minimised: L2 or Linf. It must be set.
	Norm advlib.Norm
	// Goal is untargeted if zero.
	Goal advlib.Goal
	// Steps at most; 0 means 50.
	Steps int
	// Candidates is how many classes are looked at, with the label; 0 means 10. More cost more passes.
	Candidates int
	// Overshoot is η, by how much more than to the boundary the example is moved; 0 means 0.02.
	Overshoot float64
}

// Describe implements [craft.Described].
func (a *DeepFool) Describe(d *craft.Description) {
	d.Paper("Moosavi-Dezfooli et al. 2016, arXiv:1511.04599")
	d.Gradients()
	d.Norm(&a.Norm, advlib.L2, advlib.Linf)
	d.Goal(&a.Goal)
	d.Count(&a.Steps, 50)
	candidates(d, &a.Candidates)
	d.Size(&a.Overshoot, 0.02).As("overshoot %g")
	d.Name("DeepFool-%d", a.Steps)
	d.Passes(a.Steps, a.Steps*boundariesSeen(d, a.Candidates))
}

// String returns for example "DeepFool-50 L2 minimal".
func (a DeepFool) String() string { return craft.Name(a) }

// Threat implements [advlib.Attack].
func (a DeepFool) Threat(v advlib.Victim) (advlib.Threat, error) { return craft.Threat(a, v) }

// Plan implements [advlib.Planner].
func (a DeepFool) Plan(v advlib.Victim) (forward, backward float64, known bool) {
	return craft.Plan(a, v)
}

// Perturb implements [advlib.Attack].
func (a DeepFool) Perturb(ctx context.Context, v *advlib.Counted, b advlib.Batch) (*tensors.Tensor, error) {
	a, err := craft.Ready(a, v, b)
	if err != nil {
		return nil, err
	}
	key := deepFoolStep{norm: a.Norm.(advlib.ConvexNorm), η: a.Overshoot, others: min(a.Candidates, v.Signature().Classes) - 1}
	step := craft.Compile(v, b, key, key.graph)
	clean, err := v.Logits(ctx, b.X)
	if err != nil {
		return nil, err
	}
	return craft.Nearest(ctx, b, func(s *craft.Search) error {
		classes := others(s.Rows, clean, key.others)
		defer advlib.Free(classes)
		s.Push(s.Zeros())
		for range a.Steps + 1 { // the last one judges
			out, err := s.Run(ctx, step, classes)
			if err != nil {
				return err
			}
			standing := tensors.MustCopyFlatData[bool](out[0])[:len(s.At)]
			advlib.Free(out...)
			if !slices.Contains(standing, true) {
				break
			}
		}
		return nil
	})
}

// deepFoolStep determines the graph of a step.
type deepFoolStep struct {
	norm   advlib.ConvexNorm
	others int // classes looked at, but the label
	η      float64
}

// deepFoolε is added to the length of a step in widths of the box, so that it ends beyond the boundary (foolbox's
// constant).
const deepFoolε = 1e-4

// graph is one iteration of Moosavi-Dezfooli et al. (2016), algorithm 2, lines 5 to 11, with r = Σ rᵢ:
//
//	x = clip(x₀ + (1 + η)·r),  k̂ = argmin |f_k|/‖w_k‖_q
//	r ← r + (|f_k̂|/‖w_k̂‖_q)·d,  d = argmax ⟨d, w_k̂⟩ over ‖d‖_p ≤ 1
//
// in L2 d = w/‖w‖₂, in Linf d = sign(w) (section 3.3, equations 10 to 12). It also returns which rows are not
// adversarial yet.
func (s deepFoolStep) graph(p *craft.Point, in []*Node) []*Node {
	best, bestD, r, classes := in[0], in[1], in[2], in[3]

	x := p.Clip(Add(p.X0, MulScalar(r, 1+s.η)))
	z := p.Logits(x)
	hit := p.Reached(z)
	best, bestD, _ = p.Nearer(s.norm, x, hit, best, bestD)
	standing := Equal(bestD, Infinity(bestD.Graph(), bestD.DType(), 1))

	f, w := boundaries(p, s.norm, z, x, classes)
	slope := s.norm.Dual().Of(w)
	flat := Equal(slope, ZerosLike(slope))
	length := AddScalar(Div(Abs(f), Where(flat, OnesLike(slope), slope)), deepFoolε*p.Limits.Width())
	r = Where(craft.PerRow(standing, r), Add(r, Mul(craft.PerRow(length, r), s.norm.Ascend(w))), r)
	return []*Node{best, bestD, r, standing}
}
