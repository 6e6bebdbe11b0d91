package advlib

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"advlab/advlib/backend"
)

// Report holds the numbers of an evaluation, and no tensors: it can be kept, sent, and merged with the report of
// other examples of the same evaluation. Slices have one entry for each example. Its JSON is documented at
// [Report.MarshalJSON].
type Report struct {
	// Classifier, Data, Backend and Box say what was measured, on what.
	Classifier string `json:"classifier"`
	Data       string `json:"data"`
	Backend    string `json:"backend"`
	Box        Box    `json:"box"`
	// Domain describes the constraints on single features; empty if there are none. Radii and distances are in the scales of the features.
	Domain string `json:"domain,omitempty"`
	// Notes are sentences on what the classifier is made of, such as a normalisation inside of it, see [Spec], and on how the examples
	// were read, see [Examples].
	Notes []string `json:"notes,omitempty"`
	// Seed is the seed of the run.
	Seed uint64 `json:"seed"`
	// Cascade says that each attack was run only on what those before it left standing: see [Settings.Evaluate]. Then
	// the numbers of an attack are those after it, and what it would do alone is not known.
	Cascade bool `json:"cascade"`
	// Interrupted says that not everything that was planned was done.
	Interrupted bool `json:"interrupted"`
	// Asked are balls to report besides those of the attacks with a budget.
	Asked []AskedBall `json:"asked"`
	// Index, Label and Predicted are the examples' numbers, labels and clean predictions; -1 where a smoothed classifier abstains.
	Index     []int64 `json:"index"`
	Label     []int32 `json:"label"`
	Predicted []int32 `json:"predicted"`
	// LeftOut are examples for which the model's logits are not finite. They are in none of the other fields, and in no rate.
	LeftOut []NotFinite `json:"left_out,omitempty"`
	// Attacks and Certificates are what was run, as they were given; [Report.Order] is how the attacks ran.
	Attacks      []AttackRow   `json:"attacks"`
	Certificates []Certificate `json:"certificates"`
	// Sanity is the check of the gradients.
	Sanity Sanity `json:"sanity"`
	// Warnings are sentences on what looks wrong with the set-up.
	Warnings []string `json:"warnings"`
	// Seconds is the wall time of the whole.
	Seconds float64 `json:"seconds"`
	// Key is where the adversarial examples are kept; empty if they are not.
	Key string `json:"key"`
}

// AskedBall is a ball by the name of its norm.
type AskedBall struct {
	Norm   string  `json:"norm"`
	Radius float64 `json:"radius"`
}

// AttackRow is one attack's outcome.
type AttackRow struct {
	// Name is the attack with its hyper-parameters.
	Name string `json:"name"`
	// Norm and Radius are its ball; the Radius of an attack of minimal norm is infinite, null in JSON.
	Norm   string   `json:"norm"`
	Radius Distance `json:"radius"`
	// Goal names what it wanted; Targeted attacks do not count for robust accuracy.
	Goal     string `json:"goal"`
	Targeted bool   `json:"targeted"`
	// Attempted, Success and Distance are as in [Result]. Where Skipped is true, Attempted and Success are false, and
	// Distance is the nearest that an attack before this one had found.
	Attempted []bool     `json:"attempted"`
	Success   []bool     `json:"success"`
	Distance  []Distance `json:"distance"`
	// Skipped is true for examples on which this attack was not run because one before it in the cascade had broken
	// them, within this one's radius; for an attack of minimal norm, within the smallest of the report's balls.
	Skipped []bool `json:"skipped"`
	// NonFinite counts entries of gradients that were infinite or not a number, of all that were taken.
	NonFinite Rate `json:"non_finite"`
	// Forward and Backward count passes of single examples; Programs what was compiled or loaded for them, by the size of
	// the batch. Seconds is the wall time with compilation.
	Forward  int64      `json:"forward"`
	Backward int64      `json:"backward"`
	Programs []Programs `json:"programs"`
	Seconds  float64    `json:"seconds"`
}

// Minimal tells attacks of minimal norm from those with a budget.
func (a AttackRow) Minimal() bool { return math.IsInf(float64(a.Radius), 1) }

// skipped tells whether the attack was not run on example i because one before it had broken it.
func (a AttackRow) skipped(i int) bool { return i < len(a.Skipped) && a.Skipped[i] }

// SuccessRate is the share of attempted examples on which the attack reached its goal. In a cascade it is the share after
// the attack: examples that it skipped count as attempted and reached.
func (a AttackRow) SuccessRate() Rate {
	var r Rate
	for i, s := range a.Success {
		if a.Attempted[i] || a.skipped(i) {
			r.Of++
			if s || a.skipped(i) {
				r.Count++
			}
		}
	}
	return r
}

// Attacked returns the number of examples that the attack was run on, those left out on which nothing needed to be done.
func (a AttackRow) Attacked() int {
	n := 0
	for i, attempted := range a.Attempted {
		if attempted && a.Distance[i] > 0 {
			n++
		}
	}
	return n
}

// MedianDistance is the median over attempted examples, failures counting as infinite, and examples that were
// misclassified before the attack left out. It is NaN when there are none.
//
// In a cascade, examples that the attack skipped count with the distance at which they were broken before. For an attack
// of minimal norm all of these lie within the smallest of the report's balls, so that a median beyond it is the same as
// if the attack had been run on all examples; a smaller one is an upper bound on that.
func (a AttackRow) MedianDistance() float64 {
	var d []float64
	for i, v := range a.Distance {
		if (a.Attempted[i] || a.skipped(i)) && v > 0 {
			d = append(d, float64(v))
		}
	}
	if len(d) == 0 {
		return math.NaN()
	}
	slices.Sort(d)
	if m := len(d) / 2; len(d)%2 == 1 {
		return d[m]
	} else {
		return (d[m-1] + d[m]) / 2
	}
}

// Certificate is one method's verdicts for one ball.
type Certificate struct {
	// Method, Norm and Radius say what was proven, and how.
	Method string  `json:"method"`
	Norm   string  `json:"norm"`
	Radius float64 `json:"radius"`
	// Certified is true where the label is proven; false means unknown.
	Certified []bool `json:"certified"`
	// Margin, if the method tells it, is for each example the smallest lower bound of logit_y − logit_j over classes j other
	// than the label y.
	Margin []Bound `json:"margin,omitempty"`
	// Distance, if the method looks for counterexamples, is for each example that of the nearest that it found in the ball; +Inf if there is
	// none. They count for the robust accuracy as what attacks find does.
	Distance []Distance `json:"distance,omitempty"`
	// Rounding names the arithmetic of the deployed model for which the verdicts hold; it is empty if the method does not tell.
	Rounding string `json:"rounding,omitempty"`
	// Slack is the most that rounding errors took from one of the bounds.
	Slack float64 `json:"slack,omitempty"`
	// Seconds is the wall time with compilation.
	Seconds float64 `json:"seconds"`
}

// Sanity is a cheap look at the gradients, on the first 128 correctly classified examples.
type Sanity struct {
	// NoGradient are the operators for which the model has no gradient, such as "Floor"; empty if it has one. Without one nothing else
	// is checked.
	NoGradient []string `json:"no_gradient,omitempty"`
	// NonFinite counts the entries of the cross-entropy's gradient that are infinite or not a number, of all entries.
	NonFinite Rate `json:"non_finite"`
	// ZeroGradient counts examples on which the gradient of the cross-entropy is exactly zero.
	ZeroGradient Rate `json:"zero_gradient"`
	// Unbounded counts examples that 20 steps of sign ascent on the margin break when the whole box is allowed.
	Unbounded Rate `json:"unbounded"`
}

// Verdict is a sentence on whether the gradients can be trusted.
func (s Sanity) Verdict() string {
	switch {
	case len(s.NoGradient) > 0:
		return fmt.Sprintf("NO GRADIENT, as %s has none: only attacks that need none say anything, and the robust accuracies are upper bounds", strings.Join(s.NoGradient, ", "))
	case s.ZeroGradient.Of == 0:
		return "no example is classified correctly: nothing to attack"
	case !s.Masked() && s.NonFinite.Count > 0:
		return "no zero gradients, and an unbounded ball breaks every example; where a slope is infinite, attacks take its limit: compare with one that needs no gradients"
	case !s.Masked():
		return "no zero gradients, and an unbounded ball breaks every example"
	}
	return "GRADIENT MASKING SUSPECTED: the robust accuracies are upper bounds only; try the margin loss and an attack that needs no gradients"
}

// Masked tells whether anything in the check gives reason to distrust the gradients.
func (s Sanity) Masked() bool {
	return s.ZeroGradient.Count > 0 || s.Unbounded.Count < s.Unbounded.Of || len(s.NoGradient) > 0
}

// Rate is a count out of a number of examples.
type Rate struct {
	Count int `json:"count"`
	Of    int `json:"of"`
}

// Value returns Count/Of, NaN for none.
func (r Rate) Value() float64 { return float64(r.Count) / float64(r.Of) }

// z95 is the 97.5 % point of the normal distribution.
const z95 = 1.959963984540054

// Wilson returns the 95 % confidence interval of Wilson (1927) for the share, both ends in 0..1; NaN for none.
func (r Rate) Wilson() (lo, hi float64) {
	n, p := float64(r.Of), r.Value()
	centre := (p + z95*z95/(2*n)) / (1 + z95*z95/n)
	half := z95 / (1 + z95*z95/n) * math.Sqrt(p*(1-p)/n+z95*z95/(4*n*n))
	lo, hi = max(0, centre-half), min(1, centre+half)
	// Exact at the ends, where rounding would leave 1e-17.
	if r.Count == 0 && r.Of > 0 {
		lo = 0
	}
	if r.Count == r.Of && r.Of > 0 {
		hi = 1
	}
	return lo, hi
}

// String returns for example "45.0 %".
func (r Rate) String() string {
	if r.Of == 0 {
		return "none"
	}
	return fmt.Sprintf("%.1f %%", 100*r.Value())
}

// share writes a rate of which one in a billion counts: as a percentage of two digits where it is small.
func share(r Rate) string {
	if v := 100 * r.Value(); r.Count > 0 && v < 0.1 {
		return fmt.Sprintf("%.2g %%", v)
	}
	return r.String()
}

// Interval returns the 95 % confidence interval as text, for example "[40.7, 49.4]".
func (r Rate) Interval() string {
	if r.Of == 0 {
		return ""
	}
	lo, hi := r.Wilson()
	return fmt.Sprintf("[%.1f, %.1f]", 100*lo, 100*hi)
}

// newReport returns the report of an evaluation in which no attack has run yet, and the examples that it is of: those for which the model
// has an answer.
func newReport(s Settings, c *Classifier, e *Examples, attacks []Attack) (*Report, *Examples, error) {
	z, err := s.clean(c, e.batch(s.Seed))
	if err != nil {
		return nil, nil, err
	}
	bad, out, err := s.notFinite(c, e, z)
	if err != nil {
		return nil, nil, err
	}
	all := e.Len()
	if len(bad) > 0 {
		var rows []int
		var finite [][]float32
		for i := range z {
			if !slices.Contains(bad, i) {
				rows, finite = append(rows, i), append(finite, z[i])
			}
		}
		e, z = e.Select(rows), finite
	}
	clean := predictions(z)
	where := backend.InfoOf(c.Backend())
	r := &Report{Classifier: c.Name(), Data: e.Name, Backend: where.Name, Box: c.Box(), Notes: append(c.Notes(), e.Notes...), Seed: s.Seed, Cascade: !s.Alone && !c.Random(), Label: slices.Clone(e.Y), LeftOut: out}
	if len(out) > 0 {
		r.warn(leftOut(out, all))
	}
	if d := c.Domain(); d != nil {
		r.Domain = d.String()
	}
	r.warn(c.spec.Warnings...)
	if w := c.saturation(z); w != "" {
		r.warn(w)
	}
	for _, w := range []string{looksUnscaled(e.X, c), looksRelabelled(clean, e.Y, c), where.Lost} {
		if w != "" {
			r.warn(w)
		}
	}
	if c.Random() {
		r.warn("the logits are random, and each number is of one draw: the worst case over attacks takes the worst of as many draws as there are attacks, and is too low")
	}
	for _, b := range s.Balls {
		r.Asked = append(r.Asked, AskedBall{b.Norm.String(), b.Radius})
	}
	for i, p := range clean {
		r.Index = append(r.Index, e.Number(i))
		r.Predicted = append(r.Predicted, p.Class)
	}
	n := e.Len()
	for _, a := range attacks {
		threat, err := a.Threat(c)
		if err != nil {
			return nil, nil, err
		}
		r.Attacks = append(r.Attacks, AttackRow{
			Name: a.String(), Norm: threat.Norm.String(), Radius: Distance(threat.Radius), Goal: threat.Goal.String(), Targeted: threat.Goal.IsTargeted(),
			Attempted: make([]bool, n), Success: make([]bool, n), Skipped: make([]bool, n), Distance: slices.Repeat([]Distance{Distance(math.Inf(1))}, n),
		})
	}
	return r, e, nil
}

// warn adds warnings that are not there yet.
func (r *Report) warn(sentences ...string) {
	for _, w := range sentences {
		if !slices.Contains(r.Warnings, w) {
			r.Warnings = append(r.Warnings, w)
		}
	}
}

// runningOrder returns the order in which attacks run: by growing budget within each norm, those of minimal norm with
// the smallest, otherwise as given. Norms come as they are met first, targeted attacks where they are given among them.
func runningOrder(rows []AttackRow) []int {
	smallest, norm := map[string]Distance{}, map[string]int{}
	for _, a := range rows {
		if _, met := norm[a.Norm]; !met {
			norm[a.Norm] = len(norm)
		}
		if r, met := smallest[a.Norm]; !a.Targeted && (!met || a.Radius < r) {
			smallest[a.Norm] = a.Radius
		}
	}
	radius := func(a AttackRow) Distance {
		if a.Minimal() {
			return smallest[a.Norm]
		}
		return a.Radius
	}
	order := make([]int, len(rows))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(i, j int) int {
		a, b := rows[i], rows[j]
		return cmp.Or(cmp.Compare(norm[a.Norm], norm[b.Norm]), cmp.Compare(radius(a), radius(b)))
	})
	return order
}

// Order returns the indices of Attacks as they ran: as given, and in a cascade by growing budget within each norm.
func (r *Report) Order() []int {
	if r.Cascade {
		return runningOrder(r.Attacks)
	}
	order := make([]int, len(r.Attacks))
	for i := range order {
		order[i] = i
	}
	return order
}

// standing returns the examples that an attack is to be run on, after those that are in the report.
func (r *Report) standing(row *AttackRow, balls []Ball) []int {
	// Broken within this distance is broken for the attack: in its ball, or in all balls of its norm.
	within := float64(row.Radius)
	if row.Minimal() {
		within = 0
		if k := slices.IndexFunc(balls, func(b Ball) bool { return b.Norm.String() == row.Norm }); k >= 0 {
			within = balls[k].Radius // they are sorted
		}
	}
	var rows []int
	for i := range r.Label {
		if !r.Cascade || row.Targeted || r.correct(i) && r.nearest(row.Norm, i) > within {
			rows = append(rows, i)
		}
	}
	return rows
}

// nearest returns the smallest distance of an adversarial example in a norm, +Inf if none was found.
func (r *Report) nearest(norm string, i int) float64 {
	d := math.Inf(1)
	for _, a := range r.Attacks {
		if a.Norm == norm && !a.Targeted && a.Success[i] {
			d = min(d, float64(a.Distance[i]))
		}
	}
	return d
}

// prepare fills in the row of an attack for the examples that it is not run on: misclassified, or broken before.
func (r *Report) prepare(row *AttackRow, standing []int) {
	run := make([]bool, len(r.Label))
	for _, i := range standing {
		run[i] = true
	}
	for i := range r.Label {
		switch {
		case run[i]:
		case !r.correct(i):
			row.Attempted[i], row.Success[i], row.Distance[i] = true, true, 0
		default:
			row.Skipped[i], row.Distance[i] = true, Distance(r.nearest(row.Norm, i))
		}
	}
}

// rowOf returns a result's numbers.
func rowOf(res *Result) AttackRow {
	row := AttackRow{
		Name: res.Attack, Norm: res.Threat.Norm.String(), Radius: Distance(res.Threat.Radius),
		Goal: res.Threat.Goal.String(), Targeted: res.Threat.Goal.IsTargeted(),
		Attempted: res.Attempted, Success: res.Success, Distance: make([]Distance, len(res.Distance)), Skipped: make([]bool, len(res.Distance)),
		Forward: res.Stats.Forward, Backward: res.Stats.Backward, NonFinite: res.Stats.NonFinite,
		Programs: res.Stats.Programs, Seconds: res.Stats.Elapsed.Seconds(),
	}
	for i, d := range res.Distance {
		row.Distance[i] = Distance(d)
	}
	return row
}

// Merge returns the report of r's examples followed by other's. Both must report the same evaluation: the same
// classifier, seed, attacks and certificates.
func (r *Report) Merge(other *Report) (*Report, error) {
	same := r.Classifier == other.Classifier && r.Data == other.Data && r.Box == other.Box && r.Domain == other.Domain && slices.Equal(r.Notes, other.Notes) && r.Seed == other.Seed &&
		r.Cascade == other.Cascade && slices.Equal(r.Asked, other.Asked) && len(r.Attacks) == len(other.Attacks) && len(r.Certificates) == len(other.Certificates)
	for i := 0; same && i < len(r.Attacks); i++ {
		same = r.Attacks[i].Name == other.Attacks[i].Name && r.Attacks[i].Goal == other.Attacks[i].Goal
	}
	for i := 0; same && i < len(r.Certificates); i++ {
		a, b := r.Certificates[i], other.Certificates[i]
		same = a.Method == b.Method && a.Norm == b.Norm && a.Radius == b.Radius
	}
	if !same {
		return nil, fmt.Errorf("advlib: reports of %s on %s and of %s on %s are not parts of one evaluation: classifier, data, seed, attacks, balls, certificates, and whether attacks ran alone or in a cascade, must agree", r.Classifier, r.Data, other.Classifier, other.Data)
	}
	m := *r
	m.Key = ""
	m.Interrupted = r.Interrupted || other.Interrupted
	m.Index = slices.Concat(r.Index, other.Index)
	m.Label = slices.Concat(r.Label, other.Label)
	m.Predicted = slices.Concat(r.Predicted, other.Predicted)
	m.LeftOut = slices.Concat(r.LeftOut, other.LeftOut)
	m.Attacks = slices.Clone(r.Attacks)
	for i, o := range other.Attacks {
		a := &m.Attacks[i]
		a.Attempted = slices.Concat(a.Attempted, o.Attempted)
		a.Success = slices.Concat(a.Success, o.Success)
		a.Distance = slices.Concat(a.Distance, o.Distance)
		a.Skipped = slices.Concat(a.Skipped, o.Skipped)
		a.Forward, a.Backward, a.Seconds = a.Forward+o.Forward, a.Backward+o.Backward, a.Seconds+o.Seconds
		a.NonFinite = a.NonFinite.plus(o.NonFinite)
		a.Programs = plus(a.Programs, o.Programs)
	}
	m.Certificates = slices.Clone(r.Certificates)
	for i, o := range other.Certificates {
		c := &m.Certificates[i]
		c.Certified, c.Margin, c.Distance = slices.Concat(c.Certified, o.Certified), slices.Concat(c.Margin, o.Margin), slices.Concat(c.Distance, o.Distance)
		c.Slack = max(c.Slack, o.Slack)
		c.Seconds += o.Seconds
	}
	m.Sanity.NonFinite = r.Sanity.NonFinite.plus(other.Sanity.NonFinite)
	m.Sanity.ZeroGradient = r.Sanity.ZeroGradient.plus(other.Sanity.ZeroGradient)
	m.Sanity.Unbounded = r.Sanity.Unbounded.plus(other.Sanity.Unbounded)
	m.Warnings = slices.Clone(r.Warnings)
	m.warn(other.Warnings...)
	m.Seconds += other.Seconds
	return &m, nil
}

func (r Rate) plus(o Rate) Rate { return Rate{r.Count + o.Count, r.Of + o.Of} }

// Clean returns the accuracy on the originals.
func (r *Report) Clean() Rate {
	return r.rate(func(i int) bool { return r.correct(i) })
}

// Robust returns the accuracy in the worst case over all untargeted attacks, example by example: an example counts
// when it is classified correctly and no attack in the ball's norm found an adversarial example within its radius,
// whatever budget that attack was given. Counterexamples of certifiers that look for them count as well. It is an upper bound on the
// true robust accuracy.
func (r *Report) Robust(ball Ball) Rate {
	return r.rate(func(i int) bool {
		return r.correct(i) && !slices.ContainsFunc(r.Attacks, func(a AttackRow) bool { return a.breaks(i, ball) }) &&
			!slices.ContainsFunc(r.Certificates, func(c Certificate) bool { return c.breaks(i, ball) })
	})
}

// RobustAfter returns the accuracy in the ball in the worst case over Attacks[k] and those that ran before it: the last
// of [Report.Order] has the number of [Report.Robust], unless a certifier found a counterexample that all attacks missed.
func (r *Report) RobustAfter(k int, ball Ball) Rate {
	order := r.Order()
	ran := order[:slices.Index(order, k)+1]
	return r.rate(func(i int) bool {
		return r.correct(i) && !slices.ContainsFunc(ran, func(k int) bool { return r.Attacks[k].breaks(i, ball) })
	})
}

// RobustTo returns the accuracy in the ball under one of the report's attacks alone. It is known only where the attack
// was run on all examples: known is false when it skipped some, in a cascade.
func (r *Report) RobustTo(a AttackRow, ball Ball) (rate Rate, known bool) {
	if slices.Contains(a.Skipped, true) {
		return Rate{}, false
	}
	return r.rate(func(i int) bool { return r.correct(i) && !a.breaks(i, ball) }), true
}

// Certified returns the share of examples that are classified correctly and proven so for the whole ball by at least
// one method, and whether any method was asked.
func (r *Report) Certified(ball Ball) (rate Rate, asked bool) {
	covers := func(c Certificate) bool { return c.Norm == ball.norm() && c.Radius >= ball.Radius }
	rate = r.rate(func(i int) bool {
		return r.correct(i) && slices.ContainsFunc(r.Certificates, func(c Certificate) bool { return covers(c) && c.Certified[i] })
	})
	return rate, slices.ContainsFunc(r.Certificates, covers)
}

// Balls returns the balls of the untargeted attacks with a budget and those that were asked for, by norm and radius.
func (r *Report) Balls() []Ball {
	var balls []Ball
	add := func(b Ball) {
		if !slices.Contains(balls, b) {
			balls = append(balls, b)
		}
	}
	for _, a := range r.Attacks {
		if !a.Minimal() && !a.Targeted {
			add(Ball{Norm: normNamed(a.Norm), Radius: float64(a.Radius)})
		}
	}
	for _, a := range r.Asked {
		add(Ball{Norm: normNamed(a.Norm), Radius: a.Radius})
	}
	slices.SortStableFunc(balls, func(a, b Ball) int {
		return cmp.Or(cmp.Compare(a.Norm.String(), b.Norm.String()), cmp.Compare(a.Radius, b.Radius))
	})
	return balls
}

func (r *Report) correct(i int) bool { return r.Predicted[i] == r.Label[i] }

func (r *Report) rate(holds func(i int) bool) Rate {
	rate := Rate{Of: len(r.Label)}
	for i := range r.Label {
		if holds(i) {
			rate.Count++
		}
	}
	return rate
}

func (a AttackRow) breaks(i int, ball Ball) bool {
	return !a.Targeted && a.Norm == ball.norm() && a.Success[i] && float64(a.Distance[i]) <= ball.Radius
}

// breaks tells whether the method found a counterexample for example i in the ball.
func (c Certificate) breaks(i int, ball Ball) bool {
	return i < len(c.Distance) && c.Norm == ball.norm() && float64(c.Distance[i]) <= ball.Radius
}

func normNamed(name string) Norm {
	for _, n := range []Norm{L0, L1, L2, Linf} {
		if n.String() == name {
			return n
		}
	}
	return nil
}

// Line is one line of a report's table. String, HTML and package show all lay out the same lines.
type Line struct {
	// Heading is set on lines that only name a ball, or a group.
	Heading string
	// What was measured, and its value as "45.0 %"; Interval is its 95 % confidence interval.
	What, Value, Interval string
	// Median is the median distance of the attack's adversarial examples.
	Median string
	// Attacked is the number of examples that the attack was run on.
	Attacked string
	// Cost is passes forward and backward for each of these; Programs the programs compiled and loaded for it.
	Cost, Programs string
}

// worstCase is what the line of [Report.Robust] is called, by attacks alone.
const worstCase = "worst case over attacks"

// Lines returns the table.
func (r *Report) Lines() []Line {
	clean := r.Clean()
	lines := []Line{{What: "clean", Value: clean.String(), Interval: clean.Interval()}}
	if abstained := r.Abstained(); abstained.Count > 0 {
		lines = append(lines, Line{What: "abstained, counted as wrong", Value: abstained.String(), Interval: abstained.Interval()})
	}
	for _, ball := range r.Balls() {
		lines = append(lines, r.linesOf(ball)...)
	}
	minimal, targeted := true, true
	for _, k := range r.Order() {
		a := r.Attacks[k]
		name := a.Name
		switch {
		case a.Targeted && !strings.Contains(name, a.Goal):
			name += ", " + a.Goal
		case !a.Targeted && !a.Minimal():
			continue
		}
		if !a.Targeted && minimal {
			heading := "minimal norm: success at any distance, and the distance"
			if r.Cascade {
				heading = "minimal norm: success at any distance, and the distance; what an attack skipped counts as it was broken before"
			}
			lines, minimal = append(lines, Line{Heading: heading}), false
		}
		if a.Targeted && targeted {
			lines, targeted = append(lines, Line{Heading: "targeted: success of each attack alone"}), false
		}
		rate := a.SuccessRate()
		lines = append(lines, r.withCost(a, Line{What: name, Value: rate.String(), Interval: rate.Interval(), Median: median(a.MedianDistance())}))
	}
	return lines
}

// linesOf returns the lines of a ball. In a cascade each line stands for the attacks up to it, which the sign + says, and
// attacks with other budgets have a line together.
func (r *Report) linesOf(ball Ball) []Line {
	of := func(a AttackRow) bool { return !a.Targeted && a.Norm == ball.norm() }
	line := func(what string, rate Rate) Line {
		return Line{What: what, Value: rate.String(), Interval: rate.Interval()}
	}
	heading := "under each attack alone"
	if r.Cascade {
		heading = "after each attack, run on what stood before it"
	}
	lines := []Line{{Heading: fmt.Sprintf("%v%s: robust accuracy %s", ball, asFraction(ball, r.Box), heading)}}
	attacked := *r
	attacked.Certificates = nil
	worst := attacked.Robust(ball)
	sign, last := "", -1 // of the attacks with other budgets
	if r.Cascade {
		sign = "+ "
	}
	other := func(what string) {
		if last < 0 {
			return
		}
		if l := line(sign+what, r.RobustAfter(last, ball)); len(lines) == 1 || l.Value != lines[len(lines)-1].Value {
			lines = append(lines, l)
		}
		last = -1
	}
	for _, k := range r.Order() {
		a := r.Attacks[k]
		switch {
		case !of(a):
		case !a.Minimal() && float64(a.Radius) != ball.Radius:
			if r.Cascade && (float64(a.Radius) < ball.Radius || r.RobustAfter(k, ball) != worst) {
				last = k
			}
		default:
			other("attacks at smaller ε")
			rate := r.RobustAfter(k, ball)
			if !r.Cascade {
				rate, _ = r.RobustTo(a, ball)
			}
			l := line(sign+a.Name, rate)
			if !a.Minimal() {
				l = r.withCost(a, l)
			}
			lines = append(lines, l)
		}
	}
	other("attacks at other ε")
	lines = append(lines, line(worstCase, worst))
	if with := r.Robust(ball); with != worst {
		lines = append(lines, line("and counterexamples of certifiers", with))
	}
	if certified, asked := r.Certified(ball); asked {
		names, about := r.methods(ball)
		if len(names) > 1 {
			for _, name := range names {
				alone, _ := r.CertifiedBy(name, ball)
				lines = append(lines, line("certified by "+name, alone))
			}
			about = append([]string{"by any"}, about...)
		} else {
			about = append(names, about...)
		}
		lines = append(lines, line("certified ("+strings.Join(about, "; ")+")", certified))
	}
	return lines
}

// withCost adds what an attack took.
func (r *Report) withCost(a AttackRow, l Line) Line {
	n := a.Attacked()
	l.Attacked = strconv.Itoa(n)
	if r.Interrupted && !a.Targeted {
		left := 0
		for i := range r.Label {
			if !a.Attempted[i] && !a.skipped(i) && r.correct(i) {
				left++
			}
		}
		if left > 0 {
			l.Attacked += fmt.Sprintf(" of %d", n+left)
		}
	}
	if n > 0 {
		l.Cost = fmt.Sprintf("%.4g / %.4g", float64(a.Forward)/float64(n), float64(a.Backward)/float64(n))
	}
	compiled, loaded := 0, 0
	for _, p := range a.Programs {
		compiled, loaded = compiled+p.Compiled, loaded+p.Loaded
	}
	l.Programs = fmt.Sprintf("%d / %d", compiled, loaded)
	return l
}

// median writes a median distance: ∞ where the attack failed on half of the examples, nothing where there were none.
func median(d float64) string {
	switch {
	case math.IsNaN(d):
		return ""
	case math.IsInf(d, 1):
		return "∞"
	}
	return fmt.Sprintf("%.4g", d)
}

// methods returns the certifiers that were asked for a ball, and the arithmetics for which their verdicts hold.
func (r *Report) methods(ball Ball) (names, roundings []string) {
	for _, c := range r.Certificates {
		if c.Norm != ball.norm() || c.Radius < ball.Radius {
			continue
		}
		if !slices.Contains(names, c.Method) {
			names = append(names, c.Method)
		}
		if c.Rounding != "" && !slices.Contains(roundings, c.Rounding) {
			roundings = append(roundings, c.Rounding)
		}
	}
	return names, roundings
}

// asFraction adds " (8/255)" where a pixel budget is a whole number of 255ths up to rounding, and no short decimal such as 0.2; to one that is
// written so the decimal.
func asFraction(ball Ball, box Box) string {
	if ball.in255ths() > 0 {
		return fmt.Sprintf(" (%.6g)", ball.Radius)
	}
	k := ball.Radius * 255
	if ball.Norm == Norm(Linf) && box == UnitBox && k >= 0.5 && math.Abs(k-math.Round(k)) < 1e-6 && len(strconv.FormatFloat(ball.Radius, 'g', -1, 64)) > 6 {
		return fmt.Sprintf(" (%.0f/255)", k)
	}
	return ""
}

// Title says in one line what was measured.
func (r *Report) Title() string {
	inputs := fmt.Sprintf("box %v", r.Box)
	if r.Domain != "" {
		inputs = fmt.Sprintf("domain of %s", r.Domain)
	}
	return fmt.Sprintf("%s on %s: %d examples, %s, seed %d, backend %s", r.Classifier, r.Data, len(r.Label), inputs, r.Seed, r.Backend)
}

// interruptedLine stands for the check of the gradients where it was not reached.
const interruptedLine = "INTERRUPTED: not all that was planned was run, and the gradients were not checked: the robust accuracies may be too high"

// SanityLine says in one line what the check of the gradients saw.
func (r *Report) SanityLine() string {
	s := r.Sanity
	if len(s.NoGradient) > 0 {
		return "sanity: " + s.Verdict()
	}
	notFinite := ""
	if s.NonFinite.Count > 0 {
		notFinite = fmt.Sprintf("%s of the gradients' entries infinite or not a number, ", share(s.NonFinite))
	}
	return fmt.Sprintf("sanity: %szero gradients on %v of %d examples, unbounded ball breaks %v: %s", notFinite, s.ZeroGradient, s.ZeroGradient.Of, s.Unbounded, s.Verdict())
}

// lastLine says whether the numbers can be trusted.
func (r *Report) lastLine() string {
	if r.Interrupted {
		return interruptedLine
	}
	return r.SanityLine()
}

// Columns are the headings of the table that Lines fills.
var Columns = [7]string{"", "share", "95 % interval", "median ‖δ‖", "attacked", "passes each, fwd / bwd", "compiled / loaded"}

// cells returns a line's cells below Columns.
func (l Line) cells() [7]string {
	return [7]string{l.What, l.Value, l.Interval, l.Median, l.Attacked, l.Cost, l.Programs}
}

// String returns the report as an aligned table.
func (r *Report) String() string {
	rows := [][7]string{Columns}
	for _, l := range r.Lines() {
		row := l.cells()
		row[0] = "  " + row[0]
		if l.Heading != "" {
			row = [7]string{l.Heading}
		}
		rows = append(rows, row)
	}
	var width [7]int
	for _, row := range rows {
		for i, cell := range row {
			if heading := i == 0 && row[1] == ""; !heading {
				width[i] = max(width[i], len([]rune(cell)))
			}
		}
	}
	var b strings.Builder
	fmt.Fprintln(&b, r.Title())
	for _, n := range r.Notes {
		fmt.Fprintln(&b, "  "+n)
	}
	for _, row := range rows {
		var line strings.Builder
		for i, cell := range row {
			pad := strings.Repeat(" ", max(0, width[i]-len([]rune(cell))))
			if i == 0 {
				line.WriteString(cell + pad)
			} else {
				line.WriteString("  " + pad + cell)
			}
		}
		fmt.Fprintln(&b, strings.TrimRight(line.String(), " "))
	}
	fmt.Fprintln(&b, r.lastLine())
	for _, w := range r.Warnings {
		fmt.Fprintln(&b, "warning: "+w)
	}
	return b.String()
}
