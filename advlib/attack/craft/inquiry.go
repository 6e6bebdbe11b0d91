package craft

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math"
	"math/rand/v2"
	"runtime"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/gomlx/compute/shapes"
	"github.com/gomlx/gomlx/core/tensors"

	"advlab/advlib"
)

// Inquest is what a search by questions alone is after, and what it may cost; see [Inquire].
type Inquest struct {
	// Norm is what the search makes as small as possible: the nearest adversarial point is the best. It is nil for a
	// search in a ball.
	Norm advlib.Norm
	// Ball is what a search in a ball may change, where any adversarial point will do: its search ends with the first
	// one. Until then the point of the highest loss is the best.
	Ball advlib.Ball
	// Queries is the budget of each example: how many of its inputs are answered, that of the original before the attack
	// and that of the returned point after it included. So Queries − 2 are left for the search. It must be set.
	Queries int
	// Loss is what [Inquiry.Losses] returns; nil where nobody asks for losses. Margin and CrossEntropy are computed in
	// float64.
	Loss advlib.Loss
	// Stream is the number of the stream of random numbers, [advlib.Batch.Rand].
	Stream uint64
}

// Inquiry is the search for one example, which may ask the victim. All points are flat, in the shape of the victim's
// inputs and in the units of its domain. It belongs to the goroutine of its search.
type Inquiry struct {
	// X is the original, to be read only, Lower and Upper the ends of what each coordinate may be: both X where it is
	// fixed. Shape is the shape of one input, such as 28, 28, 1.
	X, Lower, Upper []float32
	Shape           []int
	// Label is the class to leave, Target the class to reach, −1 without one. With AnyClass the target only gives the
	// direction. Classes is how many classes there are.
	Label, Target int32
	AnyClass      bool
	Classes       int
	// Rand is the stream of the example, the same in every batch.
	Rand *rand.Rand
	// Row is the row of the example in its batch, Number its number in its dataset.
	Row    int
	Number int64

	run         *inquest
	normals     normals
	in0         []float32 // the original as the attack is given it
	asked, left int

	best     []float32
	distance float64 // +∞ until there is an adversarial point
	loss     float64

	questions [][]float32 // what it waits for
	answers   []advlib.Answer
	yield     func(struct{}) bool
	next      func() (struct{}, bool)
	stop      func()
	err       error
}

// inquest is what the inquiries of a batch share.
type inquest struct {
	Inquest
	victim   *advlib.Counted
	batch    advlib.Batch
	points   advlib.Points
	compiled bool // a classifier, whose logits depend on the size of the batch by rounding
	lossOf   lossOf
	batches  batches
}

// ended is the panic by which a search ends that has no more questions.
type ended struct{}

// Inquire runs search once for each row of a batch, and returns the best points. This is how attacks are written that
// only ask: for one example, step by step, as their paper has them, without a thought for other examples, for budgets
// or for errors. This one takes the best that a bisection from a random point finds:
//
//	func (a Halving) Perturb(ctx context.Context, v *advlib.Counted, b advlib.Batch) (*tensors.Tensor, error) {
//		a, err := craft.Ready(a, v, b)
//		if err != nil {
//			return nil, err
//		}
//		return craft.Inquire(ctx, v, b, craft.Inquest{Norm: a.Norm, Queries: a.Queries}, func(q *craft.Inquiry) {
//			far := noise(q) // between q.Lower and q.Upper, drawn from q.Rand
//			for !q.Is(far) {
//				far = noise(q)
//			}
//			for lo, hi := 0., 1.; hi-lo > 1e-4; {
//				if mid := (lo + hi) / 2; q.Is(q.Clip(between(q.X, far, mid))) {
//					hi = mid
//				} else {
//					lo = mid
//				}
//			}
//		})
//	}
//
// The searches of all rows go on side by side. When all of them wait for answers, all their questions go to the victim
// together; a classifier is given padded batches of [advlib.Bucket] sizes, another victim exactly the questions. So an
// example is given what it would be given alone: bit for bit where the victim's answer on an input does not depend on
// the others of its batch, as that of a Go function or of an endpoint; of a compiled classifier, up to the rounding of
// its logits.
//
// Each question counts for its example, and a search whose budget is used up ends where it asks. Of several points that
// are asked about at once, those that the budget still allows are asked about first. What is returned is the best point
// that was ever asked about: of an Inquest with a Norm the nearest adversarial one, in a Ball an adversarial one or
// else that of the highest loss; the original, if there is none. A rejection, and scores that are not finite, are not
// adversarial, and their loss is −∞.
//
// Which points are asked about must not depend on the budget: then a run with 1000 queries is the beginning of one with
// 5000. An error of the victim, and the end of ctx, end all searches; the best points so far come with the error.
func Inquire(
	ctx context.Context, v *advlib.Counted, b advlib.Batch, c Inquest, search func(q *Inquiry),
) (*tensors.Tensor, error) {
	run := &inquest{Inquest: c, victim: v, batch: b}
	defer run.batches.free()
	if err := run.prepare(); err != nil {
		return nil, err
	}
	best, early := NewBest(b), 0
	for _, at := range Pieces(b) {
		qs, err := run.piece(ctx, best, at, search)
		for _, q := range qs {
			copy(best.Row(q.Row), run.points.Append(nil, q.best, q.in0))
			if c.Norm != nil && q.left == 0 && !q.found() {
				early++
			}
		}
		if err != nil {
			return best.Tensor(), err
		}
	}
	run.warn(early)
	return best.Tensor(), nil
}

// prepare checks what it was given.
func (r *inquest) prepare() error {
	_, err := advlib.WhiteBox(r.victim)
	r.compiled = err == nil
	switch {
	case (r.Norm == nil) == (r.Ball.Norm == nil):
		return fmt.Errorf("a search by questions has either a norm, which it makes small, or a ball to search in")
	case r.Queries < 1:
		return fmt.Errorf("a search by %d queries: give the budget of each example", r.Queries)
	}
	if r.points, err = r.victim.Signature().Points(); err != nil {
		return err
	}
	if r.Loss == nil {
		return nil
	}
	if err := advlib.GivesScores(r.victim); err != nil {
		return err
	}
	r.lossOf, err = onHost(r.Loss, r.batch.AnyClass)
	return err
}

// warn says where the budget was too small.
func (r *inquest) warn(early int) {
	switch {
	case r.Queries <= 2:
		r.victim.Warn(fmt.Sprintf("a budget of %d queries for each example leaves none for the search: one is the answer on the "+
			"original, another that on the adversarial example", r.Queries))
	case early > 0:
		r.victim.Warn(fmt.Sprintf("the budget of %d queries was used up before the search had a first adversarial example, for %d of "+
			"%d examples: give it more", r.Queries, early, r.batch.Len()))
	}
}

// piece runs the searches of some rows to their end.
func (r *inquest) piece(ctx context.Context, best *Best, at []int, search func(q *Inquiry)) ([]*Inquiry, error) {
	qs := make([]*Inquiry, len(at))
	for i, row := range at {
		qs[i] = r.inquiry(row, best.Row(row), search)
	}
	defer func() {
		for _, q := range qs {
			q.stop()
		}
	}()
	for live := qs; ; {
		live = resume(live)
		for _, q := range qs {
			if q.err != nil {
				return qs, fmt.Errorf("example %d: %w", q.Number, q.err)
			}
		}
		if len(live) == 0 {
			return qs, nil
		}
		if err := ctx.Err(); err != nil {
			return qs, err
		}
		if err := r.ask(ctx, live); err != nil {
			return qs, err
		}
	}
}

// inquiry returns the search for a row, which begins when it is resumed.
func (r *inquest) inquiry(row int, in0 []float32, search func(q *Inquiry)) *Inquiry {
	b := r.batch
	n := newNormals(b.Source(row, r.Stream))
	q := &Inquiry{Shape: r.points.Shape(), Label: b.Y[row], Target: -1, AnyClass: b.AnyClass, Classes: r.victim.Signature().Classes,
		Rand: n.rand, normals: n, Row: row, Number: b.Number(row), run: r,
		in0: slices.Clone(in0), distance: math.Inf(1), loss: math.Inf(-1)}
	if b.Target != nil {
		q.Target = b.Target[row]
	}
	q.X = r.points.Of(q.in0)
	q.best = slices.Clone(q.X)
	q.Lower, q.Upper = r.points.Ends(q.in0)
	q.left = r.victim.Allowance(q.Number, r.Queries)
	q.next, q.stop = iter.Pull(func(yield func(struct{}) bool) {
		q.yield = yield
		defer func() {
			switch p := recover().(type) {
			case nil, ended:
			default:
				q.err = fmt.Errorf("the search panicked, which is a mistake in the attack: %v\n%s", p, debug.Stack())
			}
		}()
		search(q)
	})
	return q
}

// resume lets searches go on to their next question, on all cores, and returns those that have one.
func resume(qs []*Inquiry) []*Inquiry {
	waits := make([]bool, len(qs))
	step := func(i int) { _, waits[i] = qs[i].next() }
	if workers := min(runtime.GOMAXPROCS(0), len(qs)/4); workers < 2 {
		for i := range qs {
			step(i)
		}
	} else {
		var at atomic.Int64
		var wg sync.WaitGroup
		for range workers {
			wg.Go(func() {
				for i := int(at.Add(1)) - 1; i < len(qs); i = int(at.Add(1)) - 1 {
					step(i)
				}
			})
		}
		wg.Wait()
	}
	var live []*Inquiry
	for i, q := range qs {
		if waits[i] {
			live = append(live, q)
		}
	}
	return live
}

// questions are asked about together.
type questions struct {
	of   []int64    // the numbers of the examples
	from []*Inquiry // whose question each row is
	x    *tensors.Tensor
}

// ask asks the victim what the searches wait for. While it answers some, the next are put together.
func (r *inquest) ask(ctx context.Context, qs []*Inquiry) error {
	for _, q := range qs {
		q.answers = q.answers[:0]
	}
	next, stop := make(chan questions), make(chan struct{})
	defer close(stop)
	go func() {
		defer close(next)
		for some := range r.together(qs) {
			select {
			case next <- some:
			case <-stop:
				r.batches.put(some.x)
				return
			}
		}
	}()
	for some := range next {
		answers, err := r.victim.Ask(ctx, some.of, some.x)
		r.batches.put(some.x)
		for k, a := range answers {
			some.from[k].answers = append(some.from[k].answers, a)
		}
		if err != nil {
			for _, q := range qs { // what was answered before is paid for
				q.take(q.questions[:len(q.answers)])
			}
			if errors.Is(err, advlib.ErrBudget) {
				err = fmt.Errorf("the examples of a batch must have different numbers: %w", err)
			}
			return err
		}
	}
	return nil
}

// together yields the questions that searches wait for in batches.
func (r *inquest) together(qs []*Inquiry) iter.Seq[questions] {
	return func(yield func(questions) bool) {
		n := 0
		for _, q := range qs {
			n += len(q.questions)
		}
		dims := slices.Clone(r.batch.X.Shape().Dimensions)
		i, j := 0, 0 // the question, and whose it is
		for size := 0; n > 0; n -= size {
			size = r.size(n)
			if dims[0] = size; r.compiled {
				dims[0] = advlib.Bucket(size)
			}
			some := questions{x: r.batches.take(shapes.Make(r.batch.X.DType(), dims...))}
			tensors.MustMutableFlatData(some.x, func(flat []float32) {
				whole := len(flat)
				flat = flat[:0]
				for len(some.of) < size {
					if i == len(qs[j].questions) {
						i, j = 0, j+1
						continue
					}
					flat = r.points.Append(flat, qs[j].questions[i], qs[j].in0)
					some.of, some.from = append(some.of, qs[j].Number), append(some.from, qs[j])
					i++
				}
				for one := flat[:len(flat)/size]; len(flat) < whole; {
					flat = append(flat, one...) // padding
				}
			})
			if !yield(some) {
				return
			}
		}
	}
}

// batches are tensors that questions are put together in. Those of the sizes that classifiers are given are used again:
// they lie where XLA on a CPU reads them, so that what is written there need not be copied, and no memory is fetched
// from the system, and cleared, for each.
type batches struct {
	mu    sync.Mutex
	spare map[int][]*tensors.Tensor // by the number of rows
	done  bool
}

// take returns a tensor whose content is to be written.
func (b *batches) take(shape shapes.Shape) *tensors.Tensor {
	b.mu.Lock()
	defer b.mu.Unlock()
	rows := shape.Dimensions[0]
	if some := b.spare[rows]; len(some) > 0 {
		b.spare[rows] = some[:len(some)-1]
		return some[len(some)-1]
	}
	return tensors.FromShape(shape)
}

// put gives back what was taken.
func (b *batches) put(x *tensors.Tensor) {
	b.mu.Lock()
	defer b.mu.Unlock()
	rows := x.Shape().Dimensions[0]
	if b.done || rows != advlib.Bucket(rows) {
		advlib.Free(x)
		return
	}
	if b.spare == nil {
		b.spare = map[int][]*tensors.Tensor{}
	}
	b.spare[rows] = append(b.spare[rows], x)
}

// free releases them all, and those that are given back later.
func (b *batches) free() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, some := range b.spare {
		advlib.Free(some...)
	}
	b.spare, b.done = nil, true
}

// size returns how many of n questions are asked at once. A padded batch is at least half full, unless it is the
// smallest.
func (r *inquest) size(n int) int {
	size := advlib.Bucket(n)
	for smaller := advlib.Bucket(size / 4); r.compiled && smaller < size && n <= size/2; smaller = advlib.Bucket(size / 4) {
		size = smaller
	}
	return min(n, size)
}

// found tells whether there is an adversarial point.
func (q *Inquiry) found() bool { return !math.IsInf(q.distance, 1) }

// Left returns how many questions the budget still allows, Asked how many were asked.
func (q *Inquiry) Left() int  { return q.left }
func (q *Inquiry) Asked() int { return q.asked }

// Clip moves x to where it may be asked about, and returns it: between Lower and Upper, then to an input that the
// victim's domain admits, whole numbers say. With a Norm that is the nearest one; with a Ball one on the way from the
// original, and what rounding has moved out of the ball is pulled inside.
func (q *Inquiry) Clip(x []float32) []float32 {
	lower, upper := q.Lower[:len(x)], q.Upper[:len(x)]
	for j, v := range x {
		x[j] = min(max(v, lower[j]), upper[j]) // without branches: noise is on either side, and nobody can guess which
	}
	return q.settle(x)
}

// settle moves x, which is between Lower and Upper, to an input that the victim's domain admits, and into the ball.
func (q *Inquiry) settle(x []float32) []float32 {
	q.run.points.Snap(x, q.in0, q.run.Norm != nil)
	if q.run.Norm == nil {
		q.run.Ball.Pull(x, q.X)
	}
	return x
}

// Step sets p to x + s·v/l, clipped as by [Inquiry.Clip], and returns it: a step of length s, if v is l long. Searches
// that ask about much noise spend much of their time here.
func (q *Inquiry) Step(p, x []float32, s float64, v []float64, l float64) []float32 {
	p, x, lower, upper := p[:len(v)], x[:len(v)], q.Lower[:len(v)], q.Upper[:len(v)]
	for j, d := range v {
		p[j] = min(max(float32(float64(x[j])+s*(d/l)), lower[j]), upper[j])
	}
	return q.settle(p)
}

// Normals fills u with standard normal numbers, and returns the sum of their squares. They are those that
// q.Rand.NormFloat64 would return one after the other, in less time.
func (q *Inquiry) Normals(u []float64) (squares float64) { return q.normals.fill(u) }

// PointOf returns the point of another input of the victim, flat and as its user has it, such as another example: moved
// to where it may be asked about.
func (q *Inquiry) PointOf(in []float32) []float32 { return q.Clip(q.run.points.OfInput(in)) }

// Distance returns how far x is from the original, in the norm of the Inquest and the units of the domain.
func (q *Inquiry) Distance(x []float32) float64 {
	if q.run.Norm == nil {
		return q.run.Ball.Norm.Distance(x, q.X)
	}
	return q.run.points.Distance(q.run.Norm, x, q.in0)
}

// Best returns the best point so far, to be read only until the next question, and its distance; ok tells whether it is
// adversarial. If it is not, it is the point of the highest loss, or the original.
func (q *Inquiry) Best() (x []float32, distance float64, ok bool) {
	return q.best, q.distance, q.found()
}

// Is asks whether x is adversarial. In a compiled classifier it is only if its logits say so by more than rounding
// explains.
func (q *Inquiry) Is(x []float32) bool { return q.Reached(q.Answers([][]float32{x})[0]) }

// Are asks which of several points are adversarial, at once. Ask about all points together that do not depend on each
// other's answers, but about no more than some hundred: they are in memory for all examples.
func (q *Inquiry) Are(xs [][]float32) []bool {
	is := make([]bool, len(xs))
	for i, a := range q.Answers(xs) {
		is[i] = q.Reached(a)
	}
	return is
}

// Losses asks for the losses of several points at once: higher is nearer to the goal.
func (q *Inquiry) Losses(xs [][]float32) []float64 {
	if q.run.Loss == nil {
		panic(errors.New("losses are asked for, and which is not said"))
	}
	L := make([]float64, len(xs))
	for i, a := range q.Answers(xs) {
		L[i] = q.Loss(a)
	}
	return L
}

// Answers asks about several points at once. All other questions come down to this one. It does not return when the
// search ends with it: when the budget allows only some of the points, or one of them is adversarial in the Ball. The
// points must not be changed before it returns.
func (q *Inquiry) Answers(xs [][]float32) []advlib.Answer {
	if len(xs) == 0 {
		return nil
	}
	q.questions = xs[:min(len(xs), q.left)]
	for _, x := range q.questions {
		q.check(x)
	}
	if q.err != nil || len(q.questions) == 0 || !q.yield(struct{}{}) {
		panic(ended{})
	}
	q.take(q.questions)
	if len(q.questions) < len(xs) || q.run.Norm == nil && q.found() {
		panic(ended{})
	}
	return slices.Clone(q.answers)
}

// check refuses a point that the victim does not take.
func (q *Inquiry) check(x []float32) {
	if len(x) != len(q.X) {
		panic(fmt.Sprintf("a question of %d numbers about an input of shape %v", len(x), q.Shape))
	}
	lower, upper := q.Lower[:len(x)], q.Upper[:len(x)]
	for j, v := range x {
		if !(v >= lower[j] && v <= upper[j]) {
			panic(fmt.Sprintf("a question with %g at position %d, which may be from %g to %g: Clip a point before it is asked about", v, j,
				q.Lower[j], q.Upper[j]))
		}
	}
}

// take counts answered questions, and remembers the best.
func (q *Inquiry) take(xs [][]float32) {
	for i, x := range xs {
		q.asked++
		q.left--
		a := q.answers[i]
		switch is := q.Reached(a); {
		case q.run.Norm != nil:
			if is {
				if d := q.Distance(x); d < q.distance {
					q.keep(x, d, len(xs)-1-i)
				}
			}
		case q.run.Ball.Norm.Distance(x, q.X) > q.run.Ball.Radius:
		default:
			L := math.Inf(-1)
			if q.run.lossOf != nil {
				L = q.Loss(a)
			}
			switch {
			case is && (!q.found() || L > q.loss):
				q.loss = L
				q.keep(x, q.Distance(x), len(xs)-1-i)
			case !q.found() && L > q.loss:
				q.loss = L
				copy(q.best, x)
			}
		}
	}
}

// keep takes an adversarial point at distance d as the best; so many of the questions that were asked with it came
// later.
func (q *Inquiry) keep(x []float32, d float64, later int) {
	q.distance = d
	copy(q.best, x)
	q.run.victim.Found(q.Number, d, later)
}

// Reached tells whether an answer reaches the goal, as [Inquiry.Is] does: for searches that look at the class, too.
func (q *Inquiry) Reached(a advlib.Answer) bool {
	if !q.run.batch.ReachedBy(q.Row, a) {
		return false
	}
	if !q.run.compiled {
		return true
	}
	beyond, most := 0., 0.
	if q.Target < 0 || q.AnyClass {
		beyond = maxExcept(a.Scores, q.Label) - float64(a.Scores[q.Label])
	} else {
		beyond = float64(a.Scores[q.Target]) - maxExcept(a.Scores, q.Target)
	}
	for _, v := range a.Scores {
		most = max(most, math.Abs(float64(v)))
	}
	return beyond > rounding*most
}

// Loss returns the loss of an answer, −∞ where there is none: for searches that look at the scores, too.
func (q *Inquiry) Loss(a advlib.Answer) float64 {
	z := a.Logits(q.Classes)
	if z == nil {
		return math.Inf(-1)
	}
	L, err := q.run.lossOf(z, q.Label, q.Target)
	if err != nil {
		panic(fmt.Errorf("the loss %v: %w", q.run.Loss, err))
	}
	if math.IsNaN(L) {
		return math.Inf(-1)
	}
	return L
}
