package report

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
)

// Report holds the numbers of an evaluation, and no tensors: it can be kept, sent, and merged with the report of
// other examples of the same evaluation. Slices have one entry for each example. Its JSON is documented at
// [Report.MarshalJSON].
type Report struct {
	// Classifier, Data, Backend and Box say what was measured, on what.
	Classifier string `json:"classifier"`
	Data       string `json:"data"`
	Backend    string `json:"backend"`
	Box        Box    `json:"box"`
	// Domain describes the constraints on single features; empty if there are none. Radii and distances are in the scales
	// of the features.
	Domain string `json:"domain,omitempty"`
	// Notes are sentences on what the classifier is made of, such as a normalisation inside of it, and on how the
	// examples were read.
	Notes []string `json:"notes,omitempty"`
	// Seed is the seed of the run.
	Seed uint64 `json:"seed"`
	// Cascade says that each attack was run only on what those before it left standing. Then the numbers of an attack are
	// those after it, and what it would do alone is not known.
	Cascade bool `json:"cascade"`
	// Interrupted says that not everything that was planned was done.
	Interrupted bool `json:"interrupted"`
	// Asked are balls to report besides those of the attacks with a budget.
	Asked []Ball `json:"asked"`
	// Index, Label and Predicted are the examples' numbers, labels and clean predictions; -1 where a smoothed classifier
	// abstains.
	Index     []int64 `json:"index"`
	Label     []int32 `json:"label"`
	Predicted []int32 `json:"predicted"`
	// Draws is how often a random victim was asked about each original, and about each point that an attack returned, to
	// judge it: 0 of one that is not random. Right is in how many of these draws each original is classified right; then
	// Predicted, and the Success of an attack, go by the most frequent answer, and rates are means over the draws.
	Draws int   `json:"draws,omitempty"`
	Right []int `json:"right,omitempty"`
	// LeftOut are examples for which the model's logits are not finite. They are in none of the other fields, and in no
	// rate.
	LeftOut []NotFinite `json:"left_out,omitempty"`
	// Attacks and Certificates are what was run, as they were given; [Report.Order] is how the attacks ran.
	Attacks      []AttackRow    `json:"attacks"`
	Certificates []CertifierRow `json:"certificates"`
	// Originals is how many inputs were sent to have the originals answered, and Price what 1000 inputs cost, where
	// something only asked; see [Report.Bill].
	Originals int64   `json:"originals,omitempty"`
	Price     float64 `json:"price,omitempty"`
	// Rejection is what the report has of a victim that rejects inputs for a score; nil of others. Then Predicted is −1
	// where an original is rejected, Success tells of inputs that are accepted and misclassified, and what Robust counts
	// are examples whose original is accepted and right, and of which no attack found such an input.
	Rejection *Rejection `json:"rejection,omitempty"`
	// Sanity is the check of the gradients.
	Sanity Sanity `json:"sanity"`
	// Warnings are sentences on what looks wrong with the set-up.
	Warnings []string `json:"warnings"`
	// Seconds is the wall time of the whole.
	Seconds float64 `json:"seconds"`
	// Key is where the adversarial examples are kept; empty if they are not.
	Key string `json:"key"`
}

// Warn adds warnings that are not there yet. An empty one is none.
func (r *Report) Warn(sentences ...string) {
	for _, w := range sentences {
		if w != "" && !slices.Contains(r.Warnings, w) {
			r.Warnings = append(r.Warnings, w)
		}
	}
}

// AttackRow is one attack's outcome.
type AttackRow struct {
	// Name is the attack with its hyper-parameters.
	Name string `json:"name"`
	// Norm and Radius are its ball; the Radius of an attack of minimal norm is infinite, null in JSON.
	Norm   string   `json:"norm"`
	Radius Distance `json:"radius"`
	// Goal names what it wanted; Targeted attacks do not count for robust accuracy.
	Goal     string `json:"goal"`
	Targeted bool   `json:"targeted"`
	// Attempted is false for examples that were left out: those whose label is the class that is wanted, and those not
	// reached when the evaluation was interrupted. Success tells whether the attack reached its goal, and Distance at
	// which norm of the perturbation: 0 for examples already misclassified, +Inf where it failed. Where Skipped is true,
	// Attempted and Success are false, and Distance is the nearest that an attack before this one had found.
	Attempted []bool     `json:"attempted"`
	Success   []bool     `json:"success"`
	Distance  []Distance `json:"distance"`
	// Reached, of a random victim, is in how many of Draws draws the returned point reaches the goal, or the original
	// where nothing needed changing.
	Reached []int `json:"reached,omitempty"`
	Draws   int   `json:"draws,omitempty"`
	// Skipped is true for examples on which this attack was not run because one before it in the cascade had broken
	// them, within this one's radius; for an attack of minimal norm, within the smallest of the report's balls.
	Skipped []bool `json:"skipped"`
	// NonFinite counts entries of gradients that were infinite or not a number, of all that were taken.
	NonFinite Rate `json:"non_finite"`
	// Forward and Backward count passes of single examples; Programs what was compiled or loaded for them, by the size of
	// the batch. Seconds is the wall time with compilation.
	Forward  int64      `json:"forward"`
	Backward int64      `json:"backward"`
	Programs []Programs `json:"programs"`
	Seconds  float64    `json:"seconds"`
	// Queries, of an attack that only asks, are the inputs that were answered about each example: the original, the
	// questions, and what was returned. Progress tells with which of them nearer adversarial examples were found. Shared
	// counts queries about no example in particular, such as those that trained a substitute. Sent is how many inputs were
	// sent, repeated ones included, but for the originals, which all attacks share: see [Report.Bill].
	Queries  []int           `json:"queries,omitempty"`
	Progress [][]Improvement `json:"progress,omitempty"`
	Shared   int64           `json:"shared,omitempty"`
	Sent     int64           `json:"sent,omitempty"`
	// Changes are what the attack did to the inputs on which it succeeded; nil where it did not, or where there was
	// nothing to do. All of it is nil where nothing is known of that.
	Changes []*Change `json:"changes,omitempty"`
	// Screened is what a victim that rejects inputs for a score says of what the attack returned; nil of other victims.
	Screened *Screened `json:"screened,omitempty"`
}

// Minimal tells attacks of minimal norm from those with a budget.
func (a AttackRow) Minimal() bool { return math.IsInf(float64(a.Radius), 1) }

// skipped tells whether the attack was not run on example i because one before it had broken it.
func (a AttackRow) skipped(i int) bool { return i < len(a.Skipped) && a.Skipped[i] }

// Programs counts the programs that were made for batches of one size, padding included.
type Programs struct {
	// Batch is the number of rows.
	Batch int `json:"batch"`
	// Compiled counts the programs that were compiled, Loaded those that a former process had compiled and that were
	// read from the disk instead. Programs that the classifier already had in memory are in neither.
	Compiled int `json:"compiled"`
	Loaded   int `json:"loaded"`
}

// AddPrograms adds counts by size, smallest first.
func AddPrograms(a, b []Programs) []Programs {
	sum := map[int]Programs{}
	for _, p := range slices.Concat(a, b) {
		s := sum[p.Batch]
		sum[p.Batch] = Programs{p.Batch, s.Compiled + p.Compiled, s.Loaded + p.Loaded}
	}
	var all []Programs
	for _, size := range slices.Sorted(maps.Keys(sum)) {
		all = append(all, sum[size])
	}
	return all
}

// CertifierRow is what one certifier proved in one ball.
type CertifierRow struct {
	// Method, Norm and Radius say what was proven, and how.
	Method string  `json:"method"`
	Norm   string  `json:"norm"`
	Radius float64 `json:"radius"`
	// Certified is true where the label is proven; false means unknown.
	Certified []bool `json:"certified"`
	// Margin, if the method tells it, is for each example the smallest lower bound of logit_y − logit_j over classes j
	// other than the label y.
	Margin []Bound `json:"margin,omitempty"`
	// Distance, if the method looks for counterexamples, is for each example that of the nearest that it found in the
	// ball; +Inf if there is none. They count for the robust accuracy as what attacks find does.
	Distance []Distance `json:"distance,omitempty"`
	// Rounding names the arithmetic of the deployed model for which the verdicts hold; it is empty if the method does not
	// tell.
	Rounding string `json:"rounding,omitempty"`
	// Slack is the most that rounding errors took from one of the bounds.
	Slack float64 `json:"slack,omitempty"`
	// Seconds is the wall time with compilation.
	Seconds float64 `json:"seconds"`
}

func (c CertifierRow) ball() Ball { return Ball{c.Norm, c.Radius} }

// Sanity is a cheap look at the gradients, on the first 128 correctly classified examples.
type Sanity struct {
	// NotApplicable says why nothing was checked, such as "no graph" of a victim that only answers; empty if it was.
	NotApplicable string `json:"not_applicable,omitempty"`
	// NoGradient are the operators for which the model has no gradient, such as "Floor"; empty if it has one. Without one
	// nothing else is checked.
	NoGradient []string `json:"no_gradient,omitempty"`
	// NonFinite counts the entries of the cross-entropy's gradient that are infinite or not a number, of all entries.
	NonFinite Rate `json:"non_finite"`
	// ZeroGradient counts examples on which the gradient of the cross-entropy is exactly zero.
	ZeroGradient Rate `json:"zero_gradient"`
	// Unbounded counts examples that 20 steps of sign ascent on the margin break when the whole box is allowed.
	Unbounded Rate `json:"unbounded"`
}

// Judgement is a sentence on whether the gradients can be trusted.
func (s Sanity) Judgement() string {
	switch {
	case s.NotApplicable != "":
		return fmt.Sprintf("not applicable: %s. Whether attacks that need a gradient would break more is not known", s.NotApplicable)
	case len(s.NoGradient) > 0:
		return fmt.Sprintf("NO GRADIENT, as %s has none: only attacks that need none say anything, and the robust accuracies "+
			"are upper bounds", strings.Join(s.NoGradient, ", "))
	case s.ZeroGradient.Of == 0:
		return "no example is classified correctly: nothing to attack"
	case !s.Masked() && s.NonFinite.Count > 0:
		return "no zero gradients, and an unbounded ball breaks every example; where a slope is infinite, attacks take its " +
			"limit: compare with one that needs no gradients"
	case !s.Masked():
		return "no zero gradients, and an unbounded ball breaks every example"
	}
	return "GRADIENT MASKING SUSPECTED: the robust accuracies are upper bounds only; try the margin loss and an attack that " +
		"needs no gradients"
}

// Masked tells whether anything in the check gives reason to distrust the gradients.
func (s Sanity) Masked() bool {
	return s.ZeroGradient.Count > 0 || s.Unbounded.Count < s.Unbounded.Of || len(s.NoGradient) > 0
}

// NotFinite is an example for which the model returns a logit that is NaN or infinite. Such an example is neither right
// nor wrong, and can be neither attacked nor certified: it is left out of a measurement, which says so.
type NotFinite struct {
	// Index is the example's number, and Label its label.
	Index int64 `json:"index"`
	Label int32 `json:"label"`
	// Logit is the first logit that is not finite, and Value what it is: "NaN", "+Inf" or "-Inf".
	Logit int    `json:"logit"`
	Value string `json:"value"`
}

// String returns for example "example 2 (logit 0 is NaN)".
func (n NotFinite) String() string {
	return fmt.Sprintf("example %d (logit %d is %s)", n.Index, n.Logit, n.Value)
}
