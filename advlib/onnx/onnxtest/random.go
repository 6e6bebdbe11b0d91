package onnxtest

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/gomlx/compute-onnx/support/protos"
	"google.golang.org/protobuf/proto"
)

// Options narrow what random graphs are made of. The zero value allows everything that this package computes.
type Options struct {
	// Steps is the largest number of steps, each of one or a few operators; 0 means 6.
	Steps int
	// MinOpset and MaxOpset are between which the opset is drawn; 0 means 8 and 25.
	MinOpset, MaxOpset int
	// Allow tells of each operator whether it may be drawn; nil allows all. Those that shapes and the last layer need,
	// Constant, Flatten, Reshape, Transpose and Gemm, are there in any case.
	Allow func(op string) bool
}

// Graph is a random model in ONNX: from one input [n, d...] to logits [n, k]. It is a valid file, and rows do not mix.
type Graph struct {
	// Seed gives the same graph again.
	Seed uint64
	// File is the model.
	File []byte
	// Input is the shape of one input, without the batch. Values in [−1, 1] are meant; at the one that the graph was tried
	// on while it was drawn, all numbers are finite.
	Input []int
	// Ops are the operators, in their order.
	Ops []string

	options Options
	steps   []uint64 // each step's seed
	text    []string
}

// Random draws a graph. The same seed and options give the same.
func Random(seed uint64, o Options) Graph {
	r := rand.New(rand.NewPCG(seed, 12))
	if o.Steps == 0 {
		o.Steps = 6
	}
	if o.MaxOpset == 0 {
		o.MaxOpset = 25
	}
	o.MinOpset = max(o.MinOpset, 8)
	steps := make([]uint64, 1+r.IntN(o.Steps))
	for i := range steps {
		steps[i] = r.Uint64()
	}
	return draw(seed, steps, o)
}

// Shrink leaves out steps as long as the graph still fails.
func (g Graph) Shrink(fails func(Graph) bool) Graph {
	for i := 0; i < len(g.steps); i++ {
		if smaller := draw(g.Seed, slices.Delete(slices.Clone(g.steps), i, i+1), g.options); fails(smaller) {
			g, i = smaller, -1
		}
	}
	return g
}

// String lists the operators with their attributes and shapes.
func (g Graph) String() string {
	return fmt.Sprintf("graph %d:\n\t%s", g.Seed, strings.Join(g.text, "\n\t"))
}

// Example draws an input.
func (g Graph) Example(r *rand.Rand) []float64 {
	x := make([]float64, product(g.Input))
	for i := range x {
		x[i] = float64(float32(2*r.Float64() - 1))
	}
	return x
}

// largestSize is how many numbers a value of a random graph may have, largestValue how large they may be where it is
// tried.
const (
	largestSize  = 400
	largestValue = 1e3
)

// builder draws a graph. Whatever it adds is computed at once, on one input: an operator that does not fit is not kept.
type builder struct {
	*rand.Rand
	o       Options
	opset   int
	fixed   bool // the file fixes the batch at 1
	nodes   []*protos.NodeProto
	weights []*protos.TensorProto
	env     map[string]Array[float64]
	values  []string // real numbers [n, …], which steps go on with
	text    []string
	count   int
	last    bool // the graph is being finished: values may be large
}

func draw(seed uint64, steps []uint64, o Options) Graph {
	r := rand.New(rand.NewPCG(seed, 13))
	b := &builder{Rand: r, o: o, opset: o.MinOpset + r.IntN(o.MaxOpset-o.MinOpset+1), fixed: r.IntN(5) == 0, env: map[string]Array[float64]{}}
	g := Graph{Seed: seed, options: o, steps: steps}
	switch r.IntN(4) {
	case 0:
		g.Input = []int{1 + r.IntN(8)}
	case 1:
		g.Input = []int{1 + r.IntN(5), 1 + r.IntN(8)}
	case 2:
		g.Input = []int{1 + r.IntN(4), 1 + r.IntN(7), 1 + r.IntN(7)}
	default:
		g.Input = [][]int{{3, 6, 6}, {2, 5, 7}, {4, 4, 4}, {2, 3, 4, 3}, {1, 8, 8}}[r.IntN(5)]
	}
	b.env["x"] = Array[float64]{Dims: append([]int{1}, g.Input...), Values: g.Example(r)}
	b.values = []string{"x"}
	b.text = []string{fmt.Sprintf("opset %d, x%v", b.opset, b.env["x"].Dims)}
	for _, s := range steps {
		b.step(s)
	}
	b.Rand = rand.New(rand.NewPCG(seed, 14))
	b.finish()
	g.File, g.text = b.file(), b.text
	for _, n := range b.nodes {
		g.Ops = append(g.Ops, n.OpType)
	}
	return g
}

// step adds the first that fits of a few kinds of step.
func (b *builder) step(seed uint64) {
	b.Rand = rand.New(rand.NewPCG(seed, 15))
	for range 8 {
		s := steps[b.IntN(len(steps))]
		if b.opset < s.opset || !b.allowed(s.ops) {
			continue
		}
		x := b.values[len(b.values)-1]
		if b.IntN(5) == 0 {
			x = b.values[b.IntN(len(b.values))]
		}
		if b.try(func() { b.values = append(b.values, s.f(b, x)) }) {
			return
		}
	}
}

func (b *builder) allowed(ops string) bool {
	if b.o.Allow == nil {
		return true
	}
	for _, op := range strings.Fields(ops) {
		if !b.o.Allow(op) {
			return false
		}
	}
	return true
}

// misfit is what a step panics with that does not fit.
type misfit string

// try takes back what f has added if it does not fit.
func (b *builder) try(f func()) (fits bool) {
	nodes, weights, values, text := len(b.nodes), len(b.weights), len(b.values), len(b.text)
	defer func() {
		if r := recover(); r != nil {
			b.nodes, b.weights, b.values, b.text = b.nodes[:nodes], b.weights[:weights], b.values[:values], b.text[:text]
		}
	}()
	f()
	out := b.env[b.values[len(b.values)-1]]
	if !out.real() || len(out.Dims) < 2 || out.Dims[0] != 1 {
		panic(misfit("no rows of real numbers"))
	}
	return true
}

// finish adds what makes logits of the last value.
func (b *builder) finish() {
	b.last = true
	x := b.values[len(b.values)-1]
	for _, more := range b.values[:len(b.values)-1] { // so that most of what was drawn counts
		if b.IntN(3) == 0 && slices.Equal(b.env[more].Dims, b.env[x].Dims) && b.allowed("Add") {
			x = b.add("Add", []string{x, more})
		}
	}
	if len(b.dims(x)) != 2 || b.IntN(4) == 0 {
		x = b.add("Flatten", []string{x})
	}
	if b.dims(x)[1] < 2 || b.IntN(4) > 0 {
		x = b.add("Gemm", append([]string{x, b.real(b.dims(x)[1], 2+b.IntN(3))}, b.optional()...))
	}
	if x == "x" {
		x = b.add("Gemm", append([]string{x, b.real(b.dims(x)[1], 3)}, b.optional()...))
	}
	b.values = append(b.values, x)
}

func (b *builder) dims(x string) []int { return b.env[x].Dims }

// shape returns the dims of x, of which there must be at least that many and at most that many.
func (b *builder) shape(x string, least, most int) []int {
	d := b.dims(x)
	if len(d) < least || len(d) > most {
		panic(misfit("rank"))
	}
	return d
}

// name makes a name, sometimes one with a slash, as exporters do.
func (b *builder) name() string {
	b.count++
	return fmt.Sprintf([]string{"v%d", "v%d", "/layer/v%d"}[b.IntN(3)], b.count)
}

// add adds an operator with one output.
func (b *builder) add(op string, in []string, pairs ...any) string {
	return b.several(op, in, 1, pairs...)[0]
}

// several adds an operator with that many outputs.
func (b *builder) several(op string, in []string, outputs int, pairs ...any) []string {
	n := &protos.NodeProto{OpType: op, Input: in, Attribute: attributes(pairs)}
	for range outputs {
		n.Output = append(n.Output, b.name())
	}
	var shown []string
	for i, out := range run(n, int64(b.opset), b.env) {
		if i >= outputs {
			break
		}
		if product(out.Dims) > largestSize || product(out.Dims) == 0 {
			panic(misfit("size"))
		}
		for _, v := range out.Values {
			if math.IsNaN(v) || math.Abs(v) > largestValue && !b.last {
				panic(misfit("value"))
			}
		}
		b.env[n.Output[i]] = out
		shown = append(shown, fmt.Sprintf("%s%v", n.Output[i], out.Dims))
	}
	b.nodes = append(b.nodes, n)
	var read []string
	for _, name := range in {
		if a := b.env[name]; len(a.ints) > 0 && len(a.ints) < 12 {
			name += fmt.Sprint(a.ints)
		} else if name != "" {
			name += fmt.Sprint(a.Dims)
		}
		read = append(read, name)
	}
	for i := 0; i < len(pairs); i += 2 {
		read = append(read, fmt.Sprintf("%v=%v", pairs[i], pairs[i+1]))
	}
	b.text = append(b.text, fmt.Sprintf("%s = %s(%s)", strings.Join(shown, ", "), op, strings.Join(read, ", ")))
	return n.Output
}

func attributes(pairs []any) []*protos.AttributeProto {
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
		case []float32:
			a.Type, a.Floats = protos.AttributeProto_FLOATS, v
		case *protos.TensorProto:
			a.Type, a.T = protos.AttributeProto_TENSOR, v
		}
		as = append(as, a)
	}
	return as
}

func int64s(v []int) []int64 {
	out := make([]int64, len(v))
	for i, x := range v {
		out[i] = int64(x)
	}
	return out
}

// constantOf adds a constant: a weight of the file, or an operator.
func (b *builder) constantOf(t *protos.TensorProto) string {
	name := b.name()
	b.env[name] = arrayOf[float64](t)
	if b.IntN(3) == 0 {
		b.nodes = append(b.nodes, &protos.NodeProto{OpType: "Constant", Output: []string{name}, Attribute: attributes([]any{"value", t})})
		return name
	}
	t.Name = name
	b.weights = append(b.weights, t)
	return name
}

// real adds a constant of random numbers, a few of them 0 or 1.
func (b *builder) real(dims ...int) string { return b.drawn(dims, b.number) }

func (b *builder) number() float64 {
	switch b.IntN(12) {
	case 0:
		return 0
	case 1:
		return 1
	}
	return 3*b.Float64() - 1.5
}

// positive adds a constant of numbers between 0.2 and 1.7.
func (b *builder) positive(dims ...int) string {
	return b.drawn(dims, func() float64 { return 0.2 + 1.5*b.Float64() })
}

func (b *builder) drawn(dims []int, number func() float64) string {
	t := &protos.TensorProto{DataType: int32(protos.TensorProto_FLOAT), Dims: int64s(dims)}
	for range product(dims) {
		t.FloatData = append(t.FloatData, float32(number()))
	}
	return b.constantOf(t)
}

// single adds one number as a constant without axes.
func (b *builder) single(v float64) string { return b.drawn(nil, func() float64 { return v }) }

// list adds a constant of integers.
func (b *builder) list(v ...int) string { return b.integers([]int{len(v)}, v) }

func (b *builder) integers(dims, v []int) string {
	return b.constantOf(&protos.TensorProto{DataType: int32(protos.TensorProto_INT64), Dims: int64s(dims), Int64Data: int64s(v)})
}

// between draws an integer of [from, to].
func (b *builder) between(from, to int) int {
	if to < from {
		panic(misfit("range"))
	}
	return from + b.IntN(to-from+1)
}

func (b *builder) each(n int, draw func(i int) int) []int {
	v := make([]int, n)
	for i := range v {
		v[i] = draw(i)
	}
	return v
}

func (b *builder) oneOf(v ...string) string { return v[b.IntN(len(v))] }

// axis draws an axis behind the batch, counted from either end.
func (b *builder) axis(x string) int { return b.signed(b.between(1, len(b.dims(x))-1), x) }

func (b *builder) signed(axis int, x string) int {
	if b.IntN(3) == 0 {
		return axis - len(b.dims(x))
	}
	return axis
}

// axes draws at least one axis behind the batch.
func (b *builder) axes(x string) []int {
	all := b.Perm(len(b.dims(x)) - 1)
	all = all[:b.between(1, len(all))]
	for i := range all {
		all[i] = b.signed(all[i]+1, x)
	}
	return all
}

func (b *builder) file() []byte {
	dims := []*protos.TensorShapeProto_Dimension{{Value: &protos.TensorShapeProto_Dimension_DimParam{DimParam: "n"}}}
	if b.fixed {
		dims[0].Value = &protos.TensorShapeProto_Dimension_DimValue{DimValue: 1}
	}
	for _, d := range b.env["x"].Dims[1:] {
		dims = append(dims, &protos.TensorShapeProto_Dimension{Value: &protos.TensorShapeProto_Dimension_DimValue{DimValue: int64(d)}})
	}
	value := func(name string, shape *protos.TensorShapeProto) *protos.ValueInfoProto {
		t := &protos.TypeProto_Tensor{ElemType: int32(protos.TensorProto_FLOAT), Shape: shape}
		return &protos.ValueInfoProto{Name: name, Type: &protos.TypeProto{Value: &protos.TypeProto_TensorType{TensorType: t}}}
	}
	m := &protos.ModelProto{
		IrVersion: 8, OpsetImport: []*protos.OperatorSetIdProto{{Version: int64(b.opset)}},
		Graph: &protos.GraphProto{
			Name: "random", Node: b.nodes, Initializer: b.weights,
			Input:  []*protos.ValueInfoProto{value("x", &protos.TensorShapeProto{Dim: dims})},
			Output: []*protos.ValueInfoProto{value(b.values[len(b.values)-1], nil)},
		},
	}
	contents, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		panic(err)
	}
	return contents
}

// empty is a tensor without values, which stands for one that is not given.
func empty() *protos.TensorProto {
	return &protos.TensorProto{DataType: int32(protos.TensorProto_FLOAT), Dims: []int64{0}, RawData: []byte{}}
}

// filled is the value of a ConstantOfShape.
func filled(v float32) *protos.TensorProto {
	return &protos.TensorProto{DataType: int32(protos.TensorProto_FLOAT), Dims: []int64{1}, FloatData: []float32{v}}
}
