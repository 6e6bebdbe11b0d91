package attacktest

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"sync"

	"github.com/gomlx/gomlx/core/tensors"

	"advlab/advlib"
)

// clerk is a linear model as a victim that shows no graph. It answers row by row, so that what it says about an input
// depends on nothing else, and notes by itself what it has answered.
type clerk struct {
	about advlib.Signature
	w     [][]float64
	mu    sync.Mutex
	heard [][]float32
}

func newClerk(l *Linear, queries int) *clerk {
	s := l.Classifier.Signature()
	s.Queries = queries
	return &clerk{about: s, w: l.W}
}

// Name implements [advlib.Victim].
func (c *clerk) Name() string { return "clerk" }

// Signature implements [advlib.Victim].
func (c *clerk) Signature() advlib.Signature { return c.about }

// Query implements [advlib.Victim].
func (c *clerk) Query(_ context.Context, x *tensors.Tensor) ([]advlib.Answer, error) {
	var said []advlib.Answer
	c.mu.Lock()
	defer c.mu.Unlock()
	for row := range slices.Chunk(tensors.MustCopyFlatData[float32](x), len(c.w[0])) {
		c.heard = append(c.heard, row)
		z := make([]float32, len(c.w))
		for k := range z {
			sum := 0.
			for j, v := range row {
				sum += c.w[k][j] * float64(v)
			}
			z[k] = float32(sum)
		}
		said = append(said, advlib.Answer{Kind: advlib.Logits, Scores: z})
	}
	return said, nil
}

// withQueries returns the attack with another budget; none if it has no field Queries, as a wrapper has not.
func withQueries(a advlib.Attack, queries int) (of advlib.Attack, has bool) {
	v := reflect.New(reflect.TypeOf(a)).Elem()
	if v.Kind() != reflect.Struct {
		return a, false
	}
	v.Set(reflect.ValueOf(a))
	f := v.FieldByName("Queries")
	if !f.IsValid() || f.Kind() != reflect.Int {
		return a, false
	}
	f.SetInt(int64(queries))
	return v.Interface().(advlib.Attack), true
}

// checkQueries holds attacks that only ask to their budget and to the ledger. A victim that counts by itself agrees to
// the last query; no budget is exceeded by one, the attack's or the victim's, however small; an example is given alone
// what it is given in a batch, bit for bit; and a run with few queries is the beginning of one with more.
func checkQueries(f *fixtures, s Subject) error {
	l := f.linear[0]
	a := s.attack(l.Classifier, advlib.Untargeted)
	_, err := a.Threat(newClerk(l, 0))
	if none := (*advlib.NoGraphError)(nil); errors.As(err, &none) {
		return nil
	}
	if err != nil {
		return err
	}
	all, err := s.counted(l, a, l.Examples, 0, 0)
	if err != nil {
		return err
	}
	for _, budget := range []int{1, 2, 3, 10} {
		if _, err := s.counted(l, a, l.Examples, 0, budget); err != nil && !errors.Is(err, advlib.ErrNoExample) {
			return fmt.Errorf("on a victim with a budget: %w", err)
		}
		if small, has := withQueries(a, budget); has {
			if _, err := s.counted(l, small, l.Examples, budget, 0); err != nil {
				return err
			}
			if _, err := s.counted(l, small, l.Examples.Select([]int{2}), budget, 0); err != nil {
				return fmt.Errorf("alone: %w", err)
			}
		}
	}
	for i := range 3 {
		alone, err := s.counted(l, a, l.Examples.Select([]int{i}), 0, 0)
		if err != nil {
			return fmt.Errorf("alone: %w", err)
		}
		x, y := tensors.MustCopyFlatData[float32](all.Adversarial), tensors.MustCopyFlatData[float32](alone.Adversarial)
		if !slices.Equal(x[i*len(y):(i+1)*len(y)], y) || all.Queries[i] != alone.Queries[0] {
			return fmt.Errorf("example %d is given something else alone than in a batch, at %g after %d queries and at %g after %d: what an "+
				"example is asked must not depend on the others", i, alone.Distance[0], alone.Queries[0], all.Distance[i], all.Queries[i])
		}
	}
	return s.continued(l, a)
}

// counted runs an attack on a victim that counts, whose budget is limit, and compares the two counts; with a budget of
// the attack, that too.
func (s Subject) counted(l *Linear, a advlib.Attack, e *advlib.Examples, budget, limit int) (*advlib.Result, error) {
	v := newClerk(l, limit)
	res, err := advlib.Run(context.Background(), v, e, a)
	if err != nil {
		return nil, fmt.Errorf("%v, %d queries of the victim: %w", a, limit, err)
	}
	sum := res.Stats.Shared
	for i, n := range res.Queries {
		sum += int64(n)
		if n < 1 || budget > 0 && n > budget || limit > 0 && n > limit {
			return nil, fmt.Errorf("%v, %d queries of the victim: example %d took %d queries", a, limit, i, n)
		}
		if p := res.Progress[i]; res.Success[i] != (len(p) > 0) || len(p) > 0 && p[len(p)-1].Query > n {
			return nil, fmt.Errorf("%v: example %d (success: %t) took %d queries, and made the progress %v", a, i, res.Success[i], n, p)
		}
	}
	if answered := int64(len(v.heard)); sum != answered || res.Stats.Sent != answered {
		return nil, fmt.Errorf("%v, %d queries of the victim: it answered %d inputs, the ledger has %d, and the bill %d", a, limit, answered,
			sum, res.Stats.Sent)
	}
	return res, nil
}

// continued compares what an attack asks about an example with a small budget and with a larger one.
func (s Subject) continued(l *Linear, a advlib.Attack) error {
	if _, has := withQueries(a, 1); !has || s.Rescales {
		return nil
	}
	one := l.Examples.Select([]int{1})
	var asked [][][]float32
	for _, budget := range []int{25, 80} {
		a, _ := withQueries(a, budget)
		v := newClerk(l, 0)
		res, err := advlib.Run(context.Background(), v, one, a)
		if err != nil {
			return err
		}
		asked = append(asked, v.heard[:1+res.Stats.Forward]) // without what was returned
	}
	for i, x := range asked[0] {
		if i >= len(asked[1]) || !slices.Equal(x, asked[1][i]) {
			return fmt.Errorf("%v asks another question %d with 80 queries than with 25: a run must be the beginning of a longer one, or the "+
				"Subject say that it Rescales", a, i)
		}
	}
	return nil
}
