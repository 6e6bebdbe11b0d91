package attacktest

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/gomlx/compute"
	"github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"

	"advlab/advlib"
)

// LinearSpec describes a random linear classifier to [NewLinear]. Its zero values are 16 coordinates, 10 classes, 32
// examples.
type LinearSpec struct {
	// Coordinates, Classes and Examples are numbers of them.
	Coordinates, Classes, Examples int
	// Seed draws weights and examples.
	Seed uint64
	// Binary makes every coordinate of the examples 0 or 1 instead of uniform in [0, 1].
	Binary bool
	// Shift is added to all logits, which changes no prediction.
	Shift float64
}

// String returns for example "binary, shift -30, seed 2".
func (s LinearSpec) String() string {
	kind := "gray"
	if s.Binary {
		kind = "binary"
	}
	return fmt.Sprintf("%s, shift %g, seed %d", kind, s.Shift, s.Seed)
}

// Linear is a linear classifier z = Wx + shift on [0, 1]ᵈ with examples that it gets right, for which the nearest
// adversarial example is known in closed form.
//
// For a class k ≠ y let v = w_k − w_y and gap = −v·x > 0. The class k is reached by δ when v·δ ≥ gap, and the box
// allows lo ≤ δ ≤ hi with lo = −x, hi = 1 − x. Nearest gives the smallest such δ in each norm.
type Linear struct {
	Classifier *advlib.Classifier
	Examples   *advlib.Examples
	// W holds the weights of each class.
	W [][]float64

	x [][]float64
}

// cleanMargin is by how much the examples are classified right at least, so that rounding does not decide about them.
const cleanMargin = 0.02

// NewLinear returns the classifier that spec describes, on backend b. Weights are drawn from the standard normal
// distribution.
func NewLinear(spec LinearSpec, b compute.Backend) (*Linear, error) {
	d, classes, n := orDefault(spec.Coordinates, 16), orDefault(spec.Classes, 10), orDefault(spec.Examples, 32)
	r := rand.New(rand.NewPCG(spec.Seed, 7))
	l := &Linear{}
	weights := make([]float32, d*classes) // [d, classes]
	for k := range classes {
		l.W = append(l.W, make([]float64, d))
		for i := range d {
			weights[i*classes+k] = float32(r.NormFloat64())
			l.W[k][i] = float64(weights[i*classes+k])
		}
	}
	var flat []float32
	var labels []int32
	for len(labels) < n {
		x, x32 := make([]float64, d), make([]float32, d)
		for i := range x {
			x32[i] = r.Float32()
			if spec.Binary {
				x32[i] = float32(r.IntN(2))
			}
			x[i] = float64(x32[i])
		}
		y, margin := l.predict(x)
		if margin < cleanMargin {
			continue
		}
		l.x, labels, flat = append(l.x, x), append(labels, int32(y)), append(flat, x32...)
	}
	var err error
	if l.Examples, err = advlib.NewExamples("linear, "+spec.String(), flat, []int{d}, labels); err != nil {
		return nil, err
	}
	store := model.NewStore()
	if _, err := store.CreateVariable("/w", tensors.FromFlatDataAndDimensions(weights, d, classes)); err != nil {
		return nil, err
	}
	l.Classifier, err = advlib.NewClassifier(advlib.Spec{
		Name: l.Examples.Name, Store: store, Input: []int{d}, Box: advlib.UnitBox, Backend: b,
		Logits: func(scope *model.Scope, x *graph.Node) *graph.Node {
			return graph.AddScalar(graph.Dot(x, scope.GetVariable("w").NodeValue(x)).Product(), spec.Shift)
		},
	})
	return l, err
}

func orDefault(v, otherwise int) int {
	if v == 0 {
		return otherwise
	}
	return v
}

// predict returns the class of the largest logit at x, and by how much it leads.
func (l *Linear) predict(x []float64) (class int, margin float64) {
	first, second := math.Inf(-1), math.Inf(-1)
	for k, w := range l.W {
		z := dot(w, x)
		if z > first {
			class, first, second = k, z, first
		} else {
			second = max(second, z)
		}
	}
	return class, first - second
}

// Distance returns the distance from example i to its nearest adversarial example, +Inf if the box holds none.
func (l *Linear) Distance(n advlib.Norm, i int) float64 {
	best := math.Inf(1)
	for k := range l.W {
		if k != int(l.Examples.Y[i]) {
			best = min(best, length(n, l.Nearest(n, i, k)))
		}
	}
	return best
}

// Nearest returns the smallest δ that takes example i to the boundary with class k, or nil if no point of the box does.
//
//	L2    δ = clip(λ·v), λ bisected        Linf  δ = clip(t·sign v), t bisected
//	L1    coordinates by falling |v| up to the box, the last one in part        L0    by falling |v|·room, all the way
func (l *Linear) Nearest(n advlib.Norm, i, k int) []float64 {
	v, gap, lo, hi := l.problem(i, k)
	room := make([]float64, len(v)) // how far each coordinate may go in the direction of v
	order := make([]int, len(v))
	most := 0.
	for j := range v {
		order[j] = j
		room[j] = hi[j]
		if v[j] < 0 {
			room[j] = -lo[j]
		}
		most += math.Abs(v[j]) * room[j]
	}
	if most < gap {
		return nil
	}
	clipped := func(scale float64, direction func(v float64) float64) []float64 {
		δ := make([]float64, len(v))
		for j := range v {
			δ[j] = min(max(scale*direction(v[j]), lo[j]), hi[j])
		}
		return δ
	}
	bisected := func(direction func(v float64) float64) []float64 {
		low, high := 0., 1.
		for dot(v, clipped(high, direction)) < gap && high < 1e12 {
			high *= 2
		}
		for range 200 {
			if mid := (low + high) / 2; dot(v, clipped(mid, direction)) < gap {
				low = mid
			} else {
				high = mid
			}
		}
		return clipped(high, direction)
	}
	switch n {
	case advlib.Norm(advlib.L2):
		return bisected(func(v float64) float64 { return v })
	case advlib.Norm(advlib.Linf):
		return bisected(sign)
	}
	weight := func(j int) float64 { return math.Abs(v[j]) }
	if n == advlib.L0 {
		weight = func(j int) float64 { return math.Abs(v[j]) * room[j] }
	}
	slices.SortFunc(order, func(a, b int) int {
		if weight(a) > weight(b) {
			return -1
		}
		return 1
	})
	δ := make([]float64, len(v))
	for _, j := range order {
		left := gap - dot(v, δ)
		if left <= 0 || v[j] == 0 {
			break
		}
		step := room[j]
		if n != advlib.L0 {
			step = min(step, left/math.Abs(v[j]))
		}
		δ[j] = sign(v[j]) * step
	}
	return δ
}

// problem returns v, gap and the room of the box for example i and class k.
func (l *Linear) problem(i, k int) (v []float64, gap float64, lo, hi []float64) {
	x, y := l.x[i], l.Examples.Y[i]
	v, lo, hi = make([]float64, len(x)), make([]float64, len(x)), make([]float64, len(x))
	for j := range x {
		v[j], lo[j], hi[j] = l.W[k][j]-l.W[y][j], -x[j], 1-x[j]
	}
	return v, -dot(v, x), lo, hi
}

// BallScore is how an attack with a budget did.
type BallScore struct {
	// Radius is the budget ε; Attackable examples have their optimum below 0.99·ε, Safe ones above 1.01·ε. Others are left
	// out.
	Radius           float64
	Attackable, Safe int
	// Missed counts attackable examples that the attack did not break, False those that it claims and that cannot be
	// right: safe ones, and points that the weights, in float64, give their label.
	Missed, False int
}

// ScoreBall runs an attack with a budget and scores it.
func (l *Linear) ScoreBall(ctx context.Context, a advlib.Attack) (BallScore, error) {
	res, err := advlib.Run(ctx, l.Classifier, l.Examples, a)
	if err != nil {
		return BallScore{}, err
	}
	s := BallScore{Radius: res.Threat.Radius}
	for i := range l.x {
		optimum := l.Distance(res.Threat.Norm, i)
		switch {
		case optimum < 0.99*s.Radius:
			s.Attackable++
			if !res.Success[i] {
				s.Missed++
			}
		case optimum > 1.01*s.Radius:
			s.Safe++
			if res.Success[i] {
				s.False++
				continue
			}
		}
		if res.Success[i] && !l.broken(res, i) {
			s.False++
		}
	}
	return s, nil
}

// MinimalScore is how an attack of minimal norm did.
type MinimalScore struct {
	// Breakable counts examples for which the box holds an adversarial example, Found those of them that the attack broke.
	Breakable, Found int
	// Ratios are distance over optimum of those found, sorted.
	Ratios []float64
	// False counts claims that cannot be right: nearer than the optimum, or a point that the weights, in float64, give
	// their label.
	False int
}

// Median returns the median ratio; those not found count as infinite.
func (s MinimalScore) Median() float64 {
	all := slices.Clone(s.Ratios)
	for len(all) < s.Breakable {
		all = append(all, math.Inf(1))
	}
	return median(all)
}

// Max returns the largest ratio of those found, 0 if there are none.
func (s MinimalScore) Max() float64 { return slices.Max(append([]float64{0}, s.Ratios...)) }

// ScoreMinimal runs an attack of minimal norm and scores it.
func (l *Linear) ScoreMinimal(ctx context.Context, a advlib.Attack) (MinimalScore, error) {
	var s MinimalScore
	res, err := advlib.Run(ctx, l.Classifier, l.Examples, a)
	if err != nil {
		return s, err
	}
	for i := range l.x {
		optimum := l.Distance(res.Threat.Norm, i)
		if !math.IsInf(optimum, 1) {
			s.Breakable++
		}
		if !res.Success[i] {
			continue
		}
		s.Found++
		ratio := res.Distance[i] / optimum
		s.Ratios = append(s.Ratios, ratio)
		if ratio < 1-1e-4 || !l.broken(res, i) {
			s.False++
		}
	}
	slices.Sort(s.Ratios)
	return s, nil
}

// broken tells whether the weights give the returned point another class than the label, up to rounding in float32.
func (l *Linear) broken(res *advlib.Result, i int) bool {
	d := len(l.x[i])
	at := make([]float64, d)
	tensors.MustConstFlatData(res.Adversarial, func(flat []float32) {
		for j := range at {
			at[j] = float64(flat[i*d+j])
		}
	})
	y := int(res.Examples.Y[i])
	for k, w := range l.W {
		if k != y && dot(w, at)-dot(l.W[y], at) > -1e-4 {
			return true
		}
	}
	return false
}

func dot(a, b []float64) float64 {
	var s float64
	for i := range a {
		s += a[i] * b[i]
	}
	return s
}

func sign(v float64) float64 {
	switch {
	case v > 0:
		return 1
	case v < 0:
		return -1
	}
	return 0
}

// length returns the norm of δ, +Inf for nil.
func length(n advlib.Norm, δ []float64) float64 {
	if δ == nil {
		return math.Inf(1)
	}
	var s float64
	for _, v := range δ {
		switch v = math.Abs(v); n {
		case advlib.L0:
			if v != 0 {
				s++
			}
		case advlib.Norm(advlib.L1):
			s += v
		case advlib.Norm(advlib.L2):
			s += v * v
		case advlib.Norm(advlib.Linf):
			s = max(s, v)
		}
	}
	if n == advlib.Norm(advlib.L2) {
		s = math.Sqrt(s)
	}
	return s
}

// median returns the middle value, or the mean of the two middle ones.
func median(v []float64) float64 {
	v = slices.Clone(v)
	slices.Sort(v)
	n := len(v)
	if n%2 == 1 {
		return v[n/2]
	}
	return (v[n/2-1] + v[n/2]) / 2
}
