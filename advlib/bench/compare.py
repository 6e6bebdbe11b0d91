#!/usr/bin/env python3
"""Times attacks and bounds of this library beside those of others: same weights, same inputs, same budgets or boxes, in one run, by turns.

    python3 -m venv peers && peers/bin/pip install torch torchattacks foolbox onnx appdirs packaging pyyaml graphviz tqdm
    peers/bin/python advlib/bench/compare.py [--rounds 5] [--auto-attack FOLDER] [--lirpa FOLDER] [WORKLOAD...]

The workloads and the peers:

    pgd           PGD, 40 fixed steps, on Madry's MNIST network     torchattacks
    autoattack    AutoAttack standard, on a small adversarially     auto-attack by its authors, which is not on PyPI:
                  trained network                                   --auto-attack names a checkout of it
    cw            Carlini & Wagner in L2, 9 x 1000, same network    foolbox
    cw-all-steps  the same without giving up searches early         foolbox
    square        Square Linf, 1000 queries, same network           auto-attack's
    square-l2     the same in L2                                    auto-attack's
    hopskipjump   HopSkipJump in L2, 2000 queries, same network     foolbox's, all images in one batch
    surfree       SurFree in L2, 2000 queries, same network         foolbox's Boundary attack
    training      adversarial training by PGD-7 on 4000 of        ART's AdversarialTrainerMadryPGD, and a plain loop in
                  MNIST, the small network                        PyTorch; pip install adversarial-robustness-toolbox
    patch         a printed patch on stop signs, which is to     ART's AdversarialPatchPyTorch; torchvision besides
                  work from fresh viewpoints
    cnn           CROWN on the reference vectors' network           auto_LiRPA, in float32 and float64: --lirpa names a
                  cnn-mnist-adv, Linf 0.1, all examples of --cnn    checkout of github.com/Verified-Intelligence/auto_LiRPA
    acas          CROWN on network 1_1 of ACAS Xu, 256 boxes;       auto_LiRPA
                  --acas names its ONNX file

Without names, those whose peer and files are there. Needs Go; attacks need MNIST's test files (see the package dataset). Models
are trained by the first run, and kept in --folder. Attacks of both sides are judged by the model in PyTorch. Bounds are CROWN with
adaptive slopes, intermediate bounds by CROWN too: ours in float64, once in real arithmetic, as the peer, and once with the terms that
make bounds hold for the model as deployed in float32.

A ratio is the peer's time / ours: above 1, ours is faster; it is the median over rounds. The ratio of CPU time, of all cores, is
less disturbed by what else the machine does.
"""

import argparse
import collections
import importlib.util
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

ROOT = pathlib.Path(__file__).resolve().parents[2]
ATTACKS = ["pgd", "autoattack", "cw", "cw-all-steps", "square", "square-l2", "hopskipjump", "surfree"]
AUTO = ["autoattack", "square", "square-l2"]  # whose peer is auto-attack
TRAININGS = ["training"]
PATCHES = ["patch"]
BOUNDS = ["cnn", "acas"]


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


class Contrast(torch.nn.Module):
    """zoo.ContrastNormalised: each picture by itself."""

    def forward(self, x):
        flat = x.flatten(1)
        flat = flat - flat.mean(1, keepdim=True)
        return (flat * torch.rsqrt(flat.square().mean(1, keepdim=True) + 1e-4)).view_as(x)


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

        layers = [Contrast()] if kind == "signs" else []
        convolutions = sum(k.startswith("conv") and k.endswith("/w") for k in weights)
        for k in range(convolutions):
            if kind == "madry":
                layer, channels = conv(k, padding=2)
                layers += [layer, nn.ReLU(), nn.MaxPool2d(2)]
            else:
                layer, channels = conv(k, stride=2, padding=1)
                layers += [layer, nn.ReLU()]
        layers += [nn.Flatten(), dense(convolutions, channels), nn.ReLU(), dense(convolutions + 1)]
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


class Spent(Exception):
    """The budget of queries is used up."""


class Nearest(torch.nn.Module):
    """A model that is asked about all images at once, so and so often, and remembers the nearest adversarial point of each."""

    def __init__(self, model, x, y, queries):
        super().__init__()
        self.model, self.x, self.y, self.left = model, x, y, queries
        self.best, self.norm = x.clone(), torch.full((len(x),), float("inf"))
        self.eval()

    def forward(self, v):
        if self.left == 0:
            raise Spent
        self.left -= 1
        with torch.no_grad():
            z = self.model(v)
            norm = (v - self.x).flatten(1).norm(dim=1)
            nearer = (z.argmax(1) != self.y) & (norm < self.norm)
            self.norm, self.best = torch.where(nearer, norm, self.norm), torch.where(nearer[:, None, None, None], v, self.best)
        return z


class Attack:
    """An attack of a peer's on our model, and what both sides' adversarial examples are worth."""

    def __init__(self, name, folder, args):
        self.name, self.folder, self.w = name, folder, json.loads((folder / f"{name}.json").read_text())
        self.arrays = np.load(folder / f"{name}.npz")
        self.x = torch.tensor(self.arrays["x"]).permute(0, 3, 1, 2).contiguous()
        self.y = torch.tensor(self.arrays["y"].astype(np.int64))
        self.model = Model(self.w["Model"], self.arrays)
        self.run_peer, peer = self.peer(args)
        self.what, self.peers = self.w["Attack"], {peer: self.turn}

    def peer(self, args):
        """Returns the peer's attack as a function, and its name."""
        w, model, x, y = self.w, self.model, self.x, self.y
        if self.name == "pgd":
            import torchattacks

            attack = torchattacks.PGD(model, eps=w["Epsilon"], alpha=w["Step"], steps=w["Steps"], random_start=True)
            return lambda: attack(x, y), f"torchattacks {torchattacks.__version__}"
        if self.name in AUTO:
            if args.auto_attack:
                sys.path.insert(0, args.auto_attack)
            try:
                from autoattack import AutoAttack
                from autoattack.square import SquareAttack
            except ImportError as e:
                raise SystemExit(f"compare.py: {self.name}: {e}: name a checkout of its authors' repository by --auto-attack")
            if w["Queries"]:
                attack = SquareAttack(model, norm=w["Norm"], eps=w["Epsilon"], n_queries=w["Queries"], resc_schedule=False, device="cpu")
                return lambda: attack.perturb(x, y), "auto-attack"
            attack = AutoAttack(model, norm="Linf", eps=w["Epsilon"], version="standard", device="cpu", verbose=False)
            return lambda: attack.run_standard_evaluation(x, y, bs=len(x)), "auto-attack"
        import foolbox

        if w["Queries"]:
            make = foolbox.attacks.HopSkipJumpAttack if self.name == "hopskipjump" else foolbox.attacks.BoundaryAttack

            def asked():
                nearest = Nearest(model, x, y, w["Queries"])
                try:
                    make().run(foolbox.PyTorchModel(nearest, bounds=(0, 1), device="cpu"), x, foolbox.criteria.Misclassification(y))
                except Spent:
                    pass
                return nearest.best

            return asked, f"foolbox {foolbox.__version__}"
        wrapped = foolbox.PyTorchModel(model, bounds=(0, 1), device="cpu")
        attack = foolbox.attacks.L2CarliniWagnerAttack(
            binary_search_steps=w["Rounds"], steps=w["Steps"], stepsize=w["Step"], initial_const=1e-3, abort_early=w["Abort"])
        return lambda: attack(wrapped, x, y.long(), epsilons=None)[0], f"foolbox {foolbox.__version__}"

    def turn(self):
        self.model.reset()
        start, used = time.perf_counter(), time.process_time()
        adv = self.run_peer().detach()
        seconds, used = time.perf_counter() - start, time.process_time() - used
        n = len(self.x)
        return dict(Seconds=seconds, CPU=used, Forward=self.model.forward_passes / n, Backward=self.model.backward_passes / n, adv=adv)

    def taken(self, reply):
        """Reads the adversarial examples that our turn has left."""
        adv = np.fromfile(self.folder / f"{self.name}.f32", np.float32).reshape(self.arrays["x"].shape)
        return reply | dict(adv=torch.tensor(adv).permute(0, 3, 1, 2).contiguous())

    def judge(self, reply):
        """The robust accuracy, or the median L2 norm over correctly classified examples, a failure's being infinite; and the passes."""
        adv = reply["adv"]
        with torch.no_grad():
            clean, after = self.model(self.x).argmax(1), self.model(adv).argmax(1)
        delta = (adv - self.x).flatten(1)
        if self.w["Epsilon"]:
            worst = delta.norm(dim=1, p=float(self.w["Norm"][1:])).max().item()
            if worst > self.w["Epsilon"] * (1 + 1e-5):
                raise SystemExit(f"compare.py: {self.name}: a perturbation of {worst} lies outside of the ball of {self.w['Epsilon']}")
        right = clean == self.y
        norm = delta.norm(dim=1)
        norm[after == self.y] = float("inf")
        passes = f"{reply['Forward']:.0f} + {reply.get('Backward', 0):.0f} passes"
        if self.w["Epsilon"]:
            return f"robust {(right & (after == self.y)).float().mean().item():.4f}, {passes}"
        return f"median L2 norm {norm[right].median().item():.4f}, {passes}"

    def answers(self, mine, theirs):
        return f"{self.judge(mine[-1])} / {self.judge(theirs[-1])}"


def pgd(model, x, y, eps, step, steps):
    """Projected gradient ascent on the cross-entropy in Linf, from a random start."""
    at = (x + torch.empty_like(x).uniform_(-eps, eps)).clamp(0, 1)
    for _ in range(steps):
        at.requires_grad_(True)
        (slope,) = torch.autograd.grad(torch.nn.functional.cross_entropy(model(at), y), at)
        at = torch.min(torch.max(at.detach() + step * slope.sign(), x - eps), x + eps).clamp(0, 1)
    return at


class Training:
    """Peers' adversarial training of the same network from the same weights, on the same images, for as many epochs."""

    def __init__(self, name, folder, args):
        self.name, self.folder, self.w = name, folder, json.loads((folder / f"{name}.json").read_text())
        self.arrays = np.load(folder / f"{name}.npz")
        self.x, self.y = self.images("x"), torch.tensor(self.arrays["y"].astype(np.int64))
        self.tests = self.images("test_x"), torch.tensor(self.arrays["test_y"].astype(np.int64))
        self.what, self.peers = self.w["Attack"], {f"plain PyTorch {torch.__version__}": lambda: self.turn(self.plain)}
        self.turns = collections.Counter()
        try:
            import art

            self.peers[f"ART {art.__version__}"] = lambda: self.turn(self.art)
        except ImportError as e:
            print(f"compare.py: training without ART: {e}", file=sys.stderr)

    def images(self, name):
        return torch.tensor(self.arrays[name]).permute(0, 3, 1, 2).contiguous()

    def fresh(self, arrays=None, turn=0):
        prefix = f"weights{turn % self.w['Seeds']}"
        net = Model("small", arrays or {"weights" + k[len(prefix):]: v for k, v in self.arrays.items() if k.startswith(prefix)}).net
        net.requires_grad_(True)
        return net, torch.optim.Adam(net.parameters(), lr=self.w["Rate"])

    def plain(self, turn):
        w, (net, optimizer) = self.w, self.fresh(turn=turn)
        for _ in range(w["Epochs"]):
            order = torch.randperm(len(self.x))
            for k in range(len(self.x) // w["Batch"]):
                rows = order[k * w["Batch"]:(k + 1) * w["Batch"]]
                x, y = self.x[rows], self.y[rows]
                at = pgd(net, x, y, w["Epsilon"], w["Step"], w["Steps"])
                optimizer.zero_grad()
                torch.nn.functional.cross_entropy(net(at), y).backward()
                optimizer.step()
        return net

    def art(self, turn):
        from art.defences.trainer import AdversarialTrainerMadryPGD
        from art.estimators.classification import PyTorchClassifier

        w, (net, optimizer) = self.w, self.fresh(turn=turn)
        classifier = PyTorchClassifier(net, torch.nn.CrossEntropyLoss(), tuple(self.x.shape[1:]), 10, optimizer=optimizer,
                                       clip_values=(0, 1), device_type="cpu")
        trainer = AdversarialTrainerMadryPGD(classifier, nb_epochs=w["Epochs"], batch_size=w["Batch"], eps=w["Epsilon"],
                                             eps_step=w["Step"], max_iter=w["Steps"], num_random_init=1)
        trainer.fit(self.x.numpy(), np.eye(10, dtype=np.float32)[self.arrays["y"]])
        return net

    def turn(self, train):
        start, used = time.perf_counter(), time.process_time()
        net = train(self.turns[train.__name__])
        self.turns[train.__name__] += 1
        return dict(Seconds=time.perf_counter() - start, CPU=time.process_time() - used, net=net.eval())

    def taken(self, reply):
        """Reads the weights that our turn has left."""
        flat, at, arrays = np.fromfile(self.folder / f"{self.name}.f32", np.float32), 0, {}
        for key in sorted((k for k in self.arrays.files if k.startswith("weights0")), key=lambda k: k.replace("__", "/")):
            shape = self.arrays[key].shape
            arrays[key.replace("weights0", "weights", 1)] = flat[at:at + int(np.prod(shape))].reshape(shape)
            at += int(np.prod(shape))
        return reply | dict(net=self.fresh(arrays)[0].eval())

    def judge(self, replies):
        """Clean accuracy, and what PGD with 40 steps leaves, on images that nobody trained on: the mean over rounds, and the range."""
        x, y = self.tests
        figures = []
        for reply in replies:
            at = pgd(reply["net"], x, y, self.w["Epsilon"], self.w["Epsilon"] / 10, 40)
            with torch.no_grad():
                figures.append([(reply["net"](v).argmax(1) == y).float().mean().item() for v in (x, at)])
        clean, robust = np.array(figures).T
        return f"clean {clean.mean():.3f}, robust {robust.mean():.3f} ({robust.min():.3f}-{robust.max():.3f})"

    def answers(self, mine, theirs):
        return f"{self.judge(mine)} / {self.judge(theirs)}"


class Patch:
    """ART's AdversarialPatch of the same area at the same place, after as many steps on the same views of stop signs.

    ART pastes a patch into finished pictures: turned at random, in a size of a range, around a pixel that a mask allows. The mask has
    the pixel in the middle of ours, turns and sizes have the range that ours has in these views. Each patch is judged on fresh views of
    other signs, three times: printed and on a screen by ours, and as ART itself pastes it.
    """

    def __init__(self, name, folder, args):
        import art
        from art.estimators.classification import PyTorchClassifier

        self.name, self.folder, self.w = name, folder, json.loads((folder / f"{name}.json").read_text())
        arrays = np.load(folder / f"{name}.npz")
        self.x, self.fresh = (np.ascontiguousarray(arrays[k].transpose(0, 3, 1, 2)) for k in ("x", "fresh"))
        edge = self.x.shape[-1]
        self.places, sides, turns = self.seen(arrays["at"] * edge)
        self.fresh_places, self.fresh_sides, _ = self.seen(arrays["fresh_at"] * edge)
        self.range = dict(rotation_max=float(np.abs(turns).max()), scale_min=float(sides.min() / edge), scale_max=float(sides.max() / edge))
        model = Model("signs", arrays)
        self.classifier = PyTorchClassifier(model, torch.nn.CrossEntropyLoss(), self.x.shape[1:], self.w["Classes"], clip_values=(0, 1), device_type="cpu")
        self.what, self.peers, self.turns, self.known = self.w["Attack"], {}, collections.Counter(), {}
        for setting in args.art.split(","):
            optimizer, rate, texels = setting.split(":")
            settings = dict(optimizer=optimizer, learning_rate=float(rate), patch_shape=(3, int(texels), int(texels)), **self.range)
            self.peers[f"ART {art.__version__}, {optimizer} {rate}, {texels} x {texels}"] = lambda s=settings, n=setting: self.turn(s, n)

    @staticmethod
    def seen(corners):
        """Of a patch in each view: the pixel in its middle as ART's mask, the side of a square of its area, and how it is turned, in degrees."""
        x, y = corners[..., 0], corners[..., 1]
        area = sum(x[:, k] * y[:, (k + 1) % 4] - x[:, (k + 1) % 4] * y[:, k] for k in range(4)) / 2
        middle = np.rint(corners.mean(1)).astype(int)
        return middle, np.sqrt(area), np.degrees(np.arctan2(y[:, 1] - y[:, 0], x[:, 1] - x[:, 0]))

    def masks(self, places):
        mask = np.zeros((len(places), *self.x.shape[2:]), bool)
        mask[np.arange(len(places)), places[:, 1], places[:, 0]] = True
        return mask

    def attack(self, settings):
        from art.attacks.evasion import AdversarialPatchPyTorch

        epochs, rest = divmod(self.w["Steps"] * self.w["Batch"], len(self.x))
        assert rest == 0, "as many steps as ours are no whole number of epochs"
        return AdversarialPatchPyTorch(self.classifier, max_iter=epochs, batch_size=self.w["Batch"], patch_type="square", targeted=True, verbose=False, **settings)

    def turn(self, settings, name):
        seed = self.turns[name]
        self.turns[name] += 1
        np.random.seed(seed)
        torch.manual_seed(seed)
        start, used = time.perf_counter(), time.process_time()
        attack = self.attack(settings)
        target = np.eye(self.w["Classes"], dtype=np.float32)[[self.w["Target"]] * len(self.x)]
        patch, _ = attack.generate(self.x, target, mask=self.masks(self.places))
        return dict(Seconds=time.perf_counter() - start, CPU=time.process_time() - used, patch=patch.transpose(1, 2, 0).astype(np.float32))

    def taken(self, reply):
        """Reads the patch that our turn has left."""
        side = self.w["Texels"]
        return reply | dict(patch=np.fromfile(self.folder / f"{self.name}.f32", np.float32).reshape(side, side, 3))

    def judge(self, patch):
        """On how many fresh views it works: printed, on a screen, and as ART pastes it."""
        key = patch.tobytes()
        if key not in self.known:
            np.savez(self.folder / "patch-judged.npz", patches=patch[None])
            self.known[key] = self.ours.turn(self.name, "judge")["Hits"][0] + [self.pasted(patch)]
        return self.known[key]

    def pasted(self, patch):
        settings = dict(optimizer="Adam", learning_rate=1.0, patch_shape=(3, *patch.shape[:2]), **self.range)
        attack, edge = self.attack(settings), self.x.shape[-1]
        np.random.seed(0)
        torch.manual_seed(0)
        masks = self.masks(self.fresh_places)
        views = np.concatenate([attack.apply_patch(self.fresh[k:k + 1], self.fresh_sides[k] / edge, patch.transpose(2, 0, 1), masks[k:k + 1])
                                for k in range(len(self.fresh))])
        return int((self.classifier.predict(views).argmax(1) == self.w["Target"]).sum())

    def recorded(self, mine, theirs):
        """By judge, of ours and of the peer, on how many fresh views the patch of each round works."""
        counts = [[self.judge(t["patch"]) for t in turns] for turns in (mine, theirs)]
        return {judge: [[c[k] for c in side] for side in counts] for k, judge in enumerate(("printed", "on a screen", "as ART pastes"))}

    def answers(self, mine, theirs):
        def said(counts):
            shares = np.array(counts) / self.w["Fresh"]
            return f"{shares.mean():.3f} ({shares.min():.3f}-{shares.max():.3f})"

        return ", ".join(f"{judge} {said(ours)} / {said(peers)}" for judge, (ours, peers) in self.recorded(mine, theirs).items())


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


class Bounds:
    """auto_LiRPA's bounds of the same margins on the same boxes, in both precisions."""

    def __init__(self, name, folder, args):
        arrays = np.load(folder / f"{name}.npz")
        self.what, self.peers, self.exact = f"CROWN, {len(arrays['y'])} boxes", {}, None
        for dtype in (torch.float32, torch.float64):
            net, shape = cnn(args.cnn) if name == "cnn" else acas(args.acas)
            self.peers[f"auto_LiRPA {str(dtype)[6:]}"] = self.peer(net, shape, arrays, dtype)

    def peer(self, net, shape, arrays, dtype):
        from auto_LiRPA import BoundedModule, BoundedTensor, PerturbationLpNorm

        lower, upper = (torch.tensor(arrays[k]).reshape(-1, *shape).to(dtype) for k in ("lower", "upper"))
        labels, net = arrays["y"], net.to(dtype).eval()
        classes = net[-1].out_features
        rows = torch.zeros(len(labels), classes - 1, classes, dtype=dtype)
        for i, y in enumerate(labels):
            for k, j in enumerate(j for j in range(classes) if j != y):
                rows[i, k, y], rows[i, k, j] = 1, -1
        module = BoundedModule(net, torch.empty_like(lower))

        def turn():
            start, used = time.perf_counter(), time.process_time()
            x = BoundedTensor((lower + upper) / 2, PerturbationLpNorm(norm=np.inf, x_L=lower, x_U=upper))
            margins, _ = module.compute_bounds(x=(x,), C=rows, method="CROWN", bound_upper=False)
            reply = dict(Seconds=time.perf_counter() - start, CPU=time.process_time() - used, Margins=margins.detach().double().numpy())
            if dtype == torch.float64:
                self.exact = reply["Margins"]
            return reply

        return turn

    def taken(self, reply):
        return reply

    def answers(self, mine, theirs):
        difference = np.array(mine[-1]["Margins"]) - self.exact
        return f"margins differ from the peer's in float64 by at most {np.max(np.abs(difference)):.1e}, above it by {max(0, np.max(difference)):.1e}"


class Ours:
    """Our side: a Go program that takes a turn when it is told to."""

    def __init__(self, folder, args, names):
        program = folder / "bench"
        subprocess.run(["go", "build", "-o", program, "./advlib/bench"], cwd=ROOT, check=True)
        flags = ["-examples", str(args.examples), "-cnn", os.path.abspath(args.cnn)] + (["-acas", os.path.abspath(args.acas)] if args.acas else [])
        self.process = subprocess.Popen([program, *flags, folder, *names], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.turns = self.answer()

    def answer(self):
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit("compare.py: our side has ended; its error is above")
        return json.loads(line)

    def turn(self, workload, name):
        print(f"{workload}/{name}", file=self.process.stdin, flush=True)
        return self.answer()

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def compare(ours, name, args, folder):
    """Returns a row for each pair of a turn of ours and one of a peer's."""
    kinds = {Attack: ATTACKS, Training: TRAININGS, Patch: PATCHES, Bounds: BOUNDS}
    peer = next(kind for kind, names in kinds.items() if name in names)(name, folder, args)
    peer.ours = ours
    mine = {k: (lambda k=k: peer.taken(ours.turn(name, k))) for k in ours.turns[name]}
    turns = mine | peer.peers
    first = {} if args.cold else {k: turn() for k, turn in mine.items()}  # compiles
    times = {k: [] for k in turns}
    for r in range(args.rounds):
        for k in (reversed(list(turns)) if r % 2 else turns):
            times[k].append(turns[k]())
            first.setdefault(k, times[k][-1])
        print(f"  {name} round {r + 1}: " + ", ".join(f"{k} {v[-1]['Seconds']:.2f} s (CPU {v[-1]['CPU']:.2f})" for k, v in times.items()), file=sys.stderr, flush=True)

    def middle(who, what):
        return statistics.median(t[what] for t in times[who])

    rows = []
    for m in mine:
        for p in peer.peers:
            ratios = {what: sorted(t[what] / o[what] for o, t in zip(times[m], times[p])) for what in ("Seconds", "CPU")}
            rows.append(dict(
                workload=name, what=peer.what, ours=m, peer=p, rounds=args.rounds,
                wall=(statistics.median(ratios["Seconds"]), ratios["Seconds"][0], ratios["Seconds"][-1]),
                cpu=(statistics.median(ratios["CPU"]), ratios["CPU"][0], ratios["CPU"][-1]),
                seconds=(middle(m, "Seconds"), middle(p, "Seconds")), cpu_seconds=(middle(m, "CPU"), middle(p, "CPU")),
                answers=peer.answers(times[m], times[p]),
                **({"works": peer.recorded(times[m], times[p])} if name in PATCHES else {}),
                programs=first[m]["Programs"], first=first[m]["Seconds"], later=sum(t["Programs"] for t in times[m]),
            ))
    return rows


def table(rows):
    lines = [
        "| workload | ours | peer | ratio of wall time, median (range) of rounds | ratio of CPU time | seconds, ours / peer | CPU seconds, ours / peer | answers, ours / peer | programs; first run |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for r in rows:
        lines.append(
            f"| {r['workload']}: {r['what']} | {r['ours']} | {r['peer']} | **{r['wall'][0]:.2f}** ({r['wall'][1]:.2f}-{r['wall'][2]:.2f}) of {r['rounds']} "
            f"| {r['cpu'][0]:.2f} ({r['cpu'][1]:.2f}-{r['cpu'][2]:.2f}) | {r['seconds'][0]:.2f} / {r['seconds'][1]:.2f} | {r['cpu_seconds'][0]:.2f} / {r['cpu_seconds'][1]:.2f} "
            f"| {r['answers']} | {r['programs']}, later {r['later']}; {r['first']:.1f} s |"
        )
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workloads", nargs="*", metavar="WORKLOAD", help="which: " + ", ".join(ATTACKS + TRAININGS + PATCHES + BOUNDS))
    parser.add_argument("--rounds", type=int, default=5, help="turns of each side (5)")
    parser.add_argument("--examples", type=int, default=128, help="how many images are attacked (128)")
    parser.add_argument("--threads", type=int, default=0, help="threads of PyTorch; 1 shows its CPU time without waiting for each other (its own default)")
    parser.add_argument("--cold", action="store_true", help="let our first turn, which compiles, count")
    parser.add_argument("--auto-attack", default="", help="folder of a checkout of auto-attack")
    parser.add_argument("--art", default="Adam:0.02:12,pgd:0.02:12", help="for patch, ART's settings OPTIMIZER:RATE:TEXELS, separated by commas")
    parser.add_argument("--lirpa", default="", help="folder of a checkout of auto_LiRPA")
    parser.add_argument("--cnn", default=str(ROOT / "advlib/attack/attacktest/testdata/cnn-mnist-adv.npz"), help="the reference vectors (the checkout's, 8 examples)")
    parser.add_argument("--acas", default="", help="ONNX file of network 1_1 of ACAS Xu")
    parser.add_argument("--folder", default=os.path.join(tempfile.gettempdir(), "advlab-bench"), help="where models, examples and boxes are left")
    parser.add_argument("--json", default="", help="write the figures to this file too")
    args = parser.parse_args()
    there = [n for n in ATTACKS if n not in AUTO or args.auto_attack] + TRAININGS + (PATCHES if importlib.util.find_spec("art") else []) + [n for n in BOUNDS if args.lirpa and (n == "cnn" or args.acas)]
    names = args.workloads or there
    for name in names:
        if name not in ATTACKS + TRAININGS + PATCHES + BOUNDS:
            parser.error(f"there is no workload {name!r}; there are {', '.join(ATTACKS + TRAININGS + PATCHES + BOUNDS)}")
        if name in BOUNDS and (not args.lirpa or name == "acas" and not args.acas):
            parser.error(f"{name} needs --lirpa" + (" and --acas" if name == "acas" else ""))
    if args.lirpa:
        sys.path.insert(0, args.lirpa)
    torch.manual_seed(0)
    if args.threads:
        torch.set_num_threads(args.threads)
    folder = pathlib.Path(args.folder)
    folder.mkdir(parents=True, exist_ok=True)
    ours = Ours(folder, args, names)
    rows = [row for name in names for row in compare(ours, name, args, folder)]
    ours.close()
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, {args.examples} images, load average {os.getloadavg()[0]:.0f} on {os.cpu_count()} cores\n")
    print(table(rows))
    if args.json:
        pathlib.Path(args.json).write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
