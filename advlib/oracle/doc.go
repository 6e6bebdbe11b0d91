// Package oracle has victims that answer and show nothing else, as a model behind a service does: a Go function, and
// views of another victim that tell less than it does.
//
//	f := oracle.Func("my service", advlib.Signature{
//		Input: []int{64}, Box: advlib.UnitBox, Classes: 10, Returns: advlib.Probabilities,
//	}, func(x []float32) []float32 { return ask(x) })
//	res, err := advlib.Run(ctx, oracle.Budget(f, 1000), examples, attack.Square{Ball: advlib.Linf.Ball(0.1)})
//
// [Func] and [Decide] make a victim of a function. The views are [Probabilities], [TopK], [Rounded], [Labels], which
// restrict the answers, [Rejecting], which refuses some, [Budget], which limits how often an attack may ask, and
// [Count], which counts by itself. A view of a view is a view, so they combine: Rounded(TopK(v, 3), 2). None has a
// graph: attacks that need one refuse it, and say what to use instead.
//
//   - func.go: functions.
//   - view.go: views.
package oracle
