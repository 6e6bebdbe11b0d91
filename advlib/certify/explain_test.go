package certify_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/shapes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/ml/layers/activation"
	"github.com/gomlx/gomlx/ml/layers/norm"
	"github.com/gomlx/gomlx/ml/model"
	"github.com/gomlx/gomlx/ml/nn"

	"advlab/advlib"
	"advlab/advlib/backend"
	"advlab/advlib/certify"
)

// What cannot be bounded is an error that names the operation and the line of the model, before anything is computed.
func TestUnsupportedOperationsAreNamed(t *testing.T) {
	tests := []struct {
		name  string
		want  []string // parts of the error
		layer func(x *Node) *Node
	}{
		{"product of all", []string{"ReduceProduct", "no rule"}, func(x *Node) *Node { return Add(x, ReduceAndKeep(x, ReduceMultiply, 1)) }},
		{"remainder before a ReLU", []string{"Rem", "no rule"}, func(x *Node) *Node { return activation.Relu(Mod(x, OnesLike(x))) }},
		{"sorted", []string{"Sort", "no rule"}, func(x *Node) *Node { return activation.Relu(Sort(x, 1, true)) }},
		{"a constant of unknown rounding", []string{"Mul", "a constant is computed by Rem"}, func(x *Node) *Node {
			k := weights(x, 3, 1, 1, 8)
			return Mul(x, Mod(k, MulScalar(OnesLike(k), 0.3)))
		}},
		{"power", []string{"Pow", "whole number"}, func(x *Node) *Node { return PowScalar(Abs(x), 2.5) }},
		{"product of examples", []string{"DotGeneral", "moves the examples out of the leading axis"}, func(x *Node) *Node {
			n := x.Shape().Dimensions[0]
			y := DotGeneral(x, []int{1}, nil, x, []int{1}, nil) // [n, n]
			return Add(x, MulScalar(BroadcastToDims(Slice(y, AxisRange(), AxisRange(0, 1)), n, 8), 0))
		}},
		{"rounding", []string{"ConvertDType", "rounds Float64 to Float16"}, func(x *Node) *Node {
			return ConvertDType(ConvertDType(x, 10), x.DType())
		}},
		{"batch in another axis", []string{"Transpose", "keep the batch in front"}, func(x *Node) *Node {
			return Transpose(activation.Relu(Transpose(x, 0, 1)), 0, 1)
		}},
		{"examples cut apart", []string{"Slice", "changes the leading axis"}, func(x *Node) *Node {
			n := x.Shape().Dimensions[0]
			h := Reshape(x, 2*n, 4)
			first, second := Slice(h, AxisRange(0, n)), Slice(h, AxisRange(n, 2*n))
			return Reshape(Concatenate([]*Node{activation.Relu(first), second}, 0), n, 8)
		}},
		{"batch normalisation of training", []string{"BatchNormForTraining", "inference mode"}, func(x *Node) *Node {
			ones := Ones(x.Graph(), shapes.Make(x.DType(), 8))
			y, _, _ := InternalBatchNormForTraining(x, ones, ones, 1e-3, 1)
			return Add(x, MulScalar(y, 0)) // no number shows that rows mix
		}},
		{"dropout", []string{"RNGBitGenerator", "inference mode"}, func(x *Node) *Node {
			state := Const(x.Graph(), []uint64{1, 2, 3})
			_, u := RandomUniform(state, x.Shape())
			return Mul(x, ConvertDType(GreaterThan(u, MulScalar(OnesLike(u), -1)), x.DType())) // keeps everything
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			b, err := backend.Open()
			if err != nil {
				t.Fatal(err)
			}
			if test.want[0] == "BatchNormForTraining" && !b.Capabilities().Operations[compute.OpTypeBatchNormForTraining] {
				t.Skipf("the backend %s has no BatchNormForTraining: a model that uses it cannot be built there", b.Name())
			}
			runs := 0
			c, err := advlib.NewClassifier(advlib.Spec{Name: test.name, Input: []int{8}, Box: advlib.UnitBox,
				Logits: func(_ *model.Scope, x *Node) *Node {
					runs++
					h := test.layer(dense(x, 1, 8)) // the line that is named
					return AddScalar(dense(flat(h), 2, 3), 3)
				}})
			if err != nil {
				t.Fatal(err)
			}
			e, err := advlib.NewExamples("zeros", make([]float32, 8), []int{8}, []int32{0})
			if err != nil {
				t.Fatal(err)
			}
			for _, method := range methods[:2] {
				runs = 0
				_, err := method.Certify(ctx, c, e, advlib.Linf.Ball(0.1))
				if err == nil {
					t.Fatal("no error")
				}
				if runs != 2 {
					t.Errorf("the model was built %d times: an error should come from looking at it, twice", runs)
				}
				for _, part := range append(test.want, "explain_test.go:") {
					if !strings.Contains(err.Error(), part) {
						t.Errorf("the error does not contain %q: %v", part, err)
					}
				}
			}
		})
	}
}

// Batch normalisation in inference mode, in GoMLX's decomposed form, is a scale and a shift.
func TestBatchNormalisationAtInference(t *testing.T) {
	store := model.NewStore()
	logits := func(scope *model.Scope, x *Node) *Node {
		return dense(norm.BatchNorm(scope, x, -1).UseBackendInference(false).Done(), 1, 3)
	}
	goBackend := backends(t)["Go Backend"]
	initialise := model.MustNewExec(goBackend, store, func(scope *model.Scope, x *Node) *Node { return logits(scope, x) })
	initialise.MustCall([][]float32{{1, 2, 3, 4}})
	c, err := advlib.NewClassifier(advlib.Spec{Name: "batch norm", Input: []int{4}, Box: advlib.UnitBox, Store: store, Backend: goBackend,
		Logits: logits})
	if err != nil {
		t.Fatal(err)
	}
	e, err := advlib.NewExamples("one", []float32{1, 0.5, 0.2, 0}, []int{4}, []int32{1})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := certify.CROWNIBP.Certify(ctx, c, e, advlib.Linf.Ball(0.1)); err != nil {
		t.Errorf("batch normalisation at inference: %v", err)
	}
}

func TestExplain(t *testing.T) {
	c := testModel{"explained", []int{4}, advlib.UnitBox, func(x *Node) *Node {
		h := activation.Relu(Dot(x, weights(x, 1, 1, 4, 6)).Product())
		h = Mod(h, OnesLike(h))
		return Dot(h, weights(x, 2, 1, 6, 2)).Product()
	}}.classifier(t, nil)
	ops, err := certify.Explain(c)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, o := range ops {
		got = append(got, fmt.Sprintf("%s %v %v", o.Name, o.Shape, o.Supported()))
		if !strings.HasPrefix(o.Line, "explain_test.go:") {
			t.Errorf("the line of %s is %q", o.Name, o.Line)
		}
	}
	want := "DotGeneral [6] true, Max [6] true, Rem [6] false, DotGeneral [2] true"
	if s := strings.Join(got, ", "); s != want {
		t.Errorf("Explain lists %s, want %s", s, want)
	}
}

// Logits that do not depend on x are refused by the classifier already; those that pass x through are not a model of
// anything, but bounded.
func TestIdentityModel(t *testing.T) {
	c := testModel{"identity", []int{3}, advlib.Box{Lo: -8, Hi: 8}, func(x *Node) *Node { return x }}.classifier(t, nil)
	e, err := advlib.NewExamples("one", []float32{1, 0.5, 0}, []int{3}, []int32{0})
	if err != nil {
		t.Fatal(err)
	}
	for _, method := range methods {
		margins, err := certify.Margins(ctx, c, e, advlib.Linf.Ball(0.125), method)
		if err != nil {
			t.Fatal(err)
		}
		if want := [2]float64{0.5 - 0.25, 1 - 0.25}; margins[0][0] > want[0] || margins[0][1] > want[1] || margins[0][0] < want[0]-1e-9 ||
			margins[0][1] < want[1]-1e-9 {
			t.Errorf("%v: margins %v, want %v", method, margins[0], want)
		}
	}
	for ε, want := range map[float64]advlib.Status{0.125: advlib.Verified, 0.375: advlib.Falsified} {
		v, err := certify.Verify(ctx, c, e, advlib.Linf.Ball(ε), certify.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if v.Decisions[0].Status != want {
			t.Errorf("ε %g: %v, want %v", ε, v.Decisions[0], want)
		}
	}
}

// GoMLX's fused dense layer leaves out activations that it does not have: opened by package backend, the Go backend has
// none, and where they are turned on again a model with one is refused. The switch that keeps them out of the graph
// that is read is set back.
func TestFusedLayers(t *testing.T) {
	b := backends(t)["Go Backend"]
	if !b.Capabilities().Operations[compute.OpTypeFusedDense] {
		t.Fatal("the Go backend has no FusedDense any more: this test, and the switch, have lost their purpose")
	}
	if got := os.Getenv(FusionEnv); got != "0" {
		t.Errorf("%s is %q after the Go backend was opened, want 0", FusionEnv, got)
	}
	f := func(_ *model.Scope, x *Node) *Node {
		return nn.Dense(x, weights(x, 1, 1, 4, 2), nil, compute.DenseLayoutInputOutputs, activation.TypeSelu)
	}
	for _, set := range []string{"0", "", "1"} {
		t.Setenv(FusionEnv, set)
		if set == "" {
			os.Unsetenv(FusionEnv)
		}
		net, err := certify.New(certify.Source{Name: "fused", Graph: f, Input: []int{4}, Backend: b})
		if got := os.Getenv(FusionEnv); got != set {
			t.Errorf("%s is %q afterwards, was %q", FusionEnv, got, set)
		}
		if set != "0" {
			if err == nil || !strings.Contains(err.Error(), "set GOMLX_FUSION=0") {
				t.Errorf("%s=%q: error %v, want one that says what to do", FusionEnv, set, err)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		x := []float64{1, -2, 0.5, 3}
		a, err := net.Bound(ctx, certify.Query{Regions: certify.Boxes([][]float64{x}, [][]float64{x}),
			Rows: [][][]float64{certify.EachOutput(2)}}, certify.CROWN)
		if err != nil {
			t.Fatal(err)
		}
		y := model.MustNewExec(b, model.NewStore(), f).MustCall([][]float32{{1, -2, 0.5, 3}})[0].Value().([][]float32)[0]
		for k, v := range y {
			if l, u := a.Lower[0][k], -a.Lower[0][2+k]; !(l <= float64(v) && float64(v) <= u && u-l < 1e-4) {
				t.Errorf("output %d is %g, its bounds are [%g, %g]", k, v, l, u)
			}
		}
	}
}
