package onnx_test

import (
	"bytes"
	"context"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute-onnx/support/protos"
	"github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"

	"advlab/advlib"
	"advlab/advlib/attack"
	"advlab/advlib/certify"
	"advlab/advlib/onnx"
	"advlab/advlib/onnx/onnxtest"
)

// singles are models of a batch of 1 that do with it what a larger batch would not survive.
func singles() map[string]draft {
	image := []int{1, 3, 4, 4}
	kernel, bias := weight("K", random(1, 5*3*3*3), 5, 3, 3, 3), weight("b", random(2, 5), 5)
	last, row := weight("V", random(3, 80*3), 80, 3), integers("row", 1, -1)
	conv := op("Conv", "c", []string{"x", "K", "b"}, "pads", []int{1, 1, 1, 1})
	relu, flat := op("Relu", "r", []string{"c"}), op("Reshape", "f", []string{"r", "row"})
	layer := []*protos.NodeProto{conv, relu, flat, op("MatMul", "y", []string{"f", "V"})}
	weights := []*protos.TensorProto{kernel, bias, last, row}
	on := func(input []int, weights []*protos.TensorProto, nodes ...*protos.NodeProto) draft {
		return draft{opset: 13, input: input, nodes: nodes, weights: weights}
	}
	attention := func(heads int64) draft { // batch and heads share an axis, as in torch.nn.MultiheadAttention
		return on([]int{1, 6, 8}, []*protos.TensorProto{
			weight("Q", random(4, 64), 8, 8), weight("W", random(5, 64), 8, 8), weight("U", random(6, 64), 8, 8),
			weight("V", random(7, 48*3), 48, 3),
			integers("split", 6, heads, 8/heads), integers("join", 6, 8), integers("flat", -1)},
			op("Transpose", "t", []string{"x"}, "perm", []int{1, 0, 2}), // [tokens, 1, features]
			op("MatMul", "q0", []string{"t", "Q"}), op("MatMul", "k0", []string{"t", "W"}), op("MatMul", "v0", []string{"t", "U"}),
			op("Reshape", "q1", []string{"q0", "split"}), op("Reshape", "k1", []string{"k0", "split"}), op("Reshape", "v1", []string{"v0", "split"}),
			op("Transpose", "q", []string{"q1"}, "perm", []int{1, 0, 2}),
			op("Transpose", "k", []string{"k1"}, "perm", []int{1, 2, 0}), op("Transpose", "v", []string{"v1"}, "perm", []int{1, 0, 2}),
			op("MatMul", "s", []string{"q", "k"}), op("Softmax", "p", []string{"s"}, "axis", -1), op("MatMul", "o", []string{"p", "v"}),
			op("Transpose", "o1", []string{"o"}, "perm", []int{1, 0, 2}), op("Reshape", "o2", []string{"o1", "join"}),
			op("Reshape", "o3", []string{"o2", "flat"}), op("MatMul", "y", []string{"o3", "V"}))
	}
	return map[string]draft{
		"view": on(image, []*protos.TensorProto{kernel, bias, last, integers("row", -1)}, layer...),
		"mean of everything": on(image, weights, append([]*protos.NodeProto{op("ReduceMean", "m", []string{"x0"}, "keepdims", 0),
			op("Sub", "x", []string{"x0", "m"})}, layer...)...),
		"attention": attention(2),
		"one head":  attention(1),
		"first of the batch": on([]int{1, 6}, []*protos.TensorProto{weight("V", random(3, 18), 6, 3),
			{Name: "zero", DataType: int32(protos.TensorProto_INT64), Int64Data: []int64{0}}},
			op("Gather", "g", []string{"x", "zero"}, "axis", 0), op("MatMul", "y", []string{"g", "V"})),
		"softmax over the batch": on([]int{1, 6}, []*protos.TensorProto{weight("V", random(3, 18), 6, 3)},
			op("Softmax", "s", []string{"x"}, "axis", 0), op("Add", "a", []string{"s", "x"}), op("MatMul", "y", []string{"a", "V"})),
		"two rows of one": on([]int{1, 6}, []*protos.TensorProto{weight("V", random(3, 18), 6, 3),
			weight("c", []float32{2, -3}, 2, 1), integers("two", 2, -1), integers("six", -1, 6)},
			op("Reshape", "r", []string{"x", "two"}), op("Mul", "m", []string{"r", "c"}), op("Reshape", "b", []string{"m", "six"}),
			op("MatMul", "y", []string{"b", "V"})),
		"along the batch": on([]int{1, 6}, []*protos.TensorProto{weight("V", random(3, 36), 12, 3), integers("row", 1, -1)},
			op("Relu", "r", []string{"x"}), op("Concat", "c", []string{"r", "x"}, "axis", 0),
			op("Reshape", "f", []string{"c", "row"}), op("MatMul", "y", []string{"f", "V"})),
		"channels as images": on([]int{1, 3, 4, 4}, []*protos.TensorProto{weight("K", random(1, 2*9), 2, 1, 3, 3),
			weight("V", random(3, 96*3), 96, 3), integers("apart", 3, 1, 4, 4), integers("row", 1, -1)},
			op("Reshape", "i", []string{"x", "apart"}), op("Conv", "c", []string{"i", "K"}, "pads", []int{1, 1, 1, 1}),
			op("MaxPool", "p", []string{"c"}, "kernel_shape", []int{2, 2}, "pads", []int{0, 0, 1, 1}),
			op("Reshape", "f", []string{"p", "row"}), op("MatMul", "y", []string{"f", "V"})),
		"vector": on([]int{6}, []*protos.TensorProto{weight("V", random(3, 18), 6, 3), integers("two", 2, 3), integers("flat", -1)},
			op("Reshape", "r", []string{"x", "two"}), op("Softmax", "s", []string{"r"}, "axis", 1),
			op("Reshape", "f", []string{"s", "flat"}), op("MatMul", "y", []string{"f", "V"})),
		"weights on the left": on([]int{1, 6}, []*protos.TensorProto{weight("V", random(3, 18), 3, 6), integers("column", 6, 1),
			integers("row", 1, 3)},
			op("Reshape", "r", []string{"x", "column"}), op("MatMul", "m", []string{"V", "r"}), op("Reshape", "y", []string{"m", "row"})),
	}
}

// single builds a draft: "x0" is the input of those that use the name x for something else.
func single(t testing.TB, d draft) []byte {
	file := d.file(t)
	return changed(t, file, func(m *protos.ModelProto) {
		if slices.ContainsFunc(m.Graph.Node, func(n *protos.NodeProto) bool { return slices.Contains(n.Input, "x0") }) {
			m.Graph.Input[0].Name = "x0"
		}
	})
}

// TestSingleExamples compares models fixed at batch 1 that merge it with other axes, three rows at once, with plain Go,
// row by row.
func TestSingleExamples(t *testing.T) {
	for name, d := range singles() {
		for on, b := range backends(t) {
			t.Run(on+"/"+name, func(t *testing.T) {
				file := single(t, d)
				n, err := onnx.ReadNetwork(bytes.NewReader(file), onnx.Options{})
				if err != nil {
					t.Fatal(err)
				}
				if !onnx.IsSingle(n) {
					t.Error("it is read as if its batch were open")
				}
				compareRows(t, b, n, file, 1e-5)
			})
		}
	}
}

// compareRows computes random rows at once, and each in plain Go.
func compareRows(t *testing.T, b compute.Backend, n *onnx.Network, file []byte, tolerance float64) {
	t.Helper()
	m, err := onnxtest.Parse(file)
	if err != nil {
		t.Fatal(err)
	}
	const rows = 3
	dims := append([]int{rows}, n.Input()...)
	size := 1
	for _, d := range n.Input() {
		size *= d
	}
	x := random(9, rows*size)
	out, err := evaluate(n, b, tensors.FromFlatDataAndDimensions(x, dims...))
	if err != nil {
		t.Fatal(err)
	}
	var want []float32
	for i := range rows {
		y, err := onnxtest.Forward(m, x[i*size:(i+1)*size])
		if err != nil {
			t.Fatal(err)
		}
		want = append(want, y...)
	}
	if d := difference(tensors.MustCopyFlatData[float32](out), want); !(d <= tolerance) {
		t.Errorf("it differs by %g: %v, want %v", d, tensors.MustCopyFlatData[float32](out), want)
	}
}

// TestBatchesThatStayOpen: what came in before comes in as before.
func TestBatchesThatStayOpen(t *testing.T) {
	read := 0
	for _, f := range fixtures(t) {
		n, err := onnx.ReadNetwork(bytes.NewReader(f.file), f.options())
		if err != nil {
			t.Fatal(err)
		}
		read++
		if onnx.IsSingle(n) {
			t.Errorf("%s is mapped over its rows", f.name)
		}
	}
	t.Logf("%d models", read)
}

// TestRandomGraphsOfOneExample maps random graphs over three rows, and compares with plain Go, as
// TestRandomGraphsComputeWhatPlainGoDoes does for those of an open batch.
func TestRandomGraphsOfOneExample(t *testing.T) {
	b := backends(t)["go"]
	read := strings.Split(onnx.Operators(), ", ")
	o := onnxtest.Options{Allow: func(op string) bool { return slices.Contains(read, op) }}
	tally := map[string]int{}
	n := uint64(count(t, 100, 10_000))
	for seed := range n {
		g := onnxtest.Random(seed, o)
		fixed := changed(t, g.File, func(m *protos.ModelProto) {
			m.Graph.Input[0].Type.GetTensorType().Shape.Dim[0].Value = &protos.TensorShapeProto_Dimension_DimValue{DimValue: 1}
		})
		net, err := onnx.ReadSingle(fixed, onnx.Options{})
		if err != nil {
			if !strings.Contains(err.Error(), "the operator ") {
				t.Errorf("%v: %v", g, err)
			}
			tally["refused"]++
			continue
		}
		reference, err := onnxtest.Parse(g.File)
		if err != nil {
			t.Fatal(err)
		}
		const rows = 3
		r := rand.New(rand.NewPCG(seed, 98))
		var xs, want []float64
		for range rows {
			x := g.Example(r)
			y, err := onnxtest.Forward(reference, x)
			if err != nil {
				t.Fatal(err)
			}
			xs, want = append(xs, x...), append(want, y...)
		}
		store, err := net.WideStore()
		if err != nil {
			t.Fatal(err)
		}
		e, err := model.NewExec(b, store, func(s *model.Scope, x *graph.Node) *graph.Node { return net.Graph(s.Store().RootScope(), x) })
		if err != nil {
			t.Fatalf("%v: %v", g, err)
		}
		out, err := e.Exec(tensors.FromFlatDataAndDimensions(xs, append([]int{rows}, g.Input...)...))
		if err != nil {
			t.Errorf("%v: %v", g, err)
			continue
		}
		got := tensors.MustCopyFlatData[float64](out[0])
		e.Finalize()
		switch worst := apart(got, want); {
		case slices.ContainsFunc(want, func(v float64) bool { return math.IsNaN(v) || math.IsInf(v, 0) }):
			tally["not finite"]++
		case worst <= 1e-9:
			tally["right"]++
		case sensitive(g, reference, xs, rows, 1e-9):
			tally["sensitive"]++
		default:
			t.Errorf("%v: it differs by %g of the largest value", g, worst)
		}
	}
	t.Logf("of %d graphs: %v", n, tally)
	if tally["right"] < int(n)*8/10 {
		t.Errorf("only %d of %d were compared", tally["right"], n)
	}
}

// TestSingleExamplesAreBounded: certificates know nothing of the mapping, and what they say is so.
func TestSingleExamplesAreBounded(t *testing.T) {
	for _, name := range []string{"view", "mean of everything", "channels as images", "weights on the left", "attention"} {
		t.Run(name, func(t *testing.T) {
			d := singles()[name]
			c, err := onnx.Read(bytes.NewReader(single(t, d)), onnx.Options{Box: advlib.Box{Lo: -4, Hi: 4}, Backend: backends(t)["go"]})
			if err != nil {
				t.Fatal(err)
			}
			const rows = 6
			x := random(11, rows*sizeOf(c.Input()))
			for i := range x {
				x[i] = max(-4, min(4, x[i]))
			}
			e := &advlib.Examples{X: tensors.FromFlatDataAndDimensions(x, append([]int{rows}, c.Input()...)...), Y: make([]int32, rows)}
			z, err := c.Logits(e.X)
			if err != nil {
				t.Fatal(err)
			}
			for i, row := range z {
				e.Y[i] = int32(slices.Index(row, slices.Max(row)))
			}
			small, large := advlib.Linf.Ball(0.002), advlib.Linf.Ball(0.2)
			for _, method := range []certify.Method{certify.IBP, certify.CROWN} {
				r, err := advlib.Evaluate(context.Background(), c, e, []advlib.Attack{attack.PGD{Ball: small}, attack.PGD{Ball: large}}, method)
				if err != nil {
					t.Fatal(err)
				}
				for _, ball := range []advlib.Ball{small, large} {
					certified, _ := r.Certified(ball)
					robust := r.Robust(ball)
					if certified.Count > robust.Count {
						t.Errorf("%v, ε = %v: %d certified, %d robust", method, ball, certified.Count, robust.Count)
					}
					if ball == small && certified.Count == 0 {
						t.Errorf("%v certifies nothing at %v", method, ball)
					}
				}
			}
		})
	}
}

func sizeOf(dims []int) int {
	n := 1
	for _, d := range dims {
		n *= d
	}
	return n
}

// TestMergedBatches: a batch of more than 1 that is merged is refused, with advice.
func TestMergedBatches(t *testing.T) {
	for name, wants := range map[string][]string{
		"view":                   {"batch", "export it with a batch of 1"},
		"softmax over the batch": {"fixes the batch at 4", "mix", "export it with a batch of 1"},
	} {
		d := singles()[name]
		file := changed(t, single(t, d), func(m *protos.ModelProto) {
			m.Graph.Input[0].Type.GetTensorType().Shape.Dim[0].Value = &protos.TensorShapeProto_Dimension_DimValue{DimValue: 4}
			for i, w := range m.Graph.Initializer {
				if w.Name == "V" && name == "view" {
					m.Graph.Initializer[i] = weight("V", random(3, 4*80*3), 4*80, 3)
				}
			}
		})
		_, err := onnx.ReadNetwork(bytes.NewReader(file), onnx.Options{})
		want(t, err, wants...)
	}
	// What cannot be mapped is named.
	d := singles()["view"]
	d.nodes = append(slices.Clone(d.nodes), op("Relu", "z", []string{"y"}))
	d.nodes[0] = op("Conv", "c", []string{"x", "x", "b"}, "pads", []int{1, 1, 1, 1})
	_, err := onnx.ReadNetwork(bytes.NewReader(single(t, d)), onnx.Options{})
	want(t, err, "the operator Conv")
}
