package certify

import (
	"fmt"
	"strings"
)

// Alpha says how much [AlphaCROWN] tunes. Slopes are raised along the gradient of their bound by Adam, with a step that
// shrinks by 2 % each time. The zero Alpha has the values named below.
type Alpha struct {
	// Iterations is how many steps are made for each row of the specification; 0 means 20, below 0 none.
	Iterations int
	// Intervals is how many steps are made for each end of the intervals before ReLUs, with slopes of its own, where
	// bounds are not enough with CROWN's; 0 means 5, below 0 none.
	Intervals int
	// Rate is the first step of a slope, which is between 0 and 1; 0 means 0.25.
	Rate float64
}

// String returns for example "40 iterations, rate 0.1".
func (a Alpha) String() string {
	var parts []string
	if a.Iterations != 0 {
		parts = append(parts, fmt.Sprintf("%d iterations", max(a.Iterations, 0)))
	}
	if a.Intervals != 0 {
		parts = append(parts, fmt.Sprintf("%d for intervals", max(a.Intervals, 0)))
	}
	if a.Rate != 0 {
		parts = append(parts, fmt.Sprintf("rate %g", a.Rate))
	}
	return strings.Join(parts, ", ")
}

// filled is a with its defaults.
func (a Alpha) filled() Alpha {
	if a.Iterations == 0 {
		a.Iterations = 20
	}
	if a.Intervals == 0 {
		a.Intervals = 5
	}
	if a.Rate == 0 {
		a.Rate = 0.25
	}
	return a
}

// check refuses what is no step.
func (a Alpha) check() error {
	if !(a.Rate >= 0 && a.Rate <= 1) {
		return fmt.Errorf("the rate of Alpha is %g: it must be between 0 and 1", a.Rate)
	}
	return nil
}
