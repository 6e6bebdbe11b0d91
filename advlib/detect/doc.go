// Package detect has detectors of query sequences: they see an attack that asks a victim again and again by the
// likeness of its questions. An attacker who only sees answers must ask about points close together; others do not.
//
//	guarded := detect.MustGuard(victim, detect.Blacklight{}, detect.Reject)
//	res, err := advlib.Run(ctx, guarded, examples, attack.Square{Ball: advlib.Linf.Ball(0.1)})
//	fmt.Println(guarded.Report())
//
// A [Detector] is a value: [KNN], the mean distance to the nearest earlier queries, or [Blacklight], fingerprints that
// two queries share. A [Watch] follows clients with it, and says what is not to be answered; package serve puts one in
// front of a model. [Guard] is the same as a victim, for attacks in the same program. [Trial] measures a detector: how
// many attacks it sees, after how many queries, how many benign inputs it takes for attacks, and what is left of the
// attack's success.
//
// Both detectors hold for attackers who do not know of them. Adaptive ones widen their steps until they are no longer
// seen (OARS, Feng et al. 2023, arXiv:2303.06280).
//
//   - detector.go: what a detector is.
//   - knn.go, blacklight.go: the two.
//   - watch.go: clients, and what is done about them.
//   - guard.go: a watch in front of a victim.
//   - trial.go: the measurement.
package detect
