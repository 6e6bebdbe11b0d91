package detect

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/gomlx/gomlx/core/tensors"

	"advlab/advlib"
)

// Trial measures a detector: on attacks, each on one example alone before an empty memory, and on benign inputs, all
// before one memory.
//
//	o, err := detect.Trial{Detector: detect.Blacklight{}, Benign: test.First(300)}.Run(ctx, victim, test.First(10), a)
type Trial struct {
	// Detector is what is measured, and Action what it does about what it flags.
	Detector Detector
	Action   Action
	// Benign are inputs that belong to no attack, in the order in which they are asked; nil for none.
	Benign *advlib.Examples
	// Settings are those of the attack's runs: see [advlib.Settings].
	Settings advlib.Settings
}

// Outcome is what a [Trial] finds.
type Outcome struct {
	// Detector and Attack are their names, Action what was done about flagged queries.
	Detector, Attack string
	Action           Action
	// Sequences are the queries about each example that was attacked, in order. An example that the victim gets wrong is
	// not attacked and has none.
	Sequences []Sequence
	// FalsePositives is how many benign inputs were flagged.
	FalsePositives advlib.Rate
}

// Sequence is the queries that an attack asked about one example, and those by which it was judged.
type Sequence struct {
	// Example is its number in its dataset.
	Example int64
	// Queries is how many there were, Flagged how many were flagged, First the number of the first, from 1; 0 for none.
	Queries, Flagged, First int
	// Success says whether the attack found an adversarial example that the victim answered.
	Success bool
}

// Run attacks each of the examples, and asks about the benign inputs. When ctx ends, it returns what was found until
// then, with an error.
func (t Trial) Run(ctx context.Context, v advlib.Victim, e *advlib.Examples, a advlib.Attack) (*Outcome, error) {
	if t.Detector == nil {
		return nil, errors.New("detect: the trial has no Detector")
	}
	o := &Outcome{Detector: t.Detector.String(), Attack: fmt.Sprint(a), Action: t.Action}
	if t.Benign != nil {
		w, err := NewWatch(t.Detector, v.Signature(), Options{})
		if err != nil {
			return nil, err
		}
		w.See("", tensors.MustCopyFlatData[float32](t.Benign.X))
		o.FalsePositives = advlib.Rate{Count: w.Report().Total().Flagged, Of: t.Benign.Len()}
	}
	for i := range e.Len() {
		g, err := Guard(v, t.Detector, t.Action)
		if err != nil {
			return nil, err
		}
		one := e.Slice(i, i+1)
		r, err := t.Settings.Run(ctx, g, one, a)
		if err != nil {
			return o, fmt.Errorf("detect: example %d: %w", one.Number(0), err)
		}
		if !r.Attempted[0] || r.Success[0] && r.Distance[0] == 0 {
			continue
		}
		c := g.Report().Total()
		o.Sequences = append(o.Sequences, Sequence{one.Number(0), c.Queries, c.Flagged, c.First, r.Success[0]})
	}
	return o, nil
}

// Detected is how many sequences had a flagged query.
func (o *Outcome) Detected() advlib.Rate {
	return o.count(func(s Sequence) bool { return s.First > 0 })
}

// Success is how many sequences found an adversarial example all the same.
func (o *Outcome) Success() advlib.Rate {
	return o.count(func(s Sequence) bool { return s.Success })
}

func (o *Outcome) count(is func(Sequence) bool) advlib.Rate {
	r := advlib.Rate{Of: len(o.Sequences)}
	for _, s := range o.Sequences {
		if is(s) {
			r.Count++
		}
	}
	return r
}

// Flagged is how many of all queries of the attack were flagged.
func (o *Outcome) Flagged() advlib.Rate {
	var r advlib.Rate
	for _, s := range o.Sequences {
		r.Count, r.Of = r.Count+s.Flagged, r.Of+s.Queries
	}
	return r
}

// FirstFlag returns the median, of the sequences that were detected, of the number of the first query that was flagged;
// of an even number the smaller middle one; 0 if none was detected.
func (o *Outcome) FirstFlag() int {
	var first []int
	for _, s := range o.Sequences {
		if s.First > 0 {
			first = append(first, s.First)
		}
	}
	if len(first) == 0 {
		return 0
	}
	slices.Sort(first)
	return first[(len(first)-1)/2]
}

// String is a line for each number.
func (o *Outcome) String() string {
	detected, flagged, success := o.Detected(), o.Flagged(), o.Success()
	text := fmt.Sprintf("%s (%v) against %s:\n  detected %d of %d attacks", o.Detector, o.Action, o.Attack, detected.Count, detected.Of)
	if detected.Count > 0 {
		text += fmt.Sprintf(", in the median at query %d", o.FirstFlag())
	}
	text += fmt.Sprintf("\n  flagged %v of %d queries\n  success of the attack: %d of %d", flagged, flagged.Of, success.Count, success.Of)
	if b := o.FalsePositives; b.Of > 0 {
		text += fmt.Sprintf("\n  benign inputs flagged: %d of %d", b.Count, b.Of)
	}
	return text
}
