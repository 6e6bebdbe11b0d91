package onnx_test

import (
	"bytes"
	"maps"
	"math"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/gomlx/compute"
	"github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"

	"advlab/advlib/backend"
	"advlab/advlib/dataset"
	"advlab/advlib/onnx"
)

// fixture is a small random model with an input and what ONNX Runtime 1.32.0 computes from it: testdata/generate.py.
type fixture struct {
	name string
	file []byte
	x, y []float32
	dims []int // of x
	wide []float64
}

func fixtures(t testing.TB) []fixture {
	t.Helper()
	arrays, err := dataset.Arrays("testdata/operators.npz")
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]*fixture{}
	for key, value := range arrays {
		name, part, _ := strings.Cut(key, "@")
		if found[name] == nil {
			found[name] = &fixture{name: name}
		}
		switch f := found[name]; part {
		case "onnx":
			f.file = tensors.MustCopyFlatData[uint8](value)
		case "x":
			f.dims, f.x = value.Shape().Dimensions, tensors.MustCopyFlatData[float32](value)
		case "y":
			f.y = tensors.MustCopyFlatData[float32](value)
		case "wide":
			f.wide = tensors.MustCopyFlatData[float64](value)
		}
	}
	all := make([]fixture, 0, len(found))
	for _, name := range slices.Sorted(maps.Keys(found)) {
		all = append(all, *found[name])
	}
	if len(all) < 250 {
		t.Fatalf("%d fixtures", len(all))
	}
	return all
}

// options are what a fixture needs beside its file.
func (f fixture) options() onnx.Options {
	o := onnx.Options{StripSoftmax: f.name == "mlp-softmax/13"}
	if f.name == "mlp-open/13" {
		o.Input = []int{5, 6}
	}
	return o
}

func (f fixture) network(t testing.TB) *onnx.Network {
	t.Helper()
	n, err := onnx.ReadNetwork(bytes.NewReader(f.file), f.options())
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// backends are the ones to test on: the one that Open returns, and the Go backend.
func backends(t testing.TB) map[string]compute.Backend {
	t.Helper()
	info, err := backend.Describe()
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]compute.Backend{}
	for _, name := range []string{info.Name, backend.Go} {
		b, err := backend.OpenNamed(name)
		if err != nil {
			t.Fatal(err)
		}
		all[name] = b
	}
	return all
}

func evaluate(n *onnx.Network, b compute.Backend, x *tensors.Tensor) (*tensors.Tensor, error) {
	e, err := model.NewExec(b, n.Store(), func(s *model.Scope, x *graph.Node) *graph.Node { return n.Graph(s.Store().RootScope(), x) })
	if err != nil {
		return nil, err
	}
	out, err := e.Exec(x)
	if err != nil {
		return nil, err
	}
	return out[0], nil
}

// spared tells of the many fixtures for one operator which XLA, which compiles for long, computes with ADVLAB_FULL=1
// only.
func spared(op string, i int) bool {
	return os.Getenv("ADVLAB_FULL") == "" && strings.HasPrefix(op, "Resize-") && i%5 != 0
}

// difference is the largest one, relative to the largest value.
func difference(got, want []float32) float64 {
	if len(got) != len(want) {
		return math.Inf(1)
	}
	scale, worst := 0., 0.
	for i := range want {
		scale = max(scale, math.Abs(float64(want[i])))
		worst = max(worst, math.Abs(float64(got[i])-float64(want[i])))
		if got[i] != got[i] {
			return math.NaN()
		}
	}
	return worst / scale
}

func TestOperatorsComputeWhatONNXRuntimeDoes(t *testing.T) {
	all := fixtures(t)
	for name, b := range backends(t) {
		worst, where := 0., ""
		for i, f := range all {
			op, _, _ := strings.Cut(f.name, "/")
			again := i+1 < len(all) && strings.HasPrefix(all[i+1].name, op+"/")
			if op == "mlp-softmax" || name != backend.Go && (again && op != "cnn-batch-1" || spared(op, i)) {
				continue // the softmax is left out: TestFinalSoftmax. XLA compiles for long: only one opset of each
			}
			t.Run(name+"/"+f.name, func(t *testing.T) {
				want := f.y
				n := f.network(t)
				if got := append([]int{f.dims[0]}, n.Input()...); !slices.Equal(got, f.dims) {
					t.Fatalf("input %v, want %v", got, f.dims)
				}
				out, err := evaluate(n, b, tensors.FromFlatDataAndDimensions(f.x, f.dims...))
				if err != nil {
					t.Fatal(err)
				}
				got := tensors.MustCopyFlatData[float32](out)
				if !slices.Equal(out.Shape().Dimensions, []int{f.dims[0], n.Outputs()}) {
					t.Errorf("output %v, want %d rows of %d", out.Shape().Dimensions, f.dims[0], n.Outputs())
				}
				d := difference(got, want)
				if !(d <= 1e-5) {
					t.Errorf("it differs by %g of the largest value: %v, want %v", d, got[:min(6, len(got))], want[:min(6, len(want))])
				}
				if d > worst {
					worst, where = d, f.name
				}
			})
		}
		t.Logf("%s: the largest relative difference is %.2g, of %s", name, worst, where)
	}
}
