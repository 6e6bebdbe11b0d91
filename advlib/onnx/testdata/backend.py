"""Wraps the node tests of ONNX's backends as classifiers, for TestBackendNodes. Run with onnx 1.23.2, onnxruntime 1.32.0 and
numpy 2.4.6:

    python testdata/backend.py /tmp/nodes.npz
    ADVLAB_ONNX_NODES=/tmp/nodes.npz go test -run TestBackendNodes -v ./advlib/onnx

The tests come with PyPI's onnx and are made by onnx.backend.test.case.node.collect_testcases(). In each the first input of real
numbers is the one that is perturbed; other inputs become constants. The first output is the logits, as real numbers. A
test becomes up to two models: "open", where the first axis of input and output is an open batch, if it has the same size in both;
and "one", fixed at batch 1, where the input is a row that is given its shape, and the output is flattened to a row. What has no
input of real numbers, no tensors, no values, or random numbers is left out, and said why. So is, by its name, where ONNX Runtime
computes other values than ONNX's: package onnx follows ONNX Runtime.
"""
import sys, collections
import numpy as np, onnx, onnxruntime
from onnx import TensorProto, helper as h, numpy_helper as nh
from onnx.backend.test.case.node import collect_testcases

REAL = {TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16, TensorProto.BFLOAT16}
RANDOM = {"Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"}


def array(v):
    return nh.to_array(v) if isinstance(v, TensorProto) else np.asarray(v)


def reason(m, inputs, outputs):
    """Why a test is no classifier, or None."""
    if any(n.op_type in RANDOM for n in m.graph.node):
        return "random"
    if any(n.op_type == "Dropout" and len(n.input) > 2 and n.input[2] for n in m.graph.node):
        return "random"
    for v in [*m.graph.input, m.graph.output[0]]:
        if not v.type.HasField("tensor_type"):
            return "not of tensors"
        if v.type.tensor_type.elem_type == TensorProto.STRING:
            return "of strings"
    if not any(v.type.tensor_type.elem_type in REAL for v in m.graph.input):
        return "no input of real numbers"
    if len(inputs) != len(m.graph.input):
        return "inputs left out"
    return None


def wrapped(m, inputs, way):
    """The model, the values of x, and how its output is flattened; None if it has no such way."""
    m2 = onnx.ModelProto()
    m2.CopyFrom(m)
    g = m2.graph
    k = next(i for i, v in enumerate(g.input) if v.type.tensor_type.elem_type in REAL)
    x, value = g.input[k], array(inputs[k])
    y, want = g.output[0], array(outputs[0])
    if value.size == 0 or want.size == 0:
        return None
    elem = x.type.tensor_type.elem_type
    opset = next((o.version for o in m.opset_import if o.domain in ("", "ai.onnx")), None)
    if opset is None:  # it is of another domain alone
        opset = 21
        m2.opset_import.append(h.make_opsetid("", opset))
    for i, v in enumerate(list(g.input)):
        if i != k:
            t = inputs[i] if isinstance(inputs[i], TensorProto) else nh.from_array(np.asarray(inputs[i]), v.name)
            g.initializer.append(t)
            g.initializer[-1].name = v.name
    name, last = x.name, y.name
    if way == "open":
        if value.ndim < 2 or want.ndim < 1 or want.shape[0] != value.shape[0]:
            return None
        dims = ["n", *value.shape[1:]]
        shape = [-1, want.size // want.shape[0]]
    else:
        name = "x_row"
        dims = [1, value.size]
        shape = [1, -1]
        g.initializer.append(nh.from_array(np.array(value.shape, np.int64), "x_shape"))
        g.node.insert(0, h.make_node("Reshape", ["x_row", "x_shape"], [x.name]))
    if y.type.tensor_type.elem_type not in REAL:
        g.node.append(h.make_node("Cast", [last], ["y_real"], to=TensorProto.FLOAT))
        last = "y_real"
    g.initializer.append(nh.from_array(np.array(shape, np.int64), "y_shape"))
    g.node.append(h.make_node("Reshape", [last, "y_shape"], ["y_rows"]))
    del g.input[:], g.output[:], g.value_info[:]
    g.input.append(h.make_tensor_value_info(name, elem, dims))
    g.output.append(h.make_tensor_value_info("y_rows", TensorProto.FLOAT, None))
    rows = value if way == "open" else value.reshape(1, -1)
    return m2, rows.astype(np.float32), want.astype(np.float32).reshape(len(rows), -1)


def differs(model, x, y, tolerance):
    """Whether ONNX Runtime computes other values; False for what it does not run."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    try:
        session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        kind = {"tensor(float16)": np.float16, "tensor(double)": np.float64}.get(session.get_inputs()[0].type, np.float32)
        got = np.asarray(session.run(None, {session.get_inputs()[0].name: x.astype(kind)})[0]).astype(np.float32)
    except Exception:
        return False
    return got.shape != y.shape or not np.allclose(got, y, rtol=tolerance, atol=tolerance, equal_nan=True)


out, left, cases = {}, collections.Counter(), 0
for case in collect_testcases(None):
    if not case.data_sets:
        left["no values"] += 1
        continue
    inputs, outputs = case.data_sets[0]
    m = case.model
    why = reason(m, inputs, outputs)
    if why is None and not any(wrapped(m, inputs, way) for way in ("open", "one")):
        why = "empty tensors"
    if why:
        left[why] += 1
        continue
    cases += 1
    entries = {}
    for way in ("open", "one"):
        w = wrapped(m, inputs, way)
        if w is None:
            continue
        model, x, y = w
        key = case.name + "/" + way
        half = case.model.graph.output[0].type.tensor_type.elem_type in (TensorProto.FLOAT16, TensorProto.BFLOAT16) or any(t.data_type in (TensorProto.FLOAT16, TensorProto.BFLOAT16) for t in model.graph.initializer) or \
            model.graph.input[0].type.tensor_type.elem_type in (TensorProto.FLOAT16, TensorProto.BFLOAT16)
        tolerance = max(case.rtol or 1e-3, 1e-3) if not half else 1e-2
        if differs(model, x, y, tolerance):
            print(f"left out: ONNX Runtime computes other values than {key}")
            left["other values in ONNX Runtime"] += 1
            cases -= 1
            entries = {}
            break
        entries[key + "@onnx"] = np.frombuffer(model.SerializeToString(), np.uint8)
        entries[key + "@x"], entries[key + "@y"], entries[key + "@tolerance"] = x, y, np.array([tolerance], np.float32)
    out.update(entries)
np.savez(sys.argv[1], **out)
print(f"{cases} tests are classifiers; left out: {dict(left)}")
