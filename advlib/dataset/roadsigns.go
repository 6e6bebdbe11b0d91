package dataset

import (
	"fmt"
	"math"
	"math/rand/v2"
	"sync"

	"advlab/advlib"
	"advlab/advlib/internal/perspective"
)

// Quad is where a square in the world is seen in a picture: its corners top left, top right, bottom right and bottom
// left, each by its column and its row as shares of the picture's width and height, from 0 to 1 inside.
type Quad [4][2]float64

// Posed are examples of which it is known where in the picture the thing is.
type Posed struct {
	*advlib.Examples
	// Pose is, for each example, where the square around the thing is seen.
	Pose []Quad
}

// Select returns the examples of the given rows, in that order.
func (p *Posed) Select(rows []int) *Posed {
	s := &Posed{Examples: p.Examples.Select(rows), Pose: make([]Quad, len(rows))}
	for i, r := range rows {
		s.Pose[i] = p.Pose[r]
	}
	return s
}

const roadSignsSide = 32

// RoadSigns draws n pictures of what stands at a road: synthetic ones, from distributions that are in this package's
// code and are fitted to no photographs, so that a notebook runs without any. [GTSRB] has photographs.
//
// There are ten classes, about equally many of each: an octagon, a triangle, circles and a diamond with their symbols,
// a pedestrian and an obstacle. The pictures are [32, 32, 3] in [0, 1]. What differs from one to the next: how large
// the thing is, how it is turned in its plane and out of it, what is behind it and, in a third of the pictures, before
// it; light, shadow, haze, blur and the noise of a camera. The same n and seed give the same pictures; with another
// seed they are others of the same kind, so that a test set is another call.
func RoadSigns(n int, seed uint64) *Posed {
	drawings := roadDrawings()
	p := &Posed{Pose: make([]Quad, n)}
	x, y := make([]float32, 0, n*roadSignsSide*roadSignsSide*3), make([]int32, n)
	order := rand.New(rand.NewPCG(seed, math.MaxUint64)).Perm(n)
	names := make([]string, len(drawings))
	for i, d := range drawings {
		names[i] = d.name
	}
	for i := range n {
		y[i] = int32(order[i] % len(drawings))
		c, quad := drawings[y[i]].picture(rand.New(rand.NewPCG(seed, uint64(i))))
		x, p.Pose[i] = c.take(x, 3), quad
	}
	var err error
	if p.Examples, err = advlib.NewExamples("synthetic road signs", x, []int{roadSignsSide, roadSignsSide, 3}, y); err != nil {
		panic(fmt.Sprintf("dataset: synthetic road signs: %v", err)) // a test draws them
	}
	p.Classes = names
	return p
}

// drawing is a class of [RoadSigns].
type drawing struct {
	name   string
	looks  []*stencil // one of which it looks like
	worn   bool       // its paint fades; what is no sign has any colour
	ground bool       // it stands on the ground, and is not turned
}

var roadDrawings = sync.OnceValue(func() []drawing {
	red, white, black, yellow := colour{0.75, 0.05, 0.08}, gray(0.93), gray(0.06), colour{0.98, 0.76, 0.05}
	sign := func(name string, layers ...layer) drawing {
		return drawing{name: name, looks: []*stencil{newStencil(layers...)}, worn: true}
	}
	limit := func(number string) drawing {
		return sign("speed limit "+number, layer{in: disc(0, 0, 0.98), of: red}, layer{in: disc(0, 0, 0.72), of: white},
			layer{in: lettering(number, 0, 0, 0.72, 0.36, 0.09), of: black})
	}
	triangle := func(points float64) (outer, inner shape) { // down 1, up −1
		shift := -0.285 * points // its middle lies off that of the square around it
		at := func(s shape) shape { return func(x, y float64) bool { return s(x, y-shift) } }
		return at(regular(3, 0.57, points*math.Pi/6)), at(regular(3, 0.34, points*math.Pi/6))
	}
	outer, inner := triangle(-1)
	yieldOuter, yieldInner := triangle(1)
	all := []drawing{
		limit("30"), limit("50"), limit("80"),
		sign("priority road", layer{in: regular(4, 0.69, math.Pi/4), of: white}, layer{in: regular(4, 0.62, math.Pi/4), of: black},
			layer{in: regular(4, 0.58, math.Pi/4), of: white}, layer{in: regular(4, 0.4, math.Pi/4), of: yellow}),
		sign("yield", layer{in: yieldOuter, of: red}, layer{in: yieldInner, of: white}),
		sign("stop", layer{in: regular(8, 0.97, 0), of: white}, layer{in: regular(8, 0.9, 0), of: red},
			layer{in: lettering("STOP", 0, 0, 0.62, 0.28, 0.06), of: white}),
		sign("no entry", layer{in: disc(0, 0, 0.98), of: white}, layer{in: disc(0, 0, 0.92), of: red},
			layer{in: rectangle(-0.65, -0.18, 0.65, 0.18), of: white}),
		sign("general caution", layer{in: outer, of: red}, layer{in: inner, of: white},
			layer{in: lettering("!", 0, 0.28, 0.62, 0.3, 0.09), of: black}),
	}
	coat, skin, dark := layer{of: gray(0.4), tint: 1}, colour{0.75, 0.57, 0.45}, gray(0.15)
	person := func(stride, arm float64) *stencil {
		body := coat
		body.in = ellipse(0, -0.18, 0.25, 0.42)
		sleeve := coat
		sleeve.in = strokes(0.08, [2]float64{-0.14, -0.45}, [2]float64{-0.3 - arm, 0.05}, lift, [2]float64{0.14, -0.45}, [2]float64{0.3, 0.05})
		return newStencil(layer{in: strokes(0.1, [2]float64{-0.08, 0.15}, [2]float64{-stride, 0.95}, lift, [2]float64{0.08, 0.15},
			[2]float64{stride, 0.95}), of: dark, tint: 0.3}, sleeve, body, layer{in: disc(0, -0.75, 0.19), of: skin},
			layer{in: func(x, y float64) bool { return y < -0.78 && disc(0, -0.75, 0.2)(x, y) }, of: dark})
	}
	stripes := func(in shape, slant float64) []layer {
		striped := func(x, y float64) bool { return in(x, y) && math.Mod(x*1.6+slant*y+20, 1) < 0.5 }
		return []layer{{in: in, of: white}, {in: striped, of: red, tint: 0.15}}
	}
	legs := layer{in: strokes(0.07, [2]float64{-0.6, 0}, [2]float64{-0.7, 0.95}, lift, [2]float64{0.6, 0}, [2]float64{0.7, 0.95}), of: dark}
	box := layer{in: rectangle(-0.75, -0.45, 0.75, 0.95), of: gray(0.5), tint: 1}
	lid := layer{in: rectangle(-0.75, -0.45, 0.75, -0.25), of: gray(0.25), tint: 0.5}
	return append(all,
		drawing{name: "pedestrian", looks: []*stencil{person(0.2, 0), person(0.36, 0.15), person(0.1, 0.05)}, ground: true},
		drawing{name: "obstacle", looks: []*stencil{
			newStencil(append([]layer{legs}, stripes(rectangle(-0.95, -0.35, 0.95, 0.25), 1)...)...),
			newStencil(stripes(ellipse(0, 0.1, 0.5, 0.85), 0)...), newStencil(box, lid)}, ground: true})
})

// picture draws an example.
func (d drawing) picture(r *rand.Rand) (*canvas, Quad) {
	const n = roadSignsSide
	c := street(r)
	size := between(r, 0.30, 0.46) * n // half of what the square around it covers without being turned
	roll, yaw, pitch := between(r, -0.2, 0.2), between(r, -0.75, 0.75), between(r, -0.35, 0.35)
	if d.ground {
		roll, pitch = roll/3, pitch/3
	}
	corners := perspective.Turned(roll, yaw, pitch, between(r, 2.5, 6)).Scaled(size, size,
		n/2+between(r, -0.06, 0.06)*n, n/2+between(r, -0.06, 0.06)*n)
	if !d.ground { // the post
		foot := perspective.Onto(corners).At(perspective.Point{X: 0, Y: 0.5})
		c.fill(rectangle(foot.X-0.04*size*2, foot.Y, foot.X+0.04*size*2, n), gray(between(r, 0.3, 0.6)))
	}
	tint := anyColour(r)
	c.stamp(d.looks[r.IntN(len(d.looks))], perspective.Onto(corners).Inverse(), tint)
	if r.Float64() < 1./3 {
		occlude(r, c)
	}
	if d.worn {
		faded := between(r, 0, 0.25)
		for i := range c.pixels {
			c.pixels[i] = c.pixels[i].mix(gray(0.6), faded)
		}
	}
	c.blur(between(r, 0.2, 1.1))
	light := between(r, 0.3, 1.1)
	gain, haze := gray(light), gray(between(r, 0, 0.22))
	for k := range gain {
		gain[k] *= between(r, 0.88, 1.12)
	}
	c.expose(r, gain, haze, between(r, 0, 0.5), between(r, 0.005, 0.035))
	var q Quad
	for i, p := range corners {
		q[i] = [2]float64{p.X / n, p.Y / n}
	}
	return c, q
}

// street is what is behind: sky or walls, trees, and a road.
func street(r *rand.Rand) *canvas {
	const n = roadSignsSide
	c := newCanvas(n, n)
	top, bottom := anyColour(r), anyColour(r)
	if r.Float64() < 0.6 {
		top, bottom = colour{0.55, 0.7, 0.9}.mix(gray(0.8), r.Float64()), gray(between(r, 0.25, 0.5)).mix(colour{0.2, 0.45, 0.15}, r.Float64())
	}
	horizon, slope := between(r, 0.2, 0.9)*n, between(r, -0.3, 0.3)
	coarse, fine := texture(r, n, n, between(r, 6, 14)), texture(r, n, n, between(r, 2, 4))
	rough, busy := between(r, 0, 0.45), between(r, 0, 0.25)
	blotch := anyColour(r)
	for i := range c.pixels {
		at := top
		if float64(i/n) > horizon+slope*float64(i%n-n/2) {
			at = bottom
		}
		at = at.mix(blotch, rough*(1+coarse[i])/2*2)
		for k := range at {
			at[k] += busy * fine[i]
		}
		c.pixels[i] = at
	}
	for range r.IntN(3) { // houses, other signs
		x, y := between(r, 0, n), between(r, 0, n)
		w, h := between(r, 2, 8), between(r, 2, 10)
		if r.Float64() < 0.5 {
			c.fill(rectangle(x-w, y-h, x+w, y+h), anyColour(r))
		} else {
			c.fill(ellipse(x, y, w, h), anyColour(r))
		}
	}
	return c
}

// occlude puts a twig, a leaf or a spot of dirt before the thing: at most about a seventh of it.
func occlude(r *rand.Rand, c *canvas) {
	const n = roadSignsSide
	of := colour{0.15, 0.3, 0.1}.mix(gray(0.3), r.Float64())
	x, y := between(r, 0.2, 0.8)*n, between(r, 0.2, 0.8)*n
	switch r.IntN(3) {
	case 0:
		sin, cos := math.Sincos(math.Pi * r.Float64())
		c.fill(strokes(between(r, 0.5, 1.3), [2]float64{x - n*cos, y - n*sin}, [2]float64{x + n*cos, y + n*sin}), of)
	case 1:
		c.fill(ellipse(x, y, between(r, 1.5, 4.5), between(r, 1.5, 4.5)), of)
	default:
		for range 4 {
			c.fill(disc(x+between(r, -7, 7), y+between(r, -7, 7), between(r, 0.7, 1.8)), of)
		}
	}
}
