package advlib

import (
	"slices"
	"testing"

	"github.com/gomlx/gomlx/core/tensors"
)

// The pieces of the data that attacks are run on are whole batches, in the order in which all would be attacked at
// once.
func TestPieces(t *testing.T) {
	const n, size, batch = 100, 3, 8
	flat := make([]float32, n*size)
	for i := range flat {
		flat[i] = float32(i * i % 97)
	}
	e := &Examples{Name: "squares", X: tensors.FromFlatDataAndDimensions(flat, n, size), Y: make([]int32, n)}
	var all, half []int
	for i := range n {
		if all = append(all, i); i%2 == 0 {
			half = append(half, i)
		}
	}
	s := Settings{BatchSize: batch}
	for _, c := range []struct {
		what       string
		rows       []int
		most, want int // bytes, pieces
	}{
		{"no rows", nil, 0, 0},
		{"all rows", all, 1, 1},
		{"few rows", half, 50 * size * 4, 1},
		{"two batches at once", half, 2*batch*size*4 + 1, 4},
		{"less than a batch", half, 1, 7},
	} {
		got := s.pieces(e, c.rows, c.most)
		if len(got) != c.want {
			t.Errorf("%s: %d pieces, want %d", c.what, len(got), c.want)
		}
		if c.want < 2 {
			if c.want == 1 && !slices.Equal(got[0], c.rows) {
				t.Errorf("%s: the piece is %v", c.what, got[0])
			}
			continue
		}
		for i, piece := range got {
			if i < len(got)-1 && len(piece)%batch != 0 {
				t.Errorf("%s: piece %d has %d rows, which are not whole batches", c.what, i, len(piece))
			}
		}
		chosen := e.Select(c.rows)
		var order []int
		for _, i := range chosen.batch(0).Order() {
			order = append(order, c.rows[i])
		}
		if !slices.Equal(slices.Concat(got...), order) {
			t.Errorf("%s: the order is %v, at once it is %v", c.what, slices.Concat(got...), order)
		}
	}
}
