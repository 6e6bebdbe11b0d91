package certify

import (
	"fmt"
	"sync/atomic"

	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"

	"advlab/advlib/certify/internal/propagate"
)

// program is a compiled graph.
type program struct {
	exec *model.Exec
	// layout is that of a forward pass, known once its graph is built. It is the same for all sizes of batches.
	layout atomic.Pointer[propagate.Layout]
}

// Keys are what a compiled graph depends on besides the shapes of its inputs.
type (
	forwardKey struct {
		ibp      bool
		rounding Rounding
		ball     bool
	}
	rowsKey struct {
		start    int // a node's place in Walk.Nodes, or [outputs]
		ibp      bool
		ball     bool
		rounding Rounding
	}
	ascentKey struct {
		start    int
		ball     bool
		rounding Rounding
	}
	branchKey struct {
		rounding Rounding
		tuned    bool // it has the steps of the tuning too
	}
	tableKey struct{ start int }
)

// program returns the network's graph of the given key, which build builds when it is called with other shapes than
// before.
func (n *Network) program(key any, build func(p *program, in []*Node) []*Node) *program {
	n.mu.Lock()
	defer n.mu.Unlock()
	p := n.programs[key]
	if p == nil {
		p = &program{}
		exec, err := model.NewExec(n.model.Backend, n.model.Wide.Store(), func(_ *model.Scope, in []*Node) []*Node { return build(p, in) })
		if err != nil {
			panic(err)
		} // fails for a nil store only
		exec.WithName(fmt.Sprintf("%T", key)).SetMaxCache(-1)
		p.exec = exec
		n.programs[key] = p
	}
	return p
}

// call runs a program.
func (n *Network) call(p *program, in []*tensors.Tensor) (out []*tensors.Tensor, err error) {
	args := make([]any, len(in))
	for i, t := range in {
		args[i] = t
	}
	n.model.Wide.Lock()
	defer n.model.Wide.Unlock()
	if err := n.model.Move(n.model.Backend); err != nil {
		return nil, err
	}
	if panicked := propagate.Catch(func() { out, err = p.exec.Exec(args...) }); panicked != nil {
		return nil, panicked
	}
	return out, err
}
