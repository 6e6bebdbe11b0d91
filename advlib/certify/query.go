package certify

import (
	"context"
	"fmt"
	"math"
)

// Query asks for lower bounds of linear functions of a network's outputs over regions of its inputs.
type Query struct {
	Regions Regions
	// Rows are the specification: Rows[i] are the linear functions of the K outputs for region i, all of one number S ≥ 1.
	// With one entry only it is for every region.
	Rows [][][]float64
	// Slopes asks for Answer.Slopes.
	Slopes bool
	// Enough, if it is not nil, has for each of the S rows what its bound needs to exceed: [AlphaCROWN] leaves a bound
	// alone once it does.
	Enough []float64
}

// Answer holds lower bounds for the regions and rows of a [Query].
type Answer struct {
	// Lower[i][s] ≤ ⟨Rows[i][s], f(x')⟩ for all x' in region i, where f is the network in the arithmetic that
	// Method.Rounding names. -Inf means that nothing could be shown; it is never NaN.
	Lower [][]float64
	// Slack[i][s] is what rounding took from the bound in its last pass.
	Slack [][]float64
	// Slopes[i][s] is Λ with ⟨Rows[i][s], f(x')⟩ ≥ ⟨Λ, x'⟩ + constant in the region, one number for each coordinate of the
	// input: how much each moves the bound. It is zero where IBP stops at an operation that is not affine.
	Slopes [][][]float64
	// Method is what was asked for.
	Method Method
}

// Bound bounds all rows over all regions.
func (n *Network) Bound(ctx context.Context, q Query, m Method) (*Answer, error) {
	a, err := n.bound(ctx, q, m)
	if err != nil {
		return nil, fmt.Errorf("certify: %v: model %q: %w", m, n.model.Name, err)
	}
	return a, nil
}

func (n *Network) bound(ctx context.Context, q Query, m Method) (*Answer, error) {
	if err := n.check(q, m); err != nil {
		return nil, err
	}
	if m.best {
		return n.bestOf(ctx, q, m)
	}
	regions := q.Regions
	if m.rounding != RealArithmetic {
		regions = regions.outward()
	}
	q.Regions = regions
	c, err := n.small(q, m)
	if err != nil {
		return nil, err
	}
	if c == nil {
		return n.general(ctx, q, m)
	}
	a, err := byChain(ctx, c, q, m)
	if err != nil || !m.tuned {
		return a, err
	}
	// What is not enough yet is tuned, and may be better than what both begin with, or worse by rounding.
	var left []int
	for i, row := range a.Lower {
		for s, v := range row {
			if q.Enough == nil || !(v > q.Enough[s]) {
				left = append(left, i)
				break
			}
		}
	}
	if len(left) == 0 {
		return a, nil
	}
	some := q
	some.Regions = regions.Select(left)
	if len(q.Rows) > 1 {
		some.Rows = nil
		for _, i := range left {
			some.Rows = append(some.Rows, q.Rows[i])
		}
	}
	tuned, err := n.general(ctx, some, m)
	if err != nil {
		return nil, err
	}
	for k, i := range left {
		a.better(i, tuned, k)
	}
	return a, nil
}

// better takes over bounds of region k of another answer for region i where they are larger: both hold.
func (a *Answer) better(i int, other *Answer, k int) {
	for s, v := range other.Lower[k] {
		if v > a.Lower[i][s] {
			a.Lower[i][s], a.Slack[i][s] = v, other.Slack[k][s]
			if a.Slopes != nil {
				a.Slopes[i][s] = other.Slopes[k][s]
			}
		}
	}
}

// general bounds by graphs, whatever the model.
func (n *Network) general(ctx context.Context, q Query, m Method) (*Answer, error) {
	answer, regions := &Answer{Method: m}, q.Regions
	for first := 0; first < regions.Len(); {
		size := n.batch(regions.Len()-first, m)
		which := make([]int, min(size, regions.Len()-first))
		for i := range which {
			which[i] = first + i
		}
		part := regions.Select(which)
		rows := make([][][]float64, len(which))
		for i := range rows {
			rows[i] = q.Rows[0]
			if len(q.Rows) > 1 {
				rows[i] = q.Rows[which[i]]
			}
		}
		r := n.begin(ctx, m, part, size)
		r.slopes, r.enough = q.Slopes, q.Enough
		err := r.answer(rows, answer)
		r.close()
		if err != nil {
			return nil, err
		}
		first += len(which)
	}
	return answer, nil
}

// bestOf takes the largest of the bounds by all lower lines and by IBP: each of them holds.
func (n *Network) bestOf(ctx context.Context, q Query, m Method) (*Answer, error) {
	m.best = false
	var best *Answer
	methods := []Method{{rounding: m.rounding, withoutBox: m.withoutBox}}
	for l := Adaptive; l <= SameSlope; l++ {
		methods = append(methods, m.WithLine(l))
	}
	for _, method := range methods {
		a, err := n.bound(ctx, q, method)
		if err != nil {
			return nil, err
		}
		if best == nil {
			best = a
			continue
		}
		for i := range a.Lower {
			best.better(i, a, i)
		}
	}
	m.best = true
	best.Method = m
	return best, nil
}

// check refuses a query before anything is compiled.
func (n *Network) check(q Query, m Method) error {
	if err := q.Regions.check(n.Size()); err != nil {
		return err
	}
	if len(q.Rows) != 1 && len(q.Rows) != q.Regions.Len() {
		return fmt.Errorf("there are rows for %d regions, and %d regions: give rows for each, or one entry for all", len(q.Rows), q.Regions.Len())
	}
	for i, rows := range q.Rows {
		if len(rows) == 0 || len(rows) != len(q.Rows[0]) {
			return fmt.Errorf("region %d has %d rows, the first %d: give as many for each, at least one", i, len(rows), len(q.Rows[0]))
		}
		for s, row := range rows {
			if len(row) != n.outputs {
				return fmt.Errorf("row %d of region %d has %d numbers, the network has %d outputs", s, i, len(row), n.outputs)
			}
			for _, v := range row {
				if math.IsNaN(v) || math.IsInf(v, 0) {
					return fmt.Errorf("row %d of region %d has %g: it must be finite", s, i, v)
				}
			}
		}
	}
	if q.Enough != nil && len(q.Enough) != len(q.Rows[0]) {
		return fmt.Errorf("Enough has %d numbers, there are %d rows: give one for each", len(q.Enough), len(q.Rows[0]))
	}
	if err := m.alpha.check(); err != nil {
		return err
	}
	if err := n.fits(m.tuned); err != nil {
		return err
	}
	return n.checkArithmetic(m.rounding)
}
