package attacktest

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"

	"advlab/advlib"
	"advlab/advlib/backend"
)

// Subject is an attack under test. Its constructors should give quick versions: few steps, and for images of 64 pixels
// in [0, 1] a budget that breaks some examples and not others.
type Subject struct {
	// Name is the name of the subtest.
	Name string
	// New returns the attack with the given goal.
	New func(goal advlib.Goal) advlib.Attack
	// AtRadius returns the untargeted attack with another budget; nil for an attack of minimal norm.
	AtRadius func(ε float64) advlib.Attack
	// WithLoss returns the attack with another loss; nil if it has none to choose.
	WithLoss func(loss advlib.Loss, goal advlib.Goal) advlib.Attack
	// Untargeted says that the attack has no targeted form.
	Untargeted bool
	// Wrap, if set, puts what the functions above return into a wrapper that depends on the classifier that is attacked.
	Wrap func(a advlib.Attack, c *advlib.Classifier) advlib.Attack
	// Victim, if set, returns what is attacked in place of a classifier: a victim that gives the same answers, without a
	// graph.
	Victim func(c *advlib.Classifier) advlib.Victim
	// NoDomain says that the attack cannot honour steps, categories and scales of an advlib.Domain, and so must refuse
	// them.
	NoDomain bool
	// Labels says that the attack looks at nothing but labels. It goes another way from the first point on whose label
	// rounding decides, so that distances on models that are equal but for rounding are compared in the median.
	Labels bool
	// Rescales says that the attack's schedule depends on its budget of queries, so that a run is not the beginning of one
	// with more.
	Rescales bool
	// Pairs says that the attack changes pairs of coordinates, so that it can do nothing to a single one.
	Pairs bool
}

// on returns the victim that is attacked in place of a classifier.
func (s Subject) on(c *advlib.Classifier) advlib.Victim {
	if s.Victim == nil {
		return c
	}
	return s.Victim(c)
}

// attack returns the subject for a classifier.
func (s Subject) attack(c *advlib.Classifier, goal advlib.Goal) advlib.Attack {
	return s.wrap(s.New(goal), c)
}

func (s Subject) wrap(a advlib.Attack, c *advlib.Classifier) advlib.Attack {
	if s.Wrap == nil {
		return a
	}
	return s.Wrap(a, c)
}

// Run runs the conformance suite on each subject: what must hold for every attack, whatever it computes. It uses
// backend.Open().
func Run(t *testing.T, subjects ...Subject) {
	t.Helper()
	f, err := newFixtures()
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range subjects {
		t.Run(s.Name, func(t *testing.T) {
			for _, c := range checks {
				t.Run(c.name, func(t *testing.T) {
					if err := c.run(f, s); err != nil {
						t.Error(err)
					}
				})
			}
		})
	}
}

// checks are what Run checks. Each returns an error that says what is wrong with the attack.
var checks = []struct {
	name string
	run  func(*fixtures, Subject) error
}{
	{"results", checkResults},
	{"targeted", checkTargeted},
	{"targets", checkTargets},
	{"candidates", checkCandidates},
	{"repeatable", checkRepeatable},
	{"any order", checkOrder},
	{"shuffled file", checkShuffled},
	{"any batch size", checkBatchSizes},
	{"passes", checkPasses},
	{"cancelled", checkCancelled},
	{"radius 0", checkZeroRadius},
	{"gradient 0", checkZeroGradient},
	{"saturated logits", checkSaturated},
	{"shifted logits", checkShifted},
	{"losses refused", checkLossesRefused},
	{"oracle", checkOracle},
	{"nothing to do", checkNothingToDo},
	{"one pixel", checkOnePixel},
	{"not a number", checkUndefined},
	{"masks", checkMasks},
	{"domain", checkDomain},
	{"queries", checkQueries},
}

// fixtures are the models of the suite.
type fixtures struct {
	digits, shifted *advlib.Classifier // a small network, and the same with logits shifted by −30
	examples        *advlib.Examples   // 24 of them, of which one is misclassified
	flat            *advlib.Classifier // a model whose gradient is 0
	flatExamples    *advlib.Examples
	steep, faint    *advlib.Classifier // linear, with logits times 1e30 and 1e-30
	linear          []*Linear
	two             []*Linear // with two classes
	two3            *Linear   // with three

	dot               *advlib.Classifier // of one pixel
	dotExamples       *advlib.Examples
	undefined         *advlib.Classifier // not a number near boundaries
	undefinedExamples *advlib.Examples
	masked            *advlib.Classifier // linear, with coordinates that may not change
	maskedExamples    *advlib.Examples
	customers         *advlib.Classifier // with features of every kind
	customersExamples *advlib.Examples
}

func newFixtures() (*fixtures, error) {
	b, err := backend.Open()
	if err != nil {
		return nil, err
	}
	r, err := LoadReference("mlp-digits", b)
	if err != nil {
		return nil, err
	}
	f := &fixtures{digits: r.Classifier}
	z, err := f.digits.Logits(r.Examples.X)
	if err != nil {
		return nil, err
	}
	var rows []int // a misclassified one among them
	for i := range z {
		if wrong := argmax(z[i]) != int(r.Examples.Y[i]); wrong || len(rows) < 23 {
			rows = append(rows, i)
			if wrong && len(rows) >= 24 {
				break
			}
		}
	}
	f.examples = r.Examples.Select(rows)
	derive := func(name string, from *advlib.Classifier, change func(z *graph.Node) *graph.Node) (*advlib.Classifier, error) {
		return advlib.NewClassifier(advlib.Spec{
			Name: name, Store: from.Store(), Input: from.Input(), Box: from.Box(), Backend: b,
			Logits: func(_ *model.Scope, x *graph.Node) *graph.Node { return change(from.LogitsGraph(x)) },
		})
	}
	if f.shifted, err = derive("digits, logits −30", f.digits, func(z *graph.Node) *graph.Node {
		return graph.AddScalar(z,
			-30)
	}); err != nil {
		return nil, err
	}
	for _, spec := range []LinearSpec{{Seed: 11, Examples: 8}, {Seed: 12, Examples: 8, Binary: true}} { // 8 rows: one shape to compile
		l, err := NewLinear(spec, b)
		if err != nil {
			return nil, err
		}
		f.linear = append(f.linear, l)
		spec.Classes = 2
		if l, err = NewLinear(spec, b); err != nil {
			return nil, err
		}
		f.two = append(f.two, l)
	}
	if f.two3, err = NewLinear(LinearSpec{Seed: 13, Classes: 3, Examples: 2}, b); err != nil {
		return nil, err
	}
	l := f.linear[0].Classifier
	if f.steep, err = derive("linear, logits × 1e30", l, func(z *graph.Node) *graph.Node { return graph.MulScalar(z, 1e30) }); err != nil {
		return nil, err
	}
	if f.faint, err = derive("linear, logits × 1e-30", l, func(z *graph.Node) *graph.Node { return graph.MulScalar(z, 1e-30) }); err != nil {
		return nil, err
	}
	// Every pixel is far from the threshold of a model that looks at nothing but on which side of ½ it is. (Of a sign
	// itself, which has no gradient, attacks that need one say so instead.)
	f.flat, err = advlib.NewClassifier(advlib.Spec{
		Name: "thresholds", Store: l.Store(), Input: l.Input(), Box: l.Box(), Backend: b,
		Logits: func(_ *model.Scope, x *graph.Node) *graph.Node {
			return l.LogitsGraph(graph.ClipScalar(graph.MulScalar(graph.AddScalar(x, -0.5), 100), -1, 1))
		},
	})
	if err != nil {
		return nil, err
	}
	x := tensors.MustCopyFlatData[float32](f.linear[0].Examples.X)
	for i := range x {
		x[i] = 0.2 + 0.6*float32(math.Round(float64(x[i])))
	}
	n := f.linear[0].Examples.Len()
	labels := make([]int32, n)
	z, err = f.flat.Logits(tensors.FromFlatDataAndDimensions(x, n, l.Input()[0]))
	if err != nil {
		return nil, err
	}
	for i := range z {
		labels[i] = int32(argmax(z[i]))
	}
	if f.flatExamples, err = advlib.NewExamples("thresholds", x, l.Input(), labels); err != nil {
		return nil, err
	}
	return f, f.addHostile()
}

// addHostile adds the small models of hostile.go and domain.go. They run on the Go backend, which need not compile
// them.
func (f *fixtures) addHostile() error {
	b, err := backend.OpenNamed(backend.Go)
	if err != nil {
		return err
	}
	if f.dot, f.dotExamples, err = newDot(b); err != nil {
		return err
	}
	if f.customers, f.customersExamples, err = newCustomers(b); err != nil {
		return err
	}
	l, err := NewLinear(LinearSpec{Seed: 14, Examples: 8}, b)
	if err != nil {
		return err
	}
	if f.masked, err = newMasked(l); err != nil {
		return err
	}
	f.maskedExamples = l.Examples
	// NewClassifier refuses a model that is not a number where it looks; of a few it looks at other places.
	for seed := uint64(14); ; seed++ {
		if l, err = NewLinear(LinearSpec{Seed: seed, Examples: 8}, b); err != nil {
			return err
		}
		if f.undefined, err = newUndefined(l); err == nil || seed == 40 {
			break
		}
	}
	var defined []int
	for i, x := range l.x {
		if _, lead := l.predict(x); lead > 2*undefinedBelow {
			defined = append(defined, i)
		}
	}
	f.undefinedExamples = l.Examples.Select(defined)
	return err
}

// checkResults: what Run returns is inside ball and box, failures and examples already misclassified are the originals
// bit for bit, and success is what the classifier says.
func checkResults(f *fixtures, s Subject) error {
	res, err := advlib.Run(context.Background(), s.on(f.digits), f.examples, s.attack(f.digits, advlib.Untargeted))
	if err != nil {
		return err
	}
	return consistent(f.digits, res)
}

// checkTargeted is checkResults for a targeted goal.
func checkTargeted(f *fixtures, s Subject) error {
	if s.Untargeted {
		if _, err := s.attack(f.digits, advlib.TargetedBy(1)).Threat(s.on(f.digits)); err == nil {
			return errors.New("it has no targeted form, but accepts a target")
		}
		return nil
	}
	res, err := advlib.Run(context.Background(), s.on(f.digits), f.examples, s.attack(f.digits, advlib.TargetedBy(1)))
	if err != nil {
		return err
	}
	return consistent(f.digits, res)
}

// checkTargets: candidates go for the classes that the batch asks for, which need not be the attack's own goal:
// wrappers that try all targets rely on it. Of two classes t and u, the lead of t over u must be larger where t was
// asked for.
func checkTargets(f *fixtures, s Subject) error {
	if s.Untargeted {
		return nil
	}
	moved, differ, obeyed, lucky := 0, 0, 0, 0
	for _, l := range f.linear {
		a, b := s.attack(l.Classifier, advlib.Untargeted), wholeBatch(l.Examples)
		clean, err := l.Classifier.Logits(b.X)
		if err != nil {
			return err
		}
		var targets [2][]int32
		for i, z := range clean {
			t, u := runnersUp(z, int(b.Y[i]))
			targets[0], targets[1] = append(targets[0], t), append(targets[1], u)
		}
		var at [2][]float32
		var z [2][][]float32
		for k := range at {
			b.Target, b.AnyClass = targets[k], true
			adv, err := a.Perturb(context.Background(), advlib.Count(s.on(l.Classifier)), b)
			if err != nil {
				return fmt.Errorf("given targets by a wrapper: %w", err)
			}
			if z[k], err = l.Classifier.Logits(adv); err != nil {
				return err
			}
			at[k] = tensors.MustCopyFlatData[float32](adv)
		}
		x := tensors.MustCopyFlatData[float32](b.X)
		size := len(x) / b.Len()
		for i := range b.Len() {
			t, u := targets[0][i], targets[1][i]
			row := func(v []float32) []float32 { return v[i*size : (i+1)*size] }
			if slices.Equal(row(at[0]), row(x)) && slices.Equal(row(at[1]), row(x)) {
				continue // nothing was found
			}
			moved++
			if !slices.Equal(row(at[0]), row(at[1])) {
				differ++
			} else if argmax(z[0][i]) != int(b.Y[i]) {
				lucky++ // any class will do, and a random first point has one, before there was anything to go for
			}
			if z[0][i][t]-z[0][i][u] > z[1][i][t]-z[1][i][u] {
				obeyed++
			}
		}
	}
	switch {
	case moved > 0 && differ == 0:
		return errors.New("its candidates are the same whatever class Batch.Target asks for: take what is wanted from there, or, in a " +
			"step, from the Goal of its Point")
	case 2*obeyed < moved-lucky:
		return fmt.Errorf("of %d candidates only %d have gone for the class that Batch.Target asks for", moved-lucky, obeyed)
	}
	return nil
}

// runnersUp returns the two classes of the largest logits but y's.
func runnersUp(z []float32, y int) (first, second int32) {
	first, second = -1, -1
	for k, v := range z {
		switch {
		case k == y:
		case first < 0 || v > z[first]:
			first, second = int32(k), first
		case second < 0 || v > z[second]:
			second = int32(k)
		}
	}
	return first, second
}

// consistent checks a result against the classifier, without trusting what Run has measured.
func consistent(c *advlib.Classifier, res *advlib.Result) error {
	z, err := c.Logits(res.Adversarial)
	if err != nil {
		return err
	}
	clean, err := c.Logits(res.Examples.X)
	if err != nil {
		return err
	}
	x, adv := tensors.MustCopyFlatData[float32](res.Examples.X), tensors.MustCopyFlatData[float32](res.Adversarial)
	size := len(x) / res.Examples.Len()
	for i, y := range res.Examples.Y {
		original, at := x[i*size:(i+1)*size], adv[i*size:(i+1)*size]
		distance := res.Threat.Norm.Distance(at, original)
		for j, v := range at {
			if !c.Box().Contains(v) {
				return fmt.Errorf("example %d: %g at %d is outside of the box %v", i, v, j, c.Box())
			}
		}
		reached := func(z []float32) bool {
			if res.Threat.Goal.IsTargeted() { // TargetedBy(1)
				return argmax(z) == (int(y)+1)%len(z)
			}
			return argmax(z) != int(y)
		}
		switch {
		case reached(clean[i]):
			if !res.Success[i] || res.Distance[i] != 0 || !slices.Equal(at, original) {
				return fmt.Errorf("example %d reaches the goal as it is, but: success %v, distance %g, changed %v", i, res.Success[i],
					res.Distance[i], !slices.Equal(at, original))
			}
		case res.Success[i]:
			if distance > res.Threat.Radius {
				return fmt.Errorf("example %d: distance %g is more than the radius %g", i, distance, res.Threat.Radius)
			}
			if distance != res.Distance[i] {
				return fmt.Errorf("example %d: the distance is %g, not %g", i, distance, res.Distance[i])
			}
			if !reached(z[i]) {
				return fmt.Errorf("example %d: counts as a success, but the classifier says %d", i, argmax(z[i]))
			}
		default:
			if !slices.Equal(at, original) || !math.IsInf(res.Distance[i], 1) {
				return fmt.Errorf("example %d: the attack failed, but what it returns is not the original (distance %g, reported %g)", i,
					distance, res.Distance[i])
			}
		}
	}
	return nil
}

// checkCandidates: what the attack itself proposes is finite, inside the box, and inside its ball up to rounding.
func checkCandidates(f *fixtures, s Subject) error {
	a := s.attack(f.digits, advlib.Untargeted)
	threat, err := a.Threat(s.on(f.digits))
	if err != nil {
		return err
	}
	b := wholeBatch(f.examples)
	adv, err := a.Perturb(context.Background(), advlib.Count(s.on(f.digits)), b)
	if err != nil {
		return err
	}
	if !adv.Shape().Equal(b.X.Shape()) {
		return fmt.Errorf("the candidates are %v for inputs %v", adv.Shape(), b.X.Shape())
	}
	x, at := tensors.MustCopyFlatData[float32](b.X), tensors.MustCopyFlatData[float32](adv)
	size := len(x) / b.Len()
	for i := range b.Len() {
		for j := i * size; j < (i+1)*size; j++ {
			if !(float64(at[j]) >= f.digits.Box().Lo-1e-6 && float64(at[j]) <= f.digits.Box().Hi+1e-6) {
				return fmt.Errorf("example %d: candidate %g at %d is outside of the box", i, at[j], j-i*size)
			}
		}
		if d := threat.Norm.Distance(at[i*size:(i+1)*size], x[i*size:(i+1)*size]); d > threat.Radius*(1+1e-5)+1e-6 {
			return fmt.Errorf("example %d: the candidate's distance %g is more than the radius %g", i, d, threat.Radius)
		}
	}
	return nil
}

func wholeBatch(e *advlib.Examples) advlib.Batch {
	return advlib.Batch{X: e.X, Y: e.Y, Index: e.Index}
}

// checkRepeatable: the same seed gives the same bits.
func checkRepeatable(f *fixtures, s Subject) error {
	first, err := advlib.Run(context.Background(), s.on(f.digits), f.examples, s.attack(f.digits, advlib.Untargeted))
	if err != nil {
		return err
	}
	again, err := advlib.Run(context.Background(), s.on(f.digits), f.examples, s.attack(f.digits, advlib.Untargeted))
	if err != nil {
		return err
	}
	return sameBits(first, again, nil)
}

// checkOrder: a row's candidate is the same bits wherever the row is in the batch. Run hands rows over in the order of
// their content, so it is the attack itself that is asked, as a wrapper might.
func checkOrder(f *fixtures, s Subject) error {
	a, b := s.attack(f.digits, advlib.Untargeted), wholeBatch(f.examples)
	order := rand.New(rand.NewPCG(5, 6)).Perm(b.Len())
	var got [2][]float32
	for k, b := range []advlib.Batch{b, b.Select(order)} {
		adv, err := a.Perturb(context.Background(), advlib.Count(s.on(f.digits)), b)
		if err != nil {
			return err
		}
		got[k] = tensors.MustCopyFlatData[float32](adv)
	}
	size := len(got[0]) / b.Len()
	for i, from := range order {
		if x, y := got[0][from*size:(from+1)*size], got[1][i*size:(i+1)*size]; !slices.Equal(x, y) {
			return fmt.Errorf("row %d, put at %d: the candidates differ, by up to %g", from, i, advlib.Linf.Distance(x, y))
		}
	}
	return nil
}

// checkShuffled: random draws are keyed by what an example is, not by where it is in its file. So a file in another
// order gives the same bits; a part of it the same up to rounding, since matrices of another size are multiplied.
func checkShuffled(f *fixtures, s Subject) error {
	a := s.attack(f.digits, advlib.Untargeted)
	all, err := advlib.Run(context.Background(), s.on(f.digits), f.examples, a)
	if err != nil {
		return err
	}
	order := rand.New(rand.NewPCG(5, 6)).Perm(f.examples.Len())
	for _, rows := range [][]int{order, order[:7]} {
		file := f.examples.Select(rows)
		file.Index = nil // numbered anew
		res, err := advlib.Run(context.Background(), s.on(f.digits), file, a)
		if err != nil {
			return err
		}
		same := closeTo
		if len(rows) == len(order) {
			same = sameBits
		}
		if err := same(all, res, rows); err != nil {
			return fmt.Errorf("%d of %d examples in another order: %w", len(rows), len(order), err)
		}
	}
	return nil
}

// sameBits compares two results; row i of the second is row order[i] of the first. A nil order is that of both.
func sameBits(a, b *advlib.Result, order []int) error {
	x, y := tensors.MustCopyFlatData[float32](a.Adversarial), tensors.MustCopyFlatData[float32](b.Adversarial)
	size := len(x) / a.Examples.Len()
	for i := range b.Examples.Len() {
		from := i
		if order != nil {
			from = order[i]
		}
		if a.Success[from] != b.Success[i] || a.Distance[from] != b.Distance[i] {
			return fmt.Errorf("example %d: success %v at %g the first time, %v at %g the second", from, a.Success[from], a.Distance[from],
				b.Success[i], b.Distance[i])
		}
		if !slices.Equal(x[from*size:(from+1)*size], y[i*size:(i+1)*size]) {
			return fmt.Errorf("example %d: the adversarial examples differ, by up to %g", from,
				advlib.Linf.Distance(x[from*size:(from+1)*size], y[i*size:(i+1)*size]))
		}
	}
	return nil
}

// checkBatchSizes: batches of 1, of 7 and of all give the same; but they are compiled for different shapes, so the last
// bits differ.
func checkBatchSizes(f *fixtures, s Subject) error {
	var all *advlib.Result
	for _, size := range []int{0, 7, 1} {
		res, err := advlib.Settings{BatchSize: size}.Run(context.Background(), s.on(f.digits), f.examples, s.attack(f.digits, advlib.Untargeted))
		if err != nil {
			return err
		}
		if all == nil {
			all = res
			continue
		}
		if err := closeTo(all, res, nil); err != nil {
			return fmt.Errorf("in batches of %d, and in one: %w", size, err)
		}
	}
	return nil
}

// closeTo compares two results as sameBits does: success and labels are the same, distances within 1e-4 relative, and
// at most 0.1 % of pixels differ by more than 1e-4.
func closeTo(a, b *advlib.Result, order []int) error {
	const relative, pixel, share = 1e-4, 1e-4, 1e-3
	x, y := tensors.MustCopyFlatData[float32](a.Adversarial), tensors.MustCopyFlatData[float32](b.Adversarial)
	size := len(x) / a.Examples.Len()
	differ := 0
	for i := range b.Examples.Len() {
		from := i
		if order != nil {
			from = order[i]
		}
		if a.Success[from] != b.Success[i] || a.Final[from].Class != b.Final[i].Class {
			return fmt.Errorf("example %d: success %v and class %d here, %v and %d there", from, b.Success[i], b.Final[i].Class,
				a.Success[from], a.Final[from].Class)
		}
		if b.Success[i] && math.Abs(b.Distance[i]-a.Distance[from]) > relative*a.Distance[from] {
			return fmt.Errorf("example %d: distance %.7g here, %.7g there", from, b.Distance[i], a.Distance[from])
		}
		for j := range size {
			if math.Abs(float64(x[from*size+j])-float64(y[i*size+j])) > pixel {
				differ++
			}
		}
	}
	if float64(differ) > share*float64(len(y)) {
		return fmt.Errorf("%d of %d pixels differ by more than %g", differ, len(y), pixel)
	}
	return nil
}

// checkPasses: an attack that asks the model is counted, and the same work counts the same.
func checkPasses(f *fixtures, s Subject) error {
	var first advlib.Stats
	for k := range 2 {
		res, err := advlib.Run(context.Background(), s.on(f.digits), f.examples, s.attack(f.digits, advlib.Untargeted))
		if err != nil {
			return err
		}
		if res.Stats.Forward <= 0 {
			return errors.New("no forward pass was counted: the model must be used through the Target")
		}
		if k == 1 && (res.Stats.Forward != first.Forward || res.Stats.Backward != first.Backward) {
			return fmt.Errorf("%d forward and %d backward passes the first time, %d and %d the second", first.Forward, first.Backward,
				res.Stats.Forward, res.Stats.Backward)
		}
		first = res.Stats
	}
	return nil
}

// countdown is a context that is cancelled once its Err has been asked for a number of times.
type countdown struct {
	context.Context
	cancel context.CancelFunc
	left   int
}

// Err implements [context.Context].
func (c *countdown) Err() error {
	if c.left--; c.left < 0 {
		c.cancel()
	}
	return c.Context.Err()
}

// checkCancelled: a cancelled attack returns what it has, valid, with the context's error, and soon.
func checkCancelled(f *fixtures, s Subject) error {
	for _, polls := range []int{0, 1, 2, 5} {
		inner, cancel := context.WithCancel(context.Background())
		ctx := &countdown{Context: inner, cancel: cancel, left: polls}
		res, err := advlib.Settings{BatchSize: 4}.Run(ctx, s.on(f.digits), f.examples, s.attack(f.digits, advlib.Untargeted))
		cancel()
		if !errors.Is(err, context.Canceled) {
			return fmt.Errorf("cancelled when it asked the context for the %dth time, it returned the error %w", polls+1, err)
		}
		if res == nil {
			return errors.New("cancelled, it returned no result")
		}
		if err := consistent(f.digits, res); err != nil {
			return fmt.Errorf("cancelled: %w", err)
		}
	}
	return nil
}

// checkZeroRadius: a ball of radius 0 is legal, and nothing changes.
func checkZeroRadius(f *fixtures, s Subject) error {
	if s.AtRadius == nil {
		return nil // of minimal norm
	}
	res, err := advlib.Run(context.Background(), s.on(f.digits), f.examples, s.wrap(s.AtRadius(0), f.digits))
	if err != nil {
		return err
	}
	if !slices.Equal(tensors.MustCopyFlatData[float32](res.Adversarial), tensors.MustCopyFlatData[float32](f.examples.X)) {
		return errors.New("an input changed although the radius is 0")
	}
	return consistent(f.digits, res)
}

// checkZeroGradient: a model whose gradient is 0 is attacked without an error, and without success where there is none
// to be had.
func checkZeroGradient(f *fixtures, s Subject) error {
	a := s.attack(f.flat, advlib.Untargeted)
	if s.AtRadius != nil {
		a = s.wrap(s.AtRadius(0.05), f.flat)
	}
	res, err := advlib.Run(context.Background(), s.on(f.flat), f.flatExamples, a)
	if err != nil {
		return err
	}
	for i, success := range res.Success {
		if success && s.AtRadius != nil {
			return fmt.Errorf("example %d counts as broken at distance %g, but no point so near has another class", i, res.Distance[i])
		}
	}
	return consistent(f.flat, res)
}

// checkSaturated: logits so large, or so small, that the softmax saturates or is flat give no NaN and no error.
func checkSaturated(f *fixtures, s Subject) error {
	for _, c := range []*advlib.Classifier{f.steep, f.faint} {
		res, err := advlib.Run(context.Background(), s.on(c), f.linear[0].Examples, s.attack(c, advlib.Untargeted))
		if err != nil {
			return fmt.Errorf("%s: %w", c.Name(), err)
		}
		if err := consistent(c, res); err != nil {
			return fmt.Errorf("%s: %w", c.Name(), err)
		}
	}
	return nil
}

// checkShifted: a constant added to all logits changes nothing but rounding. A mask of 0 in place of −∞ would.
func checkShifted(f *fixtures, s Subject) error {
	plain, err := advlib.Run(context.Background(), s.on(f.digits), f.examples, s.attack(f.digits, advlib.Untargeted))
	if err != nil {
		return err
	}
	shifted, err := advlib.Run(context.Background(), s.on(f.shifted), f.examples, s.attack(f.shifted, advlib.Untargeted))
	if err != nil {
		return err
	}
	var apart []float64 // relative differences of the distances
	for i := range plain.Success {
		if plain.Success[i] != shifted.Success[i] {
			return fmt.Errorf("example %d: success %v, with logits shifted by −30 %v", i, plain.Success[i], shifted.Success[i])
		}
		if !plain.Success[i] || plain.Distance[i] == shifted.Distance[i] {
			apart = append(apart, 0)
			continue
		}
		apart = append(apart, math.Abs(plain.Distance[i]/shifted.Distance[i]-1))
		if !s.Labels && math.Abs(plain.Distance[i]-shifted.Distance[i]) > 1e-2*plain.Distance[i] {
			return fmt.Errorf("example %d: distance %g, with logits shifted by −30 %g", i, plain.Distance[i], shifted.Distance[i])
		}
	}
	if m := median(apart); m > 1e-2 {
		return fmt.Errorf("with logits shifted by −30 the distances differ by %.3g of them in the median", m)
	}
	return nil
}

// checkLossesRefused: a loss that is not defined for the number of classes is an error before anything is computed.
func checkLossesRefused(f *fixtures, s Subject) error {
	if s.WithLoss == nil {
		return nil // there is none to choose
	}
	if _, err := s.wrap(s.WithLoss(advlib.DLR, advlib.Untargeted), f.two[0].Classifier).Threat(s.on(f.two[0].Classifier)); err == nil {
		return errors.New("DLR is accepted for 2 classes")
	}
	if !s.Untargeted {
		if _, err := s.wrap(s.WithLoss(advlib.DLR, advlib.TargetedBy(1)), f.two3.Classifier).Threat(s.on(f.two3.Classifier)); err == nil {
			return errors.New("DLR with a target is accepted for 3 classes")
		}
	}
	return nil
}

// checkOracle: on linear models, gray and binary, of ten classes and of two, the attack claims nothing false, and
// breaks at least a quarter of what can be broken: far below what any working attack reaches, and far above one that
// goes the wrong way. With two classes the oracle also knows the targeted optimum: the target is the only other class.
func checkOracle(f *fixtures, s Subject) error {
	if err := finds(append(slices.Clone(f.linear), f.two...), s, advlib.Untargeted); err != nil || s.Untargeted {
		return err
	}
	return finds(f.two, s, advlib.TargetedBy(1))
}

func finds(models []*Linear, s Subject, goal advlib.Goal) error {
	breakable, found := 0, 0
	for _, l := range models {
		a := s.attack(l.Classifier, goal)
		threat, err := a.Threat(s.on(l.Classifier))
		if err != nil {
			return err
		}
		var falseClaims int
		if threat.Minimal() {
			score, err := l.ScoreMinimal(context.Background(), a)
			if err != nil {
				return err
			}
			breakable, found, falseClaims = breakable+score.Breakable, found+score.Found, score.False
		} else {
			score, err := l.ScoreBall(context.Background(), a)
			if err != nil {
				return err
			}
			breakable, found, falseClaims = breakable+score.Attackable, found+score.Attackable-score.Missed, score.False
		}
		if falseClaims > 0 {
			return fmt.Errorf("%s, %d classes, %v: %d false claims", l.Examples.Name, len(l.W), goal, falseClaims)
		}
	}
	if breakable == 0 {
		return fmt.Errorf("%v: the budget is too small for this test: nothing can be broken", goal)
	}
	if 4*found < breakable {
		return fmt.Errorf("%v: it breaks %d of the %d examples that can be broken", goal, found, breakable)
	}
	return nil
}

// argmax returns the position of the first largest value.
func argmax(v []float32) int {
	best := 0
	for k := range v {
		if v[k] > v[best] {
			best = k
		}
	}
	return best
}
