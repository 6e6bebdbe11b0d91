package onnx

import (
	"github.com/gomlx/compute-onnx/support/protos"
	"github.com/gomlx/compute/dtypes"
)

// Operators on elements that onnx-gomlx does not have, in terms of those it has. x is the input, out what is written.

// fold writes an operator with any number of inputs as one of two, and divides by their number for a mean.
func fold(op string, mean bool) func(*lowering, *node) {
	return func(l *lowering, n *node) {
		all := n.Input
		sum := all[0]
		for _, in := range all[1:] {
			sum = l.op(op, sum, in)
		}
		if mean && len(all) > 1 {
			l.write(n.Output[0], "Mul", []string{sum, l.number(1 / float64(len(all)))})
			return
		}
		l.same(n, sum)
	}
}

// clip has its bounds as attributes before opset 11, as inputs after it.
func clip(l *lowering, n *node) {
	in := []string{n.in(0), n.in(1), n.in(2)}
	if l.opset < 11 {
		if len(n.Input) > 1 {
			n.fail("it has its bounds as inputs, before opset 11 they are attributes")
		}
		for i, bound := range []string{"min", "max"} {
			if n.has(bound) {
				in[i+1] = l.number(n.float(bound, 0))
			}
		}
	}
	x := in[0]
	if in[1] != "" {
		x = l.op("Max", x, in[1])
	}
	if in[2] != "" {
		x = l.op("Min", x, in[2])
	}
	l.same(n, x)
}

// cast computes in one precision, whatever the file says.
func cast(l *lowering, n *node) {
	to := protos.TensorProto_DataType(n.int("to", 0))
	switch to {
	case protos.TensorProto_FLOAT, protos.TensorProto_DOUBLE, protos.TensorProto_FLOAT16, protos.TensorProto_BFLOAT16:
		to = protos.TensorProto_FLOAT
	case protos.TensorProto_INT64, protos.TensorProto_INT32, protos.TensorProto_BOOL:
	default:
		n.fail("it casts to %v: only float, double, float16, bfloat16, int64, int32 and bool are supported", to)
	}
	l.write(n.Output[0], "Cast", n.Input, "to", int(to))
}

func dropout(l *lowering, n *node) {
	if mode := n.in(2); mode != "" {
		if t := l.constants[mode]; t == nil || len(t.bools) != 1 || t.bools[0] {
			n.fail("it drops values at random, as in training: export the model for inference (in PyTorch, model.eval())")
		}
	}
	l.same(n, n.in(0))
}

// leakyRelu is x for x > 0, αx otherwise: max(x, αx) for α ≤ 1.
func leakyRelu(l *lowering, n *node) {
	x, α := n.in(0), n.float("alpha", 0.01)
	if α <= 1 {
		l.write(n.Output[0], "Max", []string{x, l.op("Mul", x, l.number(α))})
		return
	}
	l.write(n.Output[0], "Min", []string{x, l.op("Mul", x, l.number(α))})
}

// pRelu is x for x > 0, slope·x otherwise; the slope may have any sign.
func pRelu(l *lowering, n *node) {
	x, slope := n.in(0), n.in(1)
	l.write(n.Output[0], "Add", []string{l.op("Relu", x), l.op("Mul", slope, l.op("Min", x, l.number(0)))})
}

// expm1 returns exp(min(x, 0)) − 1: the minimum keeps exp from overflowing where its value is not used.
func (l *lowering) expm1(x string) string {
	return l.op("Sub", l.op("Exp", l.op("Min", x, l.number(0))), l.number(1))
}

// elu is x for x > 0, α(eˣ − 1) otherwise.
func elu(l *lowering, n *node) {
	x, α := n.in(0), n.float("alpha", 1)
	l.write(n.Output[0], "Add", []string{l.op("Relu", x), l.op("Mul", l.expm1(x), l.number(α))})
}

// celu is max(0, x) + min(0, α(e^(x/α) − 1)).
func celu(l *lowering, n *node) {
	x, α := n.in(0), n.float("alpha", 1)
	if α <= 0 {
		n.fail("its alpha is %g: it must be above 0", α)
	}
	l.write(n.Output[0], "Add", []string{l.op("Relu", x), l.op("Mul", l.expm1(l.op("Mul", x, l.number(1/α))), l.number(α))})
}

// selu is γx for x > 0, γα(eˣ − 1) otherwise.
func selu(l *lowering, n *node) {
	x, α, γ := n.in(0), n.float("alpha", 1.67326319217681884765625), n.float("gamma", 1.05070102214813232421875)
	sum := l.op("Add", l.op("Relu", x), l.op("Mul", l.expm1(x), l.number(α)))
	l.write(n.Output[0], "Mul", []string{sum, l.number(γ)})
}

// softplusOf returns ln(1 + eˣ) as max(x, 0) + ln(1 + e^−|x|), which does not overflow.
func (l *lowering) softplusOf(out, x string) string {
	small := l.op("Log", l.op("Add", l.op("Exp", l.op("Neg", l.op("Abs", x))), l.number(1)))
	return l.write(out, "Add", []string{l.op("Relu", x), small})
}

func softplus(l *lowering, n *node) { l.softplusOf(n.Output[0], n.in(0)) }

// mish is x·tanh(softplus(x)).
func mish(l *lowering, n *node) {
	l.write(n.Output[0], "Mul", []string{n.in(0), l.op("Tanh", l.softplusOf("", n.in(0)))})
}

// softsign is x / (1 + |x|).
func softsign(l *lowering, n *node) {
	l.write(n.Output[0], "Div", []string{n.in(0), l.op("Add", l.op("Abs", n.in(0)), l.number(1))})
}

// hardSigmoid is max(0, min(1, αx + β)).
func hardSigmoid(l *lowering, n *node) {
	line := l.op("Add", l.op("Mul", n.in(0), l.number(n.float("alpha", 0.2))), l.number(n.float("beta", 0.5)))
	l.write(n.Output[0], "Max", []string{l.op("Min", line, l.number(1)), l.number(0)})
}

// gelu is x·Φ(x), or its approximation by tanh, which onnx-gomlx knows by another name.
func gelu(l *lowering, n *node) {
	switch approximate := n.text("approximate", "none"); approximate {
	case "none":
		l.write(n.Output[0], "Gelu", n.Input)
	case "tanh":
		l.write(n.Output[0], "FastGelu", n.Input)
	default:
		n.fail("its attribute approximate is %q: it must be none or tanh", approximate)
	}
}

// swish is x·σ(αx).
func swish(l *lowering, n *node) {
	x := n.in(0)
	l.write(n.Output[0], "Mul", []string{x, l.op("Sigmoid", l.op("Mul", x, l.number(n.float("alpha", 1))))})
}

// thresholdedRelu is x for x > α, 0 otherwise.
func thresholdedRelu(l *lowering, n *node) {
	x := n.in(0)
	l.write(n.Output[0], "Where", []string{l.op("Greater", x, l.number(n.float("alpha", 1))), x, l.number(0)})
}

// shrink is x + bias for x < −λ, x − bias for x > λ, 0 otherwise.
func shrink(l *lowering, n *node) {
	x, λ, bias := n.in(0), n.float("lambd", 0.5), l.number(n.float("bias", 0))
	below := l.op("Where", l.op("Less", x, l.number(-λ)), l.op("Add", x, bias), l.number(0))
	l.write(n.Output[0], "Where", []string{l.op("Greater", x, l.number(λ)), l.op("Sub", x, bias), below})
}

// round goes to the nearest integer, from the middle to the even one.
func round(l *lowering, n *node) {
	x, half := n.in(0), l.number(0.5)
	floor := l.op("Floor", x)
	rest := l.op("Sub", x, floor) // exact
	odd := l.op("Greater", l.op("Sub", floor, l.op("Mul", l.op("Floor", l.op("Mul", floor, half)), l.number(2))), half)
	up := l.op("Or", l.op("Greater", rest, half), l.op("And", l.op("Equal", rest, half), odd))
	l.write(n.Output[0], "Where", []string{up, l.op("Add", floor, l.number(1)), floor})
}

func tan(l *lowering, n *node) {
	l.write(n.Output[0], "Div", []string{l.op("Sin", n.in(0)), l.op("Cos", n.in(0))})
}

// coshOf returns (eˣ + e⁻ˣ)/2.
func (l *lowering) coshOf(x string) string {
	return l.op("Mul", l.op("Add", l.op("Exp", x), l.op("Exp", l.op("Neg", x))), l.number(0.5))
}

func cosh(l *lowering, n *node) { l.same(n, l.coshOf(n.in(0))) }

// sinh is tanh·cosh, which is exact near 0 where eˣ − e⁻ˣ is not.
func sinh(l *lowering, n *node) {
	l.write(n.Output[0], "Mul", []string{l.op("Tanh", n.in(0)), l.coshOf(n.in(0))})
}

// asinh is ±ln(|x| + √(x² + 1)).
func asinh(l *lowering, n *node) {
	x := n.in(0)
	size := l.op("Add", l.abs(x), l.op("Sqrt", l.op("Add", l.square(x), l.number(1))))
	l.write(n.Output[0], "Mul", []string{l.op("Sign", x), l.log(size)})
}

// acosh is ln(x + √(x² − 1)).
func acosh(l *lowering, n *node) {
	x := n.in(0)
	l.write(n.Output[0], "Log", []string{l.op("Add", x, l.op("Sqrt", l.op("Sub", l.square(x), l.number(1))))})
}

// atanh is ln((1 + x)/(1 − x))/2.
func atanh(l *lowering, n *node) {
	x, one := n.in(0), l.number(1)
	ratio := l.op("Div", l.op("Add", one, x), l.op("Sub", one, x))
	l.write(n.Output[0], "Mul", []string{l.log(ratio), l.number(0.5)})
}

// castLike casts to the type of its second input, all real ones of which are one here.
func castLike(l *lowering, n *node) {
	to := protos.TensorProto_FLOAT
	switch s := l.shapeOf(n, n.in(1)); s.dtype {
	case dtypes.Int64:
		to = protos.TensorProto_INT64
	case dtypes.Int32:
		to = protos.TensorProto_INT32
	case dtypes.Bool:
		to = protos.TensorProto_BOOL
	}
	l.write(n.Output[0], "Cast", n.Input[:1], "to", int(to))
}
