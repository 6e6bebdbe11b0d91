package report

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

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

// Columns are the headings of the table that Lines fills.
var Columns = [7]string{"", "share", "95 % interval", "median ‖δ‖", "attacked", "passes each, fwd / bwd", "compiled / loaded"}

// cells returns a line's cells below Columns.
func (l Line) cells() [7]string {
	return [7]string{l.What, l.Value, l.Interval, l.Median, l.Attacked, l.Cost, l.Programs}
}

// rateLine is a line of a share alone.
func rateLine(what string, rate Rate) Line {
	return Line{What: what, Value: rate.String(), Interval: rate.Interval()}
}

// worstCase is what the line of [Report.Robust] is called, by attacks alone.
const worstCase = "worst case over attacks"

// Lines returns the table.
func (r *Report) Lines() []Line {
	lines := []Line{rateLine("clean", r.Clean())}
	switch abstained := r.Abstained(); {
	case r.Rejection != nil:
		lines = r.rejectionLines()
	case abstained.Count > 0:
		lines = append(lines, rateLine("abstained, counted as wrong", abstained))
	}
	for _, ball := range r.Balls() {
		lines = append(lines, r.linesOf(ball)...)
	}
	minimal, targeted := true, true
	for _, k := range r.Order() {
		a := r.Attacks[k]
		name := r.short(a)
		switch {
		case a.Targeted && !strings.Contains(name, a.Goal):
			name += ", " + a.Goal
		case !a.Targeted && !a.Minimal():
			continue
		}
		if !a.Targeted && minimal {
			heading := "minimal norm: success at any distance, and the distance"
			if r.Cascade {
				heading += "; what an attack skipped counts as it was broken before"
			}
			lines, minimal = append(lines, Line{Heading: heading}), false
		}
		if a.Targeted && targeted {
			lines, targeted = append(lines, Line{Heading: "targeted: success of each attack alone"}), false
		}
		l := rateLine(name, a.SuccessRate())
		l.Median = medianText(a.MedianDistance())
		lines = append(lines, r.withCost(a, l))
	}
	return lines
}

// linesOf returns the lines of a ball.
func (r *Report) linesOf(ball Ball) []Line {
	heading := "under each attack alone"
	if r.Cascade {
		heading = "after each attack, run on what stood before it"
	}
	if r.Rejection != nil {
		heading = "with rejection " + heading
	}
	heading = "robust accuracy " + heading
	attacked := slices.ContainsFunc(r.Attacks, func(a AttackRow) bool { return !a.Targeted && a.Norm == ball.Norm })
	if !attacked && !r.Interrupted {
		heading = "nothing was attacked"
	}
	lines := []Line{{Heading: fmt.Sprintf("%v%s: %s", ball, ball.asFraction(r.Box), heading)}}
	alone := *r
	alone.Certificates = nil
	worst := alone.Robust(ball)
	if attacked || r.Interrupted {
		lines = append(lines, r.attackLines(ball, worst)...)
		lines = append(lines, rateLine(worstCase, worst))
	}
	if with := r.Robust(ball); with != worst {
		lines = append(lines, rateLine("and counterexamples of certifiers", with))
	}
	certified, asked := r.Certified(ball)
	if !asked {
		return lines
	}
	names, about := r.methods(ball)
	if len(names) == 1 {
		about = append(names, about...)
	} else {
		for _, name := range names {
			alone, _ := r.CertifiedBy(name, ball)
			lines = append(lines, rateLine("certified by "+name, alone))
		}
		about = append([]string{"by any"}, about...)
	}
	return append(lines, rateLine("certified ("+strings.Join(about, "; ")+")", certified))
}

// attackLines returns the lines of the attacks in a ball, in which the worst case over them is given. In a cascade each
// line stands for the attacks up to it, which the sign + says, and attacks with other budgets have a line together.
func (r *Report) attackLines(ball Ball, worst Rate) (lines []Line) {
	sign, last := "", -1 // of the attacks with other budgets
	if r.Cascade {
		sign = "+ "
	}
	others := func(what string) {
		if last < 0 {
			return
		}
		if l := rateLine(sign+what, r.RobustAfter(last, ball)); len(lines) == 0 || l.Value != lines[len(lines)-1].Value {
			lines = append(lines, l)
		}
		last = -1
	}
	for _, k := range r.Order() {
		a := r.Attacks[k]
		switch {
		case a.Targeted || a.Norm != ball.Norm:
		case !a.Minimal() && float64(a.Radius) != ball.Radius:
			if r.Cascade && (float64(a.Radius) < ball.Radius || r.RobustAfter(k, ball) != worst) {
				last = k
			}
		default:
			others("attacks at smaller ε")
			rate := r.RobustAfter(k, ball)
			if !r.Cascade {
				rate, _ = r.RobustTo(a, ball)
			}
			l := rateLine(sign+r.short(a), rate)
			if !a.Minimal() {
				l = r.withCost(a, l)
			}
			lines = append(lines, l)
		}
	}
	others("attacks at other ε")
	return lines
}

// withCost adds what an attack took.
func (r *Report) withCost(a AttackRow, l Line) Line {
	n := a.Attacked()
	l.Attacked = strconv.Itoa(n)
	if r.Interrupted && !a.Targeted {
		left := 0
		for i := range r.Label {
			if !a.Attempted[i] && !a.skipped(i) && r.Correct(i) {
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

// medianText writes a median distance: ∞ where the attack failed on half of the examples, nothing where it ran on none.
func medianText(d float64) string {
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
		if !c.covers(ball) {
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
