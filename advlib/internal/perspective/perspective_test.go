package perspective

import (
	"math"
	"math/rand/v2"
	"testing"
)

func near(a, b Point) bool { return math.Abs(a.X-b.X) < 1e-9 && math.Abs(a.Y-b.Y) < 1e-9 }

// A map takes corners to corners, keeps what lies on a line on a line, and its inverse takes all back.
func TestOnto(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 50 {
		q := Turned(r.Float64(), r.Float64()-0.5, r.Float64()-0.5, 2+3*r.Float64()).Scaled(5, 7, r.Float64(), -3)
		m := Onto(q)
		for i, corner := range Square {
			if got := m.At(corner); !near(got, q[i]) {
				t.Fatalf("the corner %v goes to %v, not to %v", corner, got, q[i])
			}
		}
		a, b := Point{r.Float64(), r.Float64()}, Point{-r.Float64(), r.Float64()}
		half := Point{(a.X + b.X) / 2, (a.Y + b.Y) / 2}
		p, s, u := m.At(a), m.At(b), m.At(half)
		if area := (s.X-p.X)*(u.Y-p.Y) - (s.Y-p.Y)*(u.X-p.X); math.Abs(area) > 1e-9 {
			t.Errorf("three points of a line make a triangle of %g", area)
		}
		if back := m.Inverse().At(p); !near(back, a) {
			t.Errorf("%v comes back as %v", a, back)
		}
		if back := m.Then(m.Inverse()).At(b); !near(back, b) {
			t.Errorf("%v comes back as %v", b, back)
		}
	}
}

// Seen from far away, a square turned about the vertical is narrower by the cosine.
func TestTurned(t *testing.T) {
	if q := Turned(0, 0, 0, 3); q != Square {
		t.Errorf("without a turn it is %v", q)
	}
	q := Turned(0, 1, 0, 1e9)
	if want := math.Cos(1); math.Abs(q[1].X-want) > 1e-6 || math.Abs(q[1].Y+1) > 1e-6 {
		t.Errorf("turned by a radian its corner is at %v, want %g, -1", q[1], want)
	}
	if q := Turned(math.Pi/2, 0, 0, 3); !near(q[0], Point{1, -1}) {
		t.Errorf("turned by 90° clockwise its top left corner is at %v", q[0])
	}
}
