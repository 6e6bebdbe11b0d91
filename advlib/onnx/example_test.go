package onnx_test

import (
	"context"
	"fmt"

	"advlab/advlib"
	"advlab/advlib/attack"
	"advlab/advlib/dataset"
	"advlab/advlib/onnx"
)

// A model that PyTorch exported takes channels first; the data has them last.
func ExampleLoad() {
	clf, err := onnx.Load("testdata/pytorch-dynamo.onnx", onnx.Options{Box: advlib.UnitBox, Layout: onnx.ChannelsLast})
	if err != nil {
		fmt.Println(err)
		return
	}
	test, err := dataset.NPZ("testdata/pytorch.npz")
	if err != nil {
		fmt.Println(err)
		return
	}
	report := advlib.MustEvaluate(context.Background(), clf, test.First(32), []advlib.Attack{attack.PGD{Ball: advlib.Linf.Ball(0.2)}})
	fmt.Println("input", clf.Input(), "clean", report.Clean(), "robust", report.Robust(advlib.Linf.Ball(0.2)))
	// Output: input [8 8 1] clean 100.0 % robust 0.0 %
}
