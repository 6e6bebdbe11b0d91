// Package perspective maps one plane on another as a camera does.
//
//	toPicture := perspective.Onto(corners)  // of a square, seen in a picture
//	toSquare := toPicture.Inverse()
//	p := toSquare.At(perspective.Point{X: 10.5, Y: 3.5}) // which place of the square that pixel shows
package perspective

import "math"

// Point is a place in a plane: X to the right, Y down.
type Point struct{ X, Y float64 }

// Quad are four corners in turn. Those of [Square] are top left, top right, bottom right, bottom left.
type Quad [4]Point

// Square has its corners at ±1.
var Square = Quad{{-1, -1}, {1, -1}, {1, 1}, {-1, 1}}

// Map is a homography, a 3 × 3 matrix row by row: it takes (x, y) to (x'/w', y'/w'), with (x', y', w') = M·(x, y, 1).
type Map [9]float64

// At returns where a point goes.
func (m Map) At(p Point) Point {
	w := m[6]*p.X + m[7]*p.Y + m[8]
	return Point{(m[0]*p.X + m[1]*p.Y + m[2]) / w, (m[3]*p.X + m[4]*p.Y + m[5]) / w}
}

// Then returns the map that does m first and n after it.
func (m Map) Then(n Map) (r Map) {
	for i := range 3 {
		for j := range 3 {
			for k := range 3 {
				r[3*i+j] += n[3*i+k] * m[3*k+j]
			}
		}
	}
	return r
}

// Inverse returns the map back. It is not a number where m takes all to a line.
func (m Map) Inverse() Map {
	a := Map{
		m[4]*m[8] - m[5]*m[7], m[2]*m[7] - m[1]*m[8], m[1]*m[5] - m[2]*m[4],
		m[5]*m[6] - m[3]*m[8], m[0]*m[8] - m[2]*m[6], m[2]*m[3] - m[0]*m[5],
		m[3]*m[7] - m[4]*m[6], m[1]*m[6] - m[0]*m[7], m[0]*m[4] - m[1]*m[3],
	}
	det := m[0]*a[0] + m[1]*a[3] + m[2]*a[6]
	for i := range a {
		a[i] /= det
	}
	return a
}

// Onto returns the map of [Square] on a quad whose angles are below 180°: Heckbert, "Fundamentals of texture mapping
// and image warping", 1989, section 2.2.3, which maps the unit square.
func Onto(q Quad) Map {
	unit := Map{0.5, 0, 0.5, 0, 0.5, 0.5, 0, 0, 1} // Square on [0, 1]²
	sx, sy := q[0].X-q[1].X+q[2].X-q[3].X, q[0].Y-q[1].Y+q[2].Y-q[3].Y
	dx1, dy1, dx2, dy2 := q[1].X-q[2].X, q[1].Y-q[2].Y, q[3].X-q[2].X, q[3].Y-q[2].Y
	det := dx1*dy2 - dx2*dy1
	g, h := (sx*dy2-dx2*sy)/det, (dx1*sy-sx*dy1)/det
	return unit.Then(Map{
		q[1].X - q[0].X + g*q[1].X, q[3].X - q[0].X + h*q[3].X, q[0].X,
		q[1].Y - q[0].Y + g*q[1].Y, q[3].Y - q[0].Y + h*q[3].Y, q[0].Y,
		g, h, 1,
	})
}

// Turned returns where the corners of [Square] are seen when it is turned in its plane by roll, about the vertical by
// yaw and about the horizontal by pitch, in radians, and looked at from a distance in halves of its side, above 1.5.
// Its middle stays, and without any turn it stays as it is.
func Turned(roll, yaw, pitch, distance float64) (q Quad) {
	for i, p := range Square {
		sin, cos := math.Sincos(roll)
		x, y := cos*p.X-sin*p.Y, sin*p.X+cos*p.Y
		sin, cos = math.Sincos(yaw)
		x, z := cos*x, sin*x
		sin, cos = math.Sincos(pitch)
		y, z = cos*y-sin*z, sin*y+cos*z
		q[i] = Point{x * distance / (distance + z), y * distance / (distance + z)}
	}
	return q
}

// Scaled returns the quad with its corners multiplied by sx and sy, and moved by (x, y).
func (q Quad) Scaled(sx, sy, x, y float64) Quad {
	for i, p := range q {
		q[i] = Point{p.X*sx + x, p.Y*sy + y}
	}
	return q
}
