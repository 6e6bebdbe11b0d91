package onnx

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/gomlx/compute-onnx/support/protos"
)

// learnDomain is that of the operators in which scikit-learn's models are written by skl2onnx.
const learnDomain = "ai.onnx.ml"

// learnRule says how one of them is read.
type learnRule struct {
	rule
	expand func(e *expansion, n *node)
}

// learnRules write scikit-learn's operators in terms of ONNX's own, before anything else is looked at: so a softmax
// inside of a LinearClassifier is left out as any other.
var learnRules = map[string]learnRule{
	"ArrayFeatureExtractor": {rule{min: 2, max: 2}, arrayFeatureExtractor},
	"LinearClassifier": {
		rule{min: 1, max: 1, attributes: "classlabels_ints classlabels_strings coefficients intercepts multi_class post_transform"},
		linearClassifier,
	},
	"LinearRegressor": {rule{min: 1, max: 1, attributes: "coefficients intercepts post_transform targets"}, linearRegressor},
	"Normalizer":      {rule{min: 1, max: 1, attributes: "norm"}, normalizer},
	"Scaler":          {rule{min: 1, max: 1, attributes: "offset scale"}, scaler},
	"ZipMap": { // the scores themselves, in the order of the classes
		rule{min: 1, max: 1, attributes: "classlabels_int64s classlabels_strings"},
		func(e *expansion, n *node) { e.write(n.Output[0], "Identity", n.Input) },
	},
}

// expansion is a file while scikit-learn's operators are replaced.
type expansion struct {
	*file
	names   map[string]bool // that are taken
	nodes   []*protos.NodeProto
	softmax map[string]bool // what a softmax of a LinearClassifier writes
}

// expandLearn replaces the file's operators of scikit-learn.
func (f *file) expandLearn() error {
	if !slices.ContainsFunc(f.nodes, func(n *protos.NodeProto) bool { return n.GetDomain() == learnDomain }) {
		return nil
	}
	e := &expansion{file: f, names: map[string]bool{f.input: true}, softmax: map[string]bool{}}
	for name := range f.tensors {
		e.names[name] = true
	}
	read := map[string]bool{f.output: true}
	for _, n := range f.nodes {
		for _, name := range slices.Concat(n.Input, n.Output) {
			e.names[name] = true
		}
		for _, name := range n.Input {
			read[name] = true
		}
	}
	for _, p := range f.nodes {
		if p.GetDomain() != learnDomain {
			e.nodes = append(e.nodes, p)
			continue
		}
		r, known := learnRules[p.GetOpType()]
		if !known {
			return fmt.Errorf("%s: it is not supported; of scikit-learn's operators (%s), supported are %s: evaluate a linear "+
				"model or a neural network, whose logits have a gradient", describe(p), learnDomain,
				strings.Join(slices.Sorted(maps.Keys(learnRules)), ", "))
		}
		n := &node{NodeProto: p, opset: f.opset}
		n.check(r.rule)
		if len(n.Output) == 0 || n.Output[0] == "" && n.OpType != "LinearClassifier" {
			n.fail("it has no output")
		} else if n.OpType == "LinearClassifier" && read[n.Output[0]] {
			n.fail("its output %q is of class labels, not of logits: choose the output with the scores by %v", n.Output[0], outputName)
		}
		if n.err == nil {
			r.expand(e, n)
		}
		if n.err != nil {
			return fmt.Errorf("%s: %w", describe(p), n.err)
		}
	}
	f.nodes = e.nodes
	return nil
}

// write adds an operator of ONNX's own, and returns the name of what it writes: out, or a new one if that is empty.
func (e *expansion) write(out, op string, in []string, pairs ...any) string {
	if out == "" {
		out = e.fresh(op)
	}
	e.nodes = append(e.nodes, &protos.NodeProto{OpType: op, Input: in, Output: []string{out}, Attribute: attrs(pairs...)})
	return out
}

// tensor adds a constant.
func (e *expansion) tensor(t *tensor) string {
	t.name = e.fresh("learnt")
	e.tensors[t.name] = t
	return t.name
}

func (e *expansion) floats(v []float32, dims ...int) string {
	return e.tensor(&tensor{floats: v, dims: dims})
}

func (e *expansion) fresh(what string) string {
	for i := len(e.names); ; i++ {
		if name := fmt.Sprintf("%s.%d", what, i); !e.names[name] {
			e.names[name] = true
			return name
		}
	}
}

// rowSum sums over the last axis, which was an attribute before opset 13.
func (e *expansion) rowSum(x string) string {
	if e.opset < 13 {
		return e.write("", "ReduceSum", []string{x}, "axes", []int{-1}, "keepdims", 1)
	}
	return e.write("", "ReduceSum", []string{x, e.tensor(&tensor{ints: []int64{-1}, dims: []int{1}})}, "keepdims", 1)
}

// floats32 returns an attribute that is a list of numbers, nil if it is absent.
func (n *node) floats32(name string) []float32 {
	if a := n.attribute(name, protos.AttributeProto_FLOATS); a != nil {
		return a.GetFloats()
	}
	return nil
}

// linear writes x·Wᵀ + b for the coefficients W, one row for each target, and the intercepts b.
func (e *expansion) linear(n *node, targets int) string {
	w, b := n.floats32("coefficients"), n.floats32("intercepts")
	if n.err == nil && (targets < 1 || len(w) == 0 || len(w)%targets != 0 || b != nil && len(b) != targets) {
		n.fail("it has %d coefficients and %d intercepts for %d targets", len(w), len(b), targets)
	}
	if n.err != nil {
		return ""
	}
	features := len(w) / targets
	columns := make([]float32, len(w))
	for i := range columns { // its transpose, so that the product is x·W
		columns[i] = w[i%targets*features+i/targets]
	}
	y := e.write("", "MatMul", []string{n.in(0), e.floats(columns, features, targets)})
	if b != nil {
		y = e.write("", "Add", []string{y, e.floats(slices.Clone(b), targets)})
	}
	return y
}

// linearClassifier returns labels, which are left out, and scores.
func linearClassifier(e *expansion, n *node) {
	classes := max(len(n.ints("classlabels_ints")), stringsIn(n, "classlabels_strings"))
	if len(n.Output) < 2 || n.Output[1] == "" {
		n.fail("it has no output of scores")
		return
	}
	targets := classes
	if b := n.floats32("intercepts"); b != nil {
		targets = len(b)
	}
	if targets != classes && n.err == nil {
		n.fail("it has %d scores for %d classes: one for each class is supported", targets, classes)
	}
	scores := e.linear(n, targets)
	if n.err != nil {
		return
	}
	out := n.Output[1]
	switch transform := n.text("post_transform", "NONE"); transform {
	case "NONE":
		e.write(out, "Identity", []string{scores})
	case "SOFTMAX":
		e.write(out, "Softmax", []string{scores}, "axis", 1)
		e.softmax[out] = true
	case "LOGISTIC":
		e.write(out, "Sigmoid", []string{scores})
	default:
		n.fail("its post_transform is %s: supported are NONE, SOFTMAX and LOGISTIC", transform)
	}
}

func linearRegressor(e *expansion, n *node) {
	if transform := n.text("post_transform", "NONE"); transform != "NONE" {
		n.fail("its post_transform is %s: NONE is supported", transform)
	}
	if y := e.linear(n, n.int("targets", 1)); n.err == nil {
		e.write(n.Output[0], "Identity", []string{y})
	}
}

// scaler is (x − offset)·scale.
func scaler(e *expansion, n *node) {
	offset, scale := n.floats32("offset"), n.floats32("scale")
	if n.err == nil && (len(offset) == 0 || len(scale) == 0) {
		n.fail("it has %d offsets and %d scales", len(offset), len(scale))
	}
	if n.err != nil {
		return
	}
	x := e.write("", "Sub", []string{n.in(0), e.floats(slices.Clone(offset), len(offset))})
	e.write(n.Output[0], "Mul", []string{x, e.floats(slices.Clone(scale), len(scale))})
}

// normalizer divides each row by its norm; a row of zeros stays one. The scores of a softmax sum to 1 as they are.
func normalizer(e *expansion, n *node) {
	x, norm := n.in(0), n.text("norm", "MAX")
	if norm == "L1" && e.softmax[x] {
		e.write(n.Output[0], "Identity", []string{x})
		return
	}
	var size string
	switch norm {
	case "L1":
		size = e.rowSum(e.write("", "Abs", []string{x}))
	case "L2":
		size = e.rowSum(e.write("", "Mul", []string{x, x}))
	default:
		n.fail("its norm is %s: L1 and L2 are supported", norm)
		return
	}
	one, zero := e.tensor(&tensor{floats: []float32{1}, dims: []int{}}), e.tensor(&tensor{floats: []float32{0}, dims: []int{}})
	size = e.write("", "Where", []string{e.write("", "Equal", []string{size, zero}), one, size})
	if norm == "L2" { // the root after the choice: its slope at 0 is infinite
		size = e.write("", "Sqrt", []string{size})
	}
	e.write(n.Output[0], "Div", []string{x, size})
}

// arrayFeatureExtractor picks columns.
func arrayFeatureExtractor(e *expansion, n *node) {
	columns := e.tensors[n.in(1)]
	if columns == nil || len(columns.ints) == 0 {
		n.fail("its columns are not constant")
		return
	}
	flat := e.tensor(&tensor{ints: slices.Clone(columns.ints), dims: []int{len(columns.ints)}})
	if c := columns.ints[0]; len(columns.ints) == 1 && c >= 0 && e.opset >= 10 { // which can be bounded
		one := func(v int64) string { return e.tensor(&tensor{ints: []int64{v}, dims: []int{1}}) }
		e.write(n.Output[0], "Slice", []string{n.in(0), flat, one(c + 1), one(-1)})
		return
	}
	e.write(n.Output[0], "Gather", []string{n.in(0), flat}, "axis", -1)
}

// stringsIn returns how many strings an attribute has.
func stringsIn(n *node, name string) int {
	if a := n.attribute(name, protos.AttributeProto_STRINGS); a != nil {
		return len(a.GetStrings())
	}
	return 0
}
