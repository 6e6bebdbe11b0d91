package signs

import (
	"fmt"
	"math/rand/v2"

	. "advlab/advlib/internal/equation"
)

// Gamut is what a printer makes of colours in 0..1: paper is not white, ink is not black, and colours are less strong
// than on a screen. A colour v with the mean g of its channels becomes
//
//	Black + (White − Black)·(g + Saturation·(v − g))
//
// in the mean, which leaves an attack no colour that cannot be printed: a weaker demand, a term of the loss that
// prefers printable colours, is the non-printability score of Sharif et al. (2016,
// https://doi.org/10.1145/2976749.2978392, section 4.2.3). The zero value has the defaults.
type Gamut struct {
	// Black and White are how bright the darkest ink and the paper are; 0 means 0.08 and 0.92.
	Black, White float64
	// Saturation is what is left of the difference to gray; 0 means 0.85.
	Saturation float64
	// Error is by which share each channel of a print may be off, to either side, the same over all of the print; 0 means
	// 0.05.
	Error float64
	// Screen prints each colour as it is, as a screen on the sign would show it.
	Screen bool
}

func (g Gamut) filled() Gamut {
	if g.Screen {
		return Gamut{Screen: true, White: 1, Saturation: 1}
	}
	for _, f := range []struct {
		of        *float64
		otherwise float64
	}{{&g.Black, 0.08}, {&g.White, 0.92}, {&g.Saturation, 0.85}, {&g.Error, 0.05}} {
		if *f.of == 0 {
			*f.of = f.otherwise
		}
	}
	return g
}

// String returns for example "gamut 0.08–0.92, saturation 0.85 ±5 %".
func (g Gamut) String() string {
	if g.Screen {
		return "each colour as it is"
	}
	g = g.filled()
	return fmt.Sprintf("gamut %g–%g, saturation %g ±%g %%", g.Black, g.White, g.Saturation, 100*g.Error)
}

func (g Gamut) check() error {
	f := g.filled()
	switch {
	case g.Screen && g != (Gamut{Screen: true}) && g != f:
		return fmt.Errorf("a Screen and %+v contradict each other: leave one of the two out", g)
	case !(f.Black >= 0 && f.Black < f.White && f.White <= 1):
		return fmt.Errorf("the gamut from Black = %g to White = %g is not one in 0..1", f.Black, f.White)
	case !(f.Saturation >= 0 && f.Saturation <= 1 && f.Error >= 0 && f.Error < 1):
		return fmt.Errorf("Gamut has Saturation = %g and Error = %g: give shares in 0..1", f.Saturation, f.Error)
	}
	return nil
}

// errors are by how much each channel of a print is off.
func (g Gamut) errors(key uint64, channels int) []float64 {
	r, off := rand.New(rand.NewPCG(key, 0)), make([]float64, channels)
	for c := range off {
		off[c] = 1 + g.Error*(2*r.Float64()-1)
	}
	return off
}

// ink is the printed colour in the mean.
func (g Gamut) ink(v []float64) {
	var mean float64
	for _, x := range v {
		mean += x / float64(len(v))
	}
	for c, x := range v {
		v[c] = g.Black + (g.White-g.Black)*(mean+g.Saturation*(x-mean))
	}
}

// inks is [Gamut.ink] of texels [n, channels] in a graph.
func (g Gamut) inks(v *Node) *Node {
	mean := BroadcastToDims(InsertAxes(ReduceMean(v, 1), -1), v.Shape().Dimensions...)
	return AddScalar(MulScalar(Add(mean, MulScalar(Sub(v, mean), g.Saturation)), g.White-g.Black), g.Black)
}
