package report

import (
	"fmt"
	"math"
	"slices"
	"sort"
)

// ROC is the receiver operating characteristic of a score: what share of adversarial inputs is flagged, at each share
// of clean inputs that is.
type ROC struct {
	// Clean and Adversarial are the scores, sorted, the lowest first.
	Clean, Adversarial []float64
}

// NewROC returns the curve of some scores. A score that is not a number is an error, as is a side without scores.
func NewROC(clean, adversarial []float64) (*ROC, error) {
	if len(clean) == 0 || len(adversarial) == 0 {
		return nil, fmt.Errorf("report: a curve of %d clean and %d adversarial scores: it takes at least one of each", len(clean),
			len(adversarial))
	}
	for _, v := range slices.Concat(clean, adversarial) {
		if math.IsNaN(v) {
			return nil, fmt.Errorf("report: a curve of scores of which one is not a number")
		}
	}
	return &ROC{slices.Sorted(slices.Values(clean)), slices.Sorted(slices.Values(adversarial))}, nil
}

// Point is a point of a [ROC]: of scores above the threshold the share FPR of the clean inputs, and TPR of the
// adversarial ones.
type Point struct {
	FPR       float64 `json:"fpr"`
	TPR       float64 `json:"tpr"`
	Threshold float64 `json:"threshold"`
}

// above returns how many of sorted scores are above a threshold.
func above(sorted []float64, threshold float64) int {
	return len(sorted) - sort.Search(len(sorted), func(i int) bool { return sorted[i] > threshold })
}

// Points returns the curve from (0, 0) to (1, 1), a point for each score that occurs.
func (r *ROC) Points() []Point {
	thresholds := slices.Compact(slices.Sorted(slices.Values(slices.Concat(r.Clean, r.Adversarial))))
	slices.Reverse(thresholds)
	var points []Point
	for _, t := range append(thresholds, math.Inf(-1)) {
		points = append(points, Point{
			float64(above(r.Clean, t)) / float64(len(r.Clean)), float64(above(r.Adversarial, t)) / float64(len(r.Adversarial)), t})
	}
	return points
}

// AUC returns the area under the curve: the chance that an adversarial input has a higher score than a clean one, ties
// counting half. Lo and hi are the 95 % confidence interval of DeLong, DeLong & Clarke-Pearson (1988), Biometrics 44;
// both are NaN where one side has a single score.
func (r *ROC) AUC() (area, lo, hi float64) {
	// Of each score the share of the other side that it is on the right side of.
	wins := func(of, others []float64, sign float64) []float64 {
		w := make([]float64, len(of))
		for i, v := range of {
			lower := float64(sort.SearchFloat64s(others, v))
			equal := float64(len(others)-above(others, v)) - lower
			if w[i] = (lower + equal/2) / float64(len(others)); sign < 0 {
				w[i] = 1 - w[i]
			}
		}
		return w
	}
	adversarial, clean := wins(r.Adversarial, r.Clean, 1), wins(r.Clean, r.Adversarial, -1)
	for _, v := range adversarial {
		area += v / float64(len(adversarial))
	}
	variance := 0.
	for _, w := range [][]float64{adversarial, clean} {
		sum := 0.
		for _, v := range w {
			sum += (v - area) * (v - area)
		}
		variance += sum / float64(len(w)-1) / float64(len(w))
	}
	half := z95 * math.Sqrt(variance)
	return area, math.Max(0, area-half), math.Min(1, area+half)
}

// TPR returns how many adversarial inputs are flagged where at most the share fpr of the clean ones is, at the lowest
// such threshold. The interval of the rate, by [Rate.Wilson], is that of the adversarial inputs: it takes the threshold
// as given.
func (r *ROC) TPR(fpr float64) (detected Rate, threshold float64) {
	most := int(math.Floor(fpr*float64(len(r.Clean)) + 1e-9))
	threshold = math.Inf(-1)
	if most < len(r.Clean) {
		threshold = r.Clean[len(r.Clean)-1-most]
	}
	return Rate{Count: above(r.Adversarial, threshold), Of: len(r.Adversarial)}, threshold
}

// String is for example "AUC 0.993 [0.988, 0.998], TPR 98.2 % [96.1, 99.2] at 5 % FPR".
func (r *ROC) String() string {
	area, lo, hi := r.AUC()
	tpr, _ := r.TPR(0.05)
	return fmt.Sprintf("AUC %.3f [%.3f, %.3f], TPR %v %s at 5 %% FPR", area, lo, hi, tpr, tpr.Interval())
}
