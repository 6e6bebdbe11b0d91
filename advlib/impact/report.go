// Package impact says what attacks bring about, beyond an accuracy: the three harms that the field names.
//
//	costs, err := impact.CostsFile("costs.json")
//	settings := impact.Settings{Costs: costs}
//	evaluated, r, err := impact.Evaluate(ctx, settings, classifier, test, attack.Standard(advlib.Linf.Ball(8./255)))
//	fmt.Println(r)                        // text; r.HTML() has pictures, r.CSV() a row for each example
//	err = show.Save("impact.html", r)
//
// What it measures:
//
//   - Reduced accuracy: overall, for each class, what is taken for what before and after, against the budget.
//   - Security violation: how often an attacker reaches the mistakes that matter, what that takes, and what wrong
//     answers cost, by a table of the user's.
//   - Loss of trust: confidence of wrong answers, calibration, and harmless changes of the same size.
//
// Rates have Wilson's 95 % intervals, means those of the bootstrap.
package impact

import (
	"bytes"
	"encoding/csv"
	"fmt"
	"math"
	"strconv"
	"strings"

	"advlab/advlib/report"
)

// Report is what attacks bring about. Its JSON has the names of the fields, in small letters.
type Report struct {
	// Classifier and Data are what was attacked, on what; Classes the names of the classes.
	Classifier string   `json:"classifier"`
	Data       string   `json:"data"`
	Classes    []string `json:"classes"`
	// Ball is the attacker's budget. What counts as after the attack is the answer to the nearest adversarial example that
	// any attack found in it, else that to the original.
	Ball report.Ball `json:"ball"`
	// Budgets are the accuracies in all balls of the norm.
	Budgets []Budget `json:"budgets"`
	// Before and After are the two sides of the attack.
	Before Side `json:"before"`
	After  Side `json:"after"`
	// Costs are as they were given, and Pairs what came of attacks on the mistakes that matter. The cost after the attack
	// is that of the most costly answer that the attacker has found for each example.
	Costs Costs        `json:"costs"`
	Pairs []PairResult `json:"pairs,omitempty"`
	// Harmless are the largest harmless changes that are no larger, by their L2 norm, than the attack's; the first row is
	// the attack itself. It is empty where the inputs are no images. Window is what SSIM was taken in.
	Harmless []Harmless `json:"harmless,omitempty"`
	Window   string     `json:"ssim_window,omitempty"`
	// Examples has a row for each example.
	Examples []Example `json:"examples"`
	// Warnings are those of the evaluation, and of this.
	Warnings []string `json:"warnings,omitempty"`
}

// Budget is the accuracy in a ball.
type Budget struct {
	Radius float64     `json:"radius"`
	Robust report.Rate `json:"robust"`
}

// PairResult is what came of a mistake that matters.
type PairResult struct {
	Pair
	// Attack is the targeted attack; Before and After count the examples of the class that are answered so.
	Attack string      `json:"attack"`
	Before report.Rate `json:"before"`
	After  report.Rate `json:"after"`
	// Passes are those through the model for each example that was attacked; Queries says that they are inputs that a
	// victim answered, which is all that the attacker needs. Seconds is the time for each on this machine.
	Passes  float64 `json:"passes"`
	Queries bool    `json:"queries"`
	Seconds float64 `json:"seconds"`
}

// Harmless is a change that leaves people's answer as it is.
type Harmless struct {
	// Change is its name, Size the median of its size, in Unit.
	Change string `json:"change"`
	Size   number `json:"size"`
	Unit   string `json:"unit,omitempty"`
	// Agrees counts the examples that are answered as the original is.
	Agrees report.Rate `json:"agrees"`
	// L2, PSNR in decibels, SSIM and the distance in the classifier's features, see [advlib.FeatureDistances], are
	// medians. The last is null where there are no features to look at.
	L2       number `json:"l2"`
	PSNR     number `json:"psnr"`
	SSIM     number `json:"ssim"`
	Features number `json:"features"`
}

// Example is an example before and after the attack. A class of −1 is a rejection; confidences are null where the
// victim tells none.
type Example struct {
	Number     int64   `json:"number"`
	Truth      int32   `json:"truth"`
	Before     int32   `json:"before"`
	Confidence number  `json:"confidence"`
	After      int32   `json:"after"`
	Attacked   number  `json:"confidence_after"`
	Cost       float64 `json:"cost"`
	CostAfter  float64 `json:"cost_after"`
}

func exampleOf(n int64, before, after answer) Example {
	e := Example{Number: n, Truth: before.truth, Before: before.class, After: after.class, Cost: before.cost, CostAfter: after.cost,
		Confidence: number(math.NaN()), Attacked: number(math.NaN())}
	if before.p != nil {
		e.Confidence = number(before.confidence())
	}
	if after.p != nil {
		e.Attacked = number(after.confidence())
	}
	return e
}

// section is a table under a heading.
type section struct {
	Heading string
	Rows    [][]string
}

func rate(r report.Rate) string { return strings.TrimSpace(r.String() + " " + r.Interval()) }

// share writes a number in 0..1, or any other, with its interval.
func (m Mean) share() string {
	if math.IsNaN(float64(m.Value)) {
		return "none"
	}
	return fmt.Sprintf("%.4g [%.4g, %.4g]", m.Value, m.Low, m.High)
}

func (n number) text(format string) string {
	switch {
	case math.IsNaN(float64(n)):
		return "n/a"
	case math.IsInf(float64(n), 1):
		return "∞"
	}
	return fmt.Sprintf(format, float64(n))
}

// sections are the tables of all forms.
func (r *Report) sections() []section {
	accuracy := section{"Reduced accuracy", [][]string{{"", "before", "after the attack"},
		{"all examples", rate(r.Before.Accuracy), rate(r.After.Accuracy)}}}
	for k, name := range r.Classes {
		if r.Before.PerClass[k].Of > 0 {
			accuracy.Rows = append(accuracy.Rows, []string{name, rate(r.Before.PerClass[k]), rate(r.After.PerClass[k])})
		}
	}
	all := []section{accuracy}
	if len(r.Budgets) > 1 {
		budgets := section{"Against the budget", [][]string{{r.Ball.Norm + " ≤", "accuracy"}, {"0", rate(r.Before.Accuracy)}}}
		for _, b := range r.Budgets {
			budgets.Rows = append(budgets.Rows, []string{fmt.Sprintf("%.4g", b.Radius), rate(b.Robust)})
		}
		all = append(all, budgets)
	}
	unit := r.Costs.Unit
	if unit != "" {
		unit = ", " + unit
	}
	security := section{"Security violation", [][]string{{"", "before", "after the attack"},
		{"mean cost of an answer" + unit, r.Before.Cost.share(), r.After.Cost.share()}}}
	all = append(all, security)
	if len(r.Pairs) > 0 {
		pairs := section{"Mistakes that matter, attacked on purpose", [][]string{
			{"truth → answer", "cost" + unit, "before", "after", "takes each"}}}
		for _, p := range r.Pairs {
			what := "passes"
			if p.Queries {
				what = "queries"
			}
			pairs.Rows = append(pairs.Rows, []string{p.Truth + " → " + p.Answer, fmt.Sprintf("%.6g", p.Cost), rate(p.Before), rate(p.After),
				fmt.Sprintf("%.4g %s, %.2g s", p.Passes, what, p.Seconds)})
		}
		all = append(all, pairs)
	}
	return append(all, r.trust()...)
}

// trust are the tables on loss of trust.
func (r *Report) trust() (all []section) {
	if b, a := r.Before.Trust, r.After.Trust; b != nil && a != nil {
		all = append(all, section{"Loss of trust", [][]string{{"", "before", "after the attack"},
			{"confidence of wrong answers", b.Wrong.share(), a.Wrong.share()},
			{fmt.Sprintf("wrong answers with a confidence ≥ %g", confident), rate(b.Confident), rate(a.Confident)},
			{fmt.Sprintf("ECE, %d bins", Bins), b.ECE.share(), a.ECE.share()},
			{"Brier score", b.Brier.share(), a.Brier.share()},
			{"negative log-likelihood", b.NLL.share(), a.NLL.share()},
		}})
	} else {
		all = append(all, section{"Loss of trust: n/a, as the victim tells no probabilities", nil})
	}
	if len(r.Harmless) > 0 {
		h := section{"The largest harmless changes of the same size, on what the attack broke", [][]string{
			{"change", "size", "answered as the original", "L2", "PSNR", "SSIM", "features"}}}
		if r.Window != "" {
			h.Heading += " (SSIM: " + r.Window + ")"
		}
		for _, c := range r.Harmless {
			size := ""
			if c.Unit != "" {
				size = c.Size.text("%.3g") + " " + c.Unit
			}
			h.Rows = append(h.Rows, []string{c.Change, size, rate(c.Agrees), c.L2.text("%.4g"), c.PSNR.text("%.1f dB"), c.SSIM.text("%.4f"),
				c.Features.text("%.4f")})
		}
		all = append(all, h)
	}
	return all
}

// Title says in a line what was measured.
func (r *Report) Title() string {
	return fmt.Sprintf("Impact of attacks on %s, %s: %d examples, budget %v", r.Classifier, r.Data, r.Before.Accuracy.Of, r.Ball)
}

// String returns the tables as text.
func (r *Report) String() string {
	var b strings.Builder
	fmt.Fprintln(&b, r.Title())
	for _, s := range r.sections() {
		fmt.Fprintln(&b, s.Heading)
		var width []int
		for _, row := range s.Rows {
			width = append(width, make([]int, max(0, len(row)-len(width)))...)
			for i, cell := range row {
				width[i] = max(width[i], len([]rune(cell)))
			}
		}
		for _, row := range s.Rows {
			line := " "
			for i, cell := range row {
				pad := strings.Repeat(" ", width[i]-len([]rune(cell)))
				if i == 0 {
					line += " " + cell + pad
				} else {
					line += "  " + pad + cell
				}
			}
			fmt.Fprintln(&b, strings.TrimRight(line, " "))
		}
	}
	for _, w := range r.Warnings {
		fmt.Fprintln(&b, "warning: "+w)
	}
	return b.String()
}

// CSV returns a row for each example: its number, classes, confidences and costs before and after the attack. What is
// not known is empty.
func (r *Report) CSV() []byte {
	var b bytes.Buffer
	w := csv.NewWriter(&b)
	rows := [][]string{{"example", "truth", "before", "confidence", "after", "confidence_after", "cost", "cost_after"}}
	known := func(n number) string {
		if math.IsNaN(float64(n)) {
			return ""
		}
		return strconv.FormatFloat(float64(n), 'g', -1, 64)
	}
	for _, e := range r.Examples {
		rows = append(rows, []string{strconv.FormatInt(e.Number, 10), r.class(e.Truth), r.class(e.Before), known(e.Confidence), r.class(e.After),
			known(e.Attacked), known(number(e.Cost)), known(number(e.CostAfter))})
	}
	_ = w.WriteAll(rows) // into memory
	return b.Bytes()
}

func (r *Report) class(k int32) string {
	if k < 0 {
		return "rejected"
	}
	return r.Classes[k]
}
