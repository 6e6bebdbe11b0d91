package onnxtest

import (
	"slices"
)

// step is one kind of step of a random graph: from a value, real numbers [n, …], it makes another. ops are the
// operators that it may write, opset the first that has them. What does not fit panics, and is taken back.
type step struct {
	ops   string
	opset int
	f     func(b *builder, x string) string
}

// steps are what graphs are drawn from, the more often one is listed the more often.
var steps []step

func init() {
	steps = slices.Concat(elementSteps(), linearSteps(), spatialSteps(), reductionSteps(), shapeSteps())
}

// given sets attributes at random: names and values in turn, each left out sometimes, so that defaults count.
func (b *builder) given(pairs ...any) []any {
	var out []any
	for i := 0; i < len(pairs); i += 2 {
		if b.IntN(3) > 0 {
			out = append(out, pairs[i], pairs[i+1])
		}
	}
	return out
}

func elementSteps() []step {
	var all []step
	plain := func(opset int, ops ...string) {
		for _, op := range ops {
			all = append(all, step{op, opset, func(b *builder, x string) string { return b.add(op, []string{x}) }})
		}
	}
	plain(8, "Abs", "Neg", "Ceil", "Floor", "Exp", "Sin", "Cos", "Tanh", "Sigmoid", "Relu", "Relu", "Relu", "Softplus",
		"Softsign", "Identity", "Dropout", "Tan", "Atan")
	plain(9, "Erf", "Sign", "Sinh", "Cosh", "Asinh")
	plain(11, "Round")
	plain(14, "HardSwish")
	plain(18, "Mish")
	// Of numbers above 0, and between −1 and 1.
	for op, opset := range map[string]int{"Sqrt": 8, "Log": 8, "Reciprocal": 8, "Acosh": 9} {
		all = append(all, step{op + " Abs Add", opset, func(b *builder, x string) string {
			least := 0.3
			if op == "Acosh" {
				least = 1.3
			}
			return b.add(op, []string{b.add("Add", []string{b.add("Abs", []string{x}), b.single(least + b.Float64())})})
		}})
	}
	for op, opset := range map[string]int{"Asin": 8, "Acos": 8, "Atanh": 9} {
		all = append(all, step{op + " Tanh Mul", opset, func(b *builder, x string) string {
			return b.add(op, []string{b.add("Mul", []string{b.add("Tanh", []string{x}), b.single(0.9)})})
		}})
	}
	slices.SortStableFunc(all, func(a, b step) int { // maps have no order
		if a.ops < b.ops {
			return -1
		}
		if a.ops > b.ops {
			return 1
		}
		return 0
	})
	number := func(b *builder) float64 { return 0.1 + 1.5*b.Float64() }
	signed := func(b *builder) float64 { return 3*b.Float64() - 1.5 }
	for _, s := range []struct {
		op    string
		opset int
		pairs func(b *builder) []any
	}{
		{"LeakyRelu", 8, func(b *builder) []any { return []any{"alpha", signed(b)} }},
		{"Elu", 8, func(b *builder) []any { return []any{"alpha", signed(b)} }},
		{"Celu", 12, func(b *builder) []any { return []any{"alpha", number(b)} }},
		{"Selu", 8, func(b *builder) []any { return []any{"alpha", number(b), "gamma", number(b)} }},
		{"HardSigmoid", 8, func(b *builder) []any { return []any{"alpha", number(b), "beta", signed(b)} }},
		{"ThresholdedRelu", 10, func(b *builder) []any { return []any{"alpha", signed(b)} }},
		{"Shrink", 9, func(b *builder) []any { return []any{"lambd", number(b), "bias", signed(b)} }},
		{"Gelu", 20, func(b *builder) []any { return []any{"approximate", b.oneOf("tanh", "none")} }},
		{"Swish", 24, func(b *builder) []any { return []any{"alpha", signed(b)} }},
	} {
		all = append(all, step{s.op, s.opset, func(b *builder, x string) string { return b.add(s.op, []string{x}, b.given(s.pairs(b)...)...) }})
	}
	for _, op := range []string{"Add", "Sub", "Mul", "Div", "Max", "Min", "PRelu", "Add", "Mul"} {
		all = append(all, step{op, 8, func(b *builder, x string) string { return b.withConstant(op, x) }})
	}
	for _, op := range []string{"Add", "Sub", "Mul", "Max", "Min", "Sum", "Mean"} {
		all = append(all, step{op, 8, func(b *builder, x string) string { return b.add(op, []string{x, b.other(x)}) }})
	}
	return append(all,
		step{"Div Abs Add", 8, func(b *builder, x string) string {
			below := b.add("Add", []string{b.add("Abs", []string{b.other(x)}), b.single(number(b))})
			return b.add("Div", []string{x, below})
		}},
		step{"Sum Mean Max Min", 8, func(b *builder, x string) string {
			in := []string{x}
			for range b.IntN(3) {
				in = append(in, b.other(x))
			}
			return b.add(b.oneOf("Sum", "Mean", "Max", "Min"), in)
		}},
		step{"Pow", 8, func(b *builder, x string) string {
			return b.add("Pow", []string{x, b.single([]float64{2, 2, 3, 1}[b.IntN(4)])})
		}},
		step{"Pow Abs Add", 8, func(b *builder, x string) string {
			return b.add("Pow", []string{b.add("Add", []string{b.add("Abs", []string{x}), b.single(number(b))}), b.single(signed(b))})
		}},
		step{"Clip", 8, clipStep},
		step{"Where And Or Not Xor Less Greater LessOrEqual GreaterOrEqual", 12, func(b *builder, x string) string {
			return b.add("Where", []string{b.truth(x, 2), x, b.second(x)})
		}},
		step{"Cast And Or Not Xor Less Greater LessOrEqual GreaterOrEqual", 12, func(b *builder, x string) string {
			return b.add("Cast", []string{b.truth(x, 1)}, "to", 1)
		}},
		step{"Where Less", 9, func(b *builder, x string) string {
			return b.add("Where", []string{b.add("Less", []string{x, b.second(x)}), x, b.second(x)})
		}},
		step{"Cast", 9, func(b *builder, x string) string {
			return b.add("Cast", []string{b.add("Cast", []string{x}, "to", []int{7, 6, 9}[b.IntN(3)])}, "to", 1)
		}},
		step{"Cast Equal Floor", 11, func(b *builder, x string) string {
			return b.add("Cast", []string{b.add("Equal", []string{b.add("Floor", []string{x}), b.single(float64(b.between(-1, 1)))})}, "to", 1)
		}},
	)
}

// withConstant computes with a constant that is broadcast to x, on either side.
func (b *builder) withConstant(op, x string) string {
	dims := slices.Clone(b.dims(x))[b.IntN(len(b.dims(x))+1):]
	for i := range dims {
		if b.IntN(3) == 0 {
			dims[i] = 1
		}
	}
	switch {
	case op == "PRelu":
		return b.add(op, []string{x, b.real(dims...)})
	case op == "Div":
		return b.add(op, []string{x, b.positive(dims...)})
	case b.IntN(2) == 0:
		return b.add(op, []string{b.real(dims...), x})
	}
	return b.add(op, []string{x, b.real(dims...)})
}

// other draws a value with as many axes as x, so that the batch stays the batch where both are broadcast.
func (b *builder) other(x string) string {
	for {
		if y := b.values[b.IntN(len(b.values))]; len(b.dims(y)) == len(b.dims(x)) {
			return y
		}
	}
}

// second is something to compare x with: a constant, or x itself scaled.
func (b *builder) second(x string) string {
	if b.IntN(2) == 0 {
		return b.single(b.Float64() - 0.5)
	}
	return b.real(b.dims(x)[1:]...)
}

// truth draws a condition on x.
func (b *builder) truth(x string, depth int) string {
	if depth == 0 || b.IntN(2) == 0 {
		return b.add(b.oneOf("Less", "Greater", "LessOrEqual", "GreaterOrEqual"), []string{x, b.second(x)})
	}
	if b.IntN(3) == 0 {
		return b.add("Not", []string{b.truth(x, depth-1)})
	}
	return b.add(b.oneOf("And", "Or", "Xor"), []string{b.truth(x, depth-1), b.truth(x, depth-1)})
}

func clipStep(b *builder, x string) string {
	lo := b.Float64() - 1
	hi := lo + b.Float64()*1.5
	if b.opset < 11 {
		return b.add("Clip", []string{x}, b.given("min", lo, "max", hi)...)
	}
	switch b.IntN(4) {
	case 0:
		return b.add("Clip", []string{x, b.single(lo)})
	case 1:
		return b.add("Clip", []string{x, "", b.single(hi)})
	}
	return b.add("Clip", []string{x, b.single(lo), b.single(hi)})
}

func linearSteps() []step {
	norm := func(op string, opset int, f func(b *builder, x string) string) step { return step{op, opset, f} }
	return []step{
		{"MatMul", 8, func(b *builder, x string) string {
			d := b.dims(x)
			return b.add("MatMul", []string{x, b.real(d[len(d)-1], b.between(1, 6))})
		}},
		{"MatMul", 8, func(b *builder, x string) string {
			d := b.shape(x, 3, 5)
			return b.add("MatMul", []string{b.real(b.between(1, 5), d[len(d)-2]), x})
		}},
		{"MatMul", 8, func(b *builder, x string) string { // a matrix for each of a stack
			d := b.shape(x, 4, 5)
			return b.add("MatMul", []string{x, b.real(d[len(d)-3], d[len(d)-1], b.between(1, 4))})
		}},
		{"MatMul Transpose Softmax", 8, func(b *builder, x string) string { // attention
			d := b.shape(x, 3, 4)
			perm := b.each(len(d), func(i int) int { return i })
			perm[len(d)-1], perm[len(d)-2] = len(d)-2, len(d)-1
			scores := b.add("MatMul", []string{x, b.add("Transpose", []string{x}, "perm", perm)})
			return b.add("MatMul", []string{b.add("Softmax", []string{scores}, "axis", len(d)-1), x})
		}},
		{"Gemm", 8, gemmStep},
		{"Gemm", 8, gemmStep},
		{"Einsum", 12, func(b *builder, x string) string {
			d := b.shape(x, 2, 4)
			last, m := d[len(d)-1], b.between(1, 4)
			switch len(d) {
			case 2:
				return b.add("Einsum", []string{x, b.real(last, m)}, "equation", "bi,ij->bj")
			case 3:
				return b.add("Einsum", []string{x, b.real(m, last)}, "equation", b.oneOf("bti,ji->btj", "bti,ji->bjt"))
			}
			return b.add("Einsum", []string{x, x}, "equation", b.oneOf("bhqd,bhkd->bhqk", "bhqd,bhqd->bhq", "bhqd,bhqe->bqde"))
		}},
		norm("BatchNormalization", 9, func(b *builder, x string) string {
			c := b.shape(x, 2, 5)[1]
			return b.add("BatchNormalization", []string{x, b.real(c), b.real(c), b.real(c), b.positive(c)},
				b.given("epsilon", 0.01, "momentum", 0.5)...)
		}),
		norm("InstanceNormalization", 8, func(b *builder, x string) string {
			c := b.shape(x, 3, 5)[1]
			return b.add("InstanceNormalization", []string{x, b.real(c), b.real(c)}, "epsilon", 0.1)
		}),
		norm("GroupNormalization", 18, func(b *builder, x string) string {
			c := b.shape(x, 3, 5)[1]
			groups := b.divisor(c)
			n := groups
			if b.opset >= 21 {
				n = c
			}
			return b.add("GroupNormalization", []string{x, b.real(n), b.real(n)}, "num_groups", groups, "epsilon", 0.1)
		}),
		norm("LayerNormalization", 17, func(b *builder, x string) string {
			axis := b.between(1, len(b.dims(x))-1)
			in := []string{x, b.real(b.dims(x)[axis:]...)}
			if b.IntN(2) == 0 {
				in = append(in, b.real(b.dims(x)[axis:]...))
			}
			return b.add("LayerNormalization", in, "axis", b.signed(axis, x), "epsilon", 0.1)
		}),
		norm("RMSNormalization", 23, func(b *builder, x string) string {
			axis := b.between(1, len(b.dims(x))-1)
			return b.add("RMSNormalization", []string{x, b.real(b.dims(x)[axis:]...)}, "axis", b.signed(axis, x), "epsilon", 0.1)
		}),
		norm("LRN", 8, func(b *builder, x string) string {
			b.shape(x, 3, 5)
			return b.add("LRN", []string{x}, append([]any{"size", 1 + 2*b.between(0, 2)}, b.given("alpha", 0.3, "beta", 0.6, "bias", 1.5)...)...)
		}),
		norm("LpNormalization Add Abs", 8, func(b *builder, x string) string {
			x = b.add("Add", []string{b.add("Abs", []string{x}), b.single(0.2)})
			return b.add("LpNormalization", []string{x}, append([]any{"axis", b.axis(x)}, b.given("p", b.between(1, 2))...)...)
		}),
		norm("MeanVarianceNormalization", 13, func(b *builder, x string) string {
			if b.shape(x, 3, 4); b.IntN(2) == 0 && len(b.dims(x)) == 4 {
				return b.add("MeanVarianceNormalization", []string{x}, "axes", []int{2, 3})
			}
			return b.add("MeanVarianceNormalization", []string{x}, "axes", b.axes(x))
		}),
	}
}

// divisor draws a divisor of n.
func (b *builder) divisor(n int) int {
	for {
		if d := 1 + b.IntN(n); n%d == 0 {
			return d
		}
	}
}

func gemmStep(b *builder, x string) string {
	if len(b.dims(x)) > 2 {
		x = b.add("Flatten", []string{x}, b.given("axis", 1)...)
	}
	k, m := b.dims(x)[1], b.between(1, 6)
	pairs := b.given("alpha", b.number(), "beta", b.number())
	w := []int{k, m}
	if b.IntN(2) == 0 {
		w, pairs = []int{m, k}, append(pairs, "transB", 1)
	}
	in := []string{x, b.real(w...)}
	switch b.IntN(4) {
	case 0:
		in = append(in, b.real(m))
	case 1:
		in = append(in, b.real(1, m))
	case 2:
		in = append(in, b.real(1))
	default:
		in = append(in, b.optional()...)
	}
	return b.add("Gemm", in, pairs...)
}

// optional is what Gemm adds where it need not add anything: before opset 11 it must.
func (b *builder) optional() []string {
	if b.opset < 11 {
		return []string{b.real(1)}
	}
	return nil
}

func spatialSteps() []step {
	return []step{
		{"Conv", 8, convStep}, {"Conv", 8, convStep}, {"Conv", 8, convStep},
		{"ConvTranspose", 8, convTransposeStep}, {"ConvTranspose", 8, convTransposeStep},
		{"MaxPool", 10, func(b *builder, x string) string { return b.poolStep("MaxPool", x) }},
		{"AveragePool", 10, func(b *builder, x string) string { return b.poolStep("AveragePool", x) }},
		{"LpPool", 8, func(b *builder, x string) string { return b.poolStep("LpPool", x) }},
		{"GlobalAveragePool GlobalMaxPool", 8, func(b *builder, x string) string {
			b.shape(x, 3, 5)
			return b.add(b.oneOf("GlobalAveragePool", "GlobalMaxPool"), []string{x})
		}},
		{"GlobalLpPool", 8, func(b *builder, x string) string {
			b.shape(x, 3, 5)
			return b.add("GlobalLpPool", []string{x}, b.given("p", b.between(1, 3))...)
		}},
		{"Resize", 10, resizeStep}, {"Resize", 10, resizeStep}, {"Resize", 11, resizeStep},
		{"Upsample", 8, func(b *builder, x string) string {
			if b.opset > 9 {
				panic(misfit("opset"))
			}
			return resizeStep(b, x)
		}},
		{"DepthToSpace", 11, func(b *builder, x string) string {
			if d := b.shape(x, 4, 4); d[1]%4 != 0 {
				x = b.add("Conv", []string{x, b.real(4*b.between(1, 2), d[1], 1, 1)})
			}
			return b.add("DepthToSpace", []string{x}, append([]any{"blocksize", 2}, b.given("mode", b.oneOf("DCR", "CRD"))...)...)
		}},
		{"SpaceToDepth", 8, func(b *builder, x string) string {
			b.shape(x, 4, 4)
			return b.add("SpaceToDepth", []string{x}, "blocksize", b.between(1, 3))
		}},
	}
}

// image makes x have channels and at least one more axis.
func (b *builder) image(x string) string {
	if len(b.dims(x)) > 2 {
		return x
	}
	return b.add("Reshape", []string{x, b.list(0, 1, -1)})
}

// windowed draws attributes of a window, for kernels that are drawn too.
func (b *builder) windowed(size, kernel []int, strided, dilated bool) []any {
	rank := len(size)
	var pairs []any
	if strided && b.IntN(2) == 0 {
		pairs = append(pairs, "strides", b.each(rank, func(int) int { return b.between(1, 3) }))
	}
	if dilated && b.IntN(3) == 0 {
		pairs = append(pairs, "dilations", b.each(rank, func(int) int { return b.between(1, 2) }))
	}
	switch b.IntN(5) {
	case 0:
		pairs = append(pairs, "auto_pad", b.oneOf("SAME_UPPER", "SAME_LOWER", "VALID"))
	case 1, 2:
		pairs = append(pairs, "pads", b.each(2*rank, func(i int) int { return b.between(0, kernel[i%rank]-1) }))
	}
	return pairs
}

func convStep(b *builder, x string) string {
	x = b.image(x)
	d := b.shape(x, 3, 5)
	kernel := b.each(len(d)-2, func(int) int { return b.between(1, 4) })
	group := 1
	if b.IntN(3) == 0 {
		group = b.divisor(d[1])
	}
	out := group * b.between(1, 3)
	in := []string{x, b.real(append([]int{out, d[1] / group}, kernel...)...)}
	if b.IntN(2) == 0 {
		in = append(in, b.real(out))
	}
	pairs := append(b.windowed(d[2:], kernel, true, true), b.given("kernel_shape", kernel)...)
	if group > 1 {
		pairs = append(pairs, "group", group)
	}
	return b.add("Conv", in, pairs...)
}

func convTransposeStep(b *builder, x string) string {
	x = b.image(x)
	d := b.shape(x, 3, 5)
	rank := len(d) - 2
	kernel := b.each(rank, func(int) int { return b.between(1, 4) })
	group := 1
	if b.IntN(3) == 0 {
		group = b.divisor(d[1])
	}
	perGroup := b.between(1, 3)
	in := []string{x, b.real(append([]int{d[1], perGroup}, kernel...)...)}
	if b.IntN(2) == 0 {
		in = append(in, b.real(perGroup*group))
	}
	pairs := b.given("kernel_shape", kernel)
	strides := b.each(rank, func(int) int { return b.between(1, 3) })
	dilations := b.each(rank, func(int) int { return b.between(1, 2) })
	pairs = append(pairs, "strides", strides, "dilations", dilations)
	extra := b.each(rank, func(i int) int { return b.between(0, max(strides[i], dilations[i])-1) })
	switch b.IntN(5) {
	case 0:
		pairs = append(pairs, "auto_pad", b.oneOf("SAME_UPPER", "SAME_LOWER", "VALID"))
	case 1:
		pairs = append(pairs, "output_padding", extra)
	case 2:
		pairs = append(pairs, "pads", b.each(2*rank, func(i int) int {
			return b.between(0,
				(kernel[i%rank]-1)*dilations[i%rank])
		}), "output_padding", extra)
	case 3:
		pairs = append(pairs, "output_shape", b.each(rank, func(i int) int {
			full := strides[i]*(d[2+i]-1) + (kernel[i]-1)*dilations[i] + 1
			return b.between(max(d[2+i], full-2), full)
		}))
	}
	if group > 1 {
		pairs = append(pairs, "group", group)
	}
	return b.add("ConvTranspose", in, pairs...)
}

func (b *builder) poolStep(op, x string) string {
	x = b.image(x)
	d := b.shape(x, 3, 5)
	kernel := b.each(len(d)-2, func(int) int { return b.between(1, 3) })
	dilated := op == "MaxPool" || op == "AveragePool" && b.opset >= 19 || op == "LpPool" && b.opset >= 18
	pairs := append(b.windowed(d[2:], kernel, true, dilated), "kernel_shape", kernel)
	if slices.Contains(pairs, any("dilations")) && slices.Contains(pairs, any("auto_pad")) {
		panic(misfit("ONNX Runtime pads as if there were no dilations"))
	}
	if op == "LpPool" {
		pairs = append(pairs, b.given("p", b.between(1, 3))...)
	} else if !slices.Contains(pairs, any("auto_pad")) {
		pairs = append(pairs, b.given("ceil_mode", b.IntN(2))...)
	}
	if op == "AveragePool" {
		pairs = append(pairs, b.given("count_include_pad", b.IntN(2))...)
	}
	return b.add(op, []string{x}, pairs...)
}

func resizeStep(b *builder, x string) string {
	d := b.shape(x, 3, 5)
	scales := make([]float32, len(d))
	sizes := slices.Clone(d)
	for i := range d {
		scales[i] = 1
		if i > 0 && b.IntN(3) > 0 && (i > 1 || b.IntN(5) == 0) {
			sizes[i] = b.between(1, 2*d[i]+1)
			scales[i] = []float32{2, 2, 3, 1.5, 0.5, 1.7, 0.6}[b.IntN(7)]
		}
	}
	tensor := func(v []float32) string {
		k := -1
		return b.drawn([]int{len(v)}, func() float64 { k++; return float64(v[k]) })
	}
	if b.opset <= 10 {
		mode := b.oneOf("nearest", "linear")
		if b.opset < 10 {
			for i := range scales {
				scales[i] = max(1, scales[i])
			}
		}
		if b.opset < 9 {
			return b.add("Upsample", []string{x}, "mode", mode, "scales", scales)
		}
		return b.add(map[int]string{9: "Upsample", 10: "Resize"}[b.opset], []string{x, tensor(scales)}, "mode", mode)
	}
	mode := b.oneOf("nearest", "linear", "cubic")
	transform := b.oneOf("half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric")
	if mode == "nearest" {
		transform = b.oneOf("half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel")
		if b.opset < 13 {
			transform = b.oneOf("half_pixel", "asymmetric", "tf_half_pixel_for_nn")
		}
	}
	if b.opset >= 19 && b.IntN(4) == 0 {
		transform = "half_pixel_symmetric"
	}
	pairs := b.given("coordinate_transformation_mode", transform)
	if mode != "nearest" || b.IntN(2) == 0 {
		pairs = append(pairs, "mode", mode)
	}
	if mode == "nearest" {
		pairs = append(pairs, b.given("nearest_mode", b.oneOf("round_prefer_floor", "round_prefer_ceil", "floor", "ceil"))...)
	}
	if mode == "cubic" {
		pairs = append(pairs, b.given("cubic_coeff_a", -0.5, "exclude_outside", b.IntN(2))...)
	}
	if b.opset >= 18 && b.IntN(3) == 0 {
		axes := []int{len(d) - 1, 1}
		pairs = append(pairs, "axes", axes)
		scales, sizes = []float32{scales[len(d)-1], scales[1]}, []int{sizes[len(d)-1], sizes[1]}
	}
	roi := ""
	if b.opset < 13 {
		roi = b.constantOf(empty())
	}
	if b.IntN(2) == 0 {
		return b.add("Resize", []string{x, roi, tensor(scales)}, pairs...)
	}
	none := ""
	if b.opset < 13 {
		none = b.constantOf(empty())
	}
	return b.add("Resize", []string{x, roi, none, b.list(sizes...)}, pairs...)
}

func reductionSteps() []step {
	var all []step
	for _, op := range []string{"ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL1", "ReduceL2",
		"ReduceSumSquare", "ReduceLogSumExp", "ReduceLogSum"} {
		all = append(all, step{op, 8, func(b *builder, x string) string {
			if op == "ReduceLogSum" || op == "ReduceL2" {
				x = b.add("Add", []string{b.add("Abs", []string{x}), b.single(0.3)})
			}
			axes := b.axes(x)
			keep := b.IntN(2)
			if keep == 0 && len(axes) == len(b.dims(x))-1 {
				keep = 1 // at least one axis beside the batch
			}
			pairs := []any{"keepdims", keep}
			if b.opset >= 18 || op == "ReduceSum" && b.opset >= 13 {
				return b.add(op, []string{x, b.list(axes...)}, pairs...)
			}
			return b.add(op, []string{x}, append(pairs, "axes", axes)...)
		}})
	}
	return append(all,
		step{"Softmax LogSoftmax", 8, func(b *builder, x string) string {
			return b.add(b.oneOf("Softmax", "LogSoftmax"), []string{x}, "axis", b.axis(x))
		}},
		step{"Hardmax", 13, func(b *builder, x string) string { return b.add("Hardmax", []string{x}, "axis", b.axis(x)) }},
		step{"ArgMax ArgMin Cast", 12, func(b *builder, x string) string {
			keep := b.IntN(2)
			if len(b.dims(x)) == 2 {
				keep = 1
			}
			return b.add("Cast", []string{b.add(b.oneOf("ArgMax", "ArgMin"), []string{x}, "axis", b.axis(x), "keepdims", keep)}, "to", 1)
		}},
		step{"ArgMax OneHot", 11, func(b *builder, x string) string {
			at := b.add("ArgMax", []string{x}, "axis", b.axis(x), "keepdims", b.IntN(2))
			values := b.real(2)
			return b.add("OneHot", []string{at, b.integers(nil, []int{b.between(1, 6)}), values}, b.given("axis", b.between(1, len(b.dims(at))))...)
		}},
		step{"TopK", 11, func(b *builder, x string) string {
			axis := b.axis(x)
			k := b.between(1, b.dims(x)[(axis+len(b.dims(x)))%len(b.dims(x))])
			return b.several("TopK", []string{x, b.list(k)}, 2, "axis", axis, "largest", b.IntN(2))[0]
		}},
		step{"CumSum", 11, func(b *builder, x string) string {
			return b.add("CumSum", []string{x, b.integers(nil, []int{b.axis(x)})}, b.given("exclusive", b.IntN(2), "reverse", b.IntN(2))...)
		}},
	)
}

func shapeSteps() []step {
	return []step{
		{"Reshape", 8, reshapeStep}, {"Reshape", 8, reshapeStep},
		{"Reshape Shape Gather Unsqueeze Concat", 8, computedReshape},
		{"Flatten", 8, func(b *builder, x string) string { return b.add("Flatten", []string{x}, b.given("axis", 1)...) }},
		{"Transpose", 8, func(b *builder, x string) string {
			perm := b.each(len(b.dims(x)), func(i int) int { return i })
			b.Shuffle(len(perm)-1, func(i, j int) { perm[i+1], perm[j+1] = perm[j+1], perm[i+1] })
			return b.add("Transpose", []string{x}, "perm", perm)
		}},
		{"Transpose", 8, batchMoved},
		{"Unsqueeze Squeeze", 8, func(b *builder, x string) string {
			at := b.between(1, len(b.dims(b.orFlat(x, 4))))
			x = b.withAxes("Unsqueeze", b.orFlat(x, 4), at)
			if b.IntN(3) == 0 {
				x = b.withAxes("Squeeze", x, at)
			}
			return x
		}},
		{"Squeeze", 8, func(b *builder, x string) string {
			for i, d := range b.dims(x) {
				if i > 0 && d == 1 && len(b.dims(x)) > 2 {
					return b.withAxes("Squeeze", x, i)
				}
			}
			panic(misfit("no axis of 1"))
		}},
		{"Concat", 8, func(b *builder, x string) string {
			in := []string{x}
			for range b.between(1, 3) {
				in = append(in, b.other(x))
			}
			return b.add("Concat", in, "axis", b.axis(x))
		}},
		{"Slice", 8, sliceStep}, {"Slice", 10, sliceStep},
		{"Split Concat", 8, splitStep},
		{"Pad", 8, padStep}, {"Pad", 8, padStep},
		{"Gather", 8, gatherStep}, {"Gather", 8, gatherStep},
		{"GatherND Transpose", 11, gatherNDStep},
		{"ScatterND GatherND Mul", 11, scatterNDStep},
		{"Tile", 8, func(b *builder, x string) string {
			return b.add("Tile", []string{x, b.list(b.each(len(b.dims(x)), func(i int) int {
				if i == 0 {
					return 1
				}
				return b.between(1, 3)
			})...)})
		}},
		{"Expand", 8, func(b *builder, x string) string {
			dims := slices.Clone(b.dims(x))
			for i := 1; i < len(dims); i++ {
				if dims[i] == 1 {
					dims[i] = b.between(1, 3)
				} else if b.IntN(2) == 0 {
					dims[i] = 1
				}
			}
			return b.add("Expand", []string{x, b.list(dims...)})
		}},
		{"Trilu", 14, func(b *builder, x string) string {
			b.shape(x, 3, 5)
			in := []string{x}
			if b.IntN(2) == 0 {
				in = append(in, b.integers(nil, []int{b.between(-2, 2)}))
			}
			return b.add("Trilu", in, b.given("upper", b.IntN(2))...)
		}},
		{"ConstantOfShape Add", 9, func(b *builder, x string) string {
			return b.add("Add", []string{x, b.add("ConstantOfShape", []string{b.list(b.dims(x)[1:]...)}, b.given("value", filled(0.75))...)})
		}},
		{"ConstantOfShape Shape Add", 9, func(b *builder, x string) string {
			return b.add("Add", []string{x, b.add("ConstantOfShape", []string{b.add("Shape", []string{x})}, b.given("value", filled(0.25))...)})
		}},
	}
}

func (b *builder) orFlat(x string, most int) string {
	if len(b.dims(x)) <= most {
		return x
	}
	return b.add("Flatten", []string{x})
}

// withAxes writes the axis as an attribute, or as an input since opset 13.
func (b *builder) withAxes(op, x string, axis int) string {
	if b.opset >= 13 {
		return b.add(op, []string{x, b.list(axis)})
	}
	return b.add(op, []string{x}, "axes", []int{axis})
}

// shapeFor draws other sizes for the values of x behind the batch.
func (b *builder) shapeFor(x string) []int {
	rest := product(b.dims(x)[1:])
	dims := []int{}
	for range b.IntN(3) {
		d := b.divisor(rest)
		dims, rest = append(dims, d), rest/d
	}
	return append(dims, rest)
}

func reshapeStep(b *builder, x string) string {
	to := b.shapeFor(x)
	switch b.IntN(3) {
	case 0: // the batch by -1
		return b.add("Reshape", []string{x, b.list(append([]int{-1}, to...)...)})
	case 1: // one of the others by -1
		to[b.IntN(len(to))] = -1
		return b.add("Reshape", []string{x, b.list(append([]int{0}, to...)...)})
	}
	batch := 0
	if b.fixed {
		batch = 1
	}
	return b.add("Reshape", []string{x, b.list(append([]int{batch}, to...)...)})
}

// computedReshape takes the batch from the shape of x, as exporters do.
func computedReshape(b *builder, x string) string {
	batch := b.add("Gather", []string{b.add("Shape", []string{x}), b.integers(nil, []int{0})}, "axis", 0)
	batch = b.withAxes("Unsqueeze", batch, 0)
	to := b.add("Concat", []string{batch, b.list(b.shapeFor(x)...)}, "axis", 0)
	return b.add("Reshape", []string{x, to})
}

// batchMoved puts the batch on another axis, works on another one, and puts it back.
func batchMoved(b *builder, x string) string {
	rank := len(b.shape(x, 3, 4))
	perm := b.Perm(rank)
	back := make([]int, rank)
	for i, p := range perm {
		back[p] = i
	}
	x = b.add("Transpose", []string{x}, "perm", perm)
	axis := b.IntN(rank)
	if axis == back[0] {
		panic(misfit("the batch"))
	}
	switch d := b.dims(x)[axis]; b.IntN(3) {
	case 0:
		if b.allowed("Gather") {
			x = b.add("Gather", []string{x, b.list(b.each(b.between(1, 4), func(int) int { return b.between(-d, d-1) })...)}, "axis", axis)
		}
	case 1:
		if b.allowed("Tanh") {
			x = b.add("Tanh", []string{x})
		}
	default:
		if b.allowed("ReduceMean") && b.opset < 18 {
			x = b.add("ReduceMean", []string{x}, "axes", []int{axis}, "keepdims", 1)
		}
	}
	return b.add("Transpose", []string{x}, "perm", back)
}

func sliceStep(b *builder, x string) string {
	axes := b.axes(x)
	rank := len(b.dims(x))
	size := func(i int) int { return b.dims(x)[(axes[i]+rank)%rank] }
	starts, ends, steps := make([]int, len(axes)), make([]int, len(axes)), make([]int, len(axes))
	for i := range axes {
		d := size(i)
		starts[i], steps[i] = b.between(0, d-1), 1
		ends[i] = b.between(starts[i]+1, d+1)
		if b.opset >= 10 && b.IntN(2) == 0 {
			steps[i] = []int{-1, -1, -2, 2, 3, -3}[b.IntN(6)]
		}
		if steps[i] < 0 {
			starts[i], ends[i] = ends[i]-1, starts[i]-1
			if ends[i] < 0 {
				ends[i] = []int{-d - 1, -1 << 62, -1<<31 + 1}[b.IntN(3)]
			}
		} else if b.IntN(3) == 0 {
			ends[i] = []int{1<<62 - 1, 1<<31 - 1}[b.IntN(2)]
		}
		if b.IntN(3) == 0 && starts[i] < d {
			starts[i] -= d
		}
	}
	if b.opset < 10 {
		return b.add("Slice", []string{x}, "starts", starts, "ends", ends, "axes", axes)
	}
	in := []string{x, b.list(starts...), b.list(ends...), b.list(axes...)}
	if slices.Max(steps) != 1 || slices.Min(steps) != 1 || b.IntN(2) == 0 {
		in = append(in, b.list(steps...))
	}
	return b.add("Slice", in)
}

func splitStep(b *builder, x string) string {
	axis := b.axis(x)
	rank := len(b.dims(x))
	d := b.dims(x)[(axis+rank)%rank]
	parts := b.between(2, 3)
	var out []string
	switch {
	case d%parts == 0 && b.IntN(2) == 0 && b.opset < 18:
		out = b.several("Split", []string{x}, parts, "axis", axis)
	case b.opset >= 18 && b.IntN(2) == 0:
		out = b.several("Split", []string{x}, parts, "axis", axis, "num_outputs", parts)
	default:
		first := b.between(1, d-1)
		if b.opset < 13 {
			out = b.several("Split", []string{x}, 2, "axis", axis, "split", []int{first, d - first})
		} else {
			out = b.several("Split", []string{x, b.list(first, d-first)}, 2, "axis", axis)
		}
	}
	if b.IntN(2) == 0 {
		return out[b.IntN(len(out))]
	}
	b.Shuffle(len(out), func(i, j int) { out[i], out[j] = out[j], out[i] })
	return b.add("Concat", slices.Clone(out), "axis", axis)
}

func padStep(b *builder, x string) string {
	rank := len(b.dims(x))
	mode := b.oneOf("constant", "reflect", "edge")
	if b.opset >= 19 && b.IntN(4) == 0 {
		mode = "wrap"
	}
	pads := b.each(2*rank, func(i int) int {
		if i%rank == 0 || b.IntN(2) == 0 {
			return 0
		}
		if b.IntN(6) == 0 && b.dims(x)[i%rank] > 3 {
			return -1
		}
		return b.between(0, 3)
	})
	if b.opset < 11 {
		return b.add("Pad", []string{x}, append([]any{"pads", pads, "mode", mode}, b.given("value", b.number())...)...)
	}
	in := []string{x}
	if b.opset >= 18 && b.IntN(3) == 0 {
		axis := b.axis(x)
		in = append(in, b.list(b.between(0, 2), b.between(0, 2)), "", b.list(axis))
		if mode == "constant" && b.IntN(2) == 0 {
			in[2] = b.single(b.number())
		}
	} else if in = append(in, b.list(pads...)); mode == "constant" && b.IntN(2) == 0 {
		in = append(in, b.single(b.number()))
	}
	return b.add("Pad", in, "mode", mode)
}

func gatherStep(b *builder, x string) string {
	axis := b.axis(x)
	rank := len(b.dims(x))
	d := b.dims(x)[(axis+rank)%rank]
	draw := func(int) int { return b.between(-d, d-1) }
	if b.opset < 11 {
		draw = func(int) int { return b.between(0, d-1) }
	}
	switch b.IntN(4) {
	case 0:
		if rank < 3 {
			panic(misfit("rank"))
		}
		return b.add("Gather", []string{x, b.integers(nil, b.each(1, draw))}, "axis", axis)
	case 1:
		return b.add("Gather", []string{x, b.integers([]int{2, 2}, b.each(4, draw))}, "axis", axis)
	case 2: // a permutation
		return b.add("Gather", []string{x, b.list(b.Perm(d)...)}, "axis", axis)
	}
	return b.add("Gather", []string{x, b.list(b.each(b.between(1, 6), draw)...)}, "axis", axis)
}

// gatherNDStep picks from the axes behind the batch, which is put last for it, as exporters do for x[:, i, j].
func gatherNDStep(b *builder, x string) string {
	rank := len(b.shape(x, 2, 4))
	perm := append(b.each(rank-1, func(i int) int { return i + 1 }), 0)
	x = b.add("Transpose", []string{x}, "perm", perm)
	depth, n := b.between(1, rank-1), b.between(1, 5)
	indices := b.each(n*depth, func(i int) int { return b.between(-b.dims(x)[i%depth], b.dims(x)[i%depth]-1) })
	x = b.add("GatherND", []string{x, b.integers([]int{n, depth}, indices)})
	out := len(b.dims(x))
	return b.add("Transpose", []string{x}, "perm", append([]int{out - 1}, b.each(out-1, func(i int) int { return i })...))
}

// scatterNDStep writes another value, or constants, over some elements, with the batch put last, as exporters do for
// x[:, i] = y.
func scatterNDStep(b *builder, x string) string {
	rank := len(b.shape(x, 2, 4))
	perm := append(b.each(rank-1, func(i int) int { return i + 1 }), 0)
	moved := b.add("Transpose", []string{x}, "perm", perm)
	depth, n := b.between(1, rank-1), b.between(1, 3)
	var indices []int
	for len(indices) < n*depth { // no place twice
		at := b.each(depth, func(i int) int { return b.IntN(b.dims(moved)[i]) })
		for i := 0; i < len(indices); i += depth {
			if slices.Equal(indices[i:i+depth], at) {
				at = nil
				if b.IntN(20) == 0 {
					panic(misfit("places"))
				}
				break
			}
		}
		indices = append(indices, at...)
	}
	where := b.integers([]int{n, depth}, indices)
	updates := b.add("Mul", []string{b.add("GatherND", []string{moved, where}), b.real()})
	out := b.add("ScatterND", []string{moved, where, updates})
	return b.add("Transpose", []string{out}, "perm", append([]int{rank - 1}, b.each(rank-1, func(i int) int { return i })...))
}
