package attack

import (
	"math"

	"advlab/advlib"
)

// Of an image, noise is made of the lowest quarter of the frequencies of each side, but of at least 8.
const (
	lowShare = 0.25
	lowLeast = 8
)

// lowFrequencies returns what draws a direction, and returns its length, whose waves are the given share of the lowest
// frequencies of each side of an image, and the number of those waves. A share of 0 is chosen by the size of the
// image; a flat input has all frequencies, as white noise has.
func lowFrequencies(d *decisions, share float64) (draw func(u []float64) float64, waves int) {
	h, w, c := extent(d.Shape)
	of := func(n int) int {
		switch {
		case len(d.Shape) < 2:
			return n
		case share == 0:
			return min(n, max(lowLeast, int(math.Ceil(lowShare*float64(n)))))
		}
		return int(math.Ceil(share * float64(n)))
	}
	rows, columns := of(h), of(w)
	if rows >= h && columns >= w {
		return d.sphere, len(d.free)
	}
	across, down := cosineWaves(w, columns), cosineWaves(h, rows)
	half, z := make([]float64, rows*w), make([]float64, len(across))
	return func(u []float64) float64 {
		for k := range c {
			// u = Dᵀ·z·A, with z the coefficients, white
			for i := range rows {
				clear(half[i*w : (i+1)*w])
				d.Normals(z)
				for n, wave := range across {
					for x, v := range wave {
						half[i*w+x] += z[n] * v
					}
				}
			}
			for y := range h {
				for x := range w {
					s := 0.
					for i, wave := range down {
						s += wave[y] * half[i*w+x]
					}
					u[(y*w+x)*c+k] = s
				}
			}
		}
		return advlib.L2.Length(u)
	}, rows * columns * c
}

// cosineWaves returns the first count waves of the orthonormal cosine transform (DCT-II) of length n.
func cosineWaves(n, count int) [][]float64 {
	waves := make([][]float64, count)
	for k := range waves {
		scale := math.Sqrt(2 / float64(n))
		if k == 0 {
			scale = math.Sqrt(1 / float64(n))
		}
		waves[k] = make([]float64, n)
		for x := range n {
			waves[k][x] = scale * math.Cos(math.Pi*(float64(x)+0.5)*float64(k)/float64(n))
		}
	}
	return waves
}
