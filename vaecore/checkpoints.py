"""Models on disk: safetensors (never pickle) with a card that says how the weights came about."""

import contextlib
import functools
import hashlib
import json
import os
import platform
import re
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from urllib.request import Request, urlopen

import torch
from safetensors import SafetensorError
from safetensors.torch import load as deserialize
from safetensors.torch import save as serialize
from torch import Tensor, nn

from .checks import check_device, typed
from .data import TIMEOUT
from .files import as_json, write_whole
from .m2 import M1M2, M2
from .vae import VAE, Regressor

MODELS = {"VAE": VAE, "Regressor": Regressor, "M2": M2, "M1M2": M1M2.from_config}


@typed
def save(
    path: str | Path,
    model: nn.Module,
    state: dict[str, Tensor] | None = None,
    dtype: torch.dtype | None = None,
    **card,
) -> Path:
    """Write the model's weights, further tensors (`state`) and a card of JSON values; returns the path.

    The file appears whole or not at all. The card also gets the architecture, the versions and the commit.
    `dtype` (torch.float16, say) is what the weights are stored in; they come back as float32.
    """
    path = Path(path)
    if dtype is not None and not dtype.is_floating_point:
        raise TypeError(f"dtype must be a type of floats, such as torch.float16; got {dtype}.")
    weights = model.state_dict().items()
    tensors = {f"model.{name}": t.to(dtype) if dtype and t.is_floating_point() else t for name, t in weights}
    tensors |= {f"state.{name}": t for name, t in (state or {}).items()}
    tensors = {name: t.detach().cpu().contiguous() for name, t in tensors.items()}
    card = {"model": type(model).__name__, "config": getattr(model, "config", {}), **provenance(), **card}
    text = as_json("card", card)
    write_whole(path, serialize(tensors, metadata={"card": text, "sha256": _digest(tensors, text)}))
    return path


@typed
def read(path: str | Path) -> tuple[dict[str, Tensor], dict]:
    """All tensors of a checkpoint, on the CPU, and its card. Raises ValueError where the file is damaged."""
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no checkpoint at {path}.")
    try:
        contents = path.read_bytes()  # at once: safe_open opens the path twice, and a writer may come in between
        tensors = deserialize(contents)
        header = contents[8 : 8 + int.from_bytes(contents[:8], "little")]
        metadata = json.loads(header)["__metadata__"]
        intact = metadata["sha256"] == _digest(tensors, metadata["card"])
    except (SafetensorError, KeyError, ValueError, TypeError, OverflowError) as error:
        raise ValueError(f"{path} is damaged or no vaecore checkpoint; delete it and make it anew.") from error
    if not intact:
        raise ValueError(f"{path} is damaged: its contents do not have the recorded checksum; make it anew.")
    return tensors, json.loads(metadata["card"])


@typed
def load(path: str | Path, device: torch.device | str = "cpu") -> tuple[nn.Module, dict]:
    """The model of a checkpoint, in float32 on the device, and its card."""
    device = check_device(device)
    tensors, card = read(path)
    if card.get("model") not in MODELS:
        raise ValueError(f"{path} holds a {card.get('model')!r}; known models: {', '.join(MODELS)}.")
    try:
        model = MODELS[card["model"]](**card["config"])
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} is of another vaecore: no {card['model']} can be made from its card.") from error
    load_weights(model, tensors, path)
    return model.to(device), card


@typed
def fetch(address: str, sha256: str) -> Path:
    """The file with this check sum in the user's cache, downloaded when it is not there; ValueError for another."""
    if not re.fullmatch("[0-9a-f]{64}", sha256):
        raise ValueError(f"sha256 must be 64 hexadecimal figures; got {sha256!r}.")
    if "://" not in address:
        raise ValueError(f"address must be one such as https://host/file; got {address!r}.")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "vaecore", "weights")
    path = cache / f"{sha256}.safetensors"
    if not path.exists() or hashlib.sha256(path.read_bytes()).hexdigest() != sha256:
        with urlopen(Request(address, headers={"User-Agent": "vaecore"}), timeout=TIMEOUT) as answer:
            weights = answer.read()
        if hashlib.sha256(weights).hexdigest() != sha256:
            raise ValueError(f"{address} has another checksum")
        write_whole(path, weights)
    return path


@typed
def load_weights(model: nn.Module, tensors: dict[str, Tensor], path: str | Path) -> None:
    """Copy a checkpoint's weights into the model. Raises ValueError for those of another architecture."""
    theirs = {name.removeprefix("model."): t for name, t in tensors.items() if name.startswith("model.")}
    ours = model.state_dict()
    if {n: t.shape for n, t in theirs.items()} != {n: t.shape for n, t in ours.items()}:
        odd = next(
            n for n in sorted(theirs | ours) if n not in theirs or n not in ours or theirs[n].shape != ours[n].shape
        )
        there, here = (tuple(s[odd].shape) if odd in s else "no such tensor" for s in (theirs, ours))
        raise ValueError(f"{path} is of another architecture: {odd} is {there} there and {here} in this model.")
    # In one call, which Ctrl-C cannot cut in two: load_state_dict goes from tensor to tensor.
    torch._foreach_copy_(list(ours.values()), [theirs[name] for name in ours])


@functools.cache
def provenance() -> dict[str, str]:
    """Versions of vaecore, Python and torch, and the commit where vaecore lies in a git checkout."""
    try:
        number = version("vaecore")
    except PackageNotFoundError:
        number = "unknown"
    commit = "unknown"
    here, environment = Path(__file__), {**os.environ, "GIT_OPTIONAL_LOCKS": "0"}
    tracked = ["git", "ls-files", "--error-unmatch", here.name]  # else it is somebody else's repository
    describe = ["git", "describe", "--always", "--dirty", "--abbrev=12", "--match="]
    options = dict(cwd=here.parent, env=environment, capture_output=True, text=True, check=True, timeout=10)
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        subprocess.run(tracked, **options)
        commit = subprocess.run(describe, **options).stdout.strip()
    return {
        "vaecore": number,
        "commit": commit,
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


def _digest(tensors: dict[str, Tensor], card: str) -> str:
    digest = hashlib.sha256(card.encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()
