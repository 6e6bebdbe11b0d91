package advlib

import (
	"math"

	"github.com/gomlx/gomlx/core/tensors"

	"advlab/advlib/report"
	"advlab/advlib/similarity"
)

// changeOf is what an attack did to an input: norms of the difference in units of the box, or in the scales of a
// domain's features, and of images how alike the two look. It is nil where nothing was done.
func changeOf(from, to []float32, s Signature) *report.Change {
	var δ []float64
	if s.space != nil && s.space.layout != nil {
		δ = s.space.layout.difference(from, to)
	} else {
		for i, v := range to {
			δ = append(δ, float64(v)-float64(from[i]))
		}
	}
	c := &report.Change{}
	for _, d := range δ {
		if d = math.Abs(d); d > 0 {
			c.L0++
		}
		c.L1, c.L2, c.Linf = c.L1+d, c.L2+d*d, max(c.Linf, d)
	}
	if c.L2 = math.Sqrt(c.L2); c.L0 == 0 {
		return nil
	}
	if _, image := similarity.LayoutOf(s.Input); image {
		c.Image = &report.Likeness{PSNR: Distance(similarity.PSNR(from, to, s.Box.Width()))}
		if ssim, window, err := similarity.SSIM(from, to, s.Input, s.Box.Width()); err == nil {
			c.Image.SSIM, c.Image.Window = &ssim, window
		}
	}
	return c
}

// Changes are what the attack did to the inputs on which it succeeded; nil where it did not, or where nothing had to be
// done. How far they moved in the classifier's features is measured by [Evaluate], and by [FeatureDistances]. Of a
// result that was read from a store the domain is not known: its changes are in units of the box.
func (r *Result) Changes() []*report.Change {
	if r.changes != nil || r.Adversarial == nil {
		return r.changes
	}
	all := make([]*report.Change, len(r.Success))
	signature := Signature{Input: r.Examples.Shape(), Box: r.Box}
	to, from := tensors.MustCopyFlatData[float32](r.Adversarial), tensors.MustCopyFlatData[float32](r.Examples.X)
	size := len(to) / max(1, len(all))
	for i := range all {
		if r.Success[i] {
			all[i] = changeOf(from[i*size:(i+1)*size], to[i*size:(i+1)*size], signature)
		}
	}
	return all
}
