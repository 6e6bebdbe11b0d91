// Package advlib is the vocabulary of adversarial machine learning, and its measurement.
//
//	report := advlib.MustEvaluate(ctx, classifier, examples, attack.Standard(advlib.Linf.Ball(8./255)), certify.CROWN)
//	fmt.Println(report) // clean, robust and certified accuracy, with intervals
//
// A classifier f maps an input x from a box [lo, hi]ᵈ to logits f(x) ∈ ℝᴷ and predicts argmaxₖ fₖ(x). An adversarial
// example for an input x with label y is a point x + δ that
//
//   - stays in the box: lo ≤ x + δ ≤ hi,
//   - is close: ‖δ‖ ≤ ε for a norm ‖·‖ and a budget ε (the [Ball] is the threat model), or as close as can be found,
//   - reaches the goal: untargeted, argmax f(x+δ) ≠ y; or targeted, argmax f(x+δ) = t.
//
// There are two families of attacks, often confused. Attacks with a fixed budget (FGM, PGD) look for any adversarial
// example inside the ball; their result is a success rate at ε. Attacks of minimal norm (Carlini & Wagner) look for
// the closest one; their result is a distance per example, and no ball is given to them.
//
// Three numbers belong together, for the same classifier, ball and examples:
//
//	certified accuracy ≤ robust accuracy under attack ≤ clean accuracy
//
// The middle one is an upper bound on the true robust accuracy, which a better attack lowers; the first one is a lower
// bound, which a tighter proof raises. A [Report] shows all three, with confidence intervals, and says when the
// gradients give reason to distrust the middle one.
//
// # Where things are
//
//   - Victim, Signature, Answer: what is attacked, what it takes, and what it says. Classifier is a victim with a
//     graph; package oracle has those that only answer.
//   - Box, Domain, Examples: where inputs live, and on which of them a victim is attacked.
//   - Norm, Ball, Goal, Loss: what an attack may change, what it wants, what it ascends.
//   - Attack, Counted, Batch, Run, Result: one attack, measured. Run owns every measurement: an attack only proposes.
//   - Settings.Evaluate, Report: several attacks and certificates on the same examples, each attack on what still
//     stands.
//   - Status: what is known of one example, or of a property: verified, falsified or unknown. Report.Contradiction
//     checks the three numbers example by example.
//   - Journal, Progress: what a long evaluation is continued from, and how long it takes still.
//   - subpackages: attack; oracle (victims that only answer); endpoint (models behind a server); certify (bounds) and
//     smooth (randomized smoothing); defense; dataset, zoo (models), lab (kept values), report (what was measured,
//     without XLA), impact (what attacks bring about), similarity (of images), show (pictures), backend (XLA or Go),
//     onnx and vnnlib (models and properties in files).
//
// Inputs need not be images: a [Domain] gives each feature its range, direction, step, category and scale, and every
// attack then looks among the inputs that an attacker could really make.
//
// Units: everything is in the units of the box, or of the domain's scales. For pixels in [0, 1] an ε of 8/255 is
// written 8./255.
//
// Randomness is counted, not drawn in sequence: each example has its own stream, keyed by the seed and the example's
// number in its dataset, so results do not depend on the batch size or on the order of examples.
package advlib
