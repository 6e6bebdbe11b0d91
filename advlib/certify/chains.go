package certify

import (
	"context"

	"advlab/advlib/backend"
	"advlab/advlib/certify/internal/chain"
	"advlab/advlib/certify/internal/search"
)

// smallWork is the most products for a box that are not left to XLA: with more, its compiled graphs win over plain Go.
const smallWork = 1 << 26

// cachedChain is a chain, or nil, as of a version of the variables.
type cachedChain struct {
	chain   *chain.Chain
	version int
}

// small returns the network as a chain if it is one, its bounds are what the method asks for or begins with, and they
// take less time than by graphs; nil if not.
func (n *Network) small(q Query, m Method) (*chain.Chain, error) {
	if q.Regions.Norm != nil || m.kind != crown || m.line != Adaptive || m.graphs {
		return nil, nil
	}
	n.chainMu.Lock()
	defer n.chainMu.Unlock()
	version := n.model.Wide.Version()
	if c, ok := n.chains[m.rounding]; ok && c.version == version {
		return c.chain, nil
	}
	shape := chain.ShapeOf(n.model)
	if shape != nil && shape.Work > smallWork && backend.InfoOf(n.model.Backend).Name != backend.Go {
		shape = nil
	}
	c, err := n.readChain(shape, m.rounding)
	if err != nil {
		return nil, err
	}
	n.chains[m.rounding] = cachedChain{c, version}
	return c, nil
}

// readChain returns the network as a chain of the given shape; nil if it is none.
func (n *Network) readChain(shape *chain.Shape, r Rounding) (*chain.Chain, error) {
	if shape == nil {
		return nil, nil
	}
	a, err := n.arithmetic(r)
	if err != nil {
		return nil, err
	}
	return chain.Read(n.model, shape, a)
}

// chain returns the network as a chain, nil if it is none, or if the method is not what a chain computes.
func (n *Network) chain(m Method) (*chain.Chain, error) {
	if err := n.checkArithmetic(m.rounding); err != nil {
		return nil, err
	}
	if m.kind != crown || m.line != Adaptive || m.tuned && n.Size() <= maxSensitive {
		return nil, nil
	}
	return n.readChain(chain.ShapeOf(n.model), m.rounding)
}

// byChain bounds rows over boxes as [Network.general] does.
func byChain(ctx context.Context, c *chain.Chain, q Query, m Method) (*Answer, error) {
	n := q.Regions.Len()
	a := &Answer{Method: m, Lower: make([][]float64, n), Slack: make([][]float64, n)}
	if q.Slopes {
		a.Slopes = make([][][]float64, n)
	}
	err := c.Each(ctx, n, m.intersect, func(p *chain.Pass, i int) {
		rows := q.Rows[0]
		if len(q.Rows) > 1 {
			rows = q.Rows[i]
		}
		for _, res := range p.Run(search.Cell{Lower: q.Regions.Lower[i], Upper: q.Regions.Upper[i]}, rows) {
			a.Lower[i], a.Slack[i] = append(a.Lower[i], res.Lower), append(a.Slack[i], res.Slack)
			if q.Slopes {
				if res.Slope == nil {
					res.Slope = make([]float64, p.Inputs)
				}
				a.Slopes[i] = append(a.Slopes[i], res.Slope)
			}
		}
	})
	return a, err
}
