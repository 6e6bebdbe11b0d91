package attack

import (
	"testing"

	"advlab/advlib/backend"

	"github.com/gomlx/gomlx/core/graph"
)

// first marks exactly as many as asked for, equal ones included, and the largest.
func TestFirst(t *testing.T) {
	b, err := backend.OpenNamed(backend.Go)
	if err != nil {
		t.Fatal(err)
	}
	v := [][]float32{{3, 1, 3, 3}, {3, 1, 3, 3}, {3, 1, 3, 3}, {3, 1, 3, 3}, {0, 0, 0, 1}, {-1, -2, -3, -4}}
	count := []float32{0, 2, 3, 9, 2, 1}
	want := [][]bool{{false, false, false, false}, {true, false, true, false}, {true, false, true, true}, {true, true, true, true},
		{true, false, false, true}, {true, false, false, false}}
	out, err := graph.CallOnce(b, first, v, count)
	if err != nil {
		t.Fatal(err)
	}
	got := out.Value().([][]bool)
	for i := range want {
		for j := range want[i] {
			if got[i][j] != want[i][j] {
				t.Errorf("the first %g of %v are %v, not %v", count[i], v[i], got[i], want[i])
				break
			}
		}
	}
}
