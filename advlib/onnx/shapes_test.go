package onnx_test

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/gomlx/gomlx/core/tensors"

	"advlab/advlib"
	"advlab/advlib/onnx"
	"advlab/advlib/onnx/onnxtest"
)

// imageModel takes [n, 3, 5, 4] as PyTorch writes it, or what dims says, and returns two weighted sums of its values:
// each value counts, and counts differently.
func imageModel(dims ...int) []byte {
	size := 60
	w := onnxtest.Array[float32]{Dims: []int{size, 2}, Values: make([]float32, 2*size)}
	for i := range size {
		w.Values[2*i], w.Values[2*i+1] = float32(i%17)/16, float32(i%13)/12-0.5
	}
	return onnxtest.File(onnxtest.Value("x", dims...), onnxtest.Weights{"w": w}, onnxtest.Node("Flatten", "flat", "x"),
		onnxtest.Node("MatMul", "y", "flat w"))
}

// convModel takes images whose sizes it leaves open: its weights are for 3 channels.
func convModel() []byte {
	w := onnxtest.Array[float32]{Dims: []int{2, 3, 1, 1}, Values: []float32{1, 2, 3, -1, 0, 1}}
	return onnxtest.File(onnxtest.Value("x", 0, 0, 0, 0), onnxtest.Weights{"w": w}, onnxtest.Node("Conv", "c", "x w"),
		onnxtest.Node("GlobalAveragePool", "p", "c"), onnxtest.Node("Flatten", "y", "p"))
}

// counting returns images [2, d...] of different values.
func counting(dims ...int) *tensors.Tensor {
	x := make([]float32, 2*product(dims))
	for i := range x {
		x[i] = float32(i%101) / 100
	}
	return tensors.FromFlatDataAndDimensions(x, append([]int{2}, dims...)...)
}

func product(dims []int) int {
	n := 1
	for _, d := range dims {
		n *= d
	}
	return n
}

// The layout is found where the shapes, or the weights, leave one way, and asked for where they leave two.
func TestLayoutFromShapes(t *testing.T) {
	nchw := imageModel(1, 3, 5, 4) // batch 1, as most files have it
	for _, c := range []struct {
		name   string
		file   []byte
		input  []int
		layout onnx.Layout // that gives the same
		note   string
		err    string
	}{
		{"as file", nchw, []int{3, 5, 4}, onnx.AsFile, "", ""},
		{"channels last", nchw, []int{5, 4, 3}, onnx.ChannelsLast, "channels last, [5 4 3], which the model takes as [3 5 4]", ""},
		{"channels first", imageModel(1, 5, 4, 3), []int{3, 5, 4}, onnx.ChannelsFirst, "channels first", ""},
		{"no layout", nchw, []int{4, 5, 3}, 0, "", "no layout fits"},
		{"another size", nchw, []int{32, 32, 3}, 0, "", "have 3072 values, the file takes [3 5 4]"},
		{"flat with channels", nchw, []int{60}, 0, "", "several ways for the file's input [3 5 4] (without the batch): say which by one of Layout: onnx.AsFile, Layout: onnx.ChannelsLast"},
		{"flat and gray", imageModel(1, 1, 12, 5), []int{60}, onnx.AsFile, "", ""},
		{"gray without channels", imageModel(1, 1, 12, 5), []int{12, 5}, onnx.AsFile, "", ""},
		{"gray, channels last", imageModel(1, 1, 12, 5), []int{12, 5, 1}, onnx.AsFile, "", ""},
		{"two axes", imageModel(1, 12, 5), []int{12, 5}, onnx.AsFile, "", ""},
		{"open sizes", imageModel(0, 3, 0, 0), []int{5, 4, 3}, onnx.ChannelsLast, "channels last", ""},
		{"weights decide", convModel(), []int{8, 8, 3}, onnx.ChannelsLast, "channels last, [8 8 3]", ""},
		{"weights decide, as file", convModel(), []int{3, 8, 8}, onnx.AsFile, "", ""},
		{"weights do not decide", convModel(), []int{3, 3, 3}, 0, "", "several ways"},
		{"no input", nchw, nil, onnx.AsFile, "", ""},
	} {
		n, err := onnx.ReadNetwork(bytes.NewReader(c.file), onnx.Options{Layout: onnx.FromShapes, Input: c.input})
		if c.err != "" {
			if err == nil || !strings.Contains(err.Error(), c.err) {
				t.Errorf("%s: %v, want %q", c.name, err, c.err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if got := strings.Join(n.Notes(), "; "); (c.note == "") != (got == "") || !strings.Contains(got, c.note) {
			t.Errorf("%s: notes %q, want %q", c.name, got, c.note)
		}
		said, err := onnx.ReadNetwork(bytes.NewReader(c.file), onnx.Options{Layout: c.layout, Input: c.input})
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		x := counting(n.Input()...)
		if got, want := output(t, n, x), output(t, said, x); !slices.Equal(got, want) {
			t.Errorf("%s: outputs %v, with the layout given %v", c.name, got, want)
		}
	}
}

func output(t testing.TB, n *onnx.Network, x *tensors.Tensor) []float32 {
	t.Helper()
	y, err := evaluate(n, backends(t)["go"], x)
	if err != nil {
		t.Fatal(err)
	}
	return tensors.MustCopyFlatData[float32](y)
}

// Whatever the axes of the data, the numbers of a normalisation meet their channels.
func TestNormalisationMeetsItsChannels(t *testing.T) {
	mean, std := []float64{0.1, 0.2, 0.3}, []float64{0.5, 2, 4}
	n := func(axis int) *advlib.Normalisation { return &advlib.Normalisation{Mean: mean, Std: std, Axis: axis} }
	first := counting(3, 5, 4)
	x := tensors.MustCopyFlatData[float32](first)
	last, _ := permuted(x, []int{2, 3, 5, 4}, []int{1, 2, 0})
	by := make([]float32, len(x))
	for i, v := range x {
		c := i / 20 % 3
		by[i] = (v - float32(mean[c])) / float32(std[c])
	}
	nchw := imageModel(1, 3, 5, 4)
	plain, err := onnx.ReadNetwork(bytes.NewReader(nchw), onnx.Options{})
	if err != nil {
		t.Fatal(err)
	}
	want := output(t, plain, tensors.FromFlatDataAndDimensions(by, 2, 3, 5, 4))
	for _, c := range []struct {
		options onnx.Options
		x       []float32
	}{
		{onnx.Options{Normalisation: n(0)}, x},
		{onnx.Options{Normalisation: n(1)}, x},
		{onnx.Options{Normalisation: n(-3)}, x},
		{onnx.Options{Normalisation: n(0), Layout: onnx.ChannelsLast}, last},
		{onnx.Options{Normalisation: n(0), Layout: onnx.FromShapes, Input: []int{5, 4, 3}}, last},
		{onnx.Options{Normalisation: n(3), Layout: onnx.FromShapes, Input: []int{5, 4, 3}}, last},
		{onnx.Options{Normalisation: n(-1), Layout: onnx.FromShapes, Input: []int{5, 4, 3}}, last},
		{onnx.Options{Normalisation: n(0), Layout: onnx.ChannelsLast, Input: []int{60}}, last},
		{onnx.Options{Normalisation: n(0), Input: []int{60}}, x},
		{onnx.Options{Normalisation: n(3), Input: []int{1, 5, 4, 3}, Layout: onnx.ChannelsLast}, nil},
		{onnx.Options{Normalisation: n(4), Input: []int{1, 5, 4, 3}, Layout: onnx.ChannelsLast}, last},
	} {
		name := fmt.Sprintf("%v, %v, axis %d", c.options.Layout, c.options.Input, c.options.Normalisation.Axis)
		net, err := onnx.ReadNetwork(bytes.NewReader(nchw), c.options)
		if c.x == nil {
			if err == nil || !strings.Contains(err.Error(), "has the size 4") {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if d := difference(output(t, net, tensors.FromFlatDataAndDimensions(c.x, append([]int{2}, net.Input()...)...)), want); !(d <= 1e-5) {
			t.Errorf("%s: outputs differ by %g of the largest", name, d)
		}
	}
	_, err = onnx.Read(bytes.NewReader(nchw), onnx.Options{Box: advlib.UnitBox, Normalisation: &advlib.Normalisation{Mean: []float64{1, 2}}})
	if err == nil || !strings.Contains(err.Error(), "2 channels, and inputs x [n, 3, 5, 4]") {
		t.Errorf("two means for three channels: %v", err)
	}
	c, err := onnx.Read(bytes.NewReader(nchw), onnx.Options{Box: advlib.UnitBox, Normalisation: n(0)})
	if err != nil || len(c.Notes()) != 1 || !strings.Contains(c.Notes()[0], "(axis 1), mean 0.1, 0.2, 0.3, std 0.5, 2, 4") {
		t.Errorf("%v, %v", c, err)
	}
}
