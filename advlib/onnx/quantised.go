package onnx

import (
	"fmt"
	"slices"
	"strings"

	"github.com/gomlx/compute-onnx/support/protos"
)

// floatAdvice is what to do with a quantised model.
const floatAdvice = "rounding has no gradient, so attacks and bounds would say nothing: evaluate the float model that it was made from"

// refuseQuantised refuses models that compute in small integers.
func refuseQuantised(nodes []*protos.NodeProto) error {
	i := slices.IndexFunc(nodes, func(n *protos.NodeProto) bool { return quantised(n.GetOpType()) })
	if i < 0 {
		return nil
	}
	return fmt.Errorf("the model is quantised (%s): %s", describe(nodes[i]), floatAdvice)
}

// quantised tells whether an operator, of ONNX's domain or of onnxruntime's, is one of quantised models:
// QuantizeLinear, DequantizeLinear, QLinearConv, MatMulInteger, MatMulNBits, QAttention and their like.
func quantised(op string) bool {
	return strings.Contains(op, "uantize") || strings.Contains(op, "QLinear") || strings.Contains(op, "Integer") ||
		strings.HasSuffix(op, "NBits") || slices.Contains([]string{"QAttention", "QEmbedLayerNormalization", "QGemm", "MatMulBnb4"}, op)
}

// quantisedType tells whether tensors of that type hold quantised numbers.
func quantisedType(kind protos.TensorProto_DataType) bool {
	switch kind {
	case protos.TensorProto_UINT8, protos.TensorProto_INT8, protos.TensorProto_UINT16, protos.TensorProto_INT16:
		return true
	}
	return kind >= protos.TensorProto_FLOAT8E4M3FN // and all that came later: 8, 4, 6 and 2 bits
}
