package impact

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"sync"

	"github.com/gomlx/gomlx/core/tensors"

	"advlab/advlib"
	"advlab/advlib/attack"
	"advlab/advlib/report"
	"advlab/advlib/similarity"
)

// Settings are the conditions of a measurement.
type Settings struct {
	// Settings are those of the evaluation.
	advlib.Settings
	// Costs are what wrong answers cost.
	Costs Costs
	// Ball is the attacker's budget after which the numbers are; nil means the largest of the report's balls.
	Ball *advlib.Ball
	// Toward makes the attack for a goal, on the pairs of the costs; nil means PGD with the default number of steps and 5
	// restarts, which needs a gradient.
	Toward func(ball advlib.Ball, goal advlib.Goal) advlib.Attack
}

// Evaluate is [advlib.Evaluate] with what the attacks bring about: see [Report]. The costs' pairs are attacked besides.
func Evaluate(ctx context.Context, s Settings, v advlib.Victim, e *advlib.Examples, attacks []advlib.Attack,
	certifiers ...advlib.Certifier) (*advlib.Report, *Report, error) {
	c, err := Collect(s, v, e)
	if err != nil {
		return nil, nil, err
	}
	if then := s.OnResult; then != nil {
		s.OnResult = func(r *advlib.Result) { c.Add(r); then(r) }
	} else {
		s.OnResult = c.Add
	}
	evaluated, err := s.Settings.Evaluate(ctx, v, e, attacks, certifiers...)
	if err != nil {
		return evaluated, nil, err
	}
	r, err := c.Report(ctx, evaluated)
	return evaluated, r, err
}

// Collection keeps, while an evaluation runs, the nearest adversarial example in each norm.
type Collection struct {
	settings Settings
	victim   advlib.Victim
	examples *advlib.Examples
	costs    table
	names    []string
	rows     map[int64]int // by number
	mu       sync.Mutex
	found    map[string][]found // by norm
}

// found is an adversarial example.
type found struct {
	x        []float32
	distance float64
	attack   string
}

// Collect checks the settings, and returns a collection whose Add is to be the evaluation's Settings.OnResult.
func Collect(s Settings, v advlib.Victim, e *advlib.Examples) (*Collection, error) {
	if v == nil || e == nil || e.Len() == 0 {
		return nil, fmt.Errorf("impact: there is no victim, or there are no examples: give both")
	}
	signature := v.Signature()
	c := &Collection{settings: s, victim: v, examples: e, rows: map[int64]int{}, found: map[string][]found{}}
	for k := range signature.Classes {
		name := signature.ClassName(k)
		if len(signature.ClassNames) == 0 && k < len(e.Classes) {
			name = e.Classes[k]
		}
		c.names = append(c.names, name)
	}
	var err error
	if c.costs, err = s.Costs.over(c.names); err != nil {
		return nil, fmt.Errorf("impact: %w", err)
	}
	for i := range e.Len() {
		if other, twice := c.rows[e.Number(i)]; twice {
			return nil, fmt.Errorf("impact: the examples %d and %d of %s have the same number %d: let Examples.Index be nil", other, i, e.Name,
				e.Number(i))
		}
		c.rows[e.Number(i)] = i
	}
	return c, nil
}

// Add takes what an untargeted attack found.
func (c *Collection) Add(r *advlib.Result) {
	if r.Threat.Goal.IsTargeted() || r.Adversarial == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	norm := r.Threat.Norm.String()
	if c.found[norm] == nil {
		c.found[norm] = make([]found, c.examples.Len())
	}
	tensors.MustConstFlatData(r.Adversarial, func(flat []float32) {
		size := len(flat) / len(r.Success)
		for i, success := range r.Success {
			row, known := c.rows[r.Examples.Number(i)]
			if f := &c.found[norm][row]; known && success && r.Distance[i] > 0 && (f.x == nil || r.Distance[i] < f.distance) {
				*f = found{slices.Clone(flat[i*size : (i+1)*size]), r.Distance[i], r.Attack}
			}
		}
	})
}

// Report asks the victim about the originals, the adversarial examples in the ball and harmless changes, attacks the
// pairs of the costs, and says what all that means.
func (c *Collection) Report(ctx context.Context, evaluated *advlib.Report) (*Report, error) {
	ball, err := c.ball(evaluated)
	if err != nil {
		return nil, fmt.Errorf("impact: %w", err)
	}
	left := map[int64]bool{}
	for _, bad := range evaluated.LeftOut {
		left[bad.Index] = true
	}
	var rows []int
	for i := range c.examples.Len() {
		if !left[c.examples.Number(i)] {
			rows = append(rows, i)
		}
	}
	r := &Report{Classifier: evaluated.Classifier, Data: evaluated.Data, Classes: c.names, Ball: ball.Named(), Costs: c.settings.Costs,
		Warnings: evaluated.Warnings}
	for _, b := range evaluated.Balls() {
		if b.Norm == ball.Norm.String() {
			r.Budgets = append(r.Budgets, Budget{b.Radius, evaluated.Robust(b)})
		}
	}
	before, err := c.ask(ctx, rows, func(row int) []float32 { return c.original(row) })
	if err != nil {
		return nil, err
	}
	broken := c.found[ball.Norm.String()]
	var hit []int // of rows, those with an adversarial example in the ball
	for k, row := range rows {
		if broken != nil && broken[row].x != nil && broken[row].distance <= ball.Radius {
			hit = append(hit, k)
		}
	}
	after := slices.Clone(before)
	at := func(of []int) []int {
		picked := make([]int, len(of))
		for i, k := range of {
			picked[i] = rows[k]
		}
		return picked
	}
	said, err := c.ask(ctx, at(hit), func(row int) []float32 { return broken[row].x })
	if err != nil {
		return nil, err
	}
	for i, k := range hit {
		after[k] = said[i]
	}
	if err := c.pairs(ctx, r, ball, rows, before, after); err != nil {
		return nil, err
	}
	r.Before, r.After = sideOf(before, len(c.names)), sideOf(after, len(c.names))
	for k, row := range rows {
		r.Examples = append(r.Examples, exampleOf(c.examples.Number(row), before[k], after[k]))
	}
	if len(hit) > 0 {
		err = c.harmless(ctx, r, at(hit), broken)
	}
	return r, err
}

// ball is the budget after which the numbers are.
func (c *Collection) ball(evaluated *advlib.Report) (advlib.Ball, error) {
	if c.settings.Ball != nil {
		return *c.settings.Ball, c.settings.Ball.Check()
	}
	var largest report.Ball
	for _, b := range evaluated.Balls() {
		if largest.Norm == "" || b.Norm == largest.Norm && b.Radius > largest.Radius {
			largest = b
		}
	}
	for _, n := range []advlib.Norm{advlib.Linf, advlib.L2, advlib.L1, advlib.L0} {
		if n.String() == largest.Norm {
			return n.Ball(largest.Radius), nil
		}
	}
	return advlib.Ball{}, fmt.Errorf("the report has no ball of Linf, L2, L1 or L0: name one in Settings.Ball")
}

// original is the input of a row.
func (c *Collection) original(row int) []float32 {
	var x []float32
	tensors.MustConstFlatData(c.examples.X, func(flat []float32) {
		size := len(flat) / c.examples.Len()
		x = slices.Clone(flat[row*size : (row+1)*size])
	})
	return x
}

// ask asks the victim about inputs that belong to rows.
func (c *Collection) ask(ctx context.Context, rows []int, input func(row int) []float32) ([]answer, error) {
	const most = 256
	var all []answer
	for part := range slices.Chunk(rows, most) {
		var flat []float32
		for _, row := range part {
			flat = append(flat, input(row)...)
		}
		x := tensors.FromFlatDataAndDimensions(flat, append([]int{len(part)}, c.examples.Shape()...)...)
		said, err := c.victim.Query(ctx, x)
		advlib.Free(x)
		if err != nil {
			return nil, fmt.Errorf("impact: %w", err)
		}
		for i, row := range part {
			a := answer{truth: c.examples.Y[row], class: said[i].Class(), p: softmax(said[i].Logits(len(c.names)))}
			a.cost = c.costs.cost(a.truth, a.class)
			all = append(all, a)
		}
	}
	return all, nil
}

// softmax returns the probabilities of logits, computed in float64.
func softmax(z []float32) []float64 {
	if z == nil {
		return nil
	}
	p, sum, most := make([]float64, len(z)), 0., float64(slices.Max(z))
	for k, v := range z {
		p[k] = math.Exp(float64(v) - most)
		sum += p[k]
	}
	for k := range p {
		p[k] /= sum
	}
	return p
}

// pairs attacks the pairs of the costs. What a targeted attack reaches counts as what the attacker makes of an example,
// where it costs more.
func (c *Collection) pairs(ctx context.Context, r *Report, ball advlib.Ball, rows []int, before, after []answer) error {
	toward := c.settings.Toward
	if toward == nil {
		toward = func(b advlib.Ball, g advlib.Goal) advlib.Attack { return attack.PGD{Ball: b, Goal: g, Restarts: 5} }
	}
	for i, pair := range c.costs.mistakes {
		out := PairResult{Pair: c.settings.Costs.Pairs[i]}
		out.Truth, out.Answer = c.names[pair[0]], c.names[pair[1]] // they may be given by their numbers
		var of []int                                               // of rows
		for k := range rows {
			if before[k].truth == pair[0] {
				of = append(of, k)
			}
		}
		if len(of) == 0 {
			r.Warnings = append(r.Warnings, fmt.Sprintf("no example is of the class %s: nothing is known of the pair to %s", out.Truth, out.Answer))
			r.Pairs = append(r.Pairs, out)
			continue
		}
		some := make([]int, len(of))
		for j, k := range of {
			some[j] = rows[k]
		}
		on := c.examples.Select(some)
		a := toward(ball, advlib.Targeted(int(pair[1])))
		alone := c.settings.Settings
		alone.OnResult, alone.OnProgress, alone.Journal = nil, nil, nil
		res, err := alone.Run(ctx, c.victim, on, a)
		if err != nil {
			return fmt.Errorf("impact: the pair %s, %s: %w", out.Truth, out.Answer, err)
		}
		out.Attack = res.Attack
		worked := 0
		for j, k := range of {
			out.Before.Of, out.After.Of = out.Before.Of+1, out.After.Of+1
			if before[k].class == pair[1] {
				out.Before.Count++
			}
			if res.Distance[j] > 0 {
				worked++
			}
			if res.Success[j] {
				out.After.Count++
				if cost := c.costs.cost(pair[0], pair[1]); cost > after[k].cost {
					after[k].cost = cost
				}
			}
		}
		if worked > 0 {
			out.Seconds = res.Stats.Elapsed.Seconds() / float64(worked)
			out.Passes = float64(res.Stats.Forward+res.Stats.Backward) / float64(worked)
			out.Queries = len(res.Queries) > 0
		}
		advlib.Free(res.Adversarial, on.X)
		r.Pairs = append(r.Pairs, out)
	}
	return nil
}

// harmless makes the largest harmless changes that are no larger than the perturbations, and asks about them.
func (c *Collection) harmless(ctx context.Context, r *Report, rows []int, broken []found) error {
	signature := c.victim.Signature()
	layout, image := similarity.LayoutOf(signature.Input)
	if !image || signature.Domain != nil {
		return nil
	}
	box := signature.Box
	clean, err := c.ask(ctx, rows, c.original)
	if err != nil {
		return err
	}
	add := func(name, unit string, sizes []float64, made map[int][]float32) error {
		h := Harmless{Change: name, Unit: unit, Size: number(median(sizes))}
		said, err := c.ask(ctx, rows, func(row int) []float32 { return made[row] })
		if err != nil {
			return err
		}
		features, err := c.inFeatures(ctx, rows, made)
		if err != nil {
			return err
		}
		var norms, psnr, ssim []float64
		for i, row := range rows {
			h.Agrees.Of++
			if said[i].class == clean[i].class {
				h.Agrees.Count++
			}
			x := c.original(row)
			norms, psnr = append(norms, advlib.L2.Distance(made[row], x)), append(psnr, similarity.PSNR(x, made[row], box.Width()))
			if s, window, err := similarity.SSIM(x, made[row], signature.Input, box.Width()); err == nil {
				ssim, r.Window = append(ssim, s), window
			}
		}
		h.L2, h.PSNR, h.SSIM, h.Features = number(median(norms)), number(median(psnr)), number(median(ssim)), number(median(features))
		r.Harmless = append(r.Harmless, h)
		return nil
	}
	made := map[int][]float32{}
	for _, row := range rows {
		made[row] = broken[row].x
	}
	if err := add("the attack", "", nil, made); err != nil {
		return err
	}
	for kind, k := range kinds {
		made, sizes := map[int][]float32{}, []float64(nil)
		for _, row := range rows {
			x := c.original(row)
			y, size := largest(kind, layout, x, advlib.L2.Distance(broken[row].x, x), box.Lo, box.Hi, c.examples.Key(row))
			made[row], sizes = y, append(sizes, size)
		}
		if err := add(k.name, k.unit, sizes, made); err != nil {
			return err
		}
	}
	return nil
}

// inFeatures returns how far changed inputs are from the originals in the victim's features, where that is known.
func (c *Collection) inFeatures(ctx context.Context, rows []int, made map[int][]float32) ([]float64, error) {
	var from, to []float32
	for _, row := range rows {
		from, to = append(from, c.original(row)...), append(to, made[row]...)
	}
	dims := append([]int{len(rows)}, c.examples.Shape()...)
	x, y := tensors.FromFlatDataAndDimensions(from, dims...), tensors.FromFlatDataAndDimensions(to, dims...)
	defer advlib.Free(x, y)
	d, err := advlib.FeatureDistances(ctx, c.victim, x, y)
	return slices.DeleteFunc(d, math.IsNaN), err
}

// median is not a number of none.
func median(v []float64) float64 {
	if len(v) == 0 {
		return math.NaN()
	}
	slices.Sort(v)
	if m := len(v) / 2; len(v)%2 == 1 {
		return v[m]
	} else {
		return (v[m-1] + v[m]) / 2
	}
}

// number is null in JSON where it is not finite.
type number float64

// MarshalJSON writes what is not finite as null.
func (n number) MarshalJSON() ([]byte, error) { return report.Distance(n).MarshalJSON() }

// UnmarshalJSON reads null as not a number.
func (n *number) UnmarshalJSON(text []byte) error {
	if string(text) == "null" {
		*n = number(math.NaN())
		return nil
	}
	return json.Unmarshal(text, (*float64)(n))
}
