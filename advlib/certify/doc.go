// Package certify proves that no perturbation in a ball changes a classifier's prediction.
//
//	report, err := advlib.Evaluate(ctx, classifier, examples, attacks, certify.CROWN) // beside attacks, in their balls
//	margins, err := certify.Margins(ctx, classifier, examples, advlib.Linf.Ball(0.02), certify.CROWN)
//
// # What a bound is
//
// Let f be a classifier's logits and B(x, ε) the inputs of its box that are within ε of x. A bound is a pair of
// numbers with lower ≤ ⟨c, f(x')⟩ ≤ upper for every x' in B(x, ε) and a fixed row c, the specification. With
// c = e_y − e_j it is the margin of the label y over the class j. If the lower bounds of all K−1 margins are above 0,
// the prediction y is certified for the whole ball: no attack can succeed, whatever it does. If not, nothing is known:
// the bounds may be too loose, so "not certified" is not "attackable".
//
// # Asking for bounds
//
// For a classifier, examples and one ball: a [Method] is an [advlib.Certifier], so it goes into advlib.Evaluate;
// [Margins] and [Bounds] return numbers. For anything else there is one call below them: a [Network], made of a
// classifier by [Of] or of any graph function by [New], bounds any linear functions of its outputs over any boxes and
// balls:
//
//	net, err := certify.New(certify.Source{Name: "acas", Graph: f, Store: store, Input: []int{5}, Backend: b})
//	query := certify.Query{Regions: certify.Boxes(lower, upper), Rows: rows, Slopes: true}
//	answer, err := net.Bound(ctx, query, certify.CROWN)
//	answer.Lower[i][s]  // ≤ ⟨rows[i][s], f(x)⟩ for all x in box i
//	answer.Slopes[i][s] // the linear bound's coefficients at the input: where to split
//
// Methods are [IBP], [CROWNIBP], [CROWN] and [AlphaCROWN], which [Index] tabulates, with options: [Method.WithAlpha]
// says how much the last one tunes, [Method.WithLine] names the line below ReLUs, [Method.WithBestLine] takes the best
// of all and IBP, [Method.WithIBP] intersects CROWN's intermediate intervals with IBP's, [Method.In] names another
// arithmetic of the deployed model. All numbers are float64.
//
// A network compiles a graph once for each of a few sizes of batches, and keeps it. Weights are inputs of these graphs,
// not constants, so that networks of one structure share the programs that package backend keeps on disk; after
// variables change, [Network.Refresh] is all that is needed. Regions are cut into batches and rows into pieces that fit
// into memory. A model on XLA with activations such as GELU, which XLA compiles for too long in this form, is bounded
// by the Go backend, for the outputs that XLA computes. For CROWN, rows are spent only on neurons whose intervals, as
// they are known so far, leave their sign open.
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
// [CROWN] finds the intervals before each ReLU by such backward passes too, one row for each end of each neuron.
//
// [AlphaCROWN] (Xu et al. 2021, arXiv:2011.13824) takes for each row, of the specification and of neurons, the lower
// slopes a_L of its own that make its bound largest: any between 0 and 1 are sound. It begins with CROWN's and keeps
// the best bound, so it is never below CROWN. The derivatives need no second pass of derivatives: a bound is the value
// that the lines which the backward pass chose have at the x' where ⟨Λ, x'⟩ is least. Forward from there the input of a
// ReLU is t, and by Danskin's theorem
//
//	∂bound/∂a_L = Λ⁺·t
//
// Slopes are those of ReLUs and of other maxima of two; lines of other operations stay as they are.
//
// Bounds of large models are compiled graphs. Those of a small chain of dense layers and ReLUs over boxes, as a
// controller is one, are computed in plain Go, which needs no compilation and no calls: CROWN's the same up to
// rounding, one box after the other on each CPU.
//
// # Other operations
//
// Any function of one tensor, element by element, is bounded as one, whether it is an operation such as tanh or is
// composed of several, as x·Φ(x) is: its interval is cut into pieces, on which bounds of the slope give lines below and
// above by the mean value theorem. Products and quotients of two tensors that depend on x use McCormick's planes; the
// maximum of a window is the element with the largest lower end below, and above too where it cannot be exceeded;
// softmax, for attention, is one operation whose result does not depend on a shift. See [Explain] for what a model
// consists of.
//
// Functions that jump (floor, sign, comparisons) are computed from rounded numbers, which may lie on the other side of
// a jump than the exact ones: bounds hold both values wherever the rounding error reaches the jump. Conditions are
// intervals of 0 and 1. Where one is sure for the whole ball, the value that it chooses is bounded as if there were no
// choice.
//
// These of GoMLX's operations are bounded, in any combination:
//
//	affine              Add, Sub, Neg, Mul, Div, DotGeneral, ConvGeneral, ReduceSum, ReduceWindow (sum: mean pool),
//	                    CumSum, BatchNormForInference
//	places              Reshape, Transpose, BroadcastInDim, Slice, Reverse, Concatenate, Pad, Gather (of constant
//	                    places), Identity; so ONNX's Tile and Expand too
//	two that depend     Mul, Div (by what has one sign), DotGeneral, Max, Min
//	largest             Max (ReLU), Min, Clamp, ReduceMax, ReduceMin, ReduceWindow (maximum: max pool; minimum)
//	functions           Abs, Exp, Expm1, Log, Log1p, Sqrt, Rsqrt, Logistic (sigmoid), Tanh, Erf, Sin, Cos, Atan2(x, 1),
//	                    Pow (of 2, 3 or 4), and what is composed of them, such as GELU, Swish, Mish, softplus, ELU, the
//	                    hyperbolic functions
//	jumps               Floor, Ceil, Round, Sign
//	conditions          Equal, NotEqual, GreaterThan, GreaterOrEqual, LessThan, LessOrEqual, IsFinite, IsNaN,
//	                    LogicalAnd, LogicalOr, LogicalXor, LogicalNot; used by Where, or made a number by ConvertDType
//	groups              softmax along the last axis
//
// Which file has the relaxation of which is told by the page of internal/propagate.
//
// All others are refused before anything is computed, by an error that names the operation and the line of the model,
// or the operator of its file in ONNX.
//
// # Rounding
//
// A bound in real arithmetic proves nothing about the model that is deployed: its float32 outputs may lie outside. So
// each bound here is computed in float64, from the model built again on float64 variables, and holds for the outputs as
// a backend computes them in float32: every operation û of the deployed model is off from its value u in real
// arithmetic, of the same computed inputs, by at most E, where for sums of K products, in any order, with u = 2⁻²⁴
// (Higham 2002, Accuracy and Stability of Numerical Algorithms, section 3.1)
//
//	E = γ_K·|W|·max(|l|, |u|), γ_K = Ku/(1−Ku)
//
// IBP adds E to the radius, CROWN subtracts ⟨|Λ|, E⟩. What XLA does is part of it: sums and products in other orders
// across operations, such as a product of a matrix and a vector that starts from the bias, or two numbers that are
// multiplied with each other before the input is, also past what changes nothing and is left out, such as a factor of
// 1; denormals flushed on either side of an operation, division as multiplication by the reciprocal, the errors of its
// functions, which are measured on the backend by a sweep of four million arguments and doubled, and the errors of
// weights that are computed, such as the scale of batch normalisation. Regions are rounded outward to float32. The
// rounding of the bounds themselves, in float64, is 2⁻²⁹ times as large, and covered by raising E; where the model
// rounds less than the bounds do, as for copies of inputs, E has a part for it. [Rounding] names the arithmetic, which
// every report tells; by default it is float32-any-order.
//
// A number that is not finite certifies nothing. On CUDA convolutions are refused, because cuDNN may choose algorithms
// that obey no such bound, and dot products need [TF32AnyOrder].
//
// # Domains
//
// With an [advlib.Domain], a ball is what its features and scales make of it, and coordinates move only as far as they
// may: fixed features not at all. Features with steps and categories are bounded over all values between, which holds
// more than what is admissible: bounds are sound, and looser than they could be.
//
// Rows of a batch are certified independently of each other; see [advlib.LogitsFn].
//
// # Verification
//
// [Verify] goes on where bounds leave off, until an example is decided: verified, falsified by a counterexample, or
// unknown with the reason. [VerifyProperty] does so for a property in VNN-LIB of a network that need not be a
// classifier. A search for counterexamples in the deployed precision comes first, for it is quick. Then a box that
// bounds leave open is split in halves, again and again (branch and bound): along the input across which the linear
// bounds move most, where there are at most 16 inputs. With ⟨Λ, x⟩ + b ≤ ⟨c, f(x)⟩ and a condition ⟨c, f(x)⟩ ≤ t,
// inputs with ⟨Λ, x⟩ + b > t are cut off as far as a box allows. With more inputs, it is split by the sign of what goes
// into a ReLU, with the slopes α below ReLUs and the multipliers β of the given signs tuned for each bound (Wang et al.
// 2021, arXiv:2103.06624). A chain of affine maps and ReLUs, which small networks are, has its intervals bounded anew
// for each branch; any other network is bounded as [AlphaCROWN] does first, and branches keep the intervals that this
// found. One without ReLUs is left at its bounds.
//
// Neither a graph that is being compiled nor one that runs can be interrupted: at the time limit it is left to itself,
// with all that is known returned. A counterexample is given at once where bounds at its input, which prove that it is
// one in any order of summation, would take long.
//
// A proof holds for the deployed model as above: the halves meet in float32 numbers, the signs are those of computed
// values.
package certify
