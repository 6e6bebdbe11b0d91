"""Asks a server with Triton's own HTTP client, and compares with what is expected.

    python triton.py URL EXPECTED

URL is the model's address as `advlib serve` prints it, EXPECTED a file in JSON: {"x": [n, ...], "outputs": {name: [n, ...]}},
what the server must answer to the inputs x. It needs `pip install tritonclient[http]`. TestTritonClient runs it.
"""

import json
import sys
from urllib.parse import urlsplit

import numpy as np
from tritonclient.http import InferenceServerClient, InferInput, InferRequestedOutput
from tritonclient.utils import InferenceServerException, np_to_triton_dtype

url, expected = sys.argv[1], json.load(open(sys.argv[2]))
name = urlsplit(url).path.split("/")[3]
x = np.array(expected["x"], np.float32)
want = {k: np.array(v) for k, v in expected["outputs"].items()}

client = InferenceServerClient(urlsplit(url).netloc, concurrency=4)
assert client.is_server_live() and client.is_server_ready() and client.is_model_ready(name) and client.is_model_ready(name, "1")
server = client.get_server_metadata()
assert "binary_tensor_data" in server["extensions"], server
model = client.get_model_metadata(name)
print("server", server["name"], "model", model["name"], model["inputs"], model["outputs"])
assert model["name"] == name and model == client.get_model_metadata(name, "1")
assert [o["name"] for o in model["outputs"]] == list(want)
for o in model["outputs"]:
    assert len(o["shape"]) == 2 and all(d in (-1, n) for d, n in zip(o["shape"], want[o["name"]].shape)), o


def question(x, binary):
    i = InferInput(model["inputs"][0]["name"], x.shape, np_to_triton_dtype(x.dtype))
    i.set_data_from_numpy(x, binary_data=binary)
    return [i]


def check(what, answer, outputs=want):
    for k, v in outputs.items():
        got = answer.as_numpy(k)
        assert got is not None and got.shape == v.shape, (what, k, got)
        np.testing.assert_array_equal(got, v.astype(got.dtype), err_msg=f"{what}, {k}")
    print("ok:", what)


outs = lambda binary: [InferRequestedOutput(k, binary_data=binary) for k in want]
check("defaults: binary in, binary out", client.infer(name, question(x, True)))
check("JSON in, binary out", client.infer(name, question(x, False)))
check("binary in, JSON out", client.infer(name, question(x, True), outputs=outs(False)))
check("JSON in, JSON out", client.infer(name, question(x, False), outputs=outs(False)))
check("FP64 in", client.infer(name, question(x.astype(np.float64), True), outputs=outs(True)))
check("version 1, an id", client.infer(name, question(x, True), model_version="1", request_id="42"))
assert client.infer(name, question(x, True), request_id="42").get_response()["id"] == "42"
for coding in ("gzip", "deflate"):  # the answers are long enough to be compressed
    many = client.infer(name, question(np.concatenate([x] * 100), True), request_compression_algorithm=coding,
                        response_compression_algorithm=coding)
    check(f"{coding} both ways", many, {k: np.concatenate([v] * 100) for k, v in want.items()})
first = list(want)[-1]
check("one output alone", client.infer(name, question(x, True), outputs=[InferRequestedOutput(first)]), {first: want[first]})
waiting = [client.async_infer(name, question(x, i % 2 == 0)) for i in range(40)]
for w in waiting:
    answer = w.get_result()
check("40 at a time", answer)


def refused(what, status, ask):
    try:
        ask()
    except InferenceServerException as e:
        assert e.status() == str(status), (what, e.status(), e.message())
        print("ok: refused,", what + ":", status, e.message())
        return
    raise AssertionError(what + " is answered")


refused("a wrong shape", 400, lambda: client.infer(name, question(x[:, :-1], True)))
refused("another model", 404, lambda: client.infer("nobody", question(x, True)))
refused("another version", 404, lambda: client.get_model_metadata(name, "2"))
refused("outside of the box", 400, lambda: client.infer(name, question(x + 9, True)))
refused("an unknown output", 400, lambda: client.infer(name, question(x, True), outputs=[InferRequestedOutput("nothing")]))
refused("Triton's classification", 400, lambda: client.infer(name, question(x, True), outputs=[InferRequestedOutput(first, class_count=2)]))
assert not client.is_model_ready("nobody")
client.close()
