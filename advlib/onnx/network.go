package onnx

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/gomlx/compute-onnx/support/protos"
	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"
	"github.com/gomlx/onnx-gomlx/onnx"

	"advlab/advlib"
)

// maxFile is the largest file that is read: what a protocol buffer can hold.
const maxFile = 1 << 31

// Network is a file's model as a graph function, without what makes it a classifier: it may have one output only, and
// needs no box. Its methods may be called concurrently.
type Network struct {
	name     string
	lowering *lowering
	outputs  int
	double   bool

	normalisation *advlib.Normalisation // of the axes in the middle; nil for none

	mu     sync.Mutex
	parsed map[dtypes.DType]onnx.Model
}

// Load reads a model as a classifier, from a file as it is or compressed by gzip. Weights may lie in other files, in
// the folder in which the model is named or in the one in which it really is, and below; links may lead from one to the
// other.
//
// It is an error, which says what and where, if the file is damaged, of another opset than 8 to 28, or has an operator
// that is not supported; if it ends with a softmax; and what [advlib.NewClassifier] refuses.
func Load(path string, o Options) (*advlib.Classifier, error) {
	n, err := Open(path, o)
	if err != nil {
		return nil, err
	}
	return n.classifier(path, o)
}

// Read reads a model as a classifier, as [Load] does, but weights in other files are an error.
func Read(r io.Reader, o Options) (*advlib.Classifier, error) {
	n, err := ReadNetwork(r, o)
	if err != nil {
		return nil, err
	}
	return n.classifier(n.name, o)
}

// Open reads a model as a graph function. Of the options it heeds Name, Layout, Input, Normalisation, Output,
// StripSoftmax, Returns and MaxValues; a final softmax that is not to be left out is part of the function.
func Open(path string, o Options) (*Network, error) {
	n, err := open(path, o)
	if err != nil {
		return nil, fmt.Errorf("onnx: %s: %w", path, err)
	}
	return n, nil
}

// ReadNetwork reads a model as a graph function, as [Open] does, but weights in other files are an error.
func ReadNetwork(r io.Reader, o Options) (*Network, error) {
	contents, err := io.ReadAll(io.LimitReader(r, maxFile+1))
	if err == nil {
		var n *Network
		if n, err = read(contents, nil, o); err == nil {
			return n, nil
		}
	}
	return nil, fmt.Errorf("onnx: %w", err)
}

func open(path string, o Options) (*Network, error) {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("it is no file")
	}
	s, err := openStore(path)
	if err != nil {
		return nil, err
	}
	defer s.close()
	contents, err := s.read()
	if err != nil {
		return nil, err
	}
	if o.Name == "" {
		o.Name = strings.TrimSuffix(strings.TrimSuffix(filepath.Base(path), ".gz"), ".onnx")
	}
	return read(contents, s, o)
}

func read(contents []byte, s *store, o Options) (n *Network, err error) {
	defer recovered(&err)
	if bytes.HasPrefix(contents, []byte{0x1f, 0x8b}) {
		if contents, err = expanded(contents); err != nil {
			return nil, err
		}
	}
	if len(contents) > maxFile {
		return nil, fmt.Errorf("it has more than %d bytes", maxFile)
	}
	f, err := parseFile(contents, o.Output, s)
	if err != nil {
		return nil, err
	}
	n = &Network{name: o.Name, double: f.double, parsed: map[dtypes.DType]onnx.Model{}}
	if n.lowering, n.outputs, err = lowered(f, o); err != nil {
		return nil, err
	}
	if o.Normalisation != nil {
		if n.normalisation, err = n.lowering.fit.normalisation(*o.Normalisation); err != nil {
			return nil, err
		}
	}
	if n.name == "" {
		n.name = f.name
	}
	return n, nil
}

// expanded undoes gzip. A file in ONNX cannot begin as a compressed one does.
func expanded(contents []byte) ([]byte, error) {
	z, err := gzip.NewReader(bytes.NewReader(contents))
	if err == nil {
		contents, err = io.ReadAll(io.LimitReader(z, maxFile+1))
	}
	if err != nil {
		return nil, fmt.Errorf("it is compressed by gzip, and cannot be expanded: %w: download it again", err)
	}
	return contents, nil
}

func (n *Network) classifier(where string, o Options) (*advlib.Classifier, error) {
	spec := advlib.Spec{
		Name: n.name, Logits: n.Graph, Store: n.Store(), Input: n.Input(), Box: o.Box, Domain: o.Domain, Classes: o.Classes, Backend: o.Backend,
		Returns: o.Returns, Notes: n.Notes(), Warnings: n.warnings(o.Box),
	}
	switch final := n.lowering.final; {
	case final != nil && !n.lowering.strip && final.op != "LogSoftmax":
		return nil, fmt.Errorf("onnx: %s: %s is the last, so that the model returns probabilities; attacks and bounds want "+
			"the logits that go into it: leave it out with %v, which changes no prediction, or export the model without "+
			"it", where, describe(final.node), stripName)
	case n.lowering.strip && n.outputs == 1 && final.op == "Sigmoid": // what goes into it is the logit of class 1
		spec.Returns = advlib.OneLogit
	case n.lowering.strip && o.Returns == advlib.Probabilities:
		spec.Returns = advlib.Logits
	}
	c, err := advlib.NewClassifier(spec)
	if err != nil {
		return nil, fmt.Errorf("onnx: %s: %w", where, err)
	}
	return c, nil
}

// Name returns the options' name, else the file's.
func (n *Network) Name() string { return n.name }

// Input returns the shape of one input of the data, without the batch axis.
func (n *Network) Input() []int { return slices.Clone(n.lowering.fit.data) }

// Notes returns sentences on how inputs reach the file's model: a normalisation, and other axes than the file's.
func (n *Network) Notes() []string {
	var notes []string
	if n.normalisation != nil {
		notes = append(notes, n.normalisation.Note())
	}
	if note := n.lowering.fit.note(); note != "" {
		notes = append(notes, note)
	}
	if n.lowering.strip {
		notes = append(notes, "left out: "+describe(n.lowering.final.node)+", the last")
	}
	return notes
}

// warnings are sentences on what looks wrong for inputs in the box.
func (n *Network) warnings(box advlib.Box) []string {
	if n.normalisation == nil || box == (advlib.Box{}) {
		return nil
	}
	if w := n.normalisation.Warning(box); w != "" {
		return []string{w}
	}
	return nil
}

// Outputs returns K, how many numbers the model returns for each input.
func (n *Network) Outputs() int { return n.outputs }

// Double tells whether the file's input is in double precision: whoever wrote the file runs it in float64, as Graph
// does with inputs of that type and the variables of WideStore.
func (n *Network) Double() bool { return n.double }

// Store returns the model's variables, in float32.
func (n *Network) Store() *model.Store { return n.lowering.store }

// WideStore returns the model's variables in float64, under the same names: those of a file in double precision are
// exact. It is a new store each time.
func (n *Network) WideStore() (*model.Store, error) {
	s := model.NewStore()
	scope := s.RootScope().At(onnx.ModelScope)
	for name, w := range n.lowering.weights {
		if _, err := scope.CreateVariable(variableName(name), tensors.FromFlatDataAndDimensions(w.float64s(), w.dims...)); err != nil {
			return nil, fmt.Errorf("onnx: %s: the weight %q: %w", n.name, name, err)
		}
	}
	return s, nil
}

// Graph builds the model in the graph of x: from inputs of the data [n, d...] to outputs [n, K]. It computes in x's
// type, float32 or float64, and so does it expect the scope's variables: those of Store or of WideStore. It panics on
// errors, as graph functions do. It is an [advlib.LogitsFn].
func (n *Network) Graph(scope *model.Scope, x *graph.Node) *graph.Node {
	m, err := n.model(x.DType())
	if err != nil {
		panic(fmt.Errorf("onnx: %s: %w", n.name, err))
	}
	l := n.lowering
	batch := x.Shape().Dimensions[0]
	if !slices.Equal(x.Shape().Dimensions[1:], l.fit.data) {
		panic(fmt.Errorf("onnx: %s: inputs of shape %v, the model takes %v after the batch", n.name, x.Shape().Dimensions, l.fit.data))
	}
	if !slices.Equal(l.fit.middle, l.fit.data) {
		x = graph.Reshape(x, append([]int{batch}, l.fit.middle...)...)
	}
	if n.normalisation != nil && n.double {
		x = n.normalisation.Apply(x)
	} else if n.normalisation != nil { // in float64 with the numbers that it has in float32
		x = n.normalisation.Rounded().Apply(x)
	}
	perm := []int{0}
	for _, axis := range l.fit.perm {
		perm = append(perm, axis+1)
	}
	if !slices.IsSorted(perm) {
		x = graph.TransposeAllAxes(x, perm...)
	}
	y := l.build(m, scope, x)
	if y.Rank() != 2 {
		y = graph.Reshape(y, batch, n.outputs)
	}
	return y
}

func (n *Network) model(dtype dtypes.DType) (onnx.Model, error) {
	kind := protos.TensorProto_FLOAT
	switch dtype {
	case dtypes.Float32:
	case dtypes.Float64:
		kind = protos.TensorProto_DOUBLE
	default:
		return nil, fmt.Errorf("inputs are of type %v: the model is built in float32 or float64", dtype)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if m := n.parsed[dtype]; m != nil {
		return m, nil
	}
	m, err := n.lowering.parse(n.lowering.nodes, kind, n.lowering.output)
	if err == nil {
		n.parsed[dtype] = m
	}
	return m, err
}
