package advlib

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/gomlx/gomlx/core/tensors"
)

// LeastFill is the share of the box that the values of honest data fill at least: an image that is dim throughout has a
// quarter of it.
const LeastFill = 1. / 16

// Fill returns the smallest and the largest value of inputs, and the share of the width of the box that they fill. With
// a domain, features have ranges of their own, and it means nothing.
func Fill(x *tensors.Tensor, box Box) (lo, hi, share float64) {
	lo, hi = math.Inf(1), math.Inf(-1)
	tensors.MustConstFlatData(x, func(flat []float32) {
		for _, v := range flat {
			lo, hi = min(lo, float64(v)), max(hi, float64(v))
		}
	})
	return lo, hi, (hi - lo) / box.Width()
}

// looksUnscaled is a warning about inputs whose values fill far less than the box, as pixels in 0..1 do with the box of
// bytes; "" for none. A radius in units of such a box is not what its user means.
func looksUnscaled(x *tensors.Tensor, s Signature) string {
	if s.Domain != nil {
		return ""
	}
	lo, hi, share := Fill(x, s.Box)
	if !(hi > lo) || share >= LeastFill {
		return ""
	}
	return fmt.Sprintf("the inputs' values lie in [%.4g, %.4g] and fill %.2g of the width of the box %v: are they in other units? "+
		"Radii are in units of the box", lo, hi, share, s.Box)
}

// looksRelabelled is a warning about labels that a fixed map of the classes would make right; "" for none. They may be
// counted from 1, or those of a model that orders its classes in another way.
func looksRelabelled(clean []Prediction, y []int32, s Signature) string {
	classes, n := s.Classes, 0
	count := make([][]int, classes) // by what is predicted and by label
	for k := range count {
		count[k] = make([]int, classes)
	}
	right := 0
	for i, p := range clean {
		if p.Class < 0 {
			continue // left out
		}
		n++
		count[p.Class][y[i]]++
		if p.Class == y[i] {
			right++
		}
	}
	// Of random answers, some map fits better than none: it has to be most of the examples, and many for each class.
	fits := func(hits, freedom int) bool { return 2*hits >= n && hits-right >= n/3 && n >= 10*freedom }
	if n == 0 {
		return ""
	}
	percent := func(hits int) float64 { return 100 * float64(hits) / float64(n) }
	for _, shift := range []int{1, -1} {
		hits := 0
		for k := range classes {
			if at := k + shift; at >= 0 && at < classes {
				hits += count[k][at]
			}
		}
		if fits(hits, 1) {
			from := map[int]string{1: "1", -1: "−1"}[shift]
			return fmt.Sprintf("the labels look as if they were counted from %s: with y − %s the clean accuracy is %.1f %% instead of "+
				"%.1f %%", from, from, percent(hits), percent(right))
		}
	}
	to, hits := make([]int, classes), 0
	taken := map[int]bool{}
	for k := range count {
		to[k] = slices.Index(count[k], slices.Max(count[k]))
		if slices.Max(count[k]) == 0 {
			to[k] = -1 // never predicted
			continue
		}
		if taken[to[k]] {
			return "" // no permutation
		}
		taken[to[k]], hits = true, hits+count[k][to[k]]
	}
	if !fits(hits, classes) {
		return ""
	}
	var moved []string
	for k, label := range to {
		if label >= 0 && label != k && len(moved) < 6 {
			moved = append(moved, fmt.Sprintf("%s → %s", s.ClassName(label), s.ClassName(k)))
		}
	}
	return fmt.Sprintf("the labels look as if the classes had another order than the model's: with the labels %s the clean "+
		"accuracy is %.1f %% instead of %.1f %%",
		strings.Join(moved, ", "), percent(hits), percent(right))
}

// countedFromOne is advice where the labels are 1..K instead of 0..K−1; "" where they are not.
func countedFromOne(y []int32, classes int) string {
	if len(y) > 1 && slices.Min(y) == 1 && int(slices.Max(y)) == classes {
		return "; they look as if they were counted from 1: save y - 1"
	}
	return ""
}
