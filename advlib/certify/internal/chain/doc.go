// Package chain bounds small networks in plain Go, without a graph to compile: those that are a chain of affine maps
// and ReLUs, as controllers are.
//
//	c, err := chain.Read(model, shape, arithmetic) // nil: the model is no chain
//	bounds := c.NewPass().Run(cell, rows)          // of ⟨rows[i], f(x)⟩ over the cell
//
// [Read] takes a model's numbers out of its graph, a [Link] for each affine map. A [Pass] bounds boxes one after the
// other, by intervals and by CROWN, and can tune slopes and multipliers (β-CROWN). A [Splitter] bounds branches of
// package search with it.
package chain
