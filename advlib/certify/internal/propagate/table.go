package propagate

import (
	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	. "github.com/gomlx/gomlx/core/graph"
)

// The rows of a layer's neurons begin with a single number that is not 0 each, and up to the first operation that is
// not affine what becomes of it is the same for every example: a row of a layer's weights. A table holds it for each
// neuron, and rows are picked from it instead of being multiplied with all weights.

// fewest is the size of weights for which a table of whole rows is worth a program of its own.
const fewest = 1 << 16

// AffineWay returns the units on the way back from start as long as there is one way, of affine operations.
func (w *Walk) AffineWay(start *Node) (units []*Unit) {
	for u := w.unitOf[start.Id()]; u != nil && len(u.perturbed) == 1 && u.Rule.Affine(); u = w.unitOf[u.Only().Id()] {
		units = append(units, u)
	}
	return units
}

// Tabled tells whether rows of start are picked from a table, if they have no patches.
func (w *Walk) Tabled(start *Node) bool {
	for _, u := range w.AffineWay(start) {
		if u.Node.Type() == NodeTypeDotGeneral && u.Inputs[1-u.perturbed[0]].Shape().Size() >= fewest {
			return true
		}
	}
	return false
}

// Table returns the node at the end of the affine way from start, and Λ there for each coordinate of start. The model
// is built on as many examples as start has coordinates.
func (w *Walk) Table(start *Node) (end, table *Node) {
	size := w.x.Shape().Dimensions[0]
	end, table = start, Reshape(identity(start, size), start.Shape().Dimensions...)
	for _, u := range w.AffineWay(start) {
		parts, _ := u.Rule.Backward(w, u, table, nil)
		end, table = u.Only(), parts[u.perturbed[0]]
	}
	return end, table
}

// Table is the same for patches, up to the first convolution: behind it rows differ by what lies outside of the image.
func (r *receptive) Table(w *Walk, start *Node) (end, table *Node) {
	p := r.Of[start.Id()]
	end, table = start, Reshape(identity(start, p.Numbers()), p.Dims(p.Numbers())...)
	for _, u := range w.AffineWay(start) {
		switch rule := u.Rule.(type) {
		case sum:
			if rule.sign(u.Node, u.perturbed[0]) < 0 {
				table = Neg(table)
			}
			end = u.Only()
			continue
		case product:
			if Unfolded(u.Node) {
				return u.Only(), convolveBack(u.Node, table)
			}
		}
		break
	}
	return end, table
}

func identity(n *Node, size int) *Node {
	return OneHot(Iota(n.Graph(), shapes.Make(dtypes.Int32, size), 0), size, n.DType())
}

// Picked returns rows of a table, with signs.
func Picked(table, at, sign *Node) *Node {
	flat := Reshape(table, table.Shape().Dimensions[0], -1)
	return Mul(Gather(flat, InsertAxes(at, -1)), InsertAxes(sign, -1))
}
