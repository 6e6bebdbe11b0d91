package detect

import (
	"context"
	"fmt"
	"math"

	"github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"

	"advlab/advlib"
	"advlab/advlib/attack"
	"advlab/advlib/attack/craft"
	. "advlab/advlib/internal/equation"
	"advlab/advlib/internal/hidden"
)

// # Attacks that know the detector
//
// A success is an input that is accepted and misclassified. What attacks of package attack take for one is read from
// logits, so they are given a classifier with the same answers as the screened one: accepting, whose logits are nearly
// equal where the detector rejects.

// leveled are what the logits of a rejected input differ by, at most: less than what craft.Point.Reached takes for
// rounding.
const leveled = 3e-6

type acceptingKey struct {
	of        *Screened
	threshold float64
}

// accepting returns a classifier that has the logits of the screened one where the input is accepted, by more than
// rounding, and logits of nearly 1 where it is rejected: those of a misclassified input are a little the better the
// nearer its score is to the threshold, so that an attack which finds nothing better returns the best of them.
func (s *Screened) accepting() (*advlib.Classifier, error) {
	return s.of.Derive(acceptingKey{s, s.Threshold}, s.Name(), func(m *advlib.Model, x *Node) *Node {
		z, score := s.graph(m, x)
		over := s.excess(score)
		size := MaxScalar(graph.ReduceAndKeep(Abs(z), ReduceMax, 1), 1e-12)
		near := DivScalar(graph.Exp(Neg(ClipScalar(over, 0., 30.))), 2.)
		level := OnePlus(MulScalar(Mul(Div(z, size), InsertAxes(near, 1)), leveled))
		accepted := LessThan(over, ZerosLike(over))
		return Where(BroadcastToDims(InsertAxes(accepted, 1), z.Shape().Dimensions...), z, level)
	})
}

// excess returns by how much scores [n] are above the threshold, in widths of the clean scores, and a little more than
// rounding may explain.
func (s *Screened) excess(score *Node) *Node {
	slack := 1e-5 * math.Max(1e-3, math.Abs(s.Threshold))
	return DivScalar(AddScalar(score, slack-s.Threshold), s.width())
}

// width is the distance between the quartiles of the clean scores, or from their median to the threshold.
func (s *Screened) width() float64 {
	n := len(s.clean)
	w := math.Max(s.clean[3*n/4]-s.clean[n/4], s.Threshold-s.clean[n/2])
	if !(w > 0) || math.IsInf(w, 0) {
		return 1
	}
	return w
}

// Evasion is projected gradient descent on classifier and detector at once, by Bryniarski et al. (2022),
// arXiv:2106.15023: a step goes up the margin while the input is not misclassified, and down the detector's score once
// it is ("selective"), so that no constant has to weigh the two. With Orthogonal, each step leaves out the
// part of its gradient that goes along the other one.
//
// It runs on the [Screened] classifier that it evades, or on the one behind it: then it is judged by the class alone,
// and what it returns is what the detector should be measured on.
type Evasion struct {
	// Screen is what is evaded.
	Screen *Screened
	// Ball is what may be changed.
	Ball advlib.Ball
	// Steps is the number of steps; 0 means 100. StepSize is their length; 0 means a twentieth of the radius.
	Steps    int
	StepSize float64
	// RandomStart begins at a random point of the ball in place of the original, and Restarts, with it, how often again.
	RandomStart bool
	Restarts    int
	// AlongGradient steps along the gradient in an Linf ball, too, with StepSize the step's L2 norm. It stays small where
	// the gradient is, as over the black edge of a digit, which its sign would cover with noise that an autoencoder does
	// not rebuild.
	AlongGradient bool
	// Orthogonal leaves out of each step what goes along the other gradient.
	Orthogonal bool
	// Match draws the hidden layers towards those of a clean, accepted example of another class, the nearest, in place of
	// margin and score: Sabour et al. (2016), arXiv:1511.05122, for detectors that look at features.
	Match bool
	// KeepGoing goes on with what is accepted and misclassified: up the margin again, and down the score whenever that
	// rises too high, to the last step. It is for transfer, where just enough here is not enough there.
	KeepGoing bool
}

// Describe implements [craft.Described].
func (a *Evasion) Describe(d *craft.Description) {
	d.Paper("Bryniarski et al. 2022, arXiv:2106.15023")
	d.Ball(&a.Ball, advlib.Linf, advlib.L2)
	d.Count(&a.Steps, 100)
	d.Size(&a.StepSize, a.Ball.Radius/20).As("α = %.6g")
	d.Flag(&a.RandomStart, "random start")
	d.Count(&a.Restarts, 0).As("%d restarts")
	d.Flag(&a.AlongGradient, "along the gradient")
	d.Flag(&a.Orthogonal, "orthogonal")
	d.Flag(&a.Match, "feature matching")
	d.Flag(&a.KeepGoing, "keeps going")
	d.Name("evasion-%d", a.Steps)
	n := (1 + a.Restarts) * a.Steps
	d.Passes(n, 2*n)
	d.Refuse(a.Screen == nil, "its Screen is nil: give what detect.Screen returns")
	d.Refuse(a.Match && a.Orthogonal, "there is one gradient where features are matched, and nothing that it could be orthogonal to: %v",
		"leave Orthogonal or Match out")
	d.Refuse(a.Restarts > 0 && !a.RandomStart, "%d restarts from the same point would repeat the same steps: %v", a.Restarts,
		"set RandomStart, or leave Restarts out")
	if v := d.Victim(); v != nil && a.Screen != nil {
		d.Check(a.Screen.evadable(v))
	}
}

// evadable refuses victims that are neither the screened classifier nor the one behind it.
func (s *Screened) evadable(v advlib.Victim) error {
	if err := advlib.SameInputs(s, v); err != nil {
		return err
	}
	if k := v.Signature().Classes; k != s.of.Classes() {
		return fmt.Errorf("%s has %d classes, %s has %d: attack what was screened, or the classifier behind it", v.Name(), k, s.Name(),
			s.of.Classes())
	}
	return nil
}

// String returns for example "evasion-100 Linf ≤ 0.1, orthogonal".
func (a Evasion) String() string { return craft.Name(a) }

// Threat implements [advlib.Attack].
func (a Evasion) Threat(v advlib.Victim) (advlib.Threat, error) { return craft.Threat(a, v) }

// Plan implements [advlib.Planner].
func (a Evasion) Plan(v advlib.Victim) (forward, backward float64, known bool) {
	return craft.Plan(a, v)
}

// Perturb implements [advlib.Attack].
func (a Evasion) Perturb(ctx context.Context, v *advlib.Counted, b advlib.Batch) (*tensors.Tensor, error) {
	a, err := craft.Ready(a, v, b)
	if err != nil {
		return nil, err
	}
	c, err := a.Screen.accepting()
	if err != nil {
		return nil, err
	}
	both, err := a.Screen.scored()
	if err != nil {
		return nil, err
	}
	norm := a.Ball.Norm.(advlib.ConvexNorm)
	step := evadeStep{screen: a.Screen, threshold: a.Screen.Threshold, norm: norm, direction: norm, orthogonal: a.Orthogonal,
		keepGoing: a.KeepGoing}
	if a.AlongGradient {
		step.direction = advlib.L2
	}
	if step.both, err = advlib.WhiteBox(v.On(both)); err != nil {
		return nil, err
	}
	if a.Match {
		if step.guides, err = a.Screen.newGuides(ctx); err != nil {
			return nil, err
		}
	}
	if step.guides != nil {
		if step.near, err = advlib.WhiteBox(v.On(step.guides.near)); err != nil {
			return nil, err
		}
	}
	on := v.On(c)
	up := craft.Ascent{Step: step, In: []float64{a.Ball.Radius, a.StepSize}, Loss: advlib.Margin, Steps: a.Steps, Restarts: a.Restarts,
		KeepGoing: a.KeepGoing}
	if a.RandomStart {
		up.Start = attack.PGD{Ball: a.Ball}.Start(on.Signature().Limits())
	}
	return up.Perturb(ctx, on, b)
}

// evadeStep determines the graph of an evasion.
type evadeStep struct {
	screen     *Screened
	threshold  float64
	norm       advlib.ConvexNorm
	direction  advlib.ConvexNorm // of steepest ascent
	orthogonal bool
	keepGoing  bool
	both       *advlib.Classifier // see Screened.scored, in the coordinates of the attack
	guides     *guides            // nil where nothing is matched
	near       *advlib.Classifier // that of the guides, in the coordinates of the attack
}

// Next is a step of Bryniarski et al. (2022), with f the margin and s the score,
//
//	x ← Π(x + α·d(g)),   g = ∇f where f ≤ 0,  −∇s where f > 0
//
// d the direction of steepest ascent in the norm, and in the orthogonal one
//
//	g = ∇f − ⟨∇f, ∇s⟩/‖∇s‖² ∇s   and   g = −∇s + ⟨∇f, ∇s⟩/‖∇f‖² ∇f
func (s evadeStep) Next(p *craft.Point, x, _ *Node, in []*Node) *Node {
	ε, α := in[0], in[1]
	// The accepting classifier has counted this pass, and XLA computes it once.
	if s.guides != nil {
		g := p.Gradient(Neg(s.guides.distance(s.near, x, p)), x)
		return p.Project(s.norm, Add(x, Mul(α, s.direction.Ascend(g))), ε)
	}
	z, score := split(s.both.LogitsGraph(x))
	f, over := advlib.Margin.Of(z, p.Goal), s.screen.excess(score)
	up, down := p.Gradient(f, x), Neg(p.Gradient(over, x))
	g, h := up, down
	if s.orthogonal {
		g, h = without(up, down), without(down, up)
	}
	falls := GreaterThan(f, craft.Rounding(z))
	if s.keepGoing { // where it is accepted, too, the margin is what there is to win
		falls = LogicalAnd(falls, GreaterOrEqual(over, ZerosLike(over)))
	}
	fooled := craft.PerRow(falls, x)
	g = Where(fooled, h, g)
	// Where one gradient is 0, or goes along the other, there is still that one.
	stands := craft.PerRow(Equal(advlib.Linf.Of(g), ZerosLike(f)), x)
	g = Where(stands, Where(fooled, down, up), g)
	return p.Project(s.norm, Add(x, Mul(α, s.direction.Ascend(g))), ε)
}

// without returns g [n, d...] without what goes along h.
func without(g, h *Node) *Node {
	along := Div(craft.SumRows(Mul(g, h)), MaxScalar(craft.SumRows(Mul(h, h)), 1e-30))
	return Sub(g, Mul(craft.PerRow(along, h), h))
}

// guides are clean examples that the detector accepts and the classifier gets right.
type guides struct {
	near *advlib.Classifier // from inputs to their distances to the guides' features, [n, m]
	y    *tensors.Tensor    // the guides' classes, int32 [1, m]
}

// mostGuides is how many there are at most.
const mostGuides = 200

type guidesKey struct{ of *Screened }

// newGuides takes them from the examples that set the threshold, or those that Reread was given: nil if none of these
// is accepted.
func (s *Screened) newGuides(ctx context.Context) (*guides, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.guide != nil {
		return s.guide, nil
	}
	of := s.fitted().of // whose features the detector looks at
	layers, err := checkLayers(of, nil, false)
	if err != nil {
		return nil, err
	}
	said, err := s.Query(ctx, s.data.Clean.X)
	if err != nil {
		return nil, err
	}
	var chosen []int
	for i, a := range said {
		if a.Class() == s.data.Clean.Y[i] && len(chosen) < mostGuides {
			chosen = append(chosen, i)
		}
	}
	if of != s.of { // there may be few that Reread was given
		if len(chosen) == 0 {
			return nil, nil
		}
		chosen = append(chosen, chosen[0])
	}
	if len(chosen) < 2 {
		return nil, fmt.Errorf("detect: %v accepts %d clean examples that %s gets right: there are none whose features could be matched",
			s.method, len(chosen), s.of.Name())
	}
	e := s.data.Clean.Select(chosen)
	var clouds []*cloud
	var scales []float64 // of each layer's squared distances
	for _, number := range layers {
		φ, err := values(ctx, of, e.X, func(_ *advlib.Model, x, z *Node) *Node { return hidden.Layers(z, x)[number].Flat() })
		if err != nil {
			return nil, err
		}
		c := newCloud(φ)
		scale := 0.
		for _, v := range tensors.MustCopyFlatData[float32](c.square) {
			scale += float64(v) / float64(len(chosen))
		}
		clouds, scales = append(clouds, c), append(scales, math.Max(scale, 1e-12))
	}
	near, err := of.Extend(guidesKey{s}, s.Name()+", near its guides", func(m *advlib.Model, x *Node) *Node {
		var sum *Node
		for i, l := range pick(m.Logits(x), x, layers) {
			d := DivScalar(clouds[i].squares(l.Flat()), scales[i])
			if sum == nil {
				sum = d
				continue
			}
			sum = Add(sum, d)
		}
		return sum
	})
	if err != nil {
		return nil, err
	}
	s.guide = &guides{near, tensors.FromFlatDataAndDimensions(e.Y, 1, len(chosen))}
	return s.guide, nil
}

// distance returns how far the features of x [n, d...] are from those of the guide that is nearest to the original
// among those of other classes, each layer in units of its spread: [n]. Near is the guides' classifier in the
// coordinates of x.
func (g *guides) distance(near *advlib.Classifier, x *Node, p *craft.Point) *Node {
	from := near.LogitsGraph(p.X0)
	dims := from.Shape().Dimensions
	y := BroadcastToDims(ConstTensor(x.Graph(), g.y), dims...)
	own := Equal(BroadcastToDims(InsertAxes(p.Goal.Label, 1), dims...), y)
	if p.Goal.Target != nil {
		own = LogicalNot(Equal(BroadcastToDims(InsertAxes(p.Goal.Target, 1), dims...), y))
	}
	from = Where(own, Infinity(x.Graph(), x.DType(), 1), from)
	return advlib.At(near.LogitsGraph(x), StopGradient(ArgMin(from, 1)))
}
