"""What a wrong argument is told: one sentence with its name, what was expected, and what came.

TypeError for a wrong type or dtype, ValueError for a wrong value, size, shape, range or device. The values of a tensor
are looked at on the CPU alone: elsewhere the host would have to wait for them.
"""

import functools
import inspect
import math
import re
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from numbers import Integral, Real
from pathlib import Path

import torch
from torch import Tensor, nn

WORDS = {
    int: "a whole number",
    float: "a number",
    bool: "True or False",
    str: "a text",
    Path: "a path",
    Tensor: "a Tensor",
    Callable: "a function",
}


def typed(target):
    """Has a function, or the public methods of a class, look at the types of its arguments, by its annotations."""
    if isinstance(target, type):
        for name, member in list(vars(target).items()):
            if name == "__init__" or not name.startswith("_"):
                if isinstance(member, classmethod):
                    setattr(target, name, classmethod(typed(member.__func__)))
                elif inspect.isfunction(member):
                    setattr(target, name, typed(member))
        return target

    @functools.cache
    def arguments() -> tuple[list, dict, tuple | None]:  # at the first call, when all names of the module are there
        hints = {name: (name, hint, _test(hint)) for name, hint in typing.get_type_hints(target).items()}
        in_order, rest = [], None
        for name, parameter in inspect.signature(target).parameters.items():
            if parameter.kind is parameter.POSITIONAL_OR_KEYWORD:
                in_order.append(hints.get(name))
            elif parameter.kind is parameter.VAR_POSITIONAL:
                rest = hints.get(name)
        return in_order, hints, rest

    @functools.wraps(target)
    def checked(*args, **kwargs):
        in_order, hints, rest = arguments()
        for argument, value in zip(in_order, args, strict=False):
            if argument is not None and not argument[2](value):
                refuse_type(*argument[:2], value)
        for name, value in kwargs.items():
            if name in hints and not hints[name][2](value):
                refuse_type(*hints[name][:2], value)
        if rest is not None:
            for value in args[len(in_order) :]:
                if not rest[2](value):
                    refuse_type(*rest[:2], value)
        return target(*args, **kwargs)

    return checked


def check_type(name: str, value: object, hint: object) -> None:
    if not _test(hint)(value):
        refuse_type(name, hint, value)


def refuse_type(name: str, hint: object, value: object) -> typing.NoReturn:
    raise TypeError(f"{name} must be {_words(hint)}; got {got(value)}.")


def got(value: object) -> str:
    """A value in a few words: a tensor by its type and shape, others as they are written or, if long, by their type."""
    if isinstance(value, Tensor):
        return f"a Tensor of {value.dtype}, shape {tuple(value.shape)}"
    text = type(value).__name__ if isinstance(value, nn.Module) else repr(value)
    return text if len(text) <= 60 and text.isprintable() and " at 0x" not in text else type(value).__name__


@functools.cache
def _test(hint: object) -> Callable[[object], bool]:
    """Whether a value is of the type of an annotation: a function."""
    if hint in (int, float):
        kind = Integral if hint is int else Real
        return lambda value: (
            (isinstance(value, kind) and not isinstance(value, bool))
            or (hint is float and isinstance(value, Tensor) and value.ndim == 0 and value.is_floating_point())
        )
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        tests = [_test(kind) for kind in inner]
        return lambda value: any(test(value) for test in tests)
    if origin in (tuple, list):
        each = _test(inner[0])
        return lambda value: isinstance(value, list | tuple) and all(map(each, value))
    if origin in (dict, Mapping):
        key, each = map(_test, inner)
        return lambda value: isinstance(value, origin) and all(key(k) and each(v) for k, v in value.items())
    if origin is Callable or hint is Callable:
        return callable
    if inspect.isclass(origin) and issubclass(origin, Iterable):  # of any kind; what it holds comes later
        return lambda value: (isinstance(value, origin) or hasattr(value, "__array__")) and not isinstance(value, str)
    return lambda value: isinstance(value, hint)


def _words(hint: object) -> str:
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(_words(kind) for kind in inner if kind is not types.NoneType)
    if origin in (dict, Mapping):
        return f"a dict whose values are each {_words(inner[1])}"
    if origin is Callable:
        return WORDS[Callable]
    if origin is not None:
        return f"a sequence of which each is {_words(inner[0])}"
    name = getattr(hint, "__name__", str(hint))
    return WORDS.get(hint) or f"{'an' if re.match('[AEIOU]|M[0-9]', name) else 'a'} {name}"


def check_at_least(low: float, **numbers: float) -> None:
    for name, number in numbers.items():
        if not low <= number < math.inf:
            raise ValueError(f"{name} must be at least {low}{' and finite' * (number > low)}; got {number}.")


def check_above_zero(**numbers: float) -> None:
    for name, number in numbers.items():
        if not 0 < number < math.inf:
            raise ValueError(f"{name} must be above 0 and finite; got {number!r}.")


def check_seed(seed: int, name: str = "seed") -> None:
    if not 0 <= seed < 2**62:
        raise ValueError(f"{name} must be from 0 to 2**62 - 1; got {seed}.")


def check_shape(shape: tuple[int, ...]) -> None:
    if len(shape) != 2 or min(shape) < 1:
        raise ValueError(f"shape must be the height and the width of an image, each at least 1; got {shape}.")


def check_methods(model: object, *names: str) -> None:
    """TypeError where a model lacks a method."""
    if isinstance(model, str) or not all(callable(getattr(model, name, None)) for name in names):
        raise TypeError(f"model must have the method{'s' * (len(names) > 1)} {' and '.join(names)}; got {got(model)}.")


def check_device(device: torch.device | str, name: str = "device") -> torch.device:
    """The device, if it is there."""
    try:
        found = torch.device(device)
        torch.empty(0, device=found)
    except (RuntimeError, AssertionError, ImportError, TypeError, ValueError) as error:
        here = ["cpu", *(f"cuda:{i}" for i in range(torch.cuda.device_count()))]
        here += ["mps"] * torch.backends.mps.is_available()
        raise ValueError(f"{name} must be a device that is there ({', '.join(here)}); got {device!r}.") from error
    return found


def check_beside(name: str, x: Tensor, model: Tensor) -> None:
    """ValueError where x is on another device than a model's weights."""
    if x.device != model.device:
        raise ValueError(f"{name} must be on the model's device, {model.device}; got {x.device}.")


def check_values(**tensors: Tensor) -> None:
    for name, tensor in tensors.items():
        if tensor.is_meta:
            raise ValueError(f"{name} must have values; got a Tensor on the device 'meta', which has none.")


def check_floats(**tensors: Tensor) -> None:
    for name, tensor in tensors.items():
        if not tensor.is_floating_point():
            raise TypeError(f"{name} must be floats (see data.binarize); got {tensor.dtype}.")


def check_fits(name: str, x: Tensor, wanted: Tensor) -> None:
    """Raises unless x is floats, of one row or several for each row of what is wanted, or the other way round."""
    check_floats(**{name: x})
    same = x.shape[-1:] == wanted.shape[-1:]
    if not same or any(1 != a != b != 1 for a, b in zip(x.shape[::-1], wanted.shape[::-1], strict=False)):
        raise ValueError(f"{name} must have a shape that fits {tuple(wanted.shape)}; got {tuple(x.shape)}.")
    if x.device != wanted.device:
        raise ValueError(f"{name} must be on {wanted.device}, as what it is compared with; got {x.device}.")


def check_rows(x: Tensor, d_x: int, name: str = "x") -> None:
    if x.ndim < 2 or x.shape[-1] != d_x:
        raise ValueError(f"{name} must hold {d_x} numbers a row, shape (B, {d_x}); got shape {tuple(x.shape)}.")
    check_floats(**{name: x})


def check_unit_interval(x: Tensor, name: str = "x") -> None:
    # on CUDA a look at the values would make the host wait at every step
    if x.device.type == "cpu" and x.numel() > 0:
        low, high = (v.item() for v in x.detach().aminmax())
        if not (low >= 0 and high <= 1):
            raise ValueError(f"{name} must lie in [0, 1] (see data.binarize); got values from {low:g} to {high:g}.")


def check_labels(y: Tensor, n_classes: float, n_images: int, name: str = "y") -> None:
    """Raises unless y holds one class number, int64, 0 to n_classes - 1, for each of n_images."""
    if y.dtype != torch.int64:
        raise TypeError(f"{name} must be class numbers, a tensor of int64; got {y.dtype}.")
    if y.shape != (n_images,):
        hint = ", which look one-hot: take argmax(-1)" if y.ndim == 2 and y.shape[1] > 1 else ""
        told = f"one class number for each of {n_images} images; got shape {tuple(y.shape)}{hint}"
        raise ValueError(f"{name} must hold {told}.")
    if y.device.type == "cpu" and y.numel() > 0:
        low, high = (v.item() for v in y.aminmax())
        if low < 0 or high >= n_classes:
            raise ValueError(f"{name} must hold class numbers from 0 to {n_classes - 1}; got {low} to {high}.")


def check_pixels(images: Tensor, name: str, d_x: int | None = None) -> None:
    """Raises unless the images are uint8, (N, D)."""
    if images.dtype != torch.uint8:
        raise TypeError(f"{name} must be a uint8 Tensor of pixels from 0 to 255; got {images.dtype}.")
    if images.ndim != 2 or d_x not in (None, images.shape[1]):
        raise ValueError(f"{name} must have shape (N, {d_x or 'D'}); got {tuple(images.shape)}.")
