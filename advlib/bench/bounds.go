package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/gomlx/gomlx/core/tensors"

	"advlab/advlib"
	"advlab/advlib/attack/attacktest"
	"advlab/advlib/backend"
	"advlab/advlib/certify"
	"advlab/advlib/onnx"
)

// bounded is margins over boxes that both sides bound by CROWN with adaptive slopes.
type bounded struct {
	network *certify.Network
	regions certify.Regions
	labels  []int32
}

// workload bounds the margins of each label over all other classes, for the model as deployed in float32, and in real
// arithmetic, as the peer does.
func (b bounded) workload(name string) (workload, error) {
	query, outputs := certify.Query{Regions: b.regions}, b.network.Outputs()
	for _, y := range b.labels {
		if int(y) >= outputs {
			return workload{}, fmt.Errorf("label %d of %d outputs", y, outputs)
		}
		query.Rows = append(query.Rows, certify.MarginRows(int(y), outputs))
	}
	by := func(m certify.Method) func(ctx context.Context) (answer, error) {
		return func(ctx context.Context) (answer, error) {
			a, err := b.network.Bound(ctx, query, m)
			if err != nil {
				return answer{}, err
			}
			return answer{Margins: a.Lower}, nil
		}
	}
	ask := func() (map[string]*tensors.Tensor, any) {
		return map[string]*tensors.Tensor{
			"lower": matrix(b.regions.Lower), "upper": matrix(b.regions.Upper),
			"y": tensors.FromFlatDataAndDimensions(b.labels, len(b.labels)),
		}, map[string]string{"Attack": "CROWN"}
	}
	return workload{name: name, ask: ask, turns: []turn{
		{"real arithmetic", by(certify.CROWN.In(certify.RealArithmetic))},
		{"for float32", by(certify.CROWN)},
	}}, nil
}

func matrix(rows [][]float64) *tensors.Tensor {
	return tensors.FromFlatDataAndDimensions(slices.Concat(rows...), len(rows), len(rows[0]))
}

// cnnBounds is the CNN of the reference vectors on all their examples.
func cnnBounds(_ context.Context, s sources) (workload, error) {
	b, err := backend.Open()
	if err != nil {
		return workload{}, err
	}
	r, err := attacktest.LoadReferenceFrom(os.DirFS(filepath.Dir(s.cnn)), "cnn-mnist-adv", b)
	if err != nil {
		return workload{}, err
	}
	w := bounded{labels: r.Examples.Y}
	if w.network, err = certify.Of(r.Classifier); err != nil {
		return workload{}, err
	}
	if w.regions, err = certify.Around(r.Classifier, r.Examples, advlib.Linf.Ball(0.1), false); err != nil {
		return workload{}, err
	}
	return w.workload("cnn")
}

// acasBounds is network 1_1 of ACAS Xu on parts of property 3: output 0 over the others.
func acasBounds(_ context.Context, s sources) (workload, error) {
	b, err := backend.Open()
	if err != nil {
		return workload{}, err
	}
	n, err := onnx.Open(s.acas, onnx.Options{})
	if err != nil {
		return workload{}, err
	}
	w := bounded{regions: parts()}
	w.labels = make([]int32, w.regions.Len())
	if w.network, err = certify.New(certify.Source{Name: n.Name(), Graph: n.Graph, Store: n.Store(), Input: n.Input(),
		Backend: b}); err != nil {
		return workload{}, err
	}
	return w.workload("acas")
}

// parts are 256 boxes: that of prop_3.vnnlib, each of the two angles cut into 16.
func parts() certify.Regions {
	lower, upper := []float64{-0.303531156, -0.009549297, 0.493380324, 0.3, 0.3}, []float64{-0.298552812, 0.009549297, 0.5, 0.5, 0.5}
	const cuts = 16
	var r certify.Regions
	for i := range cuts {
		for j := range cuts {
			l, u := append([]float64{}, lower...), append([]float64{}, upper...)
			for axis, k := range map[int]int{1: i, 2: j} {
				step := (upper[axis] - lower[axis]) / cuts
				l[axis], u[axis] = lower[axis]+float64(k)*step, lower[axis]+float64(k+1)*step
			}
			r.Lower, r.Upper = append(r.Lower, l), append(r.Upper, u)
		}
	}
	return r
}
