// Package propagate bounds the nodes of a model's graph: intervals from the input on, and linear functions back to it.
//
//	w := propagate.NewWalk(b, build, x) // while a graph is built
//	for _, u := range w.Units {         // each with its rule
//		fmt.Println(u.Nodes())
//	}
//
// A [Walk] reads the graph into units, each bounded by one [Rule]. A [Pass] goes forward: intervals, lines, and how far
// the deployed model's rounding may be off. A [Backward] takes linear functions of a node back to the input, where the
// minimum over a [Region] is taken (CROWN). What is run when, in which batches, is package certify's business.
//
// # Where a relaxation is
//
//	ReLU, max and min with a constant             relu.go
//	sigmoid (Logistic), tanh, arc tangent, erf    sigmoid.go
//	exp, log, square root; softplus, ELU, Mish    exp.go
//	sine, cosine                                  sine.go
//	GELU, Swish, any function of one tensor       univariate.go; composite.go finds them, by jet.go and jetarithmetic.go
//	floor, ceil, round, sign                      step.go
//	comparisons, Where                            condition.go, where.go
//	max pool                                      maxpool.go
//	mean pool                                     meanpool.go
//	maximum along axes; of two tensors            reducemax.go; max.go
//	softmax                                       softmax.go
//	products of two tensors (attention); Div      bilinear.go; quotient.go
//	dense layer (DotGeneral), convolution, scale  product.go, convolution.go
//	batch normalisation                           batchnorm.go
//	sums: of tensors; along axes, cumulative      sum.go; reduction.go
//	reshape, transpose, slice, pad, concatenate   shape.go
//	gather                                        gather.go
//
// # Rounding
//
// Rules say what one operation may be off; rounding.go what is common to them, reorder.go what a backend changes across
// operations, library.go how far its functions are off.
package propagate
