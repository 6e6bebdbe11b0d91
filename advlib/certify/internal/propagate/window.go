package propagate

import (
	"fmt"

	"github.com/gomlx/compute"
	. "github.com/gomlx/gomlx/core/graph"
)

const (
	sumWindow = compute.ReduceOpSum
	maxWindow = compute.ReduceOpMax
	minWindow = compute.ReduceOpMin
)

func windowKind(n *Node) compute.ReduceOpType {
	return compute.ReduceOpType(parameter(n, "reductionType").Int())
}

// checkWindow refuses windows that hold several examples, or are dilated.
func checkWindow(n *Node) error {
	size, strides := Integers(n, "windowDimensions"), Integers(n, "strides")
	if size[0] != 1 || len(strides) > 0 && strides[0] != 1 || padding(n, 0) != [2]int{} {
		return fmt.Errorf("its window holds several examples: pool over axes behind the batch only")
	}
	for _, name := range []string{"inputDilations", "windowDilations"} {
		for _, d := range Integers(n, name) {
			if d != 1 {
				return fmt.Errorf("its %s are %v: only pooling without dilation can be bounded", name, Integers(n, name))
			}
		}
	}
	count := 1
	for _, d := range size {
		count *= d
	}
	if count > 1024 {
		return fmt.Errorf("its window has %d elements: at most 1024 can be bounded; for a global mean use ReduceMean", count)
	}
	return nil
}

// padding returns how far the operation pads an axis, counted as its parameters are.
func padding(n *Node, axis int) (p [2]int) {
	v := parameter(n, "paddings")
	if v.Len() > 0 {
		p[0], p[1] = int(v.Index(axis).Index(0).Int()), int(v.Index(axis).Index(1).Int())
	}
	return p
}

// window is one place in the windows of a pooling operation: for every window, the element that stands there.
type window struct {
	n      *Node
	offset []int
}

// windows lists the places.
func windows(n *Node) (all []window) {
	offsets := [][]int{{}}
	for _, d := range Integers(n, "windowDimensions") {
		var longer [][]int
		for _, o := range offsets {
			for i := range d {
				longer = append(longer, append(append([]int{}, o...), i))
			}
		}
		offsets = longer
	}
	for _, o := range offsets {
		all = append(all, window{n, o})
	}
	return all
}

func (w window) stride(axis int) int {
	if s := Integers(w.n, "strides"); len(s) > 0 {
		return s[axis]
	}
	return Integers(w.n, "windowDimensions")[axis]
}

// of returns the elements of v, in the shape of the pooling's input, that stand at the place, in the shape of its
// result.
func (w window) of(v *Node, fill *Node) *Node {
	var pads []PadAxis
	for axis := range v.Rank() {
		p := padding(w.n, axis)
		pads = append(pads, PadAxis{Start: p[0], End: p[1]})
	}
	return w.among(Pad(v, fill, pads...), w.n.Shape().Dimensions)
}

// among is of for a result of the given dimensions, and the padded elements that all its windows cover.
func (w window) among(v *Node, dims []int) *Node {
	var ranges []SliceAxisSpec
	for axis, out := range dims {
		s := w.stride(axis)
		ranges = append(ranges, AxisRange(w.offset[axis], w.offset[axis]+(out-1)*s+1).Stride(s))
	}
	return Slice(v, ranges...)
}

// back is the transpose of of, for outputs that follow each other, to the padded elements that all windows of these
// cover.
func (w window) back(v *Node) *Node {
	pads := make([]PadAxis, v.Rank())
	for axis, size := range Integers(w.n, "windowDimensions") {
		pads[axis] = PadAxis{Start: w.offset[axis], End: size - 1 - w.offset[axis], Interior: w.stride(axis) - 1}
	}
	return Pad(v, ScalarZero(v.Graph(), v.DType()), pads...)
}

// pooling is embedded by rules for ReduceWindow.
type pooling struct{}

func (pooling) Windows(u *Unit) (axes []int) {
	first := window{n: u.Node}
	for axis, size := range Integers(u.Node, "windowDimensions") {
		if size > 1 || first.stride(axis) > 1 || padding(u.Node, axis) != [2]int{} {
			axes = append(axes, axis)
		}
	}
	return axes
}

func (pooling) Reach(u *Unit, _ int, p Patch) Patch {
	from := make(Patch, len(p))
	size := Integers(u.Node, "windowDimensions")
	for i, e := range p {
		s := window{n: u.Node}.stride(i + 1)
		from[i] = extent{e.Stride * s, e.First*s - padding(u.Node, i+1)[0], (e.size-1)*s + size[i+1]}
	}
	return from
}

// unpadded takes what stands for padded elements of the input to its shape.
func (pooling) unpadded(u *Unit, parts map[int]*Node) map[int]*Node {
	cut := make([][2]int, u.Node.Rank())
	for axis := range cut {
		cut[axis] = padding(u.Node, axis)
	}
	return map[int]*Node{0: unpadded(parts[0], u.Inputs[0].Shape().Dimensions, cut)}
}
