package certify_test

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/ml/layers/activation"

	"advlab/advlib"
	"advlab/advlib/certify"
)

// This file is a second implementation of bounds, which shares nothing with the first but the model: a backend that
// records operations, and Go that evaluates them with intervals rounded outward, and exactly by enumerating which ReLUs
// are on.

// recorder is a backend that notes what is built. Values of operations that it does not know are unknown to those that
// take them, which fail.
type recorder struct {
	compute.Backend
	*recording
}

type recording struct {
	known map[compute.Value]*recorded
	err   error
}

type recorded struct {
	op     string
	in     []*recorded
	dims   []int
	flat   []float64 // of constants
	axes   []int     // of BroadcastInDim
	lc, rc []int     // contracting axes
}

func (r *recorder) Builder(name string) compute.Builder {
	return &recordingBuilder{r.Backend.Builder(name), r.recording}
}

type recordingBuilder struct {
	compute.Builder
	*recording
}

func (b *recordingBuilder) Main() compute.Function {
	return &recordingFunction{b.Builder.Main(), b.recording}
}

type recordingFunction struct {
	compute.Function
	*recording
}

func (f *recordingFunction) note(v compute.Value, err error, n recorded, in ...compute.Value) (compute.Value, error) {
	if err != nil {
		return v, err
	}
	for _, h := range in {
		if f.known[h] == nil {
			f.err = fmt.Errorf("an input of %s is of an operation that the checker does not know", n.op)
			return v, nil
		}
		n.in = append(n.in, f.known[h])
	}
	s, err := f.Function.Shape(v)
	n.dims = s.Dimensions
	f.known[v] = &n
	return v, err
}

func (f *recordingFunction) Parameter(name string, s shapes.Shape, sharding *compute.ShardingSpec) (compute.Value, error) {
	v, err := f.Function.Parameter(name, s, sharding)
	return f.note(v, err, recorded{op: "Parameter"})
}

func (f *recordingFunction) Constant(flat any, dims ...int) (compute.Value, error) {
	v, err := f.Function.Constant(flat, dims...)
	n := recorded{op: "Constant"}
	if c, ok := flat.([]float32); ok {
		for _, x := range c {
			n.flat = append(n.flat, float64(x))
		}
	}
	return f.note(v, err, n)
}

func (f *recordingFunction) Add(a, b compute.Value) (compute.Value, error) {
	v, err := f.Function.Add(a, b)
	return f.note(v, err, recorded{op: "Add"}, a, b)
}

func (f *recordingFunction) Sub(a, b compute.Value) (compute.Value, error) {
	v, err := f.Function.Sub(a, b)
	return f.note(v, err, recorded{op: "Sub"}, a, b)
}

func (f *recordingFunction) Mul(a, b compute.Value) (compute.Value, error) {
	v, err := f.Function.Mul(a, b)
	return f.note(v, err, recorded{op: "Mul"}, a, b)
}

func (f *recordingFunction) Max(a, b compute.Value) (compute.Value, error) {
	v, err := f.Function.Max(a, b)
	return f.note(v, err, recorded{op: "Max"}, a, b)
}

func (f *recordingFunction) Reshape(x compute.Value, dims ...int) (compute.Value, error) {
	v, err := f.Function.Reshape(x, dims...)
	return f.note(v, err, recorded{op: "Reshape"}, x)
}

func (f *recordingFunction) BroadcastInDim(x compute.Value, s shapes.Shape, axes []int) (compute.Value, error) {
	v, err := f.Function.BroadcastInDim(x, s, axes)
	return f.note(v, err, recorded{op: "BroadcastInDim", axes: axes}, x)
}

func (f *recordingFunction) DotGeneral(l compute.Value, lc, lb []int, r compute.Value, rc, rb []int,
	c compute.DotGeneralConfig) (compute.Value, error) {
	v, err := f.Function.DotGeneral(l, lc, lb, r, rc, rb, c)
	n := recorded{op: "DotGeneral", lc: lc, rc: rc}
	if len(lb) > 0 {
		n.op = "batched DotGeneral"
	}
	return f.note(v, err, n, l, r)
}

// number is a coordinate of a node: its interval over the box, and what it is as a linear function of x, for one choice
// of ReLUs that are on. Constants have no linear part.
type number struct {
	lo, hi float64
	c      float64
	a      []float64
}

func down(v float64) float64 { return math.Nextafter(v, math.Inf(-1)) }
func up(v float64) float64   { return math.Nextafter(v, math.Inf(1)) }

func (x number) plus(y number, sign float64) number {
	z := number{c: x.c + sign*y.c}
	if sign > 0 {
		z.lo, z.hi = down(x.lo+y.lo), up(x.hi+y.hi)
	} else {
		z.lo, z.hi = down(x.lo-y.hi), up(x.hi-y.lo)
	}
	if x.a != nil || y.a != nil {
		z.a = make([]float64, max(len(x.a), len(y.a)))
		for i := range z.a {
			if x.a != nil {
				z.a[i] += x.a[i]
			}
			if y.a != nil {
				z.a[i] += sign * y.a[i]
			}
		}
	}
	return z
}

func (x number) times(k float64) number {
	z := number{c: k * x.c, lo: k * x.lo, hi: k * x.hi}
	if k < 0 {
		z.lo, z.hi = z.hi, z.lo
	}
	z.lo, z.hi = down(z.lo), up(z.hi)
	if x.a != nil {
		z.a = make([]float64, len(x.a))
		for i, v := range x.a {
			z.a[i] = k * v
		}
	}
	return z
}

// evaluation walks a recorded net with one choice of ReLUs.
type evaluation struct {
	lower, upper []float64
	on           uint64 // bit i: is the i-th unstable ReLU on?
	unstable     int
	// where holds what the choice says: ⟨a, x⟩ ≤ b.
	where []halfspace
	done  map[*recorded][]number
}

type halfspace struct {
	a []float64
	b float64
}

func sizeOf(dims []int) int {
	size := 1
	for _, d := range dims {
		size *= d
	}
	return size
}

func (e *evaluation) of(n *recorded) []number {
	if v := e.done[n]; v != nil {
		return v
	}
	var in [][]number
	for _, h := range n.in {
		in = append(in, e.of(h))
	}
	out := make([]number, sizeOf(n.dims))
	switch n.op {
	case "Parameter":
		for i := range out {
			a := make([]float64, len(e.lower))
			a[i] = 1
			out[i] = number{lo: e.lower[i], hi: e.upper[i], a: a}
		}
	case "Constant":
		for i, v := range n.flat {
			out[i] = number{lo: v, hi: v, c: v}
		}
	case "Reshape":
		copy(out, in[0])
	case "BroadcastInDim":
		for i := range out {
			at, rest, stride := 0, i, 1
			index := make([]int, len(n.dims))
			for axis := len(n.dims) - 1; axis >= 0; axis-- {
				index[axis], rest = rest%n.dims[axis], rest/n.dims[axis]
			}
			for axis := len(n.axes) - 1; axis >= 0; axis-- {
				if d := n.in[0].dims[axis]; d > 1 {
					at += stride * index[n.axes[axis]]
					stride *= d
				}
			}
			out[i] = in[0][at]
		}
	case "Add", "Sub", "Mul", "Max":
		for i := range out {
			x, y := in[0][broadcast(i, n, 0)], in[1][broadcast(i, n, 1)]
			switch {
			case n.op == "Add":
				out[i] = x.plus(y, 1)
			case n.op == "Sub":
				out[i] = x.plus(y, -1)
			case n.op == "Mul" && y.a == nil:
				out[i] = x.times(y.c)
			case n.op == "Mul" && x.a == nil:
				out[i] = y.times(x.c)
			case n.op == "Max" && y.a == nil && y.c == 0:
				out[i] = e.relu(x)
			default:
				panic("the checker does not know this " + n.op)
			}
		}
	case "DotGeneral":
		l, r := n.in[0].dims, n.in[1].dims
		if len(l) != 2 || len(r) != 2 || n.lc[0] != 1 || n.rc[0] != 0 {
			panic("the checker knows products x·W only")
		}
		for i := range l[0] {
			for j := range r[1] {
				var sum number
				for k := range l[1] {
					sum = sum.plus(in[0][i*l[1]+k].times(in[1][k*r[1]+j].c), 1)
				}
				out[i*r[1]+j] = sum
			}
		}
	default:
		panic("the checker does not know " + n.op)
	}
	e.done[n] = out
	return out
}

// broadcast returns the place in an input of element i of the result.
func broadcast(i int, n *recorded, k int) int {
	dims := n.in[k].dims
	at, stride := 0, 1
	for axis := len(n.dims) - 1; axis >= 0 && len(dims) > 0; axis-- {
		index := i % n.dims[axis]
		i /= n.dims[axis]
		if dims[axis] > 1 {
			at += index * stride
			stride *= dims[axis]
		}
	}
	return at
}

func (e *evaluation) relu(z number) number {
	switch {
	case z.lo >= 0:
		return z
	case z.hi <= 0:
		return number{}
	}
	on := e.on>>e.unstable&1 == 1
	e.unstable++
	if !on {
		e.where = append(e.where, halfspace{z.a, -z.c})
		return number{lo: 0, hi: z.hi, a: make([]float64, len(e.lower))}
	}
	neg := make([]float64, len(z.a))
	for i, v := range z.a {
		neg[i] = -v
	}
	e.where = append(e.where, halfspace{neg, z.c})
	z.lo = 0
	return z
}

// minimise returns min ⟨c, x⟩ over lower ≤ x ≤ upper and the half-spaces, by the simplex method with Bland's rule
// (Bland 1977) on the dual-free form: x = lower + y, y ≥ 0, slack variables, and an artificial variable for
// feasibility. It returns +Inf if no point is allowed.
func minimise(c, lower, upper []float64, where []halfspace) float64 {
	d := len(c)
	var rows []halfspace
	for i := range d {
		a := make([]float64, d)
		a[i] = 1
		rows = append(rows, halfspace{a, upper[i] - lower[i]})
	}
	shift := 0.
	for i := range d {
		shift += c[i] * lower[i]
	}
	for _, h := range where {
		b := h.b
		for i := range d {
			b -= h.a[i] * lower[i]
		}
		rows = append(rows, halfspace{h.a, b})
	}
	p, worst := newTableau(c, rows)
	if worst >= 0 && !p.feasible(worst) {
		return math.Inf(1)
	}
	p.run(p.m, p.d+p.m)
	return shift - p.T[p.m][p.cols-1]
}

// tableau is the simplex method's. Its columns are y (d), slacks (m), the artificial variable and the right-hand side;
// its last rows are what is minimised: c·y, and the artificial variable.
type tableau struct {
	T          [][]float64
	basis      []int
	d, m, cols int
}

// newTableau returns that of m half-spaces, and the one that is violated most by y = 0, -1 if none is.
func newTableau(c []float64, rows []halfspace) (p *tableau, worst int) {
	d, m := len(c), len(rows)
	p = &tableau{d: d, m: m, cols: d + m + 2, T: make([][]float64, m+2), basis: make([]int, m)}
	for i := range p.T {
		p.T[i] = make([]float64, p.cols)
	}
	worst = -1
	for i, h := range rows {
		copy(p.T[i], h.a)
		p.T[i][d+i], p.T[i][d+m], p.T[i][p.cols-1] = 1, -1, h.b
		p.basis[i] = d + i
		if h.b < -1e-12 && (worst < 0 || h.b < rows[worst].b) {
			worst = i
		}
	}
	copy(p.T[m], c)
	p.T[m+1][d+m] = 1
	return p, worst
}

// pivot makes column k basic in row r.
func (p *tableau) pivot(r, k int) {
	T := p.T
	by := T[r][k]
	for j := range T[r] {
		T[r][j] /= by
	}
	for i := range T {
		if f := T[i][k]; i != r && f != 0 {
			for j := range T[i] {
				T[i][j] -= f * T[r][j]
			}
		}
	}
	p.basis[r] = k
}

// run minimises a goal over the allowed columns.
func (p *tableau) run(goal, allowed int) {
	T := p.T
	for {
		k := -1
		for j := range allowed {
			if T[goal][j] < -1e-10 {
				k = j
				break
			}
		}
		if k < 0 {
			return
		}
		r := -1
		for i := range p.m {
			if T[i][k] > 1e-11 {
				q := T[i][p.cols-1] / T[i][k]
				if r < 0 || q < T[r][p.cols-1]/T[r][k]-1e-13 || q < T[r][p.cols-1]/T[r][k]+1e-13 && p.basis[i] < p.basis[r] {
					r = i
				}
			}
		}
		if r < 0 {
			panic("the linear program is unbounded")
		}
		p.pivot(r, k)
	}
}

// feasible finds a point of all half-spaces, with the artificial variable, which leaves at 0. It returns false if there
// is none.
func (p *tableau) feasible(worst int) bool {
	d, m := p.d, p.m
	p.pivot(worst, d+m)
	p.run(m+1, d+m+1)
	if p.T[m+1][p.cols-1] < -1e-9 {
		return false
	}
	for i, k := range p.basis {
		if k == d+m {
			for j := range d + m {
				if math.Abs(p.T[i][j]) > 1e-9 {
					p.pivot(i, j)
					break
				}
			}
		}
	}
	return true
}

// exactMinimum returns the minimum of ⟨row, f(x)⟩ over a box by enumerating which of the unstable ReLUs are on, and the
// interval of every output.
func exactMinimum(out *recorded, row, lower, upper []float64) (least float64, intervals []number, unstable int) {
	least = math.Inf(1)
	for on := uint64(0); ; on++ {
		e := &evaluation{lower: lower, upper: upper, on: on, done: map[*recorded][]number{}}
		z := e.of(out)
		if on == 0 {
			unstable = e.unstable
			intervals = z
		}
		var f number
		for k, v := range z {
			f = f.plus(v.times(row[k]), 1)
		}
		if f.a == nil {
			f.a = make([]float64, len(lower))
		}
		least = min(least, f.c+minimise(f.a, lower, upper, e.where))
		if on+1 >= 1<<unstable {
			return least, intervals, unstable
		}
	}
}

// enumeratedMethods are those that TestAgainstEnumeration compares.
var enumeratedMethods = []certify.Method{
	certify.IBP, certify.CROWNIBP, certify.CROWN, certify.CROWN.ByGraphs(), certify.CROWN.WithIBP(), certify.CROWN.WithLine(certify.Zero),
	certify.CROWN.WithLine(certify.One), certify.CROWN.WithLine(certify.SameSlope), certify.CROWN.WithIBP().WithBestLine(), certify.AlphaCROWN,
	certify.AlphaCROWN.WithIBP().WithBestLine(),
}

// Bounds by every method are below the exact minimum, found by a second implementation that shares nothing with the
// first; IBP's are those of its own intervals, or better because the last layer is merged with the specification; and
// CROWN with the best line is the closest.
func TestAgainstEnumeration(t *testing.T) {
	goBackend := backends(t)["Go Backend"]
	most, gaps := 0, map[string]float64{}
	for seed := uint64(1); seed <= 6; seed++ {
		m := testModel{"enumerated", []int{3}, advlib.UnitBox, func(x *Node) *Node {
			h := activation.Relu(dense(x, 10*seed, 6))
			h = activation.Relu(dense(h, 10*seed+1, 6))
			return Sub(dense(h, 10*seed+2, 3), MulScalar(dense(x, 10*seed+3, 3), 0.125)) // 0.1 would be another number in float32
		}}
		rec := &recorder{goBackend, &recording{known: map[compute.Value]*recorded{}}}
		g := NewGraph(rec, "recorded")
		var out *recorded
		record := func(x *Node) *Node {
			y := m.logits(x)
			if x.DType() == dtypes.Float32 && x.Shape().Dimensions[0] == 1 && x.Graph() == g {
				// The last value noted is the model's result.
				for _, n := range rec.known {
					if n.op == "Sub" && len(n.dims) == 2 && n.dims[1] == 3 {
						out = n
					}
				}
			}
			return y
		}
		record(Parameter(g, "x", shapes.Make(dtypes.Float32, 1, 3)))
		if rec.err != nil || out == nil {
			t.Fatalf("the model was not recorded: %v", rec.err)
		}
		c := m.classifier(t, goBackend)
		net, err := certify.Of(c)
		if err != nil {
			t.Fatal(err)
		}
		for _, ε := range []float64{0.05, 0.2, 0.5} {
			lower, upper := make([]float64, 3), make([]float64, 3)
			for j := range lower {
				lower[j], upper[j] = 0.5-ε, 0.5+ε
			}
			rows := append(certify.MarginRows(1, 3), certify.EachOutput(3)...)
			exact := make([]float64, len(rows))
			var own []number
			for s, row := range rows {
				var unstable int
				exact[s], own, unstable = exactMinimum(out, row, lower, upper)
				if most = max(most, unstable); unstable > 14 {
					t.Fatalf("%d unstable ReLUs", unstable)
				}
			}
			bounds := map[string][]float64{}
			for _, method := range enumeratedMethods {
				q := certify.Query{Regions: certify.Boxes([][]float64{lower}, [][]float64{upper}), Rows: [][][]float64{rows}}
				realBound, err := net.Bound(ctx, q, method.In(certify.RealArithmetic))
				if err != nil {
					t.Fatal(err)
				}
				rounded, err := net.Bound(ctx, q, method)
				if err != nil {
					t.Fatal(err)
				}
				bounds[method.String()] = realBound.Lower[0]
				for s := range rows {
					if v := realBound.Lower[0][s]; !(v <= exact[s]+1e-9) {
						t.Errorf("seed %d, ε %g: %v: row %v is at least %g, the minimum is %g", seed, ε, method, rows[s], v, exact[s])
					}
					most := realBound.Lower[0][s]
					if strings.HasPrefix(method.String(), "α") { // slopes tuned for one arithmetic may be better ones than for the other
						most = exact[s]
					}
					if v := rounded.Lower[0][s]; !(v < most && v > realBound.Lower[0][s]-1e-3) {
						t.Errorf("seed %d, ε %g: %v: row %v: %g with rounding, %g in real arithmetic", seed, ε, method, rows[s], v, realBound.Lower[0][s])
					}
					gaps[method.String()] += exact[s] - realBound.Lower[0][s]
				}
			}
			compareEnumerated(t, fmt.Sprintf("seed %d, ε %g", seed, ε), bounds, own)
		}
	}
	t.Logf("up to %d unstable ReLUs; sum of gaps to the minimum: %v", most, gaps)
	if best := certify.CROWN.WithIBP().WithBestLine().String(); !(gaps["α-CROWN"] < 0.9*gaps["CROWN"] && gaps["α-"+best] < gaps[best]) {
		t.Error("α-CROWN does not come closer")
	}
	if most < 6 {
		t.Errorf("only %d ReLUs were unstable", most)
	}
}

// compareEnumerated compares bounds by the names of their methods with each other, and with the checker's own intervals
// of the outputs.
func compareEnumerated(t *testing.T, name string, bounds map[string][]float64, own []number) {
	t.Helper()
	for k, v := range own {
		if b := bounds["IBP"]; !(b[2+k] >= v.lo-1e-9) || !(-b[5+k] <= v.hi+1e-9) {
			t.Errorf("%s: IBP bounds output %d by [%g, %g], the checker's intervals are [%g, %g]", name, k, b[2+k], -b[5+k], v.lo,
				v.hi)
		}
	}
	best := bounds[certify.CROWN.WithIBP().WithBestLine().String()]
	for method, b := range bounds {
		for s, v := range b {
			if method == "CROWN" && v > bounds["α-CROWN"][s] {
				t.Errorf("%s: row %d is at least %g by CROWN, %g by α-CROWN", name, s, v, bounds["α-CROWN"][s])
			}
			if method != "CROWN" && v > best[s]+1e-9 && (method == "IBP" || method == "CROWN ∩ IBP") {
				t.Errorf("%s: row %d is at least %g by %s, %g by the best line", name, s, v, method, best[s])
			}
		}
	}
}

// The simplex method against programs solved by hand.
func TestMinimise(t *testing.T) {
	for _, test := range []struct {
		c, lower, upper []float64
		where           []halfspace
		want            float64
	}{
		{[]float64{1, -2}, []float64{-1, 0}, []float64{1, 3}, nil, -7},
		{[]float64{1, 1}, []float64{0, 0}, []float64{2, 2}, []halfspace{{[]float64{-1, -2}, -3}}, 1.5},
		{[]float64{-1, 0}, []float64{0, 0}, []float64{5, 1}, []halfspace{{[]float64{1, 1}, 2}, {[]float64{1, -1}, 1}}, -1.5},
		{[]float64{1, 0}, []float64{0, 0}, []float64{1, 1}, []halfspace{{[]float64{1, 1}, -1}}, math.Inf(1)},
		{[]float64{0, 0}, []float64{0.5, 0.5}, []float64{0.5, 0.5}, []halfspace{{[]float64{1, 1}, 1}}, 0},
	} {
		if got := minimise(test.c, test.lower, test.upper, test.where); !(math.Abs(got-test.want) < 1e-9 || got == test.want) {
			t.Errorf("%+v: got %g", test, got)
		}
	}
}
