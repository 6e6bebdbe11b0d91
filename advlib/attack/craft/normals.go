package craft

import (
	"encoding/binary"
	"math/bits"
	"math/rand/v2"
	"sync"
)

// normals draws normal numbers, many at once: the same that Rand.NormFloat64 of package math/rand/v2 returns one by
// one. That one spends half of its time on calls. Here the generator's state stays in registers, and the common case of
// the ziggurat method (Marsaglia & Tsang 2000), 99 of 100 numbers, is written out; the others are left to math/rand/v2.
type normals struct {
	source *rand.PCG
	rand   *rand.Rand
}

// newNormals draws from a source that others may draw from in between.
func newNormals(source *rand.PCG) normals { return normals{source, rand.New(source)} }

// Constants of rand.PCG: PCG-DXSM by O'Neill, as in NumPy, with a multiplier of 128 bits.
const (
	pcgMulHi, pcgMulLo = 2549297995355413924, 4865540595714422341
	pcgIncHi, pcgIncLo = 6364136223846793005, 1442695040888963407
	pcgCheapMul        = 0xda942042e4dd58b5
)

// fill fills u, and returns the sum of the squares, added in order.
func (n normals) fill(u []float64) (squares float64) {
	layers := layersOfNormals()
	hi, lo := n.state()
	for k := range u {
		nextHi, nextLo := bits.Mul64(lo, pcgMulLo)
		nextHi += hi*pcgMulLo + lo*pcgMulHi
		nextLo, carry := bits.Add64(nextLo, pcgIncLo, 0)
		nextHi, _ = bits.Add64(nextHi, pcgIncHi, carry)
		r := nextHi
		r ^= r >> 32
		r *= pcgCheapMul
		r ^= r >> 48
		r *= nextLo | 1
		j := int32(r)
		layer := &layers[r>>32%uint64(len(layers))]
		var z float64
		if sign := j >> 31; uint32(j^sign-sign) < layer.below {
			z, hi, lo = float64(j)*layer.width, nextHi, nextLo
		} else {
			n.source.Seed(hi, lo)
			z = n.rand.NormFloat64()
			hi, lo = n.state()
		}
		u[k] = z
		squares += z * z
	}
	n.source.Seed(hi, lo)
	return squares
}

// state returns that of the source, which Seed sets.
func (n normals) state() (hi, lo uint64) {
	var text [20]byte
	b, _ := n.source.AppendBinary(text[:0]) // "pcg:" and the two numbers; it has no errors
	return binary.BigEndian.Uint64(b[4:]), binary.BigEndian.Uint64(b[12:])
}

// layer is one of the ziggurat's: of 32 random bits j, with a sign, it makes j·width where |j| < below.
type layer struct {
	below uint32
	width float64
}

// layersOfNormals returns the layers that math/rand/v2 has, found by asking it what it makes of chosen bits: where it
// needs no more of them, the number is a layer's.
var layersOfNormals = sync.OnceValue(func() *[128]layer {
	var layers [128]layer
	for i := range layers {
		of := func(j int64) (z float64, common bool) {
			s := &chosenBits{first: uint64(i)<<32 | uint64(j)}
			z = rand.New(s).NormFloat64()
			return z, s.asked == 1
		}
		below, above := int64(0), int64(1)<<31
		for below < above {
			middle := (below + above) / 2
			if _, common := of(middle); common {
				below = middle + 1
			} else {
				above = middle
			}
		}
		layers[i].below = uint32(below)
		layers[i].width, _ = of(1)
	}
	return &layers
})

// chosenBits are the first that it returns; what follows ends the search for a number at once.
type chosenBits struct {
	first uint64
	asked int
}

// Uint64 implements [rand.Source].
func (s *chosenBits) Uint64() uint64 {
	s.asked++
	if s.asked == 1 {
		return s.first
	}
	return 2 << 32 // the number 0, of a layer that has it
}
