package impact

import (
	"math"
	"math/rand/v2"

	"advlab/advlib/similarity"
)

// kinds are the harmless changes, with the unit of their size and the largest that is tried.
var kinds = []struct {
	name, unit string
	most       func(l similarity.Layout, span float64) float64
	apply      func(l similarity.Layout, x []float32, size float64, random *rand.Rand) []float32
}{
	{"Gaussian noise", "σ", whole, noise},
	{"brighter", "of the range", whole, brighter},
	{"darker", "of the range", whole, func(l similarity.Layout, x []float32, size float64, r *rand.Rand) []float32 {
		return brighter(l, x, -size, r)
	}},
	{"shift to the right", "pixels", func(l similarity.Layout, _ float64) float64 { return float64(l.Width) / 4 }, shift},
	{"rotation", "degrees", func(similarity.Layout, float64) float64 { return 45 }, rotate},
}

func whole(_ similarity.Layout, span float64) float64 { return span }

// largest returns the largest change of a kind whose L2 norm, within the box, is at most that of a perturbation, and
// its size. It halves the interval; the norm need not rise everywhere, so that a larger one may exist, never one that
// is returned too large.
func largest(kind int, l similarity.Layout, x []float32, norm, lo, hi float64, seed uint64) (y []float32, size float64) {
	k := kinds[kind]
	at := func(size float64) []float32 {
		y := k.apply(l, x, size, rand.New(rand.NewPCG(seed, uint64(kind)))) // the same draws at each size
		for i := range y {
			y[i] = float32(min(max(float64(y[i]), lo), hi))
		}
		return y
	}
	fits := func(y []float32) bool {
		var sum float64
		for i := range y {
			d := float64(y[i]) - float64(x[i])
			sum += d * d
		}
		return math.Sqrt(sum) <= norm
	}
	most := k.most(l, hi-lo)
	if y := at(most); fits(y) {
		return y, most
	}
	from, to := 0., most
	y = append([]float32(nil), x...)
	for range 24 {
		half := (from + to) / 2
		if z := at(half); fits(z) {
			from, y = half, z
		} else {
			to = half
		}
	}
	return y, from
}

func noise(_ similarity.Layout, x []float32, size float64, random *rand.Rand) []float32 {
	y := make([]float32, len(x))
	for i, v := range x {
		y[i] = v + float32(size*random.NormFloat64())
	}
	return y
}

func brighter(_ similarity.Layout, x []float32, size float64, _ *rand.Rand) []float32 {
	y := make([]float32, len(x))
	for i, v := range x {
		y[i] = v + float32(size)
	}
	return y
}

func shift(l similarity.Layout, x []float32, size float64, _ *rand.Rand) []float32 {
	return warp(l, x, func(r, c float64) (float64, float64) { return r, c - size })
}

func rotate(l similarity.Layout, x []float32, degrees float64, _ *rand.Rand) []float32 {
	sin, cos := math.Sincos(degrees * math.Pi / 180)
	midR, midC := float64(l.Height-1)/2, float64(l.Width-1)/2
	return warp(l, x, func(r, c float64) (float64, float64) {
		dr, dc := r-midR, c-midC
		return midR + cos*dr - sin*dc, midC + sin*dr + cos*dc
	})
}

// warp takes each pixel from elsewhere, by linear interpolation; beyond the edge it is as at the edge.
func warp(l similarity.Layout, x []float32, from func(r, c float64) (float64, float64)) []float32 {
	y := make([]float32, len(x))
	for r := range l.Height {
		for c := range l.Width {
			u, v := from(float64(r), float64(c))
			u, v = min(max(u, 0), float64(l.Height-1)), min(max(v, 0), float64(l.Width-1))
			r0, c0 := int(u), int(v)
			r1, c1 := min(r0+1, l.Height-1), min(c0+1, l.Width-1)
			a, b := float32(u-float64(r0)), float32(v-float64(c0))
			for k := range l.Channels {
				top := (1-b)*x[l.At(r0, c0, k)] + b*x[l.At(r0, c1, k)]
				low := (1-b)*x[l.At(r1, c0, k)] + b*x[l.At(r1, c1, k)]
				y[l.At(r, c, k)] = (1-a)*top + a*low
			}
		}
	}
	return y
}
