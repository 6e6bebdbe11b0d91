package diagnose

import (
	"encoding/json"
	"fmt"
	"slices"

	"advlab/advlib"
	"advlab/advlib/report"
)

// Verdict is what a check says.
type Verdict string

// The verdicts. What was not run says nothing: neither that the check would have passed, nor that it would have failed.
const (
	Passed        Verdict = "passed"
	Failed        Verdict = "failed"
	NotApplicable Verdict = "not applicable"
	NotRun        Verdict = "not run"
)

// Finding is what one check found.
type Finding struct {
	// Number and Name are the check's; see [Checks].
	Number int    `json:"number"`
	Name   string `json:"name"`
	// Verdict says how it went, and Why, where it was not run or does not apply, what the reason is.
	Verdict Verdict `json:"verdict"`
	Why     string  `json:"why,omitempty"`
	// Measured is the number as text, with what it counts, and Value the number that is compared with Threshold.
	Measured  string  `json:"measured,omitempty"`
	Value     float64 `json:"value"`
	Threshold string  `json:"threshold"`
	// Decides says that a failure alone makes masked gradients likely.
	Decides bool `json:"decides"`
	// Next are lines to paste, of Go, that look further where the check has failed, and Attacks those of them that are
	// attacks which attack.FromJSON reads.
	Next    []string          `json:"next,omitempty"`
	Attacks []json.RawMessage `json:"attacks,omitempty"`
	// Planted is what the binarisation test found.
	Planted []Planted `json:"planted,omitempty"`
	// Picture shows what was measured; nil where there is nothing to draw.
	Picture *Picture `json:"picture,omitempty"`
	// Seconds is the wall time, compilation included.
	Seconds float64 `json:"seconds"`
}

// Diagnosis is what all checks found.
type Diagnosis struct {
	// Classifier, Data, Ball and Attack say what was diagnosed: the robust accuracy that the attack leaves in the ball.
	Classifier string      `json:"classifier"`
	Data       string      `json:"data"`
	Ball       report.Ball `json:"ball"`
	Attack     string      `json:"attack"`
	Seed       uint64      `json:"seed"`
	// Threat is the threat model of all attacks that were run.
	Threat Threat `json:"threat_model"`
	// Clean and Robust are the accuracies; Worst is what is left after all attacks of all checks in the ball together.
	Clean  report.Rate `json:"clean"`
	Robust report.Rate `json:"robust"`
	Worst  report.Rate `json:"worst"`
	// Findings has one entry for each check, in their order.
	Findings []Finding `json:"findings"`
	// Interrupted says that not all checks were reached.
	Interrupted bool    `json:"interrupted"`
	Seconds     float64 `json:"seconds"`
}

// With returns the findings of a verdict.
func (d *Diagnosis) With(v Verdict) []Finding {
	return slices.DeleteFunc(slices.Clone(d.Findings), func(f Finding) bool { return f.Verdict != v })
}

// Masking tells whether a check has failed whose failure alone makes masked gradients likely.
func (d *Diagnosis) Masking() bool {
	return slices.ContainsFunc(d.Findings, func(f Finding) bool { return f.Verdict == Failed && f.Decides })
}

// Overall is the diagnosis in a sentence. It never says "robust".
func (d *Diagnosis) Overall() string {
	failed, decides, open := 0, 0, 0
	for _, f := range d.Findings {
		switch {
		case f.Verdict == Failed && f.Decides:
			decides++
		case f.Verdict == Failed:
			failed++
		case f.Verdict == NotRun && f.Decides:
			open++
		}
	}
	switch {
	case decides > 0:
		return fmt.Sprintf("gradient masking suspected: the reported robust accuracy of %v is an upper bound (%d of the checks that "+
			"decide failed); after all attacks of this diagnosis %v is left", d.Robust, decides, d.Worst)
	case failed > 0:
		return fmt.Sprintf("no sign of masked gradients, but the measurement is not what it should be: %d checks failed", failed)
	case open > 0:
		return fmt.Sprintf("not known: %d of the checks that decide were not run, the others passed", open)
	}
	return "consistent with real robustness: no check that was run failed"
}

// rate counts the examples of a list that hold.
func rate(hold []bool) report.Rate {
	r := advlib.Rate{Of: len(hold)}
	for _, h := range hold {
		if h {
			r.Count++
		}
	}
	return r
}
