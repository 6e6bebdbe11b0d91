"""Writes operators.npz: small random models in ONNX, one per operator and opset at which it changed, with an input and
what ONNX Runtime computes from it. Run with onnx 1.23.2, onnxruntime 1.32.0 and numpy 2.4.6:

    python generate.py
"""
import numpy as np, onnx, onnxruntime
from onnx import TensorProto, helper as h, numpy_helper as nh

rng = np.random.default_rng(7)
out = {}


def f(*shape):
    return rng.standard_normal(shape).astype(np.float32)


def model(nodes, shape, opset, weights={}, batch="n", as_inputs=False, elem=TensorProto.FLOAT, open_sizes=False, output="y"):
    inits = [nh.from_array(v, k) for k, v in weights.items()]
    dims = [None if open_sizes else d for d in shape]
    x = h.make_tensor_value_info("x", elem, dims if batch is None else [batch] + dims)
    inputs = [x]
    if as_inputs:  # IR 3: initializers are inputs as well
        inputs += [h.make_tensor_value_info(t.name, t.data_type, t.dims) for t in inits]
    g = h.make_graph(nodes, "g", inputs, [h.make_tensor_value_info(output, elem, None)], inits)
    ir = 3 if as_inputs else 4 if opset < 10 else 8
    return h.make_model(g, opset_imports=[h.make_opsetid("", opset)], ir_version=ir)


def save(name, m, shape, x=None, batch="n", n=2):
    if x is None:
        x = f(n, *shape)
    session = onnxruntime.InferenceSession(m.SerializeToString(), providers=["CPUExecutionProvider"])
    feed = lambda v: session.run(None, {"x": v})[0]
    if batch == "n":
        y = feed(x)
    elif batch is None:
        y = np.stack([feed(row) for row in x])
    else:  # a fixed batch: ONNX Runtime takes no other
        y = np.concatenate([feed(x[i:i + batch]) for i in range(0, len(x), batch)])
    assert name + "@x" not in out, name
    assert np.isfinite(y).all(), name
    out[name + "@onnx"] = np.frombuffer(m.SerializeToString(), np.uint8)
    out[name + "@x"], out[name + "@y"] = x.astype(np.float32), y.reshape(len(x), -1).astype(np.float32)


def case(name, op, opset, shape=(4, 6, 5), weights={}, x=None, inputs=None, batch="n", more={}, nodes=None, **attributes):
    """One operator on x, or the given nodes that write "z", flattened."""
    inputs = ["x"] + list(weights) if inputs is None else inputs
    nodes = nodes or [h.make_node(op, inputs, ["z"], name="it", **attributes)]
    nodes = nodes + [h.make_node("Flatten", ["z"], ["y"])]
    save(f"{name}/{opset}", model(nodes, shape, opset, {**weights, **more}, batch), shape, x, batch)


ints = lambda *v: np.array(v, np.int64)

# On elements.
for op in "Abs Cos Erf Exp Identity Neg Relu Sigmoid Sign Sin Tanh Softplus Softsign".split():
    case(op, op, 13)
for op in "Log Reciprocal Sqrt".split():
    case(op, op, 13, x=np.abs(f(2, 4, 6, 5)) + 0.1)
for op in "Ceil Floor".split():
    case(op, op, 13)
for opset in range(8, 21):
    for op in "Relu Sigmoid LeakyRelu Elu Softplus".split():
        if f"{op}/{opset}@onnx" not in out:
            case(op, op, opset, (7,))
case("LeakyRelu-0.2", "LeakyRelu", 16, alpha=0.2)
case("LeakyRelu-2", "LeakyRelu", 16, alpha=2.0)
case("Elu-0.5", "Elu", 8, alpha=0.5)
case("Selu", "Selu", 8)
case("Selu-other", "Selu", 13, alpha=1.1, gamma=0.7)
case("Celu", "Celu", 12, alpha=0.6)
case("HardSigmoid", "HardSigmoid", 8, alpha=0.3, beta=0.4)
case("HardSwish", "HardSwish", 14)
case("Mish", "Mish", 18)
case("Gelu", "Gelu", 20)
case("Gelu-tanh", "Gelu", 20, approximate="tanh")
case("PRelu", "PRelu", 9, weights={"slope": f(4, 1, 1)})
case("PRelu-one", "PRelu", 16, weights={"slope": f(1)})
for op in "Add Sub Mul".split():
    case(op, op, 14, weights={"w": f(6, 5)})
case("Add-channels", "Add", 8, weights={"w": f(4, 1, 1)})
case("Div", "Div", 14, weights={"w": np.abs(f(5)) + 0.5})
case("Div-under", "Div", 14, inputs=["w", "x"], weights={"w": f(1)}, x=np.abs(f(2, 4, 6, 5)) + 0.5)
case("Pow", "Pow", 13, weights={"w": np.float32(2)})
case("Pow-root", "Pow", 15, weights={"w": np.float32(0.5)}, x=np.abs(f(2, 4, 6, 5)) + 0.1)
case("Pow-3", "Pow", 13, weights={"w": np.float32(3)})
for op in "Max Min Sum Mean".split():
    case(op, op, 13, weights={"w": f(6, 5), "v": f(5)})
case("Clip", "Clip", 6 + 2, min=-0.5, max=0.7)
case("Clip-below", "Clip", 8, min=0.0)
case("Clip", "Clip", 11, weights={"lo": np.float32(-0.5), "hi": np.float32(0.7)})
case("Clip-above", "Clip", 13, inputs=["x", "", "hi"], more={"hi": np.float32(0.7)})
case("Dropout", "Dropout", 8, ratio=0.4)
case("Dropout", "Dropout", 12, weights={"ratio": np.float32(0.4)})
case("Dropout-off", "Dropout", 13, weights={"ratio": np.float32(0.4), "mode": np.array(False)})
case("Where", None, 16, nodes=[h.make_node("Greater", ["x", "w"], ["c"]), h.make_node("Not", ["c"], ["d"]),
                                h.make_node("Where", ["d", "x", "v"], ["z"])], weights={"w": f(5), "v": f(6, 1)})
case("Cast", None, 13, nodes=[h.make_node("Cast", ["x"], ["d"], to=TensorProto.DOUBLE), h.make_node("Tanh", ["d"], ["t"]),
                               h.make_node("Cast", ["t"], ["z"], to=TensorProto.FLOAT)])

# Linear, normalisation.
case("Gemm", "Gemm", 8, (7,), {"w": f(7, 3), "b": f(3)})
case("Gemm-all", "Gemm", 13, (7,), {"w": f(3, 7), "b": f(3)}, alpha=0.5, beta=2.0, transB=1)
case("Gemm-nobias", "Gemm", 11, (7,), {"w": f(7, 3)})
case("MatMul", "MatMul", 8, (7,), {"w": f(7, 3)})
case("MatMul-3", "MatMul", 13, (4, 7), {"w": f(7, 3)})
case("MatMul-left", "MatMul", 13, (4, 7), {"w": f(3, 4)}, inputs=["w", "x"])
for opset in (8, 11):
    case("Conv", "Conv", opset, (3, 9, 8), {"w": f(4, 3, 3, 2), "b": f(4)}, kernel_shape=[3, 2], pads=[1, 0, 2, 1], strides=[2, 1])
case("Conv-plain", "Conv", 11, (3, 9, 8), {"w": f(4, 3, 3, 3)})
case("Conv-dilated", "Conv", 11, (3, 9, 8), {"w": f(4, 3, 3, 3)}, dilations=[2, 1], pads=[2, 1, 2, 1])
case("Conv-even", "Conv", 11, (2, 8, 8), {"w": f(3, 2, 4, 4), "b": f(3)}, pads=[1, 1, 1, 1], strides=[2, 2])
case("Conv-grouped", "Conv", 11, (4, 7, 7), {"w": f(6, 2, 3, 3), "b": f(6)}, group=2, pads=[1, 1, 1, 1])
case("Conv-depthwise", "Conv", 11, (4, 7, 7), {"w": f(4, 1, 3, 3)}, group=4, strides=[2, 2])
case("Conv-1d", "Conv", 11, (3, 9), {"w": f(4, 3, 3)}, pads=[1, 1])
case("Conv-3d", "Conv", 11, (2, 4, 5, 4), {"w": f(3, 2, 2, 3, 2)})
for auto in ("SAME_UPPER", "SAME_LOWER", "VALID"):
    case("Conv-" + auto, "Conv", 11, (3, 9, 8), {"w": f(4, 3, 4, 3)}, auto_pad=auto, strides=[2, 3], kernel_shape=[4, 3])
    case("MaxPool-" + auto, "MaxPool", 12, (3, 9, 8), auto_pad=auto, strides=[2, 3], kernel_shape=[4, 3])
    case("AveragePool-" + auto, "AveragePool", 11, (3, 9, 8), auto_pad=auto, strides=[2, 3], kernel_shape=[4, 3])
for opset in (8, 9, 14, 15):
    case("BatchNormalization", "BatchNormalization", opset, (4, 6, 5), {"s": f(4), "b": f(4), "m": f(4), "v": np.abs(f(4)) + 0.3}, epsilon=1e-3, momentum=0.99)
case("BatchNormalization-flat", "BatchNormalization", 15, (4,), {"s": f(4), "b": f(4), "m": f(4), "v": np.abs(f(4)) + 0.3})
case("InstanceNormalization", "InstanceNormalization", 8, (4, 6, 5), {"s": f(4), "b": f(4)}, epsilon=1e-2)
case("LayerNormalization", "LayerNormalization", 17, (4, 5), {"s": f(5), "b": f(5)}, epsilon=1e-4)
case("LayerNormalization-2", "LayerNormalization", 17, (4, 5), {"s": f(4, 5)}, axis=-2)
case("LRN", "LRN", 8, (7, 4, 3), size=5, alpha=0.3, beta=0.6, bias=1.5)

# Pools and reductions.
for opset in (8, 10, 11, 12):
    case("MaxPool", "MaxPool", opset, (3, 9, 8), kernel_shape=[3, 2], pads=[1, 0, 1, 1], strides=[2, 1])
case("MaxPool-plain", "MaxPool", 8, (3, 9, 8), kernel_shape=[2, 2])  # strides are 1 by default
case("MaxPool-ceil", "MaxPool", 10, (3, 9, 8), kernel_shape=[2, 3], strides=[2, 2], ceil_mode=1, dilations=[1, 1])
case("MaxPool-ceil-pad", "MaxPool", 12, (3, 8, 7), kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1], ceil_mode=1)
case("MaxPool-ceil-drop", "MaxPool", 19, (2, 5, 5), kernel_shape=[2, 2], strides=[3, 3], pads=[1, 1, 1, 1], ceil_mode=1)
case("MaxPool-1d", "MaxPool", 12, (3, 9), kernel_shape=[3], strides=[2])
for opset in (8, 10, 11):
    case("AveragePool", "AveragePool", opset, (3, 9, 8), kernel_shape=[3, 2], pads=[1, 0, 1, 1], strides=[2, 1])
case("AveragePool-plain", "AveragePool", 8, (3, 9, 8), kernel_shape=[2, 2])
case("AveragePool-included", "AveragePool", 8, (3, 9, 8), kernel_shape=[3, 2], pads=[1, 0, 1, 1], strides=[2, 1], count_include_pad=1)
case("AveragePool-ceil", "AveragePool", 19, (3, 8, 7), kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1], ceil_mode=1)
case("AveragePool-ceil-included", "AveragePool", 19, (3, 8, 7), kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1], ceil_mode=1, count_include_pad=1)
for op in ("GlobalAveragePool", "GlobalMaxPool"):
    case(op, op, 8)
    case(op + "-1d", op, 8, (4, 6))
for op in "ReduceMean ReduceSum ReduceMax ReduceMin ReduceL2".split():
    case(op, op, 11, axes=[-1], keepdims=0)
    case(op + "-two", op, 11, axes=[1, 3])
    case(op, op, 18, weights={"axes": ints(2, 3)})
for op in ("Softmax", "LogSoftmax"):
    head = h.make_node("MatMul", ["s", "w"], ["z"])
    for opset in (8, 11, 13):
        case(op, None, opset, (4, 5), {"w": f(5, 3)}, nodes=[h.make_node(op, ["x"], ["s"], axis=1), head])
        case(op + "-default", None, opset, (4, 5), {"w": f(5, 3)}, nodes=[h.make_node(op, ["x"], ["s"]), head])
case("Softmax-big", None, 11, (4, 5), {"w": f(5, 3)}, x=100 * f(2, 4, 5), nodes=[h.make_node("Softmax", ["x"], ["s"], axis=2), head])
case("LogSoftmax-big", "LogSoftmax", 13, (4,), x=50 * f(2, 4))

# Shapes.
case("Flatten", "Flatten", 13, axis=2 - 1)
case("Reshape", "Reshape", 8, weights={"shape": ints(0, -1, 5)})
case("Reshape-open", "Reshape", 14, weights={"shape": ints(-1, 12, 10)})
case("Reshape-fixed", "Reshape", 13, weights={"shape": ints(1, 12, 10)}, batch=1)
case("Reshape-fixed-rest", "Reshape", 13, weights={"shape": ints(1, -1)}, batch=1)
case("Reshape-fixed-3", "Reshape", 13, weights={"shape": ints(3, -1)}, batch=3, x=f(3, 4, 6, 5))
dynamic = lambda axes: [h.make_node("Shape", ["x"], ["s"]), h.make_node("Gather", ["s", "zero"], ["n"], axis=0), *axes,
                        h.make_node("Concat", ["n1", "rest"], ["shape"], axis=0), h.make_node("Reshape", ["x", "shape"], ["z"])]
case("Reshape-computed", None, 11, more={"zero": ints(0).reshape(()), "rest": ints(-1)}, nodes=dynamic([h.make_node("Unsqueeze", ["n"], ["n1"], axes=[0])]))
case("Reshape-computed", None, 17, more={"zero": ints(0).reshape(()), "rest": ints(12, 10), "axis": ints(0)}, nodes=dynamic([h.make_node("Unsqueeze", ["n", "axis"], ["n1"])]))
case("Transpose", "Transpose", 13, perm=[0, 2, 3, 1])
case("Squeeze", "Squeeze", 11, (1, 6, 1), axes=[1, -1])
case("Squeeze", "Squeeze", 13, (1, 6, 1), weights={"axes": ints(1, 3)})
case("Squeeze-all", "Squeeze", 13, (1, 6, 1))
case("Unsqueeze", "Unsqueeze", 11, (6, 5), axes=[1, 4])
case("Unsqueeze", "Unsqueeze", 13, (6, 5), weights={"axes": ints(-1)})
case("Concat", "Concat", 13, inputs=["x", "x", "x"], axis=2)
case("Concat-token", "Concat", 13, (4, 5), inputs=["token", "x"], more={"token": f(1, 1, 5)}, batch=1, axis=1)
case("Slice", "Slice", 9, starts=[1, -4], ends=[3, 2147483647], axes=[1, 3])
case("Slice", "Slice", 13, weights={"starts": ints(1, 0), "ends": ints(3, 9223372036854775807), "axes": ints(1, -1)})
case("Slice-steps", "Slice", 13, weights={"starts": ints(0, 1), "ends": ints(6, 5), "axes": ints(2, 3), "steps": ints(2, 3)})
case("Slice-noaxes", "Slice", 13, weights={"starts": ints(0, 1), "ends": ints(2147483647, 3)})
two = lambda **a: [h.make_node("Split", ["x"] + a.pop("extra", []), ["p", "q"], **a), h.make_node("Concat", ["q", "p"], ["z"], axis=2)]
case("Split", None, 11, nodes=two(axis=2, split=[2, 4]))
case("Split-even", None, 11, nodes=two(axis=2))
case("Split", None, 13, nodes=two(axis=-2, extra=["parts"]), more={"parts": ints(5, 1)})
case("Split-uneven", None, 18, nodes=two(axis=2, num_outputs=2), shape=(4, 7, 5))
case("Pad", "Pad", 8, pads=[0, 0, 1, 2, 0, 1, 0, 1], value=0.3)
case("Pad", "Pad", 13, weights={"pads": ints(0, 0, 1, 2, 0, 1, 0, 1), "value": np.float32(0.3)})
case("Pad-zero", "Pad", 11, weights={"pads": ints(0, 0, 1, 2, 0, 1, 0, 1)})
case("Pad-axes", "Pad", 18, inputs=["x", "pads", "", "axes"], more={"pads": ints(1, 2, 0, 1), "axes": ints(-1, 1)})
case("Pad-reflect", "Pad", 11, weights={"pads": ints(0, 0, 1, 2, 0, 0, 3, 1)}, mode="reflect")
case("Gather", "Gather", 13, weights={"indices": ints(3, -1, 0)}, axis=1)
case("Gather-one", "Gather", 13, weights={"index": ints(2).reshape(())}, axis=2)
case("Expand", "Expand", 13, (4, 1, 5), weights={"shape": ints(1, 1, 6, 1)})
value = lambda **a: [h.make_node("Constant", [], ["c"], **a), h.make_node("Mul", ["x", "c"], ["z"])]
case("Constant", None, 9, nodes=value(value=nh.from_array(f(5))))
case("Constant-float", None, 13, nodes=value(value_float=1.5))
case("Constant-floats", None, 13, nodes=value(value_floats=[1.0, -2.0, 3.0, 0.5, 0.25]))
case("ConstantOfShape", None, 9, more={"shape": ints(6, 5)}, nodes=[
    h.make_node("ConstantOfShape", ["shape"], ["c"], value=nh.from_array(np.array([2.5], np.float32))), h.make_node("Mul", ["x", "c"], ["z"])])

# As PyTorch's older exporter writes F.pad(x, (1, 2, 3, 0)) and a size that it computes with.
fill = nh.from_array(np.array([0], np.int64))
case("Pad-computed", None, 13, more={"sizes": ints(1, 2, 3, 0), "four": ints(4), "two": ints(-1, 2), "flat": ints(-1), "from": ints(-1),
                                     "to": ints(-9223372036854775807), "zero": ints(0), "back": ints(-1)}, nodes=[
    h.make_node("ConstantOfShape", ["four"], ["rest"], value=fill), h.make_node("Concat", ["sizes", "rest"], ["all"], axis=0),
    h.make_node("Reshape", ["all", "two"], ["pairs"]), h.make_node("Slice", ["pairs", "from", "to", "zero", "back"], ["turned"]),
    h.make_node("Transpose", ["turned"], ["apart"], perm=[1, 0]), h.make_node("Reshape", ["apart", "flat"], ["line"]),
    h.make_node("Cast", ["line"], ["pads"], to=TensorProto.INT64), h.make_node("Pad", ["x", "pads"], ["z"], mode="constant")])
case("Reshape-arithmetic", None, 13, more={"last": ints(3).reshape(()), "two": ints(2).reshape(()), "seven": ints(7).reshape(()), "axis": ints(0), "open": ints(-1), "six": ints(6), "rows": ints(-1, 240)}, nodes=[
    h.make_node("Shape", ["x"], ["s"]), h.make_node("Gather", ["s", "last"], ["n"]), h.make_node("Add", ["n", "n"], ["a"]),  # 5, 10
    h.make_node("Mod", ["a", "seven"], ["b"]), h.make_node("Mul", ["b", "two"], ["c"]), h.make_node("Sub", ["c", "two"], ["d"]),  # 3, 6, 4
    h.make_node("Div", ["d", "two"], ["e"]), h.make_node("Unsqueeze", ["e", "axis"], ["f"]),  # 2
    h.make_node("Concat", ["open", "six", "f"], ["g"], axis=0), h.make_node("Concat", ["x", "x"], ["w"], axis=3), h.make_node("Reshape", ["w", "g"], ["v"]),
    h.make_node("Tanh", ["v"], ["u"]), h.make_node("Reshape", ["u", "rows"], ["z"])])

# Whole models.
def mlp(dtype=np.float32):
    w = {"fc1/weight": f(30, 12), "fc1/bias": f(12), "fc2/weight": f(12, 3), "fc2/bias": f(3)}
    nodes = [h.make_node("Flatten", ["x"], ["a"]), h.make_node("MatMul", ["a", "fc1/weight"], ["b"]), h.make_node("Add", ["b", "fc1/bias"], ["c"]),
             h.make_node("Relu", ["c"], ["d"]), h.make_node("Gemm", ["d", "fc2/weight", "fc2/bias"], ["y"])]
    return nodes, {k: v.astype(dtype) for k, v in w.items()}


def cnn():
    w = {"c1": f(4, 1, 3, 3), "b1": f(4), "c2": f(5, 4, 2, 2), "bn.s": f(5), "bn.b": f(5), "bn.m": f(5), "bn.v": np.abs(f(5)) + 0.2, "w": f(3, 20), "b": f(3), "shape": ints(1, 20)}
    nodes = [h.make_node("Conv", ["x", "c1", "b1"], ["a"], kernel_shape=[3, 3], pads=[1, 1, 1, 1]), h.make_node("Relu", ["a"], ["r"]),
             h.make_node("MaxPool", ["r"], ["p"], kernel_shape=[2, 2], strides=[2, 2]), h.make_node("Conv", ["p", "c2"], ["q"], strides=[2, 2]),
             h.make_node("BatchNormalization", ["q", "bn.s", "bn.b", "bn.m", "bn.v"], ["n"]), h.make_node("Relu", ["n"], ["m"]),
             h.make_node("Reshape", ["m", "shape"], ["f"]), h.make_node("Gemm", ["f", "w", "b"], ["y"], transB=1)]
    return nodes, w


for opset in range(8, 21):
    nodes, w = mlp()
    save(f"mlp/{opset}", model(nodes, (5, 6), opset, w), (5, 6))
    nodes, w = cnn()
    save(f"cnn-batch-1/{opset}", model(nodes, (1, 8, 8), opset, w, batch=1), (1, 8, 8), batch=1)
nodes, w = mlp()
save("mlp-ir3/8", model(nodes, (5, 6), 8, w, batch=1, as_inputs=True), (5, 6), batch=1)
nodes, w = mlp()
save("mlp-open/13", model(nodes, (5, 6), 13, w, open_sizes=True), (5, 6))
nodes, w = mlp()
save("mlp-softmax/13", model(nodes[:-1] + [h.make_node("Gemm", ["d", "fc2/weight", "fc2/bias"], ["l"]), h.make_node("Softmax", ["l"], ["y"])], (5, 6), 13, w), (5, 6))
w = {"W": f(4, 6), "b": f(4), "V": f(4, 3)}
save("vector/14", model([h.make_node("MatMul", ["W", "x"], ["a"]), h.make_node("Add", ["a", "b"], ["c"]), h.make_node("Relu", ["c"], ["d"]),
                         h.make_node("MatMul", ["d", "V"], ["y"])], (6,), 14, w, batch=None), (6,), batch=None)
for kind, elem in (("double", TensorProto.DOUBLE), ("half", TensorProto.FLOAT16)):
    nodes, w = mlp(np.float64 if kind == "double" else np.float16)
    m = model(nodes, (5, 6), 13, w, elem=elem)
    if kind == "half":  # computed in float32 by ONNX Runtime too, from the same weights
        reference = model(nodes, (5, 6), 13, {k: v.astype(np.float32) for k, v in w.items()})
        save("mlp-half/13", reference, (5, 6))
        out["mlp-half/13@onnx"] = np.frombuffer(m.SerializeToString(), np.uint8)
    else:
        x = f(3, 5, 6)
        y = onnxruntime.InferenceSession(m.SerializeToString()).run(None, {"x": x.astype(np.float64)})[0]
        out["mlp-double/13@onnx"], out["mlp-double/13@x"], out["mlp-double/13@y"] = np.frombuffer(m.SerializeToString(), np.uint8), x, y.astype(np.float32)
        out["mlp-double/13@wide"] = y

# Places: steps below 0, indices, padding, repetition.
image = (3, 6, 5)
for name, starts, ends, axes, steps in [
    ("flip", [-1], [-(2 ** 31)], [3], [-1]), ("flip-channels", [-1], [-100], [1], [-1]), ("back-by-2", [4, 5], [-6, 0], [3, 2], [-2, -3]), ("mixed", [1, 4], [6, -9], [2, 3], [2, -1]),
]:
    case("Slice-" + name, "Slice", 13, image, {"a": ints(*starts), "b": ints(*ends), "c": ints(*axes), "d": ints(*steps)})
case("Gather-swap", "Gather", 13, image, {"i": ints(2, 1, 0)}, axis=1)
case("Gather-many", "Gather", 13, (3, 100), {"i": ints(*[(37 * i) % 100 for i in range(90)])}, axis=2)
case("Gather-table", "Gather", 13, image, {"i": np.array([[0, -1, 2], [1, 1, 4]], np.int64)}, axis=-1)
moved = [h.make_node("Transpose", ["x"], ["t"], perm=[1, 2, 0, 3]), h.make_node("GatherND", ["t", "i"], ["g"])]
case("GatherND-swap", "GatherND", 13, image, {"i": ints(2, 1, 0).reshape(3, 1)}, nodes=moved + [h.make_node("Transpose", ["g"], ["z"], perm=[2, 0, 1, 3])])
case("GatherND-pairs", "GatherND", 13, image, {"i": np.array([[0, 1], [2, -1], [1, 3]], np.int64)}, nodes=moved + [h.make_node("Transpose", ["g"], ["z"], perm=[1, 0, 2])])
case("ScatterND", "ScatterND", 16, image, {"i": np.array([[2, 1], [0, 0]], np.int64), "u": f(2, 1, 5)}, nodes=[
    h.make_node("Transpose", ["x"], ["t"], perm=[1, 2, 0, 3]), h.make_node("GatherND", ["t", "i"], ["g"]), h.make_node("Mul", ["g", "u"], ["v"]), h.make_node("ScatterND", ["t", "i", "v"], ["s"]), h.make_node("Transpose", ["s"], ["z"], perm=[2, 0, 1, 3])])
case("Tile", "Tile", 13, image, {"r": ints(1, 2, 1, 3)})
for mode in "edge reflect".split():
    case("Pad-" + mode, "Pad", 13, image, {"p": ints(0, 0, 2, 3, 0, 1, 1, 4)}, mode=mode)
case("Pad-edge", "Pad", 8, image, mode="edge", pads=[0, 0, 1, 2, 0, 0, 2, 0])
case("Pad-wrap", "Pad", 19, image, {"p": ints(0, 0, 2, 3, 0, 1, 1, 7)}, mode="wrap")
case("Pad-cut", "Pad", 13, image, {"p": ints(0, 0, -2, 3, 0, 0, 1, -1), "v": f()})
case("Trilu", "Trilu", 14, image, upper=0)
case("Trilu-1", "Trilu", 14, image, {"k": np.array(1, np.int64)})
case("CumSum", "CumSum", 14, image, {"a": np.array(-1, np.int64)})
case("CumSum-back", "CumSum", 11, image, {"a": np.array(2, np.int64)}, exclusive=1, reverse=1)
for mode in "DCR CRD".split():
    case("DepthToSpace-" + mode, "DepthToSpace", 13, (8, 3, 2), blocksize=2, mode=mode)
case("SpaceToDepth", "SpaceToDepth", 13, (3, 6, 4), blocksize=2)

# Strides and dilations together, and convolutions that go back.
for name, w, more in [
    ("2d", f(4, 3, 3, 2), dict(strides=[2, 1], dilations=[1, 3], pads=[1, 2, 0, 1])), ("even", f(4, 3, 2, 2), dict(strides=[2, 2], dilations=[2, 2])),
    ("groups", f(6, 1, 2, 3), dict(strides=[3, 2], dilations=[2, 3], pads=[2, 2, 2, 2], group=3)), ("upper", f(2, 3, 3, 3), dict(strides=[2, 2], dilations=[1, 1], auto_pad="SAME_UPPER")),
]:
    case("Conv-both-" + name, "Conv", 11, (3, 9, 8), {"w": w, "b": f(w.shape[0])}, **more)
case("Conv-wide-pads", "Conv", 11, (3, 4, 5), {"w": f(2, 3, 2, 1)}, pads=[3, 1, 2, 0], strides=[2, 1])
case("Conv-both-1d", "Conv", 11, (3, 12), {"w": f(2, 3, 3)}, strides=[2], dilations=[2], pads=[2, 1])
for name, w, more in [
    ("plain", f(3, 4, 3, 2), {}), ("strides", f(3, 4, 2, 2), dict(strides=[2, 2])), ("pads", f(3, 4, 4, 3), dict(strides=[2, 3], pads=[1, 2, 1, 0], output_padding=[1, 2])),
    ("groups", f(6, 2, 3, 3), dict(strides=[2, 1], group=3)), ("dilations", f(3, 2, 3, 2), dict(strides=[2, 2], dilations=[2, 3])), ("shape", f(3, 2, 3, 3), dict(strides=[2, 2], output_shape=[8, 9])),
    ("upper", f(3, 2, 3, 3), dict(strides=[2, 2], auto_pad="SAME_UPPER")), ("lower", f(3, 2, 4, 3), dict(strides=[2, 3], auto_pad="SAME_LOWER")), ("wide-pads", f(3, 2, 2, 2), dict(pads=[1, 1, 1, 1])),
]:
    case("ConvTranspose-" + name, "ConvTranspose", 11, (w.shape[0], 4, 5), {"w": w, "b": f(w.shape[1] * more.get("group", 1))}, **more)
case("ConvTranspose-1d", "ConvTranspose", 11, (3, 6), {"w": f(3, 2, 3)}, strides=[2])
case("ConvTranspose-3d", "ConvTranspose", 11, (2, 3, 2, 3), {"w": f(2, 2, 2, 1, 3)}, strides=[2, 1, 2])
case("MaxPool-dilated", "MaxPool", 12, (2, 9, 8), kernel_shape=[3, 2], dilations=[2, 3], strides=[2, 1], pads=[1, 1, 2, 1])
case("AveragePool-dilated", "AveragePool", 19, (2, 9, 8), kernel_shape=[3, 2], dilations=[2, 3], strides=[2, 1], pads=[1, 1, 2, 1])
case("AveragePool-dilated-all", "AveragePool", 19, (2, 9, 8), kernel_shape=[2, 2], dilations=[2, 2], pads=[1, 1, 1, 1], count_include_pad=1)
for p in (1, 2, 3):
    case(f"LpPool-{p}", "LpPool", 18, (2, 7, 6), kernel_shape=[3, 2], strides=[2, 2], pads=[1, 0, 1, 0], p=p)

# Changes of size.
for mode, transforms in {"nearest": "asymmetric half_pixel align_corners pytorch_half_pixel", "linear": "asymmetric half_pixel align_corners pytorch_half_pixel", "cubic": "half_pixel align_corners"}.items():
    for transform in transforms.split():
        for name, more in {"sizes": {"s": ints(1, 3, 9, 7)}, "scales": {"s": np.array([1, 1, 2, 0.6], np.float32)}}.items():
            if mode == "cubic":
                more = {"sizes": {"s": ints(1, 3, 9, 7)}, "scales": {"s": np.array([1, 1, 2, 1.7], np.float32)}}[name]
            case(f"Resize-{mode}-{transform}-{name}", "Resize", 13, image, more, inputs=["x", "", "", "s"] if name == "sizes" else ["x", "", "s"], batch=1, mode=mode, coordinate_transformation_mode=transform)
for rounding in "round_prefer_floor round_prefer_ceil floor ceil".split():
    for transform in "asymmetric half_pixel".split():
        case(f"Resize-{rounding}-{transform}", "Resize", 13, (1, 6, 9), {"s": np.array([1, 1, 1.5, 1 / 3], np.float32)}, inputs=["x", "", "s"], mode="nearest", nearest_mode=rounding, coordinate_transformation_mode=transform)
case("Resize-tf", "Resize", 11, (1, 6, 9), {"r": f(0), "s": np.array([1, 1, 2, 0.5], np.float32)}, inputs=["x", "r", "s"], mode="nearest", nearest_mode="floor", coordinate_transformation_mode="tf_half_pixel_for_nn")
case("Resize-symmetric", "Resize", 19, (1, 6, 9), {"s": np.array([1, 1, 1.7, 0.6], np.float32)}, inputs=["x", "", "s"], mode="linear", coordinate_transformation_mode="half_pixel_symmetric")
case("Resize-axes", "Resize", 18, image, {"s": ints(9, 4)}, inputs=["x", "", "", "s"], mode="linear", axes=[3, 2])
case("Resize-outside", "Resize", 13, image, {"s": np.array([1, 1, 2, 2], np.float32)}, inputs=["x", "", "s"], mode="cubic", exclude_outside=1, cubic_coeff_a=-0.5)
case("Resize-old", "Resize", 10, image, {"s": np.array([1, 1, 2, 1.5], np.float32)}, mode="linear")
case("Resize-large", "Resize", 13, (1, 1, 90), {"s": ints(1, 1, 1, 100)}, inputs=["x", "", "", "s"], batch=1, mode="nearest", coordinate_transformation_mode="asymmetric", nearest_mode="floor")
for mode in "nearest linear".split():
    case("Upsample-" + mode, "Upsample", 9, image, {"s": np.array([1, 1, 2, 3], np.float32)}, mode=mode)
case("Upsample-nearest", "Upsample", 8, image, mode="nearest", scales=[1.0, 1.0, 3.0, 2.0])

# Reductions and choices.
for op in "ReduceL1 ReduceSumSquare ReduceLogSumExp ReduceProd".split():
    case(op, op, 13, image, axes=[1, -1], keepdims=0)
    case(op, op, 18, image, {"a": ints(2)})
case("ReduceLogSum", "ReduceLogSum", 13, image, x=np.abs(f(2, *image)) + 0.1, axes=[2])
case("LpNormalization-1", "LpNormalization", 13, image, axis=1, p=1)
case("LpNormalization-2", "LpNormalization", 13, image, axis=-1)
case("MeanVarianceNormalization", "MeanVarianceNormalization", 13, image, axes=[2, 3])
case("GroupNormalization", "GroupNormalization", 21, (6, 4, 3), {"s": f(6), "b": f(6)}, num_groups=3, epsilon=1e-3)
case("RMSNormalization", "RMSNormalization", 23, image, {"s": f(5)}, epsilon=1e-3)
case("Einsum-product", "Einsum", 12, image, {"w": f(4, 5)}, equation="bchw,kw->bhck")
case("Einsum-attention", "Einsum", 12, image, inputs=["x", "x"], equation="bchw,bdhw->bhcd")
case("TopK", "TopK", 11, image, nodes=[h.make_node("TopK", ["x", "k"], ["z", "i"], axis=-1)], more={"k": ints(3)})
case("TopK-smallest", "TopK", 11, image, nodes=[h.make_node("TopK", ["x", "k"], ["z", "i"], axis=2, largest=0)], more={"k": ints(2)})
# What picks is constant near an input: so it is multiplied by it.
picked = lambda *nodes: list(nodes) + [h.make_node("Mul", ["p", "x"], ["z"])]
case("ArgMax", "ArgMax", 13, image, nodes=picked(h.make_node("ArgMax", ["x"], ["i"], axis=1), h.make_node("Cast", ["i"], ["p"], to=1)))
case("ArgMin-last", "ArgMin", 13, image, nodes=picked(h.make_node("ArgMin", ["x"], ["i"], axis=-1, select_last_index=1), h.make_node("Cast", ["i"], ["p"], to=1)))
case("Hardmax", "Hardmax", 13, image, nodes=picked(h.make_node("Hardmax", ["x"], ["p"], axis=2)))
case("OneHot", "OneHot", 11, image, nodes=picked(h.make_node("ArgMax", ["x"], ["i"], axis=2, keepdims=0), h.make_node("OneHot", ["i", "d", "v"], ["p"], axis=2)), more={"d": np.array(6, np.int64), "v": f(2)})
case("OneHot-integers", "OneHot", 11, image, nodes=picked(h.make_node("ArgMax", ["x"], ["i"], axis=2, keepdims=0), h.make_node("OneHot", ["i", "d", "v"], ["o"], axis=2), h.make_node("Cast", ["o"], ["p"], to=1)), more={"d": ints(6), "v": ints(0, 1)})
case("Round", "Round", 11, image, nodes=picked(h.make_node("Round", ["x"], ["p"])))
case("Swish-graph", "Sigmoid", 13, image, nodes=picked(h.make_node("Sigmoid", ["x"], ["p"])))

# On elements.
for op in "Tan Sinh Cosh Asinh".split():
    case(op, op, 13 if op == "Tan" else 9, (7,))
case("Atanh", "Atanh", 9, (7,), x=np.tanh(f(2, 7)) * 0.9)
case("Acosh", "Acosh", 9, (7,), x=np.abs(f(2, 7)) + 1.1)
case("ThresholdedRelu", "ThresholdedRelu", 10, (7,), alpha=0.3)
case("Shrink", "Shrink", 9, (7,), lambd=0.4, bias=0.2)
case("Xor", "Xor", 9, (7,), nodes=[h.make_node("Less", ["x", "a"], ["p"]), h.make_node("Greater", ["x", "b"], ["q"]), h.make_node("Xor", ["p", "q"], ["r"]), h.make_node("Cast", ["r"], ["s"], to=1), h.make_node("Mul", ["s", "x"], ["z"])], more={"a": f(1), "b": f(1)})
case("CastLike", "CastLike", 15, (7,), nodes=[h.make_node("Less", ["x", "a"], ["p"]), h.make_node("CastLike", ["p", "x"], ["s"]), h.make_node("Mul", ["s", "x"], ["z"])], more={"a": f(1)})

np.savez_compressed("operators.npz", **out)
print(sum(k.endswith("@onnx") for k in out), "models, onnx", onnx.__version__, "onnxruntime", onnxruntime.__version__, "numpy", np.__version__)
