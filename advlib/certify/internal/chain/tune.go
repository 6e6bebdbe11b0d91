package chain

import (
	"math"
	"slices"

	"advlab/advlib/certify/internal/search"
)

// NewTuning starts with the adaptive slopes and β = 0, or with those of another tuning where they may be.
func (p *Pass) NewTuning(from *search.Tuning) *search.Tuning {
	t := &search.Tuning{}
	for k := range p.Layers[:len(p.Layers)-1] {
		α, β := slices.Clone(p.aL[k]), make([]float64, len(p.aL[k]))
		if from != nil {
			for i := range α {
				if p.Bends(k, i) {
					α[i] = from.Alpha[k][i]
				}
				if p.Signs[k][i] != 0 {
					β[i] = from.Beta[k][i]
				}
			}
		}
		t.Alpha, t.Beta, t.Λ = append(t.Alpha, α), append(t.Beta, β), append(t.Λ, make([]float64, len(α)))
	}
	return t
}

// Bends tells whether the ReLU of z_i of layer k is not linear.
func (p *Pass) Bends(k, i int) bool {
	return p.Layers[k].ReLU && p.lower[k][i] < 0 && p.upper[k][i] > 0
}

// Tune raises the lower bound of ⟨row, y⟩ by Adam, for as many steps, until it is above the limit. It returns the best
// bound, with its slope, and the input where the relaxed network has its minimum. t becomes the best tuning.
//
// The bound is the minimum over x and over the chosen lines of a network of straight lines. At the minimum x its
// gradient is that of the network's value there (Danskin's theorem): Λ_i·z_i for α_i, if Λ_i > 0, so that the lower
// line counts, and −s_i·z_i for β_i. What rounding takes is left out of it.
func (p *Pass) Tune(row []float64, limit float64, steps int, t *search.Tuning) (lower float64, slope, x []float64) {
	last := len(p.Layers) - 1
	lower = math.Inf(-1)
	best := t.Clone()
	var mα, vα, mβ, vβ [][]float64
	for k := range t.Alpha {
		n := len(t.Alpha[k])
		mα, vα, mβ, vβ = append(mα, make([]float64, n)), append(vα, make([]float64, n)), append(mβ, make([]float64, n)), append(vβ,
			make([]float64, n))
	}
	x = make([]float64, p.Inputs)
	at := make([]float64, p.Inputs)
	for step := range steps + 1 {
		res := p.Back(last, row, t)
		value, Λx := res.Lower, res.Slope
		for i, s := range Λx {
			at[i] = p.Cell.Lower[i]
			if s < 0 {
				at[i] = p.Cell.Upper[i]
			}
		}
		if value > lower { // false for NaN
			lower, slope = value, append(slope[:0], Λx...)
			copy(x, at)
			for k := range t.Alpha {
				copy(best.Alpha[k], t.Alpha[k])
				copy(best.Beta[k], t.Beta[k])
				copy(best.Λ[k], t.Λ[k])
			}
		}
		if lower > limit || step == steps || p.stopped() {
			break
		}
		// The value of the network of lines at x, layer by layer, with Adam's step for what each layer has.
		scale := math.Pow(search.Decay, float64(step))
		adam := func(g float64, m, v *float64) float64 {
			*m, *v = 0.9**m+0.1*g, 0.999**v+0.001*g*g
			n := float64(step + 1)
			return scale * (*m / (1 - math.Pow(0.9, n))) / (math.Sqrt(*v/(1-math.Pow(0.999, n))) + 1e-12)
		}
		h := at
		for k := range t.Alpha {
			l := &p.Layers[k]
			z := make([]float64, len(l.W))
			for i, w := range l.W {
				s := l.B[i]
				for j, v := range w {
					s += v * h[j]
				}
				z[i] = s
				Λ, α := t.Λ[k][i], t.Alpha[k][i]
				if Λ >= 0 {
					z[i] = α * s
				} else {
					z[i] = p.aU[k][i]*s + p.bU[k][i]
				}
				if p.Bends(k, i) && Λ > 0 {
					t.Alpha[k][i] = min(max(α+search.Rateα*adam(Λ*s, &mα[k][i], &vα[k][i]), 0), 1)
				}
				if sign := p.Signs[k][i]; sign != 0 {
					t.Beta[k][i] = max(t.Beta[k][i]+search.Rateβ*adam(-float64(sign)*s, &mβ[k][i], &vβ[k][i]), 0)
				}
			}
			h = z
		}
	}
	*t = *best
	return lower, slope, x
}
