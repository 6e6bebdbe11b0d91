#!/usr/bin/env python3
"""Times CROWN bounds of this library beside those of auto_LiRPA: same weights, same boxes, same margins, in one run, by turns.

    python3 -m venv peers && peers/bin/pip install torch onnx appdirs packaging pyyaml graphviz tqdm
    peers/bin/python advlib/certify/peers/compare.py --lirpa CHECKOUT [--cnn FILE] [--acas FILE] [--rounds 5] [--threads N]

CHECKOUT is one of github.com/Verified-Intelligence/auto_LiRPA. The workloads:

    cnn     the reference vectors' network cnn-mnist-adv, Linf 0.1, all examples of --cnn (cnn-mnist-adv.npz; the checkout's has 8)
    acas    network 1_1 of ACAS Xu, 256 boxes; --acas names its ONNX file

Both sides use CROWN with adaptive slopes, intermediate bounds by CROWN too. Ours runs in float64, once in real arithmetic, as the peer,
and once with the terms that make bounds hold for the model as deployed in float32; the peer runs in float32, its default, and in float64.
Needs Go. A ratio is the peer's time / ours: above 1, ours is faster; it is the median over rounds.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time
import warnings

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # or, on a busy machine, PyTorch's threads spin while they wait for each other
warnings.filterwarnings("ignore")

import numpy as np
import torch

ROOT = pathlib.Path(__file__).resolve().parents[3]


def cnn(path):
    """The network in PyTorch's own layout, channels first; ours flattens in channels-last order."""
    a, nn = np.load(path), torch.nn

    def conv(k):
        w = torch.tensor(a[f"conv{k}__w"]).permute(3, 2, 0, 1).contiguous()
        layer = nn.Conv2d(w.shape[1], w.shape[0], w.shape[2], stride=2, padding=1)
        layer.weight.data, layer.bias.data = w, torch.tensor(a[f"conv{k}__b"])
        return layer

    def dense(k, channels=None):
        w = torch.tensor(a[f"dense{k}__w"])
        if channels:
            side = int((w.shape[0] / channels) ** 0.5)
            w = w.reshape(side, side, channels, -1).permute(2, 0, 1, 3).reshape(w.shape)
        layer = nn.Linear(*w.shape)
        layer.weight.data, layer.bias.data = w.T.contiguous(), torch.tensor(a[f"dense{k}__b"])
        return layer

    return nn.Sequential(conv(0), nn.ReLU(), conv(1), nn.ReLU(), nn.Flatten(), dense(2, 32), nn.ReLU(), dense(3)), (1, 28, 28)


def acas(path):
    """Matrices and biases of the ONNX file, in order; its means are zero."""
    import onnx
    from onnx import numpy_helper

    model = onnx.load(path)
    arrays = {i.name: numpy_helper.to_array(i) for i in model.graph.initializer}
    layers, weight = [], None
    for node in model.graph.node:
        constants = [arrays[i] for i in node.input if i in arrays]
        if node.op_type == "MatMul":
            weight = torch.tensor(constants[0].copy())
        elif node.op_type == "Add":
            layer = torch.nn.Linear(*weight.shape)
            layer.weight.data, layer.bias.data = weight.T.contiguous(), torch.tensor(constants[0].copy())
            layers.append(layer)
        elif node.op_type == "Relu":
            layers.append(torch.nn.ReLU())
        elif node.op_type == "Sub" and np.any(constants[0]):
            raise SystemExit(f"compare.py: {path}: its inputs are shifted, which this script leaves out")
    return torch.nn.Sequential(*layers), (5,)


class Ours:
    """Our side: a Go program that runs a workload when it is told to."""

    def __init__(self, folder, networks):
        program = folder / "peers"
        subprocess.run(["go", "build", "-o", program, "./advlib/certify/peers"], cwd=ROOT, check=True)
        self.process = subprocess.Popen([program, folder, *networks], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.names = self.answer()

    def answer(self):
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit("compare.py: our side has ended; its error is above")
        return json.loads(line)

    def run(self, name):
        print(name, file=self.process.stdin, flush=True)
        return self.answer()

    def close(self):
        self.process.stdin.close()
        self.process.wait()


class Peer:
    """auto_LiRPA on the same boxes."""

    def __init__(self, net, shape, arrays, dtype):
        from auto_LiRPA import BoundedModule

        self.lower, self.upper = (torch.tensor(arrays[k]).reshape(-1, *shape).to(dtype) for k in ("lower", "upper"))
        labels, self.net = arrays["y"], net.to(dtype).eval()
        classes = self.net[-1].out_features
        self.rows = torch.zeros(len(labels), classes - 1, classes, dtype=dtype)
        for i, y in enumerate(labels):
            for k, j in enumerate(j for j in range(classes) if j != y):
                self.rows[i, k, y], self.rows[i, k, j] = 1, -1
        self.module = BoundedModule(self.net, torch.empty_like(self.lower))

    def run(self):
        from auto_LiRPA import BoundedTensor, PerturbationLpNorm

        start, used = time.perf_counter(), time.process_time()
        middle = (self.lower + self.upper) / 2
        x = BoundedTensor(middle, PerturbationLpNorm(norm=np.inf, x_L=self.lower, x_U=self.upper))
        margins, _ = self.module.compute_bounds(x=(x,), C=self.rows, method="CROWN", bound_upper=False)
        return dict(Seconds=time.perf_counter() - start, CPU=time.process_time() - used, Margins=margins.detach().double().numpy())


def compare(ours, name, make, folder, rounds):
    arrays = np.load(folder / f"{name}.npz")
    peers = {}
    for dtype in (torch.float32, torch.float64):
        net, shape = make()
        peers[f"auto_LiRPA {str(dtype)[6:]}"] = Peer(net, shape, arrays, dtype)
    turns = {"real arithmetic": lambda: ours.run(name), "for float32": lambda: ours.run(name + " float32")}
    turns |= {k: p.run for k, p in peers.items()}
    first = {k: turn() for k, turn in turns.items()}  # ours compiles
    times = {k: [] for k in turns}
    for r in range(rounds):
        for k in sorted(turns, reverse=r % 2 == 1):
            times[k].append(turns[k]())
        print(f"  {name} round {r + 1}: " + ", ".join(f"{k} {v[-1]['Seconds']:.2f} s (CPU {v[-1]['CPU']:.2f})" for k, v in times.items()), file=sys.stderr, flush=True)
    exact = first["auto_LiRPA float64"]["Margins"]
    lines = []
    for mine in ("real arithmetic", "for float32"):
        margins = np.array(first[mine]["Margins"])
        below = np.max(margins - exact)
        for k in peers:
            def ratio(what):
                all = sorted(p[what] / m[what] for m, p in zip(times[mine], times[k]))
                return statistics.median(all), all[0], all[-1]

            def middle(who, what):
                return statistics.median(t[what] for t in times[who])

            (wall, low, high), (cpu, cpu_low, cpu_high) = ratio("Seconds"), ratio("CPU")
            lines.append(
                f"| {name}, {len(exact)} boxes | {mine} | {k} | **{wall:.2f}** ({low:.2f}-{high:.2f}) | {cpu:.2f} ({cpu_low:.2f}-{cpu_high:.2f}) "
                f"| {middle(mine, 'Seconds'):.2f} / {middle(k, 'Seconds'):.2f} | {middle(mine, 'CPU'):.2f} / {middle(k, 'CPU'):.2f} "
                f"| {np.max(np.abs(margins - exact)):.1e}, {below:.1e} | {first[mine]['Programs']}, {first[mine]['Seconds']:.1f} s; later {sum(t['Programs'] for t in times[mine])} |"
            )
    return lines


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lirpa", required=True, help="folder of a checkout of auto_LiRPA")
    parser.add_argument("--cnn", default=str(ROOT / "advlib/attack/attacktest/testdata/cnn-mnist-adv.npz"), help="the reference vectors (the checkout's)")
    parser.add_argument("--acas", default="", help="ONNX file of network 1_1 of ACAS Xu; without it, the workload is left out")
    parser.add_argument("--rounds", type=int, default=5, help="turns of each side (5)")
    parser.add_argument("--threads", type=int, default=0, help="threads of PyTorch (its own default)")
    parser.add_argument("--folder", default=os.path.join(tempfile.gettempdir(), "advlab-certify-peers"), help="where boxes are left")
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    sys.path.insert(0, args.lirpa)
    folder = pathlib.Path(args.folder)
    folder.mkdir(parents=True, exist_ok=True)
    networks = [os.path.abspath(f) for f in (args.cnn, args.acas) if f]
    ours = Ours(folder, networks)
    lines = compare(ours, "cnn", lambda: cnn(args.cnn), folder, args.rounds)
    if args.acas:
        lines += compare(ours, "acas", lambda: acas(args.acas), folder, args.rounds)
    ours.close()
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, load average {os.getloadavg()[0]:.0f} on {os.cpu_count()} cores\n")
    print("| workload | ours | peer | ratio of wall time | ratio of CPU time | seconds, ours / peer | CPU seconds, ours / peer | margins: largest difference from the peer's in float64, most above it | programs, first run |")
    print("|---|---|---|---|---|---|---|---|---|")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
