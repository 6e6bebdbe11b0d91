package detect

import (
	"context"
	"fmt"
	"math"
	"strings"

	"advlab/advlib"
)

// Inspection measures a detector of single inputs: on clean inputs that it was not fitted to, and on what attacks make
// of them.
//
//	o, err := detect.Inspection{Naive: attacks, Adaptive: []advlib.Attack{s.Adaptive(ball)}}.Run(ctx, s, test)
type Inspection struct {
	// Naive are attacks on the classifier, which do not know of the detector: any of package attack.
	Naive []advlib.Attack
	// Found are results of such attacks on the classifier, on the same examples: to show several detectors what was
	// searched for once.
	Found []*advlib.Result
	// Adaptive are attacks that know it, such as that of [Screened.Adaptive].
	Adaptive []advlib.Attack
	// Settings are those of the attacks' runs.
	Settings advlib.Settings
}

// Inspected is what an [Inspection] finds.
type Inspected struct {
	// Detector is its name, Threshold and Rate what it is set to.
	Detector  string  `json:"detector"`
	Threshold float64 `json:"threshold"`
	Rate      float64 `json:"rate"`
	// Accuracy is that of the classifier without the detector. Clean is how many clean inputs are accepted and classified
	// rightly, Rejected how many are rejected, which is the rate of false positives.
	Accuracy advlib.Rate `json:"accuracy"`
	Clean    advlib.Rate `json:"clean"`
	Rejected advlib.Rate `json:"rejected"`
	// Scores are those of the clean inputs.
	Scores []float64 `json:"scores"`
	// Attacks are the attacks, the naive ones first.
	Attacks []InspectedAttack `json:"attacks"`
	// Robust is how many examples no attack has broken: see [InspectedAttack.Evaded].
	Robust advlib.Rate `json:"robust"`
	// Standing tells which these are.
	Standing []bool `json:"standing"`
}

// InspectedAttack is what a detector sees of an attack.
type InspectedAttack struct {
	// Attack is its name, Adaptive whether it knows the detector.
	Attack   string `json:"attack"`
	Adaptive bool   `json:"adaptive"`
	// Success is how many of the inputs that the classifier gets right the attack changes so that it does not any more,
	// whatever the detector says. Detected is how many of these are rejected.
	Success  advlib.Rate `json:"success"`
	Detected advlib.Rate `json:"detected"`
	// Evaded is how many of the clean inputs that are accepted and classified rightly have become inputs that are accepted
	// and misclassified.
	Evaded advlib.Rate `json:"evaded"`
	// Scores are those of the inputs of Success.
	Scores []float64 `json:"scores"`
	// ROC is the curve of these scores against those of the clean inputs; nil without a success. An adaptive attack is
	// content with a score below the threshold: its curve says little of other thresholds.
	ROC *ROC `json:"-"`
}

// Run measures a detector on examples. When ctx ends, it returns what was found until then, with an error.
func (o Inspection) Run(ctx context.Context, s *Screened, e *advlib.Examples) (*Inspected, error) {
	n := &Inspected{Detector: s.String(), Threshold: s.Threshold, Rate: s.Rate, Standing: make([]bool, e.Len())}
	spec := advlib.Spec{Name: s.of.Name(), Input: s.of.Input(), Box: s.of.Box(), Domain: s.of.Domain()}
	if err := e.Check(spec, s.of.Classes()); err != nil {
		return nil, fmt.Errorf("detect: %v: %w", s, err)
	}
	plain, err := s.of.Logits(e.X)
	if err != nil {
		return nil, err
	}
	z, scores, err := s.ask(ctx, advlib.Count(s.of), e.X)
	if err != nil {
		return nil, err
	}
	n.Scores = scores
	n.Accuracy.Of, n.Clean.Of, n.Rejected.Of, n.Robust.Of = e.Len(), e.Len(), e.Len(), e.Len()
	for i, y := range e.Y {
		if classOf(plain[i]) == y {
			n.Accuracy.Count++
		}
		switch {
		case s.flags(scores[i]):
			n.Rejected.Count++
		case classOf(z[i]) == y:
			n.Standing[i] = true
			n.Clean.Count++
		}
	}
	n.Robust.Count = n.Clean.Count
	clean := append([]bool(nil), n.Standing...)
	for _, r := range o.Found {
		if r.Examples != e && r.Examples.Hash() != e.Hash() {
			return n, fmt.Errorf("detect: %v: what %s found is on other examples, %v, than those to inspect, %v: give the same", s, r.Attack,
				r.Examples, e)
		}
		if err := n.add(ctx, s, r, clean, false); err != nil {
			return n, err
		}
	}
	for _, a := range o.Naive {
		r, err := o.Settings.Run(ctx, s.of, e, a)
		if err != nil {
			return n, err
		}
		if err := n.add(ctx, s, r, clean, false); err != nil {
			return n, err
		}
	}
	if len(o.Adaptive) == 0 {
		return n, nil
	}
	behind, err := s.Classifier()
	if err != nil {
		return n, err
	}
	for _, a := range o.Adaptive {
		r, err := o.Settings.Run(ctx, behind, e, a)
		if err != nil {
			return n, err
		}
		if err := n.add(ctx, s, r, clean, true); err != nil {
			return n, err
		}
	}
	return n, nil
}

// classOf is the class of logits.
func classOf(z []float32) int32 { return advlib.Answer{Kind: advlib.Logits, Scores: z}.Class() }

// add looks with the detector at what an attack has found on the classifier that it sees. Clean tells which examples
// are accepted and right.
func (n *Inspected) add(ctx context.Context, s *Screened, r *advlib.Result, clean []bool, adaptive bool) error {
	e := r.Examples
	z, scores, err := s.ask(ctx, advlib.Count(s.of), r.Adversarial)
	if err != nil {
		return err
	}
	row := InspectedAttack{Attack: r.Attack, Adaptive: adaptive}
	for i := range e.Y {
		moved := r.Attempted[i] && !(r.Success[i] && r.Distance[i] == 0) // what is wrong from the beginning is not attacked
		if moved {
			row.Success.Of++
		}
		if moved && r.Success[i] {
			row.Success.Count++
			row.Detected.Of++
			row.Scores = append(row.Scores, scores[i])
			if s.flags(scores[i]) {
				row.Detected.Count++
			}
		}
		if !clean[i] {
			continue
		}
		row.Evaded.Of++
		if k := classOf(z[i]); k >= 0 && k != e.Y[i] && !s.flags(scores[i]) {
			row.Evaded.Count++
			if n.Standing[i] {
				n.Standing[i] = false
				n.Robust.Count--
			}
		}
	}
	if len(row.Scores) > 0 {
		if row.ROC, err = NewROC(n.Scores, row.Scores); err != nil {
			return err
		}
	}
	n.Attacks = append(n.Attacks, row)
	return nil
}

// String is a table.
func (n *Inspected) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s at a threshold of %.4g, for %.4g %% false positives\n", n.Detector, n.Threshold, 100*n.Rate)
	fmt.Fprintf(&b, "  clean inputs: accuracy %v without the detector, accepted and right %v, rejected %v %s\n", n.Accuracy, n.Clean,
		n.Rejected, n.Rejected.Interval())
	for _, a := range n.Attacks {
		kind := "naive"
		if a.Adaptive {
			kind = "adaptive"
		}
		fmt.Fprintf(&b, "  %s, %s: success %v without the detector, detected %v %s, evades %v", a.Attack, kind, a.Success, a.Detected,
			a.Detected.Interval(), a.Evaded)
		if a.ROC != nil {
			fmt.Fprintf(&b, "; %v", a.ROC)
		}
		b.WriteString("\n")
	}
	fmt.Fprintf(&b, "  robust with rejection: %v %s", n.Robust, n.Robust.Interval())
	return b.String()
}

// Curve measures what becomes of examples under an attack at several radii: of the clean inputs at radius 0, of what
// the attack returns at others, which is the clean input where it fails. The attack is run on the classifier without
// the detector, as one that does not know of it; one that does, such as [Screened.Adaptive], evades it all the same.
func (s *Screened) Curve(
	ctx context.Context, settings advlib.Settings, e *advlib.Examples, radii []float64, at func(radius float64) advlib.Attack,
) ([]RejectionPoint, error) {
	behind, err := s.Classifier()
	if err != nil {
		return nil, err
	}
	var points []RejectionPoint
	for _, ε := range radii {
		if !(ε >= 0) || math.IsInf(ε, 1) {
			return points, fmt.Errorf("detect: %v: the radius %g is not a finite number of at least 0", s, ε)
		}
		x := e.X
		if ε > 0 {
			r, err := settings.Run(ctx, behind, e, at(ε))
			if err != nil {
				return points, err
			}
			x = r.Adversarial
		}
		z, scores, err := s.ask(ctx, advlib.Count(s.of), x)
		if err != nil {
			return points, err
		}
		p := RejectionPoint{Radius: ε}
		p.Right.Of, p.Wrong.Of, p.Rejected.Of = e.Len(), e.Len(), e.Len()
		for i, y := range e.Y {
			switch {
			case s.flags(scores[i]):
				p.Rejected.Count++
			case classOf(z[i]) == y:
				p.Right.Count++
			default:
				p.Wrong.Count++
			}
		}
		points = append(points, p)
	}
	return points, nil
}

// Certified returns a certifier of the screened classifier, for [advlib.Evaluate]: an example is certified if its clean
// input is accepted, and the given certifier proves of the classifier without the detector that no input in the ball is
// misclassified. Whether inputs in the ball are rejected does not matter to that.
func (s *Screened) Certified(by advlib.Certifier) advlib.VictimCertifier { return certified{s, by} }

type certified struct {
	screen *Screened
	by     advlib.Certifier
}

// String implements [advlib.Certifier].
func (c certified) String() string { return fmt.Sprintf("%v, behind %v", c.by, c.screen) }

// Certify implements [advlib.Certifier]: it speaks of the screened classifier only.
func (c certified) Certify(_ context.Context, v *advlib.Classifier, _ *advlib.Examples, _ advlib.Ball) ([]bool, error) {
	return nil, fmt.Errorf("%v speaks of %s, not of %s", c, c.screen.Name(), v.Name())
}

// CheckVictim implements [advlib.VictimCertifier].
func (c certified) CheckVictim(v advlib.Victim, ball advlib.Ball) error {
	if v != advlib.Victim(c.screen) {
		return fmt.Errorf("%v speaks of %s, not of %s", c, c.screen.Name(), v.Name())
	}
	of, err := c.screen.Classifier()
	if err != nil {
		return err
	}
	if check, ok := c.by.(interface {
		Check(c *advlib.Classifier, ball advlib.Ball) error
	}); ok {
		return check.Check(of, ball)
	}
	return nil
}

// CertifyVictim implements [advlib.VictimCertifier].
func (c certified) CertifyVictim(ctx context.Context, v advlib.Victim, e *advlib.Examples, ball advlib.Ball) ([]bool, error) {
	if err := c.CheckVictim(v, ball); err != nil {
		return nil, err
	}
	of, err := c.screen.Classifier()
	if err != nil {
		return nil, err
	}
	proven, err := c.by.Certify(ctx, of, e, ball)
	if err != nil {
		return nil, err
	}
	scores, err := c.screen.Scores(ctx, e.X)
	if err != nil {
		return nil, err
	}
	all := make([]bool, len(proven))
	for i := range all {
		all[i] = proven[i] && !c.screen.flags(scores[i])
	}
	return all, nil
}
