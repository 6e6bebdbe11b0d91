// Package certify proves that no perturbation in a ball changes a classifier's prediction.
//
// # What a bound is
//
// Let f be a classifier's logits and B(x, ε) the inputs of its box that are within ε of x. A bound is a pair of
// numbers with lower ≤ ⟨c, f(x')⟩ ≤ upper for every x' in B(x, ε) and a fixed row c, the specification. With
// c = e_y − e_j it is the margin of the label y over the class j. If the lower bounds of all K−1 margins are above 0,
// the prediction y is certified for the whole ball: no attack can succeed, whatever it does. If not, nothing is known:
// the bounds may be too loose, so "not certified" is not "attackable".
//
// # How bounds are found
//
// The model is not described a second time. Its own graph is walked node by node: see [Explain], which lists the
// operations that have a rule. What depends on x is perturbed; all else (weights, constants) is not.
//
// [IBP], interval bound propagation (Gowal et al. 2018, arXiv:1810.12715, section 3), goes forward. An affine
// z = Wh + b of an interval with centre μ = (l+u)/2 and radius r = (u−l)/2 gives (equations 6 and 7)
//
//	μ' = Wμ + b,  r' = |W|r,  l' = μ' − r',  u' = μ' + r'
//
// and a monotone operation is applied to both ends. The last affine operations are merged with the specification before
// the interval is taken ("elision of the last layer", section 3): ⟨c, Wh + b⟩ = ⟨Wᵀc, h⟩ + ⟨c, b⟩. For L1 and L2 balls
// the first affine operation on the input uses the dual norm, r' = ε‖W_j‖₂ for row j, instead of a box (for L1 too: the
// L1 ball lies in the L2 ball of the same radius).
//
// [CROWNIBP] (Zhang et al. 2020, arXiv:1906.06316, section 3) takes the intervals before each ReLU from IBP, and goes
// backward from the specification with one linear function of each node, as CROWN does (Zhang et al. 2018,
// arXiv:1811.00866, theorem 3.2; for general graphs Xu et al. 2020, arXiv:2002.12920, algorithm 1):
//
//	⟨c, f(x')⟩ ≥ ⟨Λ, h(x')⟩ + b,  first h = f, Λ = c, b = 0
//	affine z = Wh + d:            b ← b + ⟨Λ, d⟩,  Λ ← WᵀΛ
//	z = σ(h), with a_L h + b_L ≤ σ(h) ≤ a_U h + b_U on [l, u]:
//	                              b ← b + ⟨Λ⁺, b_L⟩ + ⟨Λ⁻, b_U⟩,  Λ ← Λ⁺a_L + Λ⁻a_U
//
// A ReLU with l < 0 < u has a_U = u/(u−l), b_U = −l·a_U, b_L = 0 and the adaptive lower slope a_L = 1 if u > −l, else
// 0; one with l ≥ 0 is the identity, one with u ≤ 0 is zero. In the end h = x, and the minimum of ⟨Λ, x'⟩ over the
// ball is taken: for an Linf ball over the box max(x−ε, lo) ≤ x' ≤ min(x+ε, hi), exactly; for the others
//
//	⟨Λ, x⟩ − ε‖Λ'‖_*,  Λ'_i = 0 where the input box leaves no room to move against the sign of Λ_i
//
// with the dual norm ‖·‖_*, or the bound of the box around the ball if that is better. [Method.WithoutBox] uses the
// plain ball for L1 and L2, as auto_LiRPA does: for comparisons.
//
// # What a certificate here does not cover yet
//
// Bounds hold in real arithmetic and are computed in float32: rounding errors, of the bounds and of the deployed model,
// are not accounted for. A margin of the order of 1e-5 of the logits' magnitude proves nothing about the float32 model.
// NaN never certifies, and infinite bounds are widened, not dropped.
//
// # Domains
//
// With an [advlib.Domain], a ball is what its features and scales make of it, and coordinates move only as far as they may: fixed features not
// at all. Features with steps and categories are bounded over all values between, which holds more than what is admissible: bounds are sound, and
// looser than they could be.
//
// Rows of a batch are certified independently of each other; see [advlib.LogitsFn].
package certify
