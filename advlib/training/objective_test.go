package training_test

import (
	"context"
	"fmt"
	"iter"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/gomlx/compute/shapes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/layers/activation"
	"github.com/gomlx/gomlx/ml/model"

	"advlab/advlib"
	"advlab/advlib/attack"
	"advlab/advlib/backend"
	"advlab/advlib/dataset"
	"advlab/advlib/defense"
	"advlab/advlib/lab"
	"advlab/advlib/training"
	"advlab/advlib/zoo"
)

// plain is the cross-entropy by another name, so that all that an objective is asked is asked of it.
type plain struct{ training.CrossEntropy }

func (plain) String() string { return "plain" }

// digits are some examples, few enough to train on in a second.
func digits(t testing.TB) (train, test *advlib.Examples) {
	t.Helper()
	train, test = dataset.Digits()
	return train.First(320), test.First(200)
}

func weights(c *advlib.Classifier) map[string][]float32 {
	all := map[string][]float32{}
	for v := range c.Store().IterVariables() {
		all[v.Path()] = tensors.MustCopyFlatData[float32](v.MustValue())
	}
	return all
}

// largest returns the largest difference between the weights of two models, and whether they have the same variables.
func largest(a, b map[string][]float32) (difference float64, same bool) {
	if len(a) != len(b) {
		return 0, false
	}
	for path, x := range a {
		y := b[path]
		if len(x) != len(y) {
			return 0, false
		}
		for i := range x {
			difference = max(difference, math.Abs(float64(x[i])-float64(y[i])))
		}
	}
	return difference, true
}

// An objective of one's own trains as the one built in does, to the last bit.
func TestOwnObjective(t *testing.T) {
	train, _ := digits(t)
	m := zoo.MLP(20)
	m.Epochs = 2
	want := weights(m.MustFit(t.Context(), train))
	m.Objective = plain{}
	if d, same := largest(want, weights(m.MustFit(lab.Fresh(t.Context()), train))); !same || d != 0 {
		t.Errorf("the same objective by another name gives other weights: %g, %v", d, same)
	}
}

// The average of the weights is what it is by hand, and is what the trained model gets.
func TestAveraged(t *testing.T) {
	train, _ := digits(t)
	const decay = 0.75
	m := zoo.MLP(8)
	m.BatchSize = 80
	var want map[string][]float32
	for epochs := 1; epochs <= 3; epochs++ { // 4 steps each
		m.Epochs, m.Objective = epochs, nil
		// The weights after each step: training is deterministic, so a shorter one ends where a longer one comes by.
		for k := 4*epochs - 3; k <= 4*epochs; k++ {
			s := m
			s.Epochs, s.Schedule = 3, upTo(k)
			θ := weights(s.MustFit(t.Context(), train))
			if want == nil {
				want = θ
				continue
			}
			for path := range θ {
				for i, v := range θ[path] {
					want[path][i] = decay*want[path][i] + (1-decay)*v
				}
			}
		}
	}
	m.Epochs, m.Objective = 3, training.Averaged{Decay: decay}
	got := m.MustFit(t.Context(), train)
	if d, same := largest(want, weights(got)); !same || d > 1e-6 {
		t.Errorf("the average differs from that by hand by %g (same variables: %v)", d, same)
	}
	m.Objective = nil
	if d, _ := largest(want, weights(m.MustFit(t.Context(), train))); d < 1e-3 {
		t.Errorf("the average is the last weights: %g", d)
	}
	m.Objective = training.Averaged{Decay: 1}
	if _, err := m.Fit(t.Context(), train); err == nil || !strings.Contains(err.Error(), "Decay = 1 is not in (0, 1)") {
		t.Errorf("a decay of 1: error %v", err)
	}
}

// upTo is a schedule by which nothing changes after some of 12 steps.
type upTo int

func (u upTo) String() string { return fmt.Sprintf("up to %d", int(u)) }
func (u upTo) Check() error   { return nil }
func (u upTo) Factor(progress float64) float64 {
	if math.Round(12*progress) >= float64(u) {
		return 0
	}
	return 1
}

// distilled learns from a teacher's probabilities instead of the labels (Hinton et al. 2015, arXiv:1503.02531).
type distilled struct{ teacher *advlib.Classifier }

func (d distilled) String() string                 { return "distilled from " + d.teacher.Name() }
func (d distilled) Check(*advlib.Classifier) error { return nil }
func (d distilled) Columns(_ context.Context, e *advlib.Examples) ([]*tensors.Tensor, error) {
	z, err := d.teacher.Logits(e.X)
	if err != nil {
		return nil, err
	}
	return []*tensors.Tensor{tensors.FromFlatDataAndDimensions(slices.Concat(z...), len(z), len(z[0]))}, nil
}

func (d distilled) Loss(s *training.Step) *Node {
	p := Softmax(s.Columns[0], -1)
	return Neg(ReduceSum(Mul(p, LogSoftmax(s.Logits(s.X), -1)), -1))
}

// A second model teaches: the student agrees with a teacher whose labels are wrong throughout.
func TestTeacher(t *testing.T) {
	train, test := digits(t)
	wrong := *train
	wrong.Y = slices.Clone(train.Y)
	for i := range wrong.Y {
		wrong.Y[i] = (wrong.Y[i] + 1) % 10
	}
	teacher := zoo.MLP(40).MustFit(t.Context(), &wrong)
	m := zoo.MLP(30)
	m.Objective = distilled{teacher}
	student := m.MustFit(t.Context(), train)
	answers := func(c *advlib.Classifier) []int {
		z, err := c.Logits(test.X)
		if err != nil {
			t.Fatal(err)
		}
		var all []int
		for _, row := range z {
			all = append(all, slices.Index(row, slices.Max(row)))
		}
		return all
	}
	agree, right := 0, 0
	a, b := answers(teacher), answers(student)
	for i := range a {
		if a[i] == b[i] {
			agree++
		}
		if b[i] == int(test.Y[i]) {
			right++
		}
	}
	if n := len(a); agree < n*8/10 || right > n/10 {
		t.Errorf("the student agrees with its teacher on %d of %d, and has %d labels right, which it never saw", agree, n, right)
	}
}

// triplets wants two of a class and one of another near and far in the embedding (Schroff et al. 2015,
// arXiv:1503.03832, equation 1). Rows 3k, 3k + 1, 3k + 2 of a batch are anchor, positive and negative.
type triplets struct{}

func (triplets) String() string                 { return "triplets" }
func (triplets) Check(*advlib.Classifier) error { return nil }
func (triplets) Batches(e *advlib.Examples, size int, seed uint64) iter.Seq[[]int] {
	return func(yield func([]int) bool) {
		r := rand.New(rand.NewPCG(seed, 0))
		pick := func(fits func(y int32) bool) int {
			for {
				if i := r.IntN(e.Len()); fits(e.Y[i]) {
					return i
				}
			}
		}
		for {
			var rows []int
			for len(rows)+3 <= size {
				a := r.IntN(e.Len())
				rows = append(rows, a, pick(func(y int32) bool { return y == e.Y[a] }), pick(func(y int32) bool { return y != e.Y[a] }))
			}
			if !yield(rows) {
				return
			}
		}
	}
}

func (triplets) Loss(s *training.Step) *Node {
	v := s.Outputs(s.X)[1]
	n, d := v.Shape().Dimensions[0], v.Shape().Dimensions[1]
	v = Reshape(v, n/3, 3, d)
	row := func(k int) *Node { return Reshape(Slice(v, AxisRange(), AxisElem(k), AxisRange()), n/3, d) }
	apart := func(a, b *Node) *Node { return ReduceSum(Square(Sub(a, b)), -1) }
	return MaxScalar(AddScalar(Sub(apart(row(0), row(1)), apart(row(0), row(2))), 0.2), 0)
}

// embedding has the logits of a head that is not trained, and an embedding behind them.
func embedding(classes int) training.OutputsFn {
	return func(scope *model.Scope, x *Node) []*Node {
		v := embed(scope, x)
		w := scope.In("head").VariableWithShape("w", shapeOf(x, 8, classes)).SetTrainable(false).NodeValue(x)
		return []*Node{DotProduct(v, w), v}
	}
}

// embed returns points [n, 8] on a sphere.
func embed(scope *model.Scope, x *Node) *Node {
	h := Reshape(x, x.Shape().Dimensions[0], -1)
	for k, units := range []int{64, 8} {
		w := scope.In("layer%d", k).VariableWithShape("w", shapeOf(x, h.Shape().Dimensions[1], units)).NodeValue(x)
		if h = DotProduct(h, w); k == 0 {
			h = activation.Relu(h)
		}
	}
	return L2Normalize(h, -1)
}

// The objective chooses the batches, and sees a second output of the model: an embedding in which classes come apart.
func TestEmbedding(t *testing.T) {
	train, test := digits(t)
	m := training.Model{Name: "embedding", BatchSize: 60, Epochs: 40, Objective: triplets{}, Outputs: embedding}
	store := m.MustFit(t.Context(), train).Store()
	opened, err := backend.Open()
	if err != nil {
		t.Fatal(err)
	}
	exec, err := model.NewExec(opened, store, embed)
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Exec(test.X)
	if err != nil {
		t.Fatal(err)
	}
	v := tensors.MustCopyFlatData[float32](out[0])
	right := 0 // the nearest other example has the same class
	for i := range test.Y {
		best, nearest := math.Inf(1), 0
		for j := range test.Y {
			d := 0.
			for k := range 8 {
				d += math.Pow(float64(v[i*8+k]-v[j*8+k]), 2)
			}
			if j != i && d < best {
				best, nearest = d, j
			}
		}
		if test.Y[nearest] == test.Y[i] {
			right++
		}
	}
	t.Logf("the nearest neighbour of %d of %d has the same class", right, test.Len())
	if right < test.Len()*8/10 {
		t.Errorf("the nearest neighbour of %d of %d has the same class, of an embedding trained by triplets at least 8 in "+
			"10 should", right, test.Len())
	}
}

// The best weights are kept, not the last, and what was measured is kept with them.
func TestValidation(t *testing.T) {
	train, test := dataset.Digits()
	test = test.First(200)
	ball := advlib.Linf.Ball(0.03)
	m := zoo.MLP(20)
	m.Epochs, m.LearningRate = 6, 0.01
	m.Schedule = rising{} // the last epochs destroy what was learned
	m.Validation = training.Validation{Examples: test, Attack: attack.PGD{Ball: ball, Steps: 5}}
	trained, err := m.Train(t.Context(), train)
	if err != nil {
		t.Fatal(err)
	}
	if len(trained.Epochs) != 6 || trained.Stopped != "" {
		t.Fatalf("%v, stopped %q", trained.Epochs, trained.Stopped)
	}
	best := trained.Epochs[0]
	for _, e := range trained.Epochs {
		if e.Robust > best.Robust {
			best = e
		}
		if e.Robust > e.Clean || e.Robust < 0 {
			t.Errorf("%v: robust accuracy above the clean one", e)
		}
	}
	res, err := advlib.Run(t.Context(), trained.Classifier, test, m.Validation.Attack)
	if err != nil {
		t.Fatal(err)
	}
	right := 0
	for i, broken := range res.Success {
		if !broken && res.Clean[i].Class == test.Y[i] {
			right++
		}
	}
	if got := float64(right) / float64(test.Len()); got != best.Robust {
		t.Errorf("the model's robust accuracy is %g, the best measured was %v", got, best)
	}
	if last := trained.Epochs[5]; last.Robust >= best.Robust {
		t.Errorf("the last epoch is the best, %v: nothing is tested", last)
	}
	again, err := m.Train(t.Context(), train)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(again.Epochs, trained.Epochs) {
		t.Errorf("kept: %v, measured: %v", again.Epochs, trained.Epochs)
	}
	m.Validation.Stop = training.Patience(1)
	stopped, err := m.Train(t.Context(), train)
	if err != nil {
		t.Fatal(err)
	}
	if n := len(stopped.Epochs); n >= 6 || n < 2 || stopped.Epochs[n-1].Best || !strings.Contains(stopped.Stopped, "no better") {
		t.Errorf("with patience 1: %v, %q", stopped.Epochs, stopped.Stopped)
	}
	m.Validation.Stop = training.Collapse(0.5)
	if stopped, err = m.Train(t.Context(), train); err != nil || !strings.Contains(stopped.Stopped, "catastrophic overfitting") {
		t.Errorf("with a collapse: %v, %v", stopped, err)
	}
}

// rising multiplies the learning rate by ten thousand in the last half of the training.
type rising struct{}

func (rising) String() string { return "rising" }
func (rising) Check() error   { return nil }
func (rising) Factor(progress float64) float64 {
	if progress < 0.5 {
		return 1
	}
	return 1e4
}

func TestSchedules(t *testing.T) {
	for _, c := range []struct {
		s        training.Schedule
		progress float64
		want     float64
	}{
		{training.Drops{At: []float64{0.5, 0.75}}, 0.4, 1},
		{training.Drops{At: []float64{0.5, 0.75}}, 0.5, 0.1},
		{training.Drops{At: []float64{0.5, 0.75}, By: 0.5}, 0.9, 0.25},
		{training.Cosine{}, 0, 1},
		{training.Cosine{}, 0.5, 0.5},
		{training.Triangle{}, 0.2, 0.5},
		{training.Triangle{}, 0.4, 1},
		{training.Triangle{Peak: 0.5}, 0.75, 0.5},
	} {
		if got := c.s.Factor(c.progress); math.Abs(got-c.want) > 1e-12 {
			t.Errorf("%v: %g at %g, want %g", c.s, got, c.progress, c.want)
		}
		if err := c.s.Check(); err != nil {
			t.Errorf("%v: %v", c.s, err)
		}
	}
	train, test := digits(t)
	for _, c := range []struct {
		change func(m *training.Model)
		want   string
	}{
		{func(m *training.Model) { m.Schedule = training.Drops{} }, "give the shares of the steps"},
		{func(m *training.Model) { m.Schedule = training.Drops{At: []float64{0.9, 0.5}} }, "not rising shares"},
		{func(m *training.Model) { m.Schedule = training.Triangle{Peak: 2} }, "Peak = 2"},
		{func(m *training.Model) { m.Validation.Attack = attack.PGD{} }, "its validation has no examples"},
		{func(m *training.Model) { m.Validation = training.Validation{Examples: test, Attack: attack.PGD{}} }, "the ball is unset"},
		{func(m *training.Model) { m.Validation = training.Validation{Examples: test, Every: -1} }, "after every -1 epochs"},
		{func(m *training.Model) {
			m.Validation = training.Validation{Examples: test, Stop: training.Patience(0)}
		}, "a patience of 0"},
		{func(m *training.Model) {
			m.Validation = training.Validation{Examples: test, Stop: training.Collapse(1)}
		}, "a collapse of 1"},
		{func(m *training.Model) { m.Outputs = func(int) training.OutputsFn { return nil } }, "both Build and Outputs"},
	} {
		m := zoo.MLP(5)
		c.change(&m)
		if _, err := m.Fit(t.Context(), train); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("error %v, want one that says %q", err, c.want)
		}
	}
}

// In a domain, every input that the model learns from is admissible, in the ball, and fixed features stay: on breast
// cancer data, with features that are fixed, that only rise, that have steps and scales, and a category.
func TestNoExampleLeavesTheDomain(t *testing.T) {
	train, test := dataset.BreastCancer()
	train = train.First(200)
	stepped := slices.Clone(dataset.BreastCancerDomain())
	stepped[0].Change, stepped[1].Change, stepped[2].Change = advlib.Fixed, advlib.RiseOnly, advlib.FallOnly
	ranged := slices.Clone(stepped) // as the data are, with a feature that may not change
	for i := range ranged {
		ranged[i].Scale, ranged[i].Step = 0, 0
	}
	opened, err := backend.OpenNamed(backend.Go)
	if err != nil {
		t.Fatal(err)
	}
	for name, domain := range map[string]advlib.Domain{"scales": stepped, "ranges": ranged} {
		radius := map[string]float64{"scales": 0.05, "ranges": 0.01}[name]
		for _, norm := range []advlib.Norm{advlib.Linf, advlib.L2, advlib.L1} {
			ball := norm.Ball(radius)
			m := training.Model{Name: "tabular", Domain: domain, Backend: opened, Epochs: 20, LearningRate: 0.01,
				Adversary: defense.AdversarialTraining{Ball: ball, Ascents: 4},
				Build: func(classes int) advlib.LogitsFn {
					logits := zoo.MLP(16).Build(classes)
					return func(scope *model.Scope, x *Node) *Node { return logits(scope, domain.Normalize(x)) }
				}}
			x, c, err := m.Perturbed(t.Context(), train, 0.5)
			if err != nil {
				t.Fatal(err)
			}
			perturbed := *train
			perturbed.X = x
			if err := perturbed.Check(advlib.Spec{Name: "tabular", Input: c.Input(), Domain: domain}, 2); err != nil {
				t.Errorf("%s, %v: %v", name, ball, err)
			}
			from, to := tensors.MustCopyFlatData[float32](train.X), tensors.MustCopyFlatData[float32](x)
			moved := 0
			for i := range train.Len() {
				a, b := from[i*30:(i+1)*30], to[i*30:(i+1)*30]
				if d := c.Distance(norm, b, a); d > radius {
					t.Errorf("%s, %v: example %d is at distance %g", name, ball, i, d)
				}
				if a[0] != b[0] || a[1] > b[1] || a[2] < b[2] {
					t.Errorf("%s, %v: example %d: what is fixed, may rise, may fall went from %v to %v", name, ball, i, a[:3], b[:3])
				}
				if !slices.Equal(a, b) {
					moved++
				}
			}
			if moved < train.Len()*9/10 {
				t.Errorf("%s, %v: %d of %d examples have moved: nothing is tested", name, ball, moved, train.Len())
			}
			if norm != advlib.Linf {
				continue
			}
			right := 0
			z, err := m.MustFit(t.Context(), train).Logits(test.X)
			if err != nil {
				t.Fatal(err)
			}
			for i, row := range z {
				if (row[1] > row[0]) == (test.Y[i] == 1) {
					right++
				}
			}
			t.Logf("%s: hardened in %v, %d of %d right", name, ball, right, test.Len())
			if right < test.Len()*8/10 {
				t.Errorf("%s: hardened in %v, %d of %d are right", name, ball, right, test.Len())
			}
		}
	}
}

func shapeOf(like *Node, dims ...int) shapes.Shape { return shapes.Make(like.DType(), dims...) }

// TestCollapse: what stops is a fall from something, and not chance near 0.
func TestCollapse(t *testing.T) {
	epochs := func(robust ...float64) (all []training.Epoch) {
		for _, r := range robust {
			all = append(all, training.Epoch{Robust: r})
		}
		return all
	}
	for _, c := range []struct {
		epochs []training.Epoch
		stops  bool
	}{
		{epochs(0.008, 0), false},
		{epochs(0.09, 0), false},
		{epochs(0.3, 0.31, 0.26), false},
		{epochs(0.3, 0.31, 0.1), true},
		{epochs(0.6, 0), true},
	} {
		if reason := training.Collapse(0.2).Reason(c.epochs); (reason != "") != c.stops {
			t.Errorf("%v: reason %q, stops should be %v", c.epochs, reason, c.stops)
		}
	}
}

// What the model learns from has derived features that follow from what the adversary has moved.
func TestDerivedFeaturesFollow(t *testing.T) {
	train, _ := dataset.BreastCancer()
	domain := slices.Clone(dataset.BreastCancerDomain())
	domain[3] = advlib.Feature{Name: "mean area", Lo: domain[3].Lo, Hi: domain[3].Hi, Formula: "3.1416 * 'mean radius' * 'mean radius'"}
	opened, err := backend.OpenNamed(backend.Go)
	if err != nil {
		t.Fatal(err)
	}
	m := training.Model{Name: "tabular", Domain: domain, Backend: opened, Epochs: 1,
		Adversary: defense.AdversarialTraining{Ball: advlib.Linf.Ball(0.05), Ascents: 2},
		Build: func(classes int) advlib.LogitsFn {
			logits := zoo.MLP(16).Build(classes)
			return func(scope *model.Scope, x *Node) *Node { return logits(scope, domain.Normalize(x)) }
		}}
	if _, err := m.Fit(t.Context(), train.First(64)); err == nil || !strings.Contains(err.Error(), "Domain.Recompute") {
		t.Errorf("areas as they were measured: %v", err)
	}
	recomputed, err := domain.Recompute(train.First(64))
	if err != nil {
		t.Fatal(err)
	}
	x, c, err := m.Perturbed(t.Context(), recomputed, 0.5)
	if err != nil {
		t.Fatal(err)
	}
	perturbed := *recomputed
	perturbed.X = x
	if err := perturbed.Check(advlib.Spec{Name: "tabular", Input: c.Input(), Domain: domain}, 2); err != nil {
		t.Error(err)
	}
	moved, flat := 0, tensors.MustCopyFlatData[float32](x)
	from := tensors.MustCopyFlatData[float32](recomputed.X)
	for i := 0; i < len(flat); i += 30 {
		r := float64(flat[i])
		if want := float32(3.1416 * r * r); flat[i+3] != want {
			t.Errorf("the radius %g has the area %g, want %g", r, flat[i+3], want)
		}
		if flat[i] != from[i] {
			moved++
		}
	}
	if moved < 32 {
		t.Errorf("the radius of %d of 64 examples has moved: nothing is tested", moved)
	}
}
