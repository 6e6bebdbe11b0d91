package onnx_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/gomlx/compute-onnx/support/protos"

	"advlab/advlib"
	"advlab/advlib/onnx"
)

// TestOperatorsThatAreRefusedSayWhy builds models that must not run: each refusal names the operator, and what about
// it.
func TestOperatorsThatAreRefusedSayWhy(t *testing.T) {
	flat := op("Flatten", "y", []string{"z"})
	for _, c := range []struct {
		name  string
		opset int64
		nodes []*protos.NodeProto
		says  string
	}{
		{"antialias", 18, []*protos.NodeProto{op("Resize", "z", []string{"x", "", "", "s"}, "antialias", 1, "mode", "linear"), flat}, "antialias"},
		{"region", 13, []*protos.NodeProto{op("Resize", "z", []string{"x", "", "", "s"}, "coordinate_transformation_mode", "tf_crop_and_resize"), flat}, `coordinate_transformation_mode is "tf_crop_and_resize"`},
		{"labels", 13, []*protos.NodeProto{op("Flatten", "z", []string{"x"}), op("ArgMax", "y", []string{"z"}, "axis", 1)}, "labels, not logits"},
		{"real labels", 13, []*protos.NodeProto{op("Flatten", "z", []string{"x"}), op("ArgMax", "i", []string{"z"}, "axis", 1), op("Cast", "y", []string{"i"}, "to", 1)}, "labels, not logits"},
		{"flipped batch", 13, []*protos.NodeProto{op("Slice", "z", []string{"x", "last", "first", "axis", "back"}), flat}, "the batch's rows"},
		{"recurrent", 14, []*protos.NodeProto{op("LSTM", "z", []string{"x", "w", "w"}), flat}, "the operator LSTM"},
		{"sampled", 16, []*protos.NodeProto{op("GridSample", "z", []string{"x", "x"}), flat}, "the operator GridSample"},
		{"arcus", 13, []*protos.NodeProto{op("Atan", "z", []string{"x"}), flat}, "the operator Atan"},
	} {
		t.Run(c.name, func(t *testing.T) {
			integers := func(name string, v ...int64) *protos.TensorProto {
				return &protos.TensorProto{Name: name, DataType: int32(protos.TensorProto_INT64), Dims: []int64{int64(len(v))}, Int64Data: v}
			}
			d := draft{opset: c.opset, input: []int{0, 3, 4, 4}, nodes: c.nodes, weights: []*protos.TensorProto{
				integers("s", 1, 3, 8, 8), integers("last", -1), integers("first", -1<<31), integers("axis", 0), integers("back", -1),
				{Name: "w", DataType: int32(protos.TensorProto_FLOAT), Dims: []int64{1}, FloatData: []float32{1}},
			}}
			_, err := onnx.Read(bytes.NewReader(d.file(t)), onnx.Options{Box: advlib.UnitBox})
			if err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%v, want an error with %q", err, c.says)
			}
		})
	}
}
