"""How an answer is examined: on probes, against an oracle and the wrong answers that are known."""

import inspect
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

import torch
from torch import Tensor

from ..seeds import seeded

OTHER_DEVICE = "cuda" if torch.cuda.is_available() else None  # a second device to try every answer on


class Finding(Exception):
    """What is wrong with an answer, and a hint: raised where it is found."""

    def __init__(self, kind: str, sentence: str, hint: str) -> None:
        super().__init__(sentence)
        self.kind, self.sentence, self.hint = kind, sentence, hint


@dataclass(frozen=True)
class Verdict:
    """What `check` found: true if the answer is right; its repr says why, or what is wrong, with a hint."""

    kind: str  #: "right", "known" for a mistake of the exercise's own table, or what was found in general
    sentence: str
    hint: str = ""

    def __bool__(self) -> bool:
        return self.kind == "right"

    def __repr__(self) -> str:
        return f"Right: {self.sentence}" if self else f"Not yet. {self.sentence}\nHint: {self.hint}"


@dataclass(frozen=True)
class Wrong:
    """A wrong answer that is known, the sentence that names its mistake, and a hint."""

    answer: Callable
    sentence: str
    hint: str


@dataclass(frozen=True)
class Exercise:
    """One function that the reader builds.

    `probes(seed)` lists arguments, the first of them small enough to be shown; `oracle` takes them by the reader's
    names, and says what comes out by another way than the reader's. Where one plain call is not enough, `run` calls
    the answer and measures what it does. `gradients` names the arguments in which the result must have a slope.
    """

    chapter: int
    name: str
    tested: str  #: what "Right" says
    probes: Callable[[int], list[tuple]]
    oracle: Callable
    wrong: tuple[Wrong, ...]
    gradients: tuple[str, ...] = ()
    run: Callable | None = None
    tolerance: tuple[float, float] = (1e-4, 1e-4)  #: relative, absolute
    shape: str = ""  #: of the result, in words
    words: Callable[[int, float, float], str] | None = None  #: of the number at a place of the oracle's, and its due

    @property
    def arguments(self) -> tuple[str, ...]:
        return tuple(inspect.signature(self.oracle).parameters)

    def call(self, answer: Callable, probe: tuple | list) -> Any:
        return self.run(answer, *probe) if self.run else answer(*probe)


@dataclass
class Outcome:
    """What an answer did with one probe: its result, as a list of tensors, and the slopes of it."""

    values: list[Tensor]
    slopes: dict[str, Tensor | None] = field(default_factory=dict)
    changed: list[str] = field(default_factory=list)


def _copy(argument: Any) -> Any:
    return argument.clone() if isinstance(argument, Tensor) else argument


def _as_tensors(value: Any, like: Any) -> list[Tensor]:
    """The result as tensors; raises Finding where it has another type than `like`, what the oracle gives."""
    wanted = "a pair of tensors" if isinstance(like, tuple) else "a tensor"
    if value is None:
        raise Finding("type", f"It returns None instead of {wanted}.", "Is the `return` missing?")
    parts, n = (value, len(like)) if isinstance(like, tuple) else ([value], 1)
    is_list = isinstance(parts, tuple | list) and len(parts) == n
    if not is_list or not all(isinstance(part, Tensor) for part in parts):
        came = f"It returns a {type(value).__name__}, and {wanted} is expected."
        raise Finding("type", came, "Look at the last line: what does it return?")
    return list(parts)


def ask(exercise: Exercise, answer: Callable, probe: tuple, like: Any) -> Outcome:
    """Run the answer on copies of a probe: results, slopes, and which arguments it has changed."""
    named = dict(zip(exercise.arguments, probe, strict=True))
    leaves = {name: named[name].clone().requires_grad_() for name in exercise.gradients}
    handed = [  # no leaf itself, so that changes in place are seen
        leaves[name].clone() if name in leaves else _copy(argument) for name, argument in named.items()
    ]
    with seeded(0):
        values = _as_tensors(exercise.call(answer, handed), like)
    changed = [
        name
        for (name, before), after in zip(named.items(), handed, strict=True)
        if isinstance(before, Tensor) and not torch.equal(before, after)
    ]
    slopes: list[Tensor | None] = [None] * len(leaves)
    if leaves and values[0].requires_grad:
        weights = torch.linspace(1, 2, values[0].numel()).view_as(values[0])
        slopes = list(torch.autograd.grad((values[0] * weights).sum(), list(leaves.values()), allow_unused=True))
    return Outcome([value.detach() for value in values], dict(zip(leaves, slopes, strict=True)), changed)


def distance(a: Tensor | None, b: Tensor | None, tolerance: tuple[float, float]) -> float:
    """The largest difference of two tensors, in tolerances of b; 0 where both are missing, or infinite alike."""
    if a is None or b is None:
        return 0.0 if a is b or not (b if a is None else a).any() else math.inf  # type: ignore[union-attr]
    if a.shape != b.shape or a.dtype != b.dtype:
        return math.inf
    a, b = a.double(), b.double()
    if not torch.equal(a.isfinite(), b.isfinite()) or not torch.equal(a.isnan(), b.isnan()):
        return math.inf
    a, b = a.nan_to_num(0, 1e30, -1e30), b.nan_to_num(0, 1e30, -1e30)
    return ((a - b).abs() / (tolerance[0] * b.abs() + tolerance[1])).max().item() if a.numel() else 0.0


def apart(a: list[Outcome], b: list[Outcome], tolerance: tuple[float, float]) -> float:
    """How far two answers are apart on all probes, in results and slopes; 1 is just within the tolerance."""
    total = 0.0
    for one, other in zip(a, b, strict=True):
        slopes = [(one.slopes.get(name), slope) for name, slope in other.slopes.items()]
        for x, y in [*zip(one.values, other.values, strict=True), *slopes]:
            total = max(total, distance(x, y, tolerance))
            if total > 1:  # how far makes no difference any more
                return total
    return total


def expected(exercise: Exercise, probe: tuple) -> tuple[Any, Outcome]:
    """What the oracle gives for a probe, as it is and as an outcome with slopes."""
    like = exercise.oracle(*map(_copy, probe))
    return like, ask(replace(exercise, run=None), exercise.oracle, probe, like)


@cache
def references(exercise: Exercise, seed: int) -> tuple[list[tuple], list[Any], list[Outcome]]:
    probes = exercise.probes(seed)
    pairs = [expected(exercise, probe) for probe in probes]
    return probes, [like for like, _ in pairs], [outcome for _, outcome in pairs]


@cache
def _wrong_outcomes(exercise: Exercise, seed: int) -> list[list[Outcome] | None]:
    """What each known wrong answer gives; None where it raises a finding of its own."""
    probes, likes, _ = references(exercise, seed)
    found: list[list[Outcome] | None] = []
    for wrong in exercise.wrong:
        try:
            found.append([ask(exercise, wrong.answer, *pair) for pair in zip(probes, likes, strict=True)])
        except Exception:
            found.append(None)
    return found


@contextmanager
def _as_at_the_start() -> Iterator[None]:
    """Within the block, torch makes float32 and records gradients, whatever a chapter has set."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    try:
        with torch.enable_grad():
            yield
    finally:
        torch.set_default_dtype(before)


def examine(exercise: Exercise, answer: Callable, seed: int = 0) -> Verdict:
    """The verdict on an answer, from the probes of this seed. It raises nothing that the answer raises."""
    with _as_at_the_start():
        references(exercise, seed)  # what goes wrong in here is no mistake of the reader's
        try:
            finding = next(_findings(exercise, answer, seed), None)
        except Finding as found:
            finding = found
        except Exception as error:
            finding = of_error(error)
    if finding is None:
        return Verdict("right", exercise.tested)
    return Verdict(finding.kind, finding.sentence, finding.hint)


MINUS = "In this book higher is better, and a minus stands in the loss alone."
ON_DEVICE = "Make new tensors on the device of the arguments, as `torch.zeros_like(x)` or `device=x.device`."
SEE_SHAPES = "Call it by hand on two small tensors, and print the shapes inside."
FITS = "`keepdim=True` keeps an axis of size 1, and `[:, None]` makes one: print the shapes inside."
ERRORS = (  # what is in an error's text: its kind, what it means, and a hint
    ("must match", "error", "Two of its tensors do not fit together ({said}).", FITS),
    ("same number of dimensions", "error", "Two tensors that it joins do not fit together ({said}).", FITS),
    ("mat1 and mat2", "error", "A matrix and what it is multiplied with do not fit together ({said}).", FITS),
    (
        "modified by an inplace operation",
        "in place",
        "Something that `backward` still needs was changed before it: in place, or by a step of the optimiser.",
        "`a += b` and `a.exp_()` write into the old tensor; and `step` comes after `backward`.",
    ),
    (
        "in-place operation",
        "in place",
        "It changes an argument in place, and autograd forbids it.",
        "`a = a + b` makes a new tensor, `a += b` and `a.exp_()` write into the old one.",
    ),
    (
        "GreaterThan(lower_bound=0.0)",
        "error",
        "It hands a distribution a scale that is not above 0.",
        "log_var may be negative, and sigma may not: which function comes between them?",
    ),
    (
        "only for scalar outputs",
        "error",
        "It calls `backward` on one number for each picture, and that takes a single number.",
        "The loss averages over pictures.",
    ),
    (
        "does not have a grad_fn",
        "error",
        "It asks for the gradient of something that has no graph.",
        "`.detach()`, `.item()`, `.data` and `no_grad` all cut it.",
    ),
    (
        "should be between 0 and 1",
        "error",
        "It hands a cross-entropy numbers outside [0, 1].",
        "There is one that takes logits, and one that takes probabilities.",
    ),
    (
        "value of Tensor with more than one value is ambiguous",
        "error",
        "It asks a yes-or-no question of a whole tensor.",
        "Compare element by element, with a mask or `torch.where`.",
    ),
    (
        "numpy() on Tensor that requires grad",
        "error",
        "It leaves torch for numpy, where no gradient can follow.",
        "torch has the same functions.",
    ),
)


def of_error(error: Exception) -> Finding:
    """What an answer's own error means."""
    whole = str(error).strip()
    text = (whole.splitlines() or ["no message"])[-1].strip().rstrip(".")
    said = f"{type(error).__name__}: {text if len(text) <= 160 else text[:157] + '...'}"
    for part, kind, sentence, hint in ERRORS:
        if part in whole:
            return Finding(kind, sentence.replace("{said}", said), hint)
    if "device" in text and ("cuda" in text or "meta" in text):
        return Finding("device", f"It mixes devices ({said}).", ON_DEVICE)
    if isinstance(error, TypeError) and "argument" in text and "()" in text:
        sentence = f"It cannot be called as the exercise says ({said})."
        return Finding("error", sentence, "Keep the starter's arguments, in their order.")
    return Finding("error", f"It stops with an error ({said}).", SEE_SHAPES)


def _findings(exercise: Exercise, answer: Callable, seed: int) -> Iterator[Finding]:
    """All that is wrong with an answer, the most telling first."""
    probes, likes, right = references(exercise, seed)
    outcomes = [ask(exercise, answer, *pair) for pair in zip(probes, likes, strict=True)]
    if apart(outcomes, right, exercise.tolerance) > 1:
        distances = [
            math.inf if wrong is None else apart(outcomes, wrong, exercise.tolerance)
            for wrong in _wrong_outcomes(exercise, seed)
        ]
        if min(distances, default=math.inf) <= 1:
            wrong = exercise.wrong[distances.index(min(distances))]
            yield Finding("known", wrong.sentence, wrong.hint)
    yield from _in_general(exercise, answer, probes, likes, outcomes, right)


def _pairs(outcomes: list[Outcome], right: list[Outcome]) -> Iterator[tuple[Tensor, Tensor]]:
    """Each tensor that came, and the one that is due."""
    for mine, best in zip(outcomes, right, strict=True):
        yield from zip(mine.values, best.values, strict=True)


def _in_general(exercise, answer, probes, likes, outcomes: list[Outcome], right: list[Outcome]) -> Iterator[Finding]:
    """What can be wrong with any function."""
    tolerance = exercise.tolerance
    for value, wanted in _pairs(outcomes, right):
        if value.shape != wanted.shape:
            shape = f", {exercise.shape}," if exercise.shape else ""
            said = f"Its result has shape {tuple(value.shape)}, and {tuple(wanted.shape)}{shape} is expected."
            yield Finding("shape", said, "Which axis should be added up, and which one stay? Print the shapes inside.")
        if value.dtype != wanted.dtype:
            said = f"Its result has dtype {value.dtype}, and {wanted.dtype} is expected."
            yield Finding("dtype", said, "Give new tensors the dtype of the arguments.")
    for changed in (mine.changed[0] for mine in outcomes if mine.changed):
        hint = "Whoever calls it may need that tensor again: make a new one."
        yield Finding("in place", f"It changes its argument {changed} in place.", hint)
    if exercise.run is None:
        with seeded(1):
            other = _as_tensors(answer(*map(_copy, probes[0])), likes[0])
        if any(distance(x.detach(), y, tolerance) > 1 for x, y in zip(other, outcomes[0].values, strict=True)):
            said = "Two calls with the same arguments give different results."
            yield Finding("random", said, "All that it needs is handed in: draw nothing inside.")
    for value, wanted in _pairs(outcomes, right):
        if value.is_floating_point() and wanted.isfinite().all() and not value.isfinite().all():
            said = f"It gives {'nan' if value.isnan().any() else 'inf'} where a number is expected."
            hint = "Where is a logarithm of 0 taken, a large number put into exp, or 0 multiplied with infinity?"
            yield Finding("nan", said, hint)
    if any(distance(x, y, tolerance) > 1 for x, y in _pairs(outcomes, right)):
        if exercise.run is None:
            yield from relations(outcomes, right, tolerance)
            yield from _of_rows(exercise, answer, probes[1], likes[1])
            yield from _of_use(exercise, answer, probes[1], likes[1])
        yield _of_value(exercise, probes, outcomes, right)
    yield from _of_slopes(exercise, outcomes, right)
    yield from _of_device(exercise, answer, probes[0], likes[0])


def relations(outcomes: list[Outcome], right: list[Outcome], tolerance: tuple[float, float]) -> Iterator[Finding]:
    """How wrong numbers hang together with the right ones, if they do."""
    if not outcomes[0].values[0].is_floating_point():
        return
    a, b = (torch.cat([t.double().flatten() for t in ts]) for ts in zip(*_pairs(outcomes, right), strict=True))
    if len(a) < 3 or not (a.isfinite().all() and b.isfinite().all()):
        return

    def same(guess: Tensor) -> bool:
        return distance(a, guess, tolerance) <= 1

    if same(-b):
        yield Finding("sign", "All its numbers have the wrong sign.", MINUS)
    factor = ((a * b).sum() / b.square().sum().clamp_min(1e-30)).item()
    if same(factor * b):
        constant = "Which constant has been left out, or written once too often?"
        hint = constant if a.any() else "Which line throws the arguments away?"
        yield Finding("factor", f"All its numbers are {factor:.3g} times what they should be.", hint)
    offset = (a - b).median().item()
    if same(b + offset) and (b.std() > 1e-3):
        said = f"All its numbers are {abs(offset):.3g} too {'high' if offset > 0 else 'low'}."
        yield Finding("offset", said, "Which constant term has been left out, or counted twice?")
    if (b > 0).all() and same(b.log()):
        yield Finding("log", "It returns the logarithm of what is asked for.", "The last step is an exp.")
    if same(b.exp()):
        yield Finding("exp", "It returns the exp of what is asked for.", "The result is a log-probability, in nats.")


def _try(exercise: Exercise, answer: Callable, probe: tuple) -> Tensor | None:
    """The answer's first tensor, or nothing where it stops."""
    try:
        with seeded(0):
            value = answer(*map(_copy, probe))
        return _as_tensors(value, exercise.oracle(*map(_copy, probe)))[0].detach()
    except Exception:
        return None


def _of_rows(exercise: Exercise, answer: Callable, probe: tuple, like: Any) -> Iterator[Finding]:
    """Whether one picture's result hangs on the others of its batch, where it should not."""
    first = like[0] if isinstance(like, tuple) else like
    n = len(first) if isinstance(first, Tensor) and first.ndim else 0
    if n < 2:
        return
    fewer = tuple(
        argument[:-1] if isinstance(argument, Tensor) and argument.ndim and len(argument) == n else argument
        for argument in probe
    )
    pairs = [(_try(exercise, each, probe), _try(exercise, each, fewer)) for each in (answer, exercise.oracle)]
    if any(whole is None or part is None or whole.shape[:1] != (n,) for whole, part in pairs):
        return
    mine, theirs = (distance(part, whole[:-1], exercise.tolerance) for whole, part in pairs)  # type: ignore[index]
    if theirs <= 1 < mine:
        hint = "Where is something added up over axis 0, or (B,) broadcast against (B, 1)?"
        yield Finding("mixed", "The result of one row changes with the other rows of the batch.", hint)


def _of_use(exercise: Exercise, answer: Callable, probe: tuple, like: Any) -> Iterator[Finding]:
    """Which argument makes no difference, although it should."""
    before = [_try(exercise, each, probe) for each in (answer, exercise.oracle)]
    for i, (name, argument) in enumerate(zip(exercise.arguments, probe, strict=True)):
        other = _changed(argument)
        after = [_try(exercise, each, (*probe[:i], other, *probe[i + 1 :])) for each in (answer, exercise.oracle)]
        if other is None or any(value is None for value in (*before, *after)):
            continue
        mine, theirs = (distance(a, b, exercise.tolerance) for a, b in zip(after, before, strict=True))
        if mine <= 1e-3 and theirs > 1:
            yield Finding("unused", f"It makes no use of {name}.", "Which term of the formula has it in it?")


def _changed(argument: Any) -> Any:
    """Another value for an argument; nothing where any might be wrong."""
    if isinstance(argument, float):
        return argument * 1.3
    if not isinstance(argument, Tensor) or argument.dtype == torch.int64:
        return None
    if argument.dtype == torch.bool:
        return ~argument
    if argument.dtype == torch.uint8:
        return 255 - argument
    return 1 - argument if ((argument == 0) | (argument == 1)).all() else 0.9 * argument + 0.05


def _of_value(exercise: Exercise, probes, outcomes: list[Outcome], right: list[Outcome]) -> Finding:
    """The first probe on which the result is wrong, with the numbers."""
    for probe, mine, best in zip(probes, outcomes, right, strict=True):
        for value, wanted in zip(mine.values, best.values, strict=True):
            if distance(value, wanted, exercise.tolerance) <= 1:
                continue
            if exercise.words:
                a, b = value.double().flatten(), wanted.double().flatten()
                wrong = (a - b).abs() > exercise.tolerance[0] * b.abs() + exercise.tolerance[1]
                i = int((wrong | a.isnan()).nonzero()[0])
                return Finding("value", exercise.words(i, a[i].item(), b[i].item()), "Try it by hand with few numbers.")
            named = zip(exercise.arguments, probe, strict=True)
            shown = [f"{name} = {said}" for name, argument in named if (said := in_words(argument, 10))]
            on = f"With {', '.join(shown)}" if shown else "On a probe"
            came, due = in_words(value, 6), in_words(wanted, 6)
            if not came:
                i = int((value.double() - wanted.double()).abs().nan_to_num(math.inf).argmax())
                came, due = (f"{in_words(t.flatten()[i].item())} at place {i}" for t in (value, wanted))
            said = f"{on} it gives {came}, and {due} is expected."
            return Finding("value", said, "Work that one out by hand, term by term.")
    raise AssertionError("no value is wrong")


def in_words(value: Any, most: int = 4) -> str:
    """A short tensor or a number, as a reader would write it; nothing for all others."""
    if isinstance(value, Tensor) and 0 < value.numel() <= most:
        value = value.tolist()
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, bool | int | str):
        return repr(value)
    return f"[{', '.join(in_words(item, most) for item in value)}]" if isinstance(value, list) else ""


def _of_slopes(exercise: Exercise, outcomes: list[Outcome], right: list[Outcome]) -> Iterator[Finding]:
    cut = "`.detach()`, `.item()`, `.data`, `no_grad` and a plain `sample()` all cut the graph."
    if exercise.gradients and not any(s is not None and s.any() for one in outcomes for s in one.slopes.values()):
        said = "Its numbers are right, but the result is detached: nothing could be trained with it."
        yield Finding("gradient", said, cut)
    for name in exercise.gradients:
        pairs = [(a.slopes.get(name), b.slopes[name]) for a, b in zip(outcomes, right, strict=True)]
        if all(distance(a, b, exercise.tolerance) <= 1 for a, b in pairs):
            continue
        said, hint = f"the gradient in {name} is not.", "A part of the formula is cut from the graph."
        if any(a is not None and a.isnan().any() for a, _ in pairs):
            said = f"the gradient in {name} is nan."
            hint = "`torch.where` hides a nan from the result, and not from the gradient."
        if all(a is None or not a.any() for a, _ in pairs):
            said, hint = f"no gradient reaches {name}.", cut
        yield Finding("gradient", f"Its numbers are right, but {said}", hint)


def _of_device(exercise: Exercise, answer: Callable, probe: tuple, like: Any) -> Iterator[Finding]:
    has_tensors = any(isinstance(argument, Tensor) for argument in probe)
    if OTHER_DEVICE is None or not has_tensors or any(map(callable, probe)) or exercise.run is not None:
        return
    moved = tuple(argument.to(OTHER_DEVICE) if isinstance(argument, Tensor) else argument for argument in probe)
    values = _as_tensors(answer(*moved), like)
    if any(value.device.type != torch.device(OTHER_DEVICE).type for value in values):
        yield Finding("device", f"Its arguments lie on {OTHER_DEVICE}, and its result does not.", ON_DEVICE)
