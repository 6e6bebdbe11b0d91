package certify_test

import (
	"fmt"
	"math"
	"math/big"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"

	"advlab/advlib"
	"advlab/advlib/backend"
	"advlab/advlib/certify"
	"advlab/advlib/vnnlib"
)

// formula is a condition in VNN-LIB, with what it means, told apart from the package that reads it.
type formula struct {
	text  string
	holds func(x, y []*big.Rat) bool
}

func joined(op string, parts []formula) formula {
	f := formula{text: "(" + op}
	for _, p := range parts {
		f.text += " " + p.text
	}
	f.text += ")"
	f.holds = func(x, y []*big.Rat) bool {
		for _, p := range parts {
			if p.holds(x, y) != (op == "and") {
				return op != "and"
			}
		}
		return op == "and"
	}
	return f
}

// written returns a number in one of the ways there are.
func written(r *rand.Rand, v *big.Rat) string {
	f, _ := v.Float64()
	switch r.IntN(4) {
	case 0:
		return fmt.Sprintf("%.20e", f)
	case 1:
		if v.Sign() < 0 {
			return "(- " + vnnlib.Decimal(new(big.Rat).Neg(v)) + ")"
		}
		return "(/ " + vnnlib.Decimal(new(big.Rat).Mul(v, big.NewRat(4, 1))) + " 4.0)"
	}
	return vnnlib.Decimal(v)
}

// compared is a comparison of left and right, either way around.
func compared(r *rand.Rand, op, left, right string, l, u func(x, y []*big.Rat) *big.Rat) formula {
	f := formula{holds: func(x, y []*big.Rat) bool {
		switch c := l(x, y).Cmp(u(x, y)); op {
		case "<=":
			return c <= 0
		case "<":
			return c < 0
		case "=":
			return c == 0
		}
		panic(op)
	}}
	if r.IntN(2) == 0 {
		f.text = fmt.Sprintf("(%s %s %s)", op, left, right)
	} else {
		f.text = fmt.Sprintf("(%s %s %s)", map[string]string{"<=": ">=", "<": ">", "=": "="}[op], right, left)
	}
	return f
}

// randomBounds is a box of multiples of 1/64, with each of whose ends a formula.
func randomBounds(r *rand.Rand, inputs int, lower, upper []float64) (parts []formula, lo, hi []float64) {
	for i := range inputs {
		a, b := lower[i]+r.Float64()*(upper[i]-lower[i]), lower[i]+r.Float64()*(upper[i]-lower[i])
		a, b = math.Round(64*min(a, b))/64, math.Round(64*max(a, b))/64
		lo, hi = append(lo, a), append(hi, b)
		v := func(x, _ []*big.Rat) *big.Rat { return x[i] }
		is := func(w float64) func(x, y []*big.Rat) *big.Rat {
			return func(_, _ []*big.Rat) *big.Rat { return new(big.Rat).SetFloat64(w) }
		}
		name := fmt.Sprintf("X_%d", i)
		if a == b && r.IntN(2) == 0 {
			parts = append(parts, compared(r, "=", name, written(r, is(a)(nil, nil)), v, is(a)))
			continue
		}
		parts = append(parts, compared(r, "<=", name, written(r, is(b)(nil, nil)), v, is(b)),
			compared(r, "<=", written(r, is(a)(nil, nil)), name, is(a), v))
	}
	return parts, lo, hi
}

// randomOutputs is a condition on outputs, nested as deep as that. Values are about those that the model has.
func randomOutputs(r *rand.Rand, depth int, y [][]float64) formula {
	if depth > 0 && r.IntN(3) > 0 {
		var parts []formula
		for range 1 + r.IntN(3) {
			parts = append(parts, randomOutputs(r, depth-1, y))
		}
		return joined([]string{"and", "or"}[r.IntN(2)], parts)
	}
	K := len(y[0])
	row := make([]*big.Rat, K)
	var terms []string
	for k := range row {
		c := []int64{0, 1, 1, -1, 2, -3}[r.IntN(6)]
		row[k] = big.NewRat(c, 1)
		switch {
		case c == 1:
			terms = append(terms, fmt.Sprintf("Y_%d", k))
		case c != 0 && r.IntN(2) == 0:
			terms = append(terms, fmt.Sprintf("(* %d.0 Y_%d)", c, k))
		case c != 0:
			terms = append(terms, fmt.Sprintf("(- (* Y_%d %d))", k, -c))
		}
	}
	if len(terms) == 0 {
		row[0], terms = big.NewRat(1, 1), []string{"Y_0"}
	}
	value := func(_, y []*big.Rat) *big.Rat {
		s := new(big.Rat)
		for k, c := range row {
			s.Add(s, new(big.Rat).Mul(c, y[k]))
		}
		return s
	}
	// A limit about the extreme ones of the sampled values, so that either answer is likely.
	var seen []float64
	for _, v := range y {
		f, _ := value(nil, rats(v)).Float64()
		seen = append(seen, f)
	}
	slices.Sort(seen)
	spread := seen[len(seen)-1] - seen[0]
	limit := seen[0] + (r.Float64()*0.5-0.35)*spread
	bound := new(big.Rat).SetFloat64(math.Round(limit*1e4) / 1e4)
	text := "(+ " + strings.Join(terms, " ") + ")"
	if len(terms) == 1 {
		text = terms[0]
	}
	return compared(r, []string{"<=", "<=", "<"}[r.IntN(3)], text, written(r, bound), value, func(_, _ []*big.Rat) *big.Rat { return bound })
}

func rats(v []float64) []*big.Rat {
	out := make([]*big.Rat, len(v))
	for i, f := range v {
		out[i] = new(big.Rat).SetFloat64(f)
	}
	return out
}

// tinyNetwork is one that is a chain of affine maps and ReLUs, or none.
func tinyNetwork(r *rand.Rand, inputs, outputs int) (name string, f func(x *Node) *Node) {
	seed, kind, hidden := r.Uint64(), r.IntN(5), 2+r.IntN(6)
	d := func(h *Node, k uint64, out int) *Node { return dense(MulScalar(h, 1), seed+k, out) }
	chain := func(h *Node, k uint64, out int) *Node {
		in := h.Shape().Dimensions[1]
		return Add(Dot(h, weights(h, seed+k, 1/math.Sqrt(float64(in)), in, out)).Product(), weights(h, seed+k+50, 0.5, 1, out))
	}
	relu := func(h *Node) *Node { return Max(h, ZerosLike(h)) }
	switch kind {
	case 0:
		return "chain", func(x *Node) *Node { return chain(relu(chain(x, 1, hidden)), 2, outputs) }
	case 1:
		return "longer chain", func(x *Node) *Node {
			return chain(relu(chain(relu(chain(x, 1, hidden)), 2, hidden)), 3, outputs)
		}
	case 2:
		return "tanh", func(x *Node) *Node { return d(Tanh(d(MulScalar(x, 2), 1, hidden)), 2, outputs) }
	case 3:
		return "residual", func(x *Node) *Node {
			h := relu(chain(x, 1, hidden))
			return chain(Add(h, relu(chain(h, 2, hidden))), 3, outputs)
		}
	}
	return "maximum", func(x *Node) *Node {
		h := chain(x, 1, 4)
		return chain(Max(h, Reverse(h, 1)), 2, outputs)
	}
}

// propertyOf returns a property of which all must hold, and its text.
func propertyOf(r *rand.Rand, inputs, outputs int, all []formula) (whole formula, text string) {
	text = "; a comment\n(set-logic QF_LRA)\n"
	for i := range inputs {
		text += fmt.Sprintf("(declare-const X_%d Real)\n", i)
	}
	for k := range outputs {
		text += fmt.Sprintf("(declare-fun Y_%d () Real)\n", k)
	}
	whole = joined("and", all)
	if r.IntN(2) == 0 {
		text += "(assert " + whole.text + ")\n"
	} else {
		r.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
		for _, f := range all {
			text += "(assert " + f.text + ")\n"
		}
	}
	return whole, text
}

// samples is how many inputs a property is compared at.
const samples = 2048

// drawIn returns an input between two, at a corner half of the time.
func drawIn(r *rand.Rand, lo, hi []float64) []float64 {
	v := make([]float64, len(lo))
	corner := r.IntN(2) == 0
	for i := range v {
		u := r.Float64()
		if corner {
			u = math.Round(u)
		}
		v[i] = float64(float32(lo[i] + u*(hi[i]-lo[i])))
	}
	return v
}

// drawInputs returns inputs, and what computes the outputs of those that are in it when it is called.
func drawInputs(r *rand.Rand, forward *model.Exec, outputs int, lower, upper []float64) (x [][]float64, run func() [][]float64) {
	inputs := len(lower)
	x = make([][]float64, samples)
	flat := make([]float32, 0, samples*inputs)
	for p := range x {
		x[p] = drawIn(r, lower, upper)
	}
	return x, func() (y [][]float64) {
		flat = flat[:0]
		for _, v := range x {
			for _, w := range v {
				flat = append(flat, float32(w))
			}
		}
		out := tensors.MustCopyFlatData[float32](forward.MustCall(tensors.FromFlatDataAndDimensions(flat, samples, inputs))[0])
		for p := range x {
			row := make([]float64, outputs)
			for k := range row {
				row[k] = float64(out[p*outputs+k])
			}
			y = append(y, row)
		}
		return y
	}
}

// TestRandomProperties asks for verdicts on random properties of tiny networks, written in odd ways, and compares them
// with what a few thousand inputs show, and with the meaning of the text as this test has it.
func TestRandomProperties(t *testing.T) {
	b, err := backend.OpenNamed(backend.Go)
	if err != nil {
		t.Fatal(err)
	}
	count := 60
	if full {
		count = 1500
	}
	verdicts := map[advlib.Status]int{}
	points := 0
	for seed := range uint64(count) {
		r := rand.New(rand.NewPCG(seed, 0x70726f70))
		inputs, outputs := 1+r.IntN(3), 1+r.IntN(3)
		if r.IntN(6) == 0 {
			inputs = 18 // where ReLUs are split
		}
		name, f := tinyNetwork(r, inputs, outputs)
		logits := func(_ *model.Scope, x *Node) *Node { return f(x) }
		forward := model.MustNewExec(b, model.NewStore(), logits)
		lower, upper := slices.Repeat([]float64{-1}, inputs), slices.Repeat([]float64{1}, inputs)
		all, lower, upper := randomBounds(r, inputs, lower, upper)
		if inputs > 16 {
			for i := range lower[3:] {
				upper[3+i] = lower[3+i] + 1./64
			}
			all, lower, upper = randomBounds(r, inputs, lower, upper)
		}
		x, run := drawInputs(r, forward, outputs, lower, upper)
		y := run()
		if r.IntN(3) > 0 {
			all = append(all, randomOutputs(r, 2, y))
		} else { // boxes of their own
			var parts []formula
			for range 1 + r.IntN(3) {
				box, lo, hi := randomBounds(r, inputs, lower, upper)
				parts = append(parts, joined("and", append(box, randomOutputs(r, 1, y))))
				for p := range samples / 4 {
					x[r.IntN(samples)] = drawIn(r, lo, hi)
					_ = p
				}
			}
			all = append(all, joined("or", parts))
			y = run()
		}
		whole, text := propertyOf(r, inputs, outputs, all)
		property, err := vnnlib.Read(strings.NewReader(text))
		if err != nil {
			t.Fatalf("seed %d: %v\n%s", seed, err, text)
		}
		o := certify.Options{Seed: seed, Timeout: 20 * time.Second, Cells: 4000}
		if r.IntN(2) == 0 {
			o.Starts = -1 // bounds alone
		}
		if r.IntN(4) == 0 {
			o.Method = certify.AlphaCROWN
		}
		v, err := certify.VerifyProperty(ctx, certify.Question{Model: certify.Source{Name: name, Graph: logits, Store: model.NewStore(),
			Input: []int{inputs}, Backend: b}, Property: property}, o)
		if err != nil {
			t.Errorf("seed %d, %s: %v\n%s", seed, name, err, text)
			continue
		}
		verdicts[v.Status]++
		if v.Status == advlib.Falsified {
			if !whole.holds(rats(v.Counterexample), rats(v.Outputs)) {
				t.Errorf("seed %d, %s: %v is no counterexample, its outputs are %v\n%s", seed, name, v.Counterexample, v.Outputs, text)
			}
			continue
		}
		for p := range x {
			points++
			if whole.holds(rats(x[p]), rats(y[p])) && v.Status == advlib.Verified {
				t.Errorf("seed %d, %s: %v, and %v has the unsafe outputs %v\n%s", seed, name, v, x[p], y[p], text)
				break
			}
		}
	}
	t.Logf("%d properties: %d verified, %d falsified, %d unknown; %d inputs compared", count, verdicts[advlib.Verified],
		verdicts[advlib.Falsified], verdicts[advlib.Unknown], points)
	if verdicts[advlib.Verified] < count/5 || verdicts[advlib.Falsified] < count/5 {
		t.Errorf("too few of one verdict")
	}
}
