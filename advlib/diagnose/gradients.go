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
	zero := func(loss advlib.Loss) (zeros, notFinite int, err error) {
		t := advlib.Count(x.victim)
		sizes, notFinite, err := evaluateRows(ctx, t, gradientKey{loss}, x.on.X, y, func(m *advlib.Model, in []*Node) []*Node {
			z := m.Logits(in[0])
			return []*Node{advlib.Linf.Of(m.Gradient(loss.Of(z, advlib.GoalNodes{Label: in[1]}), in[0]))}
		})
		for _, g := range sizes {
			if g == 0 || math.IsNaN(g) {
				zeros++
			}
		}
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
	sum := 0.
	for i, l := range reference {
		sum += UnstablePredictions(l, around[i])
	}
	mean := sum / float64(len(reference))
	f.judge(mean, mostShaken, "the margin changes by %.1f %% on average", 100*mean)
	return nil
}

func random(ctx context.Context, x *examiner, f *Finding) error {
	k := x.victim.Signature().Classes
	first := x.said
	widest := 0.
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
			for j := range min(len(z), len(o)) {
				widest = math.Max(widest, math.Abs(float64(z[j]-o[j])))
			}
		}
	}
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
	for _, a := range x.said {
		sum, negative := 0., false
		for _, z := range a.Scores {
			sum, negative = sum+float64(z), negative || z < 0
		}
		if !negative && math.Abs(sum-1) < 1e-3 {
			looks++
		}
	}
	f.Value, f.Measured, f.Verdict = float64(looks), fmt.Sprintf("%d of %d rows look like probabilities", looks, len(x.said)), Passed
	if looks == len(x.said) {
		f.Verdict = Failed
	}
	return nil
}
