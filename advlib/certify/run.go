package certify

import (
	"context"
	"math"

	"github.com/gomlx/gomlx/core/tensors"

	"advlab/advlib"
	"advlab/advlib/certify/internal/propagate"
)

// run bounds the rows of one batch of regions by graphs.
type run struct {
	ctx     context.Context
	n       *Network
	m       Method
	regions Regions
	size    int               // how many regions there are with those that pad the batch
	slopes  bool              // as Query.Slopes
	enough  []float64         // as Query.Enough
	region  []*tensors.Tensor // the regions, padded, on the device

	// What the last pass forward found: its results on the device, of which layout says what they are, and on the host
	// where it is worth tightening a boundary, by the boundary's node.
	layout *propagate.Layout
	found  []*tensors.Tensor
	open   map[int][]float64
}

// begin puts regions on the device. The run is to be closed.
func (n *Network) begin(ctx context.Context, m Method, regions Regions, size int) *run {
	return &run{ctx: ctx, n: n, m: m, regions: regions, size: size, region: n.regionTensors(regions, size)}
}

// close takes off the device what the run has there.
func (r *run) close() {
	advlib.Free(r.region...)
	advlib.Free(r.found...)
}

// regionTensors are the inputs of a graph that describe regions, padded to a batch of the given size.
func (n *Network) regionTensors(regions Regions, size int) []*tensors.Tensor {
	centre, radius := regions.Lower, make([]float64, size)
	if regions.Norm != nil {
		centre = regions.Centre
		copy(radius, regions.Radius)
	}
	return []*tensors.Tensor{
		stack(regions.Lower, size, n.model.Input), stack(regions.Upper, size, n.model.Input), stack(centre, size, n.model.Input),
		tensors.FromFlatDataAndDimensions(radius, size), tensors.FromScalar(propagate.NormCode(regions.Norm)),
	}
}

// stack puts rows of numbers together as [size, d...]; behind the given rows the first is repeated.
func stack(rows [][]float64, size int, dims []int) *tensors.Tensor {
	per := len(rows[0])
	flat := make([]float64, size*per)
	for i := range size {
		row := rows[0]
		if i < len(rows) {
			row = rows[i]
		}
		copy(flat[i*per:], row)
	}
	return tensors.FromFlatDataAndDimensions(flat, append([]int{size}, dims...)...)
}

// answer bounds the rows of each region, and appends what came out to an answer.
func (r *run) answer(rows [][][]float64, answer *Answer) error {
	known := map[int]*span{}
	if err := r.intervals(known); err != nil {
		return err
	}
	var items []item
	for i := range rows {
		for s, row := range rows[i] {
			items = append(items, item{example: i, row: row, place: s})
		}
	}
	results, err := r.back(outputs, items)
	if err != nil {
		return err
	}
	if r.m.tuned {
		if err := r.tune(known, items, results); err != nil {
			return err
		}
	}
	S := len(rows[0])
	for i := range rows {
		lower, slack, slopes := make([]float64, S), make([]float64, S), make([][]float64, S)
		for s := range S {
			res := results[i*S+s]
			lower[s], slack[s], slopes[s] = res.lower, res.slack, res.slope
		}
		answer.Lower, answer.Slack = append(answer.Lower, lower), append(answer.Slack, slack)
		if r.slopes {
			answer.Slopes = append(answer.Slopes, slopes)
		}
	}
	return nil
}

// span is the interval of each coordinate of a boundary, for all regions of a batch, on the host. An infinite end is
// not known.
type span struct {
	lower, upper []float64
	per          int   // numbers for each region
	dims         []int // the boundary's shape for one region
}

// unknown is a span that says nothing.
func unknown(b boundary, size int) *span {
	k := &span{per: propagate.SizeOf(b.dims), dims: b.dims}
	k.lower, k.upper = make([]float64, k.per*size), make([]float64, k.per*size)
	for i := range k.lower {
		k.lower[i], k.upper[i] = math.Inf(-1), math.Inf(1)
	}
	return k
}

// of returns the span of other regions: the last of those that are asked for is repeated up to the size.
func (k *span) of(regions []int, size int) *span {
	s := &span{per: k.per, dims: k.dims, lower: make([]float64, k.per*size), upper: make([]float64, k.per*size)}
	for i := range size {
		from := regions[min(i, len(regions)-1)] * k.per
		copy(s.lower[i*k.per:(i+1)*k.per], k.lower[from:])
		copy(s.upper[i*k.per:(i+1)*k.per], k.upper[from:])
	}
	return s
}

// intervals computes intervals and lines of all units, as the method has them, and notes those of boundaries that it
// tightens.
func (r *run) intervals(known map[int]*span) error {
	if err := r.forward(known); err != nil || r.m.kind != crown {
		return err
	}
	return r.improve(known, func(node int, items []item, _ []result) ([]result, error) { return r.back(node, items) })
}

// improve replaces the bounds of each boundary's open coordinates by what better makes of them, from the input on, and
// computes what lies behind anew. better is given the boundary's node, both ends of its open coordinates, and their
// bounds in known.
func (r *run) improve(known map[int]*span, better func(node int, items []item, results []result) ([]result, error)) error {
	for _, b := range r.n.boundaries {
		if b.exact && r.regions.Norm != advlib.L1 {
			continue
		}
		open, k := r.open[b.node], known[b.node]
		var items []item
		var results []result
		for i := range r.regions.Len() {
			for at, v := range open[i*k.per : (i+1)*k.per] {
				if v > 0 {
					items = append(items, item{example: i, at: at, sign: 1}, item{example: i, at: at, sign: -1})
					results = append(results, result{lower: k.lower[i*k.per+at]}, result{lower: -k.upper[i*k.per+at]})
				}
			}
		}
		if len(items) == 0 {
			continue
		}
		results, err := better(b.node, items, results)
		if err != nil {
			return err
		}
		for j, it := range items {
			at := it.example*k.per + it.at
			if it.sign > 0 {
				k.lower[at] = results[j].lower
			} else {
				k.upper[at] = -results[j].lower
			}
		}
		if err := r.forward(known); err != nil {
			return err
		}
	}
	return nil
}
