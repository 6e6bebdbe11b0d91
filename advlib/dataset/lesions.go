package dataset

import (
	"fmt"
	"math"
	"math/rand/v2"

	"advlab/advlib"
)

const lesionsSide = 32

// Lesions draws n gray pictures of tissue, [32, 32, 1] in [0, 1], with a lesion in every second one: class 0 is
// healthy, 1 has a lesion. They are synthetic, from distributions that are in this package's code and fitted to no
// patients, and teach nothing about diseases; [MedMNIST] has images of patients.
//
// A lesion is one roundish spot with an irregular, soft edge, anywhere, of any size of a range, darker or lighter than
// the tissue. What is healthy has vessels and small round spots, as the other has, and light that is not the same
// everywhere. The same n and seed give the same pictures.
func Lesions(n int, seed uint64) *advlib.Examples {
	x, y := make([]float32, 0, n*lesionsSide*lesionsSide), make([]int32, n)
	order := rand.New(rand.NewPCG(seed, math.MaxUint64)).Perm(n)
	for i := range n {
		y[i] = int32(order[i] % 2)
		x = tissue(rand.New(rand.NewPCG(seed, uint64(i))), y[i] == 1).take(x, 1)
	}
	e, err := advlib.NewExamples("synthetic lesions", x, []int{lesionsSide, lesionsSide, 1}, y)
	if err != nil {
		panic(fmt.Sprintf("dataset: synthetic lesions: %v", err)) // a test draws them
	}
	e.Classes = []string{"healthy", "lesion"}
	return e
}

// tissue draws a picture.
func tissue(r *rand.Rand, sick bool) *canvas {
	const n = lesionsSide
	c := newCanvas(n, n)
	coarse, fine := texture(r, n, n, between(r, 8, 16)), texture(r, n, n, between(r, 2, 4))
	base, rough, busy := between(r, 0.35, 0.65), between(r, 0.02, 0.08), between(r, 0.02, 0.07)
	for i := range c.pixels {
		c.pixels[i] = gray(base + rough*coarse[i] + busy*fine[i])
	}
	for range 1 + r.IntN(3) { // vessels
		x, y, angle := between(r, 0, n), between(r, 0, n), 2*math.Pi*r.Float64()
		way := [][2]float64{{x, y}}
		for range 5 {
			angle += between(r, -0.5, 0.5)
			x, y = x+7*math.Cos(angle), y+7*math.Sin(angle)
			way = append(way, [2]float64{x, y})
		}
		c.fill(strokes(between(r, 0.4, 0.9), way...), gray(base+between(r, -0.22, 0.22)))
	}
	for range r.IntN(4) { // what is harmless: small, round, with a sharp edge
		c.fill(disc(between(r, 2, n-2), between(r, 2, n-2), between(r, 0.8, 1.8)), gray(base+between(r, -0.25, 0.25)))
	}
	if sick {
		c.lesion(r, base)
	}
	c.blur(between(r, 0.4, 0.8))
	c.expose(r, gray(between(r, 0.8, 1.15)), gray(between(r, 0, 0.1)), between(r, 0, 0.3), between(r, 0.01, 0.03))
	return c
}

// lesion puts one into the tissue: its radius changes with the angle, and its edge is soft.
func (c *canvas) lesion(r *rand.Rand, base float64) {
	const n = lesionsSide
	x0, y0, radius := between(r, 7, n-7), between(r, 7, n-7), between(r, 3, 6)
	contrast := between(r, 0.12, 0.28)
	if r.Float64() < 0.5 {
		contrast = -contrast
	}
	var waves [4][2]float64 // of the edge: how far, and where
	for k := range waves {
		waves[k] = [2]float64{between(r, 0, 0.22), 2 * math.Pi * r.Float64()}
	}
	inner, soft := texture(r, n, n, 3), between(r, 0.15, 0.4)
	for i := range c.pixels {
		dx, dy := float64(i%n)+0.5-x0, float64(i/n)+0.5-y0
		edge, angle := 1., math.Atan2(dy, dx)
		for k, w := range waves {
			edge += w[0] * math.Sin(float64(k+2)*angle+w[1])
		}
		share := min(max((edge-math.Hypot(dx, dy)/radius)/soft+0.5, 0), 1)
		c.pixels[i] = c.pixels[i].mix(gray(base+contrast*(1+0.4*inner[i])), share)
	}
}
