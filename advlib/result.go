package advlib

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/gomlx/gomlx/core/tensors"

	"advlab/advlib/report"
)

// Prediction is a victim's decision: its class, −1 for none, and the probability that it gives it, NaN if it tells
// none.
type Prediction struct {
	Class      int32
	Confidence float64
}

// Stats are the cost of a run.
type Stats struct {
	// Forward and Backward count passes of single examples through the model, those of measurement left out.
	Forward, Backward int64
	// NonFinite counts entries of gradients that were infinite or not a number, of all that were taken.
	NonFinite Rate
	// Programs counts what had to be compiled, or loaded, by the size of the batch.
	Programs []Programs
	// Elapsed is the wall time, compilation included.
	Elapsed time.Duration
	// Shared counts the queries of an attack about no example in particular, such as those that trained a substitute, and
	// Sent the inputs that were sent to be answered, those of the measurement and repeated ones included: what a provider
	// bills. See [Sender].
	Shared, Sent int64
}

func (s Stats) plus(o Stats) Stats {
	return Stats{s.Forward + o.Forward, s.Backward + o.Backward, s.NonFinite.Plus(o.NonFinite),
		report.AddPrograms(s.Programs, o.Programs), s.Elapsed + o.Elapsed, s.Shared + o.Shared, s.Sent + o.Sent}
}

// minus returns what was added to o.
func (s Stats) minus(o Stats) Stats {
	d := Stats{Forward: s.Forward - o.Forward, Backward: s.Backward - o.Backward, Elapsed: s.Elapsed - o.Elapsed,
		Shared: s.Shared - o.Shared, Sent: s.Sent - o.Sent}
	d.NonFinite = Rate{Count: s.NonFinite.Count - o.NonFinite.Count, Of: s.NonFinite.Of - o.NonFinite.Of}
	before := map[int]Programs{}
	for _, p := range o.Programs {
		before[p.Batch] = p
	}
	for _, p := range s.Programs {
		if b := before[p.Batch]; p != b {
			d.Programs = append(d.Programs, Programs{Batch: p.Batch, Compiled: p.Compiled - b.Compiled, Loaded: p.Loaded - b.Loaded})
		}
	}
	return d
}

// Result is one attack, measured on examples. Slices have one entry for each example.
type Result struct {
	// Attack is the attack's name with its hyper-parameters.
	Attack string
	// Threat is what it was allowed to change, and what it wanted.
	Threat Threat
	// Examples are those it was run on.
	Examples *Examples
	// Box is the classifier's: where originals and adversarial examples live.
	Box Box
	// Adversarial are the adversarial examples, [n, d...]. Where the attack failed it is the original.
	Adversarial *tensors.Tensor
	// Attempted is false for examples that were left out: those whose label is the target, those for which the logits are
	// not finite, and those not reached when the context was cancelled. An example already misclassified counts as
	// attempted: nothing needs changing.
	Attempted []bool
	// Success tells whether the returned example reaches the goal, as computed on the classifier itself.
	Success []bool
	// Distance is the perturbation's norm: 0 for examples already misclassified, +Inf where the attack failed.
	Distance []float64
	// Clean and Final are the classifier's answers on the original and the returned example; of class -1 where the logits
	// are not finite. Of a random victim they are the most frequent ones.
	Clean, Final []Prediction
	// Reached, of a random victim, is in how many of Draws fresh draws of its answer the returned example reaches the
	// goal; where nothing needed changing, the original. Success and Distance go by the most frequent answer. Both are
	// zero of a victim that is not random.
	Reached []int
	Draws   int
	// Queries are the inputs that were answered about each example: the original, the questions of the attack, and what it
	// returned, unless that is the original. A budget of queries is of these. Progress tells with which of them nearer and
	// nearer adversarial examples were found, counted from 1; those less than 2 % nearer are left out, but for the last.
	// Both are nil of an attack that looks into a graph.
	Queries  []int
	Progress [][]Improvement
	// Stats are the cost.
	Stats Stats
	// LeftOut are the examples for which the logits are not finite.
	LeftOut []NotFinite
	// Warnings are sentences on what looks wrong with the set-up.
	Warnings []string

	changes []*report.Change // nil where the result was read from a store

	saturation string       // a warning about the examples, of which Evaluate has one about all
	lost       map[int]bool // examples that the attack moved to where the logits are not finite
	behind     []*behind    // of what was returned to a [Screener], where that is not the original; nil of other victims
}

// SuccessRate is the share of attempted examples on which the attack reached its goal; of a random victim, the mean of
// their shares of draws.
func (r *Result) SuccessRate() Rate { return rowOf(r).SuccessRate() }

// MedianDistance is the median perturbation of attempted examples, failures counting as infinite, and examples that
// were misclassified before the attack left out. It is NaN when there are none.
func (r *Result) MedianDistance() float64 { return rowOf(r).MedianDistance() }

// MedianIn is [Result.MedianDistance] as the victim's domain measures it by another norm than the attack's. It is NaN
// for a victim whose signature makes no sense.
func (r *Result) MedianIn(norm Norm, v Victim) float64 {
	row := rowOf(r)
	s, err := v.Signature().resolved()
	if err != nil {
		return math.NaN()
	}
	for i, d := range r.Distance {
		if r.Success[i] && d > 0 {
			row.Distance[i] = Distance(s.space.distance(norm, flatRows(r.Adversarial, []int{i}), flatRows(r.Examples.X, []int{i})))
		}
	}
	return row.MedianDistance()
}

// String says in a line what came out, and in lines of their own what looks wrong with the set-up.
func (r *Result) String() string {
	s := fmt.Sprintf("%s (%v) on %s: success %v of %d, median distance %.4g", r.Attack, r.Threat, r.Examples.Name,
		r.SuccessRate(), r.SuccessRate().Of, r.MedianDistance())
	for _, w := range r.Warnings {
		s += "\nwarning: " + w
	}
	return s
}

// keep puts x in place of a row of the adversarial examples, if these are wanted.
func (r *Result) keep(row int, x []float32) {
	if r.Adversarial != nil {
		tensors.MustMutableFlatData(r.Adversarial, func(flat []float32) { copy(flat[row*len(x):], x) })
	}
}

// finish returns the result with its cost, and what is to be said of the whole.
func (t *trial) finish(on *Counted, start time.Time) *Result {
	r := t.result
	r.Stats = r.Stats.plus(on.stats(start))
	t.settleAccount(on)
	r.Warnings = append(r.Warnings, on.passes.warnings...)
	if stopped := stopped(on); r.Stats.NonFinite.Of > 0 && len(stopped) > 0 {
		r.Warnings = append(r.Warnings, fmt.Sprintf("%s lets no gradient pass: gradients are those of the other ways from the inputs "+
			"to the logits; an attack "+
			"that needs none, such as Square, or BPDA with a stand-in, may find more", strings.Join(stopped, ", ")))
	}
	if len(r.lost) > 0 {
		first := slices.Min(slices.Collect(maps.Keys(r.lost)))
		r.Warnings = append(r.Warnings, fmt.Sprintf("%s moved %d examples, such as example %d, to where the model's logits are not "+
			"finite: these count neither as right nor as wrong, and so not as broken", r.Attack, len(r.lost), r.Examples.Number(first)))
	}
	return r
}

// stats are the cost up to now of what began at start.
func (v *Counted) stats(start time.Time) Stats {
	forward, backward := v.Passes()
	bad := Rate{Count: int(v.passes.nonFinite.Load()), Of: int(v.passes.entries.Load())}
	s := Stats{Forward: forward, Backward: backward, NonFinite: bad, Programs: v.Programs(), Elapsed: time.Since(start)}
	v.ledger.mu.Lock()
	s.Shared = v.ledger.shared
	v.ledger.mu.Unlock()
	if sent, tells := sentBy(v); tells {
		s.Sent = sent - v.sent
	}
	return s
}
