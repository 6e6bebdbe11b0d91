package main

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"math/big"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gomlx/compute-onnx/support/protos"
	"google.golang.org/protobuf/proto"

	"advlab/advlib/cachedir"
	"advlab/advlib/onnx/onnxtest"
	"advlab/advlib/vnnlib"
)

// controller is y₀ = |x₀|, y₁ = x₀ + x₁ in ONNX, as old files have it: the input has the shape [1, 1, 1, 2], and the
// weights are among the inputs.
func controller(double bool) []byte {
	kind := protos.TensorProto_FLOAT
	if double {
		kind = protos.TensorProto_DOUBLE
	}
	value := func(name string, dims ...int64) *protos.ValueInfoProto {
		s := &protos.TensorShapeProto{}
		for _, d := range dims {
			s.Dim = append(s.Dim, &protos.TensorShapeProto_Dimension{Value: &protos.TensorShapeProto_Dimension_DimValue{DimValue: d}})
		}
		return &protos.ValueInfoProto{Name: name,
			Type: &protos.TypeProto{Value: &protos.TypeProto_TensorType{TensorType: &protos.TypeProto_Tensor{ElemType: int32(kind), Shape: s}}}}
	}
	tensor := func(name string, dims []int64, v ...float64) *protos.TensorProto {
		t := &protos.TensorProto{Name: name, Dims: dims, DataType: int32(kind)}
		for _, x := range v {
			if double {
				t.DoubleData = append(t.DoubleData, x)
			} else {
				t.FloatData = append(t.FloatData, float32(x))
			}
		}
		return t
	}
	node := func(op, out string, in ...string) *protos.NodeProto {
		return &protos.NodeProto{OpType: op, Input: in, Output: []string{out}}
	}
	g := &protos.GraphProto{
		Name: "controller",
		Node: []*protos.NodeProto{
			node("Flatten", "flat", "input"), node("Sub", "centred", "flat", "mean"), node("MatMul", "h", "centred", "W0"), node("Relu", "r", "h"),
			node("MatMul", "z", "r", "W1"), node("Add", "y", "z", "b1"),
		},
		Input:  []*protos.ValueInfoProto{value("input", 1, 1, 1, 2), value("mean", 2), value("W0", 2, 4), value("W1", 4, 2), value("b1", 2)},
		Output: []*protos.ValueInfoProto{value("y", 1, 2)},
		Initializer: []*protos.TensorProto{tensor("mean", []int64{2}, 0, 0), tensor("W0", []int64{2, 4}, 1, -1, 0, 0, 0, 0, 1, -1),
			tensor("W1", []int64{4, 2}, 1, 1, 1, -1, 0, 1, 0, -1), tensor("b1", []int64{2}, 0, 0)},
	}
	file, err := proto.Marshal(&protos.ModelProto{IrVersion: 3, OpsetImport: []*protos.OperatorSetIdProto{{Version: 8}}, Graph: g})
	if err != nil {
		panic(err)
	}
	return file
}

// property writes a property of the controller.
func property(t testing.TB, conditions string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "p.vnnlib")
	text := "(declare-const X_0 Real)\n(declare-const X_1 Real)\n(declare-const Y_0 Real)\n(declare-const Y_1 Real)\n" + conditions
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// verified runs the command and returns the first line, the counterexample, and the exit status.
func verified(t testing.TB, network, property string, more ...string) (answer string, x []*big.Rat, text map[string]string, status int) {
	t.Helper()
	var out, progress bytes.Buffer
	status = run(t.Context(), append([]string{"verify", "--onnx", network, "--vnnlib", property}, more...), &out, &progress)
	answer, rest, _ := strings.Cut(out.String(), "\n")
	if status == misused || status == failed {
		t.Fatalf("%s, %s: status %d, %s", network, property, status, progress.String())
	}
	if want := map[string]int{"unsat": done, "sat": counterexample, "unknown": undecided, "timeout": undecided}[answer]; status != want {
		t.Errorf("%s, %s: status %d with %q", network, property, status, answer)
	}
	if answer != "sat" {
		if rest != "" {
			t.Errorf("%s, %s: %q follows %q", network, property, rest, answer)
		}
		return answer, nil, nil, status
	}
	// ((X_0 v)\n(X_1 v) … (Y_0 v))
	text = map[string]string{}
	inner, ok := strings.CutPrefix(strings.TrimSuffix(rest, "\n"), "(")
	inner, ok2 := strings.CutSuffix(inner, ")")
	if !ok || !ok2 {
		t.Fatalf("%q is no counterexample", rest)
	}
	for line := range strings.SplitSeq(inner, "\n") {
		var name, value string
		if n, err := fmt.Sscanf(strings.Trim(line, "()"), "%s %s", &name, &value); n != 2 || err != nil ||
			line != fmt.Sprintf("(%s %s)", name, value) {
			t.Fatalf("%q in %q", line, rest)
		}
		text[name] = value
	}
	for i := 0; text[fmt.Sprintf("X_%d", i)] != ""; i++ {
		v, ok := new(big.Rat).SetString(text[fmt.Sprintf("X_%d", i)])
		if !ok {
			t.Fatalf("%q", rest)
		}
		x = append(x, v)
	}
	return answer, x, text, status
}

// replay checks a counterexample in the second implementation of package onnxtest, without tolerance: the input as it
// is written lies in the box, and rounded to the network's precision has an unsafe output there.
func replay[T onnxtest.Float](t testing.TB, network, property string, x []*big.Rat, text map[string]string) {
	t.Helper()
	file, err := os.ReadFile(network)
	if err != nil {
		t.Fatal(err)
	}
	m, err := onnxtest.Parse(file)
	if err != nil {
		t.Fatal(err)
	}
	p, err := vnnlib.Open(property)
	if err != nil {
		t.Fatal(err)
	}
	var in []T
	for _, v := range x {
		wide, _ := v.Float64()
		in = append(in, T(wide))
	}
	out, err := onnxtest.Forward(m, in)
	if err != nil {
		t.Fatal(err)
	}
	var y []float64
	for k, v := range out {
		y = append(y, float64(v))
		printed, err := strconv.ParseFloat(text[fmt.Sprintf("Y_%d", k)], 64)
		if err != nil || math.Abs(printed-y[k]) > 1e-4*max(1, math.Abs(y[k])) {
			t.Errorf("%s, %s: Y_%d is printed as %q, and is %g here", network, property, k, text[fmt.Sprintf("Y_%d", k)], y[k])
		}
	}
	for _, c := range p.Cases {
		if c.Contains(x) && c.IsUnsafe(y) {
			return
		}
	}
	t.Errorf("%s, %s: %v with outputs %v is no counterexample", network, property, text, y)
}

func TestVerify(t *testing.T) {
	dir := t.TempDir()
	write := func(name string, contents []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, contents, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	single, wide := write("single.onnx", controller(false)), write("double.onnx", controller(true))
	// No float32 is between these bounds, and 1/3 has no decimal.
	point := "(assert (and (>= X_0 (/ 1 3)) (<= X_0 0.33333333334) (= X_1 0.1)))"
	box := "(assert (and (<= X_0 0.7) (>= X_0 -0.5) (<= X_1 0.1) (>= X_1 0.1)))"
	for _, tc := range []struct{ name, conditions, want string }{
		{"holds", box + "(assert (>= Y_0 0.701))", "unsat"},
		{"either", box + "(assert (or (>= Y_0 0.701) (<= Y_1 -0.401)))", "unsat"},
		{"at the corner", box + "(assert (>= Y_0 0.6999))", "sat"},
		{"inside", box + "(assert (<= Y_0 0.01))", "sat"},
		{"a point", point + "(assert (>= Y_1 0.434))", "unsat"},
		{"at a point", point + "(assert (>= Y_1 0.4333))", "sat"},
		{"two boxes", "(assert (or (and (<= X_0 0) (>= X_0 -0.5) (= X_1 0)) (and (<= X_0 0.25) (>= X_0 0.1) (= X_1 3))))(assert (>= Y_1 3.1))", "sat"},
		// 0.1 in float32 is above 0.1, and in the second box, but 0.1 is its shortest decimal, and in the first.
		{"boxes that are one in float32", "(assert (= X_1 0))(assert (or (and (>= X_0 0) (<= X_0 0.1) (<= Y_0 -1)) (and (>= X_0 0.10000000001) (<= X_0 0.2) (>= Y_0 0) (<= Y_0 0.1000001))))", "sat"},
		{"contradiction", box + "(assert (<= X_0 -1))", "unsat"},
		{"by a hair", box + "(assert (> Y_0 0.70000005))", "unknown"},
	} {
		path := property(t, tc.conditions)
		for _, network := range []string{single, wide} {
			answer, x, text, _ := verified(t, network, path, "--timeout", "30")
			if want := tc.want; answer != want && !(tc.name == "by a hair" && answer == "unsat") {
				t.Errorf("%s, %s: %s, want %s", tc.name, filepath.Base(network), answer, want)
			}
			switch {
			case answer != "sat":
			case network == wide:
				replay[float64](t, network, path, x, text)
			default:
				replay[float32](t, network, path, x, text)
			}
		}
	}
	// A point without a decimal is written by the next one.
	if _, x, _, _ := verified(t, single, property(t,
		"(assert (and (= X_0 (/ 1 3)) (= X_1 0.1)))(assert (>= Y_1 0.4333))")); len(x) != 2 ||
		!strings.HasPrefix(x[0].FloatString(30), "0.33333333333333333333333333333") {
		t.Errorf("1/3 is written as %v", x)
	}
	out := filepath.Join(dir, "result.txt")
	var shown, progress bytes.Buffer
	status := run(t.Context(), []string{"verify", "--onnx", single, "--vnnlib", property(t, box+"(assert (<= Y_0 0.01))"), "-q",
		"-o", out}, &shown, &progress)
	written, err := os.ReadFile(out)
	if err != nil || status != counterexample || shown.Len()+progress.Len() > 0 || !strings.HasPrefix(string(written), "sat\n((X_0 ") {
		t.Errorf("status %d, %q, %q, %q, %v", status, written, shown.String(), progress.String(), err)
	}
}

// TestVerifyTimeout: nothing was computed in time.
func TestVerifyTimeout(t *testing.T) {
	path := filepath.Join(t.TempDir(), "n.onnx")
	if err := os.WriteFile(path, controller(false), 0o600); err != nil {
		t.Fatal(err)
	}
	p := property(t, "(assert (and (<= X_0 0.7) (>= X_0 -0.5) (= X_1 0)))(assert (>= Y_0 0.701))")
	if answer, _, _, _ := verified(t, path, p, "--timeout", "1e-9"); answer != "timeout" {
		t.Errorf("answer %q", answer)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var out, progress bytes.Buffer
	if status := run(ctx, []string{"verify", "--onnx", path, "--vnnlib", p}, &out, &progress); status != interrupted || out.Len() > 0 {
		t.Errorf("interrupted: status %d, %q", status, out.String())
	}
}

// wideKernel is a convolution with as large a kernel as its image, 1×28×28, and two dense layers, with weights at
// random.
func wideKernel() []byte {
	r := rand.New(rand.NewPCG(1, 28))
	var weights []*protos.TensorProto
	tensor := func(name string, scale float64, dims ...int64) {
		t := &protos.TensorProto{Name: name, Dims: dims, DataType: int32(protos.TensorProto_FLOAT)}
		size := int64(1)
		for _, d := range dims {
			size *= d
		}
		for range size {
			t.FloatData = append(t.FloatData, float32(scale*r.NormFloat64()))
		}
		weights = append(weights, t)
	}
	tensor("kernel", 0.05, 32, 1, 28, 28)
	tensor("W0", 0.2, 32, 32)
	tensor("W1", 0.2, 32, 2)
	value := func(name string, dims ...int64) *protos.ValueInfoProto {
		s := &protos.TensorShapeProto{}
		for _, d := range dims {
			s.Dim = append(s.Dim, &protos.TensorShapeProto_Dimension{Value: &protos.TensorShapeProto_Dimension_DimValue{DimValue: d}})
		}
		tensor := &protos.TypeProto_Tensor{ElemType: int32(protos.TensorProto_FLOAT), Shape: s}
		return &protos.ValueInfoProto{Name: name, Type: &protos.TypeProto{Value: &protos.TypeProto_TensorType{TensorType: tensor}}}
	}
	node := func(op, out string, in ...string) *protos.NodeProto {
		return &protos.NodeProto{OpType: op, Input: in, Output: []string{out}}
	}
	file, err := proto.Marshal(&protos.ModelProto{IrVersion: 8, OpsetImport: []*protos.OperatorSetIdProto{{Version: 13}},
		Graph: &protos.GraphProto{
			Name: "wide kernel",
			Node: []*protos.NodeProto{
				node("Conv", "h0", "x", "kernel"), node("Relu", "r0", "h0"), node("Flatten", "f", "r0"), node("MatMul", "h1", "f",
					"W0"), node("Relu", "r1", "h1"), node("MatMul", "y", "r1", "W1"),
			},
			Input: []*protos.ValueInfoProto{value("x", 1, 1, 28, 28)}, Output: []*protos.ValueInfoProto{value("y", 1, 2)}, Initializer: weights,
		}})
	if err != nil {
		panic(err)
	}
	return file
}

// TestVerifyEndsInTime: the program ends soon after its limit, whatever is being compiled then, and soon after it has
// found a counterexample. Machines that run tests are busy: the slack is for them.
func TestVerifyEndsInTime(t *testing.T) {
	const busy = 15 * time.Second
	dir := t.TempDir()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	program, network := filepath.Join(dir, "advlib"), filepath.Join(dir, "net.onnx")
	if err := os.Symlink(self, program); err != nil { // by this name, TestMain makes it the program
		t.Fatal(err)
	}
	if err := os.WriteFile(network, wideKernel(), 0o600); err != nil {
		t.Fatal(err)
	}
	question := func(name string, below float64) string {
		var b strings.Builder
		for i := range 784 {
			fmt.Fprintf(&b, "(declare-const X_%d Real)\n(assert (and (>= X_%d 0) (<= X_%d 1)))\n", i, i, i)
		}
		fmt.Fprintf(&b, "(declare-const Y_0 Real)\n(declare-const Y_1 Real)\n(assert (<= (- Y_0 Y_1) %g))\n", below)
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(b.String()), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	hard, easy := question("hard.vnnlib", -9), question("easy.vnnlib", 100)
	for _, tc := range []struct {
		property, limit string
		want            []string
	}{{hard, "1", []string{"timeout", "unsat"}}, {hard, "2", []string{"timeout", "unsat"}}, {easy, "120", []string{"sat"}}} {
		limit, _ := time.ParseDuration(tc.limit + "s")
		ctx, cancel := context.WithTimeout(t.Context(), limit+2*busy)
		cmd := exec.CommandContext(ctx, program, "verify", "--onnx", network, "--vnnlib", tc.property, "--timeout", tc.limit)
		cmd.Env = append(os.Environ(), cachedir.Variable+"="+t.TempDir()) // nothing is compiled already
		var out, progress bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &progress
		start := time.Now()
		_ = cmd.Run() // the status is 0, 1 or 4
		elapsed := time.Since(start)
		cancel()
		answer, _, _ := strings.Cut(out.String(), "\n")
		if elapsed > limit+busy || !slices.Contains(tc.want, answer) {
			t.Errorf("--timeout %s: %q, want one of %v, after %v: %s", tc.limit, answer, tc.want, elapsed, progress.String())
		}
		if answer != "sat" {
			continue
		}
		_, after, _ := strings.Cut(progress.String(), "found after ")
		text, _, _ := strings.Cut(after, " s")
		found, err := strconv.ParseFloat(text, 64)
		if late := elapsed - time.Duration(found*float64(time.Second)); err != nil || late > busy {
			t.Errorf("it was found after %q s, and the program ended after %v: %s", text, elapsed, progress.String())
		}
		if !strings.Contains(progress.String(), "the counterexample is one") {
			t.Errorf("what holds of the counterexample is not said: %s", progress.String())
		}
	}
}

// TestCompetition verifies the instances that lie beside the checkout. Their verdicts are those that the competition's
// tools agree on.
func TestCompetition(t *testing.T) {
	dir, err := filepath.Abs(filepath.Join("..", "..", "..", "..", "shared", "data", "vnnlib"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(dir); err != nil {
		t.Skip("no ../shared/data/vnnlib beside the checkout")
	}
	type instance struct{ network, property, want string }
	instances := []instance{
		{"test_nano", "test_nano", "unsat"}, {"test_tiny", "test_tiny", "unsat"}, {"test_small", "test_small", "unsat"},
		{"test_sat", "test_prop", "sat"}, {"test_unsat", "test_prop", "unsat"},
	}
	for _, net := range []string{"1_1", "2_1", "4_2"} {
		for k := 1; k <= 4; k++ {
			want := "unsat"
			if net == "2_1" && k == 2 {
				want = "sat"
			}
			instances = append(instances, instance{"ACASXU_run2a_" + net + "_batch_2000", fmt.Sprintf("prop_%d", k), want})
		}
	}
	for _, i := range instances {
		network, property := filepath.Join(dir, i.network+".onnx"), filepath.Join(dir, i.property+".vnnlib")
		start := time.Now()
		// Long enough for a busy machine: the time is reported, not tested.
		answer, x, text, _ := verified(t, network, property, "--timeout", "600")
		t.Logf("%s, %s: %s in %.1f s", i.network, i.property, answer, time.Since(start).Seconds())
		if answer != i.want {
			t.Errorf("%s, %s: %s, want %s", i.network, i.property, answer, i.want)
		}
		if answer == "sat" {
			replay[float32](t, network, property, x, text)
		}
	}
}

// TestVerifyNoOutput: a property that says nothing of outputs is no question, and not sat.
func TestVerifyNoOutput(t *testing.T) {
	network := written(t, t.TempDir(), "controller.onnx", controller(false))
	var out, said bytes.Buffer
	status := run(t.Context(), []string{"verify", "--backend", "go", "--onnx", network, "--vnnlib",
		property(t, "(assert (and (<= X_0 1) (>= X_0 0) (<= X_1 1) (>= X_1 0)))")}, &out, &said)
	if status != misused || out.String() != "" || !strings.Contains(said.String(), "no output is constrained") {
		t.Errorf("status %d, printed %q, said %q", status, out.String(), said.String())
	}
}
