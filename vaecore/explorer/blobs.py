"""Nets and images as text for a page: base64 with a checksum, never bytes, which some hosts lose."""

import base64
import hashlib
import json
import zlib
from itertools import pairwise

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor, nn

from ..checkpoints import unwrap
from ..m2 import LabelledMLP
from ..vae import ACTIVATIONS

MAX_FLOAT16 = 480_000  # weights that are stored as float16, just under a megabyte; a larger net is stored as int10


def network_blob(
    net: nn.Module, name: str = "net", dtype: str = "auto", *, n_in: int | None = None, n_out: int | None = None
) -> str:
    """Return an MLP (vae.mlp, or m2.LabelledMLP with a one-hot y after its input) for the page, as JSON.

    `dtype` is "float16", "int10" (whole numbers from -511 to 511, each row of weights with a scale of its own) or
    "auto", which takes int10 for nets of more than 480,000 weights. Raises TypeError for any other net, ValueError
    for weights that are not finite, for layers that do not fit, and for sizes other than `n_in` and `n_out`, if given.
    """
    layers = _layers(net, name)
    d_in, d_out = layers[0][0].shape[1], layers[-1][0].shape[0]
    expected = (n_in or d_in, n_out or d_out)
    if (d_in, d_out) != expected:
        raise ValueError(f"{name} must map {expected[0]} numbers to {expected[1]}; got a net from {d_in} to {d_out}.")
    if dtype == "auto":
        n_weights = sum(weight.size for weight, _, _ in layers)
        dtype = "float16" if n_weights <= MAX_FLOAT16 else "int10"
    if dtype not in ("float16", "int10"):
        raise ValueError(f"dtype must be 'auto', 'float16' or 'int10'; got {dtype!r}.")
    packed = []
    for weight, bias, activation in layers:
        layer = dict(bias=pack(bias.astype("<f2")), activation=activation)
        if dtype == "int10":
            scale = np.maximum((np.abs(weight).max(1) / 511).astype("<f2"), np.float16(6e-8))  # the least float16
            whole = np.rint(weight / scale[:, None].astype(np.float32)).clip(-511, 511).astype(np.int16).ravel()
            layer |= dict(weight=pack(_pack_int10(whole), "int10"), scale=pack(scale))
        else:
            layer |= dict(weight=pack(weight.astype("<f2")))
        packed.append(layer)
    return json.dumps(dict(n_in=d_in, layers=packed))


def read_network(blob: str) -> nn.Sequential:
    """Return the net as the page will have it, with its rounded weights."""
    net = json.loads(blob)
    n_in, modules = net["n_in"], []
    for layer in net["layers"]:
        bias, weight = _unpack(layer["bias"]), _unpack(layer["weight"])
        scale = _unpack(layer["scale"]) if "scale" in layer else bias.new_ones(len(bias))
        linear = nn.Linear(n_in, len(bias), device="cpu")
        linear.weight.data = weight[: n_in * len(bias)].reshape(len(bias), n_in) * scale[:, None]
        linear.bias.data, n_in = bias, len(bias)
        modules += [linear, *([] if layer["activation"] == "none" else [ACTIVATIONS[layer["activation"]]()])]
    return nn.Sequential(*modules)


def images_blob(images: UInt8[Tensor, "N D"], deflated: bool = False) -> str:
    """Return images for the page, as JSON; many of them are better deflated."""
    pixels = images.cpu().numpy()
    packed = pack(np.frombuffer(zlib.compress(pixels.tobytes(), 9), np.uint8), "deflate") if deflated else pack(pixels)
    return json.dumps(dict(n=len(images), pixels=packed))


def blob_id(blob: str) -> str:
    """Return the name of a blob, made from its content: explorers with the same net share one."""
    return hashlib.sha256(blob.encode()).hexdigest()[:20]


def pack(numbers: np.ndarray, kind: str | None = None) -> dict:
    """Return an array as base64 of its bytes with their Adler-32 sum, by which the page knows a damaged one."""
    contents = np.ascontiguousarray(numbers).tobytes()
    kind = kind or numbers.dtype.name
    return dict(kind=kind, bytes=base64.b64encode(contents).decode(), sum=zlib.adler32(contents))


def _pack_int10(whole: np.ndarray) -> np.ndarray:
    """Return ten-bit numbers as bytes: the upper eight bits of each, then the lower two, four numbers to a byte."""
    whole = np.pad(whole, (0, -len(whole) % 4))
    low = (whole & 3).reshape(-1, 4) << np.array([0, 2, 4, 6])
    return np.concatenate([(whole >> 2).astype(np.int8).view(np.uint8), low.sum(1).astype(np.uint8)])


def _layers(net: nn.Module, name: str) -> list[tuple[np.ndarray, np.ndarray, str]]:
    """Return (weights, bias, name of the activation behind it) of every layer."""
    net = unwrap(net)
    kinds = (LabelledMLP, nn.Sequential)  # and no subclass that computes something else
    if not isinstance(net, kinds) or type(net).forward not in [kind.forward for kind in kinds]:
        raise TypeError(f"{name} must be an MLP, an nn.Sequential; got {type(net).__name__}. Pass decode= for others.")
    modules = [net.first, *net.rest] if isinstance(net, LabelledMLP) else list(net)
    names = {kind: key for key, kind in ACTIVATIONS.items()}
    between = modules[1::2]
    linears = [m for m in modules[::2] if isinstance(m, nn.Linear) and type(m).forward is nn.Linear.forward]
    if len(linears) != len(between) + 1 or any(type(m) not in names or _is_other_softplus(m) for m in between):
        raise TypeError(f"{name} must be Linear layers with {', '.join(ACTIVATIONS)} between. Pass decode= for others.")
    weights = [linear.weight.detach().cpu().float() for linear in linears]
    if isinstance(net, LabelledMLP):  # W a + b + the column of y is [W, columns] times (a, one-hot y), plus b
        weights[0] = torch.cat([weights[0], net.columns.detach().cpu().float().T], dim=1)
    biases = [
        w.new_zeros(len(w)) if m.bias is None else m.bias.detach().cpu().float()
        for w, m in zip(weights, linears, strict=True)
    ]
    for number, (before, after) in enumerate(pairwise(weights), start=2):
        if after.shape[1] != before.shape[0]:
            sizes = f"takes {after.shape[1]} numbers; layer {number - 1} gives {before.shape[0]}"
            raise ValueError(f"layer {number} of {name} {sizes}.")
    for number, pair in enumerate(zip(weights, biases, strict=True), start=1):
        if not all(numbers.half().isfinite().all() for numbers in pair):
            raise ValueError(f"{name} has weights in layer {number} that are NaN or too large for float16.")
    activations = [names[type(m)] for m in between] + ["none"]
    return [(w.numpy(), b.numpy(), a) for w, b, a in zip(weights, biases, activations, strict=True)]


def _is_other_softplus(module: nn.Module) -> bool:
    """Return whether the page would compute another; beyond a threshold of 20 softplus(x) is x to a float32."""
    return isinstance(module, nn.Softplus) and (module.beta != 1 or module.threshold < 20)


def _unpack(packed: dict) -> Tensor:
    contents = base64.b64decode(packed["bytes"])
    if packed["kind"] == "float16":
        return torch.from_numpy(np.frombuffer(contents, "<f2").astype(np.float32))
    n = len(contents) // 5 * 4
    upper, low = np.frombuffer(contents[:n], np.int8), np.frombuffer(contents[n:], np.uint8)
    lower = (low[:, None] >> np.array([0, 2, 4, 6], np.uint8) & 3).ravel()
    return torch.from_numpy(4.0 * upper + lower).float()
