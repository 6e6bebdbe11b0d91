package search

import (
	"math"
	"math/big"
	"math/rand/v2"
	"testing"
)

func randomCell(r *rand.Rand, d int, scale float64) Cell {
	c := Cell{make([]float64, d), make([]float64, d)}
	for i := range d {
		a := scale * (2*r.Float64() - 1)
		w := scale * math.Pow(10, -8*r.Float64())
		c.Lower[i], c.Upper[i] = Outward32(a, a+w)
		if r.IntN(8) == 0 {
			c.Upper[i] = c.Lower[i]
		}
	}
	return c
}

func (c Cell) random(r *rand.Rand) []float64 {
	x := make([]float64, len(c.Lower))
	for i := range x {
		switch r.IntN(4) {
		case 0:
			x[i] = c.Lower[i]
		case 1:
			x[i] = c.Upper[i]
		default:
			x[i] = min(max(c.Lower[i]+r.Float64()*(c.Upper[i]-c.Lower[i]), c.Lower[i]), c.Upper[i])
		}
	}
	return x
}

// exactly is ⟨slope, x⟩ + offset without rounding.
func exactly(slope, x []float64, offset float64) *big.Rat {
	sum := new(big.Rat).SetFloat64(offset)
	for i, s := range slope {
		sum.Add(sum, new(big.Rat).Mul(new(big.Rat).SetFloat64(s), new(big.Rat).SetFloat64(x[i])))
	}
	return sum
}

// TestPlane: the offset is such that the plane, without rounding, is nowhere above the bound it comes from, and nearly
// at it at one corner.
func TestPlane(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	for range 2000 {
		d := 1 + r.IntN(6)
		c := randomCell(r, d, math.Pow(10, float64(r.IntN(7)-3)))
		slope := make([]float64, d)
		for i := range slope {
			slope[i] = math.Pow(10, float64(r.IntN(9)-4)) * (2*r.Float64() - 1)
		}
		lower := math.Pow(10, float64(r.IntN(9)-4)) * (2*r.Float64() - 1)
		p := NewPlane(c, lower, slope)
		corner := c.Centre()
		size := math.Abs(lower)
		for i, s := range slope {
			corner[i] = c.Lower[i]
			if s < 0 {
				corner[i] = c.Upper[i]
			}
			size += math.Abs(s * corner[i])
		}
		least, _ := exactly(slope, corner, p.offset).Float64()
		if exactly(slope, corner, p.offset).Cmp(new(big.Rat).SetFloat64(lower)) > 0 {
			t.Fatalf("the plane's minimum %g is above %g", least, lower)
		}
		if lower-least > 1e-12*size {
			t.Fatalf("the plane's minimum %g is far below %g", least, lower)
		}
	}
	for _, v := range []float64{math.Inf(-1), math.Inf(1), math.NaN()} {
		if p := NewPlane(Cell{[]float64{0}, []float64{1}}, v, []float64{1}); p.Slope != nil {
			t.Errorf("a plane through %g: %+v", v, p)
		}
	}
}

// TestContract: no point of the cell that the plane allows, computed without rounding, is lost, and a cell that a plane
// halves is about halved.
func TestContract(t *testing.T) {
	r := rand.New(rand.NewPCG(2, 3))
	shrunk, empty := 0, 0
	for range 3000 {
		d := 1 + r.IntN(5)
		c := randomCell(r, d, math.Pow(10, float64(r.IntN(5)-2)))
		p := Plane{Slope: make([]float64, d)}
		for i := range p.Slope {
			if r.IntN(5) > 0 {
				p.Slope[i] = math.Pow(10, float64(r.IntN(7)-3)) * (2*r.Float64() - 1)
			}
		}
		limit := 2*r.Float64() - 1
		// Through a random point of the cell, so that both sides are in it.
		through, _ := exactly(p.Slope, c.random(r), 0).Float64()
		p.offset = limit - through
		small, some := p.contract(c, limit)
		if !some {
			empty++
			small = Cell{nil, nil}
		}
		for range 50 {
			x := c.random(r)
			if exactly(p.Slope, x, p.offset).Cmp(new(big.Rat).SetFloat64(limit)) > 0 {
				continue
			}
			for i := range x {
				if !some || x[i] < small.Lower[i] || x[i] > small.Upper[i] {
					t.Fatalf("%v, allowed by %+v ≤ %g, is in %v but not in %v", x, p, limit, c, small)
				}
			}
		}
		for i := range small.Lower {
			if small.Lower[i] > c.Lower[i] || small.Upper[i] < c.Upper[i] {
				shrunk++
				break
			}
		}
	}
	if shrunk < 500 {
		t.Errorf("%d cells shrank, %d became empty", shrunk, empty)
	}
	unit := Cell{[]float64{0, 0}, []float64{1, 1}}
	half, some := Plane{Slope: []float64{1, 0}, offset: -0.5}.contract(unit, 0)
	if !some || math.Abs(half.Upper[0]-0.5) > 1e-6 || half.Upper[1] != 1 || half.Lower[0] != 0 {
		t.Errorf("x₀ ≤ 0.5: %v", half)
	}
	if _, some := (Plane{Slope: []float64{1, 1}, offset: 0.25}).contract(unit, 0); some {
		t.Error("x₀ + x₁ + 0.25 ≤ 0 has no point in the unit square")
	}
	if _, some := (Plane{Lower: 0.1}).contract(unit, 0); some {
		t.Error("0.1 ≤ 0 has no point")
	}
	for _, v := range []float64{math.NaN(), math.Inf(-1)} {
		if c, some := (Plane{Lower: v}).contract(unit, 0); !some || c.Upper[0] != 1 {
			t.Errorf("a bound %g removes points", v)
		}
		if c, some := (Plane{Slope: []float64{v, 0}, offset: 1}).contract(unit, 0); !some || c.Upper[0] != 1 {
			t.Errorf("a slope %g removes points", v)
		}
	}
}

func TestSplit(t *testing.T) {
	next := func(v float64) float64 { return float64(math.Nextafter32(float32(v), 2)) }
	for _, tc := range []struct{ lower, upper float64 }{{0, 1}, {-1, 1}, {1, next(next(1))}, {0, next(next(0))}, {-next(0), next(0)},
		{-math.MaxFloat32, math.MaxFloat32}, {1e-45, 1}} {
		c := Cell{[]float64{tc.lower}, []float64{tc.upper}}
		low, high, ok := c.split(0)
		if !ok || low.Upper[0] != high.Lower[0] || low.Lower[0] != tc.lower || high.Upper[0] != tc.upper ||
			!(low.Upper[0] > tc.lower && low.Upper[0] < tc.upper) || float64(float32(low.Upper[0])) != low.Upper[0] {
			t.Errorf("%v: %v, %v, %v", c, low, high, ok)
		}
	}
	for _, tc := range []struct{ lower, upper float64 }{{1, 1}, {1, next(1)}, {0, next(0)}, {-next(0), 0}} {
		if low, high, ok := (Cell{[]float64{tc.lower}, []float64{tc.upper}}).split(0); ok {
			t.Errorf("[%g, %g], without a float32 between: %v, %v", tc.lower, tc.upper, low, high)
		}
	}
	if l, u := Outward32(0.1, 0.1); !(l < 0.1 && u > 0.1) || next(l) != u {
		t.Errorf("0.1 is between %g and %g", l, u)
	}
	if l, u := Outward32(0.5, 0.5); l != 0.5 || u != 0.5 {
		t.Errorf("0.5 is between %g and %g", l, u)
	}
}
