package main

import (
	"fmt"
	"os"
	"path/filepath"

	"advlab/advlib"
	"advlab/advlib/attack/attacktest"
	"advlab/advlib/backend"
	"advlab/advlib/certify"
	"advlab/advlib/onnx"
)

// workload is margins over boxes that both sides bound by CROWN with adaptive slopes.
type workload struct {
	name    string
	network *certify.Network
	query   certify.Query
	labels  []int32
	method  certify.Method
}

// methods returns the workload in both arithmetics.
func (w workload) methods() []workload {
	real, float32s := w, w
	real.method = certify.CROWN.In(certify.RealArithmetic)
	float32s.name, float32s.method = w.name+" float32", certify.CROWN
	return []workload{real, float32s}
}

// workloads are the CNN of the reference vectors on all their examples, and network 1_1 of ACAS Xu, if there is one, on parts of property 3.
func workloads(cnn string, acas []string) ([]workload, error) {
	b, err := backend.Open()
	if err != nil {
		return nil, err
	}
	r, err := attacktest.LoadReferenceFrom(os.DirFS(filepath.Dir(cnn)), "cnn-mnist-adv", b)
	if err != nil {
		return nil, err
	}
	w := workload{name: "cnn", labels: r.Examples.Y}
	if w.network, err = certify.Of(r.Classifier); err != nil {
		return nil, err
	}
	if w.query.Regions, err = certify.Around(r.Classifier, r.Examples, advlib.BallOf(advlib.Linf, 0.1), false); err != nil {
		return nil, err
	}
	all := []workload{w}
	for _, path := range acas {
		n, err := onnx.Open(path, onnx.Options{})
		if err != nil {
			return nil, err
		}
		w := workload{name: "acas"}
		if w.network, err = certify.New(certify.Source{Name: n.Name(), Graph: n.Graph, Store: n.Store(), Input: n.Input(), Backend: b}); err != nil {
			return nil, err
		}
		w.query.Regions = parts()
		w.labels = make([]int32, w.query.Regions.Len()) // output 0 over the others
		all = append(all, w)
	}
	for i, w := range all {
		outputs := w.network.Outputs()
		for _, y := range w.labels {
			if int(y) >= outputs {
				return nil, fmt.Errorf("%s: label %d of %d outputs", w.name, y, outputs)
			}
			all[i].query.Rows = append(all[i].query.Rows, certify.MarginRows(int(y), outputs))
		}
	}
	return all, nil
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
