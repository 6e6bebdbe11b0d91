package detect

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"sync"

	"github.com/gomlx/gomlx/core/tensors"

	"advlab/advlib"
	. "advlab/advlib/internal/equation"
)

// Method is a way to tell adversarial inputs from clean ones: [FeatureSqueezing], [LID], [Mahalanobis],
// [KernelDensity], [Binary], [Consistency], [MagNet], or one of your own.
type Method interface {
	// String names the method, with its parameters.
	String() string
	// Fit fits it to a classifier. The data are checked already; its parameters are not.
	Fit(ctx context.Context, c *advlib.Classifier, d Data) (Score, error)
}

// Score is a fitted [Method]: a number for each input, higher for one that looks more like an adversarial one.
type Score interface {
	// Graph builds the scores [n] of inputs x [n, d...] with logits z [n, K], which are those that m gives. Rows must not
	// mix. Where it has no gradient, or one that misleads, it should have a stand-in's: adaptive attacks follow it.
	Graph(m *advlib.Model, x, z *Node) *Node
}

// Reformer is a [Score] that also changes the inputs that the classifier answers, as MagNet does.
type Reformer interface {
	// Reform returns what is answered in place of x [n, d...].
	Reform(x *Node) *Node
}

// Data is what a detector is fitted to.
type Data struct {
	// Train are clean examples, on which its statistics are fitted. The classifier's own training examples will do.
	Train *advlib.Examples
	// Clean are others, held out, which set the threshold.
	Clean *advlib.Examples
	// Rate is the share α of clean inputs that may be flagged, in (0, 1); 0 means 0.05. With n examples the threshold is
	// the ⌈(n+1)·(1−α)⌉-th smallest of their scores: then the chance that another clean input is flagged is at most α
	// (Vovk et al. 2005, "Algorithmic learning in a random world"). It takes (1−α)/α examples.
	Rate float64
	// Attack makes the adversarial inputs that some methods learn from, out of examples of Train. Methods that can do
	// without are fitted to clean inputs alone if it is nil.
	Attack advlib.Attack
	// Found is what an attack has found on clean examples that are not among Train, to learn from in place of Attack: to
	// fit several detectors to what was searched for once.
	Found *advlib.Result
	// Settings are those of the attack's run; the seed is that of everything random in a fit.
	Settings advlib.Settings

	learnt *learnt // what a method has asked for while it was fitted
}

// learnt is the result that a method has learnt from.
type learnt struct{ from *advlib.Result }

// Screened is a classifier behind a fitted detector of single inputs: a victim that rejects what looks adversarial, by
// [advlib.Rejected]. Attacks that need a gradient are run on it by [Screened.Naive] and [Screened.Adaptive].
type Screened struct {
	// Threshold is the score above which an input is rejected. It may be changed, but not while somebody asks.
	Threshold float64
	// Rate is the share of clean inputs for which it was set.
	Rate float64

	method Method
	score  Score
	data   Data
	clean  []float64 // scores of Data.Clean, sorted
	of     *advlib.Classifier

	mu    sync.Mutex
	guide *guides // see newGuides
	trace string  // see Fingerprint
}

// Screen fits a detector to a classifier, and sets its threshold.
func Screen(ctx context.Context, c *advlib.Classifier, m Method, d Data) (*Screened, error) {
	fail := func(err error) (*Screened, error) { return nil, fmt.Errorf("detect: %v: %w", m, err) }
	switch {
	case m == nil:
		return nil, fmt.Errorf("detect: there is no method: give one, such as detect.LID{}")
	case c == nil:
		return fail(fmt.Errorf("the classifier is nil"))
	case c.Random():
		return fail(fmt.Errorf("%s is random, and so are its features and logits: a threshold would say nothing about the next draw", c.Name()))
	}
	d.Rate = cmp.Or(d.Rate, 0.05)
	if err := d.check(c); err != nil {
		return fail(err)
	}
	d.learnt = new(learnt)
	score, err := m.Fit(ctx, c, d)
	if err != nil {
		return fail(err)
	}
	if d.learnt.from != nil { // what is kept of the detector
		d.Train, _ = d.split()
		d.Found = d.learnt.from
	}
	s := &Screened{Rate: d.Rate, method: m, score: score, data: d, of: c, Threshold: math.Inf(1)}
	all, err := s.Scores(ctx, d.Clean.X)
	if err != nil {
		return fail(err)
	}
	for i, v := range all {
		if math.IsNaN(v) {
			return fail(fmt.Errorf("the score of the clean example %d is not a number", d.Clean.Number(i)))
		}
	}
	slices.Sort(all)
	s.clean = all
	s.Threshold = all[rank(len(all), d.Rate)-1]
	return s, nil
}

// MustScreen is [Screen] for notebooks, examples and tests: it panics on an error.
func MustScreen(ctx context.Context, c *advlib.Classifier, m Method, d Data) *Screened {
	s, err := Screen(ctx, c, m, d)
	if err != nil {
		panic(err)
	}
	return s
}

// rank is ⌈(n+1)·(1−α)⌉, up to rounding: which of n scores, from the smallest, is the threshold.
func rank(n int, rate float64) int { return int(math.Ceil(float64(n+1)*(1-rate) - 1e-9)) }

// check refuses data that a detector cannot be fitted to.
func (d Data) check(c *advlib.Classifier) error {
	if !(d.Rate > 0 && d.Rate < 1) {
		return fmt.Errorf("the rate of false positives is %g: give one above 0 and below 1, such as 0.05", d.Rate)
	}
	spec := advlib.Spec{Name: c.Name(), Input: c.Input(), Box: c.Box(), Domain: c.Domain()}
	if err := d.Train.Check(spec, c.Classes()); err != nil {
		return fmt.Errorf("the examples to fit it to: %w", err)
	}
	if err := d.Clean.Check(spec, c.Classes()); err != nil {
		return fmt.Errorf("the clean examples that set the threshold: %w", err)
	}
	if slices.Max(d.Train.Y) == slices.Min(d.Train.Y) {
		return fmt.Errorf("all %d examples of %s are of class %s: what is normal for one class says nothing about another; give examples "+
			"of all classes", d.Train.Len(), d.Train.Name, c.ClassName(int(d.Train.Y[0])))
	}
	if n := d.Clean.Len(); rank(n, d.Rate) > n {
		return fmt.Errorf("%d clean examples are too few for a rate of %g: it takes at least %d; give more, or a higher rate", n, d.Rate,
			int(math.Ceil((1-d.Rate)/d.Rate-1e-9)))
	}
	return nil
}

// Classifier returns the one behind the detector, as it answers what is not rejected.
func (s *Screened) Classifier() (*advlib.Classifier, error) {
	r, ok := s.score.(Reformer)
	if !ok {
		return s.of, nil
	}
	return s.of.Derive(reformKey{s}, fmt.Sprintf("%s behind the reformer of %v", s.of.Name(), s.method),
		func(m *advlib.Model, x *Node) *Node { return m.Logits(r.Reform(x)) })
}

type reformKey struct{ of *Screened }

// graph builds what is answered, z [n, K], and the scores [n].
func (s *Screened) graph(m *advlib.Model, x *Node) (z, score *Node) {
	plain := m.Logits(x)
	score = s.score.Graph(m, x, plain)
	switch r := s.score.(type) {
	case answerer:
		return r.Answer(m, x), score
	case Reformer:
		return m.Logits(r.Reform(x)), score
	}
	return plain, score
}

// answerer is a [Score] that also answers what is accepted.
type answerer interface {
	// Answer returns the logits [n, K] of x [n, d...].
	Answer(m *advlib.Model, x *Node) *Node
}

type scoredKey struct{ of *Screened }

// scored returns a classifier with what is answered and, in one more column, the scores: [n, K+1]. It takes the inputs
// that the one which is screened takes, also where attacks work in other coordinates.
func (s *Screened) scored() (*advlib.Classifier, error) {
	return s.of.Extend(scoredKey{s}, s.Name()+", with the score", func(m *advlib.Model, x *Node) *Node {
		z, score := s.graph(m, x)
		return Concatenate([]*Node{z, InsertAxes(score, 1)}, 1)
	})
}

// split takes what a classifier of [Screened.scored] gives apart: logits [n, K] and scores [n].
func split(both *Node) (z, score *Node) {
	n, k := both.Shape().Dimensions[0], both.Shape().Dimensions[1]-1
	return Slice(both, AxisRange(), AxisRange(0, k)), Reshape(Slice(both, AxisRange(), AxisElem(k)), n)
}

type askKey struct{}

// ask returns logits and scores of inputs x [n, d...], counted by on, a victim with these inputs.
func (s *Screened) ask(ctx context.Context, on *advlib.Counted, x *tensors.Tensor) (z [][]float32, scores []float64, err error) {
	both, err := s.scored()
	if err != nil {
		return nil, nil, err
	}
	step := on.On(both).Compile(askKey{}, func(m *advlib.Model, in []*Node) []*Node { return []*Node{m.Logits(in[0])} })
	k := s.of.Classes()
	err = rows(ctx, step, x, func(out []*tensors.Tensor, n int) {
		flat := tensors.MustCopyFlatData[float32](out[0])
		for row := range slices.Chunk(flat[:n*(k+1)], k+1) {
			z, scores = append(z, row[:k:k]), append(scores, float64(row[k]))
		}
	})
	return z, scores, err
}

// rows runs a step on inputs x [n, d...], some at a time, and hands on what comes out for each n of them.
func rows(ctx context.Context, step *advlib.Step, x *tensors.Tensor, take func(out []*tensors.Tensor, n int)) error {
	all := make([]int, x.Shape().Dimensions[0])
	for i := range all {
		all[i] = i
	}
	for part := range slices.Chunk(all, 128) {
		if err := ctx.Err(); err != nil {
			return err
		}
		in := advlib.TakeRows(x, part, advlib.Bucket(len(part)))
		out, err := step.Run(len(part), in)
		advlib.Free(in)
		if err != nil {
			return fmt.Errorf("inputs of shape %v: %w", x.Shape().Dimensions, err)
		}
		take(out, len(part))
		advlib.Free(out...)
	}
	return nil
}

// values returns what a graph computes of inputs x [n, d...], a row [k] for each.
func values(
	ctx context.Context, c *advlib.Classifier, x *tensors.Tensor, graph func(m *advlib.Model, x, z *Node) *Node,
) ([][]float32, error) {
	type key struct{ own *int } // of this call alone
	step := advlib.Count(c).Compile(key{new(int)}, func(m *advlib.Model, in []*Node) []*Node {
		y := graph(m, in[0], m.Logits(in[0]))
		return []*Node{Reshape(y, y.Shape().Dimensions[0], -1)}
	})
	var all [][]float32
	err := rows(ctx, step, x, func(out []*tensors.Tensor, n int) {
		flat, k := tensors.MustCopyFlatData[float32](out[0]), out[0].Shape().Dimensions[1]
		for i := range n {
			all = append(all, flat[i*k:(i+1)*k:(i+1)*k])
		}
	})
	return all, err
}

// String names the detector: with [Screened.Victim], [Screened.Naive] and [Screened.Adaptive] what is screened is a
// defense.Defended.
func (s *Screened) String() string { return s.method.String() }

// Victim returns s.
func (s *Screened) Victim() advlib.Victim { return s }

// Name implements [advlib.Victim].
func (s *Screened) Name() string { return fmt.Sprintf("%s, screened by %v", s.of.Name(), s.method) }

// Signature implements [advlib.Victim].
func (s *Screened) Signature() advlib.Signature { return s.of.Signature() }

// Query implements [advlib.Victim]: it answers logits, or rejects.
func (s *Screened) Query(ctx context.Context, x *tensors.Tensor) ([]advlib.Answer, error) {
	z, scores, err := s.ask(ctx, advlib.Count(s.of), x)
	answers := make([]advlib.Answer, len(scores))
	for i := range answers {
		if answers[i] = (advlib.Answer{Kind: advlib.Logits, Scores: z[i]}); s.flags(scores[i]) {
			answers[i] = advlib.Answer{Kind: advlib.Rejected}
		}
	}
	return answers, err
}

// flags tells whether a score is rejected; one that is not a number is.
func (s *Screened) flags(score float64) bool { return !(score <= s.Threshold) }

// Scores returns the scores of inputs x [n, d...].
func (s *Screened) Scores(ctx context.Context, x *tensors.Tensor) ([]float64, error) {
	_, scores, err := s.ask(ctx, advlib.Count(s.of), x)
	return scores, err
}

// Verdict is what a detector says about one input.
type Verdict struct {
	// Score is high for what looks adversarial; above the threshold it is Flagged.
	Score   float64
	Flagged bool
	// P is the share of clean inputs, those that set the threshold and this one, with a score at least as high: small for
	// what looks adversarial.
	P float64
}

// Verdicts returns what the detector says about inputs x [n, d...].
func (s *Screened) Verdicts(ctx context.Context, x *tensors.Tensor) ([]Verdict, error) {
	scores, err := s.Scores(ctx, x)
	verdicts := make([]Verdict, len(scores))
	for i, v := range scores {
		at, _ := slices.BinarySearch(s.clean, v)
		verdicts[i] = Verdict{v, s.flags(v), float64(1+len(s.clean)-at) / float64(1+len(s.clean))}
	}
	return verdicts, err
}

// Behind returns the same fitted detector before another classifier, such as one with the same weights: its features
// must be those that it was fitted to. The threshold stays.
func (s *Screened) Behind(c *advlib.Classifier) (*Screened, error) {
	if c == nil {
		return nil, fmt.Errorf("detect: %v: the classifier is nil", s.method)
	}
	if err := advlib.SameInputs(c, s.of); err != nil {
		return nil, fmt.Errorf("detect: %v: %w", s.method, err)
	}
	x := s.data.Clean.First(probed).X
	want, err := s.Scores(context.Background(), x)
	if err != nil {
		return nil, err
	}
	t := &Screened{Threshold: s.Threshold, Rate: s.Rate, method: s.method, score: s.score, data: s.data, clean: s.clean, of: c}
	got, err := t.Scores(context.Background(), x)
	if err != nil {
		return nil, fmt.Errorf("detect: %v was fitted to %s, and %s has other features: fit it anew: %w", s.method, s.of.Name(), c.Name(), err)
	}
	for i := range want {
		if d := math.Abs(got[i] - want[i]); !(d <= 1e-3*max(1, math.Abs(want[i]))) {
			return nil, fmt.Errorf("detect: %v was fitted to %s, and %s has other features: the score of the clean example %d is %.4g in "+
				"place of %.4g; fit it anew", s.method, s.of.Name(), c.Name(), s.data.Clean.Number(i), got[i], want[i])
		}
	}
	return t, nil
}

// probed is how many examples Behind compares.
const probed = 8
