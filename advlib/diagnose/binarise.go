package diagnose

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"

	"advlab/advlib"
	"advlab/advlib/report"
)

// The binarisation test of Zimmermann et al. (2022), arXiv:2206.13991: the last linear layer is replaced by
// one that tells points inside of the ball around an example from a single point at its border. So an adversarial
// example is known to be there, and an attack that does not find it is too weak for this model.
//
// The authors refit and attack for one example at a time. Here all examples are attacked at once: the read-out that a
// point is given is that of the nearest original, of which balls that do not overlap leave no doubt. Those that overlap
// go into another round.
const (
	innerPoints = 999  // beside the original
	innerShare  = 0.95 // η: of the radius, for points inside
	leastFound  = 0.95
	mostLuck    = 0.5
)

// plant is one example with its read-out: w·features + b > 0 is class 1, which only points near the border reach. Far
// is a point of that class beyond the ball, where one was planted.
type plant struct {
	row int
	w   []float32
	b   float32
	far []float32
}

// Planted is what came of planting points: of the victim as it is, and, of one that rejects, with its detector
// inverted.
type Planted struct {
	// Inverted says that the detector accepted what it rejects, and the other way round.
	Inverted bool `json:"inverted"`
	// Found are the planted points that the attack found, Random those that random search found with as many evaluations.
	Found  report.Rate `json:"found"`
	Random report.Rate `json:"random"`
	// Unplanted counts the examples around which nothing could be planted.
	Unplanted int `json:"unplanted"`
}

// binarisation attacks points that were planted; see screened.go for victims that reject.
func binarisation(ctx context.Context, x *examiner, f *Finding) error {
	x, sides, why := x.readable()
	if why != nil {
		return f.notApplicable("%v", why)
	}
	width, none := x.features()
	if none != nil {
		return f.notApplicable("%v", none)
	}
	for _, s := range sides {
		p, err := x.bury(ctx, width, s)
		if bad := (*unmovable)(nil); errors.As(err, &bad) {
			f.Planted = nil
			return f.notApplicable("%v", bad)
		}
		if err != nil {
			return err
		}
		f.Planted = append(f.Planted, p)
	}
	f.dug(x.Points)
	return nil
}

// readable returns a diagnosis of the classifier whose last layer can be replaced, and the sides of its detector from
// which points are planted, or an error that says why there is none.
func (x *examiner) readable() (y *examiner, sides []side, why error) {
	if x.victim.Signature().Limits().Encoded() {
		return nil, nil, fmt.Errorf("a domain says itself which values its features may have")
	}
	if threat, err := x.Attack.Threat(x.victim); err != nil || threat.Minimal() {
		return nil, nil, fmt.Errorf("%v looks for a smallest change: its result is no statement on a ball", x.Attack)
	}
	if by, ok := x.victim.(Rereader); ok {
		c, err := by.Classifier()
		if err == nil {
			err = c.Differentiable()
		}
		if err != nil {
			return nil, nil, fmt.Errorf("behind the detector: %w", err)
		}
		z := *x
		z.white = c
		return &z, []side{{by: by}, {by: by, inverted: true}}, nil
	}
	switch {
	case x.white == nil:
		return nil, nil, fmt.Errorf("%s only answers: it has no graph, and is no diagnose.Rereader", x.victim.Name())
	case x.blind != nil:
		return nil, nil, fmt.Errorf("there is no gradient to follow: see gradients")
	}
	return x, []side{{}}, nil
}

// bury plants points around examples, and lets the attack look for them.
func (x *examiner) bury(ctx context.Context, width int, s side) (p Planted, err error) {
	for _, hard := range []float64{0.5, 0.9} { // where between the points inside and the planted one the boundary lies
		p = Planted{Inverted: s.inverted}
		for _, rows := range x.apart(x.Points) {
			plants, err := x.plant(ctx, rows, width, hard, s)
			if err != nil {
				return p, err
			}
			p.Unplanted += len(rows) - len(plants)
			if len(plants) == 0 {
				continue
			}
			found, lucky, err := x.dig(ctx, plants, hard, s)
			if err != nil {
				return p, err
			}
			p.Found, p.Random = p.Found.Plus(found), p.Random.Plus(lucky)
		}
		if p.Found.Of == 0 || p.Random.Value() <= mostLuck {
			break
		}
	}
	return p, nil
}

// String returns for example "ASR 100.0 % of 64, random search with as many evaluations 0.0 %".
func (p Planted) String() string {
	of := map[bool]string{true: "with the detector inverted: "}[p.Inverted]
	if p.Found.Of == 0 {
		return fmt.Sprintf("%snothing could be planted on %d examples", of, p.Unplanted)
	}
	text := fmt.Sprintf("%sASR %v of %d, random search with as many evaluations %v", of, p.Found, p.Found.Of, p.Random)
	if p.Unplanted > 0 {
		text += fmt.Sprintf("; on %d others nothing could be planted", p.Unplanted)
	}
	return text
}

// dug judges what was found of all that was planted around so many examples: the attack must pass with the detector as
// it is and inverted.
func (f *Finding) dug(points int) {
	var said, without []string
	least, weak := 1., false
	var s Series
	for _, p := range f.Planted {
		said = append(said, p.String())
		switch {
		case p.Found.Of == 0 && len(f.Planted) == 1:
			without = append(without, fmt.Sprintf("the last linear layer can tell no planted point from those inside, on none of %d examples",
				p.Unplanted))
			continue
		case p.Found.Of == 0 && p.Inverted:
			without = append(without, "no point at the border is rejected that the last linear layer could tell from those inside")
			continue
		case p.Found.Of == 0:
			without = append(without, "no point at the border is accepted that the last linear layer could tell from those inside")
			continue
		case len(f.Planted) > 1 && float64(p.Found.Of) < fewest*float64(points):
			without = append(without, "too few examples have such points for a verdict")
			continue
		case p.Found.Value() >= leastFound && p.Random.Value() > mostLuck:
			without = append(without, "what random search finds says nothing of the attack")
		}
		least, weak = math.Min(least, p.Found.Value()), weak || p.Found.Value() < leastFound
		labels := []string{"by the attack", "by random search, as many evaluations"}
		if p.Inverted { // the drawing cuts what is longer
			labels = []string{"inverted: by the attack", "inverted: random search, as many evaluations"}
		}
		for k, r := range []report.Rate{p.Found, p.Random} {
			lo, hi := r.Wilson()
			s.bar(labels[k], 100*r.Value())
			s.Low, s.High = append(s.Low, 100*lo), append(s.High, 100*hi)
		}
	}
	text := strings.Join(said, "; ")
	if len(without) > 0 && !weak {
		f.Measured = text
		if len(s.Y) == 0 {
			_ = f.notApplicable("%s", strings.Join(without, "; "))
			return
		}
		_ = f.notApplicable("%s: %s", text, strings.Join(without, "; "))
		return
	}
	f.judge(-least, -leastFound, "%s", text)
	f.Value = least
	f.Picture = bars("planted points found (%)", s).at(100*leastFound, "at least, by the attack")
}

// penultimate returns what the last linear layer is given, [n, F], or an error that says why there is none. Z are the
// logits of x.
func penultimate(z, x *Node) (*Node, error) {
	reaches := map[*Node]bool{}
	var depends func(n *Node) bool
	depends = func(n *Node) bool {
		if n == x {
			return true
		}
		if d, met := reaches[n]; met {
			return d
		}
		d := false
		for _, in := range n.Inputs() {
			d = depends(in) || d
		}
		reaches[n] = d
		return d
	}
	n := z
	for {
		var on []*Node
		for _, in := range n.Inputs() {
			if depends(in) {
				on = append(on, in)
			}
		}
		switch n.Type() {
		case NodeTypeAdd, NodeTypeSub, NodeTypeMul, NodeTypeDiv, NodeTypeNeg, NodeTypeReshape, NodeTypeBroadcastInDim, NodeTypeIdentity,
			NodeTypeConvertDType:
			if len(on) != 1 {
				return nil, fmt.Errorf("the logits are not made by one last linear layer, but by %v of two things", n.Type())
			}
			n = on[0]
		case NodeTypeDotGeneral, NodeTypeFusedDense:
			if len(on) != 1 || on[0].Rank() < 2 {
				return nil, fmt.Errorf("the last layer is not linear")
			}
			if on[0] == x || !nonlinear(on[0], x) {
				return nil, fmt.Errorf("the model is linear: it has no features before its last layer")
			}
			return Reshape(on[0], on[0].Shape().Dimensions[0], -1), nil
		default:
			return nil, fmt.Errorf("the logits come from %v, not from a linear layer", n.Type())
		}
	}
}

// nonlinear tells whether anything but reshaping lies between x and n.
func nonlinear(n, x *Node) bool {
	for n != x {
		if n.Type() != NodeTypeReshape || len(n.Inputs()) != 1 {
			return true
		}
		n = n.Inputs()[0]
	}
	return false
}

// features returns how many features there are before the last layer, or an error that says why there are none.
func (x *examiner) features() (width int, none error) {
	err := x.white.Trace(func(g *Graph) {
		in := Parameter(g, "x", shapes.Make(dtypes.Float32, append([]int{2}, x.white.Input()...)...))
		var f *Node
		if f, none = penultimate(x.white.LogitsGraph(in), in); none == nil {
			width = f.Shape().Dimensions[1]
		}
	})
	if err != nil {
		return 0, err
	}
	return width, none
}

type featureKey struct{}

// featuresOf returns the features of points [n, d...], flat.
func (x *examiner) featuresOf(ctx context.Context, points *tensors.Tensor, width int) ([]float64, error) {
	step := advlib.Count(x.white).Compile(featureKey{}, func(m *advlib.Model, in []*Node) []*Node {
		f, err := penultimate(m.Logits(in[0]), in[0])
		if err != nil {
			panic(err)
		}
		return []*Node{f}
	})
	n := points.Shape().Dimensions[0]
	var all []float64
	for lo := 0; lo < n; lo += 512 {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		var rows []int
		for i := lo; i < min(lo+512, n); i++ {
			rows = append(rows, i)
		}
		in := advlib.TakeRows(points, rows, advlib.Bucket(len(rows)))
		out, err := step.Run(len(rows), in)
		advlib.Free(in)
		if err != nil {
			return nil, err
		}
		tensors.MustConstFlatData(out[0], func(flat []float32) {
			for _, v := range flat[:len(rows)*width] {
				all = append(all, float64(v))
			}
		})
		advlib.Free(out...)
	}
	return all, nil
}

// apart returns rows whose balls do not overlap, at most as many as are asked for in all, in rounds.
func (x *examiner) apart(most int) [][]int {
	flat := tensors.MustCopyFlatData[float32](x.on.X)
	size := len(flat) / x.on.Len()
	at := func(i int) []float32 { return flat[i*size : (i+1)*size] }
	var rounds [][]int
rows:
	for i := range min(most, x.on.Len()) {
	next:
		for r, round := range rounds {
			for _, j := range round {
				if x.Ball.Norm.Distance(at(i), at(j)) <= 2.01*x.Ball.Radius {
					continue next
				}
			}
			rounds[r] = append(round, i)
			continue rows
		}
		rounds = append(rounds, []int{i})
	}
	return rounds
}

// plant returns the examples among rows where a linear layer tells a planted point from those inside. Hard is where
// between them its boundary lies. Behind a detector, the planted point, and one beyond the ball, are of its side.
func (x *examiner) plant(ctx context.Context, rows []int, width int, hard float64, s side) ([]plant, error) {
	flat := tensors.MustCopyFlatData[float32](x.on.X)
	size := len(flat) / x.on.Len()
	limits := x.victim.Signature().Limits()
	var near, beyond [][]float32
	if s.by != nil {
		var err error
		if near, err = x.choose(ctx, rows, s, 0); err != nil {
			return nil, err
		}
		if beyond, err = x.choose(ctx, rows, s, 1); err != nil {
			return nil, err
		}
	}
	var plants []plant
	points := make([]float32, (innerPoints+3)*size)
	for k, row := range rows {
		original := flat[row*size : (row+1)*size]
		r := rand.New(rand.NewPCG(x.Seed, x.on.Key(row)^0x9e3779b97f4a7c15))
		inner := *x
		inner.Ball.Radius *= innerShare
		for k := range innerPoints {
			inner.sample(r, limits, original, points[k*size:(k+1)*size], true)
		}
		copy(points[innerPoints*size:], original)
		at := points[(innerPoints+1)*size:]
		p, n := plant{row: row}, innerPoints+2
		switch {
		case s.by == nil:
			x.border(r, limits, original, at[:size])
		case near[k] == nil: // there is none of that side
			continue
		default:
			copy(at, near[k])
			if p.far = beyond[k]; p.far != nil {
				copy(at[size:], p.far)
				n++
			}
		}
		t := tensors.FromFlatDataAndDimensions(points[:n*size], append([]int{n}, x.on.Shape()...)...)
		f, err := x.featuresOf(ctx, t, width)
		advlib.Free(t)
		if err != nil {
			return nil, err
		}
		w, lo, hi, ok := separate(f, width, n-innerPoints-1)
		if !ok && p.far != nil { // the one in the ball matters more
			p.far = nil
			w, lo, hi, ok = separate(f[:(innerPoints+2)*width], width, 1)
		}
		if !ok {
			continue
		}
		p.w, p.b = make([]float32, width), float32(-(lo+hard*(hi-lo))/(hi-lo))
		for j, v := range w {
			p.w[j] = float32(v / (hi - lo))
		}
		plants = append(plants, p)
	}
	return plants, nil
}

// border draws a point at the border of the ball: in Linf a corner, else one of length ε, as far as the box lets it.
func (x *examiner) border(r *rand.Rand, limits advlib.Limits, original, point []float32) {
	if x.Ball.Norm == advlib.Linf {
		x.sample(r, limits, original, point, false)
		return
	}
	length := 0.
	for length == 0 {
		x.Ball.Norm.(advlib.ConvexNorm).Sample(r, point)
		length = x.Ball.Norm.Distance(point, make([]float32, len(point)))
	}
	for j := range point {
		point[j] = float32(limits.Clamp(j, float64(original[j])+x.Ball.Radius*float64(point[j])/length, original[j]))
	}
	x.Ball.Pull(point, original)
}

// separate finds a direction in which the last, one or two, of the rows of width features lie beyond all others: w·f is
// at most lo for these and at least hi for the last. It is the one of a linear machine with a hard margin, found by
// coordinate ascent in the dual (Hsieh et al. 2008), on features moved to the mean of the others and divided by their
// largest deviation.
func separate(f []float64, width, last int) (w []float64, lo, hi float64, ok bool) {
	rows := len(f) / width
	n := rows - last
	mean, scale := make([]float64, width), 0.
	for i := range n {
		for j := range width {
			mean[j] += f[i*width+j] / float64(n)
		}
	}
	z := make([]float64, len(f))
	for i := range z {
		z[i] = f[i] - mean[i%width]
		scale = math.Max(scale, math.Abs(z[i]))
	}
	if scale == 0 {
		return nil, 0, 0, false
	}
	norms := make([]float64, rows)
	for i := range z {
		z[i] /= scale
		norms[i/width] += z[i] * z[i]
	}
	w = make([]float64, width)
	bias := 0.
	alpha := make([]float64, rows)
	// Most rows never hold the direction back: after a pass over all, those that do are gone over until they are settled.
	pass := func(rows []int) (moved float64) {
		for _, i := range rows {
			sign := -1.
			if i >= n {
				sign = 1
			}
			row := z[i*width : (i+1)*width]
			margin := sign * (dot(w, row) + bias)
			step := math.Max(alpha[i]+(1-margin)/(norms[i]+1), 0) - alpha[i]
			if step == 0 {
				continue
			}
			alpha[i] += step
			moved = math.Max(moved, math.Abs(1-margin))
			for j, v := range row {
				w[j] += step * sign * v
			}
			bias += step * sign
		}
		return moved
	}
	all := make([]int, rows)
	for i := range all {
		all[i] = i
	}
	const settled = 1e-3
	for range 40 {
		if pass(all) < settled {
			break
		}
		holding := slices.DeleteFunc(slices.Clone(all), func(i int) bool { return alpha[i] == 0 })
		for range 200 {
			if pass(holding) < settled {
				break
			}
		}
	}
	lo, hi = math.Inf(-1), math.Inf(1)
	for j := range w {
		w[j] /= scale
	}
	for i := range n {
		lo = math.Max(lo, dot(w, f[i*width:(i+1)*width]))
	}
	for i := n; i < rows; i++ {
		hi = math.Min(hi, dot(w, f[i*width:(i+1)*width]))
	}
	return w, lo, hi, hi-lo > 1e-6*math.Max(1, math.Abs(hi))
}

func dot(a, b []float64) float64 {
	s := 0.
	for i, v := range a {
		s += v * b[i]
	}
	return s
}

// dig attacks the planted points, and searches for them at random with as many evaluations.
func (x *examiner) dig(ctx context.Context, plants []plant, hard float64, s side) (found, lucky advlib.Rate, err error) {
	rows := make([]int, len(plants))
	for i, p := range plants {
		rows[i] = p.row
	}
	on := x.on.Select(rows)
	defer advlib.Free(on.X)
	on.Y = make([]int32, len(rows)) // the originals are class 0
	on.Classes = []string{"inside", "planted"}
	c, err := x.binarised(plants, on, hard)
	if err != nil {
		return found, lucky, err
	}
	y := *x
	y.victim, y.on = c, on
	var hit []bool
	if s.by == nil {
		res, bad := advlib.Settings{Seed: x.Seed}.Run(ctx, c, on, x.Attack)
		if bad != nil {
			return found, lucky, fmt.Errorf("%v on planted points: %w", x.Attack, bad)
		}
		hit = res.Success
	} else if y.victim, hit, err = x.evade(ctx, plants, c, on, s); err != nil {
		return found, lucky, err
	}
	y.attacks = map[string]*outcome{x.Attack.String(): {hit: make([]bool, len(rows)), reached: make([]int, len(rows))}}
	all := make([]int, len(rows))
	for i := range all {
		all[i] = i
	}
	y.thorough = true
	random, err := y.search(ctx, all, max(2, x.passes))
	if err != nil {
		return found, lucky, err
	}
	return rate(hit), rate(random.found), nil
}

// binarised is the classifier with two classes. The read-out of a point is that of the nearest original, in the ball's
// norm.
func (x *examiner) binarised(plants []plant, on *advlib.Examples, hard float64) (*advlib.Classifier, error) {
	width := len(plants[0].w)
	originals := tensors.MustCopyFlatData[float32](on.X)
	size := len(originals) / len(plants)
	var w, b []float32
	for _, p := range plants {
		w, b = append(w, p.w...), append(b, p.b)
	}
	norm := x.Ball.Norm
	c := x.white
	return advlib.NewClassifier(advlib.Spec{
		Name: fmt.Sprintf("%s with planted points at %.6g", c.Name(), hard), Input: c.Input(), Box: c.Box(), Domain: c.Domain(),
		Store: c.Store(), Backend: c.Backend(), Random: c.Random(), Classes: on.Classes,
		Logits: func(_ *model.Scope, in *Node) *Node {
			g, n, k := in.Graph(), in.Shape().Dimensions[0], len(plants)
			f, err := penultimate(c.LogitsGraph(in), in)
			if err != nil {
				panic(err)
			}
			W := Reshape(Const(g, w), k, width)
			δ := Sub(BroadcastToDims(Reshape(StopGradient(in), n, 1, size), n, k, size), Reshape(Const(g, originals), 1, k, size))
			distance := Reshape(norm.Of(Reshape(δ, n*k, size)), n, k)
			own := OneHot(ArgMin(distance, -1), k, in.DType())
			all := Add(MatMul(f, Transpose(W, 0, 1)), Reshape(Const(g, b), 1, k)) // [n, k]: each read-out
			score := ReduceSum(Mul(all, own), -1)
			return Stack([]*Node{MulScalar(score, -0.5), MulScalar(score, 0.5)}, -1)
		},
	})
}
