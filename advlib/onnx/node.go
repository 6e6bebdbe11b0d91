package onnx

import (
	"fmt"
	"slices"
	"strings"

	"github.com/gomlx/compute-onnx/support/protos"
)

// node is an operator of the file while it is lowered. The first thing found wrong is kept, so that rules read their
// attributes one after the other and are asked once.
type node struct {
	*protos.NodeProto
	opset int64
	err   error
}

func (n *node) fail(format string, args ...any) {
	if n.err == nil {
		n.err = fmt.Errorf(format, args...)
	}
}

// in returns the name of an input, "" for one that is left out.
func (n *node) in(i int) string {
	if i >= len(n.Input) {
		return ""
	}
	return n.Input[i]
}

// attribute returns an attribute of the given type, nil if it is absent.
func (n *node) attribute(name string, kind protos.AttributeProto_AttributeType) *protos.AttributeProto {
	for _, a := range n.Attribute {
		if a.GetName() != name {
			continue
		}
		if a.GetType() != kind {
			n.fail("its attribute %q is of type %v instead of %v", name, a.GetType(), kind)
			return nil
		}
		return a
	}
	return nil
}

func (n *node) has(name string) bool {
	return slices.ContainsFunc(n.Attribute, func(a *protos.AttributeProto) bool { return a.GetName() == name })
}

func (n *node) int(name string, otherwise int) int {
	if a := n.attribute(name, protos.AttributeProto_INT); a != nil {
		return int(a.GetI())
	}
	return otherwise
}

func (n *node) float(name string, otherwise float64) float64 {
	if a := n.attribute(name, protos.AttributeProto_FLOAT); a != nil {
		return float64(a.GetF())
	}
	return float64(float32(otherwise)) // as a file would say it
}

func (n *node) text(name, otherwise string) string {
	if a := n.attribute(name, protos.AttributeProto_STRING); a != nil {
		return string(a.GetS())
	}
	return otherwise
}

// ints returns a list of integers, nil if it is absent.
func (n *node) ints(name string) []int {
	a := n.attribute(name, protos.AttributeProto_INTS)
	if a == nil {
		return nil
	}
	return collect(len(a.GetInts()), func(i int) int { return int(a.GetInts()[i]) })
}

// scalesAttribute returns the scales that Upsample had as an attribute, nil if there are none.
func (n *node) scalesAttribute() []float32 {
	if a := n.attribute("scales", protos.AttributeProto_FLOATS); a != nil {
		return a.GetFloats()
	}
	return nil
}

// check refuses a node that the operator's rule does not cover.
func (n *node) check(r rule) {
	if len(n.Input) < r.min || len(n.Input) > r.max {
		n.fail("it has %d inputs, %s takes %d to %d", len(n.Input), n.OpType, r.min, r.max)
		return
	}
	for i := range r.min {
		if n.Input[i] == "" {
			n.fail("its input %d is left out", i)
		}
	}
	known := strings.Fields(r.attributes)
	for _, a := range n.Attribute {
		if !slices.Contains(known, a.GetName()) {
			n.fail("its attribute %q is not supported", a.GetName())
		}
		if a.GetRefAttrName() != "" {
			n.fail("its attribute %q refers to that of a function", a.GetName())
		}
	}
}

// attrs builds attributes for nodes that rules write: pairs of name and int, float64, string, []int or tensor.
func attrs(pairs ...any) []*protos.AttributeProto {
	var as []*protos.AttributeProto
	for i := 0; i < len(pairs); i += 2 {
		a := &protos.AttributeProto{Name: pairs[i].(string)}
		switch v := pairs[i+1].(type) {
		case int:
			a.Type, a.I = protos.AttributeProto_INT, int64(v)
		case float64:
			a.Type, a.F = protos.AttributeProto_FLOAT, float32(v)
		case string:
			a.Type, a.S = protos.AttributeProto_STRING, []byte(v)
		case []int:
			a.Type, a.Ints = protos.AttributeProto_INTS, int64s(v)
		case *protos.TensorProto:
			a.Type, a.T = protos.AttributeProto_TENSOR, v
		default:
			panic(fmt.Sprintf("onnx: no attribute is made of a %T", v))
		}
		as = append(as, a)
	}
	return as
}
