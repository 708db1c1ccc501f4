"""How an answer is examined: on probes, against an oracle and the wrong answers that are known."""

import inspect
import math
import re
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
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
    the answer and measures what it does. `gradients` names the arguments in which the result must have a slope: a
    tensor, one of log-probabilities (`normalised`: only slopes along which they stay so count), or a net in its bias.
    """

    chapter: int
    name: str
    tested: str  #: what "Right" says
    probes: Callable[[int], list[tuple]]
    oracle: Callable
    wrong: tuple[Wrong, ...]
    gradients: tuple[str, ...] = ()
    normalised: tuple[str, ...] = ()
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


def a_type(value: Any) -> str:
    """The name of a value's type, with its article."""
    name = type(value).__name__
    return f"{'an' if name[0] in 'aeiouAEIOU' or name == 'ndarray' else 'a'} {name}"


def _as_tensors(value: Any, like: Any) -> list[Tensor]:
    """The result as tensors; raises Finding where it has another type than `like`, what the oracle gives."""
    wanted = "a pair of tensors" if isinstance(like, tuple) else "a tensor"
    if value is None:
        raise Finding(
            "type",
            f"It returns None instead of {wanted}.",
            "Is the `return` missing? Or is what the last line gives None?",
        )
    parts, n = (value, len(like)) if isinstance(like, tuple) else ([value], 1)
    is_list = isinstance(parts, tuple | list) and len(parts) == n
    if not is_list or not all(isinstance(part, Tensor) for part in parts):
        came = f"It returns {a_type(value)}, and {wanted} is expected."
        raise Finding("type", came, "Look at the last line: what does it return?")
    return list(parts)


def ask(exercise: Exercise, answer: Callable, probe: tuple, like: Any) -> Outcome:
    """Run the answer on copies of a probe: results, slopes, and which arguments it has changed."""
    named = dict(zip(exercise.arguments, probe, strict=True))
    leaves = {name: getattr(named[name], "bias", named[name]).clone().requires_grad_() for name in exercise.gradients}
    handed = [_copy(argument) for argument in named.values()]
    for i, (name, argument) in enumerate(named.items()):  # no leaf itself, so that changes in place are seen
        if name in exercise.normalised:
            slope = leaves[name].log_softmax(-1)
            handed[i] = argument + (slope - slope.detach())
        elif name in leaves:
            leaf = leaves[name]
            handed[i] = leaf.clone() if isinstance(argument, Tensor) else argument.with_bias(leaf)
    with seeded(0):
        values = _as_tensors(exercise.call(answer, handed), like)
    changed = [
        name
        for (name, before), after in zip(named.items(), handed, strict=True)
        if isinstance(before, Tensor)
        and not (torch.equal(before, after) and (name in leaves or after.requires_grad == before.requires_grad))
    ]
    slopes: list[Tensor | None] = [None] * len(leaves)
    if leaves and values[0].requires_grad:
        weights = torch.linspace(1, 2, values[0].numel()).view_as(values[0])
        slopes = list(torch.autograd.grad((values[0] * weights).sum(), list(leaves.values()), allow_unused=True))
    return Outcome([value.detach() for value in values], dict(zip(leaves, slopes, strict=True)), changed)


def _largest(a: Any) -> float:
    return a.abs().nan_to_num(math.inf).max().item()


def distance(a: Tensor | None, b: Tensor | None, tolerance: tuple[float, float]) -> float:
    """The largest difference of two tensors, in tolerances of b; a missing slope is 0."""
    if a is None or b is None:
        return 0.0 if a is b else _largest(b if a is None else a) / tolerance[1]
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
FITS = "Print the shapes inside. Is a sum missing or over the wrong axis, a size hard-coded, an axis of size 1 missing?"
COUNTS = "Is a number hard-coded, such as 10, that the shape of an argument gives? Or an axis mistaken for another?"
SPLITS = "`chunk(2, dim=-1)` halves the last axis; without `dim` it cuts the rows apart."
ERRORS = (  # what is in an error's text: its kind, what it means, and a hint
    ("must match", "error", "Two of its tensors do not fit together ({said}).", FITS),
    ("same number of dimensions", "error", "Two tensors that it joins do not fit together ({said}).", FITS),
    ("out of bounds", "error", "It counts further than there is anything ({said}).", COUNTS),
    ("not enough values to unpack", "error", "It finds fewer parts than it unpacks ({said}).", SPLITS),
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
        "It calls `backward` on many numbers, and that takes a single one.",
        "A loss averages over pictures; the slopes of many terms at once are those of their sum.",
    ),
    (
        "does not have a grad_fn",
        "error",
        "It asks for the gradient of something that has no graph.",
        "`.detach()`, `.item()`, `.data` and `no_grad` all cut it.",
    ),
    (
        "Interval(lower_bound=0.0, upper_bound=1.0)",
        "error",
        "It hands a distribution numbers outside [0, 1] as probabilities.",
        "Logits go in by their name: `Bernoulli(logits=logits)`.",
    ),
    (
        "cat()",
        "error",
        "It calls `cat` wrongly ({said}).",
        "`torch.cat` takes a list of tensors, and then the axis: `torch.cat([a, b], -1)`.",
    ),
    (
        "takes one argument",
        "error",
        "It hands a net more than one thing, or none ({said}).",
        "Join the two first, with `torch.cat`.",
    ),
    (
        "takes torch.float32",
        "error",
        "It hands a net numbers of another dtype ({said}).",
        "Give new tensors the dtype of x.",
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
    text = re.split(r"\n|, but expected one of", whole or "no message")[0].strip().rstrip(".:")
    said = f"{type(error).__name__}: {text if len(text) <= 160 else text[:157] + '...'}"
    for part, kind, sentence, hint in ERRORS:
        if part in whole:
            return Finding(kind, sentence.replace("{said}", said), hint)
    if "device" in text and ("cuda" in text or "meta" in text):
        return Finding("device", f"It mixes devices ({said}).", ON_DEVICE)
    if isinstance(error, NameError):
        hint = "Is it misspelt, not imported, or made in a cell that has not run?"
        return Finding("error", f"It uses a name that has no value ({said}).", hint)
    if isinstance(error, TypeError) and "argument" in text and "()" in text:
        frames = traceback.extract_tb(error.__traceback__)
        if Path(frames[-1].filename).parent != Path(__file__).parent:  # beyond the call of the answer itself
            hint = "Which of its calls is it, and which arguments does that take?"
            return Finding("error", f"Something inside it is called wrongly ({said}).", hint)
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
            more = value.ndim - wanted.ndim
            size = "line makes that size, and along which axis"
            hint = "axis should have stayed" if more < 0 else "axis is one too many" if more else size
            yield Finding("shape", said, f"Which {hint}? Print the shapes inside.")
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
            yield from _of_ends(outcomes, right, tolerance)
            yield from _of_rows(exercise, answer, probes[1], likes[1])
            yield from _of_use(exercise, answer, probes[1], likes[1])
        yield _of_value(exercise, probes, outcomes, right)
    yield from _of_slopes(exercise, probes[0], outcomes, right)
    yield from _of_device(exercise, answer, probes[0], likes[0])


NEAR = (0.005, 0.002)  # a difference, relative and absolute, in which no term of a formula is wrong


def relations(outcomes: list[Outcome], right: list[Outcome], tolerance: tuple[float, float]) -> Iterator[Finding]:
    """How wrong numbers hang together with the right ones, if they do."""
    if not outcomes[0].values[0].is_floating_point():
        return
    a, b = (torch.cat([t.double().flatten() for t in ts]) for ts in zip(*_pairs(outcomes, right), strict=True))
    if distance(a, b, NEAR) <= 1:
        said = f"Its numbers come near, and are wrong by up to {(a - b).abs().max():.1g}."
        yield Finding("near", said, "Is a small number added somewhere, or something rounded or clamped?")
    if distance(a, torch.zeros_like(a), tolerance) <= 1:
        yield Finding("zero", "All its numbers are about 0.", "Which line throws the arguments away?")
    if len(a) < 3 or not (a.isfinite().all() and b.isfinite().all()):
        return

    def same(guess: Tensor) -> bool:
        return distance(a, guess, tolerance) <= 1

    if same(-b):
        yield Finding("sign", "All its numbers have the wrong sign.", MINUS)
    factor = ((a * b).sum() / b.square().sum().clamp_min(1e-30)).item()
    if same(factor * b):
        hint = "Which constant has been left out, or written once too often?"
        yield Finding("factor", f"All its numbers are {factor:.3g} times what they should be.", hint)
    offset = (a - b).median().item()
    if same(b + offset) and (b.std() > 1e-3):
        said = f"All its numbers are {abs(offset):.3g} too {'high' if offset > 0 else 'low'}."
        yield Finding("offset", said, "Which constant term has been left out, or counted twice?")
    if (b > 0).all() and same(b.log()):
        yield Finding("log", "It returns the logarithm of what is asked for.", "The last step is an exp.")
    if same(b.exp()):
        yield Finding("exp", "It returns the exp of what is asked for.", "It is asked for in nats: leave the exp out.")


def _try(exercise: Exercise, answer: Callable, probe: tuple) -> Tensor | None:
    """The answer's first tensor, or nothing where it stops."""
    try:
        with seeded(0):
            value = answer(*map(_copy, probe))
        return _as_tensors(value, exercise.oracle(*map(_copy, probe)))[0].detach()
    except Exception:
        return None


def _of_ends(outcomes: list[Outcome], right: list[Outcome], tolerance: tuple[float, float]) -> Iterator[Finding]:
    """Whether the last row of every batch alone is wrong, or the first."""
    batches = [pair for pair in _pairs(outcomes, right) if pair[1].ndim and len(pair[1]) > 1]
    wrong = [[distance(*rows, tolerance) > 1 for rows in zip(*pair, strict=True)] for pair in batches]
    for name, end in (("last", -1), ("first", 0)):
        if max(map(len, wrong), default=0) > 2 and all(sum(each) == 1 and each[end] for each in wrong):
            hint = "Is it left out: where does a loop begin, and where does it end?"
            yield Finding("end", f"Along axis 0 of its result, only the {name} entry is wrong.", hint)


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
        hint = "Where do rows meet: in a sum over axis 0, in (B,) against (B, 1), or because their order changes?"
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
            hint = "Which term of the formula has it in it?"
            yield Finding("unused", f"Its result does not change with {name}.", hint)


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
    """The first probe on which the result is seen to be wrong, with the numbers."""
    found: list[tuple] = []
    for probe, mine, best in zip(probes, outcomes, right, strict=True):
        wrong = [pair for pair in zip(mine.values, best.values, strict=True) if distance(*pair, exercise.tolerance) > 1]
        for value, wanted in wrong[:1]:
            if exercise.words:
                a, b = value.double().flatten(), wanted.double().flatten()
                off = (a - b).abs() > exercise.tolerance[0] * b.abs() + exercise.tolerance[1]
                i = int((off | a.isnan()).nonzero()[0])
                return Finding("value", exercise.words(i, a[i].item(), b[i].item()), "Try it by hand with few numbers.")
            near = distance(value, wanted, NEAR) <= 5
            came, due = in_words(value, 6), in_words(wanted, 6)
            if not came:
                i = int((value.double() - wanted.double()).abs().nan_to_num(math.inf).argmax())
                came, due = (f"{in_words(t.flatten()[i].item())} at place {i}" for t in (value, wanted))
            found.append((came != due, near, probe, came, due))
    _, _, probe, came, due = max(found, key=lambda one: one[0])  # the first of them
    shown = {name: said for name, one in zip(exercise.arguments, probe, strict=True) if (said := in_words(one, 10))}
    all_shown = len(shown) == len(probe)
    on = f"With {', '.join(f'{name} = {said}' for name, said in shown.items())}" if all_shown else "On a probe"
    hint = "Work that one out by hand, term by term." if all_shown else "Try a small example of your own, and compare."
    if len(found) == 1 < len(probes) - 1:
        hint = "With the other probes it is right: is something clamped, rounded or left out where numbers are large?"
    if all(near for _, near, *_ in found):
        hint = "That is near: is a small number added somewhere, or something rounded or clamped?"
    return Finding("value", f"{on} it gives {came}, and {due} is expected.", hint)


def in_words(value: Any, most: int = 4) -> str:
    """A short tensor or a number, as a reader would write it; nothing for all others."""
    if isinstance(value, Tensor) and 0 < value.numel() <= most:
        value = value.tolist()
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, bool | int | str):
        return repr(value)
    return f"[{', '.join(in_words(item, most) for item in value)}]" if isinstance(value, list) else ""


def _of_slopes(exercise: Exercise, probe: tuple, outcomes: list[Outcome], right: list[Outcome]) -> Iterator[Finding]:
    cut = "`.detach()`, `.item()`, `.data`, `no_grad` and a plain `sample()` all cut the graph."

    def missing(name: str) -> bool:
        return all(distance(one.slopes[name], None, exercise.tolerance) <= 1 for one in outcomes)

    if exercise.gradients and all(map(missing, exercise.gradients)):
        said = "Its numbers are right, but the result is detached: nothing could be trained with it."
        yield Finding("gradient", said, cut)
    for name in sorted(exercise.gradients, key=missing, reverse=True):
        pairs = [(a.slopes[name], b.slopes[name]) for a, b in zip(outcomes, right, strict=True)]
        if all(distance(a, b, exercise.tolerance) <= 1 for a, b in pairs):
            continue
        argument = probe[exercise.arguments.index(name)]
        where = name if isinstance(argument, Tensor) else f"the weights of {name}"
        said = f"the gradient in {where} is not."
        hint = "Is a part of the formula cut from the graph, clamped or rounded, or a small number added to it?"
        if any(a is not None and a.isnan().any() for a, _ in pairs):
            said = f"the gradient in {where} is nan."
            hint = "`torch.where` hides a nan from the result, and not from the gradient."
        if missing(name):
            said, hint = f"no gradient reaches {where}.", cut
        yield Finding("gradient", f"Its numbers are right, but {said}", hint)


def _of_device(exercise: Exercise, answer: Callable, probe: tuple, like: Any) -> Iterator[Finding]:
    has_tensors = any(isinstance(argument, Tensor) for argument in probe)
    if OTHER_DEVICE is None or not has_tensors or any(map(callable, probe)) or exercise.run is not None:
        return
    moved = tuple(argument.to(OTHER_DEVICE) if isinstance(argument, Tensor) else argument for argument in probe)
    values = _as_tensors(answer(*moved), like)
    if any(value.device.type != torch.device(OTHER_DEVICE).type for value in values):
        yield Finding("device", f"Its arguments lie on {OTHER_DEVICE}, and its result does not.", ON_DEVICE)
