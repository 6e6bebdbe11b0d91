"""Exports 150 small PyTorch modules in four ways each: by the older exporter (TorchScript) and by the newer one (dynamo),
with the batch open and fixed at 1. Writes NAME.EXPORTER.BATCH.onnx, and NAME.npz with inputs x [3, ...] and the logits y [3, k]
that PyTorch computes, one example at a time. What an exporter itself cannot write is listed in failed.txt. Nothing of this is kept in the project:
TestTorchExports reads the folder. Written for torch 2.9.1, onnx 1.23.2, onnxscript 0.7.2 and numpy 2.4.6:

    python torch_exports.py FOLDER
    ADVLAB_TORCH=FOLDER go test -run TestTorchExports -v advlab/advlib/onnx
"""
import contextlib, io, logging, math, os, sys, traceback, warnings

import numpy as np, torch
import torch.nn.functional as F
from torch import nn

warnings.filterwarnings("ignore")
logging.disable(logging.CRITICAL)


class Fn(nn.Module):
    """A function of the input as a module."""

    def __init__(self, f, **parts):
        super().__init__()
        self.f = f
        for k, v in parts.items():
            setattr(self, k, v)

    def forward(self, x):
        return self.f(self, x)


def fn(f, **parts):
    return lambda: Fn(f, **parts)


class Residual(nn.Module):
    def __init__(self, c, stride=1):
        super().__init__()
        self.a = nn.Sequential(nn.Conv2d(c, 2 * c, 3, stride, 1, bias=False), nn.BatchNorm2d(2 * c), nn.ReLU(), nn.Conv2d(2 * c, 2 * c, 3, 1, 1, bias=False), nn.BatchNorm2d(2 * c))
        self.b = nn.Sequential(nn.Conv2d(c, 2 * c, 1, stride, bias=False), nn.BatchNorm2d(2 * c))

    def forward(self, x):
        return F.relu(self.a(x) + self.b(x))


class Inverted(nn.Module):
    def __init__(self, c, act):
        super().__init__()
        self.f = nn.Sequential(nn.Conv2d(c, 4 * c, 1), nn.BatchNorm2d(4 * c), act(), nn.Conv2d(4 * c, 4 * c, 3, 1, 1, groups=4 * c), nn.BatchNorm2d(4 * c), act(), nn.Conv2d(4 * c, c, 1), nn.BatchNorm2d(c))

    def forward(self, x):
        return x + self.f(x)


class SqueezeExcite(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.f = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(c, 4, 1), nn.ReLU(), nn.Conv2d(4, c, 1), nn.Hardsigmoid())

    def forward(self, x):
        return x * self.f(x)


class Vit(nn.Module):
    def __init__(self, d=16, heads=2, sdpa=False):
        super().__init__()
        self.patch = nn.Conv2d(3, d, 4, 4)
        self.cls = nn.Parameter(torch.randn(1, 1, d))
        self.pos = nn.Parameter(torch.randn(1, 5, d))
        self.n1, self.n2 = nn.LayerNorm(d), nn.LayerNorm(d)
        self.qkv, self.proj = nn.Linear(d, 3 * d), nn.Linear(d, d)
        self.mlp = nn.Sequential(nn.Linear(d, 2 * d), nn.GELU(), nn.Linear(2 * d, d))
        self.heads, self.sdpa = heads, sdpa

    def forward(self, x):
        x = self.patch(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.cls.expand(x.shape[0], -1, -1), x], 1) + self.pos
        b, n, d = x.shape
        q, k, v = self.qkv(self.n1(x)).reshape(b, n, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4).unbind(0)
        if self.sdpa:
            a = F.scaled_dot_product_attention(q, k, v)
        else:
            a = ((q @ k.transpose(-2, -1)) / math.sqrt(d // self.heads)).softmax(-1) @ v
        x = x + self.proj(a.transpose(1, 2).reshape(b, n, d))
        x = x + self.mlp(self.n2(x))
        return x[:, 0]


class Unet(nn.Module):
    def __init__(self, up):
        super().__init__()
        self.d1, self.d2, self.u = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 16, 3, padding=1), nn.Conv2d(24, 8, 3, padding=1)
        self.up = up

    def forward(self, x):
        a = F.relu(self.d1(x))
        b = F.relu(self.d2(F.max_pool2d(a, 2)))
        return F.relu(self.u(torch.cat([self.up(b), a], 1))).mean((2, 3))


class Mha(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = nn.MultiheadAttention(8, 2, batch_first=True)

    def forward(self, x):
        return self.a(x, x, x, need_weights=False)[0]


class Dense(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(7, 4, 3, padding=1)

    def forward(self, x):
        x = torch.cat([x, F.relu(self.a(x))], 1)
        return torch.cat([x, F.relu(self.b(x))], 1)


def shuffle(_, x):
    b, c, h, w = x.shape
    return x.view(b, 2, c // 2, h, w).transpose(1, 2).reshape(b, c, h, w)


def window_attention(m, x):
    b, c, h, w = x.shape
    x = x.view(b, c, h // 4, 4, w // 4, 4).permute(0, 2, 4, 3, 5, 1).reshape(-1, 16, c)
    x = (x @ x.transpose(1, 2)).softmax(-1) @ x
    return x.view(b, h // 4, w // 4, 4, 4, c).permute(0, 5, 1, 3, 2, 4).reshape(b, c, h, w)


mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
image, vector, sequence = (3, 8, 8), (10,), (6, 8)
modules = []  # name, maker, input


def add(name, maker, shape=image):
    modules.append((name, maker, shape))


# 40 activations and functions on elements.
for act in [nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.CELU, nn.SELU, nn.GELU, nn.SiLU, nn.Mish, nn.Softplus, nn.Softsign, nn.Tanh, nn.Sigmoid, nn.Hardsigmoid,
            nn.Hardswish, nn.Hardtanh, nn.LogSigmoid, nn.PReLU, nn.Hardshrink, nn.Softshrink, nn.Tanhshrink]:
    add("act_" + act.__name__, lambda act=act: nn.Sequential(nn.Linear(10, 8), act()), vector)
add("act_GELU_tanh", lambda: nn.GELU("tanh"), vector)
add("act_Threshold", lambda: nn.Threshold(0.1, 0.5), vector)
add("act_PReLU_channels", lambda: nn.PReLU(3))
add("act_GLU", lambda: nn.GLU(1), vector)
add("act_RReLU", lambda: nn.RReLU(), vector)
add("f_clamp", fn(lambda m, x: x.clamp(-0.3, 0.5)), vector)
add("f_abs_sqrt", fn(lambda m, x: (x.abs() + 0.1).sqrt()), vector)
add("f_exp_log", fn(lambda m, x: torch.log(1 + torch.exp(x))), vector)
add("f_pow", fn(lambda m, x: x ** 2 + x.pow(3)), vector)
add("f_rsqrt", fn(lambda m, x: torch.rsqrt(x * x + 0.5)), vector)
add("f_sin_cos", fn(lambda m, x: torch.sin(x) + torch.cos(3 * x)), vector)
add("f_atan_sinh", fn(lambda m, x: torch.atan(x) + torch.sinh(x)), vector)
add("f_where", fn(lambda m, x: torch.where(x > 0, x, 0.1 * x)), vector)
add("f_mask", fn(lambda m, x: x * (x > 0.2)), vector)
add("f_round", fn(lambda m, x: torch.round(x * 8) / 8), vector)
add("f_floor_sign", fn(lambda m, x: torch.floor(x * 3) + torch.sign(x)), vector)
add("f_erf", fn(lambda m, x: torch.erf(x)), vector)
add("f_maximum", fn(lambda m, x: torch.maximum(x, -0.5 * x)), vector)
add("f_remainder", fn(lambda m, x: torch.fmod(x, 0.7)), vector)
# 25 convolutions.
for name, conv in {
    "plain": lambda: nn.Conv2d(3, 4, 3), "pad": lambda: nn.Conv2d(3, 4, 3, padding=1), "same": lambda: nn.Conv2d(3, 4, 4, padding="same"), "stride": lambda: nn.Conv2d(3, 4, 3, 2),
    "dilated": lambda: nn.Conv2d(3, 4, 3, dilation=2), "strided_dilated": lambda: nn.Conv2d(3, 4, 3, 2, 2, dilation=2), "groups": lambda: nn.Conv2d(3, 6, 3, groups=3),
    "depthwise_strided": lambda: nn.Conv2d(3, 3, 3, 2, 1, groups=3), "rectangle": lambda: nn.Conv2d(3, 4, (3, 2), (1, 2), (1, 0)), "reflect": lambda: nn.Conv2d(3, 4, 3, padding=1, padding_mode="reflect"),
    "replicate": lambda: nn.Conv2d(3, 4, 3, padding=1, padding_mode="replicate"), "circular": lambda: nn.Conv2d(3, 4, 3, padding=1, padding_mode="circular"), "one": lambda: nn.Conv2d(3, 4, 1),
    "nobias_bn": lambda: nn.Sequential(nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4)), "atrous_groups": lambda: nn.Conv2d(3, 6, 2, 2, dilation=3, groups=3),
}.items():
    add("conv_" + name, conv)
add("conv_1d", lambda: nn.Conv1d(6, 4, 3, padding=1), sequence)
add("conv_1d_strided_dilated", lambda: nn.Conv1d(6, 4, 2, stride=2, dilation=2), sequence)
add("conv_3d", lambda: nn.Conv3d(2, 3, 2), (2, 4, 4, 4))
for name, conv in {
    "plain": lambda: nn.ConvTranspose2d(3, 4, 3), "stride": lambda: nn.ConvTranspose2d(3, 4, 2, 2), "output_padding": lambda: nn.ConvTranspose2d(3, 4, 3, 2, 1, output_padding=1),
    "groups": lambda: nn.ConvTranspose2d(3, 6, 3, 2, groups=3), "dilated": lambda: nn.ConvTranspose2d(3, 4, 3, 2, dilation=2), "pad": lambda: nn.ConvTranspose2d(3, 4, 4, 2, 1),
}.items():
    add("deconv_" + name, conv)
add("deconv_1d", lambda: nn.ConvTranspose1d(6, 4, 3, 2), sequence)
# 19 pools.
for name, pool in {
    "max": lambda: nn.MaxPool2d(2), "max_pad": lambda: nn.MaxPool2d(3, 2, 1), "max_ceil": lambda: nn.MaxPool2d(3, 2, ceil_mode=True), "max_dilated": lambda: nn.MaxPool2d(2, dilation=2),
    "max_strided_dilated": lambda: nn.MaxPool2d(2, 2, dilation=2), "avg": lambda: nn.AvgPool2d(2), "avg_pad": lambda: nn.AvgPool2d(3, 2, 1), "avg_ceil": lambda: nn.AvgPool2d(3, 2, 1, ceil_mode=True),
    "avg_exclude": lambda: nn.AvgPool2d(3, 2, 1, count_include_pad=False), "adaptive_avg_1": lambda: nn.AdaptiveAvgPool2d(1), "adaptive_avg_4": lambda: nn.AdaptiveAvgPool2d(4),
    "adaptive_max_1": lambda: nn.AdaptiveMaxPool2d(1), "lp": lambda: nn.LPPool2d(2, 2), "mean": fn(lambda m, x: x.mean((2, 3))), "amax": fn(lambda m, x: x.amax((2, 3))),
    "gem": fn(lambda m, x: x.clamp(min=1e-3).pow(3).mean((2, 3)).pow(1 / 3)),
}.items():
    add("pool_" + name, pool)
add("pool_max_1d", lambda: nn.MaxPool1d(2), sequence)
add("pool_avg_1d", lambda: nn.AvgPool1d(3, 1, 1), sequence)
add("pool_max_indices", fn(lambda m, x: F.max_pool2d(x, 2, return_indices=True)[0]))
# 13 normalisations.
add("norm_batch_1d", lambda: nn.Sequential(nn.Linear(10, 6), nn.BatchNorm1d(6)), vector)
add("norm_batch_2d", lambda: nn.BatchNorm2d(3))
add("norm_layer", lambda: nn.LayerNorm(10), vector)
add("norm_layer_2d", lambda: nn.LayerNorm([3, 8, 8]))
add("norm_layer_noaffine", lambda: nn.LayerNorm(8, elementwise_affine=False), sequence)
add("norm_group", lambda: nn.Sequential(nn.Conv2d(3, 6, 3), nn.GroupNorm(2, 6)))
add("norm_group_1", lambda: nn.GroupNorm(1, 3))
add("norm_instance", lambda: nn.InstanceNorm2d(3))
add("norm_instance_affine", lambda: nn.InstanceNorm2d(3, affine=True))
add("norm_rms", lambda: nn.RMSNorm(10), vector)
add("norm_lrn", lambda: nn.LocalResponseNorm(3))
add("norm_l2", fn(lambda m, x: F.normalize(x, dim=1)), vector)
add("norm_weight", lambda: nn.utils.parametrizations.weight_norm(nn.Linear(10, 4)), vector)
# 10 attentions and sequences.
add("attention_mha", Mha, sequence)
add("attention_encoder", lambda: nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), sequence)
add("attention_encoder_gelu", lambda: nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, activation="gelu", norm_first=True), sequence)
add("attention_sdpa", fn(lambda m, x: F.scaled_dot_product_attention(x, x, x)), sequence)
add("attention_causal", fn(lambda m, x: ((x @ x.transpose(1, 2)).masked_fill(torch.triu(torch.ones(6, 6), 1).bool(), -1e9)).softmax(-1) @ x), sequence)
add("attention_einsum", fn(lambda m, x: torch.einsum("bqd,bkd->bqk", x, x).softmax(-1)), sequence)
add("attention_window", fn(window_attention))
add("sequence_lstm", fn(lambda m, x: m.l(x)[0], l=nn.LSTM(8, 6, batch_first=True)), sequence)
add("sequence_gru", fn(lambda m, x: m.l(x)[0], l=nn.GRU(8, 6, batch_first=True)), sequence)
add("sequence_cumsum", fn(lambda m, x: x.cumsum(1)), sequence)
# 13 changes of size.
for name, f in {
    "nearest": lambda m, x: F.interpolate(x, scale_factor=2), "nearest_size": lambda m, x: F.interpolate(x, size=(5, 12)), "bilinear": lambda m, x: F.interpolate(x, scale_factor=2, mode="bilinear"),
    "bilinear_size": lambda m, x: F.interpolate(x, size=(5, 11), mode="bilinear"), "bilinear_corners": lambda m, x: F.interpolate(x, size=(12, 12), mode="bilinear", align_corners=True),
    "bicubic": lambda m, x: F.interpolate(x, scale_factor=2, mode="bicubic"), "nearest_exact": lambda m, x: F.interpolate(x, size=(12, 5), mode="nearest-exact"),
    "down": lambda m, x: F.interpolate(x, scale_factor=0.5), "area": lambda m, x: F.interpolate(x, scale_factor=0.5, mode="area"), "like": lambda m, x: F.interpolate(F.max_pool2d(x, 2), size=x.shape[2:]),
    "antialias": lambda m, x: F.interpolate(x, size=(4, 4), mode="bilinear", antialias=True), "grid": lambda m, x: F.grid_sample(x, F.affine_grid(torch.eye(2, 3).expand(x.shape[0], 2, 3), x.shape)),
}.items():
    add("resize_" + name, fn(f))
add("resize_linear_1d", lambda: nn.Upsample(scale_factor=2, mode="linear"), sequence)
add("resize_module", lambda: nn.Upsample(scale_factor=2, mode="nearest"))
# 7 paddings.
for name, f in {
    "constant": lambda m, x: F.pad(x, (1, 2, 0, 1), value=0.5), "reflect": lambda m, x: F.pad(x, (2, 1, 1, 2), mode="reflect"), "replicate": lambda m, x: F.pad(x, (2, 1, 1, 2), mode="replicate"),
    "circular": lambda m, x: F.pad(x, (1, 2, 2, 1), mode="circular"), "negative": lambda m, x: F.pad(x, (-1, 0, 1, -2)),
}.items():
    add("pad_" + name, fn(f))
add("pad_zero", lambda: nn.ZeroPad2d((0, 1, 0, 1)))
# 28 shapes.
for name, f in {
    "flip": lambda m, x: x.flip(3), "flip_channels": lambda m, x: x.flip(1), "swap_list": lambda m, x: x[:, [2, 1, 0]], "swap_select": lambda m, x: x.index_select(1, torch.tensor([2, 0, 1])),
    "roll": lambda m, x: x.roll(2, 3), "roll_two": lambda m, x: x.roll((1, -1), (2, 3)), "chunk": lambda m, x: torch.cat(x.chunk(2, 2)[::-1], 2), "split": lambda m, x: x.split([1, 2], 1)[1],
    "stack": lambda m, x: torch.stack([x, -x], 1), "permute": lambda m, x: x.permute(0, 2, 3, 1), "view_merge": lambda m, x: x.view(x.shape[0], 3, -1), "slice_step": lambda m, x: x[:, :, ::2, 1::3],
    "select": lambda m, x: x[:, 1, 2:5], "index_pairs": lambda m, x: x[:, :, [0, 3, 5], [1, 1, 7]], "repeat": lambda m, x: x.repeat(1, 2, 1, 2), "repeat_interleave": lambda m, x: x.repeat_interleave(2, 3),
    "expand": lambda m, x: x[:, :1].expand(-1, 4, -1, -1), "unfold": lambda m, x: F.unfold(x, 2, stride=2), "pixel_shuffle": lambda m, x: F.pixel_shuffle(torch.cat([x, x, x, x], 1), 2),
    "pixel_unshuffle": lambda m, x: F.pixel_unshuffle(x, 2), "channel_shuffle": lambda m, x: shuffle(m, torch.cat([x, x], 1)), "tril": lambda m, x: x.tril(), "squeeze": lambda m, x: x.mean(1, keepdim=True).squeeze(1),
    "rot90": lambda m, x: x.rot90(1, (2, 3)), "focus": lambda m, x: torch.cat([x[..., ::2, ::2], x[..., 1::2, ::2]], 1), "diff": lambda m, x: x[..., 1:] - x[..., :-1],
    "assign": lambda m, x: torch.cat([x[:, :1], 2 * x[:, 1:]], 1), "movedim": lambda m, x: x.movedim(1, -1),
}.items():
    add("shape_" + name, fn(f))
# 12 reductions.
for name, f in {
    "sum": lambda m, x: x.sum(2), "prod": lambda m, x: x[:, :, :3].prod(2), "logsumexp": lambda m, x: x.logsumexp(2), "norm": lambda m, x: x.norm(dim=1), "norm1": lambda m, x: x.norm(1, dim=1),
    "var": lambda m, x: x.var(2), "std": lambda m, x: x.std((2, 3)), "max_dim": lambda m, x: x.max(1)[0], "topk": lambda m, x: x.flatten(1).topk(4)[0], "min": lambda m, x: x.amin(2),
    "argmax_onehot": lambda m, x: F.one_hot(x.argmax(1), 3).float(), "softmax_channels": lambda m, x: x.softmax(1),
}.items():
    add("reduce_" + name, fn(f))
# 19 classifiers, with preprocessing.
add("net_mlp", lambda: nn.Sequential(nn.Flatten(), nn.Linear(192, 32), nn.ReLU(), nn.Linear(32, 5)))
add("net_mlp_dropout", lambda: nn.Sequential(nn.Flatten(), nn.Linear(192, 32), nn.Dropout(), nn.Tanh(), nn.Linear(32, 5)))
add("net_lenet", lambda: nn.Sequential(nn.Conv2d(3, 6, 3), nn.Tanh(), nn.AvgPool2d(2), nn.Conv2d(6, 8, 2), nn.Tanh(), nn.Flatten(), nn.Linear(32, 5)))
add("net_vgg", lambda: nn.Sequential(nn.Conv2d(3, 8, 3, 1, 1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 8, 3, 1, 1), nn.ReLU(), nn.MaxPool2d(2), nn.AdaptiveAvgPool2d(2)))
add("net_resnet", lambda: nn.Sequential(nn.Conv2d(3, 4, 3, 1, 1), Residual(4), Residual(8, 2), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 5)))
add("net_mobilenet", lambda: nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), Inverted(4, nn.ReLU6), nn.AdaptiveAvgPool2d(1)))
add("net_mobilenet3", lambda: nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), Inverted(4, nn.Hardswish), SqueezeExcite(4)))
add("net_efficient", lambda: nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), Inverted(4, nn.SiLU), SqueezeExcite(4), nn.AdaptiveAvgPool2d(1)))
add("net_dense", Dense)
add("net_vit", Vit)
add("net_vit_sdpa", lambda: Vit(sdpa=True))
add("net_unet_upsample", lambda: Unet(nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True)))
add("net_unet_transpose", lambda: Unet(nn.ConvTranspose2d(16, 16, 2, 2)))
add("net_convnext", lambda: nn.Sequential(nn.Conv2d(3, 8, 2, 2), Fn(lambda m, x: x + m.g(m.d(x).permute(0, 2, 3, 1)).permute(0, 3, 1, 2), d=nn.Conv2d(8, 8, 3, padding=1, groups=8), g=nn.Sequential(nn.LayerNorm(8), nn.Linear(8, 32), nn.GELU(), nn.Linear(32, 8)))))
add("net_mixer", lambda: nn.Sequential(nn.Conv2d(3, 8, 4, 4), nn.Flatten(2), nn.Linear(4, 8), nn.GELU(), nn.Linear(8, 4)))
add("pre_mean_std", fn(lambda m, x: m.g((x - mean[:, None, None]) / std[:, None, None]), g=nn.Conv2d(3, 4, 3)))
add("pre_bgr", fn(lambda m, x: m.g(x[:, [2, 1, 0]] * 255 - 117), g=nn.Conv2d(3, 4, 3)))
add("pre_channels_last", fn(lambda m, x: m.g(x.permute(0, 3, 1, 2)), g=nn.Conv2d(3, 4, 3)), (8, 8, 3))
add("pre_grey", fn(lambda m, x: m.g((x * torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)).sum(1, keepdim=True)), g=nn.Conv2d(1, 4, 3)))


def main(folder):
    os.makedirs(folder, exist_ok=True)
    failed = open(os.path.join(folder, "failed.txt"), "w")
    wanted = sys.argv[2:]
    print(len(modules), "modules")
    for number, (name, maker, shape) in enumerate(modules):
        if wanted and name not in wanted:
            continue
        torch.manual_seed(number)
        x = torch.rand(3, *shape)
        body = maker().eval()
        with torch.no_grad():
            for norm in body.modules():
                if isinstance(norm, nn.modules.batchnorm._BatchNorm):
                    norm.running_mean.uniform_(-0.5, 0.5)
                    norm.running_var.uniform_(0.5, 1.5)
            features = body(x[:1]).flatten(1).shape[1]
            net = nn.Sequential(body, nn.Flatten(), nn.Linear(features, 5)).eval()
            y = torch.cat([net(x[i:i + 1]) for i in range(3)])
        np.savez(os.path.join(folder, name + ".npz"), x=x.numpy(), y=y.numpy())
        for exporter in "script", "dynamo":
            for batch in "open", "one":
                path = os.path.join(folder, f"{name}.{exporter}.{batch}.onnx")
                if os.path.exists(path):
                    continue
                sample = (x[:2] if batch == "open" else x[:1],)
                options = {}
                try:
                    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
                        if exporter == "script":
                            if batch == "open":
                                options["dynamic_axes"] = {"input": {0: "batch"}}
                            torch.onnx.export(net, sample, path, dynamo=False, input_names=["input"], **options)
                        else:
                            if batch == "open":
                                options["dynamic_shapes"] = ({0: torch.export.Dim("batch", min=1, max=1024)},)
                            torch.onnx.export(net, sample, path, dynamo=True, external_data=False, verbose=False, **options)
                except Exception as e:
                    failed.write(f"{os.path.basename(path)}: {type(e).__name__} {str(e).strip().splitlines()[0][:200] if str(e).strip() else ''}\n")
                    failed.flush()
    failed.close()


if __name__ == "__main__":
    main(sys.argv[1])
