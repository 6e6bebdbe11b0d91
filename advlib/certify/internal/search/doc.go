// Package search is branch and bound: a [Problem] is split until no part of it can have an unsafe output, or until one
// is found.
//
//	p, err := search.NewProblem(property, double)
//	s := &search.Search{Problem: p, Bound: bound, Outputs: outputs, Batch: 64, Cells: 10_000}
//	outcome, err := s.Run(ctx)
//
// A [Search] splits boxes of inputs; a [Splitting] splits by the signs of ReLUs. Neither knows how bounds are computed:
// that is a function, and a [Splitter].
package search
