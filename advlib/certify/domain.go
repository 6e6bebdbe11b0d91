package certify

import (
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"

	"advlab/advlib"
)

// within cuts the region to what the classifier's domain lets single coordinates do: their ranges, the directions in which they may change,
// and in every norm that none goes farther than its scale times the radius. The region's radius is that of c.Enclosing. Steps and categories are not
// looked at: what is proven for all values between holds for those that are admissible.
func (r region) within(c *advlib.Classifier) region {
	reach := c.Reach(r.norm)
	if reach == nil {
		return r
	}
	longest := 0.
	for _, v := range reach {
		longest = max(longest, v)
	}
	share := make([]float32, len(reach))
	for j, v := range reach {
		if share[j] = float32(v / longest); v < longest {
			share[j] *= 1 + 1e-6 // float32 rounds here and in the product
		}
	}
	row := ConstTensor(r.x.Graph(), tensors.FromFlatDataAndDimensions(share, append([]int{1}, r.x.Shape().Dimensions[1:]...)...))
	far := Mul(BroadcastToDims(row, r.x.Shape().Dimensions...), r.radius)
	lo, hi := c.Limits().Ends(r.x)
	r.lower, r.upper = Max(Max(r.lower, Sub(r.x, far)), lo), Min(Min(r.upper, Add(r.x, far)), hi)
	return r
}
