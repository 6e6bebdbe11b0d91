package attack

import (
	"context"
	"fmt"
	"math"
	"slices"

	. "advlab/advlib/internal/equation"

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
// The number of draws is measured: enough that the mean of the gradients is off by at most half of its length.
type EOT struct {
	// Attack is what is run.
	Attack advlib.Attack
	// Samples is the number of draws in each step; 0 means as many as the variance of the gradients asks for, at most 64.
	Samples int
}

// Describe implements [craft.Described].
func (a *EOT) Describe(d *craft.Description) {
	d.Paper("Athalye et al. 2018, arXiv:1707.07397")
	d.Count(&a.Samples, 0)
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

type eotKey struct{ samples int }

// Perturb implements [advlib.Attack].
func (a EOT) Perturb(ctx context.Context, v *advlib.Counted, b advlib.Batch) (*tensors.Tensor, error) {
	n := a.Samples
	if n == 0 {
		var err error
		if n, err = a.Measure(ctx, v, b); err != nil {
			if ctx.Err() == nil {
				return nil, err
			}
			return craft.NewBest(b).Tensor(), err
		}
	}
	c, err := advlib.WhiteBox(v)
	if err != nil { // then the mean is taken outside of any graph
		return a.Attack.Perturb(ctx, v.Draws(n), b)
	}
	mean, err := c.Derive(eotKey{n}, fmt.Sprintf("%s, mean of %d draws", c.Name(), n), func(m *advlib.Model, x *Node) *Node {
		sum := m.Logits(x)
		for range n - 1 {
			sum = Add(sum, m.Logits(x))
		}
		return DivScalar(sum, float64(n))
	})
	if err != nil {
		return nil, err
	}
	return a.Attack.Perturb(ctx, v.On(mean), b)
}

// Constants of Measure.
const (
	eotDraws = 16  // gradients that are measured at each example
	eotRows  = 32  // examples
	eotError = 0.5 // of the mean gradient, relative to its length
	eotMost  = 64  // samples
)

// eotMargin is what is measured of a victim without a graph.
type eotMargin struct{}

func (eotMargin) graph(p *craft.Point, _ []*Node) []*Node {
	return []*Node{advlib.Margin.Of(p.Logits(p.X0), p.Goal)}
}

type eotGradient struct{}

func (eotGradient) graph(p *craft.Point, _ []*Node) []*Node {
	return []*Node{p.Gradient(advlib.Margin.Of(p.Logits(p.X0), p.Goal), p.X0)}
}

// Measure returns how many draws the mean gradient of the margin needs at the originals: with v the variance of a
// gradient, summed over its coordinates, and s the squared length of the expected one, both estimated from 16 draws,
// the smallest n with v/n ≤ s/4; the median over at most 32 examples, as a power of two, so that few numbers are
// compiled for. It is 1 where nothing is random. Of a victim without a graph it is the same of the margin itself in
// place of its gradient.
func (a EOT) Measure(ctx context.Context, v *advlib.Counted, b advlib.Batch) (int, error) {
	step, size := craft.Compile(v, b, eotGradient{}, eotGradient{}.graph), b.X.Shape().Size()/b.Len()
	if _, err := advlib.WhiteBox(v); err != nil {
		step, size = craft.Compile(v, b, eotMargin{}, eotMargin{}.graph), 1
	}
	rows := craft.Pieces(b)[0]
	rows = rows[:min(len(rows), eotRows)]
	g := craft.NewRows(b, rows)
	defer g.Free()
	sum, squares := make([]float64, len(rows)*size), make([]float64, len(rows))
	for range eotDraws {
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
				squares[i/size] += v * v
			}
		})
		advlib.Free(out...)
	}
	need := make([]float64, len(rows))
	for i := range need {
		mean := 0. // squared length of the mean
		for _, v := range sum[i*size : (i+1)*size] {
			mean += v * v / (eotDraws * eotDraws)
		}
		variance := max(0, squares[i]-eotDraws*mean) / (eotDraws - 1)
		signal := mean - variance/eotDraws
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
