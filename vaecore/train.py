"""One training loop for every model of the book. It knows nothing of the model: the loss is the chapter's."""

import hashlib
import math
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn

from . import checkpoints
from .data import batches
from .evaluate import rng_state, seeded, set_rng_state


@dataclass
class History:
    """What `fit` did, epoch by epoch: mean training loss, test value (nan if none was asked for), seconds."""

    loss: list[float] = field(default_factory=list)
    test: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    setting: str = ""

    def __repr__(self) -> str:
        n = len(self.loss)
        tested = not all(math.isnan(value) for value in self.test)
        lines = ["epoch      loss" + ("      test" if tested else "")]
        for i in sorted({0, n // 4, n // 2, 3 * n // 4, n - 1} & set(range(n))):
            lines.append(f"{i + 1:5d} {self.loss[i]:9.2f}" + (f" {self.test[i]:9.2f}" if tested else ""))
        return "\n".join([*lines, f"{n} epoch{'s' * (n != 1)} in {sum(self.seconds):.0f} s, {self.setting}"])


def fit(
    model: nn.Module,
    loss: Callable[..., Tensor],
    *tensors: Tensor,
    epochs: int,
    batch_size: int = 128,
    lr: float = 2e-3,
    schedule: str = "cosine",
    seed: int = 0,
    precision: str = "auto",
    test: Callable[[], Tensor | float] | None = None,
    checkpoint: str | Path | None = None,
    data: str = "",
) -> History:
    """Minimise loss(*batch), a scalar, by Adam over shuffled batches of the tensors; returns the History.

    `test` is called after each epoch, its value recorded. With `checkpoint`, every epoch is saved there (card:
    settings, `data`'s name, losses) and a killed run, started again, ends with the same weights. Runs under its own
    seed and leaves the caller's random state alone. Raises FloatingPointError where the loss is not finite.
    """
    device = _check(model, tensors, epochs, batch_size, lr, schedule)
    precision = _precision(precision, model, device)
    settings = dict(epochs=epochs, batch_size=batch_size, lr=lr, schedule=schedule, seed=seed, precision=precision)
    settings |= dict(device=device.type, tensors=_fingerprint(tensors))
    optimizer = torch.optim.Adam(model.parameters(), lr=lr, fused=True)
    history = History(setting=f"{len(tensors[0]):,} images an epoch, on {device}, {precision}")
    n_steps = -(-len(tensors[0]) // batch_size)
    with seeded(seed, device):
        if checkpoint is not None and Path(checkpoint).exists():
            _resume(Path(checkpoint), model, optimizer, history, settings, device)
        with _progress(epochs * n_steps, len(history.loss) * n_steps) as bar:
            for epoch in range(len(history.loss), epochs):
                start = time.perf_counter()
                losses = torch.zeros(n_steps, device=device)
                for step, batch in enumerate(batches(batch_size, *tensors)):
                    if schedule == "cosine":
                        done = (epoch * n_steps + step) / (epochs * n_steps)
                        optimizer.param_groups[0]["lr"] = lr * 0.5 * (1 + math.cos(math.pi * done))
                    with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
                        value = loss(*batch)
                    optimizer.zero_grad()
                    value.backward()
                    optimizer.step()
                    losses[step] = value.detach()
                    bar.update()
                _stop_unless_finite(losses, model, epoch, checkpoint)
                with seeded(seed, device):
                    history.test.append(math.nan if test is None else float(test()))
                history.loss.append(losses.mean().item())
                history.seconds.append(time.perf_counter() - start)
                bar.set_postfix_str(f"epoch {epoch + 1}/{epochs}, loss {history.loss[-1]:.2f}")
                if checkpoint is not None:
                    state = _state(model, optimizer, device)
                    untested = [None if math.isnan(value) else value for value in history.test]  # JSON has no nan
                    record = dict(loss=history.loss, test=untested, seconds=history.seconds)
                    checkpoints.save(checkpoint, model, state, data=data, fit=settings, history=record)
    return history


def pick_device(name: str = "auto") -> torch.device:
    """The named device ("cpu", "cuda", "cuda:1", "mps"), or for "auto" the best one here.

    Raises ValueError for one that is not there.
    """
    if name == "auto":
        mps = torch.backends.mps.is_available()
        return torch.device("cuda" if torch.cuda.is_available() else "mps" if mps else "cpu")
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError, ImportError, TypeError) as error:
        raise ValueError(f"device {name!r} is not there; this machine has {_devices()}.") from error
    return device


def _devices() -> str:
    names = ["cpu", *(f"cuda:{i}" for i in range(torch.cuda.device_count()))]
    return ", ".join(names + ["mps"] * torch.backends.mps.is_available())


def _check(model, tensors, epochs, batch_size, lr, schedule) -> torch.device:
    if schedule not in ("cosine", "constant"):
        raise ValueError(f"schedule must be 'cosine' or 'constant'; got {schedule!r}.")
    for name, value in (("epochs", epochs), ("batch_size", batch_size)):
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise ValueError(f"{name} must be a whole number of at least 1; got {value!r}.")
    if not 0 < lr < math.inf:
        raise ValueError(f"lr must be above 0 and finite; got {lr!r}.")
    if not tensors or len(tensors[0]) == 0:
        raise ValueError("fit needs at least one tensor of training data with at least one row.")
    device = next(model.parameters()).device
    for tensor in tensors:
        if tensor.device != device:
            raise ValueError(f"the model is on {device} and a data tensor on {tensor.device}; move one of them.")
    return device


def _precision(name: str, model: nn.Module, device: torch.device) -> str:
    """ "auto" means bf16 where the CPU has it natively and the layers are wide enough (256) to gain from it."""
    if name not in ("auto", "fp32", "bf16"):
        raise ValueError(f"precision must be 'auto', 'fp32' or 'bf16'; got {name!r}.")
    if name != "auto":
        return name
    width = max((min(p.shape) for p in model.parameters() if p.ndim == 2), default=0)
    native = device.type == "cpu" and getattr(torch.cpu, "get_capabilities", dict)().get("avx512_bf16", False)
    return "bf16" if native and width >= 256 else "fp32"


def _stop_unless_finite(losses: Tensor, model: nn.Module, epoch: int, checkpoint: str | Path | None) -> None:
    # one look an epoch: a look at every step would make the host wait for the device
    bad = (~torch.isfinite(losses)).nonzero()
    if len(bad):
        step = int(bad[0])
        what = f"the loss became {losses[step].item()} at step {step + 1} of epoch {epoch + 1}"
    elif not all(torch.isfinite(parameter).all() for parameter in model.parameters()):
        what = f"a weight became infinite or nan at the last step of epoch {epoch + 1}"  # no later loss to tell of it
    else:
        return
    kept = f"{checkpoint} keeps epoch {epoch}" if checkpoint is not None and epoch else "nothing was saved yet"
    raise FloatingPointError(f"{what}; {kept}; try a smaller lr.")


def _state(model: nn.Module, optimizer: torch.optim.Optimizer, device: torch.device) -> dict[str, Tensor]:
    """All that a resumed run needs beside the weights: Adam's moments and the random state."""
    state = {f"rng.{name}": value for name, value in rng_state(device).items()}
    for name, parameter in model.named_parameters():
        state |= {f"adam.{name}.{key}": value for key, value in optimizer.state[parameter].items()}
    return state


def _resume(path: Path, model, optimizer, history: History, settings: dict, device: torch.device) -> None:
    """Everything is compared first, so that a refused resume leaves the model as it was."""
    tensors, card = checkpoints.read(path)
    if "fit" not in card:
        raise ValueError(f"{path} holds weights but no run to go on with; choose another file.")
    theirs = card["fit"] | dict(model=card["model"]) | card["config"]
    ours = settings | dict(model=type(model).__name__) | getattr(model, "config", {})
    for name, value in ours.items():
        if theirs.get(name) != value:
            raise ValueError(
                f"{path} was made with {name}={theirs.get(name)!r}, this run has {value!r}; "
                "delete it or choose another file."
            )
    checkpoints.load_weights(model, tensors, path)
    record = card["history"]
    history.loss.extend(record["loss"])
    history.test.extend(math.nan if value is None else value for value in record["test"])
    history.seconds.extend(record["seconds"])
    for name, parameter in model.named_parameters():
        prefix = f"state.adam.{name}."
        optimizer.state[parameter] = {
            n.removeprefix(prefix): t.to(parameter.device) for n, t in tensors.items() if n.startswith(prefix)
        }
    prefix = "state.rng."
    set_rng_state({n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}, device)


def _fingerprint(tensors: tuple[Tensor, ...]) -> str:
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(f"{tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()[:16]


def _progress(total: int, done: int):
    """A bar in a terminal and in a live notebook; none in a built page, where the History says it all."""
    from tqdm.auto import tqdm

    live = sys.stderr.isatty() or "ipykernel" in sys.modules
    quiet = bool(os.environ.get("VAECORE_BUILD")) or not live
    return tqdm(total=total, initial=done, unit="step", leave=False, disable=quiet)
