// Package attacktest tests attacks: those of package attack, and any other that implements [advlib.Attack].
//
//	func TestMine(t *testing.T) {
//		attacktest.Run(t, attacktest.Subject{Name: "Mine", New: func(g advlib.Goal) advlib.Attack { return Mine{Goal: g} }})
//	}
//
// It has three parts:
//
//   - [Run] is the conformance suite: what must hold for every attack, whatever it computes.
//   - [Linear] are random linear classifiers, for which the distance to the nearest adversarial example is known
//     exactly: the oracle that an attack is scored against.
//   - [LoadReference] gives fixed models with what other libraries compute on them.
package attacktest
