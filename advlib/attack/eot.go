package attack

import (
	"context"
	"fmt"
	"math"
	"slices"

	. "advlab/advlib/internal/equation"

	"github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"

	"advlab/advlib"
	"advlab/advlib/attack/craft"
)

func init() { register[EOT](Wrapper) }

// EOT runs an attack on the expectation over the randomness of a classifier (advlib.Spec.Random): expectation over
// transformation of Athalye et al. (2018), arXiv:1707.07397, section 2.1, and arXiv:1802.00420, section 4.2. Each step
// averages the logits of several draws, so that the gradient of the margin, and of any other difference of logits, is
// the mean of the gradients.
//
// The number of draws is measured, of a classifier from 1 on, doubled until
//
//   - two independent means of gradients point the same way: their cosine is at least 0.8, in the mean over examples;
//   - twice as many find no more: robust accuracies at n and 2n draws, by fresh draws, differ by less than a point.
//
// At 128 it ends, and a warning says so. Give it an attack that goes on past the first adversarial point, such as PGD
// with KeepGoing: there, where the mean just crosses the boundary, half of the draws have not.
type EOT struct {
	// Attack is what is run.
	Attack advlib.Attack
	// Probabilities takes the mean of the draws' probabilities, and its logarithm for logits, in place of the mean of the
	// logits: then draws that are far behind the boundary weigh no more than others, as they do where the share of draws
	// is what counts. It is the gradient of Salman et al. (2019), arXiv:1906.04584, equation 6. It needs a graph.
	Probabilities bool
	// Samples is the number of draws in each step; 0 means as many as are measured to be needed, at most 128.
	Samples int
}

// Describe implements [craft.Described].
func (a *EOT) Describe(d *craft.Description) {
	d.Paper("Athalye et al. 2018, arXiv:1707.07397")
	d.Count(&a.Samples, 0)
	d.Flag(&a.Probabilities, "of probabilities")
	if a.Samples == 0 {
		d.Name("%s, EOT", nameOf(a.Attack))
		d.PassesOf(1, 0, 0, false) // how many samples are drawn is not known before
	} else {
		d.Name("%s, EOT %d", nameOf(a.Attack), a.Samples)
	}
	d.Runs(a.Attack, a.Samples, "to run on the expectation")
}

// String returns for example "PGD-40 Linf ≤ 0.1, EOT 20".
func (a EOT) String() string { return craft.Name(a) }

// Threat implements [advlib.Attack].
func (a EOT) Threat(v advlib.Victim) (advlib.Threat, error) { return craft.Threat(a, v) }

// Plan implements [advlib.Planner].
func (a EOT) Plan(v advlib.Victim) (forward, backward float64, known bool) { return craft.Plan(a, v) }

type eotKey struct {
	samples              int
	byRow, probabilities bool
}

// Perturb implements [advlib.Attack].
func (a EOT) Perturb(ctx context.Context, v *advlib.Counted, b advlib.Batch) (*tensors.Tensor, error) {
	c, err := advlib.WhiteBox(v)
	switch {
	case a.Samples == 0 && !v.Signature().Random:
		return a.Attack.Perturb(ctx, v, b)
	case err == nil && a.Samples == 0:
		return a.grow(ctx, v, c, b)
	case err == nil:
		return a.with(ctx, v, c, b, a.Samples)
	}
	n := a.Samples // the mean is taken outside of any graph
	if n == 0 {
		if n, err = a.Measure(ctx, v, b); err != nil {
			if ctx.Err() == nil {
				return nil, err
			}
			return craft.NewBest(b).Tensor(), err
		}
	}
	return a.Attack.Perturb(ctx, v.Draws(n), b)
}

// mean returns the classifier whose logits are the mean over n draws.
func (a EOT) mean(c *advlib.Classifier, n int) (*advlib.Classifier, error) {
	byRow, err := c.DrawsByRow()
	if err != nil {
		return nil, err
	}
	return c.Derive(eotKey{n, byRow, a.Probabilities}, fmt.Sprintf("%s, mean of %d draws", c.Name(), n), func(m *advlib.Model, x *Node) *Node {
		if !a.Probabilities {
			return m.Mean(x, n, byRow, nil)
		}
		// In logarithms, as probabilities of 1e-40 are 0 in float32, and then have no gradient.
		return m.Mean(x, n, byRow, logMeanExp)
	})
}

// logMeanExp returns log(Σ exp(log softmax z)/n) of logits z [n, rows, K].
func logMeanExp(z *Node) *Node {
	p := graph.LogSoftmax(z, -1)
	most := StopGradient(graph.ReduceAndKeep(p, graph.ReduceMax, 0))
	mean := graph.ReduceAndKeep(graph.Exp(Sub(p, most)), graph.ReduceMean, 0)
	return graph.Squeeze(Add(graph.Log(mean), most), 0)
}

// with runs the attack on the mean over n draws, on so many examples at once as memory allows.
func (a EOT) with(ctx context.Context, v *advlib.Counted, c *advlib.Classifier, b advlib.Batch, n int) (*tensors.Tensor, error) {
	m, err := a.mean(c, n)
	if err != nil {
		return nil, err
	}
	size := craft.MaxRows
	for size > advlib.Bucket(1) && size*n > eotAtOnce {
		size /= 4 // the next smaller bucket
	}
	if b.Len() <= size {
		return a.Attack.Perturb(ctx, v.On(m), b)
	}
	best := craft.NewBest(b)
	for rows := range slices.Chunk(b.Order(), size) {
		part := b.Select(rows)
		adv, err := a.Attack.Perturb(ctx, v.On(m), part)
		if adv != nil {
			best.Put(rows, adv, nil)
		}
		advlib.Free(part.X)
		if err != nil {
			if ctx.Err() == nil {
				return nil, err
			}
			return best.Tensor(), err
		}
	}
	return best.Tensor(), nil
}

// grow doubles the number of draws until it is enough, by some of the examples, and attacks the others with as many.
func (a EOT) grow(ctx context.Context, v *advlib.Counted, c *advlib.Classifier, b advlib.Batch) (*tensors.Tensor, error) {
	best := craft.NewBest(b)
	end := func(err error) (*tensors.Tensor, error) {
		if err != nil && ctx.Err() == nil {
			return nil, err
		}
		return best.Tensor(), err
	}
	order := b.Order()
	some, others := order[:min(len(order), eotJudged)], order[min(len(order), eotJudged):]
	n, err := a.size(ctx, v, c, b, some, best)
	if err != nil || len(others) == 0 {
		return end(err)
	}
	rest := b.Select(others)
	defer advlib.Free(rest.X)
	adv, err := a.with(ctx, v, c, rest, n)
	if adv != nil {
		best.Put(others, adv, nil)
	}
	return end(err)
}

// size returns how many draws are enough, by some rows of a batch; what the attack has found for them goes into best,
// even if there is an error.
func (a EOT) size(
	ctx context.Context, v *advlib.Counted, c *advlib.Classifier, b advlib.Batch, some []int, best *craft.Best,
) (int, error) {
	n, err := a.Measure(ctx, v, b)
	if err != nil {
		return n, err
	}
	part := b.Select(some)
	defer advlib.Free(part.X)
	left := func(n int) (float64, error) {
		adv, err := a.with(ctx, v, c, part, n)
		if adv != nil {
			best.Put(some, adv, nil)
		}
		if err != nil {
			return 0, err
		}
		return standing(ctx, v, c, part, adv)
	}
	for before, err := left(n); ; {
		if err != nil {
			return n, err
		}
		if n == eotMost {
			v.Warn(fmt.Sprintf("%v: %d draws in each step are not enough, by the gradients or by what twice as many find: the robust "+
				"accuracy may be too high", a, n))
			return n, nil
		}
		var after float64
		if after, err = left(2 * n); err == nil && math.Abs(before-after) < eotPoint {
			return n, nil // what twice as many found is kept
		}
		before, n = after, 2*n
	}
}

// sized returns an attack that is to be run several times: an EOT that measures how many draws it needs does so once,
// here, without a target.
func sized(ctx context.Context, v *advlib.Counted, b advlib.Batch, of advlib.Attack) (advlib.Attack, error) {
	a, ok := of.(EOT)
	if !ok || a.Samples != 0 || !v.Signature().Random {
		return of, nil
	}
	c, err := advlib.WhiteBox(v)
	if err != nil {
		return of, nil // it measures by a few draws, and attacks nothing for it
	}
	order := b.Order()
	a.Samples, err = a.size(ctx, v, c, b, order[:min(len(order), eotJudged)], craft.NewBest(b))
	return a, err
}

// standing is the mean share of draws in which candidates do not reach the goal. The draws are the same each time, so
// that two of them compare, and others than any by which the attack is judged.
func standing(ctx context.Context, v *advlib.Counted, c *advlib.Classifier, b advlib.Batch, adv *tensors.Tensor) (float64, error) {
	if err := c.Store().SetRNGStateFromSeed(b.Rand(0, streamOfSizing).Int64()); err != nil {
		return 0, err
	}
	stands := 0
	for range eotDraws {
		z, err := v.Logits(ctx, adv)
		if err != nil {
			return 0, err
		}
		for i := range z {
			if !b.Reached(i, z[i]) {
				stands++
			}
		}
	}
	return float64(stands) / float64(eotDraws*b.Len()), nil
}

// Constants of the measurement.
const (
	eotCosine = 0.8  // of two independent means
	eotPoint  = 0.01 // of robust accuracy
	eotMost   = 128  // draws
	eotDraws  = 32   // by which the robust accuracy is measured
	eotJudged = 128  // examples
	eotRows   = 32   // examples at which gradients are measured
	eotAtOnce = 4096 // rows of a batch
	eotError  = 0.5  // of the mean margin where there is no gradient, relative to its size

	streamOfSizing = 1 << 61
)

// eotMargin is what is measured of a victim without a graph.
type eotMargin struct{}

func (eotMargin) graph(p *craft.Point, _ []*Node) []*Node {
	return []*Node{advlib.Margin.Of(p.Logits(p.X0), p.Goal)}
}

type eotGradient struct{}

func (eotGradient) graph(p *craft.Point, _ []*Node) []*Node {
	return []*Node{craft.Flat(p.Gradient(advlib.Margin.Of(p.Logits(p.X0), p.Goal), p.X0))}
}

// Measure returns how many draws the mean gradient of the margin needs at the originals: the smallest power of two for
// which two independent means have a cosine of at least 0.8, in the mean over at most 32 examples, and 128 if none has.
// Examples without a gradient do not count. It is 1 where nothing is random, or no gradient is defined.
//
// Of a victim without a graph it is measured by the margin itself: the smallest n for which the mean of n draws is off
// by at most half of its size, in the median over examples.
func (a EOT) Measure(ctx context.Context, v *advlib.Counted, b advlib.Batch) (int, error) {
	c, err := advlib.WhiteBox(v)
	if err != nil {
		return measureMargin(ctx, v, b)
	}
	if !c.Random() || c.Differentiable() != nil {
		return 1, nil
	}
	rows := craft.Pieces(b)[0]
	g := craft.NewRows(b, rows[:min(len(rows), eotRows)])
	defer g.Free()
	for n := 1; n < eotMost; n *= 2 {
		m, err := a.mean(c, n)
		if err != nil {
			return 0, err
		}
		step := craft.Compile(v.On(m), b, eotGradient{}, eotGradient{}.graph)
		var estimates [2][]float32
		for k := range estimates {
			if err := ctx.Err(); err != nil {
				return 0, err
			}
			out, err := g.Ask(step, nil)
			if err != nil {
				return 0, fmt.Errorf("a mean of %d draws of %d examples: %w", n, len(g.At), err)
			}
			estimates[k] = tensors.MustCopyFlatData[float32](out[0])
			advlib.Free(out...)
		}
		if meanCosine(estimates[0], estimates[1], len(g.At), g.Size) >= eotCosine {
			return n, nil
		}
	}
	return eotMost, nil
}

// meanCosine is that between the first rows of two batches of size rows each; 1 if all are 0.
func meanCosine(a, b []float32, rows, size int) float64 {
	sum, count, width := 0., 0, len(a)/size
	for i := range rows {
		var ab, aa, bb float64
		for j := i * width; j < (i+1)*width; j++ {
			ab, aa, bb = ab+float64(a[j])*float64(b[j]), aa+float64(a[j])*float64(a[j]), bb+float64(b[j])*float64(b[j])
		}
		if aa == 0 && bb == 0 {
			continue
		}
		count++
		if aa > 0 && bb > 0 {
			sum += ab / math.Sqrt(aa*bb)
		}
	}
	if count == 0 {
		return 1
	}
	return sum / float64(count)
}

// measureMargin is Measure of a victim that only answers: with v the variance of the margin and s its expected square,
// both estimated from 16 draws, the smallest n with v/n ≤ s/4.
func measureMargin(ctx context.Context, v *advlib.Counted, b advlib.Batch) (int, error) {
	const draws = 16
	step := craft.Compile(v, b, eotMargin{}, eotMargin{}.graph)
	rows := craft.Pieces(b)[0]
	rows = rows[:min(len(rows), eotRows)]
	g := craft.NewRows(b, rows)
	defer g.Free()
	sum, squares := make([]float64, len(rows)), make([]float64, len(rows))
	for range draws {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		out, err := g.Ask(step, nil)
		if err != nil {
			return 0, fmt.Errorf("a draw of %d examples: %w", len(rows), err)
		}
		tensors.MustConstFlatData(out[0], func(flat []float32) {
			for i := range sum {
				v := float64(flat[i])
				sum[i] += v
				squares[i] += v * v
			}
		})
		advlib.Free(out...)
	}
	need := make([]float64, len(rows))
	for i := range need {
		mean := sum[i] * sum[i] / (draws * draws) // its square
		variance := max(0, squares[i]-draws*mean) / (draws - 1)
		signal := mean - variance/draws
		switch {
		case variance <= 1e-9*mean: // rounding
			need[i] = 1
		case signal <= 0:
			need[i] = eotMost
		default:
			need[i] = variance / signal / (eotError * eotError)
		}
	}
	slices.Sort(need)
	n := 1
	for float64(n) < math.Min(need[len(need)/2], eotMost) {
		n *= 2
	}
	return n, nil
}
