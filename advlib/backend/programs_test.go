package backend_test

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"
)

// programs are the graphs whose results must not depend on whether they were compiled or loaded: the kinds that
// attacks and training are made of. Each runs three times.
var programs = map[string]func(b compute.Backend) ([]*tensors.Tensor, error){
	"mlp gradient":  mlpGradient,
	"cnn pgd step":  func(b compute.Backend) ([]*tensors.Tensor, error) { return cnnStep(b, 8, 3) },
	"while":         while,
	"variables":     variables,
	"many outputs":  manyOutputs,
	"donated input": donatedInput,
}

// benchmarkStep names a program that is too big for the tests: see BenchmarkCNNStep.
const benchmarkStep = "cnn pgd step, batch 128"

func program(name string) func(b compute.Backend) ([]*tensors.Tensor, error) {
	if name == benchmarkStep {
		return func(b compute.Backend) ([]*tensors.Tensor, error) { return cnnStep(b, 128, 1) }
	}
	return programs[name]
}

// wave is a tensor of deterministic values in [-scale, scale] without a pattern that repeats.
func wave(scale, phase float64, dims ...int) *tensors.Tensor {
	n := 1
	for _, d := range dims {
		n *= d
	}
	values := make([]float32, n)
	for i := range values {
		values[i] = float32(scale * math.Sin(phase+1.7*float64(i)+0.001*float64(i*i%977)))
	}
	return tensors.FromFlatDataAndDimensions(values, dims...)
}

// crossEntropy is summed over the batch; y is one-hot.
func crossEntropy(logits, y *Node) *Node {
	return Neg(ReduceAllSum(Mul(y, LogSoftmax(logits))))
}

func labels(n int) *tensors.Tensor {
	values := make([]float32, 10*n)
	for i := range n {
		values[10*i+i*7%10] = 1
	}
	return tensors.FromFlatDataAndDimensions(values, n, 10)
}

func relu(x *Node) *Node { return Max(x, ZerosLike(x)) }

func mlpGradient(b compute.Backend) ([]*tensors.Tensor, error) {
	e, err := NewExec(b, func(x, y, w1, w2 *Node) []*Node {
		loss := crossEntropy(Dot(relu(Dot(x, w1).Product()), w2).Product(), y)
		return append([]*Node{loss}, Gradient(loss, x, w1, w2)...)
	})
	if err != nil {
		return nil, err
	}
	var out []*tensors.Tensor
	for range 3 {
		if out, err = e.Call(wave(1, 0, 16, 64), labels(16), wave(0.2, 1, 64, 32), wave(0.2, 2, 32, 10)); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// cnnStep is PGD in Linf on a small network: two convolutions with max-pooling, one dense layer.
func cnnStep(b compute.Backend, batch, steps int) ([]*tensors.Tensor, error) {
	e, err := newCNNStep(b)
	if err != nil {
		return nil, err
	}
	x0, y, weights := cnnInputs(batch)
	x := x0
	for range steps {
		out, err := e.Call(append([]any{x0, x, y}, weights...)...)
		if err != nil {
			return nil, err
		}
		x = out[0]
	}
	return []*tensors.Tensor{x}, nil
}

func cnnInputs(batch int) (x, y *tensors.Tensor, weights []any) {
	return wave(1, 0, batch, 28, 28, 1), labels(batch), []any{wave(0.3, 1, 5, 5, 1, 16), wave(0.1, 2, 5, 5, 16, 32), wave(0.05, 3, 7*7*32, 10)}
}

func newCNNStep(b compute.Backend) (*Exec, error) {
	return NewExec(b, func(in []*Node) *Node {
		x0, x, y, k1, k2, w := in[0], in[1], in[2], in[3], in[4], in[5]
		h := MaxPool(relu(Convolve(x, k1).PadSame().Done())).Window(2).Done()
		h = MaxPool(relu(Convolve(h, k2).PadSame().Done())).Window(2).Done()
		logits := Dot(Reshape(h, x.Shape().Dimensions[0], -1), w).Product()
		g := Gradient(crossEntropy(logits, y), x)[0]
		x = Add(x, MulScalar(Sign(g), 0.01))
		return ClipScalar(Add(x0, ClipScalar(Sub(x, x0), -0.3, 0.3)), -1, 1)
	})
}

// while multiplies a matrix with itself in a loop on the device.
func while(b compute.Backend) ([]*tensors.Tensor, error) {
	e, err := NewExec(b, func(x *Node) []*Node {
		g := x.Graph()
		state := []shapes.Shape{shapes.Make(dtypes.Int32), x.Shape()}
		parameters := func(g *Graph) (i, x *Node) {
			return Parameter(g, "i", state[0]), Parameter(g, "x", state[1])
		}
		cond := NewClosure(g, func(g *Graph) []*Node {
			i, _ := parameters(g)
			return []*Node{LessThan(i, Const(g, int32(9)))}
		})
		body := NewClosure(g, func(g *Graph) []*Node {
			i, x := parameters(g)
			return []*Node{AddScalar(i, 1), Tanh(Dot(x, x).Product())}
		})
		return While(cond, body, Const(g, int32(0)), x)
	})
	if err != nil {
		return nil, err
	}
	var out []*tensors.Tensor
	for range 3 {
		if out, err = e.Call(wave(0.3, 0, 24, 24)); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// variables trains a model's variables, which are inputs and outputs of the graph besides its own, by three steps of
// gradient descent.
func variables(b compute.Backend) ([]*tensors.Tensor, error) {
	store := model.NewStore()
	e, err := model.NewExec(b, store, func(scope *model.Scope, x, y *Node) *Node {
		dense := scope.In("dense")
		w := dense.VariableWithValue("weights", wave(0.2, 4, 64, 10))
		bias := dense.VariableWithValue("bias", wave(0.1, 5, 1, 10))
		wn, bn := w.NodeValue(x.Graph()), bias.NodeValue(x.Graph())
		loss := crossEntropy(Add(Dot(x, wn).Product(), bn), y)
		g := Gradient(loss, wn, bn)
		w.SetNodeValue(Sub(wn, MulScalar(g[0], 0.01)))
		bias.SetNodeValue(Sub(bn, MulScalar(g[1], 0.01)))
		return loss
	})
	if err != nil {
		return nil, err
	}
	var out []*tensors.Tensor
	for range 3 {
		if out, err = e.Call(wave(1, 0, 16, 64), labels(16)); err != nil {
			return nil, err
		}
	}
	for v := range store.RootScope().IterVariables() {
		value, err := v.Value()
		if err != nil {
			return nil, err
		}
		out = append(out, value)
	}
	return out, nil
}

// manyOutputs returns values of several types and ranks, among them a constant and an input as it came.
func manyOutputs(b compute.Backend) ([]*tensors.Tensor, error) {
	e, err := NewExec(b, func(x *Node) []*Node {
		return []*Node{
			x, ReduceAllMax(x), ArgMax(x, -1), GreaterThan(x, ZerosLike(x)),
			ConvertDType(x, dtypes.Float64), Const(x.Graph(), []int32{1, 2, 3}),
		}
	})
	if err != nil {
		return nil, err
	}
	var out []*tensors.Tensor
	for range 3 {
		if out, err = e.Call(wave(1, 6, 5, 7)); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// donatedInput gives its input's buffer away at each step, for the output to take its place.
func donatedInput(b compute.Backend) ([]*tensors.Tensor, error) {
	e, err := NewExec(b, func(x *Node) *Node { return Tanh(AddScalar(MulScalar(x, 1.25), 0.125)) })
	if err != nil {
		return nil, err
	}
	x := wave(1, 7, 64, 64)
	for range 3 {
		if err := x.MaterializeOnDevice(b, false, 0); err != nil {
			return nil, err
		}
		x.FinalizeLocal()
		buffer, err := DonateTensorBuffer(x, b, 0)
		if err != nil {
			return nil, err
		}
		out, err := e.Call(buffer)
		if err != nil {
			return nil, err
		}
		x = out[0]
	}
	return []*tensors.Tensor{x}, nil
}

// digest is the outputs' shapes and the SHA-256 of their bytes: equal only for bit-identical results.
func digest(outputs []*tensors.Tensor) (string, error) {
	h := sha256.New()
	for _, t := range outputs {
		fmt.Fprintf(h, "%s\n", t.Shape())
		if err := t.ConstBytes(func(data []byte) { h.Write(data) }); err != nil {
			return "", err
		}
	}
	return fmt.Sprintf("%d outputs, %s", len(outputs), hex.EncodeToString(h.Sum(nil))), nil
}
