package onnx

import (
	"fmt"
	"slices"
	"strings"

	"github.com/gomlx/compute-onnx/support/protos"
	"google.golang.org/protobuf/proto"
)

// The oldest opset that is read (definitions.go has the newest), and the largest graph.
const (
	minOpset = 8
	maxNodes = 100_000
)

// file is a checked ONNX file: what the chosen output needs, and no more.
type file struct {
	name    string
	opset   int64
	nodes   []*protos.NodeProto
	tensors map[string]*tensor // initializers
	input   string
	dims    []int // of the input, with the batch; 0 is open
	known   bool  // whether the file says how many axes the input has
	double  bool  // the input is in double precision
	output  string
}

// parseFile checks a file and takes out what the output needs; s is where external data lies, or nil.
func parseFile(contents []byte, output string, s *store) (*file, error) {
	var m protos.ModelProto
	if err := proto.Unmarshal(contents, &m); err != nil {
		return nil, fmt.Errorf("it is no ONNX file: %w", err)
	}
	g := m.GetGraph()
	if g == nil || len(g.GetNode()) == 0 {
		return nil, fmt.Errorf("it is no ONNX model: it has no graph, or one without operators")
	}
	f := &file{name: g.GetName(), tensors: map[string]*tensor{}}
	var err error
	if f.opset, err = opsetOf(&m); err != nil {
		return nil, err
	}
	switch {
	case len(m.GetFunctions()) > 0:
		return nil, fmt.Errorf("it defines functions of its own, such as %q, which are not read: inline them (onnx.inliner)",
			m.GetFunctions()[0].GetName())
	case len(g.GetSparseInitializer()) > 0:
		return nil, fmt.Errorf("it has sparse weights, which are not read: export them dense")
	case len(g.GetNode()) > maxNodes:
		return nil, fmt.Errorf("it has %d operators, more than %d", len(g.GetNode()), maxNodes)
	}
	if f.output, err = outputOf(g, output); err != nil {
		return nil, err
	}
	initializers := map[string]*protos.TensorProto{}
	for _, t := range g.GetInitializer() {
		if _, twice := initializers[t.GetName()]; twice || t.GetName() == "" {
			return nil, fmt.Errorf("two of its weights have the name %q, or none", t.GetName())
		}
		initializers[t.GetName()] = t
	}
	inputs := map[string]*protos.ValueInfoProto{}
	for _, in := range g.GetInput() {
		if _, constant := initializers[in.GetName()]; !constant { // IR < 4 lists the initializers too
			inputs[in.GetName()] = in
		}
	}
	used, err := f.prune(g, initializers, inputs)
	if err != nil {
		return nil, err
	}
	if err := refuseQuantised(f.nodes); err != nil {
		return nil, err
	}
	if err := refuseControl(f.nodes); err != nil {
		return nil, err
	}
	for name, in := range inputs {
		if !used[name] {
			continue
		}
		if f.input != "" {
			names := []string{f.input, name}
			slices.Sort(names)
			return nil, fmt.Errorf("its output %q depends on several inputs, %s: a classifier has one", f.output, strings.Join(names, ", "))
		}
		f.input = name
		if f.dims, f.known, err = inputShape(in); err != nil {
			return nil, fmt.Errorf("its input %q: %w", name, err)
		}
		f.double = in.GetType().GetTensorType().GetElemType() == int32(protos.TensorProto_DOUBLE)
	}
	if f.input == "" {
		return nil, fmt.Errorf("its output %q depends on no input", f.output)
	}
	for name, t := range initializers {
		if !used[name] {
			continue
		}
		if f.tensors[name], err = readTensor(t, s); err != nil {
			return nil, fmt.Errorf("its weight %q%s: %w", name, f.reader(name), err)
		}
	}
	return f, f.expandLearn()
}

// reader says which operator reads a weight, in a part of a sentence.
func (f *file) reader(name string) string {
	i := slices.IndexFunc(f.nodes, func(n *protos.NodeProto) bool { return slices.Contains(n.GetInput(), name) })
	if i < 0 {
		return ""
	}
	return ", which " + describe(f.nodes[i]) + " reads"
}

// refuseControl refuses operators with graphs inside, such as If and Loop. What these read from the graph around them
// is not among their inputs, so it has to be done before anything is made of inputs.
func refuseControl(nodes []*protos.NodeProto) error {
	for _, n := range nodes {
		for _, a := range n.GetAttribute() {
			if a.GetType() == protos.AttributeProto_GRAPH || a.GetType() == protos.AttributeProto_GRAPHS {
				return fmt.Errorf("%s: it has a graph of its own inside, which is not supported: export the model without "+
					"branches and loops that depend on values", describe(n))
			}
		}
	}
	return nil
}

func opsetOf(m *protos.ModelProto) (int64, error) {
	for _, o := range m.GetOpsetImport() {
		if o.GetDomain() == "" || o.GetDomain() == "ai.onnx" {
			if v := o.GetVersion(); v < minOpset || v > maxOpset {
				return 0, fmt.Errorf("it is of opset %d, read are %d to %d: convert it (onnx.version_converter), or export it "+
					"again with another opset_version", v, minOpset, maxOpset)
			}
			return o.GetVersion(), nil
		}
	}
	if !slices.ContainsFunc(m.GetGraph().GetNode(), func(n *protos.NodeProto) bool { return isONNX(n.GetDomain()) }) {
		return maxOpset, nil // it uses none of them
	}
	return 0, fmt.Errorf("it does not say which version of ONNX's operators it uses")
}

// outputOf returns the wanted output, or the one that has real numbers: scikit-learn's models return labels beside it.
func outputOf(g *protos.GraphProto, wanted string) (string, error) {
	var names, real []string
	for _, o := range g.GetOutput() {
		names = append(names, o.GetName())
		if mayBeReal(o.GetType()) {
			real = append(real, o.GetName())
		}
	}
	switch {
	case len(names) == 0:
		return "", fmt.Errorf("it has no output")
	case wanted != "" && !slices.Contains(names, wanted):
		return "", fmt.Errorf("it has no output %q; it has %s", wanted, strings.Join(names, ", "))
	case wanted != "":
		return wanted, nil
	case len(names) == 1:
		return names[0], nil
	case len(real) == 1:
		return real[0], nil
	}
	return "", fmt.Errorf("it has several outputs, %s: choose the one with the logits by %v", strings.Join(names, ", "), outputName)
}

// mayBeReal tells whether an output of that type can have logits. A sequence of maps is what ZipMap makes of them.
func mayBeReal(t *protos.TypeProto) bool {
	if t.GetTensorType() == nil {
		return true
	}
	switch kind := protos.TensorProto_DataType(t.GetTensorType().GetElemType()); kind {
	case protos.TensorProto_UNDEFINED, protos.TensorProto_FLOAT, protos.TensorProto_DOUBLE, protos.TensorProto_FLOAT16,
		protos.TensorProto_BFLOAT16:
		return true
	}
	return false
}

// prune sorts the operators, keeps those that the output needs, and returns the names that are used.
func (f *file) prune(g *protos.GraphProto, initializers map[string]*protos.TensorProto,
	inputs map[string]*protos.ValueInfoProto) (map[string]bool, error) {
	given := map[string]bool{}
	for name := range initializers {
		given[name] = true
	}
	for name := range inputs {
		given[name] = true
	}
	sorted, writer, err := inOrder(g.GetNode(), given)
	if err != nil {
		return nil, err
	}
	if _, written := writer[f.output]; !written && !given[f.output] {
		return nil, fmt.Errorf("nothing writes its output %q", f.output)
	}
	used := map[string]bool{f.output: true}
	for _, n := range slices.Backward(sorted) {
		if !slices.ContainsFunc(n.GetOutput(), func(out string) bool { return used[out] }) {
			continue
		}
		f.nodes = append(f.nodes, n)
		for _, in := range n.GetInput() {
			if in != "" {
				used[in] = true
			}
		}
	}
	slices.Reverse(f.nodes)
	return used, nil
}

// inputShape returns the sizes of an input with its batch, 0 where they are open, and whether the file says them.
func inputShape(in *protos.ValueInfoProto) ([]int, bool, error) {
	t := in.GetType().GetTensorType()
	if t == nil {
		return nil, false, fmt.Errorf("it is no tensor")
	}
	switch kind := protos.TensorProto_DataType(t.GetElemType()); kind {
	case protos.TensorProto_FLOAT, protos.TensorProto_DOUBLE, protos.TensorProto_FLOAT16, protos.TensorProto_BFLOAT16:
	default:
		return nil, false, fmt.Errorf("it is of type %v: a classifier's inputs are real numbers; export the model without "+
			"what turns %[1]v into them", kind)
	}
	if t.GetShape() == nil {
		return nil, false, nil
	}
	dims := make([]int, len(t.GetShape().GetDim()))
	n := 1
	for i, d := range t.GetShape().GetDim() {
		v := max(d.GetDimValue(), 0)
		if v > maxBytes/int64(n) {
			return nil, false, fmt.Errorf("its shape is too large: axis %d has the size %d", i, v)
		}
		dims[i] = int(v)
		n *= max(int(v), 1)
	}
	if len(dims) == 0 || len(dims) > 8 {
		return nil, false, fmt.Errorf("it has %d axes: read are 1 to 8, the first of them the batch", len(dims))
	}
	return dims, true, nil
}

// isONNX tells whether a domain is that of ONNX's own operators.
func isONNX(domain string) bool { return domain == "" || domain == "ai.onnx" }

// describe names a node in errors: by operator, its own name, and what it writes.
func describe(n *protos.NodeProto) string {
	op := n.GetOpType()
	if d := n.GetDomain(); !isONNX(d) {
		op = d + "." + op
	}
	out := "nothing"
	if len(n.GetOutput()) > 0 {
		out = fmt.Sprintf("%q", n.GetOutput()[0])
	}
	if n.GetName() == "" {
		return fmt.Sprintf("the operator %s (writes %s)", op, out)
	}
	return fmt.Sprintf("the operator %s, node %q (writes %s)", op, n.GetName(), out)
}
