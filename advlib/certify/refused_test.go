package certify_test

import (
	"math"
	"strings"
	"testing"

	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"

	"advlab/advlib/certify"
)

// Models that no bound can be given for are refused with what is wrong and, where it is an operation, its line.
func TestModelsThatAreRefused(t *testing.T) {
	goBackend := backends(t)["Go Backend"]
	tests := []struct {
		name  string
		graph func(scope *model.Scope, x *Node) *Node
		want  []string
	}{
		{"independent of the input", func(_ *model.Scope, x *Node) *Node {
			return BroadcastToDims(weights(x, 1, 1, 1, 3), x.Shape().Dimensions[0], 3)
		},
			[]string{"do not depend on the input x"}},
		{"a float32 constant", func(_ *model.Scope, x *Node) *Node {
			return Add(dense(x, 1, 3), Const(x.Graph(), [][]float32{{1, 2, 3}}))
		}, []string{"cannot be built in float64", "ConstAsDType", "refused_test.go:"}},
		{"a loop", func(_ *model.Scope, x *Node) *Node {
			g := x.Graph()
			out := While(NewClosure(g, func(g *Graph) []*Node {
				_, i := Parameter(g, "h", x.Shape()), Parameter(g, "i", shapes.Make(dtypes.Int32))
				return []*Node{LessThan(i, Const(g, int32(3)))}
			}), NewClosure(g, func(g *Graph) []*Node {
				h, i := Parameter(g, "h", x.Shape()), Parameter(g, "i", shapes.Make(dtypes.Int32))
				return []*Node{Tanh(h), Add(i, Const(g, int32(1)))}
			}), x, Const(g, int32(0)))
			return Slice(out[0], AxisRange(), AxisRange(0, 3))
		}, []string{"While", "no rule", "refused_test.go:"}},
		{"a loop with constants that GoMLX keeps", func(_ *model.Scope, x *Node) *Node {
			g := x.Graph()
			out := While(NewClosure(g, func(g *Graph) []*Node {
				_, i := Parameter(g, "h", x.Shape()), Parameter(g, "i", shapes.Make(dtypes.Int32))
				return []*Node{LessThan(i, Const(g, int32(3)))}
			}), NewClosure(g, func(g *Graph) []*Node {
				h, i := Parameter(g, "h", x.Shape()), Parameter(g, "i", shapes.Make(dtypes.Int32))
				return []*Node{Tanh(h), AddScalar(i, 1)}
			}), x, Const(g, int32(0)))
			return Slice(out[0], AxisRange(), AxisRange(0, 3))
		}, []string{"While", "no rule", "unroll", "refused_test.go:"}},
		{"a gather that depends on data", func(_ *model.Scope, x *Node) *Node {
			n := x.Shape().Dimensions[0]
			at := ConvertDType(MulScalar(x, 2), dtypes.Int32)
			picked := Gather(weights(x, 1, 1, 9, 3), Reshape(at, n*4, 1))
			return ReduceSum(Reshape(picked, n, 4, 3), 1)
		}, []string{"Gather", "refused_test.go:"}},
		{"one output of three numbers for each example in another shape",
			func(_ *model.Scope, x *Node) *Node { return InsertAxes(dense(x, 1, 3), 1) },
			[]string{"[3, K]"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := certify.New(certify.Source{Name: test.name, Graph: test.graph, Input: []int{4}, Backend: goBackend})
			if err == nil {
				t.Fatal("there is no error")
			}
			t.Log(err)
			for _, part := range append(test.want, "certify: model \""+test.name) {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("the error %q does not contain %q", err, part)
				}
			}
			if strings.Count(err.Error(), "\n") > 4 || len(err.Error()) > 1500 {
				t.Errorf("the error has %d characters:\n%v", len(err.Error()), err)
			}
		})
	}
}

// Queries that make no sense are refused before anything is compiled.
func TestBadQueries(t *testing.T) {
	net, err := certify.New(certify.Source{Name: "small", Graph: func(_ *model.Scope, x *Node) *Node { return dense(x, 1, 3) },
		Input: []int{2}, Backend: backends(t)["Go Backend"]})
	if err != nil {
		t.Fatal(err)
	}
	box := func(lower, upper float64) certify.Regions {
		return certify.Boxes([][]float64{{lower, 0}}, [][]float64{{upper, 1}})
	}
	rows := [][][]float64{certify.EachOutput(3)}
	for name, test := range map[string]struct {
		q    certify.Query
		want string
	}{
		"no regions":     {certify.Query{Rows: rows}, "at least one"},
		"empty region":   {certify.Query{Regions: box(1, 0), Rows: rows}, "is empty"},
		"NaN":            {certify.Query{Regions: box(math.NaN(), 0), Rows: rows}, "must be finite"},
		"wrong size":     {certify.Query{Regions: certify.Boxes([][]float64{{1}}, [][]float64{{1}}), Rows: rows}, "an input has 2"},
		"no rows":        {certify.Query{Regions: box(0, 1)}, "give rows"},
		"infinite row":   {certify.Query{Regions: box(0, 1), Rows: [][][]float64{{{1, math.Inf(1), 0}}}}, "must be finite"},
		"row too short":  {certify.Query{Regions: box(0, 1), Rows: [][][]float64{{{1, 0}}}}, "3 outputs"},
		"too few limits": {certify.Query{Regions: box(0, 1), Rows: rows, Enough: []float64{0}}, "Enough has 1 numbers, there are 6 rows"},
	} {
		if _, err := net.Bound(ctx, test.q, certify.CROWN); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: error %v, want one with %q", name, err, test.want)
		}
	}
	for _, rate := range []float64{-1, 2, math.NaN()} {
		m := certify.CROWN.WithAlpha(certify.Alpha{Rate: rate})
		if _, err := net.Bound(ctx, certify.Query{Regions: box(0, 1), Rows: rows}, m); err == nil ||
			!strings.Contains(err.Error(), "must be between 0 and 1") {
			t.Errorf("a rate of %g: error %v", rate, err)
		}
	}
}

// Weights and inputs near the smallest float32, where XLA flushes to zero, and near the largest, where products
// overflow: the model's own outputs stay within bounds, or the bounds say nothing.
func TestTinyAndHugeNumbers(t *testing.T) {
	for name, b := range backends(t) {
		for _, scale := range []float32{1e-45, 1e-40, 1e-38, 1e-30, 1e-20, 1e20, 1e30, 3e38} {
			store := model.NewStore()
			for v, dims := range map[string][]int{"W": {4, 6}, "V": {6, 3}, "b": {1, 3}} {
				flat := make([]float32, dims[0]*dims[1])
				for i := range flat {
					flat[i] = float32(math.Sin(float64(3*i+len(v)))) * scale
					if v == "V" && scale < 1 {
						flat[i] = float32(math.Cos(float64(i))) / max(scale, 1e-38) // brings them back
					}
				}
				if _, err := store.CreateVariable("/"+v, tensors.FromFlatDataAndDimensions(flat, dims...)); err != nil {
					t.Fatal(err)
				}
			}
			f := func(scope *model.Scope, x *Node) *Node {
				h := Dot(x, scope.GetVariable("W").NodeValue(x)).Product()
				h = Max(h, ZerosLike(h))
				return Add(Dot(h, scope.GetVariable("V").NodeValue(x)).Product(), scope.GetVariable("b").NodeValue(x))
			}
			net, err := certify.New(certify.Source{Name: "tiny", Graph: f, Store: store, Input: []int{4}, Backend: b})
			if err != nil {
				t.Fatal(err)
			}
			forward := model.MustNewExec(b, store, f)
			x := []float32{1, -0.5, 0.25, 2, scale, -scale, 1, 0, 1e-40, 1e-42, -1e-39, 1e-38}
			y := tensors.MustCopyFlatData[float32](forward.MustCall(tensors.FromFlatDataAndDimensions(x, 3, 4))[0])
			var rows [][]float64
			for i := range 3 {
				row := make([]float64, 4)
				for j := range row {
					row[j] = float64(x[4*i+j])
				}
				rows = append(rows, row)
			}
			for _, m := range []certify.Method{certify.IBP, certify.CROWN, certify.CROWN.ByGraphs()} {
				a, err := net.Bound(ctx, certify.Query{Regions: certify.Boxes(rows, rows), Rows: [][][]float64{certify.EachOutput(3)}}, m)
				if err != nil {
					t.Fatal(err)
				}
				for i := range 3 {
					for k := range 3 {
						l, v, u := a.Lower[i][k], float64(y[3*i+k]), -a.Lower[i][3+k]
						if math.IsNaN(l) || math.IsNaN(u) || !math.IsNaN(v) && !(l <= v && v <= u) || math.IsNaN(v) && (l > math.Inf(-1) || u < math.Inf(1)) {
							t.Errorf("%s: weights of %g: %v: output %d of input %d is %g, its bounds are [%g, %g]", name, scale, m, k, i, v, l, u)
						}
					}
				}
			}
		}
	}
}
