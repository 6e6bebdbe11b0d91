package craft

import (
	"math"
	"sync"

	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"

	"advlab/advlib"
	"advlab/advlib/backend"
)

// lossOf computes a loss of the logits of one example on the host, in float64; target is −1 without one.
type lossOf func(z []float32, label, target int32) (float64, error)

// onHost returns a loss of the vocabulary in plain Go. Another one is computed by its graph, one example at a time: so
// what it says of an example does not depend on the others.
func onHost(l advlib.Loss, anyClass bool) (lossOf, error) {
	switch l {
	case advlib.Margin:
		return func(z []float32, label, target int32) (float64, error) {
			switch {
			case target < 0:
				return maxExcept(z, label) - float64(z[label]), nil
			case anyClass:
				return float64(z[target]) - float64(z[label]), nil
			}
			return float64(z[target]) - maxExcept(z, target), nil
		}, nil
	case advlib.CrossEntropy:
		return func(z []float32, label, target int32) (float64, error) {
			if target < 0 {
				return logSumExp(z) - float64(z[label]), nil
			}
			return float64(z[target]) - logSumExp(z), nil
		}, nil
	}
	return byGraph(l, anyClass)
}

// maxExcept returns the largest logit of all classes but c.
func maxExcept(z []float32, c int32) float64 {
	most := math.Inf(-1)
	for k, v := range z {
		if v != v {
			return math.NaN()
		}
		if int32(k) != c {
			most = max(most, float64(v))
		}
	}
	return most
}

// logSumExp returns log Σ eᶻ.
func logSumExp(z []float32) float64 {
	most, sum := math.Inf(-1), 0.
	for _, v := range z {
		most = max(most, float64(v))
	}
	for _, v := range z {
		sum += math.Exp(float64(v) - most)
	}
	return most + math.Log(sum)
}

// byGraph returns a loss computed by its graph.
func byGraph(l advlib.Loss, anyClass bool) (lossOf, error) {
	on, err := backend.Open()
	if err != nil {
		return nil, err
	}
	exec := func(targeted bool) (*model.Exec, error) {
		return model.NewExec(on, model.NewStore(), func(_ *model.Scope, in []*Node) *Node {
			aim := advlib.GoalNodes{Label: in[1]}
			if targeted {
				aim.Target, aim.AnyClass = in[2], anyClass
			}
			return l.Of(in[0], aim)
		})
	}
	plain, err := exec(false)
	if err != nil {
		return nil, err
	}
	aimed, err := exec(true)
	if err != nil {
		return nil, err
	}
	var mu sync.Mutex
	return func(z []float32, label, target int32) (float64, error) {
		mu.Lock()
		defer mu.Unlock()
		in := []any{tensors.FromFlatDataAndDimensions(z, 1, len(z)), []int32{label}}
		run := plain
		if target >= 0 {
			in, run = append(in, []int32{target}), aimed
		}
		out, err := run.Exec(in...)
		if err != nil {
			return 0, err
		}
		v := float64(tensors.MustCopyFlatData[float32](out[0])[0])
		advlib.Free(out[0], in[0].(*tensors.Tensor))
		return v, nil
	}, nil
}
