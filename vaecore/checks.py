"""Checks for mistakes that torch does not report. Errors name the argument, what was expected and what was given."""

import math
import sys
import warnings

import torch
from torch import Tensor

WRAPPERS = ("beartype", "jaxtyping", "torch")  # whose frames stand between those of vaecore and its caller


def check_at_least(low: float, **numbers: float) -> None:
    for name, number in numbers.items():
        if not low <= number < math.inf:
            raise ValueError(f"{name} must be at least {low}{' and finite' * (number > low)}; got {number}.")


def check_above_zero(**numbers: float) -> None:
    for name, number in numbers.items():
        if not 0 < number < math.inf:
            raise ValueError(f"{name} must be above 0 and finite; got {number}.")


def check_unit_interval(x: Tensor, name: str = "x") -> None:
    # on a GPU reading the values would make the host wait at every step
    if x.device.type == "cpu" and x.numel() > 0:
        low, high = (value.item() for value in x.detach().aminmax())
        if not (low >= 0 and high <= 1):
            raise ValueError(f"{name} must lie in [0, 1] (see data.binarize); got values from {low:g} to {high:g}.")


def warn_of_few_greys(x: Tensor, name: str = "x") -> None:
    """Warn of uint8 pixels none of which is above 127, as of bits, or of greys from 0 to 16: nearly all paper."""
    if x.device.type == "cpu" and x.numel() > 0 and 0 < (top := x.max().item()) < 128:
        warn(f"{name} should hold grey values from 0 to 255; the largest is {top}: scale them first.")


def warn(text: str) -> None:
    """Warn at the line outside vaecore from which it was called, since Python shows a warning once for each line."""
    frame, level = sys._getframe(1), 2
    while frame.f_back and frame.f_globals.get("__name__", "").split(".")[0] in ("vaecore", *WRAPPERS):
        frame, level = frame.f_back, level + 1
    warnings.warn(text, stacklevel=level)


def check_no_bytes(y: Tensor) -> None:
    if y.dtype == torch.uint8:  # as numbers up to 255 they would swamp the other inputs
        raise TypeError("y must be a condition of about 0 to 1; got uint8 pixels: call data.binarize or divide by 255.")


def check_classes(y: Tensor, n_classes: float, name: str = "y") -> None:
    """Raise unless y holds class numbers, int64 (N,), from 0 to n_classes - 1."""
    if y.ndim == 2 and y.shape[1] > 1:
        raise ValueError(f"{name} must be class numbers, shape (N,); got {tuple(y.shape)}, one-hot? Use argmax(-1).")
    if y.dtype != torch.int64 or y.ndim != 1:
        raise TypeError(f"{name} must be class numbers, int64 of shape (N,); got {y.dtype}, {tuple(y.shape)}.")
    if y.device.type == "cpu" and y.numel() > 0:
        low, high = (value.item() for value in y.aminmax())
        if low < 0 or high >= n_classes:
            raise ValueError(f"{name} must hold class numbers from 0 to {n_classes - 1}; got {low} to {high}.")
