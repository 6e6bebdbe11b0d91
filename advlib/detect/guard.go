package detect

import (
	"context"
	"fmt"

	"github.com/gomlx/gomlx/core/tensors"

	"advlab/advlib"
)

// Guarded is a victim behind a detector: what the detector refuses is answered by [advlib.Rejected], without asking the
// victim. All queries are one client's, those by which a measurement judges among them, as a service would see them.
type Guarded struct {
	advlib.Victim
	watch  *Watch
	action Action
}

// Guard returns v behind a detector with an empty memory. What it answers depends on what was asked before, so results
// on it are not kept by package lab; take a new one for each measurement.
func Guard(v advlib.Victim, d Detector, a Action) (*Guarded, error) {
	w, err := NewWatch(d, v.Signature(), Options{Action: a})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", v.Name(), err)
	}
	return &Guarded{v, w, a}, nil
}

// MustGuard is [Guard] for notebooks, examples and tests: it panics on an error.
func MustGuard(v advlib.Victim, d Detector, a Action) *Guarded {
	g, err := Guard(v, d, a)
	if err != nil {
		panic(err)
	}
	return g
}

// Name is that of the victim, with the detector.
func (g *Guarded) Name() string {
	return fmt.Sprintf("%s, watched (%v) by %v", g.Victim.Name(), g.action, g.watch.detector)
}

// Query implements [advlib.Victim].
func (g *Guarded) Query(ctx context.Context, x *tensors.Tensor) ([]advlib.Answer, error) {
	refused := g.watch.See("", tensors.MustCopyFlatData[float32](x))
	var asked []int
	for i, r := range refused {
		if !r {
			asked = append(asked, i)
		}
	}
	answers := make([]advlib.Answer, len(refused))
	for i := range answers {
		answers[i] = advlib.Answer{Kind: advlib.Rejected}
	}
	if len(asked) == 0 {
		return answers, nil
	}
	in := x
	if len(asked) < len(refused) {
		in = advlib.TakeRows(x, asked, len(asked))
		defer advlib.Free(in)
	}
	said, err := g.Victim.Query(ctx, in)
	for i, a := range said {
		answers[asked[i]] = a
	}
	if err != nil { // answers of the rows before the first that has none
		return answers[:asked[min(len(said), len(asked)-1)]], err
	}
	return answers, nil
}

// Report returns what the detector has seen so far.
func (g *Guarded) Report() Report { return g.watch.Report() }
