package report

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// Score is a detector's score, or its threshold, that survives JSON: what is not finite is a string, such as "+Inf".
type Score float64

// Above tells whether an input of this score is rejected at a threshold. One whose score is not a number is.
func (s Score) Above(threshold Score) bool { return !(s <= threshold) }

// MarshalJSON writes what is finite as a number, and else "+Inf", "-Inf" or "NaN".
func (s Score) MarshalJSON() ([]byte, error) {
	text := strconv.FormatFloat(float64(s), 'g', -1, 64)
	if v := float64(s); math.IsInf(v, 0) || math.IsNaN(v) {
		text = `"` + text + `"`
	}
	return []byte(text), nil
}

// UnmarshalJSON reads what MarshalJSON writes.
func (s *Score) UnmarshalJSON(text []byte) error {
	if n := len(text); n > 1 && text[0] == '"' {
		text = text[1 : n-1]
	}
	v, err := strconv.ParseFloat(string(text), 64)
	if err != nil {
		return fmt.Errorf("report: %s is no score: %w", text, err)
	}
	*s = Score(v)
	return nil
}

// Rejection is what a report has of a victim that rejects inputs for a score, such as a classifier behind a detector of
// adversarial inputs. Slices have one entry for each example.
type Rejection struct {
	// Detector is its name, Threshold the score above which it rejects, and Rate the share of clean inputs, 0..1, that the
	// threshold was set to reject.
	Detector  string  `json:"detector"`
	Threshold Score   `json:"threshold"`
	Rate      float64 `json:"rate"`
	// Class is, of each original, the class that would be answered were nothing rejected, −1 for none; Score is its score.
	Class []int32 `json:"class"`
	Score []Score `json:"score"`
	// Reductions hold the robust accuracies against those of a classifier at half the radius, where that was asked for.
	Reductions []Reduction `json:"reductions,omitempty"`
}

// Screened is what a victim that rejects inputs for a score says of what an attack returned: of the original where the
// attack was not run, or found nothing. Slices have one entry for each example.
type Screened struct {
	// Adaptive tells an attack that knows the detector from one that does not, and is called naive.
	Adaptive bool `json:"adaptive"`
	// Class and Score are as those of [Rejection].
	Class []int32 `json:"class"`
	Score []Score `json:"score"`
}

// knowledge is how an attack is called.
func (s *Screened) knowledge() string {
	if s.Adaptive {
		return "adaptive"
	}
	return "naive"
}

// Short is the name for tables and legends: without what a naive attack is transferred from, and cut to 60 characters.
func (a AttackRow) Short() string {
	name, _, _ := strings.Cut(a.Name, ", transferred from ")
	if all := []rune(name); len(all) > 60 {
		return string(all[:59]) + "…"
	}
	return name
}

// short is what an attack is called in a table: attacks on a detector have long names, which stand in full below it.
func (r *Report) short(a AttackRow) string {
	if r.Rejection == nil {
		return a.Name
	}
	return a.Short()
}

// same tells whether two reports have the same detector.
func (r *Rejection) same(o *Rejection) bool {
	if r == nil || o == nil {
		return r == o
	}
	return r.Detector == o.Detector && r.Threshold == o.Threshold && r.Rate == o.Rate &&
		slices.EqualFunc(r.Reductions, o.Reductions, Reduction.same)
}

// merge returns that of r's examples followed by o's.
func (r *Rejection) merge(o *Rejection) *Rejection {
	if r == nil || o == nil {
		return r
	}
	m := *r
	m.Class, m.Score = slices.Concat(r.Class, o.Class), slices.Concat(r.Score, o.Score)
	m.Reductions = slices.Clone(r.Reductions)
	for i := range m.Reductions {
		m.Reductions[i].Robust = r.Reductions[i].Robust.Plus(o.Reductions[i].Robust)
		m.Reductions[i].Best = r.Reductions[i].Best.Plus(o.Reductions[i].Best)
	}
	return &m
}

// Rejected returns the share of originals that the victim rejects; 0 of one that rejects nothing.
func (r *Report) Rejected() Rate {
	if r.Rejection == nil {
		return Rate{Of: len(r.Label)}
	}
	return r.rate(func(i int) bool { return r.Rejection.Score[i].Above(r.Rejection.Threshold) })
}

// WithoutDetector returns the accuracy on the originals were none of them rejected: that of the classifier alone. Of a
// victim that rejects nothing it is [Report.Clean].
func (r *Report) WithoutDetector() Rate {
	if r.Rejection == nil {
		return r.Clean()
	}
	return r.rate(func(i int) bool { return r.Rejection.Class[i] == r.Label[i] })
}

// changed tells whether an attack, one of those on a victim that rejects, was run on example i, and moved it to where
// the classifier without the detector is wrong.
func (r *Report) changed(a AttackRow, i int) bool {
	return r.Correct(i) && a.Attempted[i] && a.Screened.Class[i] >= 0 && a.Screened.Class[i] != r.Label[i]
}

// Changed returns of how many examples that are accepted and right, and were attacked, the attack changed the class, as
// far as the classifier without the detector goes. Detected is how many of these are rejected. Both are of no example
// where the victim rejects nothing.
func (r *Report) Changed(a AttackRow) (changed, detected Rate) {
	if r.Rejection == nil || a.Screened == nil {
		return
	}
	for i := range r.Label {
		if !r.Correct(i) || !a.Attempted[i] {
			continue
		}
		changed.Of++
		if r.changed(a, i) {
			changed.Count++
			detected.Of++
			if a.Screened.Score[i].Above(r.Rejection.Threshold) {
				detected.Count++
			}
		}
	}
	return changed, detected
}

// ROC returns the curve of the detector's scores of what the attack changed, see [Report.Changed], against those of all
// originals. It is nil if nothing was changed. Scores that are not numbers count as the highest. An adaptive attack is
// content with a score below the threshold, so that its curve says little of other thresholds.
func (r *Report) ROC(a AttackRow) *ROC {
	clean, adversarial := r.scores(a)
	if len(clean) == 0 || len(adversarial) == 0 {
		return nil
	}
	c, err := NewROC(clean, adversarial)
	if err != nil {
		panic(err) // no score is NaN: only a mistake in this file gets here
	}
	return c
}

// scores returns those of the originals, and of what the attacks changed.
func (r *Report) scores(attacks ...AttackRow) (clean, adversarial []float64) {
	if r.Rejection == nil {
		return nil, nil
	}
	number := func(s Score) float64 {
		if math.IsNaN(float64(s)) {
			return math.Inf(1)
		}
		return float64(s)
	}
	for i := range r.Label {
		clean = append(clean, number(r.Rejection.Score[i]))
		for _, a := range attacks {
			if a.Screened != nil && r.changed(a, i) {
				adversarial = append(adversarial, number(a.Screened.Score[i]))
			}
		}
	}
	return clean, adversarial
}

// RejectionPoint is what becomes of examples in a ball of some radius. The three shares add up to all examples.
type RejectionPoint struct {
	// Radius is ε; 0 is the clean inputs.
	Radius float64 `json:"radius"`
	// Right are accepted and classified rightly, Wrong accepted and misclassified, Rejected neither.
	Right    Rate `json:"right"`
	Wrong    Rate `json:"wrong"`
	Rejected Rate `json:"rejected"`
}

// RejectionCurve returns what becomes of the examples at each radius of the norm's balls that was attacked, and at 0,
// where they are clean: under the attacks that know the detector, or under those that do not. Of several in the same
// ball an example counts as wrong if one of them makes it so, and else as rejected if what one of them returned is. It
// is nil of a victim that rejects nothing, and where there was no such attack.
func (r *Report) RejectionCurve(norm string, adaptive bool) []RejectionPoint {
	at := map[float64][]AttackRow{0: nil}
	for _, a := range r.Attacks {
		if a.Screened != nil && a.Screened.Adaptive == adaptive && a.Norm == norm && !a.Minimal() && !a.Targeted {
			at[float64(a.Radius)] = append(at[float64(a.Radius)], a)
		}
	}
	if r.Rejection == nil || len(at) == 1 && at[0] == nil {
		return nil
	}
	var points []RejectionPoint
	for ε, attacks := range at {
		n := len(r.Label)
		p := RejectionPoint{Radius: ε, Right: Rate{Of: n}, Wrong: Rate{Of: n}, Rejected: Rate{Of: n}}
		for i := range r.Label {
			classes, scores := []int32{r.Rejection.Class[i]}, []Score{r.Rejection.Score[i]}
			for _, a := range attacks {
				classes, scores = append(classes, a.Screened.Class[i]), append(scores, a.Screened.Score[i])
			}
			wrong, rejected := false, false
			for k := range classes {
				above := scores[k].Above(r.Rejection.Threshold)
				wrong = wrong || !above && classes[k] != r.Label[i]
				rejected = rejected || above
			}
			switch {
			case wrong:
				p.Wrong.Count++
			case rejected:
				p.Rejected.Count++
			default:
				p.Right.Count++
			}
		}
		points = append(points, p)
	}
	slices.SortFunc(points, func(a, b RejectionPoint) int { return cmp.Compare(a.Radius, b.Radius) })
	return points
}

// rejectionLines are the first lines of the table.
func (r *Report) rejectionLines() []Line {
	return []Line{
		rateLine("clean, without the detector", r.WithoutDetector()),
		rateLine("clean, accepted and right", r.Clean()),
		rateLine("clean, rejected", r.Rejected()),
	}
}

// rejectionTables are what the detector sees of each attack, and what becomes of the examples at each radius.
func (r *Report) rejectionTables() []QueryTable {
	if r.Rejection == nil {
		return nil
	}
	seen := QueryTable{Title: fmt.Sprintf("what the detector sees: %s, threshold %.4g, set to reject %.4g %% of clean inputs",
		r.Rejection.Detector, float64(r.Rejection.Threshold), 100*r.Rejection.Rate)}
	for _, a := range r.Attacks {
		if a.Screened == nil {
			continue
		}
		changed, detected := r.Changed(a)
		row := []string{a.Short(), a.Screened.knowledge(), changed.String(), detected.String(), detected.Interval(), "", "", ""}
		if c := r.ROC(a); c != nil {
			area, lo, hi := c.AUC()
			tpr, _ := c.TPR(0.05)
			row[5], row[6], row[7] = fmt.Sprintf("%.3f [%.3f, %.3f]", area, lo, hi), tpr.String(), tpr.Interval()
		}
		seen.Rows = append(seen.Rows, row)
	}
	if len(seen.Rows) == 0 {
		return []QueryTable{seen}
	}
	seen.Rows = slices.Insert(seen.Rows, 0, []string{"attack", "", "class changed", "rejected of these", "95 % interval", "AUC",
		"TPR at 5 % FPR", "95 % interval"})
	seen.drawn = r.detectionSVG()
	all := []QueryTable{seen}
	for _, a := range r.Attacks {
		if short := a.Short(); strings.HasSuffix(short, "…") {
			all = append(all, QueryTable{Title: "in full: " + a.Name})
		}
	}
	for _, norm := range r.Norms() {
		t := QueryTable{Title: "what becomes of the examples in " + norm}
		for _, adaptive := range []bool{false, true} {
			for _, p := range r.RejectionCurve(norm, adaptive) {
				what := fmt.Sprintf("%s ≤ %.4g", (&Screened{Adaptive: adaptive}).knowledge(), p.Radius)
				if p.Radius == 0 {
					what = "clean"
				}
				row := []string{what, p.Right.String(), p.Wrong.String(), p.Rejected.String(), p.Rejected.Interval()}
				if p.Radius > 0 || len(t.Rows) == 0 {
					t.Rows = append(t.Rows, row)
				}
			}
		}
		if len(t.Rows) > 0 {
			t.Rows = slices.Insert(t.Rows, 0, []string{"", "accepted, right", "accepted, wrong", "rejected", "95 % interval"})
			all = append(all, t)
		}
	}
	return all
}
