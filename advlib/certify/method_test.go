package certify

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"advlab/advlib"
)

// Boxes and radii are rounded outward, to float32 numbers.
func TestOutward(t *testing.T) {
	r := Regions{
		Lower: [][]float64{{0.1, -0.1, 0.5, 0, 1e-300, -1e-300}}, Upper: [][]float64{{0.1, -0.1, 0.5, 0, 1e-300, -1e-300}},
		Norm: advlib.L2, Centre: [][]float64{{0.1, -0.1, 0.5, 0, 0, 0}}, Radius: []float64{0.1},
	}
	s := r.outward()
	for j, v := range r.Lower[0] {
		l, u := s.Lower[0][j], s.Upper[0][j]
		if float64(float32(l)) != l || float64(float32(u)) != u || l > v || u < v {
			t.Errorf("%g is rounded to [%g, %g]", v, l, u)
		}
		if exact := float64(float32(v)) == v; exact && (l != v || u != v) {
			t.Errorf("%g is a float32, and rounded to [%g, %g]", v, l, u)
		} else if !exact && math.Nextafter32(float32(l), 2) != float32(u) {
			t.Errorf("%g is rounded to [%g, %g], which are not neighbours", v, l, u)
		}
	}
	if ε := s.Radius[0]; ε <= 0.1 || ε > 0.1*(1+0x1p-22) {
		t.Errorf("the radius 0.1 is rounded to %g", ε)
	}
	if ε := (Regions{Norm: advlib.L1, Lower: r.Lower, Upper: r.Upper, Radius: []float64{0}}).outward().Radius[0]; ε != 0 {
		t.Errorf("the radius 0 is rounded to %g", ε)
	}
}

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
			t.Errorf("%d numbers for an example: %d examples in batches of %d, want %d; %d rows of %d, want %d", test.numbers, test.examples, b, test.batch, test.rows, r, test.rowBatch)
		}
	}
}

// What does not fit even in pieces is refused before anything is compiled, with bytes; what fits in pieces has the same bounds.
func TestMemory(t *testing.T) {
	s := random32(rand.New(rand.NewPCG(1, 2)), 1, 20, 40, 40, 3).source(goBackend(t), false)
	c, err := advlib.NewClassifier(advlib.Spec{Name: "net", Logits: s.Graph, Store: s.Store, Input: s.Input, Box: advlib.Box{Lo: -1, Hi: 1}, Backend: s.Backend})
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
	if err := n.LimitMemory(f.Region - 1); err == nil || !strings.Contains(err.Error(), bytesOf(f.Region)) || !strings.Contains(err.Error(), "Options.Memory") || n.Footprint() != f {
		t.Errorf("%v, then %v", err, n.Footprint())
	}
	if err := n.LimitMemory(-1); err == nil {
		t.Error("a negative limit is taken")
	}
	if _, err := Verify(t.Context(), c, e, ball, Options{Memory: f.Region / 2}); err == nil || !strings.Contains(err.Error(), "neurons") {
		t.Errorf("Verify: %v", err)
	}
	box := "(assert (and (<= X_0 1) (>= X_0 -1) (<= X_1 0.5) (>= X_1 -0.5)))(assert (>= Y_0 1.6))"
	if _, err := VerifyProperty(t.Context(), Question{absolute(2).source(goBackend(t), false), property(t, 2, box)}, Options{Memory: 1}); err == nil || !strings.Contains(err.Error(), "neurons") {
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
