package dataset

import (
	"math"
	"testing"

	"github.com/gomlx/gomlx/core/tensors"

	"advlab/advlib"
	"advlab/advlib/internal/perspective"
)

// Drawn sets are the same for the same seed and others for another, have about equally many of each class, and pixels
// in [0, 1] that a file could hold.
func TestDrawnSets(t *testing.T) {
	for name, draw := range map[string]func(n int, seed uint64) *advlib.Examples{
		"road signs": func(n int, seed uint64) *advlib.Examples { return RoadSigns(n, seed).Examples },
		"lesions":    Lesions,
		"faces":      func(n int, seed uint64) *advlib.Examples { return Faces(n/5, 5, seed) },
	} {
		a, b, other := draw(60, 1), draw(60, 1), draw(60, 2)
		if a.Hash() != b.Hash() || a.Hash() == other.Hash() {
			t.Errorf("%s: the seeds 1, 1 and 2 draw %s, %s and %s", name, a.Hash(), b.Hash(), other.Hash())
		}
		of := make([]int, len(a.Classes))
		for _, y := range a.Y {
			of[y]++
		}
		for k, n := range of {
			if want := 60 / len(of); n != want {
				t.Errorf("%s: %d of 60 are of the class %s, want %d", name, n, a.Classes[k], want)
			}
		}
		for i, v := range tensors.MustCopyFlatData[float32](a.X) {
			if whole := float64(v) * 255; !(v >= 0 && v <= 1) || math.Abs(whole-math.Round(whole)) > 1e-4 {
				t.Fatalf("%s: value %d is %g", name, i, v)
			}
		}
	}
}

// A sign is where its pose says: with a patch of its own colour there, what is left of a stop sign's red is little.
func TestRoadSignsPose(t *testing.T) {
	p := RoadSigns(200, 3)
	x := tensors.MustCopyFlatData[float32](p.X)
	const n = roadSignsSide
	red := func(c []float32) bool { return c[0] > 1.3*c[1] && c[0] > 1.3*c[2] }
	inside, outside, of := 0., 0., 0.
	for i, y := range p.Y {
		if p.Classes[y] != "no entry" {
			continue
		}
		var q perspective.Quad
		for k, c := range p.Pose[i] {
			q[k] = perspective.Point{X: c[0] * n, Y: c[1] * n}
		}
		to := perspective.Onto(q).Inverse()
		reds, signs, others, rest := 0., 0., 0., 0.
		for j := range n * n {
			at := to.At(perspective.Point{X: float64(j%n) + 0.5, Y: float64(j/n) + 0.5})
			isRed := red(x[(i*n*n+j)*3 : (i*n*n+j+1)*3])
			switch radius := math.Hypot(at.X, at.Y); {
			case radius < 0.9 && math.Abs(at.Y) > 0.25:
				signs++
				if isRed {
					reds++
				}
			case radius > 1.2:
				rest++
				if isRed {
					others++
				}
			}
		}
		of++
		inside, outside = inside+reds/signs, outside+others/max(rest, 1)
	}
	if inside/of < 0.75 || outside/of > 0.3 {
		t.Errorf("%.2f of the signs' inside is red, and %.2f of what is outside", inside/of, outside/of)
	}
}
