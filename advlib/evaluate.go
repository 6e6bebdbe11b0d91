package advlib

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"time"

	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
)

// Certifier proves that no perturbation in a ball changes a prediction. Package certify has some.
type Certifier interface {
	// String names the method.
	String() string
	// Certify tells for each example whether its label is proven for the whole ball around it, inside the box.
	// False means unknown.
	Certify(ctx context.Context, c *Classifier, e *Examples, ball Ball) ([]bool, error)
}

// ErrContradiction is returned, together with the report, when an attack broke an example that was certified: one of
// the two is wrong, and neither number can be trusted.
var ErrContradiction = errors.New("advlib: an attack succeeded inside a certified ball")

// Evaluate measures attacks and certificates on the same examples under default settings; see [Settings.Evaluate].
func Evaluate(ctx context.Context, c *Classifier, e *Examples, attacks []Attack, certifiers ...Certifier) (*Report, error) {
	return Settings{}.Evaluate(ctx, c, e, attacks, certifiers...)
}

// MustEvaluate is [Evaluate] for notebooks, examples and tests: it panics on an error.
func MustEvaluate(ctx context.Context, c *Classifier, e *Examples, attacks []Attack, certifiers ...Certifier) *Report {
	return must(Evaluate(ctx, c, e, attacks, certifiers...))
}

// MustEvaluate is [Settings.Evaluate] for notebooks, examples and tests: it panics on an error.
func (s Settings) MustEvaluate(ctx context.Context, c *Classifier, e *Examples, attacks []Attack, certifiers ...Certifier) *Report {
	return must(s.Evaluate(ctx, c, e, attacks, certifiers...))
}

// Evaluate runs attacks and certifiers on the same examples and reports, for each ball among the attacks, the robust
// accuracy under each attack, under the worst case over attacks example by example, and the certified accuracy, with
// the clean accuracy and a check of the gradients. All arguments are checked before anything is computed.
//
// When ctx is done, the report of the attacks finished so far is returned together with ctx.Err().
func (s Settings) Evaluate(ctx context.Context, c *Classifier, e *Examples, attacks []Attack, certifiers ...Certifier) (*Report, error) {
	if err := s.checkEvaluate(c, e, attacks); err != nil {
		return nil, fmt.Errorf("advlib: evaluate: %w", err)
	}
	start := time.Now()
	report, err := newReport(s, c, e)
	if err != nil {
		return nil, fmt.Errorf("advlib: evaluate: %w", err)
	}
	for _, a := range attacks {
		res, err := s.Run(ctx, c, a, e)
		if err != nil {
			report.Seconds = time.Since(start).Seconds()
			return report, err
		}
		report.add(res)
	}
	for _, ball := range report.Balls() {
		for _, method := range certifiers {
			began := time.Now()
			proof, err := prove(ctx, method, c, e, ball)
			if err != nil {
				return report, fmt.Errorf("advlib: evaluate: %v: %w", method, err)
			}
			if len(proof.Certified) != e.Len() || len(proof.Margin) != 0 && len(proof.Margin) != e.Len() {
				return report, fmt.Errorf("advlib: evaluate: %v returned %d verdicts and %d margins for %d examples: this is a mistake in the certifier", method, len(proof.Certified), len(proof.Margin), e.Len())
			}
			report.Certificates = append(report.Certificates, Certificate{Method: method.String(), Norm: ball.Norm.String(), Radius: ball.Radius,
				Certified: proof.Certified, Margin: proof.Margin, Rounding: proof.Rounding, Slack: proof.Slack, Seconds: time.Since(began).Seconds()})
		}
	}
	if report.Sanity, err = s.sanity(ctx, c, e, report); err != nil {
		return report, fmt.Errorf("advlib: evaluate: the check of the gradients: %w", err)
	}
	report.Seconds = time.Since(start).Seconds()
	s.tell()
	return report, report.contradiction()
}

// prove returns the certifier's proof, or its verdicts alone.
func prove(ctx context.Context, method Certifier, c *Classifier, e *Examples, ball Ball) (*Proof, error) {
	if p, ok := method.(Prover); ok {
		return p.Prove(ctx, c, e, ball)
	}
	certified, err := method.Certify(ctx, c, e, ball)
	return &Proof{Certified: certified}, err
}

func (s Settings) checkEvaluate(c *Classifier, e *Examples, attacks []Attack) error {
	if c == nil {
		return fmt.Errorf("the classifier is nil")
	}
	if len(attacks) == 0 {
		return fmt.Errorf("there are no attacks: give at least one, such as attack.PGD")
	}
	if err := e.check(c); err != nil {
		return err
	}
	for _, a := range attacks {
		if a == nil {
			return fmt.Errorf("one of the attacks is nil")
		}
		threat, err := a.Threat(c)
		if err == nil {
			err = threat.check()
		}
		if err == nil {
			_, err = threat.Goal.targets(e.Y, c.Classes())
		}
		if err != nil {
			return fmt.Errorf("%s: %w", a, err)
		}
	}
	return nil
}

// sanityExamples and sanitySteps keep the check of the gradients cheap beside any attack.
const (
	sanityExamples = 128
	sanitySteps    = 20
)

// zeroKey and ascendKey name the two graphs of the check.
type (
	zeroKey   struct{}
	ascendKey struct{}
)

// sanity looks at the gradients that the attacks were given: on how many examples is the gradient of the
// cross-entropy zero, and do 20 steps of sign ascent on the margin break every example when the whole box is allowed
// (Carlini et al. 2019, arXiv:1902.06705, section 5.2: an unbounded attack should reach 100 %).
func (s Settings) sanity(ctx context.Context, c *Classifier, e *Examples, report *Report) (Sanity, error) {
	var rows []int
	for i := range e.Y {
		if report.Predicted[i] == e.Y[i] && len(rows) < sanityExamples {
			rows = append(rows, i)
		}
	}
	sanity := Sanity{ZeroGradient: Rate{Of: len(rows)}, Unbounded: Rate{Of: len(rows)}}
	if len(rows) == 0 {
		return sanity, nil
	}
	t, box := NewTarget(c), c.Box()
	zero := t.Compile(zeroKey{}, func(m *Model, in []*Node) []*Node {
		x := in[0]
		return []*Node{Linf.Of(m.Gradient(CrossEntropy.Of(m.Logits(x), Aim{Label: in[1]}), x))}
	})
	ascend := t.Compile(ascendKey{}, func(m *Model, in []*Node) []*Node {
		x := in[0]
		z := m.Logits(x)
		g := m.Gradient(Margin.Of(z, Aim{Label: in[1]}), x)
		return []*Node{box.Clip(Add(x, MulScalar(Sign(g), box.Width()/10))), ArgMax(z, -1)}
	})
	size := Bucket(len(rows))
	x := TakeRows(e.X, rows, size)
	y := TakeRows(tensors.FromFlatDataAndDimensions(e.Y, len(e.Y)), rows, size)
	sizes, err := zero.Run(len(rows), x, y)
	if err != nil {
		return sanity, err
	}
	for _, g := range tensors.MustCopyFlatData[float32](sizes[0])[:len(rows)] {
		if g == 0 {
			sanity.ZeroGradient.Count++
		}
	}
	Free(sizes[0])
	broken := make([]bool, len(rows))
	for range sanitySteps {
		if err := ctx.Err(); err != nil {
			return sanity, err
		}
		out, err := ascend.Run(len(rows), x, y)
		if err != nil {
			return sanity, err
		}
		for i, class := range tensors.MustCopyFlatData[int32](out[1])[:len(rows)] {
			broken[i] = broken[i] || class != e.Y[rows[i]]
		}
		Free(x, out[1])
		x = out[0]
	}
	for _, b := range broken {
		if b {
			sanity.Unbounded.Count++
		}
	}
	Free(x, y)
	return sanity, nil
}

// contradiction returns ErrContradiction with the first example that is both certified and broken.
func (r *Report) contradiction() error {
	for _, cert := range r.Certificates {
		for _, a := range r.Attacks {
			if a.Norm != cert.Norm {
				continue
			}
			for i := range r.Label {
				if cert.Certified[i] && a.Success[i] && float64(a.Distance[i]) <= cert.Radius && r.Predicted[i] == r.Label[i] && !a.Targeted {
					return fmt.Errorf("%w: %s certifies example %d for %s ≤ %g, %s changed its class at distance %g", ErrContradiction, cert.Method, i, cert.Norm, cert.Radius, a.Name, float64(a.Distance[i]))
				}
			}
		}
	}
	return nil
}

// Distance is a perturbation's norm that survives JSON: +Inf, where an attack failed, is written as null.
type Distance float64

// MarshalJSON writes +Inf as null, and all other values exactly: a distance rounded up would leave its ball.
func (d Distance) MarshalJSON() ([]byte, error) {
	if math.IsInf(float64(d), 0) || math.IsNaN(float64(d)) {
		return []byte("null"), nil
	}
	return strconv.AppendFloat(nil, float64(d), 'g', -1, 64), nil
}

// UnmarshalJSON reads null as +Inf.
func (d *Distance) UnmarshalJSON(text []byte) error {
	if string(text) == "null" {
		*d = Distance(math.Inf(1))
		return nil
	}
	return json.Unmarshal(text, (*float64)(d))
}
