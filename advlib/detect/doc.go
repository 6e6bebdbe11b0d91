// Package detect has detectors of adversarial inputs, and what becomes of them under an attacker who knows them.
//
//	s, err := detect.Screen(ctx, clf, detect.KernelDensity{}, detect.Data{Train: train, Clean: held, Rate: 0.05})
//	verdicts, err := s.Verdicts(ctx, test.X)
//	report, err := advlib.Evaluate(ctx, s, test, []advlib.Attack{s.Naive(ball), s.Adaptive(ball)})
//	fmt.Println(report)
//
// # Single inputs
//
// A [Method] tells adversarial inputs from clean ones: [FeatureSqueezing], [LID], [Mahalanobis], [KernelDensity],
// [Binary], [Consistency], [MagNet]. [Screen] fits one to a classifier, and sets a threshold for a rate of false
// positives on clean examples that were held out.
//
// What is screened is a victim that rejects, an [advlib.Screener]: an example is robust if its clean input is accepted
// and classified rightly, and no input in the ball is accepted and misclassified. A detector that rejects everything is
// worth
// 0. The report has what is rejected of clean inputs and of what each attack returned, too, with the detector's curves;
// [Inspection] shows several detectors what was searched for once. [Screened.Adaptive] is one call for the attack that
// knows the detector; nearly all detectors that were ever proposed fall to one (Carlini & Wagner 2017,
// arXiv:1705.07263; Tramèr et al. 2020, arXiv:2002.08347). [Plausible] says whether a result is too good to be likely.
// [MMD] asks of a set of inputs, not of one.
//
//   - screen.go: what is fitted, its threshold and its verdicts. layers.go: hidden layers, read from any model's graph.
//   - squeezing.go, lid.go, mahalanobis.go, density.go, binary.go, magnet.go: the methods. combine.go: several scores
//     as one. mmd.go: sets.
//   - evade.go, adaptive.go: attacks that know the detector.
//   - evaluate.go, inspect.go, reduction.go: the measurement. Its numbers are package report's.
//
// # Sequences of queries
//
// Detectors of query sequences see an attack that asks a victim again and again by the likeness of its questions. An
// attacker who only sees answers must ask about points close together; others do not.
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
