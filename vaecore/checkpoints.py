"""Models on disk: safetensors (never pickle) with a card that says how the weights came about."""

import contextlib
import functools
import hashlib
import json
import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as deserialize
from safetensors.torch import save as serialize
from torch import Tensor, nn

from .files import as_json, contents_of, write_whole
from .m2 import M1M2, M2
from .seeds import seeded
from .vae import VAE, Regressor

MODELS = {"VAE": VAE, "Regressor": Regressor, "M2": M2, "M1M2": M1M2.from_config}


def unwrap(model: Any) -> Any:
    """The model itself, if torch.compile, DataParallel or DistributedDataParallel wraps it."""
    if isinstance(model, nn.DataParallel | nn.parallel.DistributedDataParallel):
        return unwrap(model.module)
    inner = getattr(model, "_orig_mod", None)
    return model if inner is None else unwrap(inner)


def kind_of(model: nn.Module) -> str:
    """The name of the model's class, and of its parts', with the module if it is neither vaecore's nor torch's.

    A reader's own VAE is another one, and so is an M1+M2 on it.
    """
    kind = type(model)
    if not kind.__module__.startswith("vaecore."):
        return f"{kind.__module__}.{kind.__qualname__}"
    parts = [kind_of(unwrap(part)) for part in model.children()]
    return " with ".join([kind.__name__, *(part for part in parts if "." in part and not part.startswith("torch."))])


def plain(name: str) -> str:
    """The name of a weight as it would be if torch.compile had not wrapped a part of the model."""
    return name.replace("_orig_mod.", "")


def save(
    path: str | Path,
    model: nn.Module,
    state: dict[str, Tensor] | None = None,
    dtype: torch.dtype | None = None,
    **card,
) -> Path:
    """Write the model's weights, further tensors (`state`) and a card of JSON values; return the path.

    The file appears whole or not at all. The card also gets the architecture, the versions and the commit.
    `dtype` (torch.float16, say) is what the weights are stored in; they are loaded as float32.
    """
    if dtype is not None and not dtype.is_floating_point:
        raise ValueError(f"dtype must be a type of floating-point numbers; got {dtype}.")
    path, model = Path(path).expanduser(), unwrap(model)
    ours = {"model": kind_of(model), "config": getattr(model, "config", {}), **provenance()}
    if taken := sorted(ours.keys() & card.keys()):
        raise ValueError(f"card must use other names than {', '.join(taken)}: save fills these in.")
    weights = model.state_dict().items()
    tensors = {f"model.{plain(name)}": t.to(dtype) if dtype and t.is_floating_point() else t for name, t in weights}
    tensors |= {f"state.{name}": t for name, t in (state or {}).items()}
    # copies, since safetensors takes no two names of one tensor, such as tied weights
    tensors = {name: t.detach().cpu().contiguous().clone() for name, t in tensors.items()}
    text = as_json("card", ours | card)
    write_whole(path, serialize(tensors, metadata={"card": text, "sha256": _digest(tensors, text)}))
    return path


def read(path: str | Path) -> tuple[dict[str, Tensor], dict]:
    """All tensors of a checkpoint, on the CPU, and its card. Raises ValueError if the file is damaged."""
    path = Path(path).expanduser()
    if not path.is_file():
        raise FileNotFoundError(f"there is no checkpoint at {path}; {contents_of(path.parent)}.")
    try:
        contents = (
            path.read_bytes()
        )  # in one read: safe_open opens the path twice, and another process may replace it in between
        tensors = deserialize(contents)
        header = contents[8 : 8 + int.from_bytes(contents[:8], "little")]
        metadata = json.loads(header)["__metadata__"]
        intact = metadata["sha256"] == _digest(tensors, metadata["card"])
    except (SafetensorError, KeyError, ValueError, TypeError, OverflowError) as error:
        raise ValueError(f"{path} is no vaecore checkpoint, or it is damaged.") from error
    if not intact:
        raise ValueError(f"{path} is damaged: its contents do not have the recorded checksum.")
    return tensors, json.loads(metadata["card"])


def load(path: str | Path, device: torch.device | str = "cpu", into: nn.Module | None = None) -> tuple[nn.Module, dict]:
    """The model of a checkpoint, in torch's default type on the device, and its card.

    The weights of a VAE whose nets were handed in, or of a class of your own, are copied `into` a model made likewise.
    """
    tensors, card = read(path)
    if into is not None:
        load_weights(into, tensors, path)
        return into.to(device), card
    if "encoder" in card.get("config", {}) or "decoder" in card.get("config", {}):
        raise ValueError(f"{path} holds a VAE whose nets were handed in: give load one made likewise, into=.")
    if card.get("model") not in MODELS:
        known = f"known models: {', '.join(MODELS)}; for another give load one made likewise, into="
        raise ValueError(f"{path} holds a {card.get('model')!r}; {known}.")
    try:
        with seeded(0, device), torch.device(device):  # the caller's random numbers go on as if nothing was drawn
            model = MODELS[card["model"]](**card["config"])
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} is from another vaecore: its card does not describe a {card['model']}.") from error
    load_weights(model, tensors, path)
    return model, card


def load_weights(model: nn.Module, tensors: dict[str, Tensor], path: str | Path) -> None:
    """Copy a checkpoint's weights into the model. Raises ValueError for those of another architecture."""
    theirs = {name.removeprefix("model."): t for name, t in tensors.items() if name.startswith("model.")}
    ours = {plain(name): t for name, t in unwrap(model).state_dict().items()}
    for name in sorted(theirs | ours):
        there, here = (tuple(s[name].shape) if name in s else "no such tensor" for s in (theirs, ours))
        if there != here:
            raise ValueError(f"{path} has another architecture: {name} is {there} there and {here} in this model.")
    copy_weights(model, [theirs[name] for name in ours])


@torch.no_grad()
def copy_weights(model: nn.Module, weights: list[Tensor]) -> None:
    """Copy weights into the model, in the order of its state_dict."""
    for ours, theirs in zip(model.state_dict().values(), weights, strict=True):
        ours.copy_(theirs)


@functools.cache
def provenance() -> dict[str, str]:
    """Versions of vaecore, Python and torch, and the commit if vaecore lies in its git checkout."""
    try:
        number = version("vaecore")
    except PackageNotFoundError:
        number = "unknown"
    commit = "unknown"
    here, environment = Path(__file__), {**os.environ, "GIT_OPTIONAL_LOCKS": "0"}
    tracked = ["git", "ls-files", "--error-unmatch", here.name]  # else it is somebody else's repository
    describe = ["git", "describe", "--always", "--dirty", "--abbrev=12", "--match="]
    options: dict[str, Any] = dict(
        cwd=here.parent, env=environment, capture_output=True, text=True, check=True, timeout=10
    )
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
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
