// Package diagnose asks whether a robust accuracy is real: it runs the checklist of Carlini et al. (2019),
// arXiv:1902.06705, Athalye et al. (2018), arXiv:1802.00420, Pintor et al. (2022), arXiv:2106.09947, and Zimmermann et
// al. (2022), arXiv:2206.13991, on a model and the attack that its robustness rests on.
//
//	d, err := diagnose.Settings{Ball: advlib.Linf.Ball(0.1)}.Run(ctx, classifier, examples)
//	fmt.Println(d)         // each check: what was measured, the threshold, the verdict, what to do next
//	if d.Masking() { … }   // the robust accuracy is an upper bound
//
// A diagnosis never says that a model is robust. It says that what was measured is consistent with real robustness, or
// that gradient masking is suspected: then the reported robust accuracy is an upper bound, which a better attack
// lowers.
//
// # Where things are
//
//   - checklist.go: [Checks], the table of all checks, with their sources and thresholds.
//   - settings.go: [Settings], and the run; diagnosis.go: [Diagnosis], [Finding], [Verdict].
//   - strength.go, steps.go, losses.go: the attack against weaker and stronger versions of itself.
//   - blackbox.go, noise.go: the attack against those that need no gradients.
//   - gradients.go, indicators.go: the gradients, and the formulas of the indicators of attack failure.
//   - binarise.go: the attack on a model that is known to break; screened.go: the same behind a detector, as it is and
//     inverted.
//   - chance.go: what is allowed for chance where the victim is random.
//   - advice.go: what is advised where a check fails.
//   - threatmodel.go: what is said of the threat model; text.go, html.go, picture.go, schema.json: how a diagnosis is
//     written.
//   - fixtures.md: what the checks find on models and attacks that hide something.
package diagnose
