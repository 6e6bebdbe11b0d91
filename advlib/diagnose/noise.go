package diagnose

import (
	"cmp"
	"context"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/gomlx/gomlx/core/tensors"

	"advlab/advlib"
)

// nearest is how many examples noise is tried on thoroughly, and firstShare which share of the points on the others.
const (
	nearest    = 16
	firstShare = 0.1
)

// noise tries points of the ball at random around the examples that stand: half of them uniform in the ball, half of
// them with each coordinate at an end of what a ball in Linf of the same length allows. Where the first of them came
// nearest to falling, by the margin, it goes on.
func noise(ctx context.Context, x *examiner, f *Finding) error {
	if x.victim.Signature().Limits().Encoded() {
		return f.notApplicable("a domain says itself which values its features may have")
	}
	s, err := x.search(ctx, x.open(0), x.Samples)
	if err != nil {
		return err
	}
	var margins []float64
	for _, i := range x.open(0) {
		margins = append(margins, s.least[i])
	}
	p := histogram("least margin at any point, relative to the logits' range", "examples", []string{""}, margins)
	x.concludes(func() {
		found := 0
		for i, p := range s.p {
			if s.found[i] && x.surprising(p) {
				found++
			}
		}
		f.judge(float64(found), 0, "%d points around each of %d examples that stand, %d around the %d that came nearest: %d fall",
			s.first, len(x.open(0)), x.Samples, min(nearest, len(x.open(0))), found)
		f.Picture = p
	})
	x.contests[contest{"noise", x.Attack.String()}] = s.p
	return nil
}

// searched is what points at random found around each example.
type searched struct {
	first int
	found []bool
	// least is the smallest margin that was met, relative to the range of the logits. p is, of a random victim, how likely
	// chance makes what was found; NaN where nothing was.
	least, p []float64
}

// search tries points at random around examples; see noise.
func (x *examiner) search(ctx context.Context, rows []int, samples int) (*searched, error) {
	n := x.on.Len()
	s := &searched{first: samples, found: make([]bool, n), least: make([]float64, n), p: make([]float64, n)}
	for i := range n {
		s.least[i], s.p[i] = math.Inf(1), math.NaN()
	}
	if len(rows) > nearest && !x.thorough {
		s.first = max(min(samples, 100), int(firstShare*float64(samples)))
	}
	for _, i := range rows {
		if err := x.searchAround(ctx, s, i, 0, s.first); err != nil {
			return nil, err
		}
	}
	if s.first == samples {
		return s, nil
	}
	left := slices.DeleteFunc(slices.Clone(rows), func(i int) bool { return s.found[i] })
	slices.SortStableFunc(left, func(a, b int) int { return cmp.Compare(s.least[a], s.least[b]) })
	for _, i := range left[:min(nearest, len(left))] {
		if err := x.searchAround(ctx, s, i, s.first, samples); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// searchAround tries the points numbered from one to another around an example, until one is adversarial.
func (x *examiner) searchAround(ctx context.Context, s *searched, i, from, to int) error {
	limits := x.victim.Signature().Limits()
	r := rand.New(rand.NewPCG(x.Seed+uint64(from), x.on.Key(i)))
	original := row(x.on.X, i)
	size := len(original)
	const piece = 512
	points := make([]float32, piece*size)
	for done := from; done < to; done += piece {
		if err := ctx.Err(); err != nil {
			return err
		}
		n := min(piece, to-done)
		for k := range n {
			x.sample(r, limits, original, points[k*size:(k+1)*size], k%2 == 0)
		}
		t := tensors.FromFlatDataAndDimensions(points[:n*size], append([]int{n}, x.on.Shape()...)...)
		said, err := x.victim.Query(ctx, t)
		advlib.Free(t)
		if err != nil {
			return err
		}
		for k, a := range said {
			s.least[i] = math.Min(s.least[i], relativeMargin(a, x.on.Y[i], x.victim.Signature().Classes))
			if c := a.Class(); c < 0 || c == x.on.Y[i] {
				continue
			}
			holds, p, err := x.holds(ctx, points[k*size:(k+1)*size], i)
			if err != nil {
				return err
			}
			if holds {
				s.found[i], s.p[i] = true, p
				return nil
			}
		}
	}
	return nil
}

// row returns a copy of a row of points.
func row(points *tensors.Tensor, i int) (flat []float32) {
	tensors.MustConstFlatData(points, func(all []float32) {
		size := len(all) / points.Shape().Dimensions[0]
		flat = slices.Clone(all[i*size : (i+1)*size])
	})
	return flat
}

// relativeMargin is by how much the label's logit is above the others', relative to the range of the logits. It is 1 of
// an answer without scores that is right.
func relativeMargin(a advlib.Answer, label int32, classes int) float64 {
	z := a.Logits(classes)
	if len(z) == 0 {
		return map[bool]float64{true: 1, false: -1}[a.Class() == label]
	}
	other := math.Inf(-1)
	for k, v := range z {
		if int32(k) != label {
			other = math.Max(other, float64(v))
		}
	}
	if wide := float64(slices.Max(z) - slices.Min(z)); wide > 0 {
		return (float64(z[label]) - other) / wide
	}
	return 0
}

// sample draws a point of the ball around an original, inside of the limits.
func (x *examiner) sample(r *rand.Rand, limits advlib.Limits, original, point []float32, inside bool) {
	if inside || x.Ball.Norm != advlib.Linf {
		x.Ball.Norm.(advlib.ConvexNorm).Sample(r, point)
	} else {
		for j := range point {
			point[j] = float32(2*r.IntN(2) - 1)
		}
	}
	for j := range point {
		point[j] = float32(limits.Clamp(j, float64(original[j])+x.Ball.Radius*float64(point[j]), original[j]))
	}
	x.Ball.Pull(point, original)
}

// holds tells whether a point is adversarial. Of a random victim it is by fresh draws: in most of 20, for among
// thousands of points some are by luck, and then in most of more; p is then how likely as many of these are by chance,
// against what the diagnosed attack returned.
func (x *examiner) holds(ctx context.Context, point []float32, i int) (bool, float64, error) {
	if !x.victim.Signature().Random {
		return true, math.NaN(), nil
	}
	wrong := func(draws int) (int, error) {
		t := tensors.FromFlatDataAndDimensions(slices.Repeat(point, draws), append([]int{draws}, x.on.Shape()...)...)
		defer advlib.Free(t)
		said, err := x.victim.Query(ctx, t)
		n := 0
		for _, a := range said {
			if c := a.Class(); c >= 0 && c != x.on.Y[i] {
				n++
			}
		}
		return n, err
	}
	few, err := wrong(20)
	if err != nil || few <= 10 {
		return false, math.NaN(), err
	}
	many, err := wrong(judged)
	if err != nil || 2*many <= judged {
		return false, math.NaN(), err
	}
	return true, fisher(many, x.base().reached[i], judged), nil
}
