package certify

import (
	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	. "github.com/gomlx/gomlx/core/graph"
)

// The rows of a layer's neurons begin with a single number that is not 0 each, and up to the first operation that is not affine
// what becomes of it is the same for every example: a row of a layer's weights. A table holds it for each neuron, and rows
// are picked from it instead of being multiplied with all weights.

// fewest is the size of weights for which a table of whole rows is worth a program of its own.
const fewest = 1 << 16

// affineWay returns the units on the way back from start as long as there is one way, of affine operations.
func (w *walk) affineWay(start *Node) (units []*unit) {
	for u := w.unitOf[start.Id()]; u != nil && len(u.perturbed) == 1 && u.rule.affine(); u = w.unitOf[u.the().Id()] {
		units = append(units, u)
	}
	return units
}

// tabled tells whether rows of start are picked from a table, if they have no patches.
func (w *walk) tabled(start *Node) bool {
	for _, u := range w.affineWay(start) {
		if u.n.Type() == NodeTypeDotGeneral && u.inputs[1-u.perturbed[0]].Shape().Size() >= fewest {
			return true
		}
	}
	return false
}

// table returns the node at the end of the affine way from start, and Λ there for each coordinate of start. The model is built on as
// many examples as start has coordinates.
func (w *walk) table(start *Node) (end, table *Node) {
	size := w.x.Shape().Dimensions[0]
	end, table = start, Reshape(identity(start, size), start.Shape().Dimensions...)
	for _, u := range w.affineWay(start) {
		parts, _ := u.rule.backward(w, u, table, nil)
		end, table = u.the(), parts[u.perturbed[0]]
	}
	return end, table
}

// table is the same for patches, up to the first convolution: behind it rows differ by what lies outside of the image.
func (r *receptive) table(w *walk, start *Node) (end, table *Node) {
	p := r.of[start.Id()]
	end, table = start, Reshape(identity(start, p.numbers()), p.dims(p.numbers())...)
	for _, u := range w.affineWay(start) {
		switch rule := u.rule.(type) {
		case sum:
			if rule.sign(u.n, u.perturbed[0]) < 0 {
				table = Neg(table)
			}
			end = u.the()
			continue
		case product:
			if unfolded(u.n) {
				return u.the(), convolveBack(u.n, table)
			}
		}
		break
	}
	return end, table
}

func identity(n *Node, size int) *Node {
	return OneHot(Iota(n.Graph(), shapes.Make(dtypes.Int32, size), 0), size, n.DType())
}

// picked returns rows of a table, with signs.
func picked(table, at, sign *Node) *Node {
	flat := Reshape(table, table.Shape().Dimensions[0], -1)
	return Mul(Gather(flat, InsertAxes(at, -1)), InsertAxes(sign, -1))
}
