package certify_test

import (
	"bytes"
	"cmp"
	"maps"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"

	"advlab/advlib"
	"advlab/advlib/backend"
	"advlab/advlib/certify"
	"advlab/advlib/onnx"
	"advlab/advlib/onnx/onnxtest"
)

// Random graphs of all operators that are read from ONNX: each is bounded, so that its outputs in float32 stay within,
// or refused by the operator of the file. ADVLAB_FULL=1 bounds 10⁴ of them on the Go backend, and 100 on XLA.
func TestRandomONNXGraphsAreBounded(t *testing.T) {
	read := strings.Split(onnx.Operators(), ", ")
	o := onnxtest.Options{Allow: func(op string) bool { return slices.Contains(read, op) }}
	all := []certify.Method{certify.IBP, certify.CROWNIBP, certify.CROWN, certify.CROWN.WithIBP().WithLine(certify.Zero), certify.AlphaCROWN}
	first := uint64(1)
	if s := os.Getenv("ADVLAB_SEED"); s != "" {
		first, _ = strconv.ParseUint(s, 10, 64)
	}
	// onnx-gomlx collects garbage three times for each graph, which takes longer the more threads take part in it.
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	for name, b := range backends(t) {
		isGo := backend.InfoOf(b).Name == backend.Go
		bounded := 40
		if !isGo {
			bounded = 3
		}
		if full {
			bounded = map[bool]int{true: 10_000, false: 100}[isGo]
		}
		if s := os.Getenv("ADVLAB_RANDOM"); s != "" {
			bounded, _ = strconv.Atoi(s)
		}
		t.Run(name, func(t *testing.T) {
			trial := randomTrial{deployed: b, onGo: !isGo, batches: []int{1, 8}, boxes: 3, points: 24, scales: []float64{1}}
			var total fuzzed
			tried, failures := 0, 0
			unread, refused := map[string]int{}, map[string]int{}
			seed := first
			for ; tried < bounded && failures < 5; seed++ {
				g := onnxtest.Random(seed, o)
				trial.methods = []certify.Method{all[seed%uint64(len(all))]}
				trial.norm = []advlib.ConvexNorm{nil, nil, nil, advlib.L2, advlib.L1}[seed/7%5]
				f, why := trial.tryONNX(t, g)
				switch {
				case why != "":
					unread[operatorIn(why)]++
				case f.refused != "":
					refused[operatorIn(f.refused)]++
					if !refusedProperly(f.refused) || operatorIn(f.refused) == "" {
						failures++
						t.Errorf("%v: %s", g, f.refused)
					}
				case f.wrong != "":
					failures++
					small := g.Shrink(func(g onnxtest.Graph) bool {
						f, _ := trial.tryONNX(t, g)
						return f.wrong != ""
					})
					f, _ = trial.tryONNX(t, small)
					t.Errorf("%v, by %v: %s", small, trial.methods[0], f.wrong)
				default:
					if tried++; tried%1000 == 0 {
						t.Logf("%s: %d of %d graphs bounded, the last of seed %d", name, tried, bounded, seed)
					}
				}
				total.checked, total.finite, total.points = total.checked+f.checked, total.finite+f.finite, total.points+f.points
			}
			t.Logf("%s: seeds %d to %d: %d graphs bounded, at %d points; %d values, of which %d have finite bounds", name, first, seed-1, tried,
				total.points, total.checked, total.finite)
			t.Logf("refused by operator: %v", counted(refused))
			t.Logf("not read: %v", counted(unread))
			if 2*total.finite < total.checked {
				t.Errorf("too little is compared")
			}
		})
	}
}

// tryONNX bounds a graph; why tells that it is not read.
func (c randomTrial) tryONNX(t *testing.T, g onnxtest.Graph) (f fuzzed, why string) {
	n, err := onnx.ReadNetwork(bytes.NewReader(g.File), onnx.Options{})
	if err != nil {
		return f, err.Error()
	}
	return c.try(t, randomModel{seed: g.Seed, input: n.Input(), network: n}), ""
}

// operatorIn returns the first operator that an error names.
func operatorIn(why string) string {
	_, rest, _ := strings.Cut(why, "the operator ")
	name, _, _ := strings.Cut(rest, " ")
	return strings.TrimSuffix(name, ",")
}

func counted(of map[string]int) (s []string) {
	for _, name := range slices.SortedFunc(maps.Keys(of), func(a, b string) int { return cmp.Or(of[b]-of[a], strings.Compare(a, b)) }) {
		s = append(s, name+" "+strconv.Itoa(of[name]))
	}
	return s
}

// ONNX's Tile and CumSum have bounds, along any axis but the batch.
func TestTileAndCumSumOfONNX(t *testing.T) {
	weights := onnxtest.Weights{"timesshape": {Dims: []int{3}, Values: []float32{1, 2, 3}}, "axisshape": {Dims: []int{}, Values: []float32{1}}}
	file := onnxtest.File(onnxtest.Value("x", 0, 2, 2), weights,
		onnxtest.Node("Tile", "t", "x timesshape"), onnxtest.Node("CumSum", "c", "t axisshape"), onnxtest.Node("Flatten", "y", "c"))
	trial := randomTrial{methods: []certify.Method{certify.IBP, certify.CROWN}, batches: []int{1, 8}, boxes: 3, points: 24,
		scales: []float64{1}}
	for name, b := range backends(t) {
		n, err := onnx.ReadNetwork(bytes.NewReader(file), onnx.Options{})
		if err != nil {
			t.Fatal(err)
		}
		trial.deployed, trial.onGo = b, backend.InfoOf(b).Name != backend.Go
		if f := trial.try(t, randomModel{seed: 1, input: n.Input(), network: n}); f.refused != "" || f.wrong != "" || f.finite == 0 {
			t.Errorf("%s: refused %q, wrong %q, %d finite bounds", name, f.refused, f.wrong, f.finite)
		}
	}
}

// What cannot be bounded in a file is refused by the name of its operator there.
func TestONNXOperatorsAreNamed(t *testing.T) {
	weights := onnxtest.Weights{"w": {Dims: []int{4, 6}, Values: make([]float32, 24)}, "v": {Dims: []int{6, 3}, Values: make([]float32, 18)},
		"e": {Dims: []int{1}, Values: []float32{2.5}}}
	for i := range weights["w"].Values {
		weights["w"].Values[i] = float32(i%5) / 3
	}
	power := onnxtest.Node("Pow", "p", "r e")
	power.Name = "/act/Pow"
	file := onnxtest.File(onnxtest.Value("x", 0, 4), weights,
		onnxtest.Node("MatMul", "h", "x w"), onnxtest.Node("Relu", "r", "h"), power, onnxtest.Node("Relu", "q", "p"), onnxtest.Node("MatMul",
			"y", "q v"))
	for _, b := range backends(t) {
		c, err := onnx.Read(bytes.NewReader(file), onnx.Options{Box: advlib.UnitBox, Backend: b})
		if err != nil {
			t.Fatal(err)
		}
		ops, err := certify.Explain(c)
		if err != nil {
			t.Fatal(err)
		}
		var bad []certify.Operation
		for _, o := range ops {
			if !o.Supported() {
				bad = append(bad, o)
			}
		}
		if want := `the operator Pow, node "/act/Pow" (writes "p")`; len(bad) != 1 || bad[0].Name != "Pow" || bad[0].Line != want {
			t.Errorf("Explain has %v, want one Pow at %s", bad, want)
		}
		e, err := advlib.NewExamples("zeros", make([]float32, 4), []int{4}, []int32{0})
		if err != nil {
			t.Fatal(err)
		}
		_, certified := certify.CROWN.Certify(ctx, c, e, advlib.Linf.Ball(0.1))
		for _, err := range []error{certified, certify.CROWN.Check(c, advlib.Linf.Ball(0.1))} {
			if err == nil || !strings.Contains(err.Error(), `cannot be bounded: #`) || !strings.Contains(err.Error(), `node "/act/Pow"`) {
				t.Errorf("the error is %v", err)
			}
		}
	}
}
