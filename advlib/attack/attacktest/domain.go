package attacktest

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"

	"github.com/gomlx/compute"
	"github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"

	"advlab/advlib"
)

// customers is a domain with a feature of every kind, in 13 coordinates. What a step and a change of category cost is
// the radius of the suite's Linf balls, so that one of each is just inside.
var customers = advlib.Domain{
	{Name: "amount", Lo: 0, Hi: 1},
	{Name: "rate", Lo: -2, Hi: 2, Scale: 4},
	{Name: "visits", Lo: 0, Hi: 9, Step: 1, Scale: 10},
	{Name: "grade", Lo: 1, Hi: 6, Step: 1, Change: advlib.Fixed},
	{Name: "colour", OneHot: 3, Scale: 10},
	{Name: "age", Lo: 18, Hi: 90, Change: advlib.Fixed},
	{Name: "claims", Lo: 0, Hi: 5, Step: 1, Scale: 10, Change: advlib.RiseOnly},
	{Name: "debt", Lo: 0, Hi: 1, Change: advlib.FallOnly},
	{Name: "town", OneHot: 2, Change: advlib.Fixed},
	{Name: "claims per visit", Formula: "round(ratio(claims, visits), 2) + amount/8"},
}

// perVisit is the derived feature of customers, written out.
func perVisit(x []float32) float32 {
	claims := 0.
	if x[2] != 0 {
		claims = math.Floor(float64(x[8])/float64(x[2])*100+0.5) / 100
	}
	return float32(claims + float64(x[0])/8)
}

// importance is by how much logits differ for each coordinate of customers: steps and categories do what numbers
// cannot.
var importance = []float32{0.2, 0.1, 0.5, 0.3, 0.7, 0.7, 0.7, 0.02, 0.3, 0.2, 0.5, 0.5, 0.2}

// newCustomers returns a linear classifier of three classes on the domain, and 8 examples that it gets right by little.
func newCustomers(b compute.Backend) (*advlib.Classifier, *advlib.Examples, error) {
	const d, classes, n = 13, 3, 8
	r := rand.New(rand.NewPCG(21, 1))
	w := make([][]float32, d)
	for j := range w {
		for range classes {
			w[j] = append(w[j], importance[j]*float32(r.NormFloat64()))
		}
	}
	c, err := advlib.NewClassifier(advlib.Spec{
		Name: "customers", Input: []int{d}, Domain: customers, Backend: b,
		Logits: func(_ *model.Scope, x *graph.Node) *graph.Node {
			return graph.Dot(x, graph.Const(x.Graph(), w)).Product()
		},
	})
	if err != nil {
		return nil, nil, err
	}
	var flat []float32
	var labels []int32
	for len(labels) < n {
		x := []float32{
			r.Float32(), 4*r.Float32() - 2, float32(r.IntN(10)), float32(1 +
				r.IntN(6)), 0, 0, 0, 18 + 72*r.Float32(), float32(r.IntN(6)), r.Float32(), 0, 0, 0,
		}
		x[4+r.IntN(3)], x[10+r.IntN(2)] = 1, 1
		x[12] = perVisit(x)
		z := make([]float32, classes)
		for j, v := range x {
			for k := range z {
				z[k] += v * w[j][k]
			}
		}
		y := argmax(z)
		margin := float32(math.Inf(1))
		for k, v := range z {
			if k != y {
				margin = min(margin, z[y]-v)
			}
		}
		if margin > 0.1 && margin < 0.5 {
			flat, labels = append(flat, x...), append(labels, int32(y))
		}
	}
	e, err := advlib.NewExamples("customers", flat, []int{d}, labels)
	return c, e, err
}

// newMasked returns the linear classifier with every other coordinate fixed, and two that may go in one direction only.
func newMasked(l *Linear) (*advlib.Classifier, error) {
	domain := make(advlib.Domain, l.Classifier.Input()[0])
	for j := range domain {
		if j%2 == 0 {
			domain[j].Change = advlib.Fixed
		}
	}
	domain[1].Change, domain[3].Change = advlib.RiseOnly, advlib.FallOnly
	return advlib.NewClassifier(advlib.Spec{
		Name: "linear, masked", Store: l.Classifier.Store(), Input: l.Classifier.Input(),
		Box: l.Classifier.Box(), Domain: domain, Backend: l.Classifier.Backend(),
		Logits: func(_ *model.Scope, x *graph.Node) *graph.Node { return l.Classifier.LogitsGraph(x) },
	})
}

// checkMasks: fixed coordinates of what the attack itself proposes are those of the original, bit for bit, others go
// where they may, and enough is found among what can still be changed.
func checkMasks(f *fixtures, s Subject) error {
	a := s.attack(f.masked, advlib.Untargeted)
	b := wholeBatch(f.maskedExamples)
	adv, err := a.Perturb(context.Background(), advlib.Count(s.on(f.masked)), b)
	if err != nil {
		return err
	}
	x, at := tensors.MustCopyFlatData[float32](b.X), tensors.MustCopyFlatData[float32](adv)
	domain := f.masked.Domain()
	for i := range x {
		j := i % len(domain)
		change := domain[j].Change
		bits := math.Float32bits(at[i]) == math.Float32bits(x[i])
		if change == advlib.Fixed && !bits || change == advlib.RiseOnly && at[i] < x[i] || change == advlib.FallOnly && at[i] > x[i] {
			return fmt.Errorf("example %d: the attack proposes %g for coordinate %d, which is %g, %v", i/len(domain), at[i], j, x[i], change)
		}
	}
	res, err := advlib.Run(context.Background(), s.on(f.masked), f.maskedExamples, a)
	if err != nil {
		return err
	}
	return consistent(f.masked, res)
}

// checkDomain: with whole numbers, categories, scales, directions and a derived feature, what is returned is admissible
// to the last bit, at the distance that the domain's documentation gives, and at least a quarter is broken.
func checkDomain(f *fixtures, s Subject) error {
	a := s.attack(f.customers, advlib.Untargeted)
	res, err := advlib.Run(context.Background(), s.on(f.customers), f.customersExamples, a)
	if s.NoDomain {
		if err == nil {
			return fmt.Errorf("it says that it cannot honour steps, categories and scales, but runs")
		}
		return nil
	}
	if err != nil {
		return err
	}
	x, adv := tensors.MustCopyFlatData[float32](f.customersExamples.X), tensors.MustCopyFlatData[float32](res.Adversarial)
	z, err := f.customers.Logits(res.Adversarial)
	if err != nil {
		return err
	}
	found := 0
	for i, y := range f.customersExamples.Y {
		from, to := x[i*13:(i+1)*13], adv[i*13:(i+1)*13]
		δ, err := change(from, to)
		if err != nil {
			return fmt.Errorf("example %d: %w", i, err)
		}
		wrong := argmax(z[i]) != int(y)
		if res.Success[i] != wrong {
			return fmt.Errorf("example %d: success %v, but the classifier says %d, the label is %d", i, res.Success[i], argmax(z[i]), y)
		}
		if !wrong {
			continue
		}
		found++
		d := measure(res.Threat.Norm, δ)
		if math.Abs(d-res.Distance[i]) > 1e-6*d || res.Distance[i] > res.Threat.Radius {
			return fmt.Errorf("example %d: its distance is %g, reported %g, the radius %g", i, d, res.Distance[i], res.Threat.Radius)
		}
	}
	if 4*found < len(res.Success) {
		return fmt.Errorf("it breaks %d of %d examples of a domain with whole numbers and categories", found, len(res.Success))
	}
	return nil
}

// change returns what a change costs for each feature of customers, or what makes it inadmissible. It is written out,
// so that it shares nothing with what it checks.
func change(from, to []float32) ([]float64, error) {
	whole := func(j int, lo, hi float32) error {
		if v := to[j]; v != float32(math.Round(float64(v))) || v < lo || v > hi {
			return fmt.Errorf("coordinate %d is %g, no whole number from %g to %g", j, v, lo, hi)
		}
		return nil
	}
	inside := func(j int, lo, hi float32) error {
		if v := to[j]; !(v >= lo && v <= hi) {
			return fmt.Errorf("coordinate %d is %g, outside of [%g, %g]", j, v, lo, hi)
		}
		return nil
	}
	category := func(js ...int) error {
		ones := 0
		for _, j := range js {
			if to[j] != 0 && to[j] != 1 {
				return fmt.Errorf("coordinate %d of a category is %g", j, to[j])
			}
			ones += int(to[j])
		}
		if ones != 1 {
			return fmt.Errorf("the category at %v has %d ones", js, ones)
		}
		return nil
	}
	for _, err := range []error{inside(0, 0, 1), inside(1, -2, 2), whole(2, 0, 9), category(4, 5, 6), whole(8, 0, 5), inside(9, 0, 1)} {
		if err != nil {
			return nil, err
		}
	}
	for _, j := range []int{3, 7, 10, 11} {
		if math.Float32bits(to[j]) != math.Float32bits(from[j]) {
			return nil, fmt.Errorf("coordinate %d is fixed, but went from %g to %g", j, from[j], to[j])
		}
	}
	if to[8] < from[8] {
		return nil, fmt.Errorf("claims may only rise, but went from %g to %g", from[8], to[8])
	}
	if to[9] > from[9] {
		return nil, fmt.Errorf("debt may only fall, but went from %g to %g", from[9], to[9])
	}
	if want := perVisit(to); math.Float32bits(to[12]) != math.Float32bits(want) {
		return nil, fmt.Errorf("claims per visit are %g, and follow from the others as %g", to[12], want)
	}
	at := func(j int) float64 { return float64(to[j]) - float64(from[j]) }
	colour := 0.
	for j := 4; j < 7; j++ {
		if to[j] != from[j] {
			colour = 0.1
		}
	}
	return []float64{at(0), at(1) / 4, at(2) / 10, colour, at(8) / 10, at(9)}, nil
}

// measure returns ‖δ‖, from the definition.
func measure(n advlib.Norm, δ []float64) float64 {
	var count, sum, squares, largest float64
	for _, v := range δ {
		v = math.Abs(v)
		if v > 0 {
			count++
		}
		sum, squares, largest = sum+v, squares+v*v, max(largest, v)
	}
	switch n {
	case advlib.L0:
		return count
	case advlib.Norm(advlib.L1):
		return sum
	case advlib.Norm(advlib.L2):
		return math.Sqrt(squares)
	}
	return largest
}
