package certify

import (
	"advlab/advlib/certify/internal/propagate"
	"fmt"
)

// LowerLine is the line below a ReLU whose input l ≤ t ≤ u may have either sign: a·t with a slope a in [0, 1]. Each is
// sound; which one is best depends on the model.
type LowerLine int

const (
	// Adaptive has slope 1 if u > −l, else 0 (Zhang et al. 2018, section 3.3).
	Adaptive = LowerLine(propagate.AdaptiveLine)
	// Zero has slope 0.
	Zero = LowerLine(propagate.ZeroLine)
	// One has slope 1.
	One = LowerLine(propagate.OneLine)
	// SameSlope has the slope of the upper line, u/(u−l) (Weng et al. 2018, arXiv:1804.09699).
	SameSlope = LowerLine(propagate.SameSlopeLine)
)

// String returns "adaptive", "zero", "one" or "same slope".
func (l LowerLine) String() string {
	names := [...]string{"adaptive", "zero", "one", "same slope"}
	if l < 0 || int(l) >= len(names) {
		return fmt.Sprintf("LowerLine(%d)", int(l))
	}
	return names[l]
}
