package attack

import (
	"math"
	"testing"
)

// In a box [0, 255] the levels are the integers.
func TestLattice(t *testing.T) {
	l := lattice{lo: 0, step: 1, reach: math.Inf(1)}
	for _, c := range []struct{ v, x, nearest, towards float32 }{
		{3.6, 10, 4, 4},   // below the original: up
		{3.6, 1, 4, 3},    // above it: down
		{3.6, 3.2, 4, 3},  // nothing between the two: next to the original
		{3.4, 3.8, 3, 4},  // the same from below
		{7, 2, 7, 7},      // already on it
		{6.9999, 2, 7, 7}, // up to rounding
	} {
		if got := l.nearest(c.v, c.x); got != c.nearest {
			t.Errorf("nearest to %g from %g: %g, want %g", c.v, c.x, got, c.nearest)
		}
		if got := l.towards(c.v, c.x); got != c.towards {
			t.Errorf("towards %g from %g: %g, want %g", c.x, c.v, got, c.towards)
		}
	}
	// A reach of 2.6 keeps 3.6 from being rounded to 4, 3 from the original 1.
	l.reach = 2.6
	if got := l.nearest(3.6, 1); got != 3 {
		t.Errorf("nearest to 3.6 within 2.6 of 1: %g, want 3", got)
	}
	// 255ths of [−1, 1].
	l = lattice{lo: -1, step: 2. / 255, reach: math.Inf(1)}
	if got, want := l.nearest(0.001, 0), float32(-1+128*2./255); got != want {
		t.Errorf("nearest to 0.001 in [−1, 1]: %g, want %g", got, want)
	}
}
