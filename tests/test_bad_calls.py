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
# What is let through, and why it is right. A name without an argument's stands for all functions.
LEGAL: dict[str, set[str]] = {}


def accepts(hint: object, value: object) -> bool:
    """Whether an annotation promises to take the value."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return any(accepts(kind, value) for kind in inner)
    if hint in (int, float):
        return isinstance(value, int | hint) and not isinstance(value, bool)
    if origin in (Callable, None):
        return callable(value) if origin else isinstance(value, hint)
    if origin in (dict, Mapping):
        return isinstance(value, dict) and all(accepts(inner[1], each) for each in value.values())
    iterable = isinstance(value, list | tuple) if origin in (list, tuple) else isinstance(value, Iterable | Tensor)
    return iterable and not isinstance(value, str | dict) and all(accepts(inner[0], each) for each in value)


def wrong_values(hint: object, good: object) -> Iterator[tuple[str, object, type]]:
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
        yield "bool", good != good, TypeError
        yield "floats or whole numbers", good.long() if good.is_floating_point() else good.float(), TypeError
        yield "above its range", good + 1000, ValueError
        yield "below its range", good * 0 - 1, ValueError
        if good.is_floating_point():
            yield "nan", good * math.nan, ValueError
            yield "one nan", torch.where(torch.arange(good.numel()).view_as(good) == 0, math.nan, good), ValueError
            yield "inf", good / 0, ValueError
    elif isinstance(good, int | float) and not isinstance(good, bool):
        for number in (-1, 0, *((math.nan, math.inf, -math.inf) if isinstance(good, float) else ())):
            yield str(number), number, ValueError
    elif isinstance(good, str):
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
        values = wrong_values(hint, good[key][0] if many else good[key])
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


def complaint(name: str, error: type, caught: Exception) -> str:
    """What is wrong with an exception; empty if nothing is."""
    sentence, last = str(caught), traceback.extract_tb(caught.__traceback__)[-1]
    if not isinstance(caught, error) or isinstance(caught, UnicodeError):
        return f"{type(caught).__name__} and not {error.__name__}: {sentence}"
    if not Path(last.filename).is_relative_to(PACKAGE):
        return f"from deep inside, {last.filename}: {sentence}"
    if "\n" in sentence or not re.search(rf"\b{name}\b", sentence):
        return f"not a sentence of {name!r}: {sentence}"
    return ""


def test_every_public_name_has_a_call(table):
    names = {path.stem for path in PACKAGE.glob("*.py")} - {"__init__", "checks"}
    assert names == {module.__name__.removeprefix("vaecore.") for module in MODULES}
    assert set(public()) == set(table)


@pytest.fixture(scope="module")
def table(digits: Digits, tmp_path_factory):
    return calls(digits, tmp_path_factory.mktemp("calls"))


@pytest.mark.parametrize("name", public())
def test_a_bad_call_is_told_in_one_sentence(name, table, tally):
    call, good = table[name]
    failures, tried = [], 0
    for argument, label, arguments_, error in bad_calls(call, good):
        tried += 1
        try:
            result = make(call, arguments_)
        except Exception as caught:
            wrong = complaint(argument, error, caught)
        else:
            wrong = f"gives {result!r:.60}"
        if wrong:
            failures.append(f"{name} {argument} {label}: {wrong}")
    assert not failures, "\n".join(failures)
