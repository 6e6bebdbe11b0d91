package report

import (
	"fmt"
	"math"
	"slices"
)

// Change is what a successful attack did to an input, in units of the box, or, in a domain, in the scales of its
// features, as the budget is.
type Change struct {
	// L0 is how many values, in a domain features, differ; L1, L2 and Linf are the norms of the difference.
	L0   int     `json:"l0"`
	L1   float64 `json:"l1"`
	L2   float64 `json:"l2"`
	Linf float64 `json:"linf"`
	// Features is how far the input moved in the classifier's features, the activations of the penultimate layer, in
	// lengths of the original's; nil, and absent in JSON, where there are none to look at.
	Features *float64 `json:"features,omitempty"`
	// Image is how alike the two look; nil, and absent in JSON, where the inputs are no images.
	Image *Likeness `json:"image,omitempty"`
}

// Likeness is how alike an image and a changed one look.
type Likeness struct {
	// PSNR is the peak signal-to-noise ratio in decibels: +Inf, null in JSON, where not one value differs.
	PSNR Distance `json:"psnr"`
	// SSIM is the structural similarity, of Wang et al. 2004: 1 of equal images; nil of images with a side below 7 pixels.
	SSIM *float64 `json:"ssim"`
	// Window is what SSIM was taken in: "11×11 Gaussian, σ 1.5", or "7×7 uniform" of images with a side below 11 pixels.
	Window string `json:"window,omitempty"`
}

// SetChange takes the change of row i of another run of the attack for example at of n.
func (a *AttackRow) SetChange(at int, c *Change, n int) {
	if c == nil {
		return
	}
	if a.Changes == nil {
		a.Changes = make([]*Change, n)
	}
	a.Changes[at] = c
}

// ChangeTable is how the inputs were changed on which attacks succeeded: medians, n/a of what is not known, such as how
// alike inputs look that are no images. It has no rows where nothing is known of that.
func (r *Report) ChangeTable() QueryTable {
	t := QueryTable{}
	window := ""
	for _, k := range r.Order() {
		a := r.Attacks[k]
		var l0, l1, l2, linf, features, psnr, ssim []float64
		for _, c := range a.Changes {
			if c == nil {
				continue
			}
			l0, l1, l2, linf = append(l0, float64(c.L0)), append(l1, c.L1), append(l2, c.L2), append(linf, c.Linf)
			if c.Features != nil {
				features = append(features, *c.Features)
			}
			if c.Image == nil {
				continue
			}
			psnr = append(psnr, float64(c.Image.PSNR))
			if c.Image.SSIM != nil {
				ssim, window = append(ssim, *c.Image.SSIM), c.Image.Window
			}
		}
		if len(l0) > 0 {
			t.Rows = append(t.Rows, []string{a.Name, fmt.Sprint(len(l0)), middle(l0, "%.4g"), middle(l1, "%.4g"), middle(l2, "%.4g"),
				middle(linf, "%.4g"), middle(psnr, "%.1f dB"), middle(ssim, "%.4f"), middle(features, "%.4f")})
		}
	}
	if len(t.Rows) == 0 {
		return t
	}
	t.Rows = slices.Insert(t.Rows, 0, []string{"attack", "found", "L0", "L1", "L2", "Linf", "PSNR", "SSIM", "features"})
	t.Title = "what changed where an attack succeeded, medians"
	if window != "" {
		t.Title += " (SSIM: " + window + ")"
	}
	return t
}

// middle writes the median, "n/a" of none.
func middle(v []float64, format string) string {
	slices.Sort(v)
	m := quantile(v, 0.5)
	switch {
	case math.IsNaN(m):
		return "n/a"
	case math.IsInf(m, 1):
		return "∞"
	}
	return fmt.Sprintf(format, m)
}
