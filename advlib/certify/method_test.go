package certify

import "testing"

// The radius in float32 is never below the one asked for: 0.05 has a neighbour above that is nearer than the one below, 0.7
// has it below.
func TestRoundUp(t *testing.T) {
	for _, radius := range []float64{0, 1e-60, 0.05, 0.1, 0.3, 0.7, 8. / 255, 1, 16777217, 1e40} {
		if r := float64(roundUp(radius)); r < radius || radius > 0 && radius < 1 && radius > 0.01 && r > radius*(1+1.2e-7) {
			t.Errorf("radius %g becomes %g", radius, r)
		}
	}
}

// A call holds at most the memory allowed, if one example with two rows of the specification fits at all.
func TestChunk(t *testing.T) {
	for _, test := range []struct{ examples, specs, numbers, size, perCall int }{
		{1, 1, 1000, 8, 2},
		{64, 9, 1000, 128, 9},
		{10000, 9, 1000, 512, 9},
		{10000, 9, 100000, 128, 9},
		{10000, 999, 100000, 8, 250},
		{10000, 999, 20_000_000, 1, 2},
	} {
		size, perCall := chunk(test.examples, test.specs, test.numbers)
		if size != test.size || perCall != test.perCall {
			t.Errorf("%+v: got %d examples with %d rows each", test, size, perCall)
		}
	}
}
