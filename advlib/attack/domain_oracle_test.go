package attack_test

import (
	"cmp"
	"context"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/ml/model"

	"advlab/advlib"
	"advlab/advlib/attack"
	"advlab/advlib/backend"
)

// shop is a domain whose nearest adversarial examples can be found by trying: two numbers, a count, a category, a count
// that rises only, a number that falls only, and a fixed one, in 9 coordinates.
var shop = advlib.Domain{
	{Name: "amount", Lo: 0, Hi: 1},
	{Name: "rate", Lo: -2, Hi: 2, Scale: 4},
	{Name: "visits", Lo: 0, Hi: 9, Step: 1, Scale: 10},
	{Name: "colour", OneHot: 3, Scale: 5},
	{Name: "claims", Lo: 0, Hi: 5, Step: 1, Scale: 8, Change: advlib.RiseOnly},
	{Name: "debt", Lo: 0, Hi: 1, Change: advlib.FallOnly},
	{Name: "age", Lo: 18, Hi: 90, Change: advlib.Fixed},
}

// nearestInShop returns the distance of the nearest input of another class, where logits are linear with the weights w
// [9, classes]: over all values of the counts and the category, with the numbers then chosen in closed form; +Inf if
// there is none.
func nearestInShop(norm advlib.Norm, w [][]float64, x []float64, y int) float64 {
	best := math.Inf(1)
	for k := range w[0] {
		if k == y {
			continue
		}
		v := make([]float64, len(w))
		gap := 0.
		for j := range w {
			v[j] = w[j][k] - w[j][y]
			gap -= v[j] * x[j]
		}
		// What one unit of cost gains by a number, and how much may be spent on it.
		type number struct{ gain, room float64 }
		var numbers []number
		for _, f := range []struct {
			j             int
			lo, hi, scale float64
		}{{0, 0, 1, 1}, {1, -2, 2, 4}, {7, 0, x[7], 1}} {
			room := f.hi - x[f.j]
			if v[f.j] < 0 {
				room = x[f.j] - f.lo
			}
			numbers = append(numbers, number{math.Abs(v[f.j]) * f.scale, room / f.scale})
		}
		original := slices.Index(x[3:6], 1)
		for visits := 0.; visits <= 9; visits++ {
			for claims := x[6]; claims <= 5; claims++ {
				for colour := range 3 {
					δ := []float64{math.Abs(visits-x[2]) / 10, (claims - x[6]) / 8, 0}
					if colour != original {
						δ[2] = 1. / 5
					}
					left := gap - v[2]*(visits-x[2]) - v[6]*(claims-x[6]) - v[3+colour] + v[3+original]
					// The least that the numbers must spend, by a multiplier that is bisected where the norm has one.
					spend := func(of func(n number) float64) (gained float64, δ []float64) {
						for _, n := range numbers {
							c := min(of(n), n.room)
							gained, δ = gained+c*n.gain, append(δ, c)
						}
						return gained, δ
					}
					if most, _ := spend(func(n number) float64 { return n.room }); most < left {
						continue
					}
					bisected := func(at func(t float64) func(n number) float64) []float64 {
						low, high := 0., 1e6
						for range 100 {
							if mid := (low + high) / 2; left <= 0 {
								high = 0
							} else if gained, _ := spend(at(mid)); gained >= left {
								high = mid
							} else {
								low = mid
							}
						}
						_, δ := spend(at(high))
						return δ
					}
					switch norm {
					case advlib.Norm(advlib.Linf):
						δ = append(δ, bisected(func(t float64) func(n number) float64 { return func(number) float64 { return t } })...)
					case advlib.Norm(advlib.L2):
						δ = append(δ, bisected(func(t float64) func(n number) float64 { return func(n number) float64 { return t * n.gain } })...)
					default: // the best first: in L1 by what a unit gains, in L0 by what all of it gains
						order := slices.Clone(numbers)
						by := func(n number) float64 { return n.gain }
						if norm == advlib.L0 {
							by = func(n number) float64 { return n.gain * n.room }
						}
						slices.SortFunc(order, func(a, b number) int { return cmp.Compare(by(b), by(a)) })
						for _, n := range order {
							if left <= 0 {
								break
							}
							c := min(n.room, left/n.gain)
							left -= c * n.gain
							δ = append(δ, c)
						}
						if left > 1e-12 {
							continue
						}
					}
					best = min(best, norm.Length(δ))
				}
			}
		}
	}
	return best
}

// Attacks against what is optimal in a domain of counts, categories and directions: nothing is nearer than the optimum,
// and all or nearly all that can be broken is, at medians near it: the bounds are what was seen when this was written,
// with room for rounding.
func TestDomainOracle(t *testing.T) {
	const classes, n = 3, 24
	b, err := backend.OpenNamed(backend.Go)
	if err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(8, 1))
	importance := []float64{1, 0.25, 0.15, 0.5, 0.5, 0.5, 0.15, 1, 0.02}
	w, w32 := make([][]float64, 9), make([][]float32, 9)
	for j := range w {
		for range classes {
			w32[j] = append(w32[j], float32(importance[j]*r.NormFloat64()))
			w[j] = append(w[j], float64(w32[j][len(w32[j])-1]))
		}
	}
	c := advlib.MustClassifier(advlib.Spec{Name: "shop", Input: []int{9}, Domain: shop, Backend: b, Logits: func(_ *model.Scope,
		x *graph.Node) *graph.Node {
		return graph.Dot(x, graph.Const(x.Graph(), w32)).Product()
	}})
	var flat []float32
	var rows [][]float64
	var labels []int32
	for len(labels) < n {
		x32 := []float32{r.Float32(), 4*r.Float32() - 2, float32(r.IntN(10)), 0, 0, 0, float32(r.IntN(6)), r.Float32(), 18 + 72*r.Float32()}
		x32[3+r.IntN(3)] = 1
		z := make([]float64, classes)
		x := make([]float64, 9)
		for j, v := range x32 {
			x[j] = float64(v)
			for k := range z {
				z[k] += x[j] * w[j][k]
			}
		}
		y := slices.Index(z, slices.Max(z))
		sorted := slices.Sorted(slices.Values(z))
		if sorted[2]-sorted[1] < 0.05 || math.IsInf(nearestInShop(advlib.L0, w, x, y), 1) {
			continue
		}
		flat, rows, labels = append(flat, x32...), append(rows, x), append(labels, int32(y))
	}
	e, err := advlib.NewExamples("shop", flat, []int{9}, labels)
	if err != nil {
		t.Fatal(err)
	}
	all := func(a advlib.Attack) advlib.Attack { return attack.AllTargets{Attack: a, Untargeted: true} }
	for _, c0 := range []struct {
		attack advlib.Attack
		median float64 // of the ratio to the optimum, at most
		found  float64 // share of what can be broken, at least
	}{
		{all(attack.FMN{Norm: advlib.L0, Steps: 200}), 1, 1},
		{all(attack.SigmaZero{Steps: 200}), 1, 1},
		{all(attack.FMN{Norm: advlib.L1, Steps: 200}), 1.01, 1},
		{all(attack.FMN{Norm: advlib.L2, Steps: 200}), 1.05, 1},
		{all(attack.FMN{Norm: advlib.Linf, Steps: 200}), 1.001, 1},
		{all(attack.DDN{Steps: 200}), 1.05, 1},
		{all(attack.FAB{Norm: advlib.Linf, Steps: 50}), 1.05, 0.95},
		{all(attack.CarliniWagner{BinarySearchSteps: 5, Steps: 200, InitialConst: 1}), 1.25, 0.95},
		{all(attack.PGD{Ball: advlib.Linf.Ball(0.2), Loss: advlib.Margin}), 0, 1},
		{all(attack.APGD{Ball: advlib.L2.Ball(0.3), Loss: advlib.Margin}), 0, 0.85},
		{attack.Square{Ball: advlib.Linf.Ball(0.2), Queries: 500}, 0, 1},
	} {
		res, err := advlib.Run(context.Background(), c, e, c0.attack)
		if err != nil {
			t.Fatal(err)
		}
		var ratios []float64
		breakable, found := 0, 0
		for i := range rows {
			best := nearestInShop(res.Threat.Norm, w, rows[i], int(labels[i]))
			if res.Success[i] && res.Distance[i] < best*(1-1e-5)-1e-6 {
				t.Errorf("%v, example %d: found at %g, but the nearest is at %g", c0.attack, i, res.Distance[i], best)
			}
			if best > res.Threat.Radius*(1-1e-5) {
				continue
			}
			breakable++
			if res.Success[i] {
				found++
				ratios = append(ratios, res.Distance[i]/best)
			}
		}
		slices.Sort(ratios)
		median, largest := math.Inf(1), math.Inf(1)
		if len(ratios) > 0 {
			median, largest = ratios[len(ratios)/2], ratios[len(ratios)-1]
		}
		t.Logf("%-45v found %d of %d, ratio to the optimum: median %.4f, largest %.4f", c0.attack, found, breakable, median, largest)
		if float64(found) < c0.found*float64(breakable) || breakable == 0 {
			t.Errorf("%v: found %d of %d", c0.attack, found, breakable)
		}
		if c0.median > 0 && median > c0.median+1e-3 {
			t.Errorf("%v: median ratio %g, at most %g", c0.attack, median, c0.median)
		}
	}
}
