package signs

import (
	"fmt"
	"math"
	"math/rand/v2"

	"github.com/gomlx/gomlx/core/tensors"

	"advlab/advlib"
	"advlab/advlib/dataset"
	"advlab/advlib/internal/perspective"
)

// Viewpoints are from where, in which light and by which camera a sign may be seen: the transformations over which an
// attack's effect is averaged. Each is drawn uniformly. The zero value has the defaults; Still has none of them.
type Viewpoints struct {
	// Roll turns the camera, Yaw and Pitch are how far it stands to the side of the sign's axis and above or below it, in
	// degrees to either side. 0 means 8, 30 and 12.
	Roll, Yaw, Pitch float64
	// Nearer is by which share the sign may be larger or smaller than in the picture; 0 means 0.15. Aside is by which
	// share of the picture's sides it may be moved; 0 means 0.04.
	Nearer, Aside float64
	// Light is by which factor it may be darker or brighter, at least 1; 0 means 1.5. Tint is by which share one colour
	// may be stronger or weaker than the others; 0 means 0.06. Haze is the most that is added to all pixels, as a share of
	// the width of the box; 0 means 0.08.
	Light, Tint, Haze float64
	// Blur is the largest standard deviation of the camera's blur in pixels, 0 means 0.7; Noise that of its noise, as a
	// share of the width of the box, 0 means 0.015.
	Blur, Noise float64
	// Still draws none: each view is the picture itself.
	Still bool
}

func (v Viewpoints) filled() Viewpoints {
	if v.Still {
		return Viewpoints{Still: true, Light: 1}
	}
	for _, f := range []struct {
		of        *float64
		otherwise float64
	}{{&v.Roll, 8}, {&v.Yaw, 30}, {&v.Pitch, 12}, {&v.Nearer, 0.15}, {&v.Aside, 0.04}, {&v.Light, 1.5}, {&v.Tint, 0.06}, {&v.Haze, 0.08},
		{&v.Blur, 0.7}, {&v.Noise, 0.015}} {
		if *f.of == 0 {
			*f.of = f.otherwise
		}
	}
	return v
}

// String returns for example "±8° roll, ±30° yaw, ±12° pitch, ±15 % near, light ×1.5, blur 0.7, noise 0.015".
func (v Viewpoints) String() string {
	if v.Still {
		return "the pictures themselves"
	}
	v = v.filled()
	return fmt.Sprintf("±%g° roll, ±%g° yaw, ±%g° pitch, ±%g %% near, light ×%g, blur %g, noise %g", v.Roll, v.Yaw, v.Pitch, 100*v.Nearer,
		v.Light, v.Blur, v.Noise)
}

func (v Viewpoints) check() error {
	if v.Still {
		if v != (Viewpoints{Still: true}) {
			return fmt.Errorf("a Still view and %+v contradict each other: leave one of the two out", v)
		}
		return nil
	}
	f := v.filled()
	for _, field := range []struct {
		name          string
		value, lo, hi float64
	}{{"Roll", f.Roll, 0, 180}, {"Yaw", f.Yaw, 0, 70}, {"Pitch", f.Pitch, 0, 70}, {"Nearer", f.Nearer, 0, 0.9}, {"Aside", f.Aside, 0, 0.5},
		{"Light", f.Light, 1, 100}, {"Tint", f.Tint, 0, 0.9}, {"Haze", f.Haze, 0, 1}, {"Blur", f.Blur, 0, 10}, {"Noise", f.Noise, 0, 1}} {
		if !(field.value >= field.lo && field.value <= field.hi) {
			return fmt.Errorf("Viewpoints.%s = %g is not in [%g, %g]", field.name, field.value, field.lo, field.hi)
		}
	}
	return nil
}

// Framed returns examples with the same pose for all: a square in the middle that takes the given share of each side,
// in (0, 1], as in pictures that were cut out around the sign. GTSRB has a margin of about a tenth around it: 0.8.
func Framed(e *advlib.Examples, share float64) *dataset.Posed {
	p := &dataset.Posed{Examples: e, Pose: make([]dataset.Quad, e.Len())}
	lo, hi := (1-share)/2, (1+share)/2
	for i := range p.Pose {
		p.Pose[i] = dataset.Quad{{lo, lo}, {hi, lo}, {hi, hi}, {lo, hi}}
	}
	return p
}

// Views are pictures of signs from drawn viewpoints, without a sticker. A [Print] knows where the sign is in each.
type Views struct {
	// Examples are the pictures; the number of an example is that of its view.
	*advlib.Examples
	// Of tells which picture each view is of.
	Of []int

	plane plane
	box   advlib.Box
	view  []view
}

// plane is a picture of height × width pixels with so many values each.
type plane struct{ height, width, channels int }

// view is what is between a sign and its picture.
type view struct {
	toSign     perspective.Map // from pixels to the sign's plane
	under      []float32       // the picture before the blur, in 0..1
	gain, haze []float64       // of each channel, in this light
	blur       float64
	noise      []float32
	ink        uint64 // what keys the printer's error
}

// Draw draws n views of the examples, in turn. It fails for inputs that are no pictures [height, width, channels] of 1
// to 4 channels, or have values outside of the box. The same seed draws the same.
func (v Viewpoints) Draw(of *dataset.Posed, n int, box advlib.Box, seed uint64) (*Views, error) {
	if err := v.check(); err != nil {
		return nil, fmt.Errorf("signs: %w", err)
	}
	if of == nil || of.Examples == nil || of.Len() == 0 || n < 1 {
		return nil, fmt.Errorf("signs: %d views of no examples: give at least one of each", n)
	}
	dims := of.Shape()
	if len(dims) != 3 || dims[2] > 4 {
		return nil, fmt.Errorf("signs: %s has inputs of the shape %v: views are of pictures [height, width, channels]", of.Name, dims)
	}
	if len(of.Pose) != of.Len() {
		return nil, fmt.Errorf("signs: %s has %d poses of %d examples", of.Name, len(of.Pose), of.Len())
	}
	for i, q := range of.Pose {
		if m := perspective.Onto(quad(q, 1, 1)).Inverse(); math.IsNaN(m[0]) || math.IsInf(m[0], 0) {
			return nil, fmt.Errorf("signs: the pose %v of example %d is no square in perspective", q, i)
		}
	}
	w := &Views{plane: plane{dims[0], dims[1], dims[2]}, box: box}
	x := tensors.MustCopyFlatData[float32](of.X)
	size := len(x) / of.Len()
	flat, y := make([]float32, 0, n*size), make([]int32, n)
	for i := range n {
		k := i % of.Len()
		r := rand.New(rand.NewPCG(seed, uint64(i)))
		shot := v.filled().shoot(r, w.plane, x[k*size:(k+1)*size], quad(of.Pose[k], float64(dims[1]), float64(dims[0])), box)
		w.view, w.Of, y[i] = append(w.view, shot), append(w.Of, k), of.Y[k]
		flat = append(flat, shot.develop(w.plane, shot.under, box)...)
	}
	var err error
	if w.Examples, err = advlib.NewExamples(fmt.Sprintf("%s, %d viewpoints", of.Name, n), flat, dims, y); err != nil {
		return nil, fmt.Errorf("signs: %w", err)
	}
	w.Classes = of.Classes
	return w, nil
}

// quad is a pose in pixels.
func quad(q dataset.Quad, width, height float64) (p perspective.Quad) {
	for i, c := range q {
		p[i] = perspective.Point{X: c[0] * width, Y: c[1] * height}
	}
	return p
}

// shoot draws a view of a picture. The whole picture turns with the sign's plane, as what is far behind it does not;
// the sign is most of it.
func (v Viewpoints) shoot(r *rand.Rand, on plane, x []float32, pose perspective.Quad, box advlib.Box) view {
	either := func(most float64) float64 { return most * (2*r.Float64() - 1) }
	const degree = math.Pi / 180
	scale := 1 + either(v.Nearer)
	turned := perspective.Turned(degree*either(v.Roll), degree*either(v.Yaw), degree*either(v.Pitch), 4)
	turn := perspective.Onto(turned.Scaled(scale, scale, 0, 0))
	aside := perspective.Map{1, 0, either(v.Aside) * float64(on.width), 0, 1, either(v.Aside) * float64(on.height), 0, 0, 1}
	toPicture := perspective.Onto(pose)
	s := view{toSign: toPicture.Inverse()}
	back := perspective.Map{1, 0, 0, 0, 1, 0, 0, 0, 1}
	if !v.Still {
		s.toSign = turn.Then(toPicture).Then(aside).Inverse()
		back = s.toSign.Then(toPicture)
	}
	light := math.Exp(either(math.Log(v.Light)))
	haze := v.Haze * r.Float64()
	for range on.channels {
		s.gain, s.haze = append(s.gain, light*(1+either(v.Tint))), append(s.haze, haze)
	}
	s.blur, s.ink = v.Blur*r.Float64(), r.Uint64()
	σ := v.Noise * r.Float64()
	s.under, s.noise = make([]float32, len(x)), make([]float32, len(x))
	for i := range on.height * on.width {
		p := perspective.Point{X: float64(i%on.width) + 0.5, Y: float64(i/on.width) + 0.5}
		if !v.Still {
			p = back.At(p)
		}
		for c := range on.channels {
			j := i*on.channels + c
			s.under[j] = float32(s.lit(c, (on.sample(x, p, c)-box.Lo)/box.Width()))
			s.noise[j] = float32(σ * r.NormFloat64())
		}
	}
	return s
}

// lit is how bright a colour of 0..1 is in the view's light.
func (s view) lit(channel int, v float64) float64 { return s.gain[channel]*v + s.haze[channel] }

// sample interpolates between the four pixels around a place; beyond the edge all is as at the edge.
func (on plane) sample(x []float32, at perspective.Point, channel int) float64 {
	v, u := min(max(at.Y-0.5, 0), float64(on.height-1)), min(max(at.X-0.5, 0), float64(on.width-1))
	r0, c0 := int(v), int(u)
	r1, c1 := min(r0+1, on.height-1), min(c0+1, on.width-1)
	a, b := v-float64(r0), u-float64(c0)
	get := func(r, c int) float64 { return float64(x[(r*on.width+c)*on.channels+channel]) }
	return (1-a)*((1-b)*get(r0, c0)+b*get(r0, c1)) + a*((1-b)*get(r1, c0)+b*get(r1, c1))
}

// develop is the rest of the camera: blur, noise, and what the box can hold.
func (s view) develop(on plane, sharp []float32, box advlib.Box) []float32 {
	out := make([]float32, len(sharp))
	rows, columns := band(on.height, s.blur), band(on.width, s.blur)
	across := make([]float64, len(sharp))
	for i := range on.height {
		for j := range on.width {
			for k, w := range columns[j*on.width : (j+1)*on.width] {
				if w == 0 {
					continue
				}
				for c := range on.channels {
					across[(i*on.width+j)*on.channels+c] += float64(w) * float64(sharp[(i*on.width+k)*on.channels+c])
				}
			}
		}
	}
	line := on.width * on.channels
	for i := range on.height {
		sum := make([]float64, line)
		for k, w := range rows[i*on.height : (i+1)*on.height] {
			if w == 0 {
				continue
			}
			for j := range sum {
				sum[j] += float64(w) * across[k*line+j]
			}
		}
		for j, v := range sum {
			v = min(max(v+float64(s.noise[i*line+j]), 0), 1)
			out[i*line+j] = float32(min(max(box.Lo+box.Width()*v, box.Lo), box.Hi))
		}
	}
	return out
}

// band is a Gaussian blur of standard deviation σ along an axis of n pixels, as a matrix [n, n]; what would come from
// beyond the edge comes from the edge.
func band(n int, σ float64) []float32 {
	m := make([]float32, n*n)
	if σ < 0.1 {
		for i := range n {
			m[i*n+i] = 1
		}
		return m
	}
	reach := int(math.Ceil(3 * σ))
	var sum float64
	for d := -reach; d <= reach; d++ {
		sum += math.Exp(-float64(d*d) / (2 * σ * σ))
	}
	for i := range n {
		for d := -reach; d <= reach; d++ {
			m[i*n+min(max(i+d, 0), n-1)] += float32(math.Exp(-float64(d*d)/(2*σ*σ)) / sum)
		}
	}
	return m
}
