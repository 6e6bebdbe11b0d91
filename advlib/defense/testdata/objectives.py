"""Writes objectives.json: losses and gradients of TRADES, MART and AWP by PyTorch, in float64, from the papers' formulas.

    python objectives.py > objectives.json       # PyTorch 2.9.1

The network is x -> relu(x w0 + b0) w1 + b1, with weights drawn here.
"""
import json
import torch

torch.manual_seed(7)
torch.set_default_dtype(torch.float64)
N, D, H, K = 6, 5, 8, 4


def rounded(t):  # what float32 holds exactly
    return t.float().double()


W = {
    "w0": rounded(torch.randn(D, H) * 0.6),
    "b0": rounded(torch.randn(H) * 0.3),
    "w1": rounded(torch.randn(H, K) * 0.6),
    "b1": rounded(torch.randn(K) * 0.3),
}
x = rounded(torch.rand(N, D))
adv = rounded((x + (torch.rand(N, D) - 0.5) * 0.4).clamp(0, 1))
y = torch.tensor([0, 1, 2, 3, 1, 2])


def net(w, x):
    return torch.relu(x @ w["w0"] + w["b0"]) @ w["w1"] + w["b1"]


def cross_entropy(z):
    return -torch.log_softmax(z, 1).gather(1, y[:, None])[:, 0]


def kl(z, other):  # KL(softmax z || softmax other)
    p, q = torch.log_softmax(z, 1), torch.log_softmax(other, 1)
    return (p.exp() * (p - q)).sum(1)


def madry(w):
    return cross_entropy(net(w, adv)).mean()


def trades(w):  # Zhang et al. 2019, equation 5
    return (cross_entropy(net(w, x)) + 6 * kl(net(w, x), net(w, adv))).mean()


def mart(w):  # Wang et al. 2020, equation 11
    clean, z = torch.softmax(net(w, x), 1), torch.softmax(net(w, adv), 1)
    others = z.scatter(1, y[:, None], 0)
    bce = -z.gather(1, y[:, None])[:, 0].log() - (1 - others.max(1).values).log()
    return (bce + 5 * kl(net(w, x), net(w, adv)) * (1 - clean.gather(1, y[:, None])[:, 0])).mean()


def awp(loss, gamma):  # Wu et al. 2020, algorithm 1, one step of ascent
    def moved(w):
        g = dict(zip(w, torch.autograd.grad(loss(w), list(w.values()), retain_graph=True)))
        there = {}
        for name, v in w.items():
            step = gamma * v.norm() * g[name] / g[name].norm() if v.dim() > 1 else torch.zeros_like(v)
            there[name] = v + step.detach()
        return loss(there)

    return moved


out = {
    "source": "objectives.py, PyTorch " + torch.__version__.split("+")[0],
    "weights": {k: v.tolist() for k, v in W.items()},
    "x": x.tolist(),
    "adversarial": adv.tolist(),
    "y": y.tolist(),
    "objectives": {},
}
for name, loss in {
    "CrossEntropy": madry,
    "TRADES": trades,
    "MART": mart,
    "AWP": awp(madry, 0.005),
    "AWP on TRADES": awp(trades, 0.005),
    "AWP on MART": awp(mart, 0.05),
}.items():
    w = {k: v.clone().requires_grad_() for k, v in W.items()}
    value = loss(w)
    grads = torch.autograd.grad(value, list(w.values()))
    out["objectives"][name] = {"loss": value.item(), "gradients": {k: g.tolist() for k, g in zip(w, grads)}}
print(json.dumps(out, indent=1))
