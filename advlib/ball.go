package advlib

import (
	"fmt"
	"math"

	. "github.com/gomlx/gomlx/core/graph"

	"advlab/advlib/internal/option"
	"advlab/advlib/report"
)

// Box is the domain of a classifier's inputs: every coordinate lies in [Lo, Hi]. Preprocessing belongs inside the
// classifier, so the box is what a sensor or a file delivers: pixels in [0, 1], or in [0, 255]. A classifier rounds the
// ends to float32, in which its inputs are: −0.1 is then an input at the end of the box from −0.1 on.
type Box struct {
	Lo float64 `json:"lo"`
	Hi float64 `json:"hi"`
}

// UnitBox is [0, 1].
var UnitBox = Box{Lo: 0, Hi: 1}

// Width returns Hi − Lo.
func (b Box) Width() float64 { return b.Hi - b.Lo }

// Clip moves each coordinate of x to the nearest point of the box.
func (b Box) Clip(x *Node) *Node { return ClipScalar(x, b.Lo, b.Hi) }

// Room returns how far each coordinate of x may fall and rise inside the box: lo = Lo − x ≤ 0 ≤ hi = Hi − x.
func (b Box) Room(x *Node) (lo, hi *Node) {
	return AddScalar(Neg(x), b.Lo), AddScalar(Neg(x), b.Hi)
}

// Contains tells whether v lies in the box.
func (b Box) Contains(v float32) bool { return float64(v) >= b.Lo && float64(v) <= b.Hi }

// String returns the box as an interval.
func (b Box) String() string { return report.Box(b).String() }

func (b Box) check() error {
	if !(b.Lo < b.Hi) || math.IsInf(b.Lo, 0) || math.IsInf(b.Hi, 0) {
		return fmt.Errorf("the box %v is empty or not finite in float32: give the range of the inputs, such as %v for "+
			"pixels in [0, 1]", b, option.Name("advlib.UnitBox"))
	}
	return nil
}

// rounded returns the box with its ends in float32, where inputs at these ends are.
func (b Box) rounded() Box { return Box{Lo: float64(float32(b.Lo)), Hi: float64(float32(b.Hi))} }

// Ball is the threat model: all perturbations δ with ‖δ‖ ≤ Radius. The radius, the budget ε, is in units of the box.
// The zero Ball is unset, and refused; a radius of 0 with a norm is legal. Linf.Ball(8./255) makes one.
type Ball struct {
	Norm   Norm
	Radius float64
}

// String returns for example "Linf ≤ 0.1", and "Linf ≤ 8/255" where the radius was given so.
func (b Ball) String() string {
	if b.Norm == nil {
		return "no ball"
	}
	return b.Named().String()
}

// Named returns the ball by the name of its norm, as reports have it. An unset ball is a mistake in the caller's
// program: the panic says so.
func (b Ball) Named() report.Ball {
	if b.Norm == nil {
		panic(fmt.Errorf("advlib: %w", b.Check()))
	}
	return report.Ball{Norm: b.Norm.String(), Radius: b.Radius}
}

// Check returns an error when the ball is unset or its radius makes no sense.
func (b Ball) Check() error {
	switch {
	case b.Norm == nil:
		return fmt.Errorf("the ball is unset: say what the attacker may change, such as advlib.Linf.Ball(8./255)")
	case math.IsNaN(b.Radius) || math.IsInf(b.Radius, 0) || b.Radius < 0:
		return fmt.Errorf("the radius ε = %g of the %v ball is not a finite number ≥ 0", b.Radius, b.Norm)
	}
	return checkNorm(b.Norm)
}

// Warning says in a sentence what looks wrong with the ball for inputs of d coordinates in the box, or returns "".
func (b Ball) Warning(d int, box Box) string {
	if b.Norm == nil {
		return ""
	}
	if b.Radius == 0 {
		return b.zero()
	}
	if all := b.Norm.Diameter(d, box.Width()); b.Radius >= all {
		hint := ""
		if box.Width() <= 1 && b.Radius >= 1 && b.Norm == Norm(Linf) {
			hint = fmt.Sprintf(": if ε was meant in steps of 0..255, write %g./255", b.Radius)
		}
		return fmt.Sprintf("the ball %v holds the whole box %v (diameter %.6g): any input may become any other%s", b, box, all, hint)
	}
	return ""
}

// zero says what a radius of 0 means.
func (b Ball) zero() string {
	return fmt.Sprintf("the ball %v holds nothing but the original: in Go 8/255 is the whole number 0, write 8./255", b)
}

// warning is Warning for the inputs of a classifier.
func (b Ball) warning(l Limits, d Domain) string {
	if d == nil || b.Radius == 0 {
		return b.Warning(l.Size(), l.Box())
	}
	if all := l.Diameter(b.Norm); b.Radius >= all {
		return fmt.Sprintf("the ball %v holds the whole domain (%v; diameter %.6g in its scales): an input may become any other that "+
			"differs only in what may change", b, d, all)
	}
	return ""
}

// Pull moves adv, a flat row inside the box, into the ball around x, exactly as measured by Norm.Distance; rounding
// in float32 leaves it outside by some units in the last place. It reports whether adv was farther out than rounding
// explains, in which case it is left alone.
func (b Ball) Pull(adv, x []float32) (tooFar bool) {
	d := b.Norm.Distance(adv, x)
	if d <= b.Radius {
		return false
	}
	// A sum of d float32 errors of half a unit in the last place each, of numbers up to 1, stays far below this. Of larger
	// numbers, such as areas in mm², it need not.
	if most := b.Radius*(1+1e-4) + 1e-5; d > most {
		units := make([]float64, len(x))
		for i, v := range x {
			units[i] = 2 * math.Abs(float64(v)) * 0x1p-23
		}
		if _, convex := b.Norm.(ConvexNorm); !convex || d > most+b.Norm.Length(units) {
			return true
		}
	}
	switch b.Norm.(type) {
	case linf:
		for i := range adv {
			// At once, because the floats between a point near 0 and one at its radius are many.
			v := float64(x[i])
			if math.Abs(float64(adv[i])-v) <= b.Radius {
				continue
			}
			adv[i] = float32(min(max(float64(adv[i]), v-b.Radius), v+b.Radius))
			for math.Abs(float64(adv[i])-float64(x[i])) > b.Radius {
				adv[i] = math.Nextafter32(adv[i], x[i])
			}
		}
	default:
		// Shrink by the excess; where rounding undoes that, by twice as much, and so on: it ends at x at the latest.
		for excess := d - b.Radius; d > b.Radius; excess *= 2 {
			s := max(0, (b.Radius-excess)/d)
			for i := range adv {
				adv[i] = float32(float64(x[i]) + s*(float64(adv[i])-float64(x[i])))
			}
			d = b.Norm.Distance(adv, x)
		}
	}
	return false
}
