package craft_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gomlx/gomlx/core/tensors"

	"advlab/advlib"
	"advlab/advlib/attack/attacktest"
	"advlab/advlib/attack/craft"
	"advlab/advlib/backend"
	"advlab/advlib/oracle"
)

// probe is an attack of minimal norm by labels: a point of noise, a bisection, then random steps towards the original
// that are kept if they stay adversarial. With a ball it draws corners of the ball instead.
type probe struct {
	c     craft.Inquest
	block int // of questions at once
	tell  func(q *craft.Inquiry)
}

func (a probe) String() string { return "probe" }
func (a probe) Threat(advlib.Victim) (advlib.Threat, error) {
	if a.c.Norm == nil {
		return advlib.Threat{Norm: a.c.Ball.Norm, Radius: a.c.Ball.Radius}, nil
	}
	return advlib.Threat{Norm: a.c.Norm, Radius: math.Inf(1)}, nil
}
func (a probe) Perturb(ctx context.Context, v *advlib.Counted, b advlib.Batch) (*tensors.Tensor, error) {
	return craft.Inquire(ctx, v, b, a.c, func(q *craft.Inquiry) {
		if a.tell != nil {
			defer a.tell(q)
		}
		switch {
		case a.c.Loss != nil:
			a.climb(q)
		case a.c.Norm == nil:
			a.corners(q)
		default:
			a.walk(q)
		}
	})
}

// uniform draws a point between the ends.
func uniform(q *craft.Inquiry) []float32 {
	x := make([]float32, len(q.X))
	for j := range x {
		x[j] = q.Lower[j] + q.Rand.Float32()*(q.Upper[j]-q.Lower[j])
	}
	return q.Clip(x)
}

// between returns x + t·(y − x).
func between(q *craft.Inquiry, y []float32, t float32) []float32 {
	z := make([]float32, len(y))
	for j := range z {
		z[j] = q.X[j] + t*(y[j]-q.X[j])
	}
	return q.Clip(z)
}

func (a probe) walk(q *craft.Inquiry) {
	far := uniform(q)
	for !q.Is(far) {
		far = uniform(q)
	}
	lo, hi := float32(0), float32(1)
	for range 12 {
		if mid := (lo + hi) / 2; q.Is(between(q, far, mid)) {
			hi = mid
		} else {
			lo = mid
		}
	}
	for {
		best, _, ok := q.Best()
		if !ok {
			panic("the start was adversarial")
		}
		best = slices.Clone(best)
		xs := make([][]float32, max(1, a.block))
		for i := range xs {
			xs[i] = between(q, best, 0.97)
			for j := range xs[i] {
				xs[i][j] += 0.02 * float32(q.Rand.NormFloat64())
			}
			q.Clip(xs[i])
		}
		q.Are(xs)
	}
}

func (a probe) corners(q *craft.Inquiry) {
	for {
		x := slices.Clone(q.X)
		for j := range x {
			x[j] += float32(a.c.Ball.Radius) * float32(2*q.Rand.IntN(2)-1)
		}
		q.Is(q.Clip(x))
	}
}

func (a probe) climb(q *craft.Inquiry) {
	for most := math.Inf(-1); ; {
		best, _, _ := q.Best()
		x := slices.Clone(best)
		for range 3 {
			j := q.Rand.IntN(len(x))
			x[j] = q.X[j] + float32(a.c.Ball.Radius)*float32(2*q.Rand.IntN(2)-1)
		}
		if L := q.Losses([][]float32{q.Clip(x)})[0]; L > most {
			most = L
		}
	}
}

// setting is a linear classifier, and a Go function that computes it row by row.
func setting(t testing.TB, examples int) (*attacktest.Linear, advlib.Victim) {
	t.Helper()
	b, err := backend.Open()
	if err != nil {
		t.Fatal(err)
	}
	l, err := attacktest.NewLinear(attacktest.LinearSpec{Seed: 3, Examples: examples}, b)
	if err != nil {
		t.Fatal(err)
	}
	s := advlib.Signature{Input: l.Classifier.Input(), Box: advlib.UnitBox, Classes: len(l.W)}
	return l, oracle.Func("linear", s, func(x []float32) []float32 { return scores(l.W, x) })
}

func scores(w [][]float64, x []float32) []float32 {
	z := make([]float32, len(w))
	for k := range w {
		sum := 0.
		for j, v := range x {
			sum += w[k][j] * float64(v)
		}
		z[k] = float32(sum)
	}
	return z
}

// listener is a victim that notes what it answers.
type listener struct {
	advlib.Victim
	mu    sync.Mutex
	heard [][]float32
}

func (l *listener) Query(ctx context.Context, x *tensors.Tensor) ([]advlib.Answer, error) {
	flat := tensors.MustCopyFlatData[float32](x)
	l.mu.Lock()
	l.heard = slices.AppendSeq(l.heard, slices.Chunk(flat, len(flat)/x.Shape().Dimensions[0]))
	l.mu.Unlock()
	return l.Victim.Query(ctx, x)
}

func probes(queries int) map[string]probe {
	return map[string]probe{
		"minimal":         {c: craft.Inquest{Norm: advlib.L2, Queries: queries}},
		"minimal, blocks": {c: craft.Inquest{Norm: advlib.Linf, Queries: queries}, block: 7},
		"corners":         {c: craft.Inquest{Ball: advlib.Linf.Ball(0.02), Queries: queries}},
		"climb":           {c: craft.Inquest{Ball: advlib.Linf.Ball(0.1), Queries: queries, Loss: advlib.Margin}},
		"climb, DLR":      {c: craft.Inquest{Ball: advlib.Linf.Ball(0.1), Queries: queries, Loss: advlib.DLR}},
	}
}

// On a victim that answers row by row, a batch gives each example what it gets alone, bit for bit, and asks the same.
func TestInquireGivesWhatAloneGives(t *testing.T) {
	l, f := setting(t, 12)
	for name, a := range probes(60) {
		v := oracle.Count(f)
		batch := advlib.Batch{X: l.Examples.X, Y: l.Examples.Y, Seed: 5}
		together, err := a.Perturb(t.Context(), advlib.Count(v), batch)
		if err != nil {
			t.Fatal(err)
		}
		asked := v.Queries()
		x := tensors.MustCopyFlatData[float32](together)
		for i := range batch.Len() {
			one := batch.Select([]int{i})
			alone, err := a.Perturb(t.Context(), advlib.Count(v), one)
			if err != nil {
				t.Fatal(err)
			}
			if y := tensors.MustCopyFlatData[float32](alone); !slices.Equal(y, x[i*len(y):(i+1)*len(y)]) {
				t.Errorf("%s: example %d is given another point in a batch than alone", name, i)
			}
		}
		if alone := v.Queries() - asked; alone != asked {
			t.Errorf("%s: %d questions in a batch, %d alone", name, asked, alone)
		}
	}
}

// A run with fewer queries is the beginning of one with more, and each budget is used to the last query, never beyond.
func TestInquireIsContinued(t *testing.T) {
	l, f := setting(t, 1)
	for name, a := range probes(0) {
		var heard [][][]float32
		for _, queries := range []int{1, 2, 3, 10, 40, 150} {
			v := &listener{Victim: f}
			a.c.Queries = queries
			if _, err := a.Perturb(t.Context(), advlib.Count(v), advlib.Batch{X: l.Examples.X, Y: l.Examples.Y, Seed: 5}); err != nil {
				t.Fatal(err)
			}
			if n, want := len(v.heard), max(0, queries-2); n > want || a.c.Norm != nil && n != want {
				t.Errorf("%s: %d questions of a budget of %d", name, n, queries)
			}
			heard = append(heard, v.heard)
		}
		for i, h := range heard[1:] {
			for j, x := range heard[i] {
				if !slices.Equal(h[j], x) {
					t.Fatalf("%s: question %d is another one when the budget is larger", name, j)
				}
			}
		}
	}
}

// On a compiled classifier and on a function the same is found, up to rounding, and every example is broken.
func TestInquireOnAClassifier(t *testing.T) {
	l, f := setting(t, 20)
	a := probes(400)["minimal"]
	on := advlib.MustRun(t.Context(), l.Classifier, l.Examples, a)
	off := advlib.MustRun(t.Context(), f, l.Examples, a)
	for i := range on.Distance {
		nearest := l.Distance(advlib.L2, i)
		if !on.Success[i] || !off.Success[i] || on.Distance[i] < nearest*(1-1e-5) || math.Abs(on.Distance[i]/off.Distance[i]-1) > 0.2 {
			t.Errorf("example %d: at %g on the classifier, %g on the function, the nearest is at %g", i, on.Distance[i], off.Distance[i], nearest)
		}
	}
	if m := off.MedianDistance(); m > 1.5*medianNearest(l) {
		t.Errorf("median distance %g, the optimum is %g", m, medianNearest(l))
	}
}

func medianNearest(l *attacktest.Linear) float64 {
	var all []float64
	for i := range l.Examples.Len() {
		all = append(all, l.Distance(advlib.L2, i))
	}
	slices.Sort(all)
	return all[len(all)/2]
}

// A context that is done ends all searches, their deferred calls included, and leaves nothing behind.
func TestInquireCanBeCancelled(t *testing.T) {
	l, f := setting(t, 30)
	before := runtime.NumGoroutine()
	ctx, cancel := context.WithCancel(t.Context())
	var mu sync.Mutex
	ended, asked := 0, 0
	s := f.Signature()
	v := oracle.Func("cancels", s, func(x []float32) []float32 {
		mu.Lock()
		defer mu.Unlock()
		if asked++; asked == 1000 {
			cancel()
		}
		return scores(l.W, x)
	})
	a := probes(5000)["minimal"]
	a.tell = func(*craft.Inquiry) {
		mu.Lock()
		defer mu.Unlock()
		ended++
	}
	x, err := a.Perturb(ctx, advlib.Count(v), advlib.Batch{X: l.Examples.X, Y: l.Examples.Y, Seed: 5})
	if !errors.Is(err, context.Canceled) || x == nil {
		t.Fatalf("error %v, points %v", err, x != nil)
	}
	if flat := tensors.MustCopyFlatData[float32](x); slices.Equal(flat, tensors.MustCopyFlatData[float32](l.Examples.X)) {
		t.Error("nothing of what was found comes back")
	}
	if ended != 30 {
		t.Errorf("%d of 30 searches have ended", ended)
	}
	for i := 0; runtime.NumGoroutine() > before && i < 100; i++ {
		time.Sleep(10 * time.Millisecond)
	}
	if n := runtime.NumGoroutine(); n > before {
		var all bytes.Buffer
		buf := make([]byte, 1<<16)
		all.Write(buf[:runtime.Stack(buf, true)])
		t.Errorf("%d goroutines, %d before:\n%s", n, before, all.String())
	}
}

// A mistake in a search, and a victim that fails, are errors, with the example's number.
func TestInquireErrors(t *testing.T) {
	l, f := setting(t, 6)
	b := advlib.Batch{X: l.Examples.X, Y: l.Examples.Y, Index: []int64{10, 11, 12, 13, 14, 15}}
	run := func(v advlib.Victim, c craft.Inquest, search func(q *craft.Inquiry)) error {
		_, err := craft.Inquire(t.Context(), advlib.Count(v), b, c, search)
		return err
	}
	l2 := craft.Inquest{Norm: advlib.L2, Queries: 50}
	for _, c := range []struct {
		want   string
		on     advlib.Victim
		c      craft.Inquest
		search func(q *craft.Inquiry)
	}{
		{"example 13: the search panicked, which is a mistake in the attack: oh", f, l2, func(q *craft.Inquiry) {
			if q.Is(q.X); q.Number == 13 {
				panic("oh")
			}
		}},
		{"at position 2, which may be from 0 to 1: Clip", f, l2, func(q *craft.Inquiry) {
			x := slices.Clone(q.X)
			x[2] = 1.5
			q.Is(x)
		}},
		{"question of 3 numbers", f, l2, func(q *craft.Inquiry) { q.Is(q.X[:3]) }},
		{"which is not said", f, l2, func(q *craft.Inquiry) { q.Losses([][]float32{q.X}) }},
		{"either a norm", f, craft.Inquest{Queries: 5}, nil},
		{"either a norm", f, craft.Inquest{Norm: advlib.L2, Ball: advlib.L2.Ball(1), Queries: 5}, nil},
		{"0 queries", f, craft.Inquest{Norm: advlib.L2}, nil},
		{"no scores", oracle.Labels(f), craft.Inquest{Norm: advlib.L2, Queries: 5, Loss: advlib.Margin}, nil},
	} {
		if err := run(c.on, c.c, c.search); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("error %v does not say %q", err, c.want)
		}
	}
	// What was answered before the victim failed is remembered and paid for.
	fails := &failing{Victim: f, after: 100}
	x, err := probes(5000)["minimal"].Perturb(t.Context(), advlib.Count(fails), b)
	if err == nil || !strings.Contains(err.Error(), "no more") || x == nil {
		t.Errorf("the victim's error is %v, points: %t", err, x != nil)
	}
}

// failing is a victim that answers so many inputs and no more.
type failing struct {
	advlib.Victim
	after int
}

func (f *failing) Query(ctx context.Context, x *tensors.Tensor) ([]advlib.Answer, error) {
	said, err := f.Victim.Query(ctx, x)
	if len(said) > f.after {
		said, err = said[:f.after], fmt.Errorf("no more")
	}
	f.after -= len(said)
	return said, err
}

// A search in a ball ends with its first adversarial point; scores that are not finite, and rejections, are none.
func TestInquireInABall(t *testing.T) {
	l, f := setting(t, 20)
	strange := 0
	v := oracle.Rejecting(oracle.Func("holes", f.Signature(), func(x []float32) []float32 {
		z := scores(l.W, x)
		if x[0] > 0.6 {
			z[1] = float32(math.NaN())
			strange++
		}
		return z
	}), "x₁ < 0.4", func(x []float32, _ advlib.Answer) bool { return x[1] < 0.4 })
	for _, name := range []string{"corners", "climb", "climb, DLR"} {
		a := probes(200)[name]
		a.c.Ball.Radius = 0.15
		var mu sync.Mutex
		asked := map[int64]int{}
		a.tell = func(q *craft.Inquiry) {
			mu.Lock()
			defer mu.Unlock()
			asked[q.Number] = q.Asked()
			checkStep(t, q)
		}
		b := advlib.Batch{X: l.Examples.X, Y: l.Examples.Y, Seed: 1}
		out, err := a.Perturb(t.Context(), advlib.Count(v), b)
		if err != nil {
			t.Fatal(err)
		}
		answers, err := v.Query(t.Context(), out)
		if err != nil {
			t.Fatal(err)
		}
		solved := 0
		flat, from := tensors.MustCopyFlatData[float32](out), tensors.MustCopyFlatData[float32](b.X)
		for i, answer := range answers {
			d := len(flat) / b.Len()
			if dist := advlib.Linf.Distance(flat[i*d:(i+1)*d], from[i*d:(i+1)*d]); dist > 0.15 {
				t.Errorf("%s: example %d at distance %g", name, i, dist)
			}
			if b.ReachedBy(i, answer) {
				solved++
			} else if asked[int64(i)] != 198 {
				t.Errorf("%s: example %d gave up after %d questions of 198", name, i, asked[int64(i)])
			}
		}
		if solved == 0 || solved == b.Len() || strange == 0 {
			t.Errorf("%s: %d of %d broken, %d answers were not finite", name, solved, b.Len(), strange)
		}
	}
}

// Points stay in the domain: fixed features, whole steps, categories.
func TestInquireInADomain(t *testing.T) {
	d := advlib.Domain{{Name: "fixed", Change: advlib.Fixed}, {Name: "steps", Step: 0.25, Scale: 0.5}, {Name: "kind", OneHot: 3},
		{Name: "up", Change: advlib.RiseOnly, Scale: 2}, {Name: "free"}}
	s := advlib.Signature{Input: []int{7}, Box: advlib.UnitBox, Domain: d, Classes: 2}
	w := []float32{1, 2, -1, 0.5, 1, -2, 1.5}
	v := oracle.Func("tabular", s, func(x []float32) []float32 {
		if x[1] != float32(math.Round(float64(x[1])*4)/4) || x[2]+x[3]+x[4] != 1 {
			t.Errorf("asked about %v, which is not in the domain", x)
		}
		sum := float32(-2)
		for j := range x {
			sum += w[j] * x[j]
		}
		return []float32{0, sum}
	})
	e, err := advlib.NewExamples("two", []float32{0.3, 0.25, 0, 1, 0, 0.2, 0.4, 0.9, 0.5, 1, 0, 0, 0.1, 0.2}, []int{7}, []int32{0, 0})
	if err != nil {
		t.Fatal(err)
	}
	a := probes(300)["minimal"]
	a.tell = func(q *craft.Inquiry) {
		if len(q.X) != 7 || !slices.Equal(q.Shape, []int{7}) || q.Lower[0] != q.Upper[0] || q.Lower[5] != q.X[5] {
			t.Errorf("the search sees %v of shape %v in %v, %v", q.X, q.Shape, q.Lower, q.Upper)
		}
		x, distance, ok := q.Best()
		if y := q.Clip(slices.Clone(x)); !ok || !slices.Equal(x, y) || q.Distance(x) != distance {
			t.Errorf("the best point %v at %g (%t) is moved by Clip to %v", x, distance, ok, y)
		}
		checkStep(t, q)
	}
	res := advlib.MustRun(t.Context(), v, e, a)
	if res.SuccessRate().Count != 2 {
		t.Errorf("success %v", res.Success)
	}
	x, from := tensors.MustCopyFlatData[float32](res.Adversarial), tensors.MustCopyFlatData[float32](e.X)
	if x[0] != from[0] || x[7] != from[7] || x[5] < from[5] || x[12] < from[12] {
		t.Errorf("%v became %v", from, x)
	}
}

// checkStep checks that a step is the one that is made coordinate by coordinate, and clipped then.
func checkStep(t *testing.T, q *craft.Inquiry) {
	v, p, want := make([]float64, len(q.X)), make([]float32, len(q.X)), make([]float32, len(q.X))
	for range 20 {
		x, s := uniform(q), q.Rand.Float64()
		l := math.Sqrt(q.Normals(v))
		for j := range want {
			want[j] = float32(float64(x[j]) + s*(v[j]/l))
		}
		if got := q.Step(p, x, s, v, l); &got[0] != &p[0] || !slices.Equal(got, q.Clip(want)) {
			t.Errorf("from %v by %g·%v/%g: %v, want %v", x, s, v, l, got, want)
		}
	}
}

// A budget that is too small is said.
func TestInquireSaysWhatABudgetIsTooSmallFor(t *testing.T) {
	l, f := setting(t, 8)
	for queries, want := range map[int]string{2: "leaves none for the search", 3: "before the search had a first adversarial example"} {
		a := probe{c: craft.Inquest{Norm: advlib.L2, Queries: queries}}
		v := oracle.Func("always the same", f.Signature(), func([]float32) []float32 {
			z := make([]float32, len(l.W))
			z[l.Examples.Y[0]] = 2
			return z
		})
		e := l.Examples.Select([]int{0})
		if res := advlib.MustRun(t.Context(), v, e, a); !strings.Contains(res.String(), want) {
			t.Errorf("budget %d: %v", queries, res)
		}
	}
}

// BenchmarkInquire is the cost of a question on a victim that answers at once.
func BenchmarkInquire(b *testing.B) {
	l, _ := setting(b, 32)
	s := advlib.Signature{Input: l.Classifier.Input(), Box: advlib.UnitBox, Classes: 2}
	v := oracle.Func("nothing", s, func(x []float32) []float32 { return []float32{1, 0} })
	for b.Loop() {
		batch := advlib.Batch{X: l.Examples.X, Y: make([]int32, 32)}
		if _, err := craft.Inquire(b.Context(), advlib.Count(v), batch, craft.Inquest{Norm: advlib.L2, Queries: 1002}, func(q *craft.Inquiry) {
			for {
				q.Is(q.X)
			}
		}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/32000, "ns/question")
}
