package report

import (
	"errors"
	"fmt"
	"math"
	"strconv"
)

// The names of advlib's norms. A norm of the user's own goes by the name that it gives itself.
const (
	L0   = "L0"
	L1   = "L1"
	L2   = "L2"
	Linf = "Linf"
)

// Ball is a ball by the name of its norm: all perturbations δ with ‖δ‖ ≤ Radius. The radius is in units of the box.
type Ball struct {
	Norm   string  `json:"norm"`
	Radius float64 `json:"radius"`
}

// Named is a ball that knows its norm by name: a [Ball], or one of package advlib, whose norm can be computed too.
type Named interface {
	// Named returns the ball. It panics if the ball is unset.
	Named() Ball
}

// Named returns the ball itself. A ball without a norm is a mistake in the caller's program: the panic says so.
func (b Ball) Named() Ball {
	if b.Norm == "" {
		panic(errors.New("report: the ball is unset: name its norm, as in report.Ball{Norm: report.Linf, Radius: 8. / 255}"))
	}
	return b
}

// String returns for example "Linf ≤ 0.1", and "Linf ≤ 8/255" where the radius was given so.
func (b Ball) String() string {
	if b.Norm == "" {
		return "no ball"
	}
	if k := b.in255ths(); k > 0 {
		return fmt.Sprintf("%s ≤ %d/255", b.Norm, k)
	}
	return fmt.Sprintf("%s ≤ %.6g", b.Norm, b.Radius)
}

// in255ths returns k if the radius is that of the Go expression k./255, and no short decimal such as 0.2, nor a third;
// else 0.
func (b Ball) in255ths() int {
	k := math.Round(b.Radius * 255)
	short := len(strconv.FormatFloat(b.Radius, 'g', -1, 64)) <= 6
	if !(k >= 1 && k < 1<<20) || k/255 != b.Radius || math.Mod(k, 85) == 0 || short {
		return 0
	}
	return int(k)
}

// asFraction adds " (8/255)" where a pixel budget is a whole number of 255ths up to rounding, and no short decimal such
// as 0.2. To one that is written as a fraction it adds the decimal.
func (b Ball) asFraction(box Box) string {
	if b.in255ths() > 0 {
		return fmt.Sprintf(" (%.6g)", b.Radius)
	}
	k := b.Radius * 255
	short := len(strconv.FormatFloat(b.Radius, 'g', -1, 64)) <= 6
	if b.Norm == Linf && box == UnitBox && k >= 0.5 && math.Abs(k-math.Round(k)) < 1e-6 && !short {
		return fmt.Sprintf(" (%.0f/255)", k)
	}
	return ""
}

// Box is the domain of the inputs: every coordinate lies in [Lo, Hi].
type Box struct {
	Lo float64 `json:"lo"`
	Hi float64 `json:"hi"`
}

// UnitBox is [0, 1].
var UnitBox = Box{Lo: 0, Hi: 1}

// String returns the box as an interval. Its ends have the digits that tell them from other numbers in float32, in
// which inputs are.
func (b Box) String() string { return "[" + endText(b.Lo) + ", " + endText(b.Hi) + "]" }

func endText(v float64) string {
	if math.Abs(v) > math.MaxFloat32 {
		return strconv.FormatFloat(v, 'g', -1, 64)
	}
	return strconv.FormatFloat(v, 'g', -1, 32)
}
