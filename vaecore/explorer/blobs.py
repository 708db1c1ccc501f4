"""Nets and images as text that a page can carry: base64 with a check sum, never bytes, which some hosts lose."""

import base64
import hashlib
import json
import zlib
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn

from ..m2 import LabelledMLP
from ..vae import ACTIVATIONS

MOST_HALVES = 480_000  # weights that are stored as float16, just under a megabyte; a larger net is stored as int10


def network_blob(
    net: nn.Module, name: str = "net", dtype: str = "auto", *, n_in: int | None = None, n_out: int | None = None
) -> str:
    """An MLP (vae.mlp, or m2.LabelledMLP with a one-hot y behind its input) for the page, as JSON.

    `dtype` is "float16", "int10" (whole numbers from -511 to 511, each row of weights with a scale of its own) or
    "auto", which takes int10 for nets of more than 480,000 weights. Raises TypeError for any other net, ValueError
    for weights that are not finite, for layers that do not fit, and for other sizes than `n_in` and `n_out`, if given.
    """
    layers = _layers(net, name)
    takes, gives = layers[0][0].shape[1], layers[-1][0].shape[0]
    wanted = (takes if n_in is None else n_in, gives if n_out is None else n_out)
    if (takes, gives) != wanted:
        told = f"must take {wanted[0]} numbers and give {wanted[1]}; it takes {takes} and gives {gives}"
        raise ValueError(f"{name} {told}.")
    if dtype == "auto":
        n_weights = sum(weight.size for weight, _, _ in layers)
        dtype = "float16" if n_weights <= MOST_HALVES else "int10"
    if dtype not in ("float16", "int10"):
        raise ValueError(f"dtype must be 'auto', 'float16' or 'int10'; got {dtype!r}.")
    packed = []
    for weight, bias, activation in layers:
        layer = dict(bias=part(bias.astype("<f2")), activation=activation)
        if dtype == "int10":
            scale = np.maximum((np.abs(weight).max(1) / 511).astype("<f2"), np.float16(6e-8))  # the least float16
            whole = np.rint(weight / scale[:, None].astype(np.float32)).clip(-511, 511).astype(np.int16).ravel()
            layer |= dict(weight=part(_tens(whole), "int10"), scale=part(scale))
        else:
            layer |= dict(weight=part(weight.astype("<f2")))
        packed.append(layer)
    return json.dumps(dict(n_in=takes, layers=packed))


def read_network(blob: str) -> nn.Sequential:
    """The net as the page will have it, with its rounded weights."""
    modules: list[nn.Module] = []
    for layer in json.loads(blob)["layers"]:
        bias, weight = _numbers(layer["bias"]), _numbers(layer["weight"])
        scale = _numbers(layer["scale"]) if "scale" in layer else torch.ones(len(bias))
        n_in = modules[-2].out_features if modules else json.loads(blob)["n_in"]
        linear = nn.Linear(n_in, len(bias))
        linear.weight.data = weight[: n_in * len(bias)].reshape(len(bias), n_in) * scale[:, None]
        linear.bias.data = bias
        modules += [linear, *([] if layer["activation"] == "none" else [ACTIVATIONS[layer["activation"]]()])]
    return nn.Sequential(*modules)


def images_blob(images: Tensor) -> str:
    """Images (N, D), uint8, for the page, as JSON."""
    if images.ndim != 2 or images.dtype != torch.uint8 or len(images) == 0:
        raise ValueError(f"images must be uint8, shape (N, D); got {images.dtype}, shape {tuple(images.shape)}.")
    return json.dumps(dict(n=len(images), pixels=part(images.cpu().numpy())))


def blob_id(blob: str) -> str:
    """The name of a blob, from its content: explorers with the same net share one."""
    return hashlib.sha256(blob.encode()).hexdigest()[:20]


def part(numbers: np.ndarray, kind: str | None = None) -> dict:
    """An array as base64 of its bytes with their Adler-32 sum, by which the page knows a damaged one."""
    contents = np.ascontiguousarray(numbers).tobytes()
    kind = kind or numbers.dtype.name
    return dict(kind=kind, bytes=base64.b64encode(contents).decode(), sum=zlib.adler32(contents))


def _tens(whole: np.ndarray) -> np.ndarray:
    """Ten-bit numbers as bytes: the upper eight bits of each, then the lower two, four numbers to a byte."""
    whole = np.pad(whole, (0, -len(whole) % 4))
    low = (whole & 3).reshape(-1, 4) << np.array([0, 2, 4, 6])
    return np.concatenate([(whole >> 2).astype(np.int8).view(np.uint8), low.sum(1).astype(np.uint8)])


def _layers(net: nn.Module, name: str) -> list[tuple[np.ndarray, np.ndarray, str]]:
    """(weights, bias, name of the activation behind it) of every layer."""
    if not isinstance(net, LabelledMLP | nn.Sequential):
        raise TypeError(f"{name} must be an MLP, an nn.Sequential; got {type(net).__name__}. Pass decode= for others.")
    modules = [net.first, *net.rest] if isinstance(net, LabelledMLP) else list(net)
    names = {kind: key for key, kind in ACTIVATIONS.items()}
    linears, between = modules[::2], modules[1::2]
    is_mlp = len(modules) % 2 == 1 and all(isinstance(m, nn.Linear) for m in linears)
    if not is_mlp or any(type(m) not in names or _is_other_softplus(m) for m in between):
        raise TypeError(f"{name} must be Linear layers with {', '.join(ACTIVATIONS)} between. Pass decode= for others.")
    weights = [linear.weight.detach().cpu().float() for linear in linears]
    if isinstance(net, LabelledMLP):  # W a + b + the column of y is [W, columns] times (a, one-hot y), plus b
        weights[0] = torch.cat([weights[0], net.columns.detach().cpu().float().T], dim=1)
    biases = [
        torch.zeros(len(w)) if m.bias is None else m.bias.detach().cpu().float()
        for w, m in zip(weights, linears, strict=True)
    ]
    for number, (before, after) in enumerate(pairwise(weights), start=2):
        if after.shape[1] != before.shape[0]:
            told = f"takes {after.shape[1]} numbers; layer {number - 1} gives {before.shape[0]}"
            raise ValueError(f"Layer {number} of {name} {told}.")
    for number, pair in enumerate(zip(weights, biases, strict=True), start=1):
        if not all(numbers.half().isfinite().all() for numbers in pair):
            raise ValueError(f"{name} has weights in layer {number} that are NaN or too large for float16.")
    activations = [names[type(m)] for m in between] + ["none"]
    return [(w.numpy(), b.numpy(), a) for w, b, a in zip(weights, biases, activations, strict=True)]


def _is_other_softplus(module: nn.Module) -> bool:
    """Whether it is one that the page would not compute; beyond a threshold of 20 softplus(x) is x to a float32."""
    return isinstance(module, nn.Softplus) and (module.beta != 1 or module.threshold < 20)


def _numbers(packed: dict) -> Tensor:
    contents = base64.b64decode(packed["bytes"])
    if packed["kind"] == "float16":
        return torch.from_numpy(np.frombuffer(contents, "<f2").astype(np.float32))
    n = len(contents) // 5 * 4
    upper, low = np.frombuffer(contents[:n], np.int8), np.frombuffer(contents[n:], np.uint8)
    lower = (low[:, None] >> np.array([0, 2, 4, 6], np.uint8) & 3).ravel()
    return torch.from_numpy(4.0 * upper + lower).float()
