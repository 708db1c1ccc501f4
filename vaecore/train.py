"""One training loop for every model of the book. It knows nothing of the model: the loss is the chapter's."""

import contextlib
import ctypes
import hashlib
import math
import os
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, distributed, nn

from . import checkpoints
from .checks import check_above_zero, check_at_least, check_device, check_seed, got, typed
from .evaluate import reseed, seeded


@typed
@dataclass
class History:
    """What `fit` did, epoch by epoch: mean of the steps' losses, test value (nan if none was asked for), seconds."""

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


@contextlib.contextmanager
def _autocast_as_it_was():
    """After Ctrl-C within torch's own leaving of autocast it would stay on, and old copies of the weights in use."""
    kinds = ("cpu", "cuda", "mps")
    before, depth = [torch.is_autocast_enabled(kind) for kind in kinds], _autocast_depth()
    try:
        yield
    finally:
        for kind, enabled in zip(kinds, before, strict=True):
            torch.set_autocast_enabled(kind, enabled)
        for _ in range(_autocast_depth() - depth):
            torch.autocast_decrement_nesting()
        torch.clear_autocast_cache()


def _autocast_depth() -> int:
    torch.autocast_increment_nesting()
    return torch.autocast_decrement_nesting()


@typed
@torch.enable_grad()  # also when Ctrl-C falls into torch's own switching off and on again
@_autocast_as_it_was()
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
    faster: dict[str, float] | None = None,
    test: Callable[[], Tensor | float] | None = None,
    checkpoint: str | Path | None = None,
    data: str = "",
) -> History:
    """Minimise loss(*batch), a scalar mean, by Adam over shuffled batches of the tensors; returns the History.

    `faster`, such as {"columns": 4}, multiplies lr for the parameters whose names contain the word.
    `test` is called after each epoch, its value recorded. With `checkpoint`, every epoch is saved there (card:
    settings, `data`'s name, losses) and a killed run, started again, ends with the same weights. Runs under its own
    seed and leaves the caller's random state alone. Raises FloatingPointError where the loss is not finite.

    On CUDA the step is recorded once and replayed, if the loss never makes the host wait; then what Python computes
    in it, beside the tensors, stays as it was in the third step. Under torchrun the processes share every batch.
    """
    device = _check(model, tensors, epochs, batch_size, lr, schedule, seed)
    groups = _groups(model, faster or {})
    precision = _precision(precision, model, device)
    _leave_room()
    _keep_memory()
    rank, n_processes = _join_processes(model, device, len(tensors[0]), batch_size)
    settings = dict(epochs=epochs, batch_size=batch_size, lr=lr, schedule=schedule, seed=seed, precision=precision)
    settings |= dict(faster=faster or {}, device=device.type, tensors=_fingerprint(tensors), processes=n_processes)
    history = History(setting=f"{len(tensors[0]):,} images an epoch, on {device}, {precision}")
    n_images, n_steps = len(tensors[0]), -(-len(tensors[0]) // batch_size)

    # All that a step reads and writes lies on the device, so that a CUDA graph can hold the step.
    done = torch.arange(epochs * n_steps, dtype=torch.float64) / (epochs * n_steps)
    rates = lr * (0.5 * (1 + torch.cos(math.pi * done)) if schedule == "cosine" else torch.ones_like(done))
    rates = rates.to(device, torch.float64 if device.type == "cpu" else torch.float32)  # as fused Adam reads it
    for group in groups:
        group["lr"] = rates[0].clone()
    count = torch.zeros(1, dtype=torch.int64, device=device)  # of the steps that are done
    order, losses = torch.zeros(n_images, dtype=torch.int64, device=device), torch.zeros(n_steps, device=device)
    optimizer = torch.optim.Adam(groups, fused=True, capturable=device.type == "cuda")

    def step(n_rows: int) -> None:
        """One step on the next n_rows of the order or, of several processes, on this one's share of them."""
        mine = torch.arange(rank, n_rows, n_processes, device=device)
        rows = order.index_select(0, count % n_steps * batch_size + mine)
        with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
            # On uint8 index_select is many times as fast as tensor[rows].
            value = loss(*(tensor.index_select(0, rows) for tensor in tensors))
            if not isinstance(value, Tensor) or value.shape != () or not value.requires_grad:
                told = "one number that comes of the model's weights, such as -model.elbo(x).mean()"
                raise ValueError(f"loss must give {told}; got {got(value)}.")
            value = value * (len(mine) / n_rows)
        optimizer.zero_grad()
        value.backward()
        if n_processes > 1:
            for parameter in model.parameters():
                if parameter.grad is not None:
                    distributed.all_reduce(parameter.grad)
        for group in groups:
            group["lr"].copy_(group["factor"] * rates.index_select(0, count)[0])
        optimizer.step()
        losses.index_copy_(0, count % n_steps, value.detach().float().reshape(1))
        count.add_(1)

    sizes = [batch_size] * (n_images // batch_size) + [n_images % batch_size] * (n_images % batch_size > 0)
    steps = {size: partial(step, size) for size in sizes}
    if device.type == "cuda" and n_processes == 1:
        steps = {size: Recorded(one, device) for size, one in steps.items()}
    if checkpoint is not None and Path(checkpoint).exists():
        _resume(Path(checkpoint), model, optimizer, history, settings)
    count.fill_(len(history.loss) * n_steps)
    with _progress(epochs * n_steps, len(history.loss) * n_steps) as bar:
        for epoch in range(len(history.loss), epochs):
            start = time.perf_counter()
            with seeded(_seed(seed, epoch), device):
                torch.randperm(n_images, out=order)
                if rank > 0:  # one order for all, and noise of its own for each
                    reseed(_seed(seed, epoch, rank), device)
                for size in sizes:
                    steps[size]()
                    bar.update()
            if n_processes > 1:
                distributed.all_reduce(losses)
            _stop_unless_finite(losses, model, epoch, checkpoint)
            with seeded(seed, device):
                history.test.append(math.nan if test is None else float(test()))
            history.loss.append(losses.mean().item())
            history.seconds.append(time.perf_counter() - start)
            bar.set_postfix_str(f"epoch {epoch + 1}/{epochs}, loss {history.loss[-1]:.2f}")
            if checkpoint is not None and rank == 0:
                untested = [None if math.isnan(value) else value for value in history.test]  # JSON has no nan
                record = dict(loss=history.loss, test=untested, seconds=history.seconds)
                moments = _moments(model, optimizer)
                checkpoints.save(checkpoint, model, moments, data=data, fit=settings, history=record)
    return history


class Recorded:
    """A step that, after three calls, is replayed as one CUDA graph: the host sends one message for all its kernels.

    The first three calls run it as it is; a step that makes the host wait (`.item()`, say) is run so for ever.
    """

    def __init__(self, step: Callable[[], None], device: torch.device) -> None:
        self.step, self.device, self.graph = step, device, None
        self.calls, self.waits = 0, False

    def __call__(self) -> None:
        if self.calls == 3 and not self.waits:
            self.graph = torch.cuda.CUDAGraph()
            with torch.cuda.device(self.device), torch.cuda.graph(self.graph):
                self.step()  # recorded, not run
        self.calls += 1
        if self.graph is not None:
            self.graph.replay()
        elif self.calls <= 3:
            self._watch()
        else:
            self.step()

    def _watch(self) -> None:
        """Runs the step beside the main stream, as a graph needs it, and notes whether it makes the host wait."""
        stream, before = torch.cuda.Stream(self.device), torch.cuda.get_sync_debug_mode()
        main = torch.cuda.current_stream(self.device)
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            torch.cuda.set_sync_debug_mode("warn")
            try:
                stream.wait_stream(main)
                with torch.cuda.stream(stream):
                    self.step()
                main.wait_stream(stream)
            finally:
                torch.cuda.set_sync_debug_mode(before)
        self.waits |= any("called a synchronizing" in str(warning.message) for warning in said)


def _groups(model: nn.Module, faster: dict[str, float]) -> list[dict]:
    """The parameters for Adam, by the `factor` of their learning rate."""
    named = dict(model.named_parameters())
    for word, factor in faster.items():
        check_above_zero(**{f"faster[{word!r}]": factor})
        if not any(word in name for name in named):
            raise ValueError(f"faster names {word!r}, but no parameter is called so; there are {', '.join(named)}.")
    by_factor: dict[float, list[Tensor]] = {}
    for name, parameter in named.items():
        factor = next((factor for word, factor in faster.items() if word in name), 1.0)
        by_factor.setdefault(factor, []).append(parameter)
    return [dict(params=parameters, factor=factor) for factor, parameters in by_factor.items()]


def _join_processes(model: nn.Module, device: torch.device, n_images: int, batch_size: int) -> tuple[int, int]:
    """This process's number and how many train together, all from the weights of the first."""
    n_processes = int(os.environ.get("WORLD_SIZE", 1))
    if n_processes == 1:
        return 0, 1
    smallest = n_images % batch_size or batch_size
    if min(smallest, batch_size) < n_processes:
        raise ValueError(f"{n_processes} processes cannot share a batch of {smallest}; choose another batch_size.")
    if not distributed.is_initialized():
        distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
    for tensor in model.state_dict().values():
        distributed.broadcast(tensor, src=0)
    return distributed.get_rank(), n_processes


def _seed(seed: int, epoch: int, rank: int = 0) -> int:
    """Another one for every epoch and process, so that a resumed run needs no random state from before."""
    return seed + 1_000_003 * (epoch + 10_007 * rank)


@typed
def pick_device(name: str = "auto") -> torch.device:
    """The named device ("cpu", "cuda", "cuda:1", "mps"), or for "auto" the best one here.

    Raises ValueError for one that is not there.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)))  # of a process that torchrun started
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    return check_device(name, "name")


def _check(model, tensors, epochs, batch_size, lr, schedule, seed) -> torch.device:
    if schedule not in ("cosine", "constant"):
        raise ValueError(f"schedule must be 'cosine' or 'constant'; got {schedule!r}.")
    check_at_least(1, epochs=epochs, batch_size=batch_size)
    check_above_zero(lr=lr)
    check_seed(seed)
    if not tensors or any(tensor.shape[:1] in ((), (0,)) for tensor in tensors):
        shapes = ", ".join(str(tuple(tensor.shape)) for tensor in tensors) or "none"
        raise ValueError(f"tensors must be at least one, each with at least one row; got {shapes}.")
    lengths = [f"{len(tensor):,}" for tensor in tensors]
    if len(set(lengths)) > 1:
        raise ValueError(f"the data tensors must have one length; got {' and '.join(lengths)} rows.")
    weight = next(model.parameters(), None)
    if weight is None:
        raise ValueError(f"model must have weights to train; got {got(model)}.")
    device = weight.device
    for tensor in tensors:
        if tensor.device != device:
            raise ValueError(f"tensors must be on the model's device, {device}; got one on {tensor.device}.")
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


def _leave_room() -> None:
    """In a notebook at most half of the cores, so that a second one beside it does not slow both to a crawl.

    That is what happens where threads outnumber cores: they wait for each other in turns. $OMP_NUM_THREADS is obeyed.
    """
    if "ipykernel" in sys.modules and "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(min(torch.get_num_threads(), max(1, (os.cpu_count() or 1) // 2)))


def _keep_memory() -> None:
    """Has the C library of Linux keep what a step frees, up to 256 MB, for the next step.

    As it comes, it hands large pieces back to the system each time, and each time pays for empty pages again.
    """
    with contextlib.suppress(OSError, AttributeError):  # another system, another library
        mallopt = ctypes.CDLL("libc.so.6").mallopt
        mallopt(-3, 64 * 2**20)  # M_MMAP_THRESHOLD: only larger pieces are mapped one by one
        mallopt(-1, 256 * 2**20)  # M_TRIM_THRESHOLD


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


def _moments(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """All that a resumed run needs beside the weights: what Adam keeps of each."""
    return {
        f"adam.{name}.{key}": value
        for name, parameter in model.named_parameters()
        for key, value in optimizer.state[parameter].items()
    }


def _resume(path: Path, model, optimizer, history: History, settings: dict) -> None:
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
