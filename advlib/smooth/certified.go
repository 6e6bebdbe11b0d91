package smooth

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"text/tabwriter"

	"advlab/advlib"
	"advlab/advlib/report"
)

// Certified is what is certified of a smoothed classifier on examples, and how it was sampled. Slices have one entry
// for each example.
type Certified struct {
	// Base, Data, Backend and Box say whose smoothed classifier was certified, on what.
	Base    string     `json:"base"`
	Data    string     `json:"data"`
	Backend string     `json:"backend"`
	Box     advlib.Box `json:"box"`
	// Notes are sentences on what the base classifier is made of: see [advlib.Spec].
	Notes []string `json:"notes,omitempty"`
	// Sigma, N0, N, Alpha and Seed are those of [Gaussian].
	Sigma float64 `json:"sigma"`
	N0    int     `json:"n0"`
	N     int     `json:"n"`
	Alpha float64 `json:"alpha"`
	Seed  uint64  `json:"seed"`
	// Slack is what rounding takes off each radius.
	Slack float64 `json:"slack"`
	// Index and Label are the examples' numbers and labels.
	Index []int64 `json:"index"`
	Label []int32 `json:"label"`
	// Certificates are the outcome.
	Certificates []Certificate `json:"certificates"`
	// Forward counts passes of single inputs through the base classifier; Seconds is the wall time with compilation.
	Forward int64   `json:"forward"`
	Seconds float64 `json:"seconds"`
}

const reportSchema = "advlab.smooth/1"

// MarshalJSON writes the report with its schema, "advlab.smooth/1": an object of the fields above, with the names of
// their tags.
func (r Certified) MarshalJSON() ([]byte, error) {
	type plain Certified
	return json.Marshal(struct {
		Schema string `json:"schema"`
		plain
	}{reportSchema, plain(r)})
}

// UnmarshalJSON reads what MarshalJSON writes, and refuses another schema, and slices whose lengths disagree.
func (r *Certified) UnmarshalJSON(text []byte) error {
	type plain Certified
	var j struct {
		Schema string `json:"schema"`
		plain
	}
	if err := json.Unmarshal(text, &j); err != nil {
		return fmt.Errorf("smooth: report: %w", err)
	}
	if j.Schema != reportSchema {
		return fmt.Errorf("smooth: report: the schema is %q, this version reads %q", j.Schema, reportSchema)
	}
	if n := len(j.Label); len(j.Index) != n || len(j.Certificates) != n {
		return fmt.Errorf("smooth: report: %d labels, %d numbers and %d certificates do not fit together", n, len(j.Index), len(j.Certificates))
	}
	*r = Certified(j.plain)
	return nil
}

// CertifiedAccuracy is the share of examples whose label is certified for all ‖δ‖₂ ≤ radius. At radius 0 it is the
// share of examples that the smoothed classifier is known to get right.
func (r *Certified) CertifiedAccuracy(radius float64) advlib.Rate {
	rate := advlib.Rate{Of: len(r.Label)}
	for i, c := range r.Certificates {
		if c.Class == r.Label[i] && c.Radius > radius { // theorem 1 is for the open ball
			rate.Count++
		}
	}
	return rate
}

// Abstentions is the share of examples for which no class was found.
func (r *Certified) Abstentions() advlib.Rate {
	rate := advlib.Rate{Of: len(r.Label)}
	for _, c := range r.Certificates {
		if c.Class == Abstain {
			rate.Count++
		}
	}
	return rate
}

// Wrong is the share of examples for which another class than the label was certified.
func (r *Certified) Wrong() advlib.Rate {
	rate := advlib.Rate{Of: len(r.Label)}
	for i, c := range r.Certificates {
		if c.Class != Abstain && c.Class != r.Label[i] {
			rate.Count++
		}
	}
	return rate
}

// NotFinite says in a sentence for how many examples some noisy copies gave logits that are not finite, or returns "".
// Such copies count for no class, so that they can only take from what is certified.
func (r *Certified) NotFinite() string {
	examples, copies, first := 0, 0, int64(0)
	for i, c := range r.Certificates {
		if c.NotFinite > 0 {
			if examples == 0 {
				first = r.Index[i]
			}
			examples, copies = examples+1, copies+c.NotFinite
		}
	}
	if examples == 0 {
		return ""
	}
	return fmt.Sprintf("the logits of %s are not finite for %d of the noisy copies of %d examples, such as example %d: these copies count "+
		"for no class", r.Base, copies, examples, first)
}

// LargestRadius is the radius of an example all of whose noisy copies are in one class.
func (r *Certified) LargestRadius() float64 {
	return radius(r.Sigma, FailureBound(0, r.N, r.Alpha)) - r.Slack
}

// Radii returns radii for a table: 0, and at most six in steps of a round number below the largest one.
func (r *Certified) Radii() []float64 { return r.steps(6) }

// steps returns 0, and at most the given number of radii below the largest one, in steps of 1, 2.5 or 5 times a power
// of ten.
func (r *Certified) steps(most float64) []float64 {
	largest := r.LargestRadius()
	step := math.Pow(10, math.Floor(math.Log10(largest/most)))
	for _, f := range []float64{1, 2.5, 5, 10} {
		if largest/(step*f) <= most {
			step *= f
			break
		}
	}
	radii := []float64{0}
	for k := 1; float64(k)*step < largest; k++ {
		radii = append(radii, float64(k)*step)
	}
	return radii
}

// Plain returns the numbers in the form of other reports, to be shown beside them: certified accuracies at the given
// radii, the clean accuracy being that of the smoothed classifier where it does not abstain. Without radii it is at up
// to 40 round ones, and at the last number below the largest, for a curve: from the largest on nothing is certified.
func (r *Certified) Plain(radii ...float64) *advlib.Report {
	if len(radii) == 0 {
		radii = append(r.steps(40), math.Nextafter(r.LargestRadius(), 0))
	}
	p := &advlib.Report{Classifier: r.name(), Data: r.Data, Backend: r.Backend, Box: report.Box(r.Box), Notes: slices.Clone(r.Notes),
		Seed: r.Seed, Index: slices.Clone(r.Index), Label: slices.Clone(r.Label), Seconds: r.Seconds}
	for _, c := range r.Certificates {
		p.Predicted = append(p.Predicted, c.Class)
	}
	if w := r.NotFinite(); w != "" {
		p.Warnings = append(p.Warnings, w)
	}
	for _, radius := range radii {
		row := report.CertifierRow{Method: fmt.Sprintf("smoothing, α = %g", r.Alpha), Norm: advlib.L2.String(), Radius: radius,
			Seconds: r.Seconds}
		for i, c := range r.Certificates {
			row.Certified = append(row.Certified, c.Class == r.Label[i] && c.Radius > radius)
		}
		p.Certificates = append(p.Certificates, row)
	}
	return p
}

func (r *Certified) name() string { return fmt.Sprintf("%s smoothed, σ = %.6g", r.Base, r.Sigma) }

// String returns a table of certified accuracies with 95 % intervals, and what they mean.
func (r *Certified) String() string {
	var s strings.Builder
	w := tabwriter.NewWriter(&s, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "%s, on %s, %d examples\tshare\t95 %% interval\n", r.name(), r.Data, len(r.Label))
	line := func(what string, rate advlib.Rate) { fmt.Fprintf(w, "  %s\t%v\t%s\n", what, rate, rate.Interval()) }
	for _, radius := range r.Radii() {
		line(fmt.Sprintf("right, and certified for L2 ≤ %.4g", radius), r.CertifiedAccuracy(radius))
	}
	line("abstained", r.Abstentions())
	line("another class certified", r.Wrong())
	_ = w.Flush() // a strings.Builder does not fail
	fmt.Fprintf(&s,
		"of the smoothed classifier, not of %s;\neach certificate is wrong with probability at most %g;\nN = %d, largest possible radius "+
			"%.4g\n", r.Base, r.Alpha, r.N, r.LargestRadius())
	for _, note := range r.Notes {
		fmt.Fprintln(&s, note)
	}
	if w := r.NotFinite(); w != "" {
		fmt.Fprintf(&s, "warning: %s\n", w)
	}
	return s.String()
}
