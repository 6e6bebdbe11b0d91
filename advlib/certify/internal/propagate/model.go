package propagate

import (
	"errors"
	"fmt"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	"github.com/gomlx/gomlx/core/graph"

	"advlab/advlib"
)

// Model is a model's graph function with its variables in float64.
type Model struct {
	// Name is shown in error messages.
	Name string
	// Input is the shape of one input, without the batch axis.
	Input []int
	// Backend is where graphs are built.
	Backend compute.Backend
	// Wide holds the variables.
	Wide *advlib.Wide
	// Build builds the model on x in float64, with Wide locked.
	Build func(x *graph.Node) *graph.Node
}

// Size returns how many numbers an input has.
func (m Model) Size() int { return SizeOf(m.Input) }

// Probe and repeats are batch sizes of graphs that are only looked at: two that no other axis is likely to have, so
// that an axis that grows with the batch can be told from others.
const (
	Probe   = 3
	Repeats = 5
)

// Trace builds a graph that is thrown away. What build panics with is returned as an error.
func (m Model) Trace(build func(g *graph.Graph)) error {
	m.Wide.Lock()
	defer m.Wide.Unlock()
	g := graph.NewGraph(m.Backend, "trace of "+m.Name)
	defer g.Finalize()
	return Catch(func() { build(g) })
}

// Parameter returns a graph's input of the given rows.
func (m Model) Parameter(g *graph.Graph, name string, rows int) *graph.Node {
	return graph.Parameter(g, name, shapes.Make(dtypes.Float64, append([]int{rows}, m.Input...)...))
}

var ErrIndependent = errors.New("the outputs do not depend on the input x in the graph: no perturbation would change them, and a bound " +
	"would mean nothing")

// Walk builds the model on x. It panics if the outputs do not depend on it.
func (m Model) Walk(x *graph.Node) *Walk {
	w := NewWalk(m.Backend, m.Build, x)
	if !w.perturbed(w.Out) {
		panic(ErrIndependent)
	}
	return w
}

// Move takes the variables off the backend that has them, if that is another one than b, on which they are wanted: a
// tensor belongs to one at a time, and models of several backends have the same variables. Wide must be locked.
func (m Model) Move(b compute.Backend) error {
	for v := range m.Wide.Store().IterVariables() {
		t, err := v.Value()
		if err == nil {
			if on, local := t.Backend(); local == nil && on != b {
				err = t.ToLocal()
			}
		}
		if err != nil {
			return fmt.Errorf("the variable %s: %w", v.Path(), err)
		}
	}
	return nil
}

// Catch returns what a graph function panics with as an error.
func Catch(build func()) (err error) {
	defer func() {
		if r := recover(); r != nil {
			var ok bool
			if err, ok = r.(error); !ok {
				err = fmt.Errorf("%v", r)
			}
		}
	}()
	build()
	return nil
}
