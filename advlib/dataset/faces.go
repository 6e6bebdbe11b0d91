package dataset

import (
	"fmt"
	"math"
	"math/rand/v2"

	"advlab/advlib"
	"advlab/advlib/internal/perspective"
)

// facesHeight and facesWidth are those of the ORL faces, halved.
const facesHeight, facesWidth = 56, 46

// Faces draws shots pictures each of so many persons: gray, [56, 46, 1] in [0, 1], shot by shot. They are synthetic,
// and nobody's: drawn from distributions that are in this package's code. Real ones are read by [Folder], from a folder
// for each person.
//
// A person is the shape of the head, hair, brows, eyes, nose, mouth, perhaps a beard or glasses. What differs from shot
// to shot is where the face is and how it is turned, the expression, the light from one side or the other, blur and
// noise. The same numbers and seed give the same pictures; another seed draws other persons.
func Faces(persons, shots int, seed uint64) *advlib.Examples {
	n := persons * shots
	x, y := make([]float32, 0, n*facesHeight*facesWidth), make([]int32, n)
	drawn := make([]person, persons)
	for k := range drawn {
		drawn[k] = newPerson(rand.New(rand.NewPCG(seed, uint64(k))))
	}
	for i := range n {
		k := i % persons
		y[i] = int32(k)
		x = drawn[k].shot(rand.New(rand.NewPCG(seed, 1<<32+uint64(i)))).take(x, 1)
	}
	e, err := advlib.NewExamples("synthetic faces", x, []int{facesHeight, facesWidth, 1}, y)
	if err != nil {
		panic(fmt.Sprintf("dataset: synthetic faces: %v", err)) // a test draws them
	}
	for k := range persons {
		e.Classes = append(e.Classes, fmt.Sprintf("person %d", k+1))
	}
	return e
}

// person is what stays the same of a face, in a plane from −1 to 1.
type person struct {
	skin, hair, brow, lips, iris          float64 // how bright
	wide, jaw, high                       float64 // of the head
	hairline, hairWide, parting           float64
	eyes, eyeX, eyeSize, browY, browTilt  float64
	noseLong, noseWide, mouthY, mouthWide float64
	lipHigh, ears                         float64
	beard, glasses, bald                  bool
}

func newPerson(r *rand.Rand) person {
	return person{
		skin: between(r, 0.42, 0.85), hair: between(r, 0.05, 0.5), brow: between(r, 0.1, 0.35), lips: between(r, 0.3, 0.5),
		iris: between(r, 0.05, 0.3),
		wide: between(r, 0.48, 0.74), jaw: between(r, 0.4, 0.98), high: between(r, 0.7, 0.9),
		hairline: between(r, -0.68, -0.34), hairWide: between(r, 1.0, 1.35), parting: between(r, -0.7, 0.7),
		eyes: between(r, -0.24, -0.02), eyeX: between(r, 0.19, 0.35), eyeSize: between(r, 0.06, 0.14), browY: between(r, 0.12, 0.2),
		browTilt: between(r, -0.06, 0.06), noseLong: between(r, 0.2, 0.36), noseWide: between(r, 0.06, 0.13), mouthY: between(r, 0.38, 0.5),
		mouthWide: between(r, 0.14, 0.28), lipHigh: between(r, 0.025, 0.06), ears: between(r, 0.1, 0.2),
		beard: r.Float64() < 0.2, glasses: r.Float64() < 0.2, bald: r.Float64() < 0.12,
	}
}

// shot draws a picture.
func (p person) shot(r *rand.Rand) *canvas {
	c := newCanvas(facesHeight, facesWidth)
	back, rough := between(r, 0.38, 0.48), texture(r, facesHeight, facesWidth, 12)
	for i := range c.pixels {
		c.pixels[i] = gray(back + 0.05*rough[i])
	}
	smile, open, blink, gaze := between(r, -0.04, 0.05), max(0, between(r, -0.05, 0.04)), between(r, 0.6, 1), between(r, -0.02, 0.02)
	turn := between(r, -0.06, 0.06) // of the head to a side: what is in front moves more than the outline
	head := func(x, y float64) bool {
		wide := p.wide
		if y > 0 {
			wide *= 1 - (1-p.jaw)*y*0.6
		}
		return x*x/(wide*wide)+y*y/(p.high*p.high) <= 1
	}
	face := func(s shape) shape { return func(x, y float64) bool { return s(x-turn, y) } }
	both := func(s shape) shape { return face(func(x, y float64) bool { return s(math.Abs(x), y) }) }
	layers := []layer{}
	add := func(v float64, s shape) { layers = append(layers, layer{in: s, of: gray(v)}) }
	add(p.skin*0.75, rectangle(-0.3, 0.5, 0.3, 1)) // neck
	add(between(r, 0.2, 0.5), func(x, y float64) bool { return y > 0.86+0.2*(x*x-0.1) })
	if !p.bald {
		add(p.hair, func(x, y float64) bool {
			x /= p.wide * p.hairWide
			return x*x+(y+0.12)*(y+0.12)/(0.86*0.86) <= 1 && y < 0.2
		})
	}
	add(p.skin*0.85, func(x, y float64) bool { return ellipse(p.wide, p.eyes+0.12, p.ears*0.6, p.ears)(math.Abs(x), y) })
	add(p.skin, head)
	if !p.bald {
		add(p.hair, func(x, y float64) bool { return head(x, y) && y < p.hairline+0.25*(x-p.parting)*(x-p.parting) })
	}
	if p.beard {
		add(p.skin*0.6, func(x, y float64) bool { return head(x, y) && y > p.mouthY-0.1+0.2*x*x && math.Abs(x-turn) < 0.5 })
	}
	eye := ellipse(p.eyeX, p.eyes, p.eyeSize*1.35, p.eyeSize*blink)
	add(0.9, both(eye))
	add(p.iris, face(func(x, y float64) bool {
		return eye(math.Abs(x), y) && disc(p.eyeX, p.eyes, p.eyeSize*0.7)(math.Abs(x-gaze), y)
	}))
	add(p.brow, both(strokes(0.03, [2]float64{p.eyeX - 0.13, p.eyes - p.browY + p.browTilt},
		[2]float64{p.eyeX + 0.13, p.eyes - p.browY - p.browTilt})))
	add(p.skin*0.82, both(strokes(0.02, [2]float64{0.03, p.eyes}, [2]float64{p.noseWide, p.eyes + p.noseLong})))
	add(p.skin*0.55, both(ellipse(p.noseWide*0.7, p.eyes+p.noseLong+0.02, 0.035, 0.025)))
	lip := func(x, y float64) bool {
		x /= p.mouthWide
		return math.Abs(x) <= 1 && math.Abs(y-p.mouthY+smile*(x*x-0.5)*2) <= (p.lipHigh+open)*math.Sqrt(1-x*x)
	}
	add(p.lips, face(lip))
	add(0.12, face(func(x, y float64) bool {
		return open > 0.01 && lip(x*1.3, p.mouthY+(y-p.mouthY)*(p.lipHigh+open)/open*1.1)
	}))
	if p.glasses {
		ring := func(x, y float64) bool {
			return ellipse(p.eyeX, p.eyes, 0.2, 0.15)(x, y) && !ellipse(p.eyeX, p.eyes, 0.165, 0.115)(x, y)
		}
		add(0.12, both(func(x, y float64) bool {
			return ring(x, y) || rectangle(0, p.eyes-0.03, p.eyeX-0.17, p.eyes+0.01)(x, y)
		}))
	}
	size := between(r, 0.96, 1.04)
	corners := perspective.Turned(between(r, -0.07, 0.07), 0, 0, 4).Scaled(facesWidth/2.*size*1.15, facesHeight/2.*size,
		facesWidth/2.+between(r, -1.3, 1.3), facesHeight/2.+between(r, -1.3, 1.3))
	c.stamp(newStencil(layers...), perspective.Onto(corners).Inverse(), colour{})
	c.blur(between(r, 0.5, 0.8))
	c.expose(r, gray(between(r, 0.8, 1.15)), gray(between(r, 0, 0.06)), between(r, 0, 0.3), between(r, 0.01, 0.02))
	return c
}
