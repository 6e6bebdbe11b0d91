package advlib

import (
	"fmt"

	"github.com/gomlx/gomlx/core/graph"
)

// Trace runs build on a new graph that is thrown away afterwards, neither compiled nor executed: a look at the model's
// nodes, through LogitsGraph, before anything is computed. What build panics with is returned as an error. Nodes must
// not be kept.
func (c *Classifier) Trace(build func(g *graph.Graph)) (err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	g := graph.NewGraph(c.spec.Backend, "trace of "+c.spec.Name)
	defer g.Finalize()
	defer func() {
		if r := recover(); r != nil {
			var ok bool
			if err, ok = r.(error); !ok {
				err = fmt.Errorf("%v", r)
			}
		}
	}()
	build(g)
	return nil
}
