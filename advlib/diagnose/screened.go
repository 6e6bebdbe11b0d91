package diagnose

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"

	"github.com/gomlx/gomlx/core/tensors"

	"advlab/advlib"
	"advlab/advlib/attack"
)

// The binarisation test on victims that reject, by the code of Zimmermann et al. (2022): an attack must find the
// planted point behind the detector, where this accepts it; and, since most points are accepted so that an attack which
// ignores the detector would pass, it must do so again with the detector inverted, where the planted point is one that
// the detector rejects, and only what it rejects counts. An evaluation passes with both.
//
// The detector stays as it was fitted: its score is that of the classifier with its own last layer.
//
// In two things the authors' code does not do what it says, and ours does: points that are drawn again until the
// detector accepts enough of them are assigned to a copy, so that none is ever gained, and the adversarial points that
// should lie beyond the ball, for attacks that match features, are made in it.

// Rereader is an [advlib.Screener] that can put its detector before other answers, as detect.Screened does: what the
// binarisation test needs of a victim that rejects.
type Rereader interface {
	advlib.Screener
	// Reread returns the same detector with the answers of c, and the attack a on this victim as one on that. Scores stay
	// those of the victim's own classifier. Inverted, what was accepted is rejected and the other way round, and attacks
	// see the negative score. Guides are examples of both classes for attacks that match features of other examples. It
	// is an error if the attack cannot be moved.
	Reread(c *advlib.Classifier, guides *advlib.Examples, inverted bool, a advlib.Attack) (advlib.Screener, advlib.Attack, error)
}

// side is the side of a detector on which points are planted; the zero value is that of a victim without one.
type side struct {
	by       Rereader
	inverted bool
}

// beyondBall is how far away, in radii, points lie that are planted for attacks that match features: the authors'.
const beyondBall = 1.75

const (
	// naively is how many adversarial points are made around each example to find one that is rejected: as many as theirs.
	naively = 5
	// randomly is how many points at the border are drawn, and redrawn which share of its values one has from nowhere.
	randomly = 200
	redrawn  = 0.1
	// fewest is the share of the points asked for that must have been planted for the test to say something.
	fewest = 0.2
)

// choose returns points at the border of the ball around the examples of rows, or, for kind 1, beyond it, that the
// detector accepts, or, inverted, rejects; nil where there is none. Those that are rejected are, where possible,
// adversarial examples of an attack that ignores the detector. Else points are drawn at random, each with most values
// of the one before whose score came nearest to what is looked for.
func (x *examiner) choose(ctx context.Context, rows []int, s side, kind uint64) ([][]float32, error) {
	y := *x
	if kind == 1 {
		y.Ball.Radius *= beyondBall
	}
	limits := x.victim.Signature().Limits()
	on := x.on.Select(rows)
	defer advlib.Free(on.X)
	w := &wanted{side: s, chosen: make([][]float32, len(rows)), best: make([][]float32, len(rows)), scores: make([]float64, len(rows))}
	if s.inverted {
		for k := range uint64(naively) {
			pgd := attack.PGD{Ball: y.Ball, Loss: advlib.Margin, KeepGoing: k%2 == 0} // some detectors see confidence, others doubt
			adv, err := pgd.Perturb(ctx, advlib.Count(x.white), batch(on, x.Seed+kind*naively+k))
			if err != nil {
				return nil, err
			}
			err = w.take(ctx, on.Shape(), func(i int) []float32 {
				point := row(adv, i)
				y.stretch(limits, row(on.X, i), point)
				return point
			})
			advlib.Free(adv)
			if err != nil {
				return nil, err
			}
		}
	}
	streams := make([]*rand.Rand, len(rows))
	for i, row := range rows {
		streams[i] = rand.New(rand.NewPCG(x.Seed+kind, x.on.Key(row)^0xbf58476d1ce4e5b9))
	}
	for range randomly {
		err := w.take(ctx, on.Shape(), func(i int) []float32 {
			original := row(on.X, i)
			point := make([]float32, len(original))
			y.border(streams[i], limits, original, point)
			if w.best[i] == nil {
				return point
			}
			for j, v := range w.best[i] {
				if streams[i].Float64() >= redrawn {
					point[j] = v
				}
			}
			y.stretch(limits, original, point)
			return point
		})
		if err != nil {
			return nil, err
		}
	}
	return w.chosen, nil
}

// wanted are points of one side of a detector, one for each of some examples, as far as they are found.
type wanted struct {
	side
	chosen [][]float32
	// best are the points whose score came nearest to that side, and scores theirs.
	best   [][]float32
	scores []float64
}

// take asks the detector about a point for each example that has none yet.
func (w *wanted) take(ctx context.Context, shape []int, point func(i int) []float32) error {
	var open []int
	var flat []float32
	for i, c := range w.chosen {
		if c == nil {
			open, flat = append(open, i), append(flat, point(i)...)
		}
	}
	if len(open) == 0 {
		return ctx.Err()
	}
	t := tensors.FromFlatDataAndDimensions(flat, append([]int{len(open)}, shape...)...)
	defer advlib.Free(t)
	seen, err := w.by.Inspect(ctx, t)
	if err != nil {
		return err
	}
	size, threshold := len(flat)/len(open), w.by.Screening().Threshold
	for k, i := range open {
		at, score := flat[k*size:(k+1)*size], seen[k].Score
		nearer := score < w.scores[i]
		if w.inverted {
			nearer = score > w.scores[i]
		}
		if w.best[i] == nil || nearer {
			w.best[i], w.scores[i] = at, score
		}
		if rejected := !(score <= threshold); rejected == w.inverted && !math.IsNaN(score) {
			w.chosen[i] = at
		}
	}
	return nil
}

// stretch moves a point away from the original to the border of the ball, as far as the box lets it.
func (x *examiner) stretch(limits advlib.Limits, original, point []float32) {
	length := x.Ball.Norm.Distance(point, original)
	if length == 0 {
		return
	}
	for j := range point {
		δ := float64(point[j]) - float64(original[j])
		point[j] = float32(limits.Clamp(j, float64(original[j])+δ*x.Ball.Radius/length, original[j]))
	}
	x.Ball.Pull(point, original)
}

// batch are examples to attack.
func batch(e *advlib.Examples, seed uint64) advlib.Batch {
	b := advlib.Batch{X: e.X, Y: e.Y, Seed: seed}
	for i := range e.Y {
		b.Index, b.Key = append(b.Index, e.Number(i)), append(b.Key, e.Key(i))
	}
	return b
}

// unmovable says why an attack cannot be run on another victim than its own.
type unmovable struct{ why error }

// Error implements error.
func (u *unmovable) Error() string { return u.why.Error() }

// evade attacks planted points behind a detector, and tells which were found. The originals are attacked whatever the
// detector says of them: inverted, it rejects them all.
func (x *examiner) evade(
	ctx context.Context, plants []plant, c *advlib.Classifier, on *advlib.Examples, s side,
) (v advlib.Victim, hit []bool, err error) {
	flat, y := tensors.MustCopyFlatData[float32](on.X), make([]int32, on.Len())
	for _, p := range plants {
		if p.far != nil {
			flat, y = append(flat, p.far...), append(y, 1)
		}
	}
	guides, err := advlib.NewExamples("planted points", flat, on.Shape(), y)
	if err != nil {
		return nil, nil, err
	}
	guides.Classes = on.Classes
	victim, a, err := s.by.Reread(c, guides, s.inverted, x.Attack)
	if err != nil {
		return nil, nil, &unmovable{err}
	}
	const most = 256
	for lo := 0; lo < on.Len(); lo += most {
		var rows []int
		for i := lo; i < min(lo+most, on.Len()); i++ {
			rows = append(rows, i)
		}
		some := on.Select(rows)
		adv, err := a.Perturb(ctx, advlib.Count(victim), batch(some, x.Seed))
		if err != nil && (adv == nil || !errors.Is(err, advlib.ErrBudget)) {
			advlib.Free(some.X)
			return nil, nil, fmt.Errorf("%v on planted points: %w", a, err)
		}
		said, err := victim.Query(ctx, adv)
		for i, answer := range said {
			near := x.Ball.Norm.Distance(row(adv, i), row(some.X, i)) <= x.Ball.Radius*(1+1e-5)+1e-7
			hit = append(hit, near && answer.Class() == 1)
		}
		if adv != some.X {
			advlib.Free(adv)
		}
		if advlib.Free(some.X); err != nil {
			return nil, nil, err
		}
	}
	return victim, hit, nil
}
