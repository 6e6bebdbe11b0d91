package onnx

import (
	"maps"
	"slices"
	"strings"
)

// rule says how an operator is read. Without lower it is handed on as it is.
type rule struct {
	min, max    int    // number of inputs
	attributes  string // those it may have, separated by spaces
	elementwise bool   // also in models without a batch axis
	several     bool   // outputs after the first are written
	lower       func(l *lowering, n *node)
}

// Operators returns the names of the operators that are read, separated by commas.
func Operators() string { return strings.Join(slices.Sorted(maps.Keys(rules)), ", ") }

const anyNumber = 1 << 20

// rules are the operators that are read, by opset 8 to 28's names.
var rules map[string]rule

func init() { // not at the declaration: the rules refer to the table, to list it in errors
	elements := func(inputs int, attributes string, lower func(*lowering, *node)) rule {
		return rule{min: inputs, max: inputs, attributes: attributes, elementwise: true, lower: lower}
	}
	one, two := elements(1, "", nil), elements(2, "", nil)
	reduce := func(lower func(*lowering, *node)) rule {
		return rule{min: 1, max: 2, attributes: "axes keepdims noop_with_empty_axes", lower: lower}
	}
	rules = map[string]rule{
		// On elements, activation.go.
		"Abs": one, "Ceil": one, "Cos": one, "Erf": one, "Exp": one, "Floor": one, "Log": one, "Neg": one,
		"Not": one, "Reciprocal": one, "Relu": one, "Sigmoid": one, "Sign": one, "Sin": one, "Sqrt": one, "Tanh": one,
		"Add": two, "Sub": two, "Mul": two, "Div": two, "Pow": two, "And": two, "Or": two, "Equal": two, "Greater": two,
		"GreaterOrEqual": two, "Less": two, "LessOrEqual": two, "Xor": two,
		"Identity":        elements(1, "", func(l *lowering, n *node) { l.same(n, n.in(0)) }),
		"Where":           {min: 3, max: 3, elementwise: true},
		"Max":             {min: 1, max: anyNumber, elementwise: true, lower: fold("Max", false)},
		"Min":             {min: 1, max: anyNumber, elementwise: true, lower: fold("Min", false)},
		"Sum":             {min: 1, max: anyNumber, elementwise: true, lower: fold("Add", false)},
		"Mean":            {min: 1, max: anyNumber, elementwise: true, lower: fold("Add", true)},
		"Clip":            {min: 1, max: 3, attributes: "min max", elementwise: true, lower: clip},
		"Cast":            {min: 1, max: 1, attributes: "to saturate", elementwise: true, lower: cast},
		"Dropout":         {min: 1, max: 3, attributes: "ratio seed", elementwise: true, lower: dropout},
		"LeakyRelu":       elements(1, "alpha", leakyRelu),
		"PRelu":           elements(2, "", pRelu),
		"Elu":             elements(1, "alpha", elu),
		"Celu":            elements(1, "alpha", celu),
		"Selu":            elements(1, "alpha gamma", selu),
		"Softplus":        elements(1, "", softplus),
		"Softsign":        elements(1, "", softsign),
		"HardSigmoid":     elements(1, "alpha beta", hardSigmoid),
		"HardSwish":       one,
		"Mish":            elements(1, "", mish),
		"Gelu":            elements(1, "approximate", gelu),
		"Swish":           elements(1, "alpha", swish),
		"ThresholdedRelu": elements(1, "alpha", thresholdedRelu),
		"Shrink":          elements(1, "bias lambd", shrink),
		"Round":           elements(1, "", round),
		"Tan":             elements(1, "", tan),
		"Sinh":            elements(1, "", sinh),
		"Cosh":            elements(1, "", cosh),
		"Asinh":           elements(1, "", asinh),
		"Acosh":           elements(1, "", acosh),
		"Atanh":           elements(1, "", atanh),
		"CastLike":        {min: 2, max: 2, attributes: "saturate", lower: castLike},

		// Linear, and normalisation, linear.go.
		"MatMul":                    {min: 2, max: 2, elementwise: true, lower: matMul},
		"Gemm":                      {min: 2, max: 3, attributes: "alpha beta transA transB", lower: gemm},
		"Conv":                      {min: 2, max: 3, attributes: "auto_pad dilations group kernel_shape pads strides", lower: conv},
		"ConvTranspose":             {min: 2, max: 3, attributes: "auto_pad dilations group kernel_shape output_padding output_shape pads strides", lower: convTranspose},
		"Einsum":                    {min: 1, max: 2, attributes: "equation", lower: einsum},
		"GroupNormalization":        {min: 3, max: 3, attributes: "epsilon num_groups stash_type", lower: groupNorm},
		"RMSNormalization":          {min: 2, max: 2, attributes: "axis epsilon stash_type", lower: rmsNorm},
		"LpNormalization":           {min: 1, max: 1, attributes: "axis p", lower: lpNorm},
		"MeanVarianceNormalization": {min: 1, max: 1, attributes: "axes", lower: meanVariance},
		"BatchNormalization":        {min: 5, max: 5, attributes: "epsilon momentum spatial training_mode", lower: batchNorm},
		"InstanceNormalization":     {min: 3, max: 3, attributes: "epsilon", lower: instanceNorm},
		"LayerNormalization":        {min: 2, max: 3, attributes: "axis epsilon stash_type", lower: layerNorm},
		"LRN":                       {min: 1, max: 1, attributes: "alpha beta bias size", lower: localResponseNorm},

		// Pooling and reductions, pool.go.
		"MaxPool":           {min: 1, max: 1, attributes: "auto_pad ceil_mode dilations kernel_shape pads storage_order strides", lower: maxPool},
		"AveragePool":       {min: 1, max: 1, attributes: "auto_pad ceil_mode count_include_pad dilations kernel_shape pads strides", lower: averagePool},
		"GlobalAveragePool": {min: 1, max: 1, lower: globalPool("ReduceMean")},
		"GlobalMaxPool":     {min: 1, max: 1, lower: globalPool("ReduceMax")},
		"LpPool":            {min: 1, max: 1, attributes: "auto_pad ceil_mode dilations kernel_shape p pads strides", lower: lpPool},
		"GlobalLpPool":      {min: 1, max: 1, attributes: "p", lower: globalLpPool},
		"ReduceMean":        reduce(reduction("ReduceMean", nil, nil)), "ReduceSum": reduce(reduction("ReduceSum", nil, nil)),
		"ReduceMax": reduce(reduction("ReduceMax", nil, nil)), "ReduceMin": reduce(reduction("ReduceMin", nil, nil)),
		"ReduceL1": reduce(reduction("ReduceSum", (*lowering).abs, nil)), "ReduceL2": reduce(reduction("ReduceL2", nil, nil)),
		"ReduceSumSquare": reduce(reduction("ReduceSum", (*lowering).square, nil)),
		"ReduceLogSum":    reduce(reduction("ReduceSum", nil, (*lowering).log)),
		"ReduceLogSumExp": reduce(reduceLogSumExp), "ReduceProd": reduce(reduceProd),
		"ArgMax":     {min: 1, max: 1, attributes: "axis keepdims select_last_index", lower: argMax("ReduceMax")},
		"ArgMin":     {min: 1, max: 1, attributes: "axis keepdims select_last_index", lower: argMax("ReduceMin")},
		"Hardmax":    {min: 1, max: 1, attributes: "axis", lower: hardmax},
		"TopK":       {min: 2, max: 2, attributes: "axis largest sorted", several: true, lower: topK},
		"CumSum":     {min: 2, max: 2, attributes: "exclusive reverse", lower: cumSum},
		"OneHot":     {min: 3, max: 3, attributes: "axis", lower: oneHot},
		"Softmax":    {min: 1, max: 1, attributes: "axis", lower: softmax},
		"LogSoftmax": {min: 1, max: 1, attributes: "axis", lower: logSoftmax},

		// Shapes, shape.go.
		"Constant":        {attributes: "value value_float value_floats value_int value_ints", elementwise: true, lower: constant},
		"ConstantOfShape": {min: 1, max: 1, attributes: "value", lower: constantOfShape},
		"Shape":           {min: 1, max: 1, attributes: "start end", lower: shapeOfInput},
		"Flatten":         {min: 1, max: 1, attributes: "axis"},
		"Reshape":         {min: 2, max: 2, attributes: "allowzero", lower: reshape},
		"Transpose":       {min: 1, max: 1, attributes: "perm"},
		"Squeeze":         {min: 1, max: 2, attributes: "axes", lower: squeeze},
		"Unsqueeze":       {min: 1, max: 2, attributes: "axes"},
		"Concat":          {min: 1, max: anyNumber, attributes: "axis", lower: concat},
		"Slice":           {min: 1, max: 5, attributes: "starts ends axes", lower: slice},
		"Split":           {min: 1, max: 2, attributes: "axis split num_outputs", several: true, lower: split},
		"Pad":             {min: 1, max: 4, attributes: "mode pads value", lower: pad},
		"Gather":          {min: 2, max: 2, attributes: "axis", lower: gather},
		"GatherND":        {min: 2, max: 2, attributes: "batch_dims", lower: gatherND},
		"ScatterND":       {min: 3, max: 3, attributes: "reduction", lower: scatterND},
		"Tile":            {min: 2, max: 2, lower: tile},
		"Trilu":           {min: 1, max: 2, attributes: "upper", lower: trilu},
		"Resize":          {min: 1, max: 4, attributes: "antialias axes coordinate_transformation_mode cubic_coeff_a exclude_outside extrapolation_value keep_aspect_ratio_policy mode nearest_mode", lower: resize},
		"Upsample":        {min: 1, max: 2, attributes: "mode scales", lower: resize},
		"DepthToSpace":    {min: 1, max: 1, attributes: "blocksize mode", lower: blocks},
		"SpaceToDepth":    {min: 1, max: 1, attributes: "blocksize", lower: blocks},
		"Range":           {min: 3, max: 3, lower: sequence},
		"Mod":             {min: 2, max: 2, attributes: "fmod", lower: mod},
		"Expand":          {min: 2, max: 2},
	}
}
