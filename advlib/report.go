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
	// Seed is the seed of the run.
	Seed uint64 `json:"seed"`
	// Index, Label and Predicted are the examples' numbers, labels and clean predictions.
	Index     []int64 `json:"index"`
	Label     []int32 `json:"label"`
	Predicted []int32 `json:"predicted"`
	// Attacks and Certificates are what was run.
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
	// Attempted, Success and Distance are as in [Result].
	Attempted []bool     `json:"attempted"`
	Success   []bool     `json:"success"`
	Distance  []Distance `json:"distance"`
	// Forward and Backward count passes of single examples; Seconds is the wall time with compilation.
	Forward  int64   `json:"forward"`
	Backward int64   `json:"backward"`
	Seconds  float64 `json:"seconds"`
}

// Minimal tells attacks of minimal norm from those with a budget.
func (a AttackRow) Minimal() bool { return math.IsInf(float64(a.Radius), 1) }

// SuccessRate is the share of attempted examples on which the attack reached its goal.
func (a AttackRow) SuccessRate() Rate {
	var r Rate
	for i, s := range a.Success {
		if a.Attempted[i] {
			r.Of++
			if s {
				r.Count++
			}
		}
	}
	return r
}

// MedianDistance is the median over attempted examples, failures counting as infinite, and examples that were
// misclassified before the attack left out. It is NaN when there are none.
func (a AttackRow) MedianDistance() float64 {
	var d []float64
	for i, v := range a.Distance {
		if a.Attempted[i] && v > 0 {
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
	// Rounding names the arithmetic of the deployed model for which the verdicts hold; it is empty if the method does not tell.
	Rounding string `json:"rounding,omitempty"`
	// Slack is the most that rounding errors took from one of the bounds.
	Slack float64 `json:"slack,omitempty"`
	// Seconds is the wall time with compilation.
	Seconds float64 `json:"seconds"`
}

// Sanity is a cheap look at the gradients, on the first 128 correctly classified examples.
type Sanity struct {
	// ZeroGradient counts examples on which the gradient of the cross-entropy is exactly zero.
	ZeroGradient Rate `json:"zero_gradient"`
	// Unbounded counts examples that 20 steps of sign ascent on the margin break when the whole box is allowed.
	Unbounded Rate `json:"unbounded"`
}

// Verdict is a sentence on whether the gradients can be trusted.
func (s Sanity) Verdict() string {
	switch {
	case s.ZeroGradient.Of == 0:
		return "no example is classified correctly: nothing to attack"
	case !s.masked():
		return "no zero gradients, and an unbounded ball breaks every example"
	}
	return "GRADIENT MASKING SUSPECTED: the robust accuracies are upper bounds only; try the margin loss and an attack that needs no gradients"
}

// masked tells whether anything in the check gives reason to distrust the gradients.
func (s Sanity) masked() bool { return s.ZeroGradient.Count > 0 || s.Unbounded.Count < s.Unbounded.Of }

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

// Interval returns the 95 % confidence interval as text, for example "[40.7, 49.4]".
func (r Rate) Interval() string {
	if r.Of == 0 {
		return ""
	}
	lo, hi := r.Wilson()
	return fmt.Sprintf("[%.1f, %.1f]", 100*lo, 100*hi)
}

func newReport(s Settings, c *Classifier, e *Examples) (*Report, error) {
	z, err := NewTarget(c).Logits(e.X)
	if err != nil {
		return nil, err
	}
	clean, err := predictions(z)
	if err != nil {
		return nil, err
	}
	where := backend.InfoOf(c.Backend())
	r := &Report{Classifier: c.Name(), Data: e.Name, Backend: where.Name, Box: c.Box(), Seed: s.Seed, Label: slices.Clone(e.Y)}
	if where.Lost != "" {
		r.Warnings = append(r.Warnings, where.Lost)
	}
	for i, p := range clean {
		r.Index = append(r.Index, e.index(i))
		r.Predicted = append(r.Predicted, p.Class)
	}
	return r, nil
}

// rowOf returns a result's numbers.
func rowOf(res *Result) AttackRow {
	row := AttackRow{
		Name: res.Attack, Norm: res.Threat.Norm.String(), Radius: Distance(res.Threat.Radius),
		Goal: res.Threat.Goal.String(), Targeted: res.Threat.Goal.IsTargeted(),
		Attempted: res.Attempted, Success: res.Success, Distance: make([]Distance, len(res.Distance)),
		Forward: res.Stats.Forward, Backward: res.Stats.Backward, Seconds: res.Stats.Elapsed.Seconds(),
	}
	for i, d := range res.Distance {
		row.Distance[i] = Distance(d)
	}
	return row
}

func (r *Report) add(res *Result) {
	r.Attacks = append(r.Attacks, rowOf(res))
	for _, w := range res.Warnings {
		if !slices.Contains(r.Warnings, w) {
			r.Warnings = append(r.Warnings, w)
		}
	}
}

// Merge returns the report of r's examples followed by other's. Both must report the same evaluation: the same
// classifier, seed, attacks and certificates.
func (r *Report) Merge(other *Report) (*Report, error) {
	same := r.Classifier == other.Classifier && r.Data == other.Data && r.Box == other.Box && r.Seed == other.Seed &&
		len(r.Attacks) == len(other.Attacks) && len(r.Certificates) == len(other.Certificates)
	for i := 0; same && i < len(r.Attacks); i++ {
		same = r.Attacks[i].Name == other.Attacks[i].Name && r.Attacks[i].Goal == other.Attacks[i].Goal
	}
	for i := 0; same && i < len(r.Certificates); i++ {
		a, b := r.Certificates[i], other.Certificates[i]
		same = a.Method == b.Method && a.Norm == b.Norm && a.Radius == b.Radius
	}
	if !same {
		return nil, fmt.Errorf("advlib: reports of %s on %s and of %s on %s are not parts of one evaluation: classifier, data, seed, attacks and certificates must agree", r.Classifier, r.Data, other.Classifier, other.Data)
	}
	m := *r
	m.Key = ""
	m.Index = slices.Concat(r.Index, other.Index)
	m.Label = slices.Concat(r.Label, other.Label)
	m.Predicted = slices.Concat(r.Predicted, other.Predicted)
	m.Attacks = slices.Clone(r.Attacks)
	for i, o := range other.Attacks {
		a := &m.Attacks[i]
		a.Attempted = slices.Concat(a.Attempted, o.Attempted)
		a.Success = slices.Concat(a.Success, o.Success)
		a.Distance = slices.Concat(a.Distance, o.Distance)
		a.Forward, a.Backward, a.Seconds = a.Forward+o.Forward, a.Backward+o.Backward, a.Seconds+o.Seconds
	}
	m.Certificates = slices.Clone(r.Certificates)
	for i, o := range other.Certificates {
		c := &m.Certificates[i]
		c.Certified, c.Margin = slices.Concat(c.Certified, o.Certified), slices.Concat(c.Margin, o.Margin)
		c.Slack = max(c.Slack, o.Slack)
		c.Seconds += o.Seconds
	}
	m.Sanity.ZeroGradient = r.Sanity.ZeroGradient.plus(other.Sanity.ZeroGradient)
	m.Sanity.Unbounded = r.Sanity.Unbounded.plus(other.Sanity.Unbounded)
	m.Warnings = slices.Clone(r.Warnings)
	for _, w := range other.Warnings {
		if !slices.Contains(m.Warnings, w) {
			m.Warnings = append(m.Warnings, w)
		}
	}
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
// whatever budget that attack was given. It is an upper bound on the true robust accuracy.
func (r *Report) Robust(ball Ball) Rate {
	return r.rate(func(i int) bool {
		return r.correct(i) && !slices.ContainsFunc(r.Attacks, func(a AttackRow) bool { return a.breaks(i, ball) })
	})
}

// RobustTo returns the accuracy in the ball under one of the report's attacks alone.
func (r *Report) RobustTo(a AttackRow, ball Ball) Rate {
	return r.rate(func(i int) bool { return r.correct(i) && !a.breaks(i, ball) })
}

// Certified returns the share of examples that are classified correctly and proven so for the whole ball by at least
// one method, and whether any method was asked.
func (r *Report) Certified(ball Ball) (rate Rate, asked bool) {
	covers := func(c Certificate) bool { return c.Norm == ball.Norm.String() && c.Radius >= ball.Radius }
	rate = r.rate(func(i int) bool {
		return r.correct(i) && slices.ContainsFunc(r.Certificates, func(c Certificate) bool { return covers(c) && c.Certified[i] })
	})
	return rate, slices.ContainsFunc(r.Certificates, covers)
}

// Balls returns the balls of the untargeted attacks with a budget, by norm and radius.
func (r *Report) Balls() []Ball {
	var balls []Ball
	for _, a := range r.Attacks {
		b := Ball{Norm: normNamed(a.Norm), Radius: float64(a.Radius)}
		if !a.Minimal() && !a.Targeted && !slices.Contains(balls, b) {
			balls = append(balls, b)
		}
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
	return !a.Targeted && a.Norm == ball.Norm.String() && a.Success[i] && float64(a.Distance[i]) <= ball.Radius
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
	// Cost is passes forward and backward for each example, and seconds.
	Cost string
}

// worstCase is what the line of [Report.Robust] is called.
const worstCase = "worst case over attacks"

// Lines returns the table.
func (r *Report) Lines() []Line {
	clean := r.Clean()
	lines := []Line{{What: "clean", Value: clean.String(), Interval: clean.Interval()}}
	for _, ball := range r.Balls() {
		lines = append(lines, Line{Heading: fmt.Sprintf("%v%s: robust accuracy", ball, asFraction(ball, r.Box))})
		for _, a := range r.Attacks {
			if a.Targeted || a.Norm != ball.Norm.String() || !a.Minimal() && float64(a.Radius) != ball.Radius {
				continue
			}
			rate := r.RobustTo(a, ball)
			line := Line{What: a.Name, Value: rate.String(), Interval: rate.Interval()}
			if !a.Minimal() {
				line.Cost = r.cost(a)
			}
			lines = append(lines, line)
		}
		worst := r.Robust(ball)
		lines = append(lines, Line{What: worstCase, Value: worst.String(), Interval: worst.Interval()})
		if certified, asked := r.Certified(ball); asked {
			lines = append(lines, Line{What: "certified (" + r.methods(ball) + ")", Value: certified.String(), Interval: certified.Interval()})
		}
	}
	others := false
	for _, a := range r.Attacks {
		if !a.Minimal() && !a.Targeted {
			continue
		}
		if !others {
			lines = append(lines, Line{Heading: "minimal norm and targeted attacks: success"})
			others = true
		}
		rate := a.SuccessRate()
		name := a.Name
		if a.Targeted && !strings.Contains(name, a.Goal) {
			name += ", " + a.Goal
		}
		lines = append(lines, Line{What: name, Value: rate.String(), Interval: rate.Interval(), Median: median(a.MedianDistance()), Cost: r.cost(a)})
	}
	return lines
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

func (r *Report) methods(ball Ball) string {
	var names, roundings []string
	for _, c := range r.Certificates {
		if c.Norm != ball.Norm.String() || c.Radius < ball.Radius {
			continue
		}
		if !slices.Contains(names, c.Method) {
			names = append(names, c.Method)
		}
		if c.Rounding != "" && !slices.Contains(roundings, c.Rounding) {
			roundings = append(roundings, c.Rounding)
		}
	}
	return strings.Join(append([]string{strings.Join(names, ", ")}, roundings...), "; ")
}

func (r *Report) cost(a AttackRow) string {
	n := float64(max(len(r.Label), 1))
	return fmt.Sprintf("%.4g / %.4g", float64(a.Forward)/n, float64(a.Backward)/n)
}

// asFraction adds " (8/255)" where a pixel budget is a whole number of 255ths, and no short decimal such as 0.2.
func asFraction(ball Ball, box Box) string {
	k := ball.Radius * 255
	if ball.Norm == Norm(Linf) && box == UnitBox && k >= 0.5 && math.Abs(k-math.Round(k)) < 1e-6 && len(strconv.FormatFloat(ball.Radius, 'g', -1, 64)) > 6 {
		return fmt.Sprintf(" (%.0f/255)", k)
	}
	return ""
}

// Title says in one line what was measured.
func (r *Report) Title() string {
	return fmt.Sprintf("%s on %s: %d examples, box %v, seed %d, backend %s", r.Classifier, r.Data, len(r.Label), r.Box, r.Seed, r.Backend)
}

// SanityLine says in one line what the check of the gradients saw.
func (r *Report) SanityLine() string {
	return fmt.Sprintf("sanity: zero gradients on %v of %d examples, unbounded ball breaks %v: %s", r.Sanity.ZeroGradient, r.Sanity.ZeroGradient.Of, r.Sanity.Unbounded, r.Sanity.Verdict())
}

// Columns are the headings of the table that Lines fills.
var Columns = [5]string{"", "share", "95 % interval", "median ‖δ‖", "passes forward / backward"}

// String returns the report as an aligned table.
func (r *Report) String() string {
	rows := [][5]string{Columns}
	for _, l := range r.Lines() {
		if l.Heading != "" {
			rows = append(rows, [5]string{l.Heading})
			continue
		}
		rows = append(rows, [5]string{"  " + l.What, l.Value, l.Interval, l.Median, l.Cost})
	}
	var width [5]int
	for _, row := range rows {
		for i, cell := range row {
			if heading := i == 0 && row[1] == ""; !heading {
				width[i] = max(width[i], len([]rune(cell)))
			}
		}
	}
	var b strings.Builder
	fmt.Fprintln(&b, r.Title())
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
	fmt.Fprintln(&b, r.SanityLine())
	for _, w := range r.Warnings {
		fmt.Fprintln(&b, "warning: "+w)
	}
	return b.String()
}
