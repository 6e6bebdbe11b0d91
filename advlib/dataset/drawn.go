package dataset

import (
	"math"
	"math/rand/v2"

	"advlab/advlib/internal/perspective"
)

// What the generated sets of this package are drawn with: shapes in a plane from −1 to 1, colours in 0..1.

// colour is red, green, blue.
type colour [3]float64

func gray(v float64) colour { return colour{v, v, v} }

func (c colour) mix(d colour, share float64) colour {
	for k := range c {
		c[k] += share * (d[k] - c[k])
	}
	return c
}

// any colour, not too dark and not too bright.
func anyColour(r *rand.Rand) colour {
	return colour{0.1 + 0.8*r.Float64(), 0.1 + 0.8*r.Float64(), 0.1 + 0.8*r.Float64()}
}

func between(r *rand.Rand, lo, hi float64) float64 { return lo + (hi-lo)*r.Float64() }

// shape tells whether a point is inside.
type shape func(x, y float64) bool

// regular is a polygon whose middles of sides are at the distance apothem, the first of them at an angle from the
// right, clockwise.
func regular(sides int, apothem, angle float64) shape {
	return func(x, y float64) bool {
		for k := range sides {
			sin, cos := math.Sincos(angle + 2*math.Pi*float64(k)/float64(sides))
			if x*cos+y*sin > apothem {
				return false
			}
		}
		return true
	}
}

func disc(x0, y0, radius float64) shape { return ellipse(x0, y0, radius, radius) }

func ellipse(x0, y0, rx, ry float64) shape {
	return func(x, y float64) bool {
		x, y = (x-x0)/rx, (y-y0)/ry
		return x*x+y*y <= 1
	}
}

func rectangle(x0, y0, x1, y1 float64) shape {
	return func(x, y float64) bool { return x >= x0 && x <= x1 && y >= y0 && y <= y1 }
}

// strokes is a pen's way, of half the width given, from point to point; a point {NaN, NaN} lifts it.
func strokes(half float64, way ...[2]float64) shape {
	return func(x, y float64) bool {
		for i := 1; i < len(way); i++ {
			a, b := way[i-1], way[i]
			dx, dy := b[0]-a[0], b[1]-a[1]
			along := min(max(((x-a[0])*dx+(y-a[1])*dy)/(dx*dx+dy*dy), 0), 1)
			if ex, ey := x-a[0]-along*dx, y-a[1]-along*dy; ex*ex+ey*ey <= half*half {
				return true
			}
		}
		return false
	}
}

var lift = [2]float64{math.NaN(), math.NaN()}

// glyphs are letters and digits as ways of a pen, 1 wide and 2 high from the top left.
var glyphs = map[rune][][2]float64{
	'0': {{0, 0.4}, {0.5, 0}, {1, 0.4}, {1, 1.6}, {0.5, 2}, {0, 1.6}, {0, 0.4}},
	'1': {{0.1, 0.5}, {0.6, 0}, {0.6, 2}},
	'3': {{0, 0.2}, {0.5, 0}, {1, 0.4}, {0.9, 0.8}, {0.4, 0.95}, {0.9, 1.1}, {1, 1.6}, {0.5, 2}, {0, 1.8}},
	'5': {{0.95, 0}, {0.1, 0}, {0, 0.9}, {0.5, 0.75}, {1, 1.1}, {1, 1.6}, {0.5, 2}, {0, 1.8}},
	'8': {{0.5, 0.95}, {0.05, 0.6}, {0.1, 0.2}, {0.5, 0}, {0.9, 0.2}, {0.95, 0.6}, {0.5, 0.95}, {0, 1.4}, {0.1, 1.8}, {0.5, 2}, {0.9, 1.8},
		{1, 1.4}, {0.5, 0.95}},
	'S': {{1, 0.3}, {0.5, 0}, {0, 0.3}, {0.1, 0.8}, {0.9, 1.2}, {1, 1.7}, {0.5, 2}, {0, 1.7}},
	'T': {{0, 0}, {1, 0}, lift, {0.5, 0}, {0.5, 2}},
	'O': {{0, 0.4}, {0.5, 0}, {1, 0.4}, {1, 1.6}, {0.5, 2}, {0, 1.6}, {0, 0.4}},
	'P': {{0, 2}, {0, 0}, {0.7, 0}, {1, 0.3}, {1, 0.8}, {0.7, 1.1}, {0, 1.1}},
	'!': {{0.5, 0}, {0.5, 1.2}, lift, {0.5, 1.8}, {0.5, 1.9}},
}

// lettering is a word in the middle of (x, y), with letters of a height, and a width to each of their own.
func lettering(word string, x, y, height, width, half float64) shape {
	var way [][2]float64
	letters := []rune(word)
	pitch := width * 1.45
	left := x - (pitch*float64(len(letters)-1)+width)/2
	for i, letter := range letters {
		if i > 0 {
			way = append(way, lift)
		}
		for _, p := range glyphs[letter] {
			way = append(way, [2]float64{left + pitch*float64(i) + p[0]*width, y - height/2 + p[1]*height/2})
		}
	}
	return strokes(half, way...)
}

// layer is a shape in a colour. Its tint is how much of the colour is another of each example, as of clothes.
type layer struct {
	in   shape
	of   colour
	tint float64
}

// stencil are layers from −1 to 1 in pixels, to be looked up: what a picture of it costs does not grow with them.
type stencil struct {
	of      []colour
	tint    []float64
	covered []bool
}

const stencilSide = 128

func newStencil(layers ...layer) *stencil {
	const n = stencilSide
	s := &stencil{make([]colour, n*n), make([]float64, n*n), make([]bool, n*n)}
	for i := range n * n {
		x, y := (float64(i%n)+0.5)*2/n-1, (float64(i/n)+0.5)*2/n-1
		for _, l := range layers {
			if l.in(x, y) {
				s.of[i], s.tint[i], s.covered[i] = l.of, l.tint, true
			}
		}
	}
	return s
}

// at returns the colour at a place, and whether there is one.
func (s *stencil) at(x, y float64, tint colour) (c colour, covered bool) {
	if !(x > -1 && x < 1 && y > -1 && y < 1) {
		return c, false
	}
	i := int((y+1)/2*stencilSide)*stencilSide + int((x+1)/2*stencilSide)
	if !s.covered[i] {
		return c, false
	}
	return s.of[i].mix(tint, s.tint[i]), true
}

// canvas is a picture of height × width pixels.
type canvas struct {
	height, width int
	pixels        []colour
}

func newCanvas(height, width int) *canvas {
	return &canvas{height, width, make([]colour, height*width)}
}

// stamp puts a stencil where from tells, which leads from pixels to its plane; each pixel is the mean of 3 × 3 places.
func (c *canvas) stamp(s *stencil, from perspective.Map, tint colour) {
	const n = 3
	for i := range c.pixels {
		var sum colour
		covered := 0
		for k := range n * n {
			p := from.At(perspective.Point{X: float64(i%c.width) + (float64(k%n)+0.5)/n, Y: float64(i/c.width) + (float64(k/n)+0.5)/n})
			if v, ok := s.at(p.X, p.Y, tint); ok {
				covered++
				for j := range sum {
					sum[j] += v[j]
				}
			}
		}
		if covered > 0 {
			for j := range sum {
				sum[j] /= float64(covered)
			}
			c.pixels[i] = c.pixels[i].mix(sum, float64(covered)/(n*n))
		}
	}
}

// fill puts a shape in pixels, its edges as in [canvas.stamp].
func (c *canvas) fill(in shape, of colour) {
	const n = 3
	for i := range c.pixels {
		covered := 0
		for k := range n * n {
			if in(float64(i%c.width)+(float64(k%n)+0.5)/n, float64(i/c.width)+(float64(k/n)+0.5)/n) {
				covered++
			}
		}
		c.pixels[i] = c.pixels[i].mix(of, float64(covered)/(n*n))
	}
}

// texture is noise without steps: values at the corners of cells, each of so many pixels, in −1..1, with cubes between.
func texture(r *rand.Rand, height, width int, cell float64) []float64 {
	rows, columns := int(float64(height)/cell)+2, int(float64(width)/cell)+2
	corners := make([]float64, rows*columns)
	for i := range corners {
		corners[i] = 2*r.Float64() - 1
	}
	dy, dx := r.Float64(), r.Float64() // so that corners are not at the same pixels everywhere
	values := make([]float64, height*width)
	smooth := func(v float64) (int, float64) {
		i := int(v)
		t := v - float64(i)
		return i, t * t * (3 - 2*t)
	}
	for i := range values {
		y, v := smooth(float64(i/width)/cell + dy*0.999)
		x, u := smooth(float64(i%width)/cell + dx*0.999)
		y, x = min(y, rows-2), min(x, columns-2)
		at := corners[y*columns+x:]
		values[i] = (1-v)*((1-u)*at[0]+u*at[1]) + v*((1-u)*at[columns]+u*at[columns+1])
	}
	return values
}

// blur is a Gaussian of standard deviation σ pixels; beyond the edge all is as at the edge.
func (c *canvas) blur(σ float64) {
	if σ < 0.1 {
		return
	}
	reach := int(math.Ceil(3 * σ))
	weights := make([]float64, 2*reach+1)
	var sum float64
	for i := range weights {
		d := float64(i - reach)
		weights[i] = math.Exp(-d * d / (2 * σ * σ))
		sum += weights[i]
	}
	pass := func(length, lines int, at func(line, i int) int) {
		for line := range lines {
			was := make([]colour, length)
			for i := range was {
				was[i] = c.pixels[at(line, i)]
			}
			for i := range was {
				var v colour
				for k, w := range weights {
					from := was[min(max(i+k-reach, 0), length-1)]
					for j := range v {
						v[j] += w / sum * from[j]
					}
				}
				c.pixels[at(line, i)] = v
			}
		}
	}
	pass(c.width, c.height, func(line, i int) int { return line*c.width + i })
	pass(c.height, c.width, func(line, i int) int { return i*c.width + line })
}

// expose changes the light, adds the camera's noise of standard deviation σ, and rounds to the 256 steps of a file:
// gain and haze, and a shadow that begins somewhere on the way across.
func (c *canvas) expose(r *rand.Rand, gain, haze colour, shadow, σ float64) {
	sin, cos := math.Sincos(2 * math.Pi * r.Float64())
	for i, p := range c.pixels {
		x, y := (float64(i%c.width)+0.5)*2/float64(c.width)-1, (float64(i/c.width)+0.5)*2/float64(c.height)-1
		light := 1 - shadow*min(max((x*cos+y*sin+0.7)/1.4, 0), 1)
		for k := range p {
			v := p[k]*gain[k]*light + haze[k] + σ*r.NormFloat64()
			p[k] = math.Round(255*min(max(v, 0), 1)) / 255
		}
		c.pixels[i] = p
	}
}

// take appends the pixels with 3 channels, or with the mean of them.
func (c *canvas) take(x []float32, channels int) []float32 {
	for _, p := range c.pixels {
		if channels == 1 {
			x = append(x, float32(math.Round(255*(p[0]+p[1]+p[2])/3)/255))
			continue
		}
		x = append(x, float32(p[0]), float32(p[1]), float32(p[2]))
	}
	return x
}
