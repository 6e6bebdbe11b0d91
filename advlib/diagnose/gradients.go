package diagnose

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"

	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"

	"advlab/advlib"
)

// lossGraph builds the loss of each row from inputs and labels.
func lossGraph(loss advlib.Loss) advlib.Build {
	return func(m *advlib.Model, in []*Node) []*Node {
		return []*Node{loss.Of(m.Logits(in[0]), advlib.GoalNodes{Label: in[1]})}
	}
}

// evaluateRows runs a step that gives a number for each row, piece by piece, and counts the rows with gradients that
// are not finite.
func evaluateRows(
	ctx context.Context, t *advlib.Counted, key any, points, y *tensors.Tensor, build advlib.Build,
) (values []float64, notFinite int, err error) {
	step := t.Compile(key, build)
	n := points.Shape().Dimensions[0]
	const most = 512
	for lo := 0; lo < n; lo += most {
		if err := ctx.Err(); err != nil {
			return nil, 0, err
		}
		rows := make([]int, 0, most)
		for i := lo; i < min(lo+most, n); i++ {
			rows = append(rows, i)
		}
		size := advlib.Bucket(len(rows))
		x, labels := advlib.TakeRows(points, rows, size), advlib.TakeRows(y, rows, size)
		out, steep, err := step.RunSteep(len(rows), x, labels)
		advlib.Free(x, labels)
		if err != nil {
			return nil, 0, err
		}
		for _, entries := range steep[:min(len(rows), len(steep))] {
			if entries > 0 {
				notFinite++
			}
		}
		tensors.MustConstFlatData(out[0], func(flat []float32) {
			for _, v := range flat[:len(rows)] {
				values = append(values, float64(v))
			}
		})
		advlib.Free(out...)
	}
	return values, notFinite, nil
}

// gradientKey names the graph of the largest entry of a loss's gradient.
type gradientKey struct{ loss advlib.Loss }

// saturated is the probability above which a softmax says nothing about the other classes in float32.
const saturated = 1 - 1e-6

func gradients(ctx context.Context, x *examiner, f *Finding) error {
	if x.blind != nil {
		f.judge(1, 0, "%v", x.blind)
		return nil
	}
	y := tensors.FromFlatDataAndDimensions(x.on.Y, len(x.on.Y))
	defer advlib.Free(y)
	var heights [][]float64
	zero := func(loss advlib.Loss) (zeros, notFinite int, err error) {
		t := advlib.Count(x.victim)
		sizes, notFinite, err := evaluateRows(ctx, t, gradientKey{loss}, x.on.X, y, func(m *advlib.Model, in []*Node) []*Node {
			z := m.Logits(in[0])
			return []*Node{advlib.Linf.Of(m.Gradient(loss.Of(z, advlib.GoalNodes{Label: in[1]}), in[0]))}
		})
		logs := make([]float64, len(sizes))
		for i, g := range sizes {
			if logs[i] = math.Log10(math.Max(g, 1e-45)); g == 0 || math.IsNaN(g) {
				zeros++
			}
		}
		heights = append(heights, logs)
		return zeros, notFinite, err
	}
	ce, bad, err := zero(advlib.CrossEntropy)
	if err != nil {
		return err
	}
	margin, _, err := zero(advlib.Margin)
	if err != nil {
		return err
	}
	f.Picture = histogram("log10 of the gradient's largest entry (−45: zero)", "examples", []string{"cross-entropy", "margin"}, heights...)
	full := 0
	for _, a := range x.said {
		if confidence(a.Logits(x.victim.Signature().Classes)) > saturated {
			full++
		}
	}
	f.judge(float64(max(ce, margin, bad)), 0, "zero on %d of %d examples for the cross-entropy, on %d for the margin; not finite on %d; "+
		"the softmax is full on %d", ce, x.on.Len(), margin, bad, full)
	return nil
}

// confidence is the largest softmax of logits.
func confidence(z []float32) float64 {
	most, sum := math.Inf(-1), 0.
	for _, v := range z {
		most = math.Max(most, float64(v))
	}
	for _, v := range z {
		sum += math.Exp(float64(v) - most)
	}
	return 1 / sum
}

// Constants of indicator I2, for a box of width 1.
const (
	directions = 100
	spread     = 8. / 255
	mostShaken = 0.5
)

func unstable(ctx context.Context, x *examiner, f *Finding) error {
	s := x.victim.Signature()
	if s.Limits().Encoded() {
		return f.notApplicable("a domain says itself which values its features may have")
	}
	y := tensors.FromFlatDataAndDimensions(x.on.Y, len(x.on.Y))
	defer advlib.Free(y)
	t := advlib.Count(x.victim)
	at := func(points *tensors.Tensor) ([]float64, error) {
		values, _, err := evaluateRows(ctx, t, lossKey{advlib.Margin}, points, y, lossGraph(advlib.Margin))
		return values, err
	}
	reference, err := at(x.on.X)
	if err != nil {
		return err
	}
	flat := tensors.MustCopyFlatData[float32](x.on.X)
	around := make([][]float64, len(reference))
	r := rand.New(rand.NewPCG(x.Seed, 9))
	for range directions {
		moved := make([]float32, len(flat))
		for i, v := range flat {
			moved[i] = v + float32((r.Float64()-0.5)*spread*s.Box.Width())
		}
		p := tensors.FromFlatDataAndDimensions(moved, x.on.X.Shape().Dimensions...)
		l, err := at(p)
		advlib.Free(p)
		if err != nil {
			return err
		}
		for i, v := range l {
			around[i] = append(around[i], v)
		}
	}
	var each []float64
	for i, l := range reference {
		each = append(each, UnstablePredictions(l, around[i]))
	}
	f.judge(mean(each), mostShaken, "the margin changes by %.1f %% on average", 100*mean(each))
	f.Picture, err = x.along(ctx, t)
	return err
}

// steepKey names the graph of the sign of the margin's gradient.
type steepKey struct{}

// along is a picture of the margin along the sign of its gradient and along random signs, as far as the radius: where
// gradients show the way, it falls fastest along the first (Athalye et al. 2018, section 3.1).
func (x *examiner) along(ctx context.Context, t *advlib.Counted) (*Picture, error) {
	n := min(x.on.Len(), 64)
	on := x.on.First(n)
	y := tensors.FromFlatDataAndDimensions(on.Y, n)
	defer advlib.Free(y)
	step := t.Compile(steepKey{}, func(m *advlib.Model, in []*Node) []*Node {
		return []*Node{Sign(m.Gradient(advlib.Margin.Of(m.Logits(in[0]), advlib.GoalNodes{Label: in[1]}), in[0]))}
	})
	size := advlib.Bucket(n)
	all := make([]int, n)
	for i := range all {
		all[i] = i
	}
	rows, labels := advlib.TakeRows(on.X, all, size), advlib.TakeRows(y, all, size)
	out, err := step.Run(n, rows, labels)
	advlib.Free(rows, labels)
	if err != nil {
		return nil, err
	}
	flat := tensors.MustCopyFlatData[float32](on.X)
	steep := tensors.MustCopyFlatData[float32](out[0])[:len(flat)]
	advlib.Free(out...)
	r := rand.New(rand.NewPCG(x.Seed, 10))
	signs := make([]float32, len(flat))
	for i := range signs {
		signs[i] = float32(2*r.IntN(2) - 1)
	}
	reach := x.Ball.Radius
	if x.Ball.Norm != advlib.Linf { // of the same length
		reach /= x.Ball.Norm.Distance(signs[:len(flat)/n], make([]float32, len(flat)/n))
	}
	p := &Picture{Kind: "lines", X: "distance, in radii", Y: "mean margin"}
	for k, direction := range [][]float32{steep, signs} {
		s := Series{Name: []string{"along the gradient's sign", "along random signs"}[k]}
		for at := -1.; at <= 1; at += 0.25 {
			moved := make([]float32, len(flat))
			for i, v := range flat {
				moved[i] = v + float32(at*reach)*direction[i]
			}
			points := tensors.FromFlatDataAndDimensions(moved, on.X.Shape().Dimensions...)
			l, _, err := evaluateRows(ctx, t, lossKey{advlib.Margin}, points, y, lossGraph(advlib.Margin))
			advlib.Free(points)
			if err != nil {
				return nil, err
			}
			s.X, s.Y = append(s.X, at), append(s.Y, -mean(l))
		}
		p.Series = append(p.Series, s)
	}
	return p, nil
}

func random(ctx context.Context, x *examiner, f *Finding) error {
	k := x.victim.Signature().Classes
	first := x.said
	widest := 0.
	var spread []float64
	for range 4 {
		again, err := x.victim.Query(ctx, x.on.X)
		if err != nil {
			return err
		}
		for i, a := range again {
			if a.Class() != first[i].Class() {
				widest = math.Max(widest, 1)
			}
			z, o := a.Logits(k), first[i].Logits(k)
			own := 0.
			for j := range min(len(z), len(o)) {
				own = math.Max(own, math.Abs(float64(z[j]-o[j])))
			}
			widest, spread = math.Max(widest, own), append(spread, own)
		}
	}
	f.Picture = histogram("largest difference of a logit between two answers", "answers", []string{""}, spread)
	if widest <= 1e-4 {
		f.judge(widest, 1e-4, "five answers differ by at most %.2g", widest)
		return nil
	}
	n, ok := draws(x.Attack)
	if !ok {
		f.judge(widest, 1e-4, "five answers differ by up to %.3g, and %v takes single draws", widest, x.Attack)
		return nil
	}
	return x.enoughDraws(ctx, f, widest, n)
}

func softmax(_ context.Context, x *examiner, f *Finding) error {
	if r := x.victim.Signature().Returns; r != advlib.Logits {
		return f.notApplicable("the victim answers with %v, and says so", r)
	}
	looks := 0
	var sums []float64
	for _, a := range x.said {
		sum, negative := 0., false
		for _, z := range a.Scores {
			sum, negative = sum+float64(z), negative || z < 0
		}
		if sums = append(sums, sum); !negative && math.Abs(sum-1) < 1e-3 {
			looks++
		}
	}
	f.Picture = histogram("sum of a row", "rows", []string{""}, sums)
	f.Value, f.Measured, f.Verdict = float64(looks), fmt.Sprintf("%d of %d rows look like probabilities", looks, len(x.said)), Passed
	if looks == len(x.said) {
		f.Verdict = Failed
	}
	return nil
}
