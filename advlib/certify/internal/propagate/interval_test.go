package propagate

import (
	"math"
	"testing"

	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"

	"advlab/advlib/backend"
)

// An end that is NaN says nothing, and the other one stays.
func TestWidened(t *testing.T) {
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	for _, name := range []string{backend.Auto, backend.Go} {
		b, err := backend.OpenNamed(name)
		if err != nil {
			t.Fatal(err)
		}
		ends, err := ExecOnceN(b, func(lower, upper *Node) (*Node, *Node) {
			v := Interval{Lower: lower, Upper: upper}.widened()
			return v.Lower, v.Upper
		}, []float32{nan, -1, nan, -inf, 2}, []float32{nan, nan, 3, inf, 2})
		if err != nil {
			t.Fatal(err)
		}
		want := [2][]float32{{-inf, -1, -inf, -inf, 2}, {inf, inf, 3, inf, 2}}
		for e := range want {
			for i, v := range tensors.MustCopyFlatData[float32](ends[e]) {
				if v != want[e][i] {
					t.Errorf("%s: end %d of interval %d is %g, want %g", b.Name(), e, i, v, want[e][i])
				}
			}
		}
	}
}
