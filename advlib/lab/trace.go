package lab

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"reflect"
	"slices"
	"strings"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/shapes"
	"github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"
	"github.com/gomlx/gomlx/support/exceptions"
)

func init() {
	// GoMLX forgets the values of constants with 32 elements and more once they are in the graph, and without them two
	// models that differ in such a constant would have the same trace. It is set here, before anything builds a graph,
	// because it must not change while another goroutine does.
	graph.MinConstValueSizeToKeep = math.MaxInt
}

// ErrHidden is returned for graphs with parts that cannot be seen: GoMLX does not tell which node the body of an If, a
// While or a function returns, so two models that differ in it would have the same trace.
var ErrHidden = errors.New("what its body returns cannot be seen in the graph")

// Trace returns the text of the graph that build makes for inputs of the given shapes, neither compiled nor executed:
// every operation with its attributes, edges and shapes, the values of constants, and which variables are read and
// updated. Equal texts compute the same from equal values of the variables; those are not in the text, see [Variables].
//
// Variables that build creates stay in the store. What build panics with is returned as an error.
func Trace(b compute.Backend, store *model.Store, inputs []shapes.Shape,
	build func(scope *model.Scope, in []*graph.Node) []*graph.Node) (string, error) {
	var text string
	err := exceptions.TryCatch[error](func() {
		g := graph.NewGraph(b, "trace")
		defer g.Finalize()
		model.SetStore(g, store) // optimizers ask the graph for it
		in := make([]*graph.Node, len(inputs))
		for i, shape := range inputs {
			in[i] = graph.Parameter(g, fmt.Sprintf("input%d", i), shape)
		}
		text = graphText(store, build(store.RootScope(), in))
	})
	if err != nil {
		return "", fmt.Errorf("lab: tracing the graph for inputs of shape %v: %w", inputs, err)
	}
	return text, nil
}

// graphText returns the text of the graph of the outputs.
func graphText(store *model.Store, outputs []*graph.Node) string {
	if len(outputs) == 0 || outputs[0] == nil {
		panic(fmt.Errorf("the function returned no node"))
	}
	g := outputs[0].Graph()
	var s strings.Builder
	// GoMLX's own text of a node leaves out what some operations take, such as Sort's axis, so the attributes are read
	// from the node itself.
	functions := make(map[uintptr]int)
	function := func(f uintptr) int {
		n, seen := functions[f]
		if !seen {
			n = len(functions)
			functions[f] = n
		}
		return n
	}
	for _, n := range g.Nodes() {
		switch n.Type() {
		case graph.NodeTypeIf, graph.NodeTypeWhile, graph.NodeTypeCall:
			panic(fmt.Errorf("node #%d branches, loops or calls a function: %w", n.Id(), ErrHidden))
		}
		fmt.Fprintf(&s, "#%d f%d %s", n.Id(), function(reflect.ValueOf(n.Function()).Pointer()), n.Type())
		for _, in := range n.Inputs() {
			fmt.Fprintf(&s, " #%d", in.Id())
		}
		attributes(&s, field(n, "inputs"), function, 0)
		if n.Type() == graph.NodeTypeConstant {
			s.WriteString(" = " + tensorHash(n.ConstantValue()))
		}
		if n.StopGradient() {
			s.WriteString(" stop-gradient")
		}
		if n.CustomGradient() != nil {
			s.WriteString(" custom-gradient")
		}
		s.WriteString(" ->")
		attributes(&s, field(n, "outputShapes"), function, 0)
		s.WriteString("\n")
	}
	s.WriteString("returns")
	for _, n := range outputs {
		fmt.Fprintf(&s, " #%d", n.Id())
	}
	s.WriteString("\n")
	for v := range store.IterVariables() {
		if v.InUseByGraph(g) {
			fmt.Fprintf(&s, "variable %s %v trainable %v", v.Path(), v.Shape(), v.Trainable)
			if v.ChangedInGraph(g) {
				fmt.Fprintf(&s, " becomes #%d", v.NodeValue(g).Id())
			}
			s.WriteString("\n")
		}
	}
	return s.String()
}

// field returns an unexported field of a node.
func field(n *graph.Node, name string) reflect.Value {
	v := reflect.ValueOf(n).Elem().FieldByName(name)
	if !v.IsValid() {
		panic(fmt.Errorf("this version of GoMLX has no field %s in a graph's node: graphs cannot be traced", name))
	}
	return v
}

// attributes writes the plain values within v, and the numbers of functions. Nodes and tensors are left to the caller.
func attributes(s *strings.Builder, v reflect.Value, function func(uintptr) int, depth int) {
	if depth > 8 {
		return
	}
	switch v.Kind() {
	case reflect.Bool:
		fmt.Fprintf(s, " %v", v.Bool())
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		fmt.Fprintf(s, " %d", v.Int())
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		fmt.Fprintf(s, " %d", v.Uint())
	case reflect.Float32, reflect.Float64:
		fmt.Fprintf(s, " %x", v.Float())
	case reflect.Complex64, reflect.Complex128:
		fmt.Fprintf(s, " %x", v.Complex())
	case reflect.String:
		fmt.Fprintf(s, " %q", v.String())
	case reflect.Slice, reflect.Array:
		s.WriteString(" [")
		for i := range v.Len() {
			attributes(s, v.Index(i), function, depth+1)
		}
		s.WriteString(" ]")
	case reflect.Struct:
		s.WriteString(" {")
		for i := range v.NumField() {
			attributes(s, v.Field(i), function, depth+1)
		}
		s.WriteString(" }")
	case reflect.Map:
		entries := make(map[string]string)
		for _, key := range v.MapKeys() {
			var name, value strings.Builder
			attributes(&name, key, function, depth+1)
			attributes(&value, v.MapIndex(key), function, depth+1)
			entries[name.String()] = value.String()
		}
		for _, name := range slices.Sorted(maps.Keys(entries)) {
			s.WriteString(name + ":" + entries[name])
		}
	case reflect.Interface, reflect.Pointer:
		if v.IsNil() {
			s.WriteString(" nil")
			return
		}
		if v.Kind() == reflect.Pointer {
			switch v.Type() {
			case reflect.TypeFor[*graph.Node](), reflect.TypeFor[*tensors.Tensor](), reflect.TypeFor[*graph.Graph]():
				return
			case reflect.TypeFor[*graph.Function]():
				fmt.Fprintf(s, " f%d", function(v.Pointer()))
				return
			}
		}
		attributes(s, v.Elem(), function, depth+1)
	}
}

// Variables returns a hash of the store's variables: their paths, shapes and values, without the state of GoMLX's
// random number generator.
func Variables(store *model.Store) (string, error) {
	var lines []string
	for v := range store.IterVariables() {
		if v.Name() == model.RNGStateVariableName {
			continue
		}
		value, err := v.Value()
		if err != nil {
			return "", fmt.Errorf("lab: %w", err)
		}
		lines = append(lines, fmt.Sprintf("%s %v %v %s\n", v.Path(), v.Shape(), v.Trainable, tensorHash(value)))
	}
	slices.Sort(lines)
	return digest([]byte(strings.Join(lines, ""))), nil
}

func tensorHash(t *tensors.Tensor) string {
	if t == nil {
		panic(fmt.Errorf("GoMLX did not keep the value of a constant: graph.MinConstValueSizeToKeep was lowered to %d, "+
			"leave it at what package lab sets", graph.MinConstValueSizeToKeep))
	}
	var sum string
	if err := t.ConstBytes(func(data []byte) { sum = digest(data) }); err != nil {
		panic(err)
	}
	return sum[:32]
}
