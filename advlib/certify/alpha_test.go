package certify_test

import (
	"math/rand/v2"
	"os"
	"slices"
	"testing"
	"time"

	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/ml/layers/activation"
	"github.com/gomlx/gomlx/ml/model"

	"advlab/advlib"
	"advlab/advlib/attack"
	"advlab/advlib/attack/attacktest"
	"advlab/advlib/backend"
	"advlab/advlib/certify"
)

// takeApart returns a step of α-CROWN on a model, in each norm.
func takeApart(t *testing.T, m testModel, count int) (all []*certify.Ascent) {
	t.Helper()
	c := m.classifier(t, backends(t)["Go Backend"])
	e := m.examples(t, c, 1)
	n, err := certify.Of(c)
	if err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(31, 32))
	for _, norm := range norms {
		regions, err := certify.Around(c, e, norm.Ball(radii(norm)[1]*m.box.Width()), false)
		if err != nil {
			t.Fatal(err)
		}
		rows := certify.MarginRows(int(e.Y[0]), c.Classes())
		a, err := n.TakeApart(ctx, certify.Query{Regions: regions, Rows: [][][]float64{rows}}, count, r)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, a)
	}
	return all
}

// wrong tells what is wrong with a step: the value of the lines at the input where the bound is least is the bound, and
// its derivatives are those that slopes are raised by.
func wrong(a *certify.Ascent) (value, derivatives bool) {
	value = !certify.Close(a.Backward, a.Forward, 1e-12)
	for _, d := range a.Derivatives {
		derivatives = derivatives || !certify.Close(d.Given, d.Differences, 1e-6)
	}
	return value, derivatives
}

// The bound, going backward, is what the lines that it chose have at the input where it is least, going forward; and
// the derivatives by slopes that this gives are those of finite differences.
func TestAscent(t *testing.T) {
	models, open, moving := 0, 0, 0
	for _, m := range slices.Concat(testModels, operationModels) {
		moves := false
		for i, a := range takeApart(t, m, 12) {
			if value, derivatives := wrong(a); value || derivatives {
				t.Errorf("%s, %v: the bound is %.15g, forward %.15g; derivatives %v", m.name, norms[i], a.Backward, a.Forward, a.Derivatives)
			}
			open += len(a.Derivatives)
			for _, d := range a.Derivatives {
				if d.Differences != 0 {
					moving, moves = moving+1, true
				}
			}
		}
		if moves {
			models++
		}
	}
	t.Logf("%d models have slopes that move their bounds: %d of the %d that were looked at", models, moving, open)
	if models < 15 || moving < 100 {
		t.Error("too few to tell")
	}
}

// halfNormals are rows of numbers from N(0, 1/4) that float32 holds.
func halfNormals(r *rand.Rand, rows, columns int) [][]float64 {
	W := make([][]float64, rows)
	for i := range W {
		for range columns {
			W[i] = append(W[i], float64(float32(r.NormFloat64()/2)))
		}
	}
	return W
}

// affineOf is Wx + c, with W by outputs.
func affineOf(x *Node, W [][]float64, c []float64) *Node {
	var flat, offset []float32
	for j := range W[0] {
		for i := range W {
			flat = append(flat, float32(W[i][j]))
		}
	}
	for _, v := range c {
		offset = append(offset, float32(v))
	}
	return Add(Dot(x, values(x, []int{len(W[0]), len(W)}, flat...)).Product(), values(x, []int{1, len(c)}, offset...))
}

// With intervals before ReLUs given, the best that slopes can do is the optimum of a linear program: each ReLU replaced
// by the triangle around it (Salman et al. 2019, arXiv:1902.08722, theorem 4.2). Tuned bounds are below it, and near
// it.
func TestAlphaReachesTheLinearProgram(t *testing.T) {
	const d, hidden = 4, 7
	b := backends(t)["Go Backend"]
	r := rand.New(rand.NewPCG(41, 42))
	matrix := func(rows, columns int) [][]float64 { return halfNormals(r, rows, columns) }
	crownGap, alphaGap := 0., 0.
	for range 12 {
		W1, W2, W3 := matrix(hidden, d), matrix(hidden, hidden), matrix(2, hidden)
		c1, c2, c3 := matrix(1, hidden)[0], matrix(1, hidden)[0], []float64{0, 0}
		build := func(upTo int) *certify.Network {
			n, err := certify.New(certify.Source{Name: "dense", Input: []int{d}, Backend: b, Graph: func(_ *model.Scope, x *Node) *Node {
				h := affineOf(x, W1, c1)
				if upTo > 1 {
					h = affineOf(activation.Relu(h), W2, c2)
				}
				if upTo > 2 {
					h = affineOf(activation.Relu(h), W3, c3)
				}
				return h
			}})
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
		lower, upper := make([]float64, d), make([]float64, d)
		for j := range lower {
			lower[j] = r.NormFloat64()
			upper[j] = lower[j] + 1
		}
		bound := func(upTo int, rows [][]float64, m certify.Method) []float64 {
			a, err := build(upTo).Bound(ctx, certify.Query{Regions: certify.Boxes([][]float64{lower}, [][]float64{upper}),
				Rows: [][][]float64{rows}}, m.In(certify.RealArithmetic))
			if err != nil {
				t.Fatal(err)
			}
			return a.Lower[0]
		}
		row := []float64{1, -1}
		crown := bound(3, [][]float64{row}, certify.CROWN)[0]
		alpha := bound(3, [][]float64{row}, certify.CROWN.WithAlpha(certify.Alpha{Iterations: 200, Intervals: -1}))[0]

		// Variables x, and the results of both layers of ReLUs.
		lo, hi := slices.Clone(lower), slices.Clone(upper)
		var where []halfspace
		size := d + 2*hidden
		layer := func(ends []float64, W [][]float64, c []float64, from, to int) {
			for i := range W {
				l, u := ends[i], -ends[hidden+i]
				at := func(z, own, offset float64) halfspace { // z·(⟨W_i, h⟩ + c_i) + own·result + offset ≤ 0
					a := make([]float64, size)
					for j, w := range W[i] {
						a[from+j] = z * w
					}
					a[to+i] = own
					return halfspace{a, -z*c[i] - offset}
				}
				lo, hi = append(lo, 0), append(hi, max(u, 0))
				switch {
				case l >= 0:
					where = append(where, at(1, -1, 0), at(-1, 1, 0))
				case u > 0:
					where = append(where, at(1, -1, 0), at(-u/(u-l), 1, u*l/(u-l)))
				}
			}
		}
		layer(bound(1, certify.EachOutput(hidden), certify.CROWN), W1, c1, 0, d)
		layer(bound(2, certify.EachOutput(hidden), certify.CROWN), W2, c2, d, d+hidden)
		goal := make([]float64, size)
		for i := range hidden {
			goal[d+hidden+i] = row[0]*W3[0][i] + row[1]*W3[1][i]
		}
		best := minimise(goal, lo, hi, where)
		if !(alpha <= best+1e-9) || alpha < crown {
			t.Errorf("α-CROWN has %.9g, CROWN %.9g, the linear program %.9g", alpha, crown, best)
		}
		crownGap, alphaGap = crownGap+best-crown, alphaGap+best-alpha
	}
	t.Logf("from the linear program's optimum CROWN is %.4g away, α-CROWN %.4g, summed over 12 networks", crownGap, alphaGap)
	if !(alphaGap < 0.01*crownGap) {
		t.Error("α-CROWN does not get there")
	}
}

// α-CROWN's margins are never below CROWN's, in any norm, with its other options, and with an early end; on the whole
// they are larger; and they hold at sampled points. Without ADVLAB_FULL, of four models, and in L2 of one.
func TestAlphaIsNeverBelowCROWN(t *testing.T) {
	b := backends(t)["Go Backend"]
	for _, m := range slices.Concat(testModels, operationModels) {
		everyday := false
		switch m.name {
		case "mlp", "residual CNN with batch norm", "max pool, padded", "maximum and minimum of two":
			everyday = true
		case "strided-cnn", "residual", "merged-axes", "two max pools in a row", "attention":
		default:
			continue
		}
		if !full && !everyday {
			continue
		}
		c := m.classifier(t, b)
		e := m.examples(t, c, 2)
		r := rand.New(rand.NewPCG(51, 52))
		gain := 0.
		for _, norm := range norms {
			for _, method := range []certify.Method{certify.CROWN, certify.CROWN.WithLine(certify.One).WithIBP()} {
				if method != certify.CROWN && norm != advlib.Linf || !full && norm != advlib.Linf && m.name != "mlp" {
					continue
				}
				ball := norm.Ball(radii(norm)[1] * m.box.Width())
				tuned := method.WithAlpha(certify.Alpha{Iterations: 6, Intervals: 2})
				plain, err := certify.Margins(ctx, c, e, ball, method)
				if err != nil {
					t.Fatal(err)
				}
				margins, err := certify.Margins(ctx, c, e, ball, tuned)
				if err != nil {
					t.Fatal(err)
				}
				proof, err := tuned.Prove(ctx, c, e, ball)
				if err != nil {
					t.Fatal(err)
				}
				z := sample(t, c, e, ball, 500, r)
				for i, row := range margins {
					others := slices.DeleteFunc([]int{0, 1, 2, 3}, func(k int) bool { return k == int(e.Y[i]) })
					for k, v := range row {
						if v < plain[i][k] {
							t.Errorf("%s, %v: %v has %g for margin %d of example %d, %v has %g", m.name, ball, tuned, v, k, i, method, plain[i][k])
						}
						gain += v - plain[i][k]
						for _, point := range z {
							if d := float64(point[i][e.Y[i]]) - float64(point[i][others[k]]); d < v {
								t.Fatalf("%s, %v: margin %d of example %d is %g somewhere, at least %g by %v", m.name, ball, k, i, d, v, tuned)
							}
						}
					}
					if least := slices.Min(row); proof.Certified[i] != (float64(proof.Margin[i]) > 0) || float64(proof.Margin[i]) > least+1e-3 ||
						proof.Certified[i] != (least > 0) && (least > 1e-3 || least < -1e-3) {
						t.Errorf("%s, %v: the least margin is %g, with an early end %g", m.name, ball, least, proof.Margin[i])
					}
				}
			}
		}
		t.Logf("%s: %.3g is gained, summed over margins", m.name, gain)
		if !(gain > 0.001) {
			t.Errorf("%s: nothing is gained: %g", m.name, gain)
		}
	}
}

// No attack succeeds where α-CROWN proves that none can; Evaluate returns an error if one does. It proves more than
// CROWN does.
func TestAlphaInEvaluate(t *testing.T) {
	r := load(t, "mlp-digits-adv", nil)
	ball := advlib.Linf.Ball(0.1)
	report, err := advlib.Evaluate(ctx, r.Classifier, r.Examples, []advlib.Attack{attack.APGD{Ball: ball, Restarts: 2}}, certify.CROWN,
		certify.AlphaCROWN)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("\n%v", report)
	var proven [2]int
	for k, c := range report.Certificates {
		for _, ok := range c.Certified {
			if ok {
				proven[k]++
			}
		}
	}
	if report.Certificates[1].Method != "α-CROWN" || proven[1] <= proven[0] {
		t.Errorf("CROWN proves %d, %s %d", proven[0], report.Certificates[1].Method, proven[1])
	}
}

// TestAscent and sampled points notice mistakes in the steps of α-CROWN.
func TestAlphaMutants(t *testing.T) {
	models := map[string]testModel{}
	for _, m := range slices.Concat(testModels, operationModels, mutationModels) {
		models[m.name] = m
	}
	for _, mutant := range certify.AscentMutants {
		restore := mutant.Plant()
		noticed := false
		for _, a := range takeApart(t, models[mutant.Model], 40) {
			value, derivatives := wrong(a)
			noticed = noticed || value || derivatives
		}
		restore()
		if !noticed {
			t.Errorf("nothing shows that %s, on the model %q", mutant.Name, mutant.Model)
		}
	}

	m := models["mlp"]
	c := m.classifier(t, backends(t)["Go Backend"])
	e := m.examples(t, c, 4)
	ball := advlib.Linf.Ball(0.15)
	z := sample(t, c, e, ball, 300, rand.New(rand.NewPCG(61, 62)))
	for _, free := range []bool{false, true} {
		if free {
			defer certify.FreeSlopes()()
			c = m.classifier(t, backends(t)["Go Backend"])
		}
		lower, upper, err := certify.Bounds(ctx, c, e, ball, certify.AlphaCROWN)
		if err != nil {
			t.Fatal(err)
		}
		outside := 0
		for _, point := range z {
			for i, row := range point {
				for k, v := range row {
					if !(lower[i][k] <= float64(v) && float64(v) <= upper[i][k]) {
						outside++
					}
				}
			}
		}
		if (outside > 0) != free {
			t.Errorf("slopes free %v: %d outputs are outside of their bounds", free, outside)
		}
	}
}

// On patches, slopes are tuned to the same bounds as on whole tensors. In L1, where the first layer is bounded by rows
// too, in real arithmetic: what the rounding of those bounds takes grows with the coordinates of a row, so that
// intervals differ by 1e-14, and lines of functions, which are chosen by intervals, may jump.
func TestAlphaOnPatches(t *testing.T) {
	b := backends(t)["Go Backend"]
	for _, m := range convolutional {
		if !m.runs(b) {
			continue // forward it is the operation itself
		}
		c := m.classifier(t, b)
		e := m.examples(t, c, 1)
		n, err := certify.Of(c)
		if err != nil {
			t.Fatal(err)
		}
		for _, norm := range norms {
			if !full && norm != advlib.Linf && m.name != "residual" {
				continue
			}
			regions, err := certify.Around(c, e, norm.Ball(radii(norm)[1]*m.box.Width()), false)
			if err != nil {
				t.Fatal(err)
			}
			q := certify.Query{Regions: regions, Rows: [][][]float64{certify.MarginRows(int(e.Y[0]), c.Classes())}}
			method := certify.CROWN
			if norm == advlib.L1 {
				method = method.In(certify.RealArithmetic)
			}
			var lower [2][]float64
			for k := range lower {
				layers, err := n.Patches(k == 0)
				if err != nil {
					t.Fatal(err)
				}
				if k == 0 && layers == 0 {
					t.Errorf("%s has no patches", m.name)
				}
				a, err := n.Bound(ctx, q, method.WithAlpha(certify.Alpha{Iterations: 3, Intervals: 3}))
				if err != nil {
					t.Fatal(err)
				}
				lower[k] = a.Lower[0]
			}
			plain, err := n.Bound(ctx, q, method)
			if err != nil {
				t.Fatal(err)
			}
			for s, v := range lower[0] {
				if !certify.Close(v, lower[1][s], 1e-9) || lower[1][s] < plain.Lower[0][s] {
					t.Errorf("%s, %v: margin %d is at least %.12g on patches, %.12g without, %.12g by CROWN", m.name, norm, s, v, lower[1][s],
						plain.Lower[0][s])
				}
			}
		}
	}
}

// On the reference models α-CROWN is never below CROWN, in both norms; attacks of other tests are above it. With
// ADVLAB_FULL on all examples of the three models, else on a few of the two small ones.
func TestAlphaOnReferences(t *testing.T) {
	for _, name := range attacktest.References {
		if name == "cnn-mnist-adv" && !full {
			continue
		}
		r := load(t, name, nil)
		e := r.Examples
		if !full {
			e = e.First(6)
		}
		for _, ball := range []advlib.Ball{advlib.Linf.Ball(0.1), advlib.L2.Ball(0.5)} {
			compareAlpha(t, r.Classifier, e, ball)
		}
	}
}

// compareAlpha compares margins of α-CROWN with CROWN's, and returns how many examples each proves.
func compareAlpha(t *testing.T, c *advlib.Classifier, e *advlib.Examples, ball advlib.Ball) (crown, alpha int) {
	t.Helper()
	var margins [2][][]float64
	var proven [2]int
	var seconds [2]float64
	for k, m := range []certify.Method{certify.CROWN, certify.AlphaCROWN} {
		start := time.Now()
		var err error
		if margins[k], err = certify.Margins(ctx, c, e, ball, m); err != nil {
			t.Fatal(err)
		}
		seconds[k] = time.Since(start).Seconds()
		for _, row := range margins[k] {
			if slices.Min(row) > 0 {
				proven[k]++
			}
		}
	}
	gain := 0.
	for i, row := range margins[1] {
		for k, v := range row {
			if v < margins[0][i][k] {
				t.Errorf("%s, %v: margin %d of example %d is %g by α-CROWN, %g by CROWN", c.Name(), ball, k, i, v, margins[0][i][k])
			}
			gain += (v - margins[0][i][k]) / float64(len(row)*len(margins[1]))
		}
	}
	t.Logf("%s, %v: of %d examples CROWN proves %d in %.1f s, α-CROWN %d in %.1f s, compilation included; margins gain %.4f on the mean",
		c.Name(), ball, e.Len(), proven[0], seconds[0], proven[1], seconds[1], gain)
	return proven[0], proven[1]
}

// On the 32 examples of the reference CNN in Linf 0.1, CROWN proves 21, as auto_LiRPA's does, and α-CROWN 23;
// AutoAttack leaves 30.
func TestAlphaOnCNN(t *testing.T) {
	const folder = "../../../shared/reference"
	if !full {
		t.Skip("it takes a minute: set ADVLAB_FULL=1")
	}
	if _, err := os.Stat(folder); err != nil {
		t.Skip("no ../shared/reference beside the checkout")
	}
	b, err := backend.Open()
	if err != nil {
		t.Fatal(err)
	}
	r, err := attacktest.LoadReferenceFrom(os.DirFS(folder), "cnn-mnist-adv", b)
	if err != nil {
		t.Fatal(err)
	}
	crown, alpha := compareAlpha(t, r.Classifier, r.Examples, advlib.Linf.Ball(0.1))
	if want := r.Peers["verified_crown_linf/0.1"]; float64(crown)/32 != want || alpha < 23 || alpha > 30 {
		t.Errorf("CROWN proves %d of 32, the peer's the share %g; α-CROWN %d, want 23", crown, want, alpha)
	}
}
