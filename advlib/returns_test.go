package advlib_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"

	"advlab/advlib"
	"advlab/advlib/attack"
	"advlab/advlib/certify"
)

// scores are linear in inputs [4]: x·W for W of shape [4, k], whose entries are small whole numbers times scale.
func scores(x *Node, k int, seed uint64, scale float64) *Node {
	r := rand.New(rand.NewPCG(seed, 0))
	w := make([]float64, 4*k)
	for i := range w {
		w[i] = scale * float64(r.IntN(9)-4)
	}
	return Dot(x, Reshape(ConstAsDType(x.Graph(), x.DType(), w), 4, k)).Product()
}

func returning(t testing.TB, r advlib.Returns, f func(x *Node) *Node) *advlib.Classifier {
	t.Helper()
	c, err := advlib.NewClassifier(advlib.Spec{Name: "model", Input: []int{4}, Box: advlib.UnitBox, Returns: r,
		Logits: func(_ *model.Scope, x *Node) *Node { return f(x) }})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// points are n random inputs in [0, 1]⁴ with the labels that c gives them.
func points(t testing.TB, c *advlib.Classifier, n int) *advlib.Examples {
	t.Helper()
	r := rand.New(rand.NewPCG(7, 0))
	x := make([]float32, 4*n)
	for i := range x {
		x[i] = r.Float32()
	}
	e, err := advlib.NewExamples("points", x, []int{4}, make([]int32, n))
	if err != nil {
		t.Fatal(err)
	}
	z, err := c.Logits(e.X)
	if err != nil {
		t.Fatal(err)
	}
	for i, row := range z {
		e.Y[i] = int32(slices.Index(row, slices.Max(row)))
	}
	return e
}

// Of a model of one number, and of one of probabilities, the logits are those of the same model with logits: exactly 0
// and z, and up to rounding and what each row has in common.
func TestReturns(t *testing.T) {
	for _, c := range []struct {
		name    string
		returns advlib.Returns
		f       func(x *Node) *Node
		classes int
		logits  func(x *Node) *Node // another way
		slack   float64
	}{
		{"one logit [n, 1]", advlib.OneLogit, func(x *Node) *Node { return scores(x, 1, 1, 0.5) }, 2, func(x *Node) *Node {
			return Concatenate([]*Node{ZerosLike(scores(x, 1, 1, 0.5)), scores(x, 1, 1, 0.5)}, 1)
		}, 0},
		{"one logit [n]", advlib.OneLogit, func(x *Node) *Node { return Reshape(scores(x, 1, 1, 0.5), -1) }, 2, func(x *Node) *Node {
			return Concatenate([]*Node{ZerosLike(scores(x, 1, 1, 0.5)), scores(x, 1, 1, 0.5)}, 1)
		}, 0},
		{"softmax", advlib.Probabilities, func(x *Node) *Node { return Softmax(scores(x, 5, 2, 0.5), -1) }, 5,
			func(x *Node) *Node { return scores(x, 5, 2, 0.5) }, 1e-4},
		{"sigmoid [n, 1]", advlib.Probabilities, func(x *Node) *Node { return Sigmoid(scores(x, 1, 1, 0.5)) }, 2, func(x *Node) *Node {
			return Concatenate([]*Node{ZerosLike(scores(x, 1, 1, 0.5)), scores(x, 1, 1, 0.5)}, 1)
		}, 1e-4},
		{"sigmoid [n]", advlib.Probabilities, func(x *Node) *Node { return Reshape(Sigmoid(scores(x, 1, 1, 0.5)), -1) }, 2, func(x *Node) *Node {
			return Concatenate([]*Node{ZerosLike(scores(x, 1, 1, 0.5)), scores(x, 1, 1, 0.5)}, 1)
		}, 1e-4},
	} {
		got, want := returning(t, c.returns, c.f), returning(t, advlib.Logits, c.logits)
		if got.Classes() != c.classes {
			t.Errorf("%s: %d classes", c.name, got.Classes())
		}
		e := points(t, want, 64)
		a, err := got.Logits(e.X)
		if err != nil {
			t.Fatal(err)
		}
		b, err := want.Logits(e.X)
		if err != nil {
			t.Fatal(err)
		}
		for i := range a {
			for k := range a[i] { // differences to the first logit, which are margins
				if d := math.Abs(float64((a[i][k] - a[i][0]) - (b[i][k] - b[i][0]))); !(d <= c.slack) {
					t.Errorf("%s: margin %d of example %d is %g, with logits it is %g", c.name, k, i, a[i][k]-a[i][0], b[i][k]-b[i][0])
				}
			}
		}
		// The attack goes the same way, and the certificate is as good, but for what the logarithm of a softmax costs.
		const ε = 0.06
		ball := advlib.Linf.Ball(ε)
		report := func(c *advlib.Classifier) *advlib.Report {
			r, err := advlib.Evaluate(t.Context(), c, e, []advlib.Attack{attack.PGD{Ball: ball}}, certify.CROWN)
			if err != nil {
				t.Fatal(err)
			}
			return r
		}
		mine, theirs := report(got), report(want)
		if mine.Robust(ball) != theirs.Robust(ball) {
			t.Errorf("%s: robust %v, with logits %v", c.name, mine.Robust(ball), theirs.Robust(ball))
		}
		certified, _ := mine.Certified(ball)
		exact, _ := theirs.Certified(ball)
		if certified.Count > mine.Robust(ball).Count || certified.Count < exact.Count*8/10 {
			t.Errorf("%s: certified %v, with logits %v, robust %v", c.name, certified, exact, mine.Robust(ball))
		}
		if len(mine.Warnings) != 0 || !strings.Contains(strings.Join(mine.Notes, ""), "logits: ") ||
			!strings.Contains(mine.String(), "logits: ") {
			t.Errorf("%s: warnings %q, notes %q", c.name, mine.Warnings, mine.Notes)
		}
	}
}

// An average of softmaxes has no logits of its own. Bounds on its logarithms hold wherever one looks in the ball, and
// leave something.
func TestSoftVoting(t *testing.T) {
	c := returning(t, advlib.Probabilities, func(x *Node) *Node {
		return MulScalar(Add(Softmax(scores(x, 3, 2, 0.5), -1), Softmax(scores(x, 3, 3, 0.5), -1)), 0.5)
	})
	e := points(t, c, 24)
	const ε = 0.05
	ball := advlib.Linf.Ball(ε)
	report, err := advlib.Evaluate(t.Context(), c, e, []advlib.Attack{attack.PGD{Ball: ball}}, certify.IBP, certify.CROWN, certify.AlphaCROWN)
	if err != nil {
		t.Fatal(err)
	}
	x := tensors.MustCopyFlatData[float32](e.X)
	r := rand.New(rand.NewPCG(8, 0))
	least := make([]float64, e.Len())
	for i := range least {
		least[i] = math.Inf(1)
	}
	const tries = 200
	for range tries { // corners of the ball, mostly
		y := slices.Clone(x)
		for j := range y {
			y[j] = min(max(y[j]+ε*float32(min(max(3*r.Float64()*2-3, -1), 1)), 0), 1)
		}
		z, err := c.Logits(tensors.FromFlatDataAndDimensions(y, e.X.Shape().Dimensions...))
		if err != nil {
			t.Fatal(err)
		}
		for i, row := range z {
			for k, v := range row {
				if k != int(e.Y[i]) {
					least[i] = min(least[i], float64(row[e.Y[i]])-float64(v))
				}
			}
		}
	}
	for _, cert := range report.Certificates {
		proven := 0
		for i, m := range cert.Margin {
			if float64(m) > least[i] {
				t.Errorf("%s: the margin of example %d is at least %g, and %g was found", cert.Method, i, m, least[i])
			}
			if cert.Certified[i] {
				proven++
			}
		}
		robust := report.Robust(ball).Count
		if proven*3 < robust*2 || proven > robust {
			t.Errorf("%s: %d certified of %d robust", cert.Method, proven, robust)
		}
	}
}

// Where a probability is 0 in float32, its logarithm is that of the least one: finite, said, and counted.
func TestSaturatedProbabilities(t *testing.T) {
	steep := func(x *Node) *Node { return Softmax(scores(x, 3, 2, 60), -1) }
	c := returning(t, advlib.Probabilities, steep)
	e := points(t, c, 40)
	z, err := c.Logits(e.X)
	if err != nil {
		t.Fatal(err)
	}
	zero := 0
	for i, row := range z {
		for _, v := range row {
			if !(v >= -87.34 && v <= 0) {
				t.Errorf("a logit of example %d is %g", i, v)
			}
		}
		if slices.Min(row) < -87.33 {
			zero++
		}
	}
	if zero == 0 || zero == e.Len() {
		t.Fatalf("%d of %d saturate: nothing is tested", zero, e.Len())
	}
	want := fmt.Sprintf("on %d of 40 examples a probability is 0 in float32", zero)
	pgd := attack.PGD{Ball: advlib.Linf.Ball(0.01)}
	report, err := advlib.Evaluate(t.Context(), c, e, []advlib.Attack{pgd, attack.FGM{Ball: pgd.Ball}}, certify.IBP)
	if err != nil {
		t.Fatal(err)
	}
	if len(report.Warnings) != 1 || !strings.Contains(report.Warnings[0], want) {
		t.Errorf("warnings %q, want %q", report.Warnings, want)
	}
	res, err := advlib.Run(t.Context(), c, e, pgd)
	if err != nil || !slices.ContainsFunc(res.Warnings, func(w string) bool { return strings.Contains(w, want) }) {
		t.Errorf("%v, warnings %q, want %q", err, res.Warnings, want)
	}
	// With the logits there is nothing to warn of, and the certificate is no weaker.
	plain := returning(t, advlib.Logits, func(x *Node) *Node { return scores(x, 3, 2, 60) })
	other, err := advlib.Evaluate(t.Context(), plain, e, []advlib.Attack{pgd}, certify.IBP)
	if err != nil || len(other.Warnings) != 0 {
		t.Errorf("%v, warnings %q", err, other.Warnings)
	}
}

func TestReturnsRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		returns advlib.Returns
		f       func(x *Node) *Node
		want    string
	}{
		"probabilities unsaid": {advlib.Logits, func(x *Node) *Node { return Softmax(scores(x, 3, 2, 1), -1) },
			"give Returns: advlib.Probabilities"},
		"one number unsaid": {advlib.Logits, func(x *Node) *Node { return scores(x, 1, 2, 1) },
			"if it is the logit of class 1, give Returns: advlib.OneLogit, if it is its probability, Returns: advlib.Probabilities"},
		"logits as such": {advlib.Probabilities, func(x *Node) *Node { return scores(x, 3, 2, 1) }, "is said to return probabilities"},
		"negative ones":  {advlib.Probabilities, func(x *Node) *Node { return Neg(Abs(scores(x, 3, 2, 1))) }, "they do not sum to 1"},
		"a logit as p":   {advlib.Probabilities, func(x *Node) *Node { return scores(x, 1, 2, 1) }, "is said to return probabilities"},
		"several as one": {advlib.OneLogit, func(x *Node) *Node { return scores(x, 3, 2, 1) }, "one logit is of shape [8] or [8, 1]"},
		"a cube": {advlib.Probabilities, func(x *Node) *Node { return Reshape(x, -1, 2, 2) },
			"probabilities are of shape [8] or [8, K]"},
		"unknown": {7, func(x *Node) *Node { return x }, "no Returns(7)"},
	} {
		_, err := advlib.NewClassifier(advlib.Spec{Name: name, Input: []int{4}, Box: advlib.UnitBox, Returns: c.returns,
			Logits: func(_ *model.Scope, x *Node) *Node { return c.f(x) }})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}
