package onnxtest

import (
	"fmt"
	"math"

	"github.com/gomlx/compute-onnx/support/protos"
)

// compute returns the outputs of an operator.
func compute[T Float](c *call[T]) []Array[T] {
	if f := unary(c.float, c.OpType, c.text); f != nil {
		if !c.in[0].real() {
			panic(c.OpType + " of integers")
		}
		out := Array[T]{Dims: c.in[0].Dims, Values: make([]T, len(c.in[0].Values))}
		for i, v := range c.in[0].Values {
			out.Values[i] = T(f(float64(v)))
		}
		return one(out)
	}
	if f := pairwise[T](c.OpType); f != nil {
		out := c.in[0]
		for _, b := range c.in[1:] {
			if !out.real() || !b.real() {
				return one(integerBinary(c))
			}
			out = together(out, b, f)
		}
		if c.OpType == "Mean" {
			out = together(out, Array[T]{Dims: []int{}, Values: []T{T(len(c.in))}}, func(a, b T) T { return a / b })
		}
		return one(out)
	}
	if f := comparison[T](c.OpType); f != nil {
		a, b := c.in[0].asReal(), c.in[1].asReal()
		out := together(a, b, func(a, b T) T {
			if f(a, b) {
				return 1
			}
			return 0
		})
		return one(out.asInts())
	}
	for _, family := range []func(*call[T]) []Array[T]{logical[T], linear[T], spatial[T], reductions[T], shapes[T]} {
		if out := family(c); out != nil {
			return out
		}
	}
	panic(fmt.Sprintf("the operator %s is not computed here", c.OpType))
}

func (a Array[T]) asReal() Array[T] {
	if a.real() {
		return a
	}
	out := Array[T]{Dims: a.Dims, Values: make([]T, len(a.ints))}
	for i, v := range a.ints {
		out.Values[i] = T(v)
	}
	return out
}

// asInts cuts towards 0.
func (a Array[T]) asInts() Array[T] {
	if !a.real() {
		return a
	}
	out := Array[T]{Dims: a.Dims, ints: make([]int64, len(a.Values))}
	for i, v := range a.Values {
		out.ints[i] = int64(v)
	}
	return out
}

func sigmoid(x float64) float64 { return 1 / (1 + math.Exp(-x)) }

func softplus(x float64) float64 { return max(x, 0) + math.Log1p(math.Exp(-math.Abs(x))) }

// plainUnary are the functions that operators with one real input and no attribute are on each element.
var plainUnary = map[string]func(x float64) float64{
	"Abs": math.Abs, "Ceil": math.Ceil, "Floor": math.Floor, "Round": math.RoundToEven, "Sqrt": math.Sqrt,
	"Exp": math.Exp, "Log": math.Log, "Erf": math.Erf, "Sigmoid": sigmoid, "Softplus": softplus,
	"Sin": math.Sin, "Cos": math.Cos, "Tan": math.Tan, "Asin": math.Asin, "Acos": math.Acos, "Atan": math.Atan,
	"Sinh": math.Sinh, "Cosh": math.Cosh, "Tanh": math.Tanh, "Asinh": math.Asinh, "Acosh": math.Acosh, "Atanh": math.Atanh,
	"Neg":        func(x float64) float64 { return -x },
	"Reciprocal": func(x float64) float64 { return 1 / x },
	"Relu":       func(x float64) float64 { return max(x, 0) },
	"Softsign":   func(x float64) float64 { return x / (1 + math.Abs(x)) },
	"HardSwish":  func(x float64) float64 { return x * max(0, min(1, x/6+0.5)) },
	"Mish":       func(x float64) float64 { return x * math.Tanh(softplus(x)) },
	"Sign": func(x float64) float64 {
		switch {
		case x > 0:
			return 1
		case x < 0:
			return -1
		}
		return 0
	},
}

// unary returns the function that an operator with one real input is on each element; nil if it is none of them.
func unary(param func(string, float64) float64, op string, text func(string, string) string) func(x float64) float64 {
	α, β := func(otherwise float64) float64 { return param("alpha", otherwise) },
		func(otherwise float64) float64 { return param("beta", otherwise) }
	switch op {
	case "LeakyRelu":
		α := α(0.01)
		return func(x float64) float64 { return max(x, 0) + α*min(x, 0) }
	case "ThresholdedRelu":
		α := α(1)
		return func(x float64) float64 {
			if x > α {
				return x
			}
			return 0
		}
	case "Elu":
		α := α(1)
		return func(x float64) float64 { return max(x, 0) + α*math.Expm1(min(x, 0)) }
	case "Celu":
		α := α(1)
		return func(x float64) float64 { return max(x, 0) + min(0, α*math.Expm1(x/α)) }
	case "Selu":
		α, γ := α(1.67326319217681884765625), param("gamma", 1.05070102214813232421875)
		return func(x float64) float64 { return γ * (max(x, 0) + α*math.Expm1(min(x, 0))) }
	case "HardSigmoid":
		α, β := α(0.2), β(0.5)
		return func(x float64) float64 { return max(0, min(1, α*x+β)) }
	case "Swish":
		α := α(1)
		return func(x float64) float64 { return x * sigmoid(α*x) }
	case "Gelu":
		if text("approximate", "none") == "tanh" {
			return func(x float64) float64 {
				return 0.5 * x * (1 + math.Tanh(math.Sqrt(2/math.Pi)*(x+0.044715*x*x*x)))
			}
		}
		return func(x float64) float64 { return 0.5 * x * (1 + math.Erf(x/math.Sqrt2)) }
	case "Shrink":
		λ, bias := param("lambd", 0.5), param("bias", 0)
		return func(x float64) float64 {
			switch {
			case x < -λ:
				return x + bias
			case x > λ:
				return x - bias
			}
			return 0
		}
	}
	return plainUnary[op]
}

// pairwise returns the function of operators with two or any number of real inputs that are broadcast.
func pairwise[T Float](op string) func(a, b T) T {
	switch op {
	case "Add", "Sum", "Mean":
		return func(a, b T) T { return a + b }
	case "Sub":
		return func(a, b T) T { return a - b }
	case "Mul":
		return func(a, b T) T { return a * b }
	case "Div":
		return func(a, b T) T { return a / b }
	case "Pow":
		return func(a, b T) T { return T(math.Pow(float64(a), float64(b))) }
	case "Max":
		return func(a, b T) T { return max(a, b) }
	case "Min":
		return func(a, b T) T { return min(a, b) }
	case "PRelu":
		return func(a, slope T) T { return max(a, 0) + slope*min(a, 0) }
	}
	return nil
}

// integerBinary computes with two integers, of shapes.
func integerBinary[T Float](c *call[T]) Array[T] {
	f := map[string]func(a, b int64) int64{
		"Add": func(a, b int64) int64 { return a + b }, "Sub": func(a, b int64) int64 { return a - b },
		"Mul": func(a, b int64) int64 { return a * b }, "Div": func(a, b int64) int64 { return a / b },
		"Max": func(a, b int64) int64 { return max(a, b) }, "Min": func(a, b int64) int64 { return min(a, b) },
	}[c.OpType]
	if f == nil || len(c.in) != 2 || c.in[0].real() || c.in[1].real() {
		panic(c.OpType + " of integers")
	}
	dims := shared(c.in[0].Dims, c.in[1].Dims)
	a, b := wide(c.in[0], dims), wide(c.in[1], dims)
	out := Array[T]{Dims: dims, ints: make([]int64, len(a.ints))}
	for i := range out.ints {
		out.ints[i] = f(a.ints[i], b.ints[i])
	}
	return out
}

func comparison[T Float](op string) func(a, b T) bool {
	switch op {
	case "Equal":
		return func(a, b T) bool { return a == b }
	case "Less":
		return func(a, b T) bool { return a < b }
	case "LessOrEqual":
		return func(a, b T) bool { return a <= b }
	case "Greater":
		return func(a, b T) bool { return a > b }
	case "GreaterOrEqual":
		return func(a, b T) bool { return a >= b }
	}
	return nil
}

// logical computes what has to do with truth values, types and bounds.
func logical[T Float](c *call[T]) []Array[T] {
	switch c.OpType {
	case "And", "Or", "Xor":
		return one(together(c.in[0].asReal(), c.in[1].asReal(), func(a, b T) T {
			switch c.OpType {
			case "And":
				return a * b
			case "Or":
				return max(a, b)
			}
			return a + b - 2*a*b
		}).asInts())
	case "Not":
		out := Array[T]{Dims: c.in[0].Dims, ints: make([]int64, len(c.in[0].ints))}
		for i, v := range c.in[0].ints {
			out.ints[i] = 1 - v
		}
		return one(out)
	case "Where":
		dims := shared(shared(c.in[0].Dims, c.in[1].Dims), c.in[2].Dims)
		cond, a, b := wide(c.in[0], dims), wide(c.in[1], dims), wide(c.in[2], dims)
		k := -1
		return one(build(dims, func([]int) T {
			if k++; cond.ints[k] != 0 {
				return a.Values[k]
			}
			return b.Values[k]
		}))
	case "Clip":
		lo, hi := T(math.Inf(-1)), T(math.Inf(1))
		if c.opset < 11 {
			lo, hi = T(c.float("min", math.Inf(-1))), T(c.float("max", math.Inf(1)))
		}
		if c.given(1) {
			lo = c.in[1].Values[0]
		}
		if c.given(2) {
			hi = c.in[2].Values[0]
		}
		return one(build(c.in[0].Dims, eachOf(c.in[0], func(x T) T { return min(max(x, lo), hi) })))
	case "Cast":
		return one(castTo(c.in[0], protos.TensorProto_DataType(c.int("to", 0))))
	case "Identity", "Dropout":
		return one(c.in[0])
	}
	return nil
}

func castTo[T Float](a Array[T], to protos.TensorProto_DataType) Array[T] {
	switch to {
	case protos.TensorProto_FLOAT, protos.TensorProto_DOUBLE:
		return a.asReal()
	case protos.TensorProto_INT64, protos.TensorProto_INT32:
		return a.asInts()
	case protos.TensorProto_BOOL:
		out := Array[T]{Dims: a.Dims, ints: make([]int64, product(a.Dims))}
		for i, v := range a.asReal().Values {
			if v != 0 {
				out.ints[i] = 1
			}
		}
		return out
	}
	panic(fmt.Sprintf("a cast to %v", to))
}

// eachOf makes of a function on elements what build calls.
func eachOf[T Float](a Array[T], f func(T) T) func([]int) T {
	k := -1
	return func([]int) T {
		k++
		return f(a.Values[k])
	}
}
