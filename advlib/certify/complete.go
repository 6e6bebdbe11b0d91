package certify

import (
	"context"
	"fmt"
	"math"
	"strings"

	"github.com/gomlx/gomlx/core/tensors"

	"advlab/advlib"
)

// Complete is [Verify] as an [advlib.Certifier], with as much time for each example as the [Options] say: it proves
// what bounds alone leave open, and what it falsifies counts for the report's robust accuracy as if an attack had found
// it.
//
//	advlib.Evaluate(ctx, clf, examples, attacks, certify.CROWN, certify.Complete{Timeout: 10 * time.Second})
//
// What is decided within a time limit depends on the machine; what is decided does not change.
type Complete Options

var _ advlib.Prover = Complete{}

// String returns for example "complete (10s)", or "complete (α-CROWN, 1m0s)".
func (v Complete) String() string {
	o := Options(v)
	var about []string
	if m := o.Method; m.kind != ibp && m.String() != CROWN.String() {
		about = append(about, m.String())
	} else if m.rounding != Float32AnyOrder {
		about = append(about, m.rounding.String())
	}
	switch {
	case o.Timeout < 0:
		about = append(about, "no time limit")
	case o.Timeout == 0:
		about = append(about, defaultTimeout.String())
	default:
		about = append(about, o.Timeout.String())
	}
	if o.Cells > 0 {
		about = append(about, fmt.Sprintf("%d boxes", o.Cells))
	}
	return "complete (" + strings.Join(about, ", ") + ")"
}

// Check refuses options, balls and models before anything is computed.
func (v Complete) Check(c *advlib.Classifier, ball advlib.Ball) error {
	o, err := Options(v).checked()
	if err != nil {
		return err
	}
	return o.Method.Check(c, ball)
}

// Certify tells which examples are verified.
func (v Complete) Certify(ctx context.Context, c *advlib.Classifier, e *advlib.Examples, ball advlib.Ball) ([]bool, error) {
	proof, err := v.Prove(ctx, c, e, ball)
	if err != nil {
		return nil, err
	}
	return proof.Certified, nil
}

// Prove is Certify with margins and the distances of counterexamples.
func (v Complete) Prove(ctx context.Context, c *advlib.Classifier, e *advlib.Examples, ball advlib.Ball) (*advlib.Proof, error) {
	r, err := Verify(ctx, c, e, ball, Options(v))
	if err != nil {
		return nil, err
	}
	flat := tensors.MustCopyFlatData[float32](e.X)
	size := len(flat) / e.Len()
	p := &advlib.Proof{Rounding: v.Method.rounding.String()}
	for i, one := range r.Decisions {
		p.Certified = append(p.Certified, one.Status == advlib.Verified)
		p.Margin = append(p.Margin, advlib.Bound(one.Bound))
		distance := math.Inf(1)
		if one.Status == advlib.Falsified {
			x := flat[i*size : (i+1)*size]
			at := make([]float32, size)
			for k, u := range one.Counterexample {
				at[k] = float32(u)
			}
			distance = c.Distance(ball.Norm, at, x)
		}
		p.Distance = append(p.Distance, advlib.Distance(distance))
	}
	return p, nil
}
