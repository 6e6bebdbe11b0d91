package diagnose

import (
	"fmt"
	"strings"
)

// String returns the diagnosis as text: a line for each check, what to do where one failed, and the verdict.
func (d *Diagnosis) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s on %s: clean %v, %v leaves %v %s in %v\n", d.Classifier, d.Data, d.Clean, d.Attack, d.Robust,
		d.Robust.Interval(), d.Ball)
	for _, s := range d.Threat.Lines() {
		fmt.Fprintln(&b, "  "+s)
	}
	width := 0
	for _, f := range d.Findings {
		width = max(width, len(f.Name))
	}
	for _, f := range d.Findings {
		said := f.Measured
		if f.Verdict == NotApplicable || f.Verdict == NotRun {
			said = f.Why
		}
		fmt.Fprintf(&b, "%3d %-*s  %-14s  %s\n", f.Number, width, f.Name, f.Verdict, said)
		if f.Verdict == Failed {
			fmt.Fprintf(&b, "    %-*s  passes if %s\n", width, "", f.Threshold)
			for _, line := range f.Next {
				fmt.Fprintf(&b, "    %-*s  next: %s\n", width, "", line)
			}
		}
	}
	if d.Interrupted {
		fmt.Fprintln(&b, "INTERRUPTED: not all checks were reached")
	}
	fmt.Fprintln(&b, "verdict: "+d.Overall())
	return b.String()
}
