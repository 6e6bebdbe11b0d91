package advlib_test

import (
	"context"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/gomlx/compute"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/layers"
	"github.com/gomlx/gomlx/ml/model"

	"advlab/advlib"
	"advlab/advlib/attack"
	"advlab/advlib/certify"
	"advlab/advlib/oracle"
)

// linear is a classifier whose logits are the three inputs.
func linear(t testing.TB) *advlib.Classifier {
	t.Helper()
	c, err := advlib.NewClassifier(advlib.Spec{Name: "linear", Input: []int{3}, Box: advlib.UnitBox,
		Logits: func(_ *model.Scope, x *Node) *Node { return MulScalar(x, 2) }})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// corners are three inputs of [linear], each of another class.
func corners(t testing.TB) *advlib.Examples {
	t.Helper()
	e, err := advlib.NewExamples("corners", []float32{1, 0, 0, 0.25, 0.75, 0.5, 0, 0.5, 1}, []int{3}, []int32{0, 1, 2})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// proposal is an attack that proposes what a function says.
type proposal struct {
	threat advlib.Threat
	adv    func(b advlib.Batch) (*tensors.Tensor, error)
}

func (p proposal) String() string                              { return "proposal" }
func (p proposal) Threat(advlib.Victim) (advlib.Threat, error) { return p.threat, nil }
func (p proposal) Perturb(_ context.Context, _ *advlib.Counted, b advlib.Batch) (*tensors.Tensor, error) {
	return p.adv(b)
}

// rowsOf changes the rows, numbered as the examples.
func rowsOf(change func(example int, x []float32)) func(advlib.Batch) (*tensors.Tensor, error) {
	return func(b advlib.Batch) (*tensors.Tensor, error) {
		x := tensors.MustCopyFlatData[float32](b.X)
		size := len(x) / b.Len()
		for i := range b.Len() {
			change(int(b.Number(i)), x[i*size:(i+1)*size])
		}
		return tensors.FromFlatDataAndDimensions(x, b.X.Shape().Dimensions...), nil
	}
}

func TestNewClassifierRefuses(t *testing.T) {
	good := advlib.Spec{Name: "m", Input: []int{3}, Box: advlib.UnitBox, Logits: func(_ *model.Scope, x *Node) *Node { return x }}
	cases := []struct {
		name   string
		change func(*advlib.Spec)
		want   []string
	}{
		{"no function", func(s *advlib.Spec) { s.Logits = nil }, []string{"Logits are nil"}},
		{"no shape", func(s *advlib.Spec) { s.Input = nil }, []string{"Input is empty", "28, 28, 1"}},
		{"bad shape", func(s *advlib.Spec) { s.Input = []int{0, 3} }, []string{"[0 3]"}},
		{"no box", func(s *advlib.Spec) { s.Box = advlib.Box{} }, []string{"[0, 0]", "UnitBox"}},
		{"box empty in float32", func(s *advlib.Spec) { s.Box = advlib.Box{Lo: 0.1, Hi: 0.1 + 1e-12} }, []string{"[0.1, 0.1]", "float32"}},
		{"box beyond float32", func(s *advlib.Spec) { s.Box = advlib.Box{Lo: 0, Hi: 1e39} }, []string{"not finite"}},
		{"probabilities", func(s *advlib.Spec) {
			s.Logits = func(_ *model.Scope, x *Node) *Node { return Softmax(x, -1) }
		}, []string{"probabilities", "softmax"}},
		{"constant", func(s *advlib.Spec) {
			s.Logits = func(_ *model.Scope, x *Node) *Node { return ZerosLike(x) }
		}, []string{"do not depend on the input"}},
		{"wrong rank", func(s *advlib.Spec) {
			s.Logits = func(_ *model.Scope, x *Node) *Node { return ReduceSum(x, 1) }
		}, []string{"[8]", "[8, K]"}},
		{"one logit", func(s *advlib.Spec) {
			s.Logits = func(_ *model.Scope, x *Node) *Node { return ReduceAndKeep(x, ReduceSum, 1) }
		}, []string{"[n, 1]", "Returns: advlib.OneLogit"}},
		{"rows mix", func(s *advlib.Spec) {
			s.Logits = func(_ *model.Scope, x *Node) *Node { return Sub(x, ReduceAndKeep(x, ReduceMean, 0)) }
		}, []string{"other inputs of the batch"}},
		{"not finite", func(s *advlib.Spec) {
			s.Logits = func(_ *model.Scope, x *Node) *Node { return Log(Neg(x)) }
		}, []string{"logit 0 is NaN"}},
		{"untrained", func(s *advlib.Spec) {
			s.Logits = func(scope *model.Scope, x *Node) *Node { return layers.Dense(scope.In("out"), x, true, 2) }
		}, []string{"without a value", "/out/", "[3 2]"}},
		{"cannot be built", func(s *advlib.Spec) {
			s.Logits = func(_ *model.Scope, x *Node) *Node { return Reshape(x, 7, 7) }
		}, []string{"cannot be built", "[8 3]"}},
		{"class names", func(s *advlib.Spec) { s.Classes = []string{"a", "b"} }, []string{"2 class names for 3 logits"}},
	}
	if _, err := advlib.NewClassifier(good); err != nil {
		t.Fatal(err)
	}
	for _, tc := range cases {
		s := good
		tc.change(&s)
		_, err := advlib.NewClassifier(s)
		if err == nil {
			t.Errorf("%s: accepted", tc.name)
			continue
		}
		for _, w := range tc.want {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("%s: error %q does not say %q", tc.name, err, w)
			}
		}
	}
}

func TestRunRefusesBeforeItComputes(t *testing.T) {
	c, good := linear(t), corners(t)
	with := func(change func(e *advlib.Examples)) *advlib.Examples {
		e := good.First(3)
		change(e)
		return e
	}
	x := func(v ...float32) *tensors.Tensor { return tensors.FromFlatDataAndDimensions(v, len(v)/3, 3) }
	nan := float32(math.NaN())
	ball := advlib.Threat{Norm: advlib.Linf, Radius: 0.1}
	cases := []struct {
		name   string
		e      *advlib.Examples
		threat advlib.Threat
		s      advlib.Settings
		want   []string
	}{
		{"nil examples", nil, ball, advlib.Settings{}, []string{"no examples"}},
		{"empty batch", &advlib.Examples{}, ball, advlib.Settings{}, []string{"no examples"}},
		{"outside the box", with(func(e *advlib.Examples) { e.X = x(0, 0, 255, 1, 1, 1, 0, 0, 0) }), ball, advlib.Settings{},
			[]string{"example 0 is 255 at position 2", "[0, 1]", "0 to 255"}},
		{"NaN", with(func(e *advlib.Examples) { e.X = x(0, 0, 0, 1, nan, 1, 0, 0, 0) }), ball, advlib.Settings{},
			[]string{"example 1 is NaN at position 1"}},
		{"label too large", with(func(e *advlib.Examples) { e.Y = []int32{0, 3, 1} }), ball, advlib.Settings{},
			[]string{"label 3 of example 1", "0..2"}},
		{"label negative", with(func(e *advlib.Examples) { e.Y = []int32{-1, 0, 1} }), ball, advlib.Settings{},
			[]string{"label -1 of example 0"}},
		{"lengths", with(func(e *advlib.Examples) { e.Y = []int32{0, 1} }), ball, advlib.Settings{}, []string{"2 labels", "[3 3]"}},
		{"shape", with(func(e *advlib.Examples) { e.X = tensors.FromFlatDataAndDimensions(make([]float32, 12), 3, 4) }), ball,
			advlib.Settings{}, []string{"[3 4]", "[3 3]"}},
		{"type", with(func(e *advlib.Examples) { e.X = tensors.FromFlatDataAndDimensions(make([]float64, 9), 3, 3) }), ball,
			advlib.Settings{}, []string{"Float64", "float32"}},
		{"ball unset", good, advlib.Threat{}, advlib.Settings{}, []string{"unset", "advlib.Linf.Ball"}},
		{"radius negative", good, advlib.Threat{Norm: advlib.L2, Radius: -0.5}, advlib.Settings{}, []string{"-0.5", "L2"}},
		{"radius NaN", good, advlib.Threat{Norm: advlib.L2, Radius: math.NaN()}, advlib.Settings{}, []string{"NaN"}},
		{"batch size", good, ball, advlib.Settings{BatchSize: -1}, []string{"-1"}},
	}
	for _, tc := range cases {
		called := false
		a := proposal{tc.threat, func(b advlib.Batch) (*tensors.Tensor, error) { called = true; return b.X, nil }}
		res, err := tc.s.Run(context.Background(), c, tc.e, a)
		if err == nil || res != nil {
			t.Errorf("%s: result %v, error %v, want an error alone", tc.name, res, err)
			continue
		}
		if called {
			t.Errorf("%s: the attack was run", tc.name)
		}
		for _, w := range tc.want {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("%s: error %q does not say %q", tc.name, err, w)
			}
		}
		if tc.e != nil && tc.e.Len() > 0 && tc.s.BatchSize == 0 {
			if _, err := advlib.Evaluate(context.Background(), c, tc.e, []advlib.Attack{a}); err == nil || called {
				t.Errorf("%s: Evaluate went on (error %v)", tc.name, err)
			}
		}
	}
	if _, err := advlib.Run(context.Background(), c, good, nil); err == nil {
		t.Error("a nil attack was accepted")
	}
	if _, err := advlib.Evaluate(context.Background(), c, good, nil); err == nil || !strings.Contains(err.Error(), "no attacks") {
		t.Errorf("no attacks: error %v", err)
	}
}

func TestWrongUnitOfTheBudgetIsWarnedOf(t *testing.T) {
	a := proposal{advlib.Threat{Norm: advlib.Linf, Radius: 8}, func(b advlib.Batch) (*tensors.Tensor, error) { return b.X, nil }}
	res, err := advlib.Run(context.Background(), linear(t), corners(t), a)
	if err != nil {
		t.Fatal(err)
	}
	if len(res.Warnings) != 1 || !strings.Contains(res.Warnings[0], "8./255") {
		t.Errorf("warnings %q, want one that says to write 8./255", res.Warnings)
	}
}

// TestRunMeasuresForItself: what an attack returns is clipped, pulled into the ball, and judged on the classifier.
func TestRunMeasuresForItself(t *testing.T) {
	c, e := linear(t), corners(t)
	// Example 0 = (1, 0, 0) becomes (0.4, 0.6+1e-7·, 0): class 1, and by rounding a little outside of the ball 0.6.
	a := proposal{advlib.Threat{Norm: advlib.Linf, Radius: 0.6}, rowsOf(func(row int, x []float32) {
		switch row {
		case 0:
			x[0], x[1] = 0.4, 0.60000004
		case 1: // clipped to the box, and no adversarial example
			x[1] = 1.3
		}
	})}
	res, err := advlib.Run(context.Background(), c, e, a)
	if err != nil {
		t.Fatal(err)
	}
	if want := []bool{true, false, false}; !slices.Equal(res.Success, want) {
		t.Fatalf("success %v, want %v", res.Success, want)
	}
	if d := res.Distance[0]; d > 0.6 || d < 0.5999 {
		t.Errorf("distance %v, want 0.6 or a little less", d)
	}
	// Two of three failed, so the median is infinite in any norm; of the one that was found, both coordinates moved by
	// 0.6.
	if d := res.MedianIn(advlib.L1, c); !math.IsInf(d, 1) {
		t.Errorf("median L1 distance %v with two failures of three, want +Inf", d)
	}
	res.Attempted = []bool{true, false, false}
	for norm, want := range map[advlib.Norm]float64{advlib.L0: 2, advlib.L1: 1.2, advlib.L2: 0.6 * math.Sqrt2, advlib.Linf: 0.6} {
		if d := res.MedianIn(norm, c); math.Abs(d-want) > 1e-6 {
			t.Errorf("median %v distance %v, want %v", norm, d, want)
		}
	}
	if !math.IsInf(res.Distance[1], 1) || !math.IsInf(res.Distance[2], 1) {
		t.Errorf("distances of failures %v, want +Inf", res.Distance[1:])
	}
	before, after := tensors.MustCopyFlatData[float32](e.X), tensors.MustCopyFlatData[float32](res.Adversarial)
	if !slices.Equal(before[3:], after[3:]) {
		t.Errorf("failed rows came back as %v, want the originals %v", after[3:], before[3:])
	}
	if res.Final[0].Class != 1 || res.Clean[0].Class != 0 || res.Final[1] != res.Clean[1] {
		t.Errorf("predictions %v → %v", res.Clean, res.Final)
	}
	if original := []float32{1, 0, 0}; !slices.Equal(tensors.MustCopyFlatData[float32](e.X)[:3], original) {
		t.Error("Run changed the examples it was given")
	}
}

func TestRunRefusesWhatBreaksTheRules(t *testing.T) {
	c, e := linear(t), corners(t)
	ball := advlib.Threat{Norm: advlib.L2, Radius: 0.1}
	for name, tc := range map[string]struct {
		adv  func(advlib.Batch) (*tensors.Tensor, error)
		want string
	}{
		"outside the ball": {rowsOf(func(_ int, x []float32) { x[0] = 0.5 }), "outside of its ball L2 ≤ 0.1"},
		"NaN":              {rowsOf(func(_ int, x []float32) { x[0] = float32(math.NaN()) }), "NaN at position 0"},
		"wrong shape": {func(advlib.Batch) (*tensors.Tensor, error) {
			return tensors.FromFlatDataAndDimensions([]float32{1}, 1, 1), nil
		}, "returned (Float32)[1, 1]"},
		"nothing":  {func(advlib.Batch) (*tensors.Tensor, error) { return nil, nil }, "returned nothing"},
		"an error": {func(advlib.Batch) (*tensors.Tensor, error) { return nil, errors.New("no luck") }, "proposal: no luck"},
	} {
		_, err := advlib.Run(context.Background(), c, e, proposal{ball, tc.adv})
		if err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: error %v, want one with %q", name, err, tc.want)
		}
	}
}

func TestMisclassifiedExamplesAreLeftAlone(t *testing.T) {
	c, e := linear(t), corners(t)
	e.Y = []int32{1, 1, 2} // the first is misclassified
	var got []advlib.Batch
	res, err := advlib.Run(context.Background(), c, e, recorder{advlib.Threat{Norm: advlib.Linf, Radius: 0.1}, &got})
	if err != nil {
		t.Fatal(err)
	}
	if !res.Success[0] || res.Distance[0] != 0 || !slices.Equal(got[0].Index, []int64{1, 2}) {
		t.Errorf("success %v, distance %v, attacked %v", res.Success, res.Distance, got[0].Index)
	}
}

func TestCancelledRunKeepsWhatWasFound(t *testing.T) {
	c, e := linear(t), corners(t)
	ctx, cancel := context.WithCancel(context.Background())
	calls := 0
	a := proposal{advlib.Threat{Norm: advlib.Linf, Radius: 1}, func(b advlib.Batch) (*tensors.Tensor, error) {
		if calls++; calls == 2 {
			cancel()
			return b.X, ctx.Err()
		}
		return rowsOf(func(_ int, x []float32) { x[0], x[1], x[2] = 0, 0, 1 })(b)
	}}
	res, err := advlib.Settings{BatchSize: 1}.Run(ctx, c, e, a)
	if !errors.Is(err, context.Canceled) || res == nil {
		t.Fatalf("result %v, error %v", res, err)
	}
	order := advlib.Batch{X: e.X, Y: e.Y}.Order()
	for k, i := range order { // one was done, one begun
		if res.Success[i] != (k == 0) || res.Attempted[i] != (k < 2) {
			t.Errorf("success %v, attempted %v in the order %v", res.Success, res.Attempted, order)
		}
	}
}

// falseProof certifies everything.
type falseProof struct{}

func (falseProof) String() string { return "false proof" }
func (falseProof) Certify(_ context.Context, _ *advlib.Classifier, e *advlib.Examples, _ advlib.Ball) ([]bool, error) {
	all := make([]bool, e.Len())
	for i := range all {
		all[i] = true
	}
	return all, nil
}

func TestABrokenCertificateIsNoticed(t *testing.T) {
	a := proposal{advlib.Threat{Norm: advlib.Linf, Radius: 1}, rowsOf(func(_ int, x []float32) { x[0], x[1], x[2] = 0, 0, 1 })}
	report, err := advlib.Evaluate(context.Background(), linear(t), corners(t), []advlib.Attack{a}, falseProof{})
	if !errors.Is(err, advlib.ErrContradiction) || report == nil {
		t.Errorf("report %v, error %v, want ErrContradiction with the report", report, err)
	}
}

// TestSanityFlagsZeroGradients: a model that rounds its input has a zero gradient everywhere, and looks robust.
func TestSanityFlagsZeroGradients(t *testing.T) {
	masked, err := advlib.NewClassifier(advlib.Spec{Name: "rounds", Input: []int{3}, Box: advlib.UnitBox,
		Logits: func(_ *model.Scope, x *Node) *Node { return StopGradient(Round(MulScalar(x, 4))) }})
	if err != nil {
		t.Fatal(err)
	}
	none := proposal{advlib.Threat{Norm: advlib.Linf, Radius: 0.1}, func(b advlib.Batch) (*tensors.Tensor, error) { return b.X, nil }}
	for _, tc := range []struct {
		c    *advlib.Classifier
		zero int
		want string
	}{{masked, 3, "MASKING SUSPECTED"}, {linear(t), 0, "no zero gradients"}} {
		r, err := advlib.Evaluate(context.Background(), tc.c, corners(t), []advlib.Attack{none})
		if err != nil {
			t.Fatal(err)
		}
		if r.Sanity.ZeroGradient.Count != tc.zero || !strings.Contains(r.SanityLine(), tc.want) {
			t.Errorf("%s: %s", tc.c.Name(), r.SanityLine())
		}
	}
}

// TestStreamsDependOnSeedContentAndNumberAlone is what makes results independent of batching and order.
func TestStreamsDependOnSeedContentAndNumberAlone(t *testing.T) {
	a := advlib.Batch{Y: make([]int32, 3), X: tensors.FromValue([][]float32{{5, 0}, {6, 0}, {7, 0}}), Seed: 1}
	b := advlib.Batch{Y: []int32{3, 4}, X: tensors.FromValue([][]float32{{7, 0}, {5, 0}}), Index: []int64{9, 8}, Seed: 1}
	if a.Rand(0, 3).Uint64() != b.Rand(1, 3).Uint64() || a.Rand(2, 0).Uint64() != b.Rand(0, 0).Uint64() {
		t.Error("the stream of an example changes with its place in the batch")
	}
	seen := map[uint64]bool{}
	for seed := range uint64(20) {
		for key := range uint64(20) {
			for stream := range uint64(20) {
				seen[advlib.Batch{Y: make([]int32, 1), Key: []uint64{key}, Seed: seed}.Rand(0, stream).Uint64()] = true
			}
		}
	}
	if len(seen) != 8000 {
		t.Errorf("%d different first numbers in 8000 streams", len(seen))
	}
	// The first 8 bytes of "printf '\x00\x00\xa0\x40\x00\x00\x00\x00' | sha256sum".
	e := advlib.Examples{X: a.X, Y: a.Y}
	if key := e.Key(0); key != 0x6804e95e35564b95 {
		t.Errorf("the key of the first example is %#x", key)
	}
	if moved := (advlib.Batch{X: b.X, Y: b.Y, Key: []uint64{1, e.Key(1)}, Seed: 1}); moved.Rand(1, 0).Uint64() != a.Rand(1, 0).Uint64() {
		t.Error("inputs that an attack has moved do not keep their streams")
	}
	twins := advlib.Batch{X: tensors.FromValue([][]float32{{1}, {0}, {1}, {1}}), Y: []int32{2, 9, 1, 1}, Target: []int32{0, 0, 8, 7}}
	first := twins.Order()
	if ones := slices.DeleteFunc(first, func(i int) bool { return i == 1 }); !slices.Equal(ones, []int{3, 2, 0}) {
		t.Errorf("equal inputs come in the order %v, want that of labels and targets", ones)
	}
}

func TestBucketsHoldTheirRows(t *testing.T) {
	sizes := map[int]bool{}
	for n := 1; n <= 512; n++ {
		b := advlib.Bucket(n)
		sizes[b] = true
		if b < n || b > 4*n && b > 8 {
			t.Errorf("Bucket(%d) = %d", n, b)
		}
	}
	if len(sizes) != 4 {
		t.Errorf("%d sizes, want 4", len(sizes))
	}
}

// A box of decimals is the one between the nearest numbers in float32, where inputs at its ends are; so are ranges of
// features in it.
func TestDecimalBoxIsRounded(t *testing.T) {
	e, err := advlib.NewExamples("ends", []float32{-0.1, 1.1, 0, 1.1, -0.1, 0.5}, []int{3}, []int32{1, 0})
	if err != nil {
		t.Fatal(err)
	}
	for name, domain := range map[string]advlib.Domain{"box": nil, "domain": {{}, {Lo: -0.1, Hi: 1.1}, {Lo: 0, Hi: 0.7}}} {
		spec := advlib.Spec{Name: "m", Input: []int{3}, Box: advlib.Box{Lo: -0.1, Hi: 1.1}, Domain: domain,
			Logits: func(_ *model.Scope, x *Node) *Node { return x }}
		if err := e.Check(spec, 3); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		c, err := advlib.NewClassifier(spec)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if want := (advlib.Box{Lo: float64(float32(-0.1)), Hi: float64(float32(1.1))}); c.Box() != want || c.Box().String() != "[-0.1, 1.1]" {
			t.Errorf("%s: the box is %v, %+v", name, c.Box(), want)
		}
		ball := advlib.Linf.Ball(0.5)
		r, err := advlib.Evaluate(t.Context(), c, e, []advlib.Attack{attack.PGD{Ball: ball}}, certify.IBP)
		if err != nil || r.Clean().Count != 2 {
			t.Errorf("%s: %v, %v", name, r, err)
		}
	}
}

// What was asked about on one backend may be asked about on another. A classifier's batch may be padded.
func TestAskOnTwoBackends(t *testing.T) {
	plain, err := compute.NewWithConfig("go:ops_sequential")
	if err != nil {
		t.Fatal(err)
	}
	logits := func(_ *model.Scope, x *Node) *Node { return Concatenate([]*Node{x, ReduceAndKeep(x, ReduceSum, 1)}, 1) }
	spec := advlib.Spec{Name: "m", Input: []int{3}, Box: advlib.UnitBox, Logits: logits}
	one, err := advlib.NewClassifier(spec)
	if err != nil {
		t.Fatal(err)
	}
	spec.Backend = plain
	other, err := advlib.NewClassifier(spec)
	if err != nil {
		t.Fatal(err)
	}
	x := tensors.FromFlatDataAndDimensions(make([]float32, 24), 8, 3) // a whole bucket, which is not copied
	for k := range 6 {
		tensors.MustMutableFlatData(x, func(flat []float32) { flat[1] = float32(k) / 8 })
		c := []*advlib.Classifier{one, other}[k/2%2]
		answers, err := advlib.Count(c).Ask(t.Context(), make([]int64, 8), x)
		if err != nil || answers[0].Scores[3] != float32(k)/8 {
			t.Errorf("question %d: %v, error %v", k, answers, err)
		}
	}
	v := advlib.Count(one)
	if answers, err := v.Ask(t.Context(), []int64{3, 4, 3}, x); err != nil || len(answers) != 3 || answers[0].Scores[3] != 5./8 {
		t.Errorf("a padded batch: %v, error %v", answers, err)
	}
	if forward, _ := v.Passes(); forward != 3 {
		t.Errorf("three of eight rows were asked about, and %d counted", forward)
	}
	for _, of := range [][]int64{nil, make([]int64, 9)} {
		if _, err := v.Ask(t.Context(), of, x); err == nil {
			t.Errorf("%d numbers for 8 rows are accepted", len(of))
		}
	}
	only := oracle.Func("f", one.Signature(), func([]float32) []float32 { return make([]float32, 4) })
	if _, err := advlib.Count(only).Ask(t.Context(), []int64{3}, x); err == nil {
		t.Error("padding is accepted for a function")
	}
}
