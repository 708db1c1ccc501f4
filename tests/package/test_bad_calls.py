"""Every public function and class, found by introspection, is called wrongly in every argument: one clear sentence."""

import math
import re
import traceback
import types
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from public_calls import MODULES, arguments, calls, public
from torch import Tensor

import vaecore
from vaecore.data import Digits

PACKAGE = Path(vaecore.__file__).parent
THINGS = [None, object(), 1.5, True, "no such thing", [object()], {"a": object()}, torch.zeros(2), np.zeros(2)]
CHOICES = {"activation", "likelihood", "name", "given", "schedule", "precision", "device", "sha256", "svg", "address"}
BOUNDED = {"x", "x_l", "x_u", "y_l"}  # what is no pixel in [0, 1] and no class
BATCH = {"one axis more", "more rows", "no rows"}  # any are right, unless another argument has as many rows
NOT_FINITE = {"nan", "one nan", "inf"}  # what comes out has to be so too
SENTENCE = re.compile(r".*\b(got|is missing|was given|is of another architecture)\b.*\.")  # what came, on one line
# What else is right, as "function argument: wrong value".
LEGAL = re.compile(
    r".* (seed|draw|d_y|alpha|threshold): 0|pretrained.Recipe n_labelled: 0"
    r"|.*(mlp|MLP|VAE|M2|Regressor) hidden: (empty|one too many)|m2.M1M2.from_config .*: empty"
    r"|distributions.Gaussian.standard shape: 0|distributions.Bernoulli logits: (no axis|longer rows|another device)"
    r"|data.binarize x: (no axis|longer rows|above its range|below its range)"
    r"|(data.batches|train.fit) tensors: .*"  # of any shape and type
    r"|(data.Digits|pretrained.card) name: (empty|unknown) text|pretrained.on_bits given: empty text"
    r"|pretrained.some_rows x_l: .*|records.* (labels|draw): (0|-1)|(records.write record|train.History .*): empty"
    r"|train.fit faster: empty"
    r"|(checkpoints.save state|figures.Table rows|pretrained.Recipe how): empty|figures.digit_grid images: bool"
    r"|figures.show_digits images: bool|(vae|m2|pretrained).* (x|z): one axis more"
    r"|m2.semi_supervised_loss x_u: more rows|splits.label_split y: (more|longer) rows"
    r"|explorer.CompletionExplorer regressors: empty"
)


def accepts(hint: object, value: object) -> bool:
    """Whether an annotation promises to take the value."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return any(accepts(kind, value) for kind in inner)
    if hint in (int, float):
        scalar = hint is float and isinstance(value, Tensor) and value.ndim == 0
        return scalar or (isinstance(value, int | hint) and not isinstance(value, bool))
    if origin in (Callable, None):
        return callable(value) if origin else isinstance(value, hint)
    if origin in (dict, Mapping):
        return isinstance(value, dict) and all(accepts(inner[1], each) for each in value.values())
    iterable = isinstance(value, list | tuple) if origin in (list, tuple) else isinstance(value, Iterable | Tensor)
    return iterable and not isinstance(value, str | dict) and all(accepts(inner[0], each) for each in value)


def wrong_values(name: str, hint: object, good: object) -> Iterator[tuple[str, object, type]]:
    """(what is wrong, the value, the exception to expect) for an argument with this annotation and a good value."""
    for thing in THINGS:
        if not accepts(hint, thing):
            yield f"{type(thing).__name__} {thing!r}"[:30], thing, TypeError
    if isinstance(good, Tensor):
        yield "one axis more", good[None], ValueError
        yield "no axis", good.flatten()[0], ValueError
        yield "longer rows", torch.cat([good, good], -1), ValueError
        yield "more rows", torch.cat([good, good]), ValueError
        yield "no rows", good[:0], ValueError
        yield "another device", good.to("meta"), ValueError
        yield "complex", good.to(torch.complex64), TypeError
        if good.dtype != torch.bool:
            yield "bool", good != good, TypeError
        yield "floats or whole numbers", good.long() if good.is_floating_point() else good.float(), TypeError
        if name in BOUNDED:
            yield "above its range", good + 1000, ValueError
            yield "below its range", good * 0 - 1, ValueError
        if good.is_floating_point():
            yield "nan", good * math.nan, ValueError
            yield "one nan", torch.where(torch.arange(good.numel()).view_as(good) == 0, math.nan, good), ValueError
            yield "inf", good / 0, ValueError
    elif isinstance(good, int | float) and not isinstance(good, bool):
        for number in (-1, 0, *((math.nan, math.inf, -math.inf) if isinstance(good, float) else ())):
            yield str(number), number, ValueError
    elif name == "alt":
        yield "empty", " ", ValueError
    elif isinstance(good, str) and name in CHOICES:
        yield "empty text", "", ValueError
        yield "unknown text", "no such thing", ValueError
    elif isinstance(good, tuple) and all(isinstance(each, int) for each in good):
        yield "zeros", (0,) * len(good), ValueError
        yield "one too many", (*good, 1), ValueError
        yield "empty", (), ValueError
    elif isinstance(good, list | dict | tuple):
        yield "empty", type(good)(), ValueError


def bad_calls(call: Callable, good: dict) -> Iterator[tuple[str, str, dict, type]]:
    hints = typing.get_type_hints(call.__init__ if isinstance(call, type) else call)
    for name, parameter in arguments(call).items():
        many = parameter.kind is parameter.VAR_POSITIONAL
        key = f"*{name}" if many else name
        if key not in good or (parameter.annotation is parameter.empty and name != "model"):
            continue
        hint = hints.get(name, object)
        values = wrong_values(name, hint, good[key][0] if many else good[key])
        if name == "model" and hint is object:
            values = ((repr(thing)[:20], thing, TypeError) for thing in THINGS)
        for label, value, error in values:
            yield name, label, good | {key: (value, *good[key][1:]) if many else value}, error


def make(call: Callable, arguments: dict) -> object:
    many = next((values for name, values in arguments.items() if name.startswith("*")), ())
    rest = {name: value for name, value in arguments.items() if not name.startswith("*")}
    if many and "batch_size" in rest and "loss" not in rest:
        return call(rest.pop("batch_size"), *many)
    if "loss" in rest and many:
        return call(rest.pop("model"), rest.pop("loss"), *many, **rest)
    return call(*many, **rest)


def complaint(names: Iterable[str], error: type, caught: Exception) -> str:
    """What is wrong with an exception; empty if nothing is."""
    sentence, last = str(caught), traceback.extract_tb(caught.__traceback__)[-1]
    if not isinstance(caught, error) or isinstance(caught, UnicodeError):
        return f"{type(caught).__name__} and not {error}: {sentence}"
    if not Path(last.filename).is_relative_to(PACKAGE):
        return f"from deep inside, {last.filename}: {sentence}"
    if not (SENTENCE.fullmatch(sentence) and re.search(rf"\b({'|'.join(names)})\b", sentence)):
        return f"no sentence of {names} and of what came: {sentence}"
    return ""


def tensors_in(result: object) -> list[Tensor]:
    if isinstance(result, Tensor):
        return [result]
    parts = result if isinstance(result, tuple) else vars(result).values() if hasattr(result, "__dict__") else ()
    return [tensor for part in parts for tensor in tensors_in(part)]


def is_right(name: str, argument: str, label: str, good: dict, result: object) -> bool:
    """Whether it is right that a call was let through."""
    if LEGAL.fullmatch(f"{name} {argument}: {label}"):
        return True
    if label in NOT_FINITE:
        return any(not tensor.isfinite().all() for tensor in tensors_in(result))
    return label in BATCH and sum(isinstance(value, Tensor) for value in good.values()) == 1


def test_every_public_name_has_a_call(table):
    names = {path.stem for path in PACKAGE.glob("*.py")} - {"__init__", "checks", "files"}
    assert names == {module.__name__.removeprefix("vaecore.") for module in MODULES}
    assert set(public()) == set(table)


@pytest.fixture(scope="module")
def table(digits: Digits, tmp_path_factory):
    return calls(digits, tmp_path_factory.mktemp("calls"))


@pytest.mark.parametrize("name", public())
def test_a_bad_call_is_told_in_one_sentence(name, table, tally):
    call, good = table[name]
    failures, tried = [], list(bad_calls(call, good))
    for argument, label, arguments_, error in tried:
        # of tensors that do not fit each other either may be named; a loss names what it is given in its own way
        fitting = isinstance(good.get(argument), Tensor | dict | list)
        names = [each.strip("*") for each in good] if fitting else [argument] + ["x"] * (argument == "tensors")
        error = (TypeError, ValueError) if "axis" in label or name == "explorer.GapExplorer" else error
        try:
            result = make(call, arguments_)
        except Exception as caught:
            wrong = complaint(names, error, caught)
        else:
            wrong = "" if is_right(name, argument, label, good, result) else f"gives {result!r:.60}"
        if wrong:
            failures.append(f"{name} {argument}: {label}: {wrong}")
    tally("bad calls", len(tried), len(tried) - len(failures))
    assert not failures, "\n".join(failures)
