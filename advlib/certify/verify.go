package certify

import (
	"context"
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"

	"advlab/advlib"
	"advlab/advlib/backend"
	"advlab/advlib/certify/internal/chain"
	"advlab/advlib/certify/internal/search"
	"advlab/advlib/vnnlib"
)

// Decision is the answer for one example or property.
type Decision struct {
	// Status is Verified if no input of the region has an unsafe output, however the deployed model sums and rounds;
	// Falsified if the deployed model has an unsafe output for an input of the region, which is given; else Unknown.
	Status advlib.Status
	// Counterexample is an input, flat, that was given to the deployed model, and Outputs what it returned, in a pass of
	// its own; nil unless Falsified.
	Counterexample, Outputs []float64
	// AnyOrder tells of a counterexample that it is one however the model sums and rounds: bounds at this input prove it.
	// Else it may be none on another machine. It is false, too, where bounds would have taken longer than a third of a
	// second.
	AnyOrder bool
	// Reason says why nothing was shown; empty unless Unknown.
	Reason string
	// TimedOut tells that the reason is Options.Timeout or the context's deadline.
	TimedOut bool
	// Bound is the best lower bound of the margin, which is how far outputs are from unsafe: for an unsafe set of
	// conditions ⟨c, y⟩ ≤ b that must all be met it is the largest ⟨c, y⟩ − b, for alternatives the least. It is above 0
	// if Verified, or 0 where the search had to leave out all inputs one by one, and -Inf where nothing is known.
	Bound float64
	// Method is how the verdict was found: "search for counterexamples", "bounds", or "branch and bound".
	Method string
	// Rounding is the arithmetic of the deployed model that a proof speaks of.
	Rounding Rounding
	// Cells is how many boxes were bounded.
	Cells int
	// Found is when the first counterexample was found, and Elapsed when the verdict was there: wall times since the
	// beginning, compilation included.
	Found, Elapsed time.Duration
}

// String says in a line what came out.
func (v Decision) String() string {
	switch v.Status {
	case advlib.Verified:
		margin := ""
		if v.Bound > 0 {
			margin = fmt.Sprintf(", margin ≥ %.4g", v.Bound)
		}
		return fmt.Sprintf("verified by %s%s, %d boxes, %.1f s", v.Method, margin, v.Cells, v.Elapsed.Seconds())
	case advlib.Falsified:
		return fmt.Sprintf("falsified by %s at %s, found after %.1f s, %.1f s", v.Method, search.Shortened(v.Counterexample), v.Found.Seconds(),
			v.Elapsed.Seconds())
	}
	return fmt.Sprintf("unknown: %s (margin ≥ %.4g, %d boxes, %.1f s)", v.Reason, v.Bound, v.Cells, v.Elapsed.Seconds())
}

// Options say how much is tried. The zero Options are good ones.
type Options struct {
	// Timeout is for each example or property; 0 means a minute, below 0 no limit; less than a millisecond is refused. A
	// computation that runs then, or is being compiled, cannot be interrupted: it goes on by itself until it ends, and
	// nobody waits for it. Until then the model's variables must stay as they are, and other uses of the same classifier
	// wait for their turn.
	Timeout time.Duration
	// Method bounds boxes; the zero Method, IBP, means CROWN in float32. Use Method.In for other arithmetics. A method
	// with the best line or without the box is refused. [AlphaCROWN] tunes each box where inputs are split; where the
	// signs of ReLUs are, slopes are tuned with any method, at the root as its [Alpha] says.
	Method Method
	// Starts and Steps are those of the search for counterexamples; 0 means 64 and 50, below 0 that there is none.
	Starts, Steps int
	// Batch is the most boxes bounded at once; 0 means 512.
	Batch int
	// Cells is the most boxes bounded for each example or property; 0 means no limit.
	Cells int
	// Memory is how many bytes the tensors of one computation may take, as estimated before anything is compiled: see
	// [Footprint]. More boxes and rows are bounded in pieces; it is an error if not even one fits. 0 leaves the network's
	// limit, which is 1 GiB unless [Network.LimitMemory] has set another. A limit stays with a classifier's network.
	Memory int64
	// Seed keys the search for counterexamples.
	Seed uint64
	// OnProgress, if set, is called about once a second while boxes are bounded, by the goroutine that waits for the
	// decision: Done boxes, or branches, have been bounded, and Total − Done wait. Share is that of the volume in which
	// nothing unsafe can be, where boxes are split. Part counts examples, or the boxes of a property. What has the least
	// margin of what waits: see [Decision].
	OnProgress func(advlib.Progress)
}

// Question is a model with what is unsafe.
type Question struct {
	// Model is the deployed model, whose Store is in float32, or in float64 for a model that is deployed in float64. It
	// need not be a classifier. For one in float64 proofs count with the errors of float32, which are larger, and with
	// boxes whose ends are rounded outward to float32: they hold, and leave open what only float64's own errors would
	// decide.
	Model Source
	// Property says which outputs are unsafe. Its inputs are the numbers of the model's input in their order.
	Property *vnnlib.Property
}

// VerifyProperty decides whether a model is safe, in three steps: it looks for a counterexample, it bounds the
// conditions over the whole box, and it splits that, or the signs of ReLUs, until each part is decided (branch and
// bound).
//
// An error says that the question is no question: a model that cannot be computed, a property of another number of
// inputs. That nothing could be shown is a verdict, also of a model that cannot be bounded: counterexamples are looked
// for all the same. It returns at the latest a moment after Options.Timeout, or the context's deadline, and a third of
// a second after a counterexample is found.
func VerifyProperty(ctx context.Context, q Question, o Options) (*Decision, error) {
	v, err := verifyProperty(ctx, q, o)
	if err != nil {
		return nil, fmt.Errorf("certify: verify %q: %w", q.Model.Name, err)
	}
	return v, nil
}

func verifyProperty(ctx context.Context, q Question, o Options) (*Decision, error) {
	start := time.Now()
	if q.Property == nil {
		return nil, fmt.Errorf("the property is nil")
	}
	o, err := o.checked()
	if err != nil {
		return nil, err
	}
	if q.Model.Graph == nil {
		return nil, errNoGraph
	}
	ctx, cancel := o.limited(ctx)
	defer cancel()
	v, err := o.inTime(ctx, func(ctx context.Context, f *findings) (*Decision, error) { return o.property(ctx, q, f) })
	if err != nil {
		return nil, err
	}
	v.Elapsed = time.Since(start)
	return v, nil
}

// property decides a question.
func (o Options) property(ctx context.Context, q Question, f *findings) (_ *Decision, err error) {
	if q.Model.Backend == nil {
		if q.Model.Backend, err = backend.Open(); err != nil {
			return nil, err
		}
	}
	if q.Model.Store == nil {
		q.Model.Store = model.NewStore()
	}
	d := q.Model.deployed()
	outputs, err := d.check(ctx)
	if err != nil {
		return nil, err
	}
	if d.size != q.Property.Inputs || outputs != q.Property.Outputs {
		return nil, fmt.Errorf("the property is of %d inputs and %d outputs, the model has %d and %d: they do not belong together",
			q.Property.Inputs, q.Property.Outputs, d.size, outputs)
	}
	var problems []*search.Problem
	for _, c := range q.Property.Cases {
		p, err := search.NewProblem(c, d.dtype == dtypes.Float64)
		if err != nil {
			return nil, err
		}
		problems = append(problems, p)
	}
	bounder := o.lazily(func() (*Network, error) {
		n, err := newNetwork(q.Model)
		if err == nil && n.outputs != outputs {
			err = fmt.Errorf("it returns %d numbers in %v, and %d when it is bounded in float64", outputs, d.dtype, n.outputs)
		}
		return n, err
	})
	if o.Memory > 0 {
		b, err := bounder()
		if err != nil {
			return nil, err
		}
		if err := b.network.within(o.Memory); err != nil {
			return nil, err
		}
	}
	return o.decide(ctx, f, bounder, d, problems)
}

// deployed returns the model as it is used.
func (s Source) deployed() *deployed {
	size := 1
	for _, d := range s.Input {
		size *= d
	}
	run := onSource{graph: s.Graph, store: s.Store, backend: s.Backend, mu: new(sync.Mutex), programs: map[any]*model.Exec{}}
	return &deployed{input: s.Input, size: size, dtype: dtypeOf(s.Store), run: run}
}

// dtypeOf returns the type a model is deployed in.
func dtypeOf(s *model.Store) dtypes.DType {
	for v := range s.IterVariables() {
		if v.DType() == dtypes.Float64 {
			return dtypes.Float64
		}
	}
	return dtypes.Float32
}

// check computes the model once, and returns how many outputs it has for an input.
func (d *deployed) check(ctx context.Context) (outputs int, err error) {
	y, err := d.outputs(ctx, [][]float64{make([]float64, d.size)})
	if err != nil {
		return 0, err
	}
	return len(y[0]), nil
}

// checked fills in what is not set.
func (o Options) checked() (Options, error) {
	switch {
	case o.Method.best:
		return o, fmt.Errorf("the method %v takes for each row the best of several bounds, which cannot be split: use CROWN", o.Method)
	case o.Method.withoutBox:
		return o, fmt.Errorf("the method %v looks outside of the box: use CROWN", o.Method)
	case o.Timeout > 0 && o.Timeout < time.Millisecond:
		return o, fmt.Errorf("the Timeout of %v ends before anything is computed: a number alone means nanoseconds, so write %d*time.Second; 0 "+
			"means a minute, below 0 no limit", o.Timeout, o.Timeout)
	case o.Batch < 0 || o.Cells < 0 || o.Memory < 0:
		return o, fmt.Errorf("Batch %d, Cells %d and Memory %d must be 0 or above", o.Batch, o.Cells, o.Memory)
	}
	if o.Method.kind == ibp {
		o.Method = CROWN.In(o.Method.rounding)
	}
	if o.Timeout == 0 {
		o.Timeout = defaultTimeout
	}
	if o.Starts == 0 {
		o.Starts = 64
	}
	if o.Steps == 0 {
		o.Steps = 50
	}
	if o.Batch == 0 {
		o.Batch = 512
	}
	return o, nil
}

// defaultTimeout is that of the zero Options.
const defaultTimeout = time.Minute

// partOf returns the options for example i of n, whose progress is a part of the whole.
func (o Options) partOf(i, n int) Options {
	if tell := o.OnProgress; tell != nil {
		o.OnProgress = func(p advlib.Progress) {
			p.Part, p.Parts, p.Share = i+1, n, (float64(i)+p.Share)/float64(n)
			tell(p)
		}
	}
	return o
}

func (o Options) limited(ctx context.Context) (context.Context, context.CancelFunc) {
	if o.Timeout < 0 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, o.Timeout)
}

// decide answers for all problems: one counterexample falsifies, all must be verified. First each is searched for
// counterexamples, which is quick, and needs no bounds: what cannot be bounded stays unknown after that.
func (o Options) decide(ctx context.Context, f *findings, bounder func() (bounder, error), d *deployed,
	problems []*search.Problem) (*Decision, error) {
	v := &Decision{Status: advlib.Verified, Method: "bounds", Rounding: o.Method.rounding, Bound: math.Inf(1)}
	late := func() *Decision {
		now := f.verdict(ctx, o.Method.rounding)
		now.Cells = v.Cells
		return now
	}
	for _, p := range problems {
		if o.Starts < 0 || o.Steps < 0 {
			break
		}
		judge := &falsifier{o: o, problem: p, bounder: bounder, found: f, method: "search for counterexamples"}
		err := descent{o.Starts, o.Steps, o.Seed}.look(ctx, d, p, func(x, y []float64) bool { return judge.take(ctx, x, y) })
		switch {
		case judge.best != nil:
			return judge.best, nil
		case ctx.Err() != nil:
			return late(), nil
		case err != nil:
			return nil, err
		}
	}
	if len(problems) == 0 {
		return v, nil
	}
	b, err := bounder()
	switch {
	case ctx.Err() != nil:
		return late(), nil
	case err != nil:
		return &Decision{Reason: fmt.Sprintf("no counterexample was found, and it cannot be bounded: %v", err),
			Method: "search for counterexamples", Rounding: o.Method.rounding, Bound: math.Inf(-1)}, nil
	}
	for k, p := range problems {
		f.part, f.parts = k, len(problems)
		s := &search.Search{Problem: p, Outputs: d.outputs, Batch: o.Batch, Found: f, Bound: o.bounds(b, p)}
		if o.Cells > 0 {
			s.Cells = max(1, o.Cells-v.Cells)
		}
		if d.size <= maxSensitive {
			s.Sensitivity = o.sensitivity(b.network, p)
		}
		run := s.Run
		switch {
		case d.size <= maxSensitive || len(p.Rows) == 0:
		case b.chain != nil && !p.Round && b.chain.Bent():
			run = (&search.Splitting{Search: s, Splitter: chain.NewSplitter(b.chain, p)}).Run
		default:
			run = func(ctx context.Context) (search.Outcome, error) { return o.settle(ctx, b.network, s) }
		}
		out, err := run(ctx)
		if err != nil {
			return nil, err
		}
		v.Cells += s.Bounded
		if s.Done > 0 && s.Bounded > 1 {
			v.Method = "branch and bound"
		}
		if out.X != nil {
			judge := &falsifier{o: o, problem: p, bounder: bounder, found: f, method: "branch and bound", cells: v.Cells}
			judge.take(ctx, out.X, out.Y)
			return judge.best, nil
		}
		v.Bound = min(v.Bound, out.Bound)
		if out.Reason != "" {
			v.Status, v.Reason, v.TimedOut = advlib.Unknown, out.Reason, out.Late
			return v, nil
		}
	}
	return v, nil
}

// bounds returns the search's bounds.
func (o Options) bounds(b bounder, p *search.Problem) func(context.Context, []search.Cell) ([][]search.Plane, [][]float64, error) {
	return func(ctx context.Context, cells []search.Cell) ([][]search.Plane, [][]float64, error) {
		if len(p.Rows) == 0 { // every output is unsafe
			return make([][]search.Plane, len(cells)), nil, nil
		}
		if b.chain != nil && !p.Round {
			return b.chain.Bound(ctx, cells, p.Rows)
		}
		a, err := b.network.Bound(ctx, Query{Regions: regionsOf(p, cells), Rows: [][][]float64{p.Rows}, Slopes: true, Enough: p.Limits}, o.Method)
		if err != nil {
			return nil, nil, err
		}
		planes := make([][]search.Plane, len(cells))
		for i, c := range cells {
			for r, lower := range a.Lower[i] {
				if p.Round { // the minimum is over part of the box, so the offset is not known
					planes[i] = append(planes[i], search.Plane{Lower: lower})
					continue
				}
				planes[i] = append(planes[i], search.NewPlane(c, lower, a.Slopes[i][r]))
			}
		}
		return planes, nil, nil
	}
}

// maxSensitive is the largest input that is split: halving one of many coordinates gains little.
const maxSensitive = 16

// sensitivity returns the search's sensitivities: how much IBP's bounds of all rows gain when a coordinate is fixed at
// its middle.
func (o Options) sensitivity(n *Network, p *search.Problem) func(context.Context, []search.Cell) ([][]float64, error) {
	return func(ctx context.Context, cells []search.Cell) ([][]float64, error) {
		var all []search.Cell
		for _, c := range cells {
			all = append(all, c)
			for i, m := range c.Centre() {
				thin := c.Clone()
				thin.Lower[i], thin.Upper[i] = float64(float32(m)), float64(float32(m))
				all = append(all, thin)
			}
		}
		a, err := n.Bound(ctx, Query{Regions: regionsOf(p, all), Rows: [][][]float64{p.Rows}}, IBP.In(RealArithmetic))
		if err != nil {
			return nil, err
		}
		sum := func(v []float64) (s float64) {
			for _, x := range v {
				s += x
			}
			return s
		}
		out := make([][]float64, len(cells))
		d := len(p.Cell.Lower)
		for i := range cells {
			out[i] = make([]float64, d)
			whole := sum(a.Lower[i*(d+1)])
			for k := range d {
				out[i][k] = sum(a.Lower[i*(d+1)+1+k]) - whole
			}
		}
		return out, nil
	}
}

// Verification is what [Verify] returns.
type Verification struct {
	// Ball is the threat model.
	Ball advlib.Ball
	// Examples are those asked about, and Decisions one for each.
	Examples  *advlib.Examples
	Decisions []Decision
}

// Count returns how many examples have the given status.
func (v *Verification) Count(s advlib.Status) (n int) {
	for _, verdict := range v.Decisions {
		if verdict.Status == s {
			n++
		}
	}
	return n
}

// String returns for example "mlp, Linf ≤ 0.05, 32 examples: 20 verified, 10 falsified, 2 unknown".
func (v *Verification) String() string {
	return fmt.Sprintf("%s, %v, %d examples: %d verified, %d falsified, %d unknown", v.Examples.Name, v.Ball, len(v.Decisions),
		v.Count(advlib.Verified), v.Count(advlib.Falsified), v.Count(advlib.Unknown))
}

// Verify decides for each example whether any input of the ball around it, inside the classifier's box, has another
// class than its label. With an [advlib.Domain] that is what its features and scales make of the ball: counterexamples
// are admissible, and proofs hold for all values between those of features with steps, so that more may stay unknown.
// An example that is misclassified is its own counterexample. When ctx is done, the verdicts so far are returned
// together with ctx.Err(); the others are unknown.
func Verify(ctx context.Context, c *advlib.Classifier, e *advlib.Examples, ball advlib.Ball, o Options) (*Verification, error) {
	v, err := verify(ctx, c, e, ball, o)
	if err != nil {
		return v, fmt.Errorf("certify: verify: %w", err)
	}
	return v, nil
}

func verify(ctx context.Context, c *advlib.Classifier, e *advlib.Examples, ball advlib.Ball, o Options) (*Verification, error) {
	o, err := o.checked()
	if err != nil {
		return nil, err
	}
	regions, err := o.Method.regions(c, e, ball)
	if err != nil {
		return nil, err
	}
	if c.Random() {
		return nil, errRandom
	}
	bounder := o.lazily(func() (*Network, error) { return of(c) })
	if o.Memory > 0 {
		n, err := of(c)
		if err != nil {
			return nil, err
		}
		if err := n.within(o.Memory); err != nil {
			return nil, err
		}
	}
	size := len(regions.Lower[0])
	v := &Verification{Ball: ball, Examples: e, Decisions: make([]Decision, e.Len())}
	for i := range v.Decisions {
		v.Decisions[i] = Decision{Reason: "not reached", Bound: math.Inf(-1), Rounding: o.Method.rounding}
	}
	flat := tensors.MustCopyFlatData[float32](e.X)
	for i := range e.Len() {
		if err := ctx.Err(); err != nil {
			return v, err
		}
		start := time.Now()
		o := o.partOf(i, e.Len())
		limited, cancel := o.limited(ctx)
		p := aroundExample(c, flat[i*size:(i+1)*size], e.Y[i], ball, regions.Select([]int{i}))
		verdict, err := o.inTime(limited, func(ctx context.Context, f *findings) (*Decision, error) {
			d := &deployed{input: c.Input(), size: size, dtype: dtypes.Float32, run: onTarget{advlib.Count(c)}}
			return o.decide(ctx, f, bounder, d, []*search.Problem{p})
		})
		cancel()
		if err != nil {
			return v, fmt.Errorf("example %d: %w", i, err)
		}
		verdict.Elapsed = time.Since(start)
		v.Decisions[i] = *verdict
	}
	if err := ctx.Err(); err != nil {
		return v, err
	}
	return v, nil
}
