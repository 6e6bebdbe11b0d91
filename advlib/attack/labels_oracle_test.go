package attack_test

import (
	"advlab/advlib"
	"advlab/advlib/attack"
)

// labelsRow is an attack by labels, and what it must reach: the median of distance over optimum, by the budget of
// queries, and the 90th percentile with 10000; 0 asks for nothing. The bounds are those of the issue, or of the field
// guide's table of the authors' own code.
type labelsRow struct {
	norm   advlib.Norm
	attack func(queries int) advlib.Attack
	median map[int]float64
	p90    float64
}

func labelsRows() []labelsRow {
	return []labelsRow{
		{advlib.L2, func(q int) advlib.Attack { return attack.SurFree{Queries: q} }, map[int]float64{2000: 1.1, 10000: 1.03}, 1.3},
		{advlib.L2, func(q int) advlib.Attack { return attack.CGBAH{Queries: q} }, map[int]float64{2000: 1.1, 10000: 1.03}, 1.3},
		{advlib.L2, func(q int) advlib.Attack { return attack.SignOPT{Queries: q} }, map[int]float64{2000: 1.12, 10000: 1.03}, 1.3},
		{advlib.L2, func(q int) advlib.Attack { return attack.HopSkipJump{Norm: advlib.L2, Queries: q} },
			map[int]float64{500: 1.41, 2000: 1.1, 10000: 1.03}, 1.3},
		{advlib.L2, func(q int) advlib.Attack { return attack.BoundaryAttack{Queries: q} }, map[int]float64{10000: 1.3}, 0},
		{advlib.L2, func(q int) advlib.Attack { return attack.Pointwise{Norm: advlib.L2, Queries: q} }, map[int]float64{2000: 4}, 0},
		{advlib.Linf, func(q int) advlib.Attack { return attack.RayS{Queries: q} },
			map[int]float64{500: 1.03, 2000: 1.01, 10000: 1.01}, 1.1},
		{advlib.Linf, func(q int) advlib.Attack { return attack.HopSkipJump{Norm: advlib.Linf, Queries: q} },
			map[int]float64{500: 1.386, 2000: 1.2, 10000: 1.06}, 1.3}, // after 500, 1.02 times foolbox's
		{advlib.L0, func(q int) advlib.Attack { return attack.Pointwise{Norm: advlib.L0, Queries: q} },
			map[int]float64{1000: 1, 2000: 1, 10000: 1}, 1.3},
	}
}
