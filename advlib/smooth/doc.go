// Package smooth certifies by randomized smoothing: Cohen, Rosenfeld & Kolter (2019), arXiv:1902.02918.
//
//	smoothed := smooth.Gaussian{Base: classifier, Sigma: 0.25}
//	report, err := smoothed.Certify(ctx, examples) // a class and a radius for each example, or an abstention
//
// From a base classifier f it makes another classifier, the smoothed one,
//
//	g(x) = argmax_c P(f(x + η) = c),  η ~ N(0, σ²I)                                                  (1)
//
// and certifies g, not f: if P(f(x+η) = c_A) ≥ p > 1/2, then g(x+δ) = c_A for all ‖δ‖₂ < σΦ⁻¹(p) (theorem 1, with p_B =
// 1 − p). What a certificate of package certify says about the base classifier is proven; what one of this package says
// about g holds except with probability α, because p is estimated from samples.
//
//	answers, err := smoothed.Predict(ctx, examples) // what g says
//	both, err := smoothed.Attacked(ctx, report, examples, attack.PGD{Ball: ball}) // beside attacks, for show.Sandwich
//
// In a report of its own, beside attacks on g itself, g is a victim that certifies itself:
//
//	g := smoothed.Victim()
//	report, err := advlib.Evaluate(ctx, g, examples, attacks, g)
//
// f should have been trained on noisy inputs: see [Augment]. The noise is added to the input as the base classifier
// takes it, before any preprocessing, and a noisy input is never clipped to the box: theorem 1 needs all of the
// Gaussian.
//
// # What is sampled
//
// Each example has random streams of its own, keyed by the seed and the example's input, one to choose the class and
// another, independent one to estimate p (section 3.2: with a single sample the estimate would be biased upwards). They
// are drawn on the device by Threefry-2x32-20 (Salmon et al. 2011) and the Box–Muller transform, so results depend
// neither on the batch nor on the backend, up to its rounding of logarithms and cosines.
//
// # Rounding
//
// In floating point x + η is rounded, and an attacker can choose x so that the rounding tells x from x': certificates
// that ignore it have been broken (Voráček & Hein 2023, arXiv:2303.01220). Here x and η are rounded to multiples of a
// power of two first, so fine that their sum is exact. Rounding moves x by half a multiple in each coordinate, and what
// that can change is taken off every radius (Certified.Slack, of the order of 1e-5). The confidence bound on p and the
// radius are rounded down. What is left is that the noise is a Gaussian rounded to that grid, made from 64 random bits
// for two coordinates, with no value beyond 6.8σ; the theorem is applied to it as if it were a Gaussian.
package smooth
