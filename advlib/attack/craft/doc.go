// Package craft holds what attacks are made of: those of package attack, and your own. This is a whole one, for a cell
// or a file:
//
//	// Signs steps along the sign of the slope.
//	type Signs struct {
//		Ball  advlib.Ball
//		Goal  advlib.Goal
//		Steps int // 0 means 20
//	}
//
//	func (a *Signs) Describe(d *craft.Description) {
//		d.Gradients()
//		d.Ball(&a.Ball, advlib.Linf)
//		d.Goal(&a.Goal)
//		d.Count(&a.Steps, 20)
//		d.Name("signs-%d", a.Steps)
//	}
//	func (a Signs) String() string                                { return craft.Name(a) }
//	func (a Signs) Threat(v advlib.Victim) (advlib.Threat, error) { return craft.Threat(a, v) }
//	func (a Signs) Perturb(ctx context.Context, v *advlib.Counted, b advlib.Batch) (*tensors.Tensor, error) {
//		a, err := craft.Ready(a, v, b)
//		if err != nil {
//			return nil, err
//		}
//		ε := a.Ball.Radius
//		up := craft.Ascent{Step: signStep{}, Loss: advlib.Margin, Steps: a.Steps, In: []float64{ε, ε / 8}}
//		return up.Perturb(ctx, v, b)
//	}
//
//	type signStep struct{} // its fields determine the graph, and there is nothing to say
//
//	func (signStep) Next(p *craft.Point, x, L *graph.Node, in []*graph.Node) *graph.Node {
//		ε, α := in[0], in[1]
//		x = graph.Add(x, graph.Mul(α, graph.Sign(p.Gradient(L, x))))
//		return p.Project(advlib.Linf, x, ε)
//	}
//
// It is batched, keeps the best point that each example has met, leaves examples alone that are solved, moves the
// others to smaller batches, obeys the targets that a wrapper such as attack.AllTargets chooses, stays in ball, box and
// domain, and can be cancelled. [advlib.Run] measures it, and attacktest.Run says in its test whether all that is so:
//
//	attacktest.Run(t, attacktest.Subject{
//		Name:     "signs",
//		New:      func(g advlib.Goal) advlib.Attack { return Signs{Ball: advlib.Linf.Ball(0.1), Goal: g} },
//		AtRadius: func(ε float64) advlib.Attack { return Signs{Ball: advlib.Linf.Ball(ε)} },
//	})
//
// # The parts
//
//   - [Description] is the table of an attack's fields: defaults, checks, the name, passes.
//   - [Ascent] searches in a ball for a point of high loss. An attack gives it one step.
//   - [Nearest] searches for the nearest adversarial example. An attack gives it a loop over steps on a [Search], whose
//     state stays on the device; [Search.Bisect] or [Search.Restore] ends it. attack.DDN is a short one to copy.
//   - [Compile] builds a step's graph, which sees a [Point]: the model, the originals, the limits, and the
//     [advlib.GoalNodes], what is wanted. Who takes the goal from there, and not from the labels, obeys the targets.
//   - [Inquire] runs a search that only asks, written for one example at a time, side by side for all.
//   - [Rows], [Best] and [Runs] are below all that, for attacks with a loop of their own, such as attack.APGD and
//     attack.Square.
//
// An attack may be without any of these: it is whatever has the three methods of [advlib.Attack].
//
// # Attacks that only ask
//
// An attack by questions alone is a search for one example, in plain Go on the host. [Inquire], whose documentation has
// one, runs it for all examples side by side: it asks their questions together, counts them, ends a search where its
// budget does, and returns the best point that was asked about.
//
// # What holds inside
//
// Rows are attacked in the order of their content, whatever their order in the batch, in pieces of at most [MaxRows],
// padded to [advlib.Bucket] sizes, because every new shape is compiled. Inside a step an example counts as adversarial
// when its logits say so by more than rounding explains, [Point.Reached], because another batch size rounds otherwise.
// Random numbers come from [advlib.Batch.Rand], the stream of a row.
package craft
