"""One training loop for every model of the book. It knows nothing of the model: the loss is the chapter's."""

import hashlib
import json
import math
import os
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn

from . import checkpoints, processes
from .checks import check_above_zero, check_at_least
from .devices import pick_precision
from .files import as_json
from .seeds import seeded

SCHEDULES = ("cosine", "constant", "warm cosine", "cooldown")
WARM, COOL = 0.05, 0.2  # the shares of a run in which a warm one rises, and one with a cooldown falls


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


@dataclass(frozen=True)
class Plan:
    """The settings of a run, and what follows from them for each step and epoch."""

    epochs: int
    batch_size: int
    lr: float
    schedule: str
    seed: int
    faster: dict[str, float]
    rising: dict[str, float]
    tensors: str  # a hash of the data

    def __post_init__(self) -> None:
        if self.schedule not in SCHEDULES:
            raise ValueError(f"schedule must be one of {', '.join(SCHEDULES)}; got {self.schedule!r}.")
        check_at_least(1, epochs=self.epochs, batch_size=self.batch_size)
        words = dict(faster=self.faster, rising=self.rising)
        named = {f"{name}[{word!r}]": value for name, values in words.items() for word, value in values.items()}
        check_above_zero(lr=self.lr, **named)

    def rate(self, share: float) -> float:
        """The learning rate once that share of the run's steps is done."""
        if self.schedule == "constant":
            return self.lr
        if self.schedule == "cooldown":
            return self.lr * min(1.0, (1 - share) / COOL)
        rise = min(1.0, share / WARM) if self.schedule == "warm cosine" else 1.0
        return self.lr * rise * 0.5 * (1 + math.cos(math.pi * share))

    def epoch_seed(self, epoch: int) -> int:
        """A distinct seed per epoch, so that resuming needs no saved random state."""
        return self.seed + 1_000_003 * epoch

    def groups(self, model: nn.Module) -> list[dict]:
        """The parameters for Adam, each with the `factor` of its learning rate and the `power` by which it rises."""
        named = dict(model.named_parameters())
        for setting, words in (("faster", self.faster), ("rising", self.rising)):
            for word in words:
                if not any(word in name for name in named):
                    raise ValueError(f"{setting} names {word!r}, but the parameters are {', '.join(named)}.")
            if twice := [name for name in named if sum(word in name for word in words) > 1]:
                raise ValueError(f"{setting} must name each parameter by one word; several are in {twice[0]}.")
        alike: dict[tuple[float, float], list[Tensor]] = {}
        for name, parameter in named.items():
            factor = next((factor for word, factor in self.faster.items() if word in name), 1.0)
            power = next((power for word, power in self.rising.items() if word in name), 0.0)
            alike.setdefault((factor, power), []).append(parameter)
        return [dict(params=params, factor=factor, power=power) for (factor, power), params in alike.items()]


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
    rising: dict[str, float] | None = None,
    test: Callable[[], Tensor | float] | None = None,
    checkpoint: str | Path | None = None,
    data: str = "",
) -> History:
    """Minimise loss(*batch), a scalar mean, by Adam over shuffled batches of the tensors; return the History.

    The rate falls along half a cosine wave; with the schedule "warm cosine" it first rises, for large batches at a high
    rate; with "cooldown" it is constant until it falls to zero in the last fifth of the run. `faster`, such as
    {"columns": 4}, multiplies lr for parameters whose names contain the word; `rising`, such as {"classifier": 2}, by
    the share of the run that is done, to that power. `test` is called after each epoch, its value recorded. With
    `checkpoint`, every epoch is saved; a run that was stopped, started again with the same loss, ends with the same
    weights, and one at constant rates goes on for more epochs. `data` says what the data are, and what else decides the
    loss: a run does not go on with another. Under torchrun the processes share every batch. After an error, such as
    FloatingPointError where the loss is not finite, the model has the weights from before the epoch.
    """
    model, device, n_images = checkpoints.unwrap(model), _device(model, tensors), len(tensors[0])
    checkpoint = None if checkpoint is None else _place(Path(checkpoint).expanduser().absolute())
    faster, rising = ({word: float(v) for word, v in (words or {}).items()} for words in (faster, rising))
    hashed = fingerprint(tensors) if checkpoint else ""
    plan = Plan(int(epochs), int(batch_size), float(lr), schedule, int(seed), faster, rising, hashed)
    optimizer = torch.optim.Adam(plan.groups(model), lr=plan.lr, fused=True)
    history, precision = _resume(checkpoint, model, optimizer, plan, precision, data)
    first, n_batches, dtype = len(history.loss), -(-n_images // plan.batch_size), next(model.parameters()).dtype
    history.setting += f"{n_images:,} images an epoch, on {device}, {precision if dtype == torch.float32 else dtype}"
    shared_loss = processes.share(model, loss, n_images % plan.batch_size or min(plan.batch_size, n_images), first)
    with _progress(plan.epochs * n_batches, first * n_batches) as bar:
        for epoch in range(first, plan.epochs):
            start, before = time.perf_counter(), [weight.clone() for weight in model.state_dict().values()]
            shares = ((epoch * n_batches + i) / (plan.epochs * n_batches) for i in range(n_batches))
            try:
                with seeded(plan.epoch_seed(epoch), device):
                    order = torch.randperm(n_images, device=device)
                    processes.separate_noise(plan.epoch_seed(epoch), device)
                    batches = zip(order.split(plan.batch_size), shares, strict=True)
                    losses = _steps(shared_loss, tensors, batches, optimizer, plan, precision, bar)
                mean = processes.average(losses).mean().item()  # the first time that the host waits for a GPU
                if not all(math.isfinite(total) for total in (mean, *(p.sum().item() for p in model.parameters()))):
                    raise FloatingPointError(_reason(losses, epoch, tensors, before))
                with seeded(plan.seed, device):
                    history.test.append(math.nan if test is None else float(test()))
            except BaseException:  # also of somebody who stops it by hand
                checkpoints.copy_weights(model, before)
                raise
            history.loss.append(mean)
            history.seconds.append(time.perf_counter() - start)
            bar.set_postfix_str(f"epoch {epoch + 1}/{plan.epochs}, loss {mean:.2f}")
            if checkpoint is not None and processes.is_first():
                _save(checkpoint, model, optimizer, plan, precision, history, data)
    return history


def _place(checkpoint: Path) -> Path:
    """The path, if a file is or can be written there: better now than after the first epoch."""
    checkpoint.parent.mkdir(parents=True, exist_ok=True)
    if checkpoint.is_dir() or not (checkpoint.exists() or os.access(checkpoint.parent, os.W_OK)):
        raise OSError(f"checkpoint must be a file in a folder that can be written; got {checkpoint}.")
    return checkpoint


def _device(model: nn.Module, tensors: tuple[Tensor, ...]) -> torch.device:
    weight = next(model.parameters(), None)
    if weight is None:
        raise ValueError(f"model must have weights to train; got {type(model).__name__}, which has none.")
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise ValueError(f"model must have weights to train; all those of this {type(model).__name__} are frozen.")
    if torch.is_inference_mode_enabled():
        raise ValueError("model cannot be trained inside torch.inference_mode(), which allows no gradient.")
    if any(parameter.dtype == torch.float16 for parameter in model.parameters()):
        raise TypeError("model must not have float16 weights: use float32, and precision='bf16' for speed.")
    if not tensors or any(tensor.ndim == 0 or len(tensor) == 0 for tensor in tensors):
        raise ValueError("tensors must be at least one, each with at least one row.")
    if len({len(tensor) for tensor in tensors}) > 1:
        raise ValueError(f"tensors must have one length; got {', '.join(f'{len(t):,}' for t in tensors)} rows.")
    for tensor in tensors:
        if tensor.device != weight.device:
            raise ValueError(f"tensors must be on the model's device, {weight.device}; got one on {tensor.device}.")
    return weight.device


@torch.enable_grad()
def _steps(loss, tensors, batches, optimizer, plan: Plan, precision: str, bar) -> Tensor:
    """Take one step for each pair of rows and share of the run that is done; return the losses."""
    losses = []
    for rows, share in batches:
        with torch.autocast(rows.device.type, torch.bfloat16, enabled=precision == "bf16"):
            # on uint8, index_select is many times faster than tensor[rows]
            value = loss(*(tensor.index_select(0, rows) for tensor in tensors))
        if not isinstance(value, Tensor) or value.shape != () or not value.requires_grad:
            got = f"shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
            got = "one that does not" if got == "shape ()" else got
            expected = "loss must return a scalar that depends on the model, such as -model.elbo(x).mean()"
            raise ValueError(f"{expected}; got {got}.")
        optimizer.zero_grad()
        value.backward()
        if not losses and all(p.grad is None for group in optimizer.param_groups for p in group["params"]):
            raise ValueError("loss must depend on the weights of model; those of another model are not trained.")
        for group in optimizer.param_groups:
            group["lr"] = plan.rate(share) * group["factor"] * share ** group["power"]
        optimizer.step()
        losses.append(value.detach())
        bar.update()
    return torch.stack(losses)


def _reason(losses: Tensor, epoch: int, tensors: tuple[Tensor, ...], before: list[Tensor]) -> str:
    if not all(weight.isfinite().all() for weight in before):
        return "model has weights that were not finite before this training; make a new model."
    step = next((i for i, finite in enumerate(losses.isfinite().tolist()) if not finite), len(losses) - 1)
    text = f"the loss or a weight stopped being finite at step {step + 1} of epoch {epoch + 1}; "
    text += "the model has the weights from before that epoch; "
    for number, tensor in enumerate(tensors):
        if bad := int((~tensor.isfinite()).sum()):
            return f"{text}tensors[{number}] holds {bad} values that are nan or infinite: fix the data."
    largest = max((float(t.abs().max()) for t in tensors if t.is_floating_point()), default=0.0)
    if largest > 100:
        return f"{text}the data reach {largest:g}: scale them to about 1."
    if epoch == step == 0 and not losses[0].isfinite():
        return f"{text}no step had been taken yet: look at the loss, its settings and the data."
    return f"{text}try a smaller lr."


def _save(path, model, optimizer, plan: Plan, precision: str, history: History, data: str) -> None:
    test = [value if math.isfinite(value) else str(value) for value in history.test]  # JSON has neither nan nor inf
    record = dict(loss=history.loss, test=test, seconds=history.seconds)
    moments = {
        f"adam.{checkpoints.plain(name)}.{key}": value
        for name, parameter in model.named_parameters()
        for key, value in optimizer.state[parameter].items()
    }
    device = str(next(model.parameters()).device)
    run = dict(device=device, threads=torch.get_num_threads(), processes=processes.count())
    settings = asdict(plan) | dict(precision=precision)
    checkpoints.save(path, model, moments, data=data, fit=settings, run=run, history=record)


def _resume(checkpoint, model, optimizer, plan: Plan, precision: str, data: str) -> tuple[History, str]:
    """The History so far and the precision. All settings are compared before anything in the model changes."""
    if checkpoint is None or not checkpoint.exists():
        return History(), pick_precision(precision, model, plan.batch_size)
    tensors, card = checkpoints.read(checkpoint)
    if "fit" not in card:
        raise ValueError(f"{checkpoint} holds weights but no run to go on with; choose another file.")
    precision = card["fit"]["precision"] if precision == "auto" else precision
    theirs = card["fit"] | dict(model=card["model"], data=card["data"])
    ours = asdict(plan) | dict(precision=precision, model=checkpoints.kind_of(model), data=data)
    if plan.schedule == "constant" and not plan.rising and plan.epochs > theirs["epochs"]:
        theirs["epochs"] = plan.epochs
    if theirs["tensors"] != plan.tensors:
        raise ValueError(f"{checkpoint} was made from other data; choose another file.")
    config = json.loads(as_json("config", getattr(model, "config", {})))  # the card has lists for tuples
    for here, there in ((ours, theirs), (config, card["config"])):
        for name, value in here.items():
            if there.get(name) != value:
                made = f"{checkpoint} was made with {name}={there.get(name)!r}"
                raise ValueError(f"{made}, this run has {value!r}; choose another file.")
    checkpoints.load_weights(model, tensors, checkpoint)
    for name, parameter in model.named_parameters():
        prefix = f"state.adam.{checkpoints.plain(name)}."
        found = {n.removeprefix(prefix): t.to(parameter.device) for n, t in tensors.items() if n.startswith(prefix)}
        if found:  # Adam's number of steps keeps its type
            optimizer.state[parameter] = {n: t if n == "step" else t.to(parameter.dtype) for n, t in found.items()}
    record = card["history"]
    tests = [math.nan if value is None else float(value) for value in record["test"]]  # None: from an older vaecore
    done = f"{len(tests)} of them read from {checkpoint.name}, "
    return History(record["loss"], tests, record["seconds"], done), precision


def fingerprint(tensors: Iterable[Tensor]) -> str:
    """Sixteen hexadecimal figures that change with any number, shape or type of the tensors."""
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(f"{tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()[:16]


def _progress(total: int, done: int):
    """A bar in a terminal and in a live notebook; none in a built page, where the History says it all."""
    from tqdm.auto import tqdm  # only here: in a notebook without ipywidgets importing it warns

    live = sys.stderr.isatty() or "ipykernel" in sys.modules
    quiet = bool(os.environ.get("VAECORE_BUILD")) or not live
    return tqdm(total=total, initial=done, unit="step", leave=False, disable=quiet)
