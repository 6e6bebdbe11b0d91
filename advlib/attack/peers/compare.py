#!/usr/bin/env python3
"""Times attacks of this library beside those of others: same weights, same inputs, same budgets, in one run, by turns.

    python3 -m venv peers && peers/bin/pip install torch torchattacks foolbox
    peers/bin/python advlib/attack/peers/compare.py [--rounds 5] [--auto-attack FOLDER] [pgd autoattack cw cw-all-steps]

The workloads and the peers:

    pgd           PGD, 40 fixed steps, on Madry's MNIST network     torchattacks
    autoattack    AutoAttack standard, on a small adversarially     auto-attack by its authors, which is not on PyPI:
                  trained network                                   --auto-attack names a checkout of it
    cw            Carlini & Wagner in L2, 9 x 1000, same network    foolbox
    cw-all-steps  the same without giving up searches early         foolbox

Needs Go, and MNIST's test files (see the package dataset). Models are trained by the first run, and kept in --folder. Both sides
are judged by the model in PyTorch. A ratio above 1 says that ours is faster; it is the median over rounds of peer's time / our time. The ratio of CPU time, of all
cores, is less disturbed by what else the machine does.
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

import numpy as np
import torch

NAMES = ["pgd", "autoattack", "cw", "cw-all-steps"]


class Count(torch.autograd.Function):
    """The identity, which counts examples on the way back."""

    @staticmethod
    def forward(ctx, x, counter):
        ctx.counter = counter
        return x.view_as(x)

    @staticmethod
    def backward(ctx, g):
        ctx.counter.backward_passes += len(g)
        return g, None


class Model(torch.nn.Module):
    """A network in PyTorch's own layout, channels first, with the weights of ours, and the passes of examples through it."""

    def __init__(self, kind, arrays):
        super().__init__()
        nn = torch.nn
        weights = {k[len("weights"):].strip("/").replace("__", "/"): v for k, v in arrays.items() if k.startswith("weights")}

        def conv(k, **how):
            w = torch.tensor(weights[f"conv{k}/w"]).permute(3, 2, 0, 1).contiguous()
            layer = nn.Conv2d(w.shape[1], w.shape[0], w.shape[2], **how)
            layer.weight.data, layer.bias.data = w, torch.tensor(weights[f"conv{k}/b"])
            return layer, w.shape[0]

        def dense(k, channels=None):
            w = torch.tensor(weights[f"dense{k}/w"])
            if channels:  # ours flattens in channels-last order
                side = int((w.shape[0] / channels) ** 0.5)
                w = w.reshape(side, side, channels, -1).permute(2, 0, 1, 3).reshape(w.shape)
            layer = nn.Linear(*w.shape)
            layer.weight.data, layer.bias.data = w.T.contiguous(), torch.tensor(weights[f"dense{k}/b"])
            return layer

        layers = []
        for k in range(2):
            if kind == "madry":
                layer, channels = conv(k, padding=2)
                layers += [layer, nn.ReLU(), nn.MaxPool2d(2)]
            else:
                layer, channels = conv(k, stride=2, padding=1)
                layers += [layer, nn.ReLU()]
        layers += [nn.Flatten(), dense(2, channels), nn.ReLU(), dense(3)]
        self.net = nn.Sequential(*layers)
        self.requires_grad_(False)
        self.eval()
        self.reset()

    def reset(self):
        self.forward_passes = self.backward_passes = 0

    def forward(self, x):
        self.forward_passes += len(x)
        z = self.net(x)
        return Count.apply(z, self) if z.requires_grad else z


def peer(w, model, x, y, auto_attack):
    """Returns the peer's attack as a function, and its name."""
    if w["Name"] == "pgd":
        import torchattacks

        attack = torchattacks.PGD(model, eps=w["Epsilon"], alpha=w["Step"], steps=w["Steps"], random_start=True)
        return lambda: attack(x, y), f"torchattacks {torchattacks.__version__}"
    if w["Name"] == "autoattack":
        if auto_attack:
            sys.path.insert(0, auto_attack)
        try:
            from autoattack import AutoAttack
        except ImportError as e:
            raise SystemExit(f"compare.py: autoattack: {e}: name a checkout of its authors' repository by --auto-attack")
        attack = AutoAttack(model, norm="Linf", eps=w["Epsilon"], version="standard", device="cpu", verbose=False)
        return lambda: attack.run_standard_evaluation(x, y, bs=len(x)), "auto-attack"
    import foolbox

    wrapped = foolbox.PyTorchModel(model, bounds=(0, 1), device="cpu")
    attack = foolbox.attacks.L2CarliniWagnerAttack(binary_search_steps=w["Rounds"], steps=w["Steps"], stepsize=w["Step"], initial_const=1e-3, abort_early=w["Abort"])
    return lambda: attack(wrapped, x, y.long(), epsilons=None)[0], f"foolbox {foolbox.__version__}"


def judge(w, model, x, y, adv):
    """Returns the robust accuracy, and the median L2 norm over correctly classified examples; a failure's is infinite."""
    with torch.no_grad():
        clean, after = model(x).argmax(1), model(adv).argmax(1)
    delta = (adv - x).flatten(1)
    if w["Epsilon"]:
        worst = delta.abs().max().item()
        if worst > w["Epsilon"] * (1 + 1e-5):
            raise SystemExit(f"compare.py: {w['Name']}: a perturbation of {worst} lies outside of the ball of {w['Epsilon']}")
    right = clean == y
    norm = delta.norm(dim=1)
    norm[after == y] = float("inf")
    return (right & (after == y)).float().mean().item(), norm[right].median().item(), clean


class Ours:
    """Our side: a Go program that runs a workload when it is told to."""

    def __init__(self, folder, examples):
        root = pathlib.Path(__file__).resolve().parents[3]
        program = folder / "peers"
        subprocess.run(["go", "build", "-o", program, "./advlib/attack/peers"], cwd=root, check=True)
        self.process = subprocess.Popen([program, folder, str(examples)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.folder, self.names = folder, self.answer()

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


def compare(ours, name, rounds, auto_attack, cold):
    w = json.loads((ours.folder / f"{name}.json").read_text())
    arrays = np.load(ours.folder / f"{name}.npz")
    x = torch.tensor(arrays["x"]).permute(0, 3, 1, 2).contiguous()
    y = torch.tensor(arrays["y"].astype(np.int64))
    model = Model(w["Model"], arrays)
    attack, peer_name = peer(w, model, x, y, auto_attack)

    def our_turn():
        r = ours.run(name)
        adv = np.fromfile(ours.folder / f"{name}.f32", np.float32).reshape(arrays["x"].shape)
        return r, torch.tensor(adv).permute(0, 3, 1, 2).contiguous()

    def peer_turn():
        model.reset()
        start, used = time.perf_counter(), time.process_time()
        adv = attack().detach()
        seconds, used = time.perf_counter() - start, time.process_time() - used
        return dict(Seconds=seconds, CPU=used, Forward=model.forward_passes / len(x), Backward=model.backward_passes / len(x)), adv

    first = None if cold else our_turn()[0]  # compiles
    pairs = []
    for k in range(rounds):
        if k % 2:
            theirs, their_adv = peer_turn()
            mine, my_adv = our_turn()
        else:
            mine, my_adv = our_turn()
            theirs, their_adv = peer_turn()
        pairs.append((mine, theirs))
        first = first or mine
        print(f"  {name} round {k + 1}: ours {mine['Seconds']:.2f} s, {peer_name} {theirs['Seconds']:.2f} s, ratio {theirs['Seconds'] / mine['Seconds']:.2f}, of CPU time {theirs['CPU'] / mine['CPU']:.2f}", file=sys.stderr, flush=True)
    ratios = [t["Seconds"] / m["Seconds"] for m, t in pairs]
    my_robust, my_norm, _ = judge(w, model, x, y, my_adv)
    their_robust, their_norm, clean = judge(w, model, x, y, their_adv)
    return dict(
        name=name, attack=w["Attack"], peer=peer_name, examples=len(x), rounds=rounds, clean=(clean == y).float().mean().item(),
        ratio=statistics.median(ratios), lowest=min(ratios), highest=max(ratios),
        cpu=statistics.median(t["CPU"] / m["CPU"] for m, t in pairs),
        seconds=(statistics.median(m["Seconds"] for m, _ in pairs), statistics.median(t["Seconds"] for _, t in pairs)),
        forward=(mine["Forward"], theirs["Forward"]), backward=(mine["Backward"], theirs["Backward"]),
        first=first["Seconds"], programs=first["Programs"], later=sum(m["Programs"] for m, _ in pairs),
        robust=(my_robust, their_robust), norm=(my_norm, their_norm), minimal=not w["Epsilon"],
    )


def table(rows):
    lines = [
        "| workload | peer | ratio, median (range) of rounds | ratio of CPU time | seconds, ours / peer | forward + backward passes per example, ours / peer | answer, ours / peer | programs; first run |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for r in rows:
        answer = "median L2 norm %.4f / %.4f" % r["norm"] if r["minimal"] else "robust %.4f / %.4f" % r["robust"]
        lines.append(
            f"| {r['name']}: {r['attack']} | {r['peer']} | **{r['ratio']:.2f}** ({r['lowest']:.2f}-{r['highest']:.2f}) of {r['rounds']} | {r['cpu']:.2f} | {r['seconds'][0]:.2f} / {r['seconds'][1]:.2f} "
            f"| {r['forward'][0]:.0f} + {r['backward'][0]:.0f} / {r['forward'][1]:.0f} + {r['backward'][1]:.0f} | {answer} | {r['programs']}, later {r['later']}; {r['first']:.1f} s |"
        )
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workloads", nargs="*", default=NAMES, metavar="WORKLOAD", help="which: " + ", ".join(NAMES) + "; all if none is named")
    parser.add_argument("--rounds", type=int, default=5, help="turns of each side (5)")
    parser.add_argument("--examples", type=int, default=128, help="how many images are attacked (128)")
    parser.add_argument("--threads", type=int, default=0, help="threads of PyTorch; 1 shows its CPU time without waiting for each other (its own default)")
    parser.add_argument("--cold", action="store_true", help="let our first run, which compiles, count")
    parser.add_argument("--auto-attack", default="", help="folder of a checkout of auto-attack")
    parser.add_argument("--folder", default=os.path.join(tempfile.gettempdir(), "advlab-peers"), help="where models and examples are left")
    parser.add_argument("--json", default="", help="write the figures to this file too")
    args = parser.parse_args()
    for name in args.workloads:
        if name not in NAMES:
            parser.error(f"there is no workload {name!r}; there are {', '.join(NAMES)}")
    torch.manual_seed(0)
    if args.threads:
        torch.set_num_threads(args.threads)
    folder = pathlib.Path(args.folder)
    folder.mkdir(parents=True, exist_ok=True)
    ours = Ours(folder, args.examples)
    rows = [compare(ours, name, args.rounds, args.auto_attack, args.cold) for name in args.workloads]
    ours.close()
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, {rows[0]['examples']} examples, load average {os.getloadavg()[0]:.0f} on {os.cpu_count()} cores\n")
    print(table(rows))
    if args.json:
        pathlib.Path(args.json).write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
