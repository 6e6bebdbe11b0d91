package onnx

import (
	"fmt"
	"maps"
	"slices"

	"github.com/gomlx/compute-onnx/support/protos"
	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/gomlx/ml/model"
	"google.golang.org/protobuf/proto"

	"advlab/advlib"
	"advlab/advlib/internal/vmap"
)

// lowering writes a file's operators in terms of those that onnx-gomlx has right.
type lowering struct {
	opset  int64
	input  string
	output string
	fit    fit
	batch  int     // the batch that the file fixes, 0 if it is open
	vector bool    // the file's input is a vector without a batch
	single bool    // it is built for one example, as the file has it, and mapped over the rows: see single.go
	final  *ending // nil for none
	strip  bool    // it is to be left out
	limit  int     // values that one input may lead to in one place

	used      map[string]bool    // names that the file's operators read, and the output
	taken     map[string]bool    // names that cannot be given any more
	weights   map[string]*tensor // what becomes variables
	constants map[string]*tensor // what stays in the graph
	nodes     []*protos.NodeProto
	origin    []*protos.NodeProto // for each of nodes, the file's it comes from
	alias     map[string]string   // what an operator that does nothing writes: the name of what it reads
	shapeFrom map[string]string   // what a Shape writes: the name of what it reads
	shapes    map[string]shape    // as traced
	fate      vmap.Fate           // of the examples of a batch, as traced
	store     *model.Store
}

// shape is a tensor's in the model for a batch of probeBatch, or for a single example.
type shape struct {
	dims  []int
	dtype dtypes.DType
}

// lower lowers a file, for a batch or for a single example.
func lower(f *file, o Options, single bool) (*lowering, error) {
	l := &lowering{
		single: single, opset: f.opset, input: f.input, output: f.output,
		used: map[string]bool{f.output: true}, taken: map[string]bool{f.input: true},
		weights: map[string]*tensor{}, constants: map[string]*tensor{}, alias: map[string]string{},
		shapeFrom: map[string]string{}, shapes: map[string]shape{}, store: model.NewStore(),
	}
	var err error
	if l.limit, err = o.limit(); err != nil {
		return nil, err
	}
	dims := f.dims
	switch {
	case !f.known && o.Input == nil:
		return nil, fmt.Errorf("it does not say the shape of its input %q: give the shape of one input of the data in %v", f.input, inputName)
	case !f.known:
		dims = make([]int, len(o.Input)+1)
	case len(dims) == 1:
		l.vector = true
	default:
		l.batch = dims[0]
	}
	if single {
		l.batch = 0 // no axis is one
	}
	if !l.vector {
		dims = dims[1:]
	}
	if l.fit, err = fitOf(dims, o); err != nil {
		return nil, err
	}
	for _, n := range f.nodes {
		for _, name := range slices.Concat(n.Input, n.Output) {
			l.taken[name] = true
		}
		for _, name := range n.Input {
			l.used[name] = true
		}
	}
	for _, name := range slices.Sorted(maps.Keys(f.tensors)) {
		if err := l.constant(name, f.tensors[name]); err != nil {
			return nil, fmt.Errorf("its weight %q%s: %w", name, f.reader(name), err)
		}
	}
	l.final = endingOf(f)
	if l.final != nil && slices.Contains([]string{"ArgMax", "ArgMin", "Hardmax"}, l.final.op) {
		return nil, fmt.Errorf("%s picks the class, so that its output %q is labels, not logits: choose the output with "+
			"the logits by %v, or export the model without it", describe(l.final.node), f.output, outputName)
	}
	l.strip = l.final != nil && (o.StripSoftmax || o.Returns != advlib.Logits && l.final.op != "LogSoftmax")
	for _, n := range f.nodes {
		if err := l.lower(n); err != nil {
			return nil, fmt.Errorf("%s: %w", describe(n), err)
		}
	}
	l.output = l.resolve(l.output)
	return l, nil
}

func (l *lowering) lower(p *protos.NodeProto) error {
	n := &node{NodeProto: proto.Clone(p).(*protos.NodeProto), opset: l.opset}
	for len(n.Input) > 0 && n.Input[len(n.Input)-1] == "" {
		n.Input = n.Input[:len(n.Input)-1]
	}
	for i, name := range n.Input {
		n.Input[i] = l.resolve(name)
	}
	r, known := rules[n.OpType]
	if !known || !isONNX(n.GetDomain()) {
		return fmt.Errorf("it is not supported; supported are %s", Operators())
	}
	if first := definitions[n.OpType][0]; l.opset < first {
		return fmt.Errorf("ONNX has it since opset %d, the file is of opset %d: export it again", first, l.opset)
	}
	if l.vector && !l.single && !r.elementwise {
		return fmt.Errorf("it is not supported in a model whose input is a vector without a batch axis: export the model with a batch")
	}
	n.check(r)
	if !r.several {
		for i, out := range n.Output {
			if i > 0 && out != "" && l.used[out] {
				n.fail("its output %d, %q, is used: only the first is supported", i, out)
			}
		}
	}
	if n.err != nil {
		return n.err
	}
	from := len(l.nodes)
	if t := l.fold(n); t != nil {
		l.known(n, t)
	} else if l.strip && p == l.final.node {
		l.leaveOut(n)
	} else if r.lower == nil {
		l.keep(n)
	} else {
		r.lower(l, n)
	}
	for range l.nodes[from:] {
		l.origin = append(l.origin, p)
	}
	return n.err
}

// tooLarge says why a shape is refused.
func (l *lowering) tooLarge(dims []any) error {
	return fmt.Errorf("the shape %v is too large: it has more than %d values for one input, the limit that keeps a "+
		"small file from asking for all memory; if the model is meant to be so large, raise %v", dims, l.limit, maxValuesName)
}

// keep writes a node as it is.
func (l *lowering) keep(n *node) { l.nodes = append(l.nodes, n.NodeProto) }

// same makes what n writes another name of x: GoMLX v0.28.8 has no gradient of its Identity.
func (l *lowering) same(n *node, x string) { l.alias[n.Output[0]] = x }

func (l *lowering) resolve(name string) string {
	if x, ok := l.alias[name]; ok {
		return x
	}
	return name
}

// write adds a node and returns the name of what it writes: out, or a new one if that is empty.
func (l *lowering) write(out, op string, in []string, pairs ...any) string {
	if out == "" {
		out = l.fresh(op)
	}
	l.nodes = append(l.nodes, &protos.NodeProto{OpType: op, Input: in, Output: []string{out}, Attribute: attrs(pairs...)})
	return out
}

// op is write for an operator without attributes, to a new name.
func (l *lowering) op(op string, in ...string) string { return l.write("", op, in) }

func (l *lowering) fresh(what string) string {
	for i := len(l.taken); ; i++ {
		if name := fmt.Sprintf("%s.%d", what, i); !l.taken[name] {
			l.taken[name] = true
			return name
		}
	}
}

// constant takes in a tensor of the file: a weight, or, if it is of integers or a single number, a constant.
func (l *lowering) constant(name string, t *tensor) error {
	l.taken[name] = true
	if t.isFloat() && len(t.dims) > 0 {
		if sizeOf(t.dims) == 0 { // stands for an input that is not given, such as Resize's scales
			l.constants[name] = t
			return nil
		}
		l.weights[name] = t
		return l.storeVariable(name, t)
	}
	l.constants[name] = t
	l.nodes = append(l.nodes, &protos.NodeProto{OpType: "Constant", Output: []string{name}})
	l.origin = append(l.origin, &protos.NodeProto{OpType: "Constant", Output: []string{name}})
	return nil
}

// number adds a constant number. What is built in float64 has it unrounded.
func (l *lowering) number(v float64) string {
	return l.add(&tensor{wide: []float64{v}, dims: []int{}})
}

// integers adds a constant list of integers.
func (l *lowering) integers(v []int) string {
	return l.add(&tensor{ints: int64s(v), dims: []int{len(v)}})
}

func (l *lowering) add(t *tensor) string {
	name := l.fresh("constant")
	l.constants[name] = t
	l.nodes = append(l.nodes, &protos.NodeProto{OpType: "Constant", Output: []string{name}})
	return name
}

// integersOf returns the integers of a constant, false if it is none.
func (l *lowering) integersOf(name string) ([]int, bool) {
	t := l.constants[name]
	if t == nil || t.ints == nil {
		return nil, false
	}
	return collect(len(t.ints), func(i int) int { return int(t.ints[i]) }), true
}

// ending is what makes probabilities of logits at the end of a model, or picks the class.
type ending struct {
	node   *protos.NodeProto
	op     string // Softmax, LogSoftmax or Sigmoid; ArgMax, ArgMin or Hardmax, which pick a class
	logits string // the name of what goes into it
}

// endingOf finds what makes probabilities or labels of an output, behind operators that only rename, cast or reshape;
// nil if there is nothing. Of a binary model it finds the sigmoid p under the pair 1 − p, p, as scikit-learn writes it.
func endingOf(f *file) *ending {
	name := f.output
	for _, n := range slices.Backward(f.nodes) {
		if !slices.Contains(n.Output, name) {
			continue
		}
		switch n.OpType {
		case "Identity", "Dropout", "Flatten", "Reshape", "Squeeze", "Unsqueeze", "Cast":
			if len(n.Input) > 0 {
				name = n.Input[0]
			}
		case "Softmax", "LogSoftmax", "Sigmoid", "ArgMax", "ArgMin", "Hardmax":
			if len(n.Input) != 1 {
				return nil
			}
			return &ending{n, n.OpType, n.Input[0]}
		case "Concat":
			if len(n.Input) != 2 {
				return nil
			}
			minus, p := f.writer(n.Input[0], "Sub"), f.writer(n.Input[1], "Sigmoid")
			if minus == nil || p == nil || len(minus.Input) != 2 || minus.Input[1] != n.Input[1] || len(p.Input) != 1 {
				return nil
			}
			if one := f.tensors[minus.Input[0]]; one == nil || len(one.floats) != 1 || one.floats[0] != 1 {
				return nil
			}
			return &ending{n, "Sigmoid", p.Input[0]}
		default:
			return nil
		}
	}
	return nil
}

// writer returns the operator of that type that writes a name, nil if there is none.
func (f *file) writer(name, op string) *protos.NodeProto {
	for _, n := range f.nodes {
		if n.OpType == op && slices.Contains(n.Output, name) {
			return n
		}
	}
	return nil
}

// leaveOut makes the model end with the logits. A softmax that is not over all classes is part of the model: without it
// another class might be the largest.
func (l *lowering) leaveOut(n *node) {
	logits := l.resolve(l.final.logits)
	dims := l.shapeOf(n, logits).dims
	whole := l.final.op == "Sigmoid" || l.opset < 13 && n.int("axis", 1) == 1 // which was over all axes from that one on
	if n.err == nil && !whole && len(withoutOnes(dims[min(1, len(dims)):])) > 1 {
		n.fail("it cannot be left out: it makes probabilities of parts of the %v outputs, not of all classes", batchless(dims))
		return
	}
	if n.OpType == "Concat" && n.err == nil && sizeOf(dims[min(1, len(dims)):]) != 1 {
		n.fail("it cannot be left out: it joins %v probabilities and what they leave of 1, for one of each that would be a "+
			"binary model", batchless(dims))
		return
	}
	l.same(n, logits)
}
