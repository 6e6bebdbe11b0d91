package certify

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/big"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"

	"advlab/advlib"
	"advlab/advlib/backend"
	"advlab/advlib/certify/internal/search"
	"advlab/advlib/vnnlib"
)

// absolute is y₀ = |x₀| + … + |x_{d−1}|, y₁ = x₀ + … + x_{d−1}, as a dense network.
func absolute(d int) network64 {
	var n network64
	first, last := make([][]float64, 2*d), [][]float64{make([]float64, 2*d), make([]float64, 2*d)}
	for i := range first {
		first[i] = make([]float64, d)
		sign := float64(1 - 2*(i%2))
		first[i][i/2] = sign
		last[0][i], last[1][i] = 1, sign
	}
	n.W, n.b = [][][]float64{first, last}, [][]float64{make([]float64, 2*d), {0, 0}}
	return n
}

// property reads conditions on two outputs for d inputs.
func property(t testing.TB, d int, conditions string) *vnnlib.Property {
	t.Helper()
	var s strings.Builder
	for i := range d {
		fmt.Fprintf(&s, "(declare-const X_%d Real)\n", i)
	}
	s.WriteString("(declare-const Y_0 Real)\n(declare-const Y_1 Real)\n" + conditions)
	p, err := vnnlib.Read(strings.NewReader(s.String()))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// TestVerifyProperty decides properties of |x₀| + |x₁| and x₀ + x₁ that can be decided by hand, by way of a chain and
// of the general bounds, deployed in float32 and in float64.
func TestVerifyProperty(t *testing.T) {
	box := "(assert (and (<= X_0 1) (>= X_0 -1) (<= X_1 0.5) (>= X_1 -0.5)))"
	b := goBackend(t)
	for _, tc := range []struct {
		name, conditions string
		want             advlib.Status
	}{
		{"above the most", box + "(assert (>= Y_0 1.5001))", advlib.Verified},
		{"at the most", box + "(assert (>= Y_0 1.5))", advlib.Falsified},
		{"more than the most", box + "(assert (> Y_0 1.5))", advlib.Unknown},
		{"below 0", box + "(assert (<= Y_0 -0.0001))", advlib.Verified},
		{"at 0", box + "(assert (<= Y_0 0))", advlib.Falsified},
		{"|x| < x", box + "(assert (<= Y_0 (- Y_1 0.001)))", advlib.Verified},
		{"both", box + "(assert (and (>= Y_0 1.4) (<= Y_1 0) (>= Y_1 -0.39)))", advlib.Verified},
		{"both can be", box + "(assert (and (>= Y_0 1.4) (<= Y_1 0.5) (>= Y_1 -0.51)))", advlib.Falsified},
		{"either", box + "(assert (or (>= Y_0 1.6) (<= Y_0 -0.01)))", advlib.Verified},
		{"either, one can be", box + "(assert (or (>= Y_0 1.6) (<= Y_1 -1.49)))", advlib.Falsified},
		{"half the difference", box + "(assert (>= (- (/ Y_0 2) (* 0.5 Y_1)) 1.501))", advlib.Verified},
		{"two boxes",
			"(assert (or (and (<= X_0 0.2) (>= X_0 0.1) (= X_1 0.1)) (and (<= X_0 0.9) (>= X_0 0.8) (= X_1 0.1))))(assert (>= Y_0 " +
				"1.0001))", advlib.Verified},
		{"two boxes, one bad",
			"(assert (or (and (<= X_0 0.2) (>= X_0 0.1) (= X_1 0.1)) (and (<= X_0 0.9) (>= X_0 0.8) (= X_1 0.1))))(assert (>= Y_0 " +
				"0.95))", advlib.Falsified},
		{"everything", box + "(assert (>= Y_0 -1000))", advlib.Falsified},
		{"nothing", box + "(assert (>= X_0 2))(assert (>= Y_0 0))", advlib.Verified},
		{"a point", "(assert (and (= X_0 0.1) (= X_1 0)))(assert (>= Y_0 0.11))", advlib.Verified},
		{"a point, rounded", "(assert (and (= X_0 0.1) (= X_1 0)))(assert (>= Y_0 0.0999999))", advlib.Falsified},
	} {
		p := property(t, 2, tc.conditions)
		for _, double := range []bool{false, true} {
			v, err := VerifyProperty(t.Context(), Question{absolute(2).source(b, double), p}, Options{Cells: 3000})
			if err != nil {
				t.Errorf("%s: %v", tc.name, err)
				continue
			}
			if v.Status != tc.want {
				t.Errorf("%s, float64 %v: %v", tc.name, double, v)
			}
			switch v.Status {
			case advlib.Verified:
				if v.Bound < 0 || v.Counterexample != nil {
					t.Errorf("%s, float64 %v: %+v", tc.name, double, v)
				}
			case advlib.Unknown:
				if v.Reason == "" || v.Bound > 0 {
					t.Errorf("%s, float64 %v: %+v", tc.name, double, v)
				}
			case advlib.Falsified:
				x := v.Counterexample
				y := []float64{math.Abs(x[0]) + math.Abs(x[1]), x[0] + x[1]}
				for k := range y {
					if math.Abs(y[k]-v.Outputs[k]) > 1e-6 {
						t.Errorf("%s: outputs %v at %v, want %v", tc.name, v.Outputs, x, y)
					}
				}
				unsafe := false
				for _, c := range p.Cases {
					unsafe = unsafe || c.IsUnsafe(v.Outputs)
				}
				if !unsafe {
					t.Errorf("%s: %v is not unsafe", tc.name, v.Outputs)
				}
			}
		}
	}
}

// TestVerifyWithoutChain decides what is no chain: a residual network, y₀ = x + |x|, y₁ = −x.
func TestVerifyWithoutChain(t *testing.T) {
	residual := func(_ *model.Scope, x *Node) *Node {
		zero := ZerosLike(x)
		return Concatenate([]*Node{Add(x, Add(Max(x, zero), Max(Neg(x), zero))), Neg(x)}, 1)
	}
	s := Source{Name: "residual", Graph: residual, Input: []int{1}, Backend: goBackend(t)}
	for _, tc := range []struct {
		conditions string
		want       advlib.Status
	}{
		{"(assert (>= Y_0 1.0001))", advlib.Verified},
		{"(assert (and (>= Y_0 0.5) (>= Y_1 -0.2)))", advlib.Verified},
		{"(assert (and (>= Y_0 0.3) (>= Y_1 -0.2)))", advlib.Falsified},
	} {
		v, err := VerifyProperty(t.Context(), Question{s, property(t, 1, "(assert (and (<= X_0 0.5) (>= X_0 -1)))"+tc.conditions)},
			Options{Cells: 200})
		if err != nil || v.Status != tc.want {
			t.Errorf("%s: %v, %v", tc.conditions, v, err)
		}
	}
}

// TestVerifyWithoutBounds: of a network that cannot be bounded, and here has no gradient either, counterexamples are
// looked for all the same; what is not found stays unknown, and the reason names the operation.
func TestVerifyWithoutBounds(t *testing.T) {
	largest := func(_ *model.Scope, x *Node) *Node { // of two, which one is, and their sum
		return Concatenate([]*Node{ConvertDType(InsertAxes(ArgMax(x, 1), -1), x.DType()), ReduceAndKeep(x, ReduceSum, 1)}, 1)
	}
	s := Source{Name: "argmax", Graph: largest, Input: []int{2}, Backend: goBackend(t)}
	box := "(assert (and (<= X_0 0.99) (>= X_0 -1) (<= X_1 1) (>= X_1 -1)))"
	v, err := VerifyProperty(t.Context(), Question{s, property(t, 2, box+"(assert (and (>= Y_0 0.5) (<= Y_1 -0.25)))")}, Options{})
	if err != nil || v.Status != advlib.Falsified || v.AnyOrder || v.Outputs[0] != 1 || v.Counterexample[1] <= v.Counterexample[0] {
		t.Errorf("%v, %v", v, err)
	}
	v, err = VerifyProperty(t.Context(), Question{s, property(t, 2, box+"(assert (>= Y_0 1.5))")}, Options{})
	if err != nil || v.Status != advlib.Unknown || v.TimedOut || !math.IsInf(v.Bound, -1) || !strings.Contains(v.Reason, "ArgMinMax") ||
		!strings.Contains(v.Reason, "verify_test.go") {
		t.Errorf("%v, %v", v, err)
	}
}

// TestVerifyRefuses: what is no question is an error; a network of NaN proves nothing.
func TestVerifyRefuses(t *testing.T) {
	b := goBackend(t)
	net := absolute(2).source(b, false)
	good := property(t, 2, "(assert (and (<= X_0 1) (>= X_0 -1) (<= X_1 0.5) (>= X_1 -0.5)))(assert (>= Y_0 1.6))")
	for _, tc := range []struct {
		name  string
		q     Question
		o     Options
		wants []string
	}{
		{"no property", Question{Model: net}, Options{}, []string{"property is nil"}},
		{"another size", Question{net, property(t, 3, "(assert (and (= X_0 1) (= X_1 1) (= X_2 1)))(assert (>= Y_0 0))")}, Options{},
			[]string{"3 inputs", "has 2", "belong"}},
		{"huge inputs", Question{net, property(t, 2, "(assert (and (= X_0 1e39) (= X_1 1)))(assert (>= Y_0 0))")}, Options{},
			[]string{"X_0", "float32"}},
		{"coefficients", Question{net, property(t, 2,
			"(assert (and (= X_0 1) (= X_1 1)))(assert (<= (+ (* 0.123456789012345678901 Y_0) Y_1) 1))")}, Options{}, []string{"Y_0", "digits"}},
		{"best line", Question{net, good}, Options{Method: CROWN.WithBestLine()}, []string{"best", "use CROWN"}},
		{"batch", Question{net, good}, Options{Batch: -1}, []string{"Batch -1"}},
	} {
		v, err := VerifyProperty(t.Context(), tc.q, tc.o)
		if err == nil {
			t.Errorf("%s: %v", tc.name, v)
			continue
		}
		for _, want := range append(tc.wants, "certify: verify") {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v, want %q in it", tc.name, err, want)
			}
		}
	}
	broken := absolute(2)
	broken.b[0][0] = math.NaN()
	v, err := VerifyProperty(t.Context(), Question{broken.source(b, false), good}, Options{Cells: 100})
	if err != nil || v.Status != advlib.Unknown || v.Reason == "" || !math.IsInf(v.Bound, -1) {
		t.Errorf("a network with NaN: %v, %v", v, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if v, err := VerifyProperty(ctx, Question{net, good}, Options{}); err != nil || v.Status != advlib.Unknown || v.TimedOut ||
		!strings.Contains(v.Reason, "interrupted") {
		t.Errorf("cancelled: %v, %v", v, err)
	}
	ctx, cancel = context.WithDeadline(t.Context(), time.Now())
	defer cancel()
	if v, err := VerifyProperty(ctx, Question{net, good}, Options{Timeout: -1}); err != nil || v.Status != advlib.Unknown || !v.TimedOut {
		t.Errorf("late: %v, %v", v, err)
	}
}

// TestVerify decides a small classifier around random inputs, in all norms: no sample contradicts a proof, every
// counterexample is one, and in two dimensions nothing is left unknown.
func TestVerify(t *testing.T) {
	net := random32(rand.New(rand.NewPCG(11, 12)), 1, 2, 12, 12, 3)
	s := net.source(goBackend(t), false)
	c, err := advlib.NewClassifier(advlib.Spec{Name: "small", Logits: s.Graph, Store: s.Store, Input: s.Input, Box: advlib.Box{Lo: -1, Hi: 1},
		Backend: s.Backend})
	if err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(13, 14))
	const examples = 24
	flat := make([]float32, 2*examples)
	for i := range flat {
		flat[i] = 2*r.Float32() - 1
	}
	e := &advlib.Examples{Name: "random", X: tensors.FromFlatDataAndDimensions(flat, examples, 2), Y: make([]int32, examples)}
	logits, err := c.Logits(e.X)
	if err != nil {
		t.Fatal(err)
	}
	class := func(z []float32) int32 {
		best := 0
		for k, v := range z {
			if v > z[best] {
				best = k
			}
		}
		return int32(best)
	}
	for i, z := range logits {
		e.Y[i] = class(z)
	}
	e.Y[0] = (e.Y[0] + 1) % 3 // misclassified
	for _, ball := range []advlib.Ball{advlib.Linf.Ball(0.1), advlib.L2.Ball(0.1), advlib.L1.Ball(0.15)} {
		v, err := Verify(t.Context(), c, e, ball, Options{Cells: 1000})
		if err != nil {
			t.Fatalf("%v: %v", ball, err)
		}
		t.Log(v)
		if v.Count(advlib.Verified) < 3 || v.Count(advlib.Falsified) < 3 || v.Count(advlib.Unknown) > 0 ||
			v.Decisions[0].Status != advlib.Falsified {
			t.Errorf("%v", v)
		}
		for i, verdict := range v.Decisions {
			x := flat[2*i : 2*i+2]
			switch verdict.Status {
			case advlib.Falsified:
				at := []float32{float32(verdict.Counterexample[0]), float32(verdict.Counterexample[1])}
				z, err := c.Logits(tensors.FromFlatDataAndDimensions(at, 1, 2))
				if err != nil {
					t.Fatal(err)
				}
				if d := ball.Norm.Distance(at, x); d > ball.Radius || !c.Box().Contains(at[0]) || !c.Box().Contains(at[1]) || class(z[0]) == e.Y[i] {
					t.Errorf("%v, example %d: %v, logits %v, is %g from %v of class %d", ball, i, at, z, d, x, e.Y[i])
				}
			case advlib.Verified:
				samples := make([]float32, 0, 2*2000)
				δ := make([]float32, 2)
				for len(samples) < cap(samples) {
					ball.Norm.(advlib.ConvexNorm).Sample(r, δ)
					for k := range δ {
						samples = append(samples, min(max(x[k]+float32(ball.Radius)*δ[k], -1), 1))
					}
				}
				z, err := c.Logits(tensors.FromFlatDataAndDimensions(samples, len(samples)/2, 2))
				if err != nil {
					t.Fatal(err)
				}
				for k := range z {
					if class(z[k]) != e.Y[i] {
						t.Fatalf("%v, example %d is verified, and %v has another class", ball, i, samples[2*k:2*k+2])
					}
				}
			}
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if v, err := Verify(ctx, c, e, advlib.Linf.Ball(0.1), Options{}); !errors.Is(err, context.Canceled) ||
		v.Count(advlib.Unknown) != examples || v.Decisions[3].Reason != "not reached" {
		t.Errorf("%v, %v", v, err)
	}
	if _, err := Verify(t.Context(), c, e, advlib.L0.Ball(1), Options{}); err == nil || !strings.Contains(err.Error(), "L0") {
		t.Errorf("L0: %v", err)
	}
}

// TestVerifyThenBound: a network is read on the Go backend, and bounded on its own, before and after.
func TestVerifyThenBound(t *testing.T) {
	b, err := backend.OpenNamed(backend.XLACPU)
	if err != nil {
		t.Skipf("no XLA: %v", err)
	}
	s := random32(rand.New(rand.NewPCG(11, 12)), 1, 2, 6, 3).source(b, false)
	c, err := advlib.NewClassifier(advlib.Spec{Name: "small", Logits: s.Graph, Store: s.Store, Input: s.Input, Box: advlib.Box{Lo: -1, Hi: 1},
		Backend: b})
	if err != nil {
		t.Fatal(err)
	}
	e, err := advlib.NewExamples("two", []float32{0.25, 0.5, -0.5, 0.25}, []int{2}, []int32{0, 1})
	if err != nil {
		t.Fatal(err)
	}
	for i, norm := range []advlib.ConvexNorm{advlib.Linf, advlib.L2, advlib.Linf, advlib.L2} {
		ball := norm.Ball(0.02)
		v, err := Verify(t.Context(), c, e, ball, Options{Cells: 200})
		if err != nil {
			t.Fatalf("%d, %v: %v", i, ball, err)
		}
		m, err := Margins(t.Context(), c, e, ball, CROWN)
		if err != nil {
			t.Fatalf("%d, %v: %v", i, ball, err)
		}
		for k, row := range m {
			if slices.Min(row) > 0 && v.Decisions[k].Status != advlib.Verified {
				t.Errorf("%v, example %d: margins %v, %v", ball, k, row, v.Decisions[k])
			}
		}
	}
}

// TestRounded: rows are exact up to a factor, limits are not below the exact ones.
func TestRounded(t *testing.T) {
	for _, tc := range []struct {
		row   []*big.Rat
		bound *big.Rat
		want  []float64
		limit float64
	}{
		{[]*big.Rat{big.NewRat(1, 1), big.NewRat(-1, 1)}, big.NewRat(0, 1), []float64{1, -1}, 0},
		{[]*big.Rat{big.NewRat(1, 1), big.NewRat(0, 1)}, big.NewRat(3, 10), []float64{1, 0}, math.Nextafter(0.3, 1)},
		{[]*big.Rat{big.NewRat(1, 1), big.NewRat(0, 1)}, big.NewRat(1, 10), []float64{1, 0}, 0.1},
		{[]*big.Rat{big.NewRat(1, 1), big.NewRat(0, 1)}, big.NewRat(-1, 10), []float64{1, 0}, math.Nextafter(-0.1, 1)},
		{[]*big.Rat{big.NewRat(1, 10), big.NewRat(-1, 3)}, big.NewRat(1, 2), []float64{3, -10}, 15},
	} {
		row, limit, err := search.Rounded(vnnlib.Condition{Row: tc.row, Bound: tc.bound})
		if err != nil || !slices.Equal(row, tc.want) || limit != tc.limit {
			t.Errorf("%v ≤ %v: %v ≤ %v, %v", tc.row, tc.bound, row, limit, err)
		}
	}
}
