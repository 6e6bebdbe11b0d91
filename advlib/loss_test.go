package advlib_test

import (
	"math"
	"testing"

	. "github.com/gomlx/gomlx/core/graph"

	"advlab/advlib"
)

// TestLossesByHand compares each loss with its formula, worked out in float64 on logits in which the label is first,
// tied, and last, and on the same logits shifted below zero.
func TestLossesByHand(t *testing.T) {
	z := [][]float32{{3, 1, 0.5, -1, 2}, {0, 0, 0, 0, 0}, {-1, 4, 2, 3, 3.5}, {100, -100, 0, 50, 1}}
	y, target := []int32{0, 2, 0, 1}, []int32{4, 1, 3, 0}
	softmax := func(row []float32, k int32) float64 {
		var s float64
		for _, v := range row {
			s += math.Exp(float64(v) - float64(row[k]))
		}
		return -math.Log(s) // log p_k
	}
	maxExcept := func(row []float32, k int32) float64 {
		m := math.Inf(-1)
		for j, v := range row {
			if int32(j) != k {
				m = max(m, float64(v))
			}
		}
		return m
	}
	ranked := func(row []float32) []float64 {
		s := make([]float64, len(row))
		for i, v := range row {
			s[i] = float64(v)
		}
		for i := range s {
			for j := i + 1; j < len(s); j++ {
				if s[j] > s[i] {
					s[i], s[j] = s[j], s[i]
				}
			}
		}
		return s
	}
	cases := []struct {
		name               string
		loss               advlib.Loss
		targeted, anyClass bool
		want               func(row []float32, y, t int32) float64
	}{
		{"cross-entropy", advlib.CrossEntropy, false, false, func(r []float32, y, _ int32) float64 { return -softmax(r, y) }},
		{"cross-entropy, targeted", advlib.CrossEntropy, true, false, func(r []float32, _, t int32) float64 { return softmax(r, t) }},
		{"margin", advlib.Margin, false, false, func(r []float32, y, _ int32) float64 { return maxExcept(r, y) - float64(r[y]) }},
		{"margin, targeted", advlib.Margin, true, false, func(r []float32, _, t int32) float64 { return float64(r[t]) - maxExcept(r, t) }},
		{"margin, towards", advlib.Margin, true, true, func(r []float32, y, t int32) float64 { return float64(r[t]) - float64(r[y]) }},
		{"DLR", advlib.DLR, false, false, func(r []float32, y, _ int32) float64 {
			s := ranked(r)
			return -(float64(r[y]) - maxExcept(r, y)) / (s[0] - s[2] + 1e-12)
		}},
		{"DLR, targeted", advlib.DLR, true, false, func(r []float32, y, t int32) float64 {
			s := ranked(r)
			return -(float64(r[y]) - float64(r[t])) / (s[0] - (s[2]+s[3])/2 + 1e-12)
		}},
	}
	for _, shift := range []float32{0, -30} {
		shifted := make([][]float32, len(z))
		for i, row := range z {
			for _, v := range row {
				shifted[i] = append(shifted[i], v+shift)
			}
		}
		for _, c := range cases {
			got := run(t, func(in []*Node) *Node {
				goal := advlib.GoalNodes{Label: in[1], AnyClass: c.anyClass}
				if c.targeted {
					goal.Target = in[2]
				}
				return c.loss.Of(in[0], goal)
			}, shifted, y, target)
			for i, row := range shifted {
				want := c.want(row, y[i], target[i])
				if math.Abs(float64(got[i])-want) > 2e-5*max(1, math.Abs(want)) {
					t.Errorf("%s, shift %g, row %d: %g, want %g", c.name, shift, i, got[i], want)
				}
			}
		}
	}
}
