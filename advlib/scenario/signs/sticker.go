package signs

import (
	"fmt"
	"math"

	"advlab/advlib/internal/perspective"
)

// Outline is the form of a sign, in the plane of the square around it, whose sides are at ±1.
type Outline int

// The outlines.
const (
	Octagon      Outline = iota // stop
	Disc                        // speed limits, no entry
	TriangleUp                  // caution
	TriangleDown                // yield
	Diamond                     // priority road
	Square
)

// String returns for example "octagon".
func (o Outline) String() string {
	if names := []string{"octagon", "disc", "triangle up", "triangle down", "diamond", "square"}; o >= 0 && int(o) < len(names) {
		return names[o]
	}
	return fmt.Sprintf("outline %d", int(o))
}

// corners of the outline; a disc is a polygon of 64.
func (o Outline) corners() []perspective.Point {
	round := func(n int, radius, from float64) []perspective.Point {
		p := make([]perspective.Point, n)
		for i := range p {
			sin, cos := math.Sincos(from + 2*math.Pi*float64(i)/float64(n))
			p[i] = perspective.Point{X: radius * cos, Y: radius * sin}
		}
		return p
	}
	const half3 = 0.8660254 // half the height of a triangle whose sides are 2 long
	switch o {
	case Octagon:
		return round(8, 1/math.Cos(math.Pi/8), math.Pi/8)
	case Disc:
		return round(64, 1, 0)
	case TriangleUp:
		return []perspective.Point{{X: 0, Y: -half3}, {X: 1, Y: half3}, {X: -1, Y: half3}}
	case TriangleDown:
		return []perspective.Point{{X: 0, Y: half3}, {X: -1, Y: -half3}, {X: 1, Y: -half3}}
	case Diamond:
		return round(4, 1, 0)
	}
	return perspective.Square[:]
}

// Area of the outline; that of the square around it is 4.
func (o Outline) Area() float64 {
	p := o.corners()
	var sum float64
	for i, a := range p {
		b := p[(i+1)%len(p)]
		sum += a.X*b.Y - b.X*a.Y
	}
	return sum / 2
}

// contains tells whether a point is on the sign; corners go clockwise, as y points down.
func (o Outline) contains(at perspective.Point) bool {
	p := o.corners()
	for i, a := range p {
		b := p[(i+1)%len(p)]
		if (b.X-a.X)*(at.Y-a.Y)-(b.Y-a.Y)*(at.X-a.X) < -1e-9 {
			return false
		}
	}
	return true
}

// Sticker is what is stuck on a sign: a rectangle or an ellipse.
type Sticker struct {
	// X and Y are its middle, Width and Height its size, in halves of the side of the square around the sign: X and Y are
	// in −1..1, to the right and down, and a Width of 2 is that of the sign.
	X, Y, Width, Height float64
	// Angle turns it, in degrees clockwise.
	Angle float64
	// Round makes it an ellipse.
	Round bool
}

// Area of the sticker, in the unit of [Outline.Area].
func (s Sticker) Area() float64 {
	if s.Round {
		return math.Pi / 4 * s.Width * s.Height
	}
	return s.Width * s.Height
}

// inside returns where a point of the sign's plane is on the sticker, from −1 to 1 across it and down it, and whether
// it is on it.
func (s Sticker) inside(p perspective.Point) (u, v float64, on bool) {
	sin, cos := math.Sincos(s.Angle * math.Pi / 180)
	x, y := p.X-s.X, p.Y-s.Y
	u, v = 2*(cos*x+sin*y)/s.Width, 2*(cos*y-sin*x)/s.Height
	if s.Round {
		return u, v, u*u+v*v <= 1
	}
	return u, v, math.Abs(u) <= 1 && math.Abs(v) <= 1
}

// texels returns how many rows and columns its print has, with the given number along the longer side.
func (s Sticker) texels(longer int) (rows, columns int) {
	of := func(side float64) int { return max(1, int(math.Round(float64(longer)*side/max(s.Width, s.Height)))) }
	return of(s.Height), of(s.Width)
}

// What an attacker may do to a sign without its being noticed at once.
const (
	// MostStickers is how many stickers there may be.
	MostStickers = 2
	// MostArea is the largest share of the sign that they may cover together.
	MostArea = 0.08
)

// checkStickers refuses more stickers than this threat model has, larger ones, and those that hang over the edge.
func checkStickers(on Outline, stickers []Sticker) error {
	if on < Octagon || on > Square {
		return fmt.Errorf("%v is not one of Octagon, Disc, TriangleUp, TriangleDown, Diamond and Square", on)
	}
	if len(stickers) < 1 || len(stickers) > MostStickers {
		return fmt.Errorf("there are %d stickers: give 1 or %d", len(stickers), MostStickers)
	}
	var area float64
	for i, s := range stickers {
		if !(s.Width > 0 && s.Height > 0) || math.IsNaN(s.X+s.Y+s.Angle) || math.IsInf(s.Angle, 0) {
			return fmt.Errorf("the sticker %+v has no size or no place: give Width and Height above 0, in halves of the sign's side", s)
		}
		area += s.Area()
		const parts = 64 // of its edge
		for k := range parts {
			sin, cos := math.Sincos(2 * math.Pi * float64(k) / parts)
			if !s.Round { // the corners are among them
				reach := max(math.Abs(sin), math.Abs(cos))
				sin, cos = sin/reach, cos/reach
			}
			if p := s.place(cos, sin); !on.contains(p) {
				return fmt.Errorf("sticker %d hangs over the edge of the %v at %.3g, %.3g: move it or make it smaller", i, on, p.X, p.Y)
			}
		}
	}
	if share := area / on.Area(); share > MostArea*(1+1e-9) {
		return fmt.Errorf("the stickers cover %.3g %% of the %v, and this attacker %g %% at most: make them smaller", 100*share, on, 100*MostArea)
	}
	return nil
}

// place is where a point of the sticker, by u and v in −1..1, is on the sign.
func (s Sticker) place(u, v float64) perspective.Point {
	sin, cos := math.Sincos(s.Angle * math.Pi / 180)
	x, y := u*s.Width/2, v*s.Height/2
	return perspective.Point{X: s.X + cos*x - sin*y, Y: s.Y + sin*x + cos*y}
}

// Patch returns one square sticker of the largest area that is allowed, with its middle at x, y.
func Patch(on Outline, x, y float64) []Sticker {
	side := math.Sqrt(MostArea * on.Area() * (1 - 1e-9))
	return []Sticker{{X: x, Y: y, Width: side, Height: side}}
}

// Strips returns two horizontal stickers of the largest area that is allowed, four times as wide as high, in the middle
// at the heights above and below: as Eykholt et al. 2018 (arXiv:1707.08945, figure 1) put black and white ones on a
// stop sign.
func Strips(on Outline, above, below float64) []Sticker {
	height := math.Sqrt(MostArea * on.Area() * (1 - 1e-9) / 8)
	return []Sticker{{Y: above, Width: 4 * height, Height: height}, {Y: below, Width: 4 * height, Height: height}}
}
