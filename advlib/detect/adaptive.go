package detect

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"

	"advlab/advlib"
	"advlab/advlib/attack"
	"advlab/advlib/attack/craft"
	. "advlab/advlib/internal/equation"
)

// Naive is the attack of who does not know of the detector: PGD with 40 steps on the margin of the classifier, whose
// results are shown to the whole.
func (s *Screened) Naive(b advlib.Ball) advlib.Attack {
	return s.Shown(attack.PGD{Ball: b, Steps: 40, Loss: advlib.Margin})
}

// Evader is a [Method] with attacks of its own that break it, beside those of [Screened.Adaptive].
type Evader interface {
	// Evade returns attacks that know the detector, in a ball.
	Evade(s *Screened, b advlib.Ball) []advlib.Attack
}

// Adaptive is the attack of who knows classifier, detector and threshold: an [Adaptive] of [Evasion], selective and
// orthogonal, of an attack that goes on to high confidence, and of what broke this method in the literature, see
// [Evader].
func (s *Screened) Adaptive(b advlib.Ball) advlib.Attack {
	all := []advlib.Attack{
		attack.PGD{Ball: b, Steps: 40, Loss: advlib.Margin, KeepGoing: true},
		Evasion{Screen: s, Ball: b},
		Evasion{Screen: s, Ball: b, Orthogonal: true, RandomStart: true, StepSize: b.Radius / 50},
	}
	if e, ok := s.method.(Evader); ok {
		all = append(all, e.Evade(s, b)...)
	}
	return Adaptive{Screen: s, Attacks: all}
}

// Adaptive runs attacks one after the other, each on what is not yet accepted and misclassified, and keeps the best of
// what they return: accepted and misclassified before misclassified before neither, and of equals that of the lowest
// score. So on the classifier without the detector, too, it returns what the detector should be measured on.
//
// Attacks without a part of their own for the detector, such as [attack.PGD], are run on the classifier behind it.
type Adaptive struct {
	// Screen is what is evaded.
	Screen *Screened
	// Attacks are in one ball, the cheapest first. Those of minimal norm count where they end in it.
	Attacks []advlib.Attack
}

// String returns for example "adaptive (evasion-100 Linf ≤ 0.1; PGD-40 Linf ≤ 0.1, Margin)".
func (a Adaptive) String() string {
	var names []string
	for _, one := range a.Attacks {
		names = append(names, fmt.Sprint(one))
	}
	return fmt.Sprintf("adaptive (%s)", strings.Join(names, "; "))
}

// Threat implements [advlib.Attack].
func (a Adaptive) Threat(v advlib.Victim) (advlib.Threat, error) {
	all := advlib.Threat{Radius: math.Inf(1)}
	if a.Screen == nil || len(a.Attacks) == 0 {
		return all, fmt.Errorf("an adaptive attack with %d attacks on the screen %v: give what detect.Screen returns, and at least one attack",
			len(a.Attacks), a.Screen)
	}
	if err := a.Screen.evadable(v); err != nil {
		return all, err
	}
	for i, one := range a.Attacks {
		t, err := one.Threat(a.Screen.of)
		switch {
		case err != nil:
			return all, fmt.Errorf("%v: %w", one, err)
		case t.Goal.IsTargeted():
			return all, fmt.Errorf("%v has the goal %v: leave its Goal out", one, t.Goal)
		case i > 0 && t.Norm != all.Norm:
			return all, fmt.Errorf("%v is in %v, the attacks before in %v: give all the same norm", one, t.Norm, all.Norm)
		case !t.Minimal() && !all.Minimal() && t.Radius != all.Radius:
			return all, fmt.Errorf("%v has the radius %g, the attacks before %g: give all the same ball", one, t.Radius, all.Radius)
		}
		all.Norm, all.Radius = t.Norm, min(all.Radius, t.Radius)
	}
	return all, nil
}

// Perturb implements [advlib.Attack].
func (a Adaptive) Perturb(ctx context.Context, v *advlib.Counted, b advlib.Batch) (*tensors.Tensor, error) {
	threat, err := a.Threat(v)
	if err != nil {
		return nil, err
	}
	on := v.On(a.Screen.of)
	p := newPool(a.Screen, b, threat)
	for _, one := range a.Attacks {
		if p.done() {
			break
		}
		err := p.enter(ctx, on, func(b advlib.Batch) (*tensors.Tensor, error) { return one.Perturb(ctx, on, b) })
		if err != nil {
			return p.end(ctx, err)
		}
	}
	return p.best.Tensor(), nil
}

// pool keeps the best of several attacks on one batch.
type pool struct {
	screen *Screened
	batch  advlib.Batch
	threat advlib.Threat
	best   *craft.Best
	of     []candidate
	left   []int // rows to attack
}

// candidate is what is known of a point.
type candidate struct {
	evades, wrong   bool
	score, distance float64
}

func newPool(s *Screened, b advlib.Batch, t advlib.Threat) *pool {
	p := &pool{screen: s, batch: b, threat: t, best: craft.NewBest(b), of: make([]candidate, b.Len())}
	for i := range p.of {
		p.of[i] = candidate{score: math.Inf(1), distance: math.Inf(1)}
		p.left = append(p.left, i)
	}
	return p
}

func (p *pool) done() bool { return len(p.left) == 0 }

// enter lets an attack work on the rows that are left, and takes what is better than what there was.
func (p *pool) enter(ctx context.Context, on *advlib.Counted, perturb func(b advlib.Batch) (*tensors.Tensor, error)) error {
	b := p.batch.Select(p.left)
	adv, err := perturb(b)
	if adv == nil {
		return err
	}
	z, scores, asked := p.screen.ask(context.WithoutCancel(ctx), on, adv)
	if asked != nil {
		return asked
	}
	x, found := tensors.MustCopyFlatData[float32](b.X), tensors.MustCopyFlatData[float32](adv)
	size := len(x) / b.Len()
	var left []int
	for i, row := range p.left {
		at := found[i*size : (i+1)*size]
		c := candidate{score: scores[i], distance: p.threat.Norm.Distance(at, x[i*size:(i+1)*size])}
		c.wrong = b.ReachedBy(i, advlib.Answer{Kind: advlib.Logits, Scores: z[i]})
		c.evades = c.wrong && !p.screen.flags(scores[i])
		if c.distance <= p.threat.Radius*(1+1e-5)+1e-7 && p.better(c, p.of[row]) {
			p.of[row] = c
			copy(p.best.Row(row), at)
		}
		if !p.of[row].evades || p.threat.Minimal() {
			left = append(left, row)
		}
	}
	p.left = left
	return err
}

// better tells whether c is better than d.
func (p *pool) better(c, d candidate) bool {
	switch {
	case c.evades != d.evades:
		return c.evades
	case c.evades && p.threat.Minimal():
		return c.distance < d.distance
	case c.wrong != d.wrong:
		return c.wrong
	}
	return c.score < d.score
}

// end returns what there is when an attack returned an error: with the error if it was cancelled, else nothing.
func (p *pool) end(ctx context.Context, err error) (*tensors.Tensor, error) {
	if ctx.Err() == nil {
		return nil, err
	}
	return p.best.Tensor(), err
}

// Joint runs any attack with a goal on classifier and detector as one classifier of K+1 classes, by Carlini & Wagner
// (2017), arXiv:1705.07263: z as they are, and of the class K, "rejected",
//
//	G_K(x) = max_k z_k(x) + (score(x) − threshold) / width
//
// so that an input is accepted where G_K is not the largest. The attack goes towards the most likely classes but the
// label, one after the other. With [attack.CarliniWagner] and [FeatureSqueezing] it is the authors' adaptive attack,
// the squeezers in the loss.
type Joint struct {
	// Screen is what is evaded.
	Screen *Screened
	// Attack is what is run; its own goal must be untargeted.
	Attack advlib.Attack
	// Targets is how many classes are tried; 0 means 1.
	Targets int
}

// String returns for example "C&W 9×1000 L2 minimal, with the detector in the loss".
func (a Joint) String() string {
	s := fmt.Sprintf("%v, with the detector in the loss", a.Attack)
	if a.Targets > 1 {
		s += fmt.Sprintf(", %d targets", a.Targets)
	}
	return s
}

// Threat implements [advlib.Attack].
func (a Joint) Threat(v advlib.Victim) (advlib.Threat, error) {
	if a.Screen == nil || a.Attack == nil {
		return advlib.Threat{}, fmt.Errorf("a joint attack of %v on the screen %v: give both", a.Attack, a.Screen)
	}
	if err := a.Screen.evadable(v); err != nil {
		return advlib.Threat{}, err
	}
	if a.Targets < 0 || a.Targets >= a.Screen.of.Classes() {
		return advlib.Threat{}, fmt.Errorf("Targets = %d: there are %d classes besides the label", a.Targets, a.Screen.of.Classes()-1)
	}
	t, err := a.Attack.Threat(a.Screen.of)
	if err == nil && t.Goal.IsTargeted() {
		err = fmt.Errorf("%v has the goal %v, but the targets are chosen here: leave its Goal out", a.Attack, t.Goal)
	}
	if err == nil {
		err = craft.CheckTargeted(a.Attack, a.Screen.of)
	}
	return t, err
}

// Perturb implements [advlib.Attack].
func (a Joint) Perturb(ctx context.Context, v *advlib.Counted, b advlib.Batch) (*tensors.Tensor, error) {
	threat, err := a.Threat(v)
	if err != nil {
		return nil, err
	}
	joint, err := a.Screen.jointly()
	if err != nil {
		return nil, err
	}
	on := v.On(a.Screen.of)
	clean, _, err := a.Screen.ask(ctx, on, b.X)
	if err != nil {
		return nil, err
	}
	p := newPool(a.Screen, b, threat)
	for k := range max(1, a.Targets) {
		if p.done() {
			break
		}
		err := p.enter(ctx, on, func(some advlib.Batch) (*tensors.Tensor, error) {
			some.AnyClass = false
			if b.Target == nil || b.AnyClass {
				some.Target = make([]int32, some.Len())
				for i, row := range p.left {
					some.Target[i] = likely(clean[row], b.Y[row])[k]
				}
			}
			return a.Attack.Perturb(ctx, v.On(joint), some)
		})
		if err != nil {
			return p.end(ctx, err)
		}
	}
	return p.best.Tensor(), nil
}

// likely returns the classes but y, the largest logit first.
func likely(z []float32, y int32) []int32 {
	var classes []int32
	for k := range z {
		if int32(k) != y {
			classes = append(classes, int32(k))
		}
	}
	slices.SortStableFunc(classes, func(i, j int32) int {
		switch {
		case z[i] > z[j]:
			return -1
		case z[i] < z[j]:
			return 1
		}
		return 0
	})
	return classes
}

type jointKey struct {
	of        *Screened
	threshold float64
}

// jointly returns classifier and detector as one.
func (s *Screened) jointly() (*advlib.Classifier, error) {
	return s.of.Extend(jointKey{s, s.Threshold}, s.Name()+", jointly", func(m *advlib.Model, x *Node) *Node {
		z, score := s.graph(m, x)
		over := s.excess(score)
		rejected := Add(graph.ReduceAndKeep(z, ReduceMax, 1), InsertAxes(over, 1))
		return Concatenate([]*Node{z, rejected}, 1)
	})
}

// Evade implements [Evader]: all copies are misclassified alike, and C&W with the squeezers in the loss.
func (FeatureSqueezing) Evade(s *Screened, b advlib.Ball) []advlib.Attack {
	return append(s.together(b), s.carliniWagner(b)...)
}

// Evade implements [Evader]: all copies are misclassified alike, and C&W with the copies in the loss.
func (Consistency) Evade(s *Screened, b advlib.Ball) []advlib.Attack {
	return append(s.together(b), s.carliniWagner(b)...)
}

type togetherKey struct{ of *Screened }

// together is PGD, to high confidence, on the mean of the logits of an input and of its squeezed copies: where all are
// of one wrong class by far, there is nothing that they differ in.
func (s *Screened) together(b advlib.Ball) []advlib.Attack {
	mean, err := s.mean()
	if err != nil { // it was built before, as a part of the score
		panic(err)
	}
	if mean == nil {
		return nil
	}
	pgd := attack.PGD{Ball: b, Steps: 60, Loss: advlib.Margin, KeepGoing: true}
	return []advlib.Attack{attack.Transfer{Attack: pgd, From: mean}}
}

// mean returns the classifier with the mean of the logits of an input and of its squeezed copies, nil if the detector
// makes none.
func (s *Screened) mean() (*advlib.Classifier, error) {
	by, ok := s.fitted().score.(*squeezed)
	if !ok {
		return nil, nil
	}
	return s.of.Derive(togetherKey{s}, fmt.Sprintf("%s, mean over copies of %v", s.of.Name(), s.method),
		func(m *advlib.Model, x *Node) *Node {
			sum := m.Logits(x)
			for _, y := range by.copies(x) {
				sum = Add(sum, m.Logits(y))
			}
			return DivScalar(sum, float64(1+len(by.by)))
		})
}

// carliniWagner is C&W with the detector in the loss, in the norms that it has.
func (s *Screened) carliniWagner(b advlib.Ball) []advlib.Attack {
	switch b.Norm {
	case advlib.Norm(advlib.L2):
		return []advlib.Attack{Joint{Screen: s, Attack: attack.CarliniWagner{BinarySearchSteps: 5, Steps: 200, InitialConst: 0.1}}}
	case advlib.Norm(advlib.Linf):
		pgd := attack.PGD{Ball: b, Steps: 60, Loss: advlib.Margin}
		return []advlib.Attack{Joint{Screen: s, Attack: pgd, Targets: min(3, s.of.Classes()-1)}}
	}
	return nil
}

// Evade implements [Evader]: features are matched.
func (LID) Evade(s *Screened, b advlib.Ball) []advlib.Attack { return s.matching(b) }

// Evade implements [Evader]: features are matched.
func (Mahalanobis) Evade(s *Screened, b advlib.Ball) []advlib.Attack { return s.matching(b) }

// Evade implements [Evader]: features are matched.
func (KernelDensity) Evade(s *Screened, b advlib.Ball) []advlib.Attack { return s.matching(b) }

func (s *Screened) matching(b advlib.Ball) []advlib.Attack {
	return []advlib.Attack{Evasion{Screen: s, Ball: b, Match: true}}
}

// Evade implements [Evader]: evasion of the autoencoders in more and smaller steps, along the gradient in an Linf ball,
// too; in L2 C&W with the autoencoders in the loss; and evasion of an attacker's own, whose results are shown to the
// defender's.
func (f MagNet) Evade(s *Screened, b advlib.Ball) []advlib.Attack {
	f.Seed += 1000
	small := Evasion{Screen: s, Ball: b, Steps: 300, StepSize: b.Radius / 50, Orthogonal: true}
	if b.Norm == advlib.Norm(advlib.Linf) {
		small.AlongGradient, small.StepSize = true, b.Radius/3
	}
	all := []advlib.Attack{small}
	if b.Norm == advlib.Norm(advlib.L2) {
		all = append(all, s.carliniWagner(b)...)
	}
	return append(all, OwnAutoencoders{Screen: s, Ball: b, MagNet: f, Count: 2})
}

// OwnAutoencoders is the attack of Carlini & Wagner (2017), arXiv:1711.08478, on [MagNet]: the attacker knows how the
// defence is made, but not its autoencoders, trains several others on the same data, evades all of these at once, with
// room to spare, and shows the result to the defender's. The attacker's thresholds are those that flag four times as
// many clean inputs: what is below them is likely to be below the defender's.
type OwnAutoencoders struct {
	// Screen is what is evaded.
	Screen *Screened
	// Ball is what may be changed.
	Ball advlib.Ball
	// MagNet is what the attacker trains, Count how many of them, each with the next seed; 0 means 4, and the authors take
	// 8. No seed may be the defender's.
	MagNet MagNet
	Count  int
}

// String returns for example "4 own autoencoders Linf ≤ 0.1".
func (a OwnAutoencoders) String() string {
	return fmt.Sprintf("%d own autoencoders %v", a.count(), a.Ball)
}

func (a OwnAutoencoders) count() int { return cmp.Or(a.Count, 4) }

// Threat implements [advlib.Attack].
func (a OwnAutoencoders) Threat(v advlib.Victim) (advlib.Threat, error) {
	if a.Count < 0 {
		return advlib.Threat{}, fmt.Errorf("Count = %d: train at least one MagNet", a.Count)
	}
	return Evasion{Screen: a.Screen, Ball: a.Ball}.Threat(v)
}

// Perturb implements [advlib.Attack].
func (a OwnAutoencoders) Perturb(ctx context.Context, v *advlib.Counted, b advlib.Batch) (*tensors.Tensor, error) {
	first := a.MagNet.Seed
	if m, ok := a.Screen.method.(MagNet); ok && m.Seed >= first && m.Seed-first < uint64(a.count()) {
		return nil, fmt.Errorf("the seed %d is the defender's own: give the attacker's MagNet another than %d to %d", m.Seed, first,
			first+uint64(a.count())-1)
	}
	fitted := a.Screen.fitted()
	data := fitted.data
	data.Rate = min(4*data.Rate, 0.5)
	own, err := Screen(ctx, fitted.of, magnets{a.MagNet, a.count()}, data)
	if err != nil {
		return nil, err
	}
	if r, ok := a.Screen.score.(reread); ok {
		own = own.reread(a.Screen.of, a.Screen.data.Clean, r.inverted)
	}
	attack := Evasion{Screen: own, Ball: a.Ball, Steps: 200, StepSize: a.Ball.Radius / 25, RandomStart: true, KeepGoing: true}
	return attack.Perturb(ctx, v.On(a.Screen.of), b)
}

// magnets are several, each with its own autoencoders: an input is rejected where any of them rejects it, and answered
// by the mean over their reformers.
type magnets struct {
	MagNet
	count int
}

// Fit implements [Method].
func (f magnets) Fit(ctx context.Context, c *advlib.Classifier, d Data) (Score, error) {
	var all severalMagnets
	for i := range f.count {
		one := f.MagNet
		one.Seed += uint64(i)
		s, err := one.Fit(ctx, c, d)
		if err != nil {
			return nil, err
		}
		all = append(all, s.(*magnet))
	}
	return all, nil
}

type severalMagnets []*magnet

// Graph implements [Score].
func (s severalMagnets) Graph(m *advlib.Model, x, z *Node) *Node {
	score := s[0].Graph(m, x, z)
	for _, one := range s[1:] {
		score = Max(score, one.Graph(m, x, z))
	}
	return score
}

// Answer implements [answerer].
func (s severalMagnets) Answer(m *advlib.Model, x *Node) *Node {
	sum := m.Logits(s[0].Reform(x))
	for _, one := range s[1:] {
		sum = Add(sum, m.Logits(one.Reform(x)))
	}
	return DivScalar(sum, float64(len(s)))
}
