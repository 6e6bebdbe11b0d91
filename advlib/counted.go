package advlib

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	"github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"

	"advlab/advlib/backend"
	"advlab/advlib/report"
)

const float32Type = dtypes.Float32

// Counted is a victim as an attack sees it: counted, and compiled where it has a graph. Every pass of the model that an
// attack causes goes through a Counted, so that no attack reports its own cost.
type Counted struct {
	victim Victim
	passes *passes
	ledger *ledger
	ctx    context.Context // of the run: a victim without a graph is asked under it
	draws  int             // how often a random victim is asked each question; 0 means once
	sent   int64           // what the victim had sent before
}

// passes count examples, forward and backward, and the programs that were made for them.
type passes struct {
	forward, backward  atomic.Int64
	entries, nonFinite atomic.Int64   // of gradients
	onStep             func(stepCost) // told of each step; nil for nobody

	mu       sync.Mutex
	programs map[int]Programs // by the size of the batch
	warnings []string
}

// tell tells who follows the passes of a step.
func (p *passes) tell(c stepCost) {
	if p.onStep != nil {
		p.onStep(c)
	}
}

// stepCost is the cost of one call of a step.
type stepCost struct {
	forward, backward int64
	elapsed           time.Duration
	built             bool // a program was compiled or loaded first
}

// Count returns a victim with its counters at zero.
func Count(v Victim) *Counted {
	sent, _ := sentBy(v)
	return &Counted{victim: v, passes: new(passes), ledger: newLedger(), ctx: context.Background(), sent: sent}
}

// within returns v asked under a context.
func (v *Counted) within(ctx context.Context) *Counted {
	w := *v
	w.ctx = ctx
	return &w
}

// On returns a classifier whose passes count into those of v: for attacks that work on a surrogate, or on a classifier
// from [Classifier.Derive]. Queries of a surrogate are not queries of the victim.
func (v *Counted) On(c *Classifier) *Counted {
	if v.Signature().isEncoded() && !c.Signature().isEncoded() {
		c = c.View()
	}
	on := &Counted{victim: c, passes: v.passes, ledger: newLedger(), ctx: v.ctx}
	if own, err := WhiteBox(v); err == nil && own.mu == c.mu {
		on.ledger = v.ledger
	}
	return on
}

// Draws returns v asked each question n times, and answering with the mean of the logits: for expectations over a
// random victim that has no graph. Each time counts. Of a classifier, [Classifier.Derive] makes the mean a part of the
// graph.
func (v *Counted) Draws(n int) *Counted {
	w := *v
	w.draws = v.times() * n
	return &w
}

// times is how often each question is asked.
func (v *Counted) times() int { return max(1, v.draws) }

// Name returns the victim's name.
func (v *Counted) Name() string { return v.victim.Name() }

// Signature returns that of the victim.
func (v *Counted) Signature() Signature { return v.victim.Signature() }

// Query asks the victim, and counts a forward pass for each row that it answers. A victim with a budget is asked by
// [Counted.Ask] instead.
func (v *Counted) Query(ctx context.Context, x *tensors.Tensor) ([]Answer, error) {
	if err := v.charge(nil, x.Shape().Dimensions[0]); err != nil {
		return nil, err
	}
	return v.answer(ctx, x, x.Shape().Dimensions[0], false)
}

// answer asks the victim about the first n rows, and counts. The others are padding for a classifier; with give, x may
// be moved to its backend instead of copied.
func (v *Counted) answer(ctx context.Context, x *tensors.Tensor, n int, give bool) ([]Answer, error) {
	if c, err := WhiteBox(v.victim); err == nil {
		if at, err := x.Backend(); err == nil && at != c.spec.Backend {
			give = false
		}
		z, err := v.logits(x, upTo(n), give)
		return answers(z), err
	}
	a, err := v.mean(ctx, x)
	v.passes.forward.Add(int64(len(a) * v.times()))
	return a, err
}

// Passes returns how many times an example has gone forward and backward through the model.
func (v *Counted) Passes() (forward, backward int64) {
	return v.passes.forward.Load(), v.passes.backward.Load()
}

// Warn says what looks wrong to an attack, in a sentence for [Result.Warnings].
func (v *Counted) Warn(sentence string) {
	v.passes.mu.Lock()
	defer v.passes.mu.Unlock()
	if !slices.Contains(v.passes.warnings, sentence) {
		v.passes.warnings = append(v.passes.warnings, sentence)
	}
}

// Programs returns how many programs were compiled and loaded for the victim's steps, by the size of the batch. Where
// other goroutines compile at the same time, one that was compiled may be counted as loaded.
func (v *Counted) Programs() []Programs {
	v.passes.mu.Lock()
	defer v.passes.mu.Unlock()
	return report.AddPrograms(slices.Collect(maps.Values(v.passes.programs)), nil)
}

// built counts a program for batches of the given size.
func (p *passes) built(size int, loaded bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.programs == nil {
		p.programs = map[int]Programs{}
	}
	n := p.programs[size]
	n.Batch = size
	if loaded {
		n.Loaded++
	} else {
		n.Compiled++
	}
	p.programs[size] = n
}

// Model is the classifier inside a graph under construction. It counts how often the graph uses it.
type Model struct {
	classifier        *Classifier // nil of a victim without a graph
	none              *NoGraphError
	answers           []*graph.Node // of such a victim, to the questions before
	forward, backward int
	entries           int         // of the gradients of a row
	bad               *graph.Node // how many of these are not finite, int32 [n]; nil if there are none
	nearby            *nearby     // nil where slopes are taken as they are
	freely            bool        // slopes of fixed coordinates are asked for too
	once              bool        // nobody runs the graph again to look beside the points
}

// NewModel returns the classifier inside a graph of one's own, for which nobody counts: to look at a graph, not to run
// it. Slopes that are not finite are taken as by [LimitOf].
func NewModel(c *Classifier) *Model { return &Model{classifier: c, once: true} }

// Logits returns the logits [n, K] of x [n, d...]: one forward pass for each row.
func (m *Model) Logits(x *graph.Node) *graph.Node {
	if m.none != nil {
		return m.answer(x)
	}
	m.forward += m.classifier.cost
	z := m.classifier.LogitsGraph(x)
	if m.nearby != nil {
		m.nearby.logits[x.Id()] = z
	}
	return z
}

// Build is a graph function of an attack: it uses m in place of the classifier, on inputs whose first axis is the
// batch, and returns its results. It panics on errors, as graph functions do.
type Build func(m *Model, in []*graph.Node) []*graph.Node

// Step is a compiled graph function of an attack on one classifier. It compiles once for each combination of input
// shapes.
type Step struct {
	on      *Classifier
	passes  *passes
	ledger  *ledger
	program *program
	asked   *asked // of a victim without a graph; nil of a classifier
}

// program is what a classifier keeps of a step.
type program struct {
	// plain is what is run. It returns, behind the results of the step, how many entries of its gradients are not finite.
	plain *variant
	// nearby is run in its place where there are any. Its last input is how far each row looks for a slope that is finite,
	// and it returns, behind the results, of how many entries it found none.
	nearby *variant
}

// variant is one of a program's graphs.
type variant struct {
	exec                       *model.Exec
	forward, backward, entries atomic.Int64 // passes, and entries of gradients, for each row and call, known once the graph is built
	building                   *building    // set while the graph is built for a call; guarded by the classifier
}

// building is a graph that is built because a step met a new shape.
type building struct {
	batch int
	hits  int // programs loaded from the disk before
}

// Compile returns the step built by build. The classifier keeps it under key, so that the next batch, run or radius
// does not compile again: the key must be comparable and determine everything that build puts into the graph, such
// as the norm and the loss. What changes often, such as a radius, is better passed as an input.
//
// On a victim without a graph the step asks the victim for logits wherever build asks the model. If build takes a
// gradient, Run returns a [NoGraphError].
func (v *Counted) Compile(key any, build Build) *Step {
	c, err := WhiteBox(v.victim)
	if err != nil {
		return &Step{asked: &asked{of: v, build: build}}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	p := c.programs[key]
	if p == nil {
		p = &program{plain: c.variant(key, build, false), nearby: c.variant(key, build, true)}
		c.programs[key] = p
	}
	return &Step{on: c, passes: v.passes, ledger: v.ledger, program: p}
}

// variant returns one of the graphs that build makes; it is built when it is first run.
func (c *Classifier) variant(key any, build Build, near bool) *variant {
	v := &variant{}
	// NewExec fails for a nil store only, which NewClassifier has replaced.
	v.exec = must(model.NewExec(c.spec.Backend, c.spec.Store, func(_ *model.Scope, in []*graph.Node) []*graph.Node {
		m := &Model{classifier: c}
		if near {
			last := len(in) - 1
			m.nearby = newNearby(in[last])
			in = in[:last]
		}
		out := build(m, in)
		if m.bad != nil {
			out = append(out, m.notFinite())
		}
		v.forward.Store(int64(m.forward))
		v.backward.Store(int64(m.backward))
		v.entries.Store(int64(m.entries))
		v.building = &building{batch: batchOf(in), hits: backend.CacheStats().Hits}
		return out
	}))
	// The key's type names the step in error messages; the number of shapes is bounded by Bucket.
	v.exec.WithName(fmt.Sprintf("%T", key)).SetMaxCache(-1)
	return v
}

// compile builds and compiles without running.
func (s *Step) compile(in ...shapes.Shape) error {
	s.on.mu.Lock()
	defer s.on.mu.Unlock()
	_, err := s.program.plain.exec.Compile(in...)
	return err
}

// Run executes the step on tensors or Go scalars, and counts passes for the given number of rows: those that carry
// examples, without the padding. Results live on the backend's device until they are read.
//
// Tensors that a loop no longer needs should be given to [Free]: the garbage collector does not see device memory.
func (s *Step) Run(rows int, in ...any) ([]*tensors.Tensor, error) {
	out, _, err := s.RunSteep(rows, in...)
	return out, err
}

// RunSteep is [Step.Run], and tells for each row, padding included, how many entries of the gradients were not finite;
// nil if none of any row were.
func (s *Step) RunSteep(rows int, in ...any) (out []*tensors.Tensor, steep []int32, err error) {
	if s.asked != nil {
		out, err := s.asked.run(rows, nil, in)
		return out, nil, err
	}
	plain, passes := s.program.plain, s.passes
	out, err = s.run(plain, rows, in)
	entries := plain.entries.Load()
	if err != nil || entries == 0 {
		return out, nil, err
	}
	out, steep, bad := takeCounts(out, rows)
	passes.entries.Add(int64(rows) * entries)
	passes.nonFinite.Add(int64(bad))
	if bad == 0 {
		return out, nil, nil
	}
	h := offsets(len(steep))
	for try := 1; ; try++ {
		Free(out...)
		if out, err = s.run(s.program.nearby, rows, append(slices.Clone(in), h)); err != nil {
			return nil, nil, err
		}
		var each []int32
		if out, each, bad = takeCounts(out, rows); bad == 0 || try == tries {
			return out, steep, nil
		}
		for i, n := range each {
			if n > 0 {
				h[i] *= farther
			}
		}
	}
}

// Ask is Run for a step that asks the victim about an input for each row: of[i] is the number of the example,
// [Batch.Number], that row i belongs to, −1 of padding, wherever it stands. So queries are counted for each example,
// and a budget of the victim is kept: where an example has none left, nothing is asked, and the error wraps
// [ErrBudget]. See [Counted.Left].
func (s *Step) Ask(of []int64, in ...any) ([]*tensors.Tensor, error) {
	rows := 0
	for _, e := range of {
		if e >= 0 {
			rows++
		}
	}
	if s.asked != nil {
		return s.asked.run(rows, of, in)
	}
	out, err := s.Run(rows, in...)
	if err == nil {
		s.ledger.count(of, s.program.plain.forward.Load())
	}
	return out, err
}

// run executes one of the step's graphs.
func (s *Step) run(v *variant, rows int, in []any) ([]*tensors.Tensor, error) {
	start := time.Now()
	s.on.mu.Lock()
	v.building = nil
	out, err := v.exec.Exec(in...)
	built := v.building
	s.on.mu.Unlock()
	if err != nil {
		return nil, err
	}
	passes := s.passes
	if built != nil {
		passes.built(built.batch, backend.CacheStats().Hits > built.hits)
	}
	forward, backward := int64(rows)*v.forward.Load(), int64(rows)*v.backward.Load()
	passes.forward.Add(forward)
	passes.backward.Add(backward)
	passes.tell(stepCost{forward, backward, time.Since(start), built != nil})
	return out, nil
}

// batchOf returns the size of the batch that the inputs of a graph carry: the first axis of the first that has one.
func batchOf(in []*graph.Node) int {
	for _, x := range in {
		if x.Rank() > 0 {
			return x.Shape().Dimensions[0]
		}
	}
	return 0
}

// Free releases the memory of tensors at once. Nil tensors are passed over.
func Free(ts ...*tensors.Tensor) {
	for _, t := range ts {
		if t != nil {
			t.MustFinalizeAll()
		}
	}
}

type logitsKey struct{}

// Logits returns the logits of x [n, d...] as n rows of K: one forward pass for each row. Those of a rejected input are
// not a number. Of a victim that answers labels only it returns a [NoScoresError].
func (v *Counted) Logits(ctx context.Context, x *tensors.Tensor) ([][]float32, error) {
	if _, err := WhiteBox(v.victim); err != nil {
		a, err := v.Query(ctx, x)
		if err != nil {
			return nil, err
		}
		return v.logitsOf(a)
	}
	return v.logits(x, upTo(x.Shape().Dimensions[0]), false)
}

// upTo returns the numbers of the first n rows.
func upTo(n int) []int {
	rows := make([]int, n)
	for i := range rows {
		rows[i] = i
	}
	return rows
}

// logits returns the logits of a classifier at rows of x, computed in the order in which rows, which has each once,
// names them. With give these are the first in order, and x itself is used where it is as large as their bucket.
func (v *Counted) logits(x *tensors.Tensor, rows []int, give bool) ([][]float32, error) {
	step := v.Compile(logitsKey{}, func(m *Model, in []*graph.Node) []*graph.Node {
		return []*graph.Node{m.Logits(in[0])}
	})
	z := make([][]float32, len(rows))
	for chunk := range slices.Chunk(rows, maxBucket) {
		in := x
		if size := Bucket(len(chunk)); !give || size != x.Shape().Dimensions[0] {
			in = TakeRows(x, chunk, size)
		}
		out, err := step.Run(len(chunk), in)
		if err != nil {
			return nil, fmt.Errorf("computing the logits of inputs of shape %v: %w", in.Shape().Dimensions, err)
		}
		flat := tensors.MustCopyFlatData[float32](out[0])
		k := out[0].Shape().Dimensions[1]
		for i, row := range chunk {
			z[row] = flat[i*k : (i+1)*k : (i+1)*k]
		}
		Free(out[0])
		if in != x {
			Free(in)
		}
	}
	return z, nil
}

// maxBucket is the largest padded batch.
const maxBucket = 512

// Bucket returns the padded batch size for n rows: 8, 32, 128 or 512, so that shrinking batches compile at most
// four times. Larger batches are cut into pieces of at most 512.
func Bucket(n int) int {
	for size := 8; size < maxBucket; size *= 4 {
		if n <= size {
			return size
		}
	}
	return maxBucket
}

// TakeRows returns the given rows of x [n, d...] as a new tensor of size rows; behind them the first of the given rows
// is repeated. Any element type will do. It panics when there is no row, or more than size.
func TakeRows(x *tensors.Tensor, rows []int, size int) *tensors.Tensor {
	if len(rows) == 0 || len(rows) > size {
		panic(fmt.Sprintf("advlib: TakeRows: %d rows into a batch of %d", len(rows), size))
	}
	dims := x.Shape().Dimensions
	shape := shapes.Make(x.DType(), append([]int{size}, dims[1:]...)...)
	out := tensors.FromShape(shape)
	err := x.ConstBytes(func(from []byte) {
		row := len(from) / dims[0]
		if err := out.MutableBytes(func(to []byte) {
			for i := range size {
				r := rows[0]
				if i < len(rows) {
					r = rows[i]
				}
				copy(to[i*row:(i+1)*row], from[r*row:(r+1)*row])
			}
		}); err != nil {
			panic(err)
		}
	})
	if err != nil {
		panic(err)
	}
	return out
}
