package advlib

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"

	"github.com/gomlx/gomlx/core/tensors"
)

// # The ledger
//
// Whatever a victim answers is counted for the example that it is about: the original before an attack, every question
// of the attack, and the returned point after it. That is what a budget is of, and [Result.Queries]. What was sent to
// get the answers is the bill, [Stats.Sent]: less where answers were kept, more where requests were repeated.

// Sender is a victim that tells how many inputs it has sent to where they are answered since it was made: an endpoint,
// which keeps answers and repeats requests. Of other victims, what they answer is what was sent.
type Sender interface {
	Sent() int64
}

// sentBy returns what a victim, or the one under a view of it, has sent.
func sentBy(v Victim) (n int64, tells bool) {
	for {
		switch of := v.(type) {
		case Sender:
			return of.Sent(), true
		case *Counted:
			v = of.victim
		case decoding:
			v = of.Victim
		case interface{ Underneath() (Victim, string) }:
			v, _ = of.Underneath()
		default:
			return 0, false
		}
	}
}

// ledger counts queries by the number of the example.
type ledger struct {
	mu      sync.Mutex
	queries map[int64]int64
	found   map[int64][]Improvement
	shared  int64 // queries that nobody said an example of
	booked  map[any]bool
}

func newLedger() *ledger {
	return &ledger{queries: map[int64]int64{}, found: map[int64][]Improvement{}}
}

// count counts queries for each of some examples; those below 0 are padding.
func (l *ledger) count(of []int64, each int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range of {
		if e >= 0 {
			l.queries[e] += each
		}
	}
}

// of returns how often was asked about an example, and what was found.
func (l *ledger) of(example int64) (queries int64, found []Improvement) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.queries[example], l.found[example]
}

// ErrBudget says that an attack would ask a victim more often about an example than [Signature.Queries] allows.
var ErrBudget = errors.New("the budget of queries is used up")

// ErrNoExample says that a victim with a budget for each example was asked by an attack that does not count by
// examples, such as one that only looks into another model's graph.
var ErrNoExample = errors.New("the attack does not say of which example it asks")

// measured is how many of an example's queries are not the attack's: the original before it, and what it returns after.
const measured = 2

// Ask asks about the rows of x, each of the example with the number of[i]; see [Step.Ask]. With an error come the
// answers of the rows before it, and only these count. A classifier may move x to where it computes; its x may have
// more rows than of, which are padding.
func (v *Counted) Ask(ctx context.Context, of []int64, x *tensors.Tensor) ([]Answer, error) {
	_, black := WhiteBox(v.victim)
	if n := x.Shape().Dimensions[0]; len(of) > n || len(of) == 0 || len(of) < n && black != nil {
		return nil, fmt.Errorf("%d numbers of examples for inputs of shape %v: give one for each", len(of), x.Shape().Dimensions)
	}
	if err := v.charge(of, len(of)); err != nil {
		return nil, err
	}
	a, err := v.answer(ctx, x, len(of), true)
	if err != nil {
		v.ledger.count(of[len(a):], -int64(v.times()))
	}
	return a, err
}

// Left returns how many questions about an example the victim still answers to an attack: of [Signature.Queries] two
// are for the original and for what the attack returns.
func (v *Counted) Left(example int64) int {
	limit := v.Signature().Queries
	if limit == 0 {
		return math.MaxInt
	}
	asked, _ := v.ledger.of(example)
	return max(0, limit-measured-int(asked)) / v.times()
}

// Allowance returns how many questions about an example an attack may ask whose own budget is queries: that many inputs
// may be answered, and no more than the victim answers. Two of them are not the attack's: the original before it, and
// what it returns after it. A victim that is asked more than once each time, see [Counted.Draws], has so many less.
func (v *Counted) Allowance(example int64, queries int) int {
	return min(v.Share(queries, 1), v.Left(example))
}

// Share returns how many questions each of several runs of such an attack may ask, whatever the victim answers.
func (v *Counted) Share(queries, runs int) int { return max(0, queries-measured) / v.times() / runs }

// Found notes that an adversarial example for the given one was found at a distance, for [Result.Progress]. Of several
// that were asked about at once, later is how many questions about this example came after it.
func (v *Counted) Found(example int64, distance float64, later int) {
	l := v.ledger
	l.mu.Lock()
	defer l.mu.Unlock()
	query := 1 + int(l.queries[example]) - later*v.times() // the original is the first
	f := l.found[example]
	n := len(f)
	switch {
	case n > 0 && distance >= float64(f[n-1].Distance):
		return
	case n > 1 && float64(f[n-1].Distance) > finest*float64(f[n-2].Distance):
		f = f[:n-1]
	}
	l.found[example] = append(f, Improvement{Query: query, Distance: Distance(distance)})
}

// Book counts n queries that were asked before the run and that all its examples share, such as those that a substitute
// was trained with, in [Stats.Shared]; once for each key.
func (v *Counted) Book(key any, n int64) {
	l := v.ledger
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.booked == nil {
		l.booked = map[any]bool{}
	}
	if !l.booked[key] {
		l.booked[key] = true
		l.shared += n
	}
}

// finest is by which factor two improvements that are kept differ at least; the last is kept in any case.
const finest = 0.98

// charge counts a query for each of some examples, unless one of them has none left. Nil stands for n queries of
// unknown examples, which a victim with a budget does not answer.
func (v *Counted) charge(of []int64, n int) error {
	limit := v.Signature().Queries
	if of == nil {
		if limit > 0 {
			return fmt.Errorf("%s answers %d queries for each example, and %w: it must ask by Ask", v.Name(), limit, ErrNoExample)
		}
		v.ledger.mu.Lock()
		defer v.ledger.mu.Unlock()
		v.ledger.shared += int64(n * v.times())
		return nil
	}
	need := map[int64]int{}
	for _, e := range of {
		if e >= 0 {
			need[e]++
		}
	}
	if limit > 0 {
		for e, n := range need {
			if n > v.Left(e) {
				return fmt.Errorf("%s answers %d queries for each example, two of which are for the original and for what the attack "+
					"returns, and example %d has %d left: %w", v.Name(), limit, e, v.Left(e), ErrBudget)
			}
		}
	}
	v.ledger.count(of, int64(v.times()))
	return nil
}

// account is what a trial knows of the queries of its rows.
type account struct {
	asked    []int64 // by the attack
	progress [][]Improvement
	clean    bool   // the originals were asked about for this trial
	checked  []bool // the returned point was asked about
}

// note takes what an attack asked about the rows of b into the account.
func (t *trial) note(on *Counted, b Batch, rows []int) {
	for i, row := range rows {
		t.account.asked[row], t.account.progress[row] = on.ledger.of(b.Number(i))
	}
}

// leftToCheck tells whether the victim's budget leaves a query for what was returned for a row. If not, the attack has
// returned what it never asked about.
func (t *trial) leftToCheck(row int) bool {
	limit := t.signature.Queries
	if limit == 0 || 1+t.account.asked[row] < int64(limit) {
		return true
	}
	w := fmt.Sprintf("%s returned points that the budget of %d queries for each example leaves no query for: they count as failures",
		t.result.Attack, limit)
	if !slices.Contains(t.result.Warnings, w) {
		t.result.Warnings = append(t.result.Warnings, w)
	}
	return false
}

// settleAccount fills in what the queries of the result were; nothing of an attack that took gradients, or asked
// nothing of a classifier or a screener.
func (t *trial) settleAccount(on *Counted) {
	r, a := t.result, t.account
	asks := t.white == nil && t.screener == nil || slices.ContainsFunc(a.asked, func(n int64) bool { return n > 0 }) && r.Stats.Backward == 0
	if !asks {
		return
	}
	n := len(r.Attempted)
	r.Queries, r.Progress = make([]int, n), make([][]Improvement, n)
	sum, each := int64(0), int64(max(1, t.draws)) // what was sent to judge one point
	for i := range n {
		r.Queries[i] = 1 + int(a.asked[i])
		sum += a.asked[i]
		if a.checked[i] {
			r.Queries[i]++
			sum += each
		}
		if a.clean {
			sum += each
		}
		switch {
		case r.Success[i] && r.Distance[i] == 0:
			r.Progress[i] = []Improvement{{Query: 1}}
		case r.Success[i] && len(a.progress[i]) == 0: // an attack that does not say when
			r.Progress[i] = []Improvement{{Query: r.Queries[i], Distance: Distance(r.Distance[i])}}
		case r.Success[i]:
			r.Progress[i] = a.progress[i]
		}
	}
	if _, tells := sentBy(on); !tells {
		r.Stats.Sent = sum + r.Stats.Shared
	}
}
