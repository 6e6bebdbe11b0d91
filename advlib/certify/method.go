package certify

import (
	"context"
	"fmt"
	"math"

	"advlab/advlib"
)

// kind is how intervals and the last bound are found.
type kind int

const (
	ibp kind = iota
	crownIBP
	crown
)

// Method is a way to bound a network's outputs, and an [advlib.Certifier]. The zero Method is [IBP], for float32.
type Method struct {
	kind       kind
	line       LowerLine
	best       bool
	intersect  bool
	rounding   Rounding
	withoutBox bool
	// tuned tells that slopes below ReLUs are chosen for each bound, as alpha says.
	tuned bool
	alpha Alpha
	// graphs tells that small networks are bounded by graphs too, as others: for tests of these.
	graphs bool
}

// The methods, from fast and loose to slow and tight. Bounds by the slower ones are not tighter in each case: all hold,
// so the best one may be taken, as [Method.WithBestLine] does.
var (
	// IBP is interval bound propagation (Gowal et al. 2018, arXiv:1810.12715).
	IBP = Method{}
	// CROWNIBP is a backward pass of linear bounds over intermediate intervals by IBP (Zhang et al. 2020,
	// arXiv:1906.06316), with adaptive lower slopes.
	CROWNIBP = Method{kind: crownIBP}
	// CROWN takes intermediate intervals from backward passes too (Zhang et al. 2018, arXiv:1811.00866), with adaptive
	// lower slopes.
	CROWN = Method{kind: crown}
	// AlphaCROWN is CROWN with the slopes below ReLUs tuned for each bound (α-CROWN, Xu et al. 2021, arXiv:2011.13824), as
	// [Alpha] says by default. It is never below CROWN.
	AlphaCROWN = CROWN.WithAlpha(Alpha{})
)

// WithLine returns the method with another line below ReLUs. IBP has none, and is returned as it is.
func (m Method) WithLine(l LowerLine) Method {
	if m.kind != ibp {
		m.line, m.best = l, false
	}
	return m
}

// WithBestLine returns the method that takes, for each row, the best of all lower lines and of IBP, at about five times
// the cost.
func (m Method) WithBestLine() Method {
	if m.kind != ibp {
		m.line, m.best = Adaptive, true
	}
	return m
}

// WithIBP returns CROWN with intermediate intervals that are the intersection of its own and IBP's, at no further cost.
// Other methods are returned as they are.
func (m Method) WithIBP() Method {
	m.intersect = m.kind == crown
	return m
}

// WithAlpha returns CROWN with slopes below ReLUs that are tuned for each bound, beginning with those of the method's
// line. Other methods are returned as they are.
func (m Method) WithAlpha(a Alpha) Method {
	if m.kind == crown {
		m.tuned, m.alpha = true, a
	}
	return m
}

// In returns the method for another arithmetic of the deployed model than float32.
func (m Method) In(r Rounding) Method {
	m.rounding = r
	return m
}

// Rounding returns the arithmetic of which the bounds speak.
func (m Method) Rounding() Rounding { return m.rounding }

// WithoutBox returns the method for plain L1 and L2 balls, which may lie partly outside of the box of the inputs, as
// auto_LiRPA has it. It proves less: no attack can leave the box. Linf balls are always cut by the box.
func (m Method) WithoutBox() Method {
	m.withoutBox = true
	return m
}

// String returns for example "CROWN-IBP", or "CROWN ∩ IBP (zero line, real arithmetic)".
func (m Method) String() string {
	name := [...]string{"IBP", "CROWN-IBP", "CROWN"}[m.kind]
	if m.tuned {
		name = "α-" + name
	}
	if m.intersect {
		name += " ∩ IBP"
	}
	var about []string
	if m.alpha != (Alpha{}) {
		about = append(about, m.alpha.String())
	}
	switch {
	case m.best:
		about = append(about, "best line")
	case m.line != Adaptive:
		about = append(about, m.line.String()+" line")
	}
	if m.withoutBox {
		about = append(about, "without box")
	}
	if m.graphs {
		about = append(about, "by graphs")
	}
	switch m.rounding {
	case Float32AnyOrder:
	case RealArithmetic:
		about = append(about, "real arithmetic")
	default:
		about = append(about, m.rounding.String())
	}
	for i, s := range about {
		if i == 0 {
			name += " (" + s
		} else {
			name += ", " + s
		}
		if i == len(about)-1 {
			name += ")"
		}
	}
	return name
}

var _ advlib.Prover = Method{}

// Check refuses a model with operations that cannot be bounded, and a ball that is none or of a norm without bounds.
func (m Method) Check(c *advlib.Classifier, ball advlib.Ball) error {
	if err := ball.Check(); err != nil {
		return err
	}
	if _, ok := ball.Norm.(advlib.ConvexNorm); !ok {
		return errNoBounds(ball)
	}
	_, err := of(c)
	return err
}

// Certify tells for each example whether its label is proven for the whole ball around it: whether the lower bounds of
// all margins are above 0. Its arguments and the model's operations are checked before anything is computed.
func (m Method) Certify(ctx context.Context, c *advlib.Classifier, e *advlib.Examples, ball advlib.Ball) ([]bool, error) {
	proof, err := m.Prove(ctx, c, e, ball)
	if err != nil {
		return nil, err
	}
	return proof.Certified, nil
}

// Prove returns what Certify does, with margins, the arithmetic of which they speak, and what rounding took.
// [AlphaCROWN] leaves a margin alone once it is above 0; [Margins] has what it can reach.
func (m Method) Prove(ctx context.Context, c *advlib.Classifier, e *advlib.Examples, ball advlib.Ball) (*advlib.Proof, error) {
	a, err := m.margins(ctx, c, e, ball, true)
	if err != nil {
		return nil, m.wrap("margins", err)
	}
	p := &advlib.Proof{Certified: make([]bool, len(a.Lower)), Margin: make([]advlib.Bound, len(a.Lower)), Rounding: m.rounding.String()}
	for i, row := range a.Lower {
		least := math.Inf(1)
		for s, lower := range row {
			least = min(least, lower) // NaN stays NaN
			if v := a.Slack[i][s]; v > p.Slack && !math.IsInf(v, 1) {
				p.Slack = v
			}
		}
		p.Certified[i], p.Margin[i] = least > 0, advlib.Bound(least)
	}
	return p, nil
}

// Margins returns for each example the K−1 lower bounds of logit_y − logit_j over the ball, j ≠ y in increasing order;
// y is the label. -Inf means that nothing could be shown.
func Margins(ctx context.Context, c *advlib.Classifier, e *advlib.Examples, ball advlib.Ball, m Method) ([][]float64, error) {
	a, err := m.margins(ctx, c, e, ball, false)
	if err != nil {
		return nil, m.wrap("margins", err)
	}
	return a.Lower, nil
}

// margins bounds them; with positive, more than 0 is enough.
func (m Method) margins(ctx context.Context, c *advlib.Classifier, e *advlib.Examples, ball advlib.Ball, positive bool) (*Answer, error) {
	n, q, err := m.query(c, e, ball)
	if err != nil {
		return nil, err
	}
	if positive {
		q.Enough = make([]float64, c.Classes()-1)
	}
	for _, y := range e.Y {
		q.Rows = append(q.Rows, MarginRows(int(y), c.Classes()))
	}
	return n.bound(ctx, q, m)
}

// Bounds returns for each example bounds of its K logits over the ball: lower[i][k] ≤ f_k(x') ≤ upper[i][k] for all x'
// in the ball around example i. Infinite ones mean that nothing could be shown. Differences of these are looser than
// [Margins].
func Bounds(ctx context.Context, c *advlib.Classifier, e *advlib.Examples, ball advlib.Ball, m Method) (lower, upper [][]float64,
	err error) {
	n, q, err := m.query(c, e, ball)
	if err != nil {
		return nil, nil, m.wrap("bounds", err)
	}
	K := c.Classes()
	q.Rows = [][][]float64{EachOutput(K)}
	a, err := n.bound(ctx, q, m)
	if err != nil {
		return nil, nil, m.wrap("bounds", err)
	}
	lower, upper = make([][]float64, len(a.Lower)), make([][]float64, len(a.Lower))
	for i, row := range a.Lower {
		lower[i], upper[i] = row[:K:K], row[K:]
		for k, v := range upper[i] {
			upper[i][k] = -v // max f_k = −min(−f_k)
		}
	}
	return lower, upper, nil
}

// query checks the arguments of a question about a classifier.
func (m Method) query(c *advlib.Classifier, e *advlib.Examples, ball advlib.Ball) (n *Network, q Query, err error) {
	if q.Regions, err = m.regions(c, e, ball); err != nil {
		return nil, q, err
	}
	n, err = of(c)
	return n, q, err
}

// regions checks the arguments of a question about a classifier, but whether it can be bounded.
func (m Method) regions(c *advlib.Classifier, e *advlib.Examples, ball advlib.Ball) (r Regions, err error) {
	if c == nil {
		return r, fmt.Errorf("the classifier is nil")
	}
	if err := ball.Check(); err != nil {
		return r, err
	}
	if err := e.Check(advlib.Spec{Name: c.Name(), Input: c.Input(), Box: c.Box(), Domain: c.Domain()}, c.Classes()); err != nil {
		return r, err
	}
	return Around(c, e, ball, m.withoutBox)
}

func (m Method) wrap(what string, err error) error {
	return fmt.Errorf("certify: %v: %s: %w", m, what, err)
}

// MarginRows are the rows e_y − e_j for all classes j ≠ y in increasing order: the margins of label y.
func MarginRows(y, classes int) (rows [][]float64) {
	for j := range classes {
		if j != y {
			row := make([]float64, classes)
			row[y], row[j] = 1, -1
			rows = append(rows, row)
		}
	}
	return rows
}

// EachOutput are the rows e_k of all outputs, and −e_k after them: lower bounds of these are −1 times upper bounds of
// the outputs.
func EachOutput(outputs int) (rows [][]float64) {
	for _, sign := range []float64{1, -1} {
		for k := range outputs {
			row := make([]float64, outputs)
			row[k] = sign
			rows = append(rows, row)
		}
	}
	return rows
}
