package onnxtest

import (
	"math"
	"slices"
	"strings"
)

// reductions computes what makes one number of many, and softmaxes.
func reductions[T Float](c *call[T]) []Array[T] {
	switch {
	case strings.HasPrefix(c.OpType, "Reduce"):
		return one(reduce(c))
	case c.OpType == "Softmax" || c.OpType == "LogSoftmax" || c.OpType == "Hardmax":
		return one(softmax(c))
	case c.OpType == "ArgMax" || c.OpType == "ArgMin":
		return one(argument(c))
	case c.OpType == "CumSum":
		return one(cumulated(c))
	case c.OpType == "TopK":
		return topK(c)
	case c.OpType == "LpNormalization":
		return one(lpNorm(c))
	case c.OpType == "MeanVarianceNormalization":
		return one(meanVariance(c))
	}
	return nil
}

// along collects, for each position of the axes that stay, the values of the axes that go.
func along[T Float](x Array[T], axes []int) (dims []int, values [][]float64) {
	dims = slices.Clone(x.Dims)
	for _, a := range axes {
		dims[a] = 1
	}
	values = make([][]float64, product(dims))
	each(x.Dims, func(at []int) {
		to := slices.Clone(at)
		for _, a := range axes {
			to[a] = 0
		}
		k := flat(dims, to)
		values[k] = append(values[k], float64(x.Values[flat(x.Dims, at)]))
	})
	return dims, values
}

func without(dims, axes []int) []int {
	out := []int{}
	for i, d := range dims {
		if !slices.Contains(axes, i) {
			out = append(out, d)
		}
	}
	return out
}

func reduce[T Float](c *call[T]) Array[T] {
	x := c.in[0]
	axes := axesOf(c.list(1, "axes"), len(x.Dims))
	if len(axes) == 0 {
		if c.int("noop_with_empty_axes", 0) == 1 {
			return x
		}
		for i := range x.Dims {
			axes = append(axes, i)
		}
	}
	dims, values := along(x, axes)
	out := Array[T]{Dims: dims}
	for _, v := range values {
		out.Values = append(out.Values, T(reduced(c.OpType, v)))
	}
	if c.int("keepdims", 1) == 0 {
		out.Dims = without(dims, axes)
	}
	return out
}

func reduced(op string, v []float64) float64 {
	sum, abs, squares, prod, exp := 0., 0., 0., 1., 0.
	for _, x := range v {
		sum, abs, squares, prod, exp = sum+x, abs+math.Abs(x), squares+x*x, prod*x, exp+math.Exp(x)
	}
	switch op {
	case "ReduceSum":
		return sum
	case "ReduceMean":
		return sum / float64(len(v))
	case "ReduceMax":
		return slices.Max(v)
	case "ReduceMin":
		return slices.Min(v)
	case "ReduceProd":
		return prod
	case "ReduceL1":
		return abs
	case "ReduceL2":
		return math.Sqrt(squares)
	case "ReduceSumSquare":
		return squares
	case "ReduceLogSum":
		return math.Log(sum)
	case "ReduceLogSumExp":
		return math.Log(exp)
	}
	panic(op)
}

func softmax[T Float](c *call[T]) Array[T] {
	x := c.in[0]
	axes := []int{axisOf(c.int("axis", -1), len(x.Dims))}
	if c.opset < 13 {
		for i := axisOf(c.int("axis", 1), len(x.Dims)) + 1; i < len(x.Dims); i++ {
			axes = append(axes, i)
		}
		axes[0] = axisOf(c.int("axis", 1), len(x.Dims))
	}
	dims, values := along(x, axes)
	taken := make([]bool, len(values))
	return build(x.Dims, func(at []int) T {
		to := slices.Clone(at)
		for _, a := range axes {
			to[a] = 0
		}
		k := flat(dims, to)
		top, sum := slices.Max(values[k]), 0.
		for _, v := range values[k] {
			sum += math.Exp(v - top)
		}
		v := float64(x.Values[flat(x.Dims, at)])
		switch c.OpType {
		case "Softmax":
			return T(math.Exp(v-top) / sum)
		case "LogSoftmax":
			return T(v - top - math.Log(sum))
		}
		if v == top && !taken[k] {
			taken[k] = true
			return 1
		}
		return 0
	})
}

func argument[T Float](c *call[T]) Array[T] {
	x := c.in[0]
	axis := axisOf(c.int("axis", 0), len(x.Dims))
	dims, values := along(x, []int{axis})
	out := Array[T]{Dims: dims}
	for _, v := range values {
		best := 0
		for i, w := range v {
			d := w - v[best]
			if c.OpType == "ArgMin" {
				d = -d
			}
			if d > 0 || d == 0 && c.int("select_last_index", 0) == 1 {
				best = i
			}
		}
		out.ints = append(out.ints, int64(best))
	}
	if c.int("keepdims", 1) == 0 {
		out.Dims = without(dims, []int{axis})
	}
	return out
}

func cumulated[T Float](c *call[T]) Array[T] {
	x := c.in[0]
	axis := axisOf(int(c.in[1].ints[0]), len(x.Dims))
	return build(x.Dims, func(at []int) T {
		from, to := 0, at[axis]+1
		if c.int("reverse", 0) == 1 {
			from, to = at[axis], x.Dims[axis]
		}
		sum, own := 0., slices.Clone(at)
		for k := from; k < to; k++ {
			if own[axis] = k; k != at[axis] || c.int("exclusive", 0) == 0 {
				sum += float64(x.Values[flat(x.Dims, own)])
			}
		}
		return T(sum)
	})
}

func topK[T Float](c *call[T]) []Array[T] {
	x := c.in[0]
	axis := axisOf(c.int("axis", -1), len(x.Dims))
	k := int(c.in[1].ints[0])
	dims := slices.Clone(x.Dims)
	if k > dims[axis] {
		panic("TopK")
	}
	dims[axis] = k
	values, indices := Array[T]{Dims: dims}, Array[T]{Dims: dims}
	each(dims, func(at []int) {
		order, own := make([]int, x.Dims[axis]), slices.Clone(at)
		value := func(i int) T {
			own[axis] = i
			return x.Values[flat(x.Dims, own)]
		}
		for i := range order {
			order[i] = i
		}
		slices.SortStableFunc(order, func(i, j int) int {
			a, b := value(i), value(j)
			if c.int("largest", 1) == 1 {
				a, b = b, a
			}
			switch {
			case a < b:
				return -1
			case a > b:
				return 1
			}
			return 0
		})
		values.Values = append(values.Values, value(order[at[axis]]))
		indices.ints = append(indices.ints, int64(order[at[axis]]))
	})
	return []Array[T]{values, indices}
}

func lpNorm[T Float](c *call[T]) Array[T] {
	x := c.in[0]
	axis := axisOf(c.int("axis", -1), len(x.Dims))
	dims, values := along(x, []int{axis})
	op := "ReduceL2"
	if c.int("p", 2) == 1 {
		op = "ReduceL1"
	}
	norms := Array[T]{Dims: dims}
	for _, v := range values {
		norms.Values = append(norms.Values, T(reduced(op, v)))
	}
	return together(x, norms, func(a, b T) T { return a / b })
}

func meanVariance[T Float](c *call[T]) Array[T] {
	x := c.in[0]
	dims, _ := along(x, axesOf(c.ints("axes", []int{0, 2, 3}), len(x.Dims)))
	setOf := make([]int, len(x.Values))
	k := 0
	each(x.Dims, func(at []int) {
		to := slices.Clone(at)
		for i, d := range dims {
			to[i] = min(to[i], d-1)
		}
		setOf[k] = flat(dims, to)
		k++
	})
	sum, squares, n := make([]float64, product(dims)), make([]float64, product(dims)), make([]float64, product(dims))
	for k, v := range x.Values {
		sum[setOf[k]] += float64(v)
		n[setOf[k]]++
	}
	for k, v := range x.Values {
		d := float64(v) - sum[setOf[k]]/n[setOf[k]]
		squares[setOf[k]] += d * d
	}
	return build(x.Dims, func(at []int) T {
		k := flat(x.Dims, at)
		s := setOf[k]
		return T((float64(x.Values[k]) - sum[s]/n[s]) / (math.Sqrt(squares[s]/n[s]) + 1e-9))
	})
}
