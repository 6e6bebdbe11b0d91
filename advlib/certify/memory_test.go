package certify

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"advlab/advlib"
	"advlab/advlib/backend"

	"advlab/advlib/certify/internal/search"

	"github.com/gomlx/compute/dtypes"
)

// The estimate of memory cuts batches of examples and of rows.
func TestBatches(t *testing.T) {
	defer LimitMemory(1 << 20)()
	for _, test := range []struct{ numbers, examples, batch, rows, rowBatch int }{
		{1, 1, 8, 1, 128},
		{1, 9, 32, 129, 1024},
		{1, 1000, 512, 100000, 1 << 13},
		{1000, 1000, 8, 1000, 16},
		{1 << 20, 1000, 1, 1000, 1},
	} {
		n := &Network{numbers: test.numbers}
		if b, r := n.batch(test.examples, IBP), n.rowBatch(test.rows, nil); b != test.batch || r != test.rowBatch {
			t.Errorf("%d numbers for an example: %d examples in batches of %d, want %d; %d rows of %d, want %d", test.numbers, test.examples, b,
				test.batch, test.rows, r, test.rowBatch)
		}
	}
}

// What does not fit even in pieces is refused before anything is compiled, with bytes; what fits in pieces has the same
// bounds.
func TestMemory(t *testing.T) {
	s := random32(rand.New(rand.NewPCG(1, 2)), 1, 20, 40, 40, 3).source(goBackend(t), false)
	c, err := advlib.NewClassifier(advlib.Spec{Name: "net", Logits: s.Graph, Store: s.Store, Input: s.Input, Box: advlib.Box{Lo: -1, Hi: 1},
		Backend: s.Backend})
	if err != nil {
		t.Fatal(err)
	}
	n, err := Of(c)
	if err != nil {
		t.Fatal(err)
	}
	f := n.Footprint()
	if f.Region != int64(64*n.numbers) || f.Row != int64(48*n.numbers) || f.Limit != 1<<30 || !strings.Contains(f.String(), "limit 1.0 GiB") {
		t.Errorf("%v of %d numbers", f, n.numbers)
	}
	e, err := advlib.NewExamples("zeros", make([]float32, 20*9), []int{20}, make([]int32, 9))
	if err != nil {
		t.Fatal(err)
	}
	ball := advlib.Linf.Ball(0.05)
	want, err := Margins(t.Context(), c, e, ball, CROWN.ByGraphs())
	if err != nil {
		t.Fatal(err)
	}
	if err := n.LimitMemory(f.Region - 1); err == nil || !strings.Contains(err.Error(), bytesOf(f.Region)) ||
		!strings.Contains(err.Error(), "Options.Memory") || n.Footprint() != f {
		t.Errorf("%v, then %v", err, n.Footprint())
	}
	if err := n.LimitMemory(-1); err == nil {
		t.Error("a negative limit is taken")
	}
	if _, err := Verify(t.Context(), c, e, ball, Options{Memory: f.Region / 2}); err == nil || !strings.Contains(err.Error(), "neurons") {
		t.Errorf("Verify: %v", err)
	}
	box := "(assert (and (<= X_0 1) (>= X_0 -1) (<= X_1 0.5) (>= X_1 -0.5)))(assert (>= Y_0 1.6))"
	if _, err := VerifyProperty(t.Context(), Question{absolute(2).source(goBackend(t), false), property(t, 2, box)},
		Options{Memory: 1}); err == nil || !strings.Contains(err.Error(), "neurons") {
		t.Error("VerifyProperty takes 1 byte")
	}
	if err := n.LimitMemory(8 * f.Region); err != nil {
		t.Fatal(err)
	}
	got, err := Margins(t.Context(), c, e, ball, CROWN.ByGraphs())
	if err != nil {
		t.Fatal(err)
	}
	for i := range want {
		for k, v := range want[i] {
			if math.Abs(got[i][k]-v) > 1e-9 {
				t.Errorf("margin %d of example %d is %g in pieces, %g at once", k, i, got[i][k], v)
			}
		}
	}
	if err := n.LimitMemory(0); err != nil || n.Footprint() != f {
		t.Errorf("%v, %v", err, n.Footprint())
	}
}

// Whatever the limit is, as long as it is not refused: what is bounded at once fits into it, forward, backward, with
// tuned slopes and in branches. Where one row fits, but not with its slopes tuned, it is not tuned, and that is said.
func TestMemoryIsKept(t *testing.T) {
	c, e, x := wide(t, 1)
	n, err := Of(c)
	if err != nil {
		t.Fatal(err)
	}
	ball := advlib.Linf.Ball(0.5)
	region, err := Around(c, e, ball, false)
	if err != nil {
		t.Fatal(err)
	}
	p := aroundExample(c, x, e.Y[0], ball, region)
	fresh := func() *search.Search {
		d := &deployed{input: c.Input(), size: 20, dtype: dtypes.Float32, run: onTarget{advlib.Count(c)}}
		return &search.Search{Problem: p, Outputs: d.outputs, Cells: 3}
	}
	f := n.Footprint()
	one := f.Region / copiesForward // of each copy
	tuned, untuned := 0, 0
	for limit := max(f.Region, f.Row); limit < f.Limit; limit += limit / 3 {
		if err := n.LimitMemory(limit); err != nil {
			t.Fatalf("%d bytes: %v", limit, err)
		}
		check := func(what string, copies, rows int) {
			if int64(copies*rows)*one > limit {
				t.Errorf("%d bytes are allowed: %d %s at once take %d", limit, rows, what, int64(copies*rows)*one)
			}
		}
		for _, count := range []int{1, 7, 64, 1000, 1 << 16} {
			check("regions", copiesForward, n.batch(count, CROWN))
			check("rows", copiesBack, n.rowBatch(count, nil))
			if n.fits(true) == nil {
				check("tuned rows", copiesTuned, n.ascentBatch(count, nil))
				check("branches", copiesTuned, (&graphSplitter{n: n}).batch(count))
			}
		}
		switch {
		case n.fits(true) == nil && tuned < 2: // the least limits with which it goes
			tuned++
			if out, err := (Options{Method: CROWN}).settle(t.Context(), n, fresh()); err != nil || out.Reason != "" &&
				!strings.Contains(out.Reason, "branches") {
				t.Errorf("%d bytes: %+v, %v", limit, out, err)
			}
		case n.fits(true) != nil:
			untuned++
			out, err := Options{Method: CROWN}.settle(t.Context(), n, fresh())
			if err != nil || !strings.Contains(out.Reason, "no memory to tune") || !strings.Contains(out.Reason, "Options.Memory") ||
				math.IsInf(out.Bound, 0) {
				t.Errorf("%d bytes: %+v, %v", limit, out, err)
			}
			if _, err := Margins(t.Context(), c, e, ball, AlphaCROWN.ByGraphs()); err == nil || !strings.Contains(err.Error(), "slopes are tuned") {
				t.Errorf("%d bytes: %v", limit, err)
			}
		}
	}
	if tuned != 2 || untuned < 1 {
		t.Errorf("%d limits with tuning and %d without were tried", tuned, untuned)
	}
}

// The network that proves counterexamples on the Go backend has the limit of the one that it stands for.
func TestMemoryOfQuick(t *testing.T) {
	b, err := backend.OpenNamed(backend.Auto)
	if err != nil {
		t.Fatal(err)
	}
	if backend.InfoOf(b).Name == backend.Go {
		t.Skip("there is no other backend than Go's")
	}
	n, err := New(random32(rand.New(rand.NewPCG(3, 4)), 1, 4, 5, 3).source(b, false))
	if err != nil {
		t.Fatal(err)
	}
	for _, limit := range []int64{1 << 20, 1 << 21, 0} {
		if err := n.LimitMemory(limit); err != nil {
			t.Fatal(err)
		}
		if q := n.quick(); q == nil || q == n || q.Footprint() != n.Footprint() {
			t.Errorf("limit %d: the other network is %p of %p", limit, q, n)
		}
	}
}
