package diagnose

import "math"

// The formulas of the indicators of attack failure of Pintor et al. (2022), arXiv:2106.09947, on losses and logits that
// were computed before. Where the paper and the authors' code (pralab/IndicatorsOfAttackFailure, src/indicators)
// differ, these are the code's, which made the paper's numbers.

// UnstablePredictions is indicator I2 at one example: how much the loss changes, relative to what it is, at points
// around it. Reference is the loss at the example, around those at the other points. The code divides by |reference|,
// by 1 where that is 0, takes the mean and caps it at 1; the paper caps each term. The points that it takes are uniform
// in a cube whose side, not half of it, is the radius of 8/255: ±4/255.
func UnstablePredictions(reference float64, around []float64) float64 {
	by := math.Abs(reference)
	if by == 0 {
		by = 1
	}
	sum := 0.
	for _, l := range around {
		sum += math.Abs(reference-l) / by
	}
	return math.Min(sum/float64(len(around)), 1)
}

// SilentSuccess is indicator I3: the attack failed at an example, though one of its points on the way was adversarial.
// The last of onTheWay is what was returned.
func SilentSuccess(onTheWay []bool) bool {
	last := len(onTheWay) - 1
	if last < 0 || onTheWay[last] {
		return false
	}
	for _, reached := range onTheWay[:last] {
		if reached {
			return true
		}
	}
	return false
}

// IncompleteOptimisation is indicator I4: by how much the loss, which the attack makes small, fell over the last ten
// points of the way. The losses are first moved to [0, 1] by their largest and smallest, then made to fall only. The
// code says that an attack is incomplete above 0.05. Losses that are all 0 stay so.
func IncompleteOptimisation(losses []float64) float64 {
	if len(losses) == 0 {
		return 0
	}
	lo, hi := math.Inf(1), math.Inf(-1)
	for _, l := range losses {
		lo, hi = math.Min(lo, l), math.Max(hi, l)
	}
	fallen := make([]float64, len(losses))
	least := math.Inf(1)
	for i, l := range losses {
		// The code divides by the largest after the smallest was taken away, and leaves losses alone whose largest is 0.
		if hi != 0 && hi > lo {
			l = (l - lo) / (hi - lo)
		} else if hi != 0 {
			l = 0
		}
		least = math.Min(least, l)
		fallen[i] = least
	}
	last := fallen[max(0, len(fallen)-10):]
	return last[0] - last[len(last)-1]
}
