package attack

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"

	"advlab/advlib"
)

// Substitute trains a classifier on the answers of a victim, to be attacked in its place: Papernot et al. (2017),
// arXiv:1602.02697, algorithm 1, with the reservoir of Papernot et al. (2016), arXiv:1605.07277, section 4.2. In each
// round the classifier is trained on all points so far, and each point x begets another, where its answer y changes
// fastest, which the victim labels:
//
//	x′ = clip(x + λ·sign ∇z_y(x)),  λ of the other sign every few rounds
//
//	s, err := attack.Substitute{Train: zoo.MLP(200, 200).Fit}.Learn(ctx, victim, seeds)
//	res, err := advlib.Run(ctx, victim, test, s.Transfer(attack.MIFGSM{Ball: ball}))
//
// Labels are all that it needs. CleverHans's code keeps to no box, has no reservoir, and takes the true labels of the
// seeds without asking.
type Substitute struct {
	// Train trains the classifier: Fit of a model of package training, or any other function. It must be set.
	Train func(ctx context.Context, e *advlib.Examples) (*advlib.Classifier, error)
	// Rounds is ρ, how often it is trained; 0 means 6.
	Rounds int
	// Doublings is σ: in so many rounds every point begets one, later a reservoir of Reservoir points, drawn from
	// all; 0 means 3 and 400.
	Doublings, Reservoir int
	// StepSize is λ, in widths of the box; 0 means 0.1. Its sign changes every Turn rounds, and is negative at first; 0
	// means 3.
	StepSize float64
	Turn     int
	// Queries is how many answers the training may take altogether, those on the seeds included; 0 means 5000.
	Queries int
	// Seed draws the reservoir.
	Seed uint64
}

// Substituted is what [Substitute] has trained.
type Substituted struct {
	// Classifier is the substitute.
	Classifier *advlib.Classifier
	// Examples are the points that it was trained on, with the victim's labels. Index says which seed a point descends
	// from: on a victim with a budget for each example its query is that seed's.
	Examples *advlib.Examples
	// Queries is how many answers that took.
	Queries int
}

// Transfer returns an attack that is run on the substitute, and whose examples are offered to the victim. The queries
// of the training are in its bill.
func (s *Substituted) Transfer(a advlib.Attack) Transfer {
	return Transfer{Attack: a, From: s.Classifier, Asked: s.Queries}
}

// filled returns s with its defaults, or what is wrong with it.
func (s Substitute) filled(v advlib.Victim, seeds *advlib.Examples) (Substitute, error) {
	if s.Train == nil {
		return s, errors.New("a Substitute has no Train: give the Fit of a model, such as zoo.MLP(200, 200).Fit")
	}
	if v.Signature().Limits().Check() != nil {
		return s, fmt.Errorf("the domain of %s has scales, steps, categories or derived features, which steps along a slope leave: train a "+
			"classifier on data of that domain, and take attack.Transfer", v.Name())
	}
	if err := seeds.Check(advlib.Spec{Name: v.Name(), Input: v.Signature().Input, Box: v.Signature().Box,
		Domain: v.Signature().Domain}, v.Signature().Classes); err != nil {
		return s, err
	}
	for _, n := range []struct {
		name  string
		value *int
		or    int
	}{{"Rounds", &s.Rounds, 6}, {"Doublings", &s.Doublings, 3}, {"Reservoir", &s.Reservoir, 400}, {"Turn", &s.Turn, 3},
		{"Queries", &s.Queries, 5000}} {
		if *n.value < 0 {
			return s, fmt.Errorf("%s = %d is below 0: leave it at 0 for the default", n.name, *n.value)
		}
		if *n.value == 0 {
			*n.value = n.or
		}
	}
	if !(s.StepSize >= 0) || math.IsInf(s.StepSize, 1) {
		return s, fmt.Errorf("StepSize = %g is not a finite number ≥ 0", s.StepSize)
	}
	if s.StepSize == 0 {
		s.StepSize = 0.1
	}
	return s, nil
}

// Learn asks the victim about the seeds, some inputs of the kind that it is for, whose labels are not looked at, and
// trains. When ctx is done, or the victim fails, what was paid for is returned with the error: its Classifier is the
// last one, and nil if there was none.
func (s Substitute) Learn(ctx context.Context, v advlib.Victim, seeds *advlib.Examples) (*Substituted, error) {
	s, err := s.filled(v, seeds)
	if err != nil {
		return nil, fmt.Errorf("attack: Substitute: %w", err)
	}
	p := &pool{Substitute: s, victim: advlib.Count(v), limits: v.Signature().Limits(), shape: v.Signature().Input,
		r: rand.New(rand.NewPCG(s.Seed, 1))}
	for k := range v.Signature().Classes {
		p.classes = append(p.classes, v.Signature().ClassName(k))
	}
	out := &Substituted{}
	flat := tensors.MustCopyFlatData[float32](seeds.X)
	size := len(flat) / seeds.Len()
	var xs [][]float32
	var of []int64
	for i := range seeds.Len() {
		xs, of = append(xs, flat[i*size:(i+1)*size]), append(of, seeds.Number(i))
	}
	for round := 0; ; round++ {
		err = p.ask(ctx, xs, of)
		out.Queries = p.asked
		if len(p.y) == 0 && err == nil {
			err = errors.New("the victim has labelled none of the seeds")
		}
		if err == nil {
			out.Examples, err = p.examples(v.Name())
		}
		var c *advlib.Classifier
		if err == nil {
			c, err = s.Train(ctx, out.Examples)
		}
		if err != nil {
			return out, fmt.Errorf("attack: Substitute: round %d: %w", round+1, err)
		}
		if out.Classifier = c; round+1 == s.Rounds {
			return out, nil
		}
		if xs, of, err = p.beget(c, round); err != nil {
			return out, fmt.Errorf("attack: Substitute: round %d: %w", round+1, err)
		}
	}
}

// pool are the points of a substitute's training.
type pool struct {
	Substitute
	victim  *advlib.Counted
	limits  advlib.Limits
	shape   []int
	classes []string
	r       *rand.Rand
	x       [][]float32
	y       []int32
	of      []int64
	asked   int
}

// ask lets the victim label points, as many as the budgets allow. What it rejects is not kept.
func (p *pool) ask(ctx context.Context, xs [][]float32, of []int64) error {
	const most = 512
	left := map[int64]int{}
	for len(xs) > 0 && p.asked < p.Queries {
		var some []int
		for i := 0; i < len(xs) && len(some) < min(most, p.Queries-p.asked); i++ {
			if _, known := left[of[i]]; !known {
				left[of[i]] = p.victim.Left(of[i])
			}
			if left[of[i]] > 0 {
				left[of[i]]--
				some = append(some, i)
			}
		}
		if len(some) == 0 {
			return nil
		}
		var flat []float32
		var numbers []int64
		for _, i := range some {
			flat, numbers = append(flat, xs[i]...), append(numbers, of[i])
		}
		answers, err := p.victim.Ask(ctx, numbers, tensors.FromFlatDataAndDimensions(flat, append([]int{len(some)}, p.shape...)...))
		p.asked += len(answers)
		for k, a := range answers {
			if class := a.Class(); class >= 0 {
				p.x, p.y, p.of = append(p.x, xs[some[k]]), append(p.y, class), append(p.of, numbers[k])
			}
		}
		if err != nil {
			return err
		}
		last := some[len(some)-1] + 1
		xs, of = xs[last:], of[last:]
	}
	return nil
}

// examples returns all points.
func (p *pool) examples(victim string) (*advlib.Examples, error) {
	e, err := advlib.NewExamples("answers of "+victim, slices.Concat(p.x...), p.shape, slices.Clone(p.y))
	if err == nil {
		e.Index, e.Classes = slices.Clone(p.of), p.classes
	}
	return e, err
}

// jacobianKey is the step that computes slopes.
type jacobianKey struct{}

// beget returns the new points of a round, and the seeds that they descend from.
func (p *pool) beget(c *advlib.Classifier, round int) (xs [][]float32, of []int64, err error) {
	parents := make([]int, len(p.y))
	for i := range parents {
		parents[i] = i
	}
	if round >= p.Doublings && len(parents) > p.Reservoir {
		parents = parents[:draw(p.r, parents, p.Reservoir)]
	}
	λ := p.StepSize * p.limits.Width()
	if round/p.Turn%2 == 0 {
		λ = -λ
	}
	on := advlib.Count(c)
	step := on.Compile(jacobianKey{}, func(m *advlib.Model, in []*graph.Node) []*graph.Node {
		return []*graph.Node{m.Gradient(advlib.At(m.Logits(in[0]), in[1]), in[0])}
	})
	for rows := range slices.Chunk(parents, 512) {
		n := advlib.Bucket(len(rows))
		var flat []float32
		y := make([]int32, n)
		for i := range n {
			row := rows[min(i, len(rows)-1)]
			flat, y[i] = append(flat, p.x[row]...), p.y[row]
		}
		in := tensors.FromFlatDataAndDimensions(flat, append([]int{n}, p.shape...)...)
		out, err := step.Run(len(rows), in, tensors.FromFlatDataAndDimensions(y, n))
		if err != nil {
			return nil, nil, err
		}
		g := tensors.MustCopyFlatData[float32](out[0])
		advlib.Free(in, out[0])
		size := len(flat) / n
		for i, row := range rows {
			x := slices.Clone(p.x[row])
			for j, v := range g[i*size : (i+1)*size] {
				if v != 0 {
					x[j] = p.limits.Clamp(j, float64(x[j])+math.Copysign(λ, λ*float64(v)), p.x[row][j])
				}
			}
			xs, of = append(xs, x), append(of, p.of[row])
		}
	}
	return xs, of, nil
}
