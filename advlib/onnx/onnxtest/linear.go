package onnxtest

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

// linear computes products with matrices, and normalisations.
func linear[T Float](c *call[T]) []Array[T] {
	switch c.OpType {
	case "MatMul":
		return one(matMul(c.in[0], c.in[1]))
	case "Gemm":
		return one(gemm(c))
	case "Einsum":
		return one(einsum(c))
	case "BatchNormalization":
		ε := c.float("epsilon", 1e-5)
		x := c.in[0]
		return one(build(x.Dims, func(at []int) T {
			k := at[1]
			v := float64(x.Values[flat(x.Dims, at)]-c.in[3].Values[k]) / math.Sqrt(float64(c.in[4].Values[k])+ε)
			return c.in[1].Values[k]*T(v) + c.in[2].Values[k]
		}))
	case "InstanceNormalization":
		return one(groupNorm(c, c.in[0].Dims[1], c.in[1].Values, c.in[2].Values))
	case "GroupNormalization":
		groups := c.int("num_groups", 0)
		scale, bias := c.in[1].Values, c.in[2].Values
		if c.opset < 21 { // one for each group
			var s, b []T
			for k := range c.in[0].Dims[1] {
				g := k / (c.in[0].Dims[1] / groups)
				s, b = append(s, scale[g]), append(b, bias[g])
			}
			scale, bias = s, b
		}
		return one(groupNorm(c, groups, scale, bias))
	case "LayerNormalization", "RMSNormalization":
		return one(layerNorm(c))
	case "LRN":
		return one(lrn(c))
	}
	return nil
}

// matMul is NumPy's: of vectors, matrices, and stacks of matrices.
func matMul[T Float](a, b Array[T]) Array[T] {
	ad, bd := a.Dims, b.Dims
	if len(ad) == 1 {
		ad = []int{1, ad[0]}
	}
	if len(bd) == 1 {
		bd = []int{bd[0], 1}
	}
	m, inner, n := ad[len(ad)-2], ad[len(ad)-1], bd[len(bd)-1]
	if bd[len(bd)-2] != inner {
		panic(fmt.Sprintf("the product of %v and %v", a.Dims, b.Dims))
	}
	stack := shared(ad[:len(ad)-2], bd[:len(bd)-2])
	left := wide(Array[T]{Dims: ad, Values: a.Values}, slices.Concat(stack, []int{m, inner}))
	right := wide(Array[T]{Dims: bd, Values: b.Values}, slices.Concat(stack, []int{inner, n}))
	out := Array[T]{Dims: slices.Clone(stack)}
	if len(a.Dims) > 1 {
		out.Dims = append(out.Dims, m)
	}
	if len(b.Dims) > 1 {
		out.Dims = append(out.Dims, n)
	}
	for s := range product(stack) {
		x, y := left.Values[s*m*inner:], right.Values[s*inner*n:]
		for i := range m {
			for j := range n {
				var sum T
				for k := range inner {
					sum += x[i*inner+k] * y[k*n+j]
				}
				out.Values = append(out.Values, sum)
			}
		}
	}
	return out
}

func transposed[T Float](a Array[T]) Array[T] {
	return arrange(a, []int{a.Dims[1], a.Dims[0]}, func(at []int) int { return at[1]*a.Dims[1] + at[0] })
}

func gemm[T Float](c *call[T]) Array[T] {
	a, b := c.in[0], c.in[1]
	if len(a.Dims) != 2 || len(b.Dims) != 2 {
		panic(fmt.Sprintf("Gemm of %v and %v", a.Dims, b.Dims))
	}
	if c.int("transA", 0) == 1 {
		a = transposed(a)
	}
	if c.int("transB", 0) == 1 {
		b = transposed(b)
	}
	scaled := func(v Array[T], name string) Array[T] {
		if s := c.float(name, 1); s != 1 {
			return together(v, Array[T]{Dims: []int{1}, Values: []T{T(s)}}, func(a, b T) T { return a * b })
		}
		return v
	}
	out := scaled(matMul(a, b), "alpha")
	if !c.given(2) {
		return out
	}
	return together(out, wide(scaled(c.in[2], "beta"), out.Dims), func(a, b T) T { return a + b })
}

// einsum is of letters without an ellipsis.
func einsum[T Float](c *call[T]) Array[T] {
	left, right, explicit := strings.Cut(strings.ReplaceAll(c.text("equation", ""), " ", ""), "->")
	terms := strings.Split(left, ",")
	if !explicit || len(terms) != len(c.in) || strings.Contains(left, ".") {
		panic("the equation " + c.text("equation", ""))
	}
	size := map[byte]int{}
	for i, term := range terms {
		for k := range len(term) {
			if d, there := size[term[k]]; there && d != c.in[i].Dims[k] {
				panic("sizes of einsum")
			}
			size[term[k]] = c.in[i].Dims[k]
		}
	}
	letters, dims := right, []int{}
	for _, term := range terms {
		for k := range len(term) {
			if !strings.Contains(letters, term[k:k+1]) {
				letters += term[k : k+1]
			}
		}
	}
	for k := range len(letters) {
		dims = append(dims, size[letters[k]])
	}
	out := Array[T]{Dims: dims[:len(right)], Values: make([]T, product(dims[:len(right)]))}
	each(dims, func(at []int) {
		term := T(1)
		for i, in := range c.in {
			own := make([]int, len(terms[i]))
			for k := range own {
				own[k] = at[strings.IndexByte(letters, terms[i][k])]
			}
			term *= in.Values[flat(in.Dims, own)]
		}
		out.Values[flat(out.Dims, at[:len(right)])] += term
	})
	return out
}

// groupNorm normalises each group of channels of each example.
func groupNorm[T Float](c *call[T], groups int, scale, bias []T) Array[T] {
	x := c.in[0]
	if groups < 1 || x.Dims[1]%groups != 0 || len(scale) != x.Dims[1] || len(bias) != x.Dims[1] || len(x.Dims) < 3 &&
		c.OpType == "InstanceNormalization" {
		panic(fmt.Sprintf("%d groups of %v", groups, x.Dims))
	}
	size := product(x.Dims[1:]) / groups
	unit := normalised(x, func(k int) int { return k / size }, c.float("epsilon", 1e-5), true)
	return build(x.Dims, func(at []int) T {
		return T(unit[flat(x.Dims, at)])*scale[at[1]] + bias[at[1]]
	})
}

// normalised gives each set of elements the variance 1, and, if they are centred, the mean 0.
func normalised[T Float](x Array[T], setOf func(k int) int, ε float64, centred bool) []float64 {
	sum, squares, n := map[int]float64{}, map[int]float64{}, map[int]float64{}
	if centred {
		for k, v := range x.Values {
			sum[setOf(k)] += float64(v)
			n[setOf(k)]++
		}
		for s := range sum {
			sum[s] /= n[s]
		}
		clear(n)
	}
	for k, v := range x.Values {
		d := float64(v) - sum[setOf(k)]
		squares[setOf(k)] += d * d
		n[setOf(k)]++
	}
	out := make([]float64, len(x.Values))
	for k, v := range x.Values {
		s := setOf(k)
		out[k] = (float64(v) - sum[s]) / math.Sqrt(squares[s]/n[s]+ε)
	}
	return out
}

func layerNorm[T Float](c *call[T]) Array[T] {
	x := c.in[0]
	axis := axisOf(c.int("axis", -1), len(x.Dims))
	size := product(x.Dims[axis:])
	unit := normalised(x, func(k int) int { return k / size }, c.float("epsilon", 1e-5), c.OpType == "LayerNormalization")
	out := build(x.Dims, func(at []int) T { return T(unit[flat(x.Dims, at)]) })
	out = together(out, wide(c.in[1], x.Dims), func(a, b T) T { return a * b })
	if c.given(2) {
		out = together(out, wide(c.in[2], x.Dims), func(a, b T) T { return a + b })
	}
	return out
}

// lrn divides by a power of the mean square of the channels around.
func lrn[T Float](c *call[T]) Array[T] {
	x, size := c.in[0], c.int("size", 0)
	α, β, bias := c.float("alpha", 1e-4), c.float("beta", 0.75), c.float("bias", 1)
	return build(x.Dims, func(at []int) T {
		sum, near := 0., slices.Clone(at)
		for k := max(0, at[1]-(size-1)/2); k <= min(x.Dims[1]-1, at[1]+size/2); k++ {
			near[1] = k
			v := float64(x.Values[flat(x.Dims, near)])
			sum += v * v
		}
		return T(float64(x.Values[flat(x.Dims, at)]) / math.Pow(bias+α/float64(size)*sum, β))
	})
}
