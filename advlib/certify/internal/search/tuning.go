package search

import (
	"slices"
)

// Tuning is the lower slopes α and the multipliers β of one bound, by layer: the bound holds for all 0 ≤ α ≤ 1 where a
// ReLU is not linear, and all β ≥ 0 where a sign is given, so they are chosen to make it large (α-CROWN, Xu et al.
// 2021, arXiv:2011.13824; β-CROWN, Wang et al. 2021, arXiv:2103.06624).
type Tuning struct {
	Alpha, Beta [][]float64
	// Λ are the linear functions of the ReLUs' results of the last bound.
	Λ [][]float64
}

func (t *Tuning) Clone() *Tuning {
	c := &Tuning{}
	for k := range t.Alpha {
		c.Alpha, c.Beta, c.Λ = append(c.Alpha, slices.Clone(t.Alpha[k])), append(c.Beta, slices.Clone(t.Beta[k])), append(c.Λ,
			slices.Clone(t.Λ[k]))
	}
	return c
}

// Rates and decay of Adam: those of alpha-beta-CROWN's option files, somewhat larger for α.
const (
	Rateα, Rateβ = 0.25, 0.05
	Decay        = 0.98
)

// Steps of the tuning at the beginning and in branches: as alpha-beta-CROWN's.
const (
	FirstSteps  = 100
	BranchSteps = 30
)
