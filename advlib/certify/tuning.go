package certify

import (
	"slices"
)

// tuning is the lower slopes α and the multipliers β of one bound, by layer: the bound holds for all 0 ≤ α ≤ 1 where a ReLU is
// not linear, and all β ≥ 0 where a sign is given, so they are chosen to make it large (α-CROWN, Xu et al. 2021,
// arXiv:2011.13824; β-CROWN, Wang et al. 2021, arXiv:2103.06624).
type tuning struct {
	α, β [][]float64
	// Λ are the linear functions of the ReLUs' results of the last bound.
	Λ [][]float64
}

func (t *tuning) clone() *tuning {
	c := &tuning{}
	for k := range t.α {
		c.α, c.β, c.Λ = append(c.α, slices.Clone(t.α[k])), append(c.β, slices.Clone(t.β[k])), append(c.Λ, slices.Clone(t.Λ[k]))
	}
	return c
}

// Rates and decay of Adam: those of alpha-beta-CROWN's option files, somewhat larger for α.
const (
	rateα, rateβ = 0.25, 0.05
	decay        = 0.98
)

// Steps of the tuning at the beginning and in branches: as alpha-beta-CROWN's.
const (
	firstSteps  = 100
	branchSteps = 30
)
