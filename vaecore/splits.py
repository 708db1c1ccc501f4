"""What is given and what is to be found: pixels of an image, labels of a data set, digits on which to make choices."""

import math
from dataclasses import replace

import torch
from torch import Tensor

from .checks import check_at_least, check_labels, check_seed, check_shape, check_values, typed
from .data import SHAPE, Digits


@typed
def pixel_split(name: str, shape: tuple[int, int] = SHAPE) -> tuple[Tensor, Tensor]:
    """The numbers of the pixels given and of those to predict, int64, rising: together every pixel, none twice.

    Given are "column" (the middle one, index 13 of 28: arXiv:1606.05908, sec. 4.2), "left" or "right" (a half), or
    one quadrant: "upper left", "upper right", "lower left", "lower right".
    """
    check_shape(shape)
    n_rows, n_columns = shape
    row, column = torch.meshgrid(torch.arange(n_rows), torch.arange(n_columns), indexing="ij")
    upper, left = row < n_rows // 2, column < n_columns // 2
    masks = {
        "column": column == (n_columns - 1) // 2,
        "left": left,
        "right": ~left,
        "upper left": upper & left,
        "upper right": upper & ~left,
        "lower left": ~upper & left,
        "lower right": ~upper & ~left,
    }
    if name not in masks:
        raise ValueError(f"name, of the pixels given, must be one of {', '.join(map(repr, masks))}; got {name!r}.")
    given = masks[name].flatten()
    return given.nonzero()[:, 0], (~given).nonzero()[:, 0]


@typed
def label_split(y: Tensor, n_labelled: int, seed: int) -> tuple[Tensor, Tensor]:
    """Row numbers of n_labelled images, as many of each class, drawn by the seed, and of all others; int64, rising.

    y (N,) holds the classes. Raises ValueError where n_labelled does not share out evenly or a class has too few.
    """
    check_values(y=y)
    check_labels(y, math.inf, y.shape[0] if y.ndim else 0)
    check_at_least(1, n_labelled=n_labelled)
    check_seed(seed)
    if len(y) == 0:
        raise ValueError("y must hold the class of at least one image; got none.")
    classes = y.unique().tolist()
    per_class, rest = divmod(n_labelled, len(classes))
    if per_class < 1 or rest:
        raise ValueError(f"n_labelled must be a multiple of the {len(classes)} classes; got {n_labelled}.")
    generator = torch.Generator().manual_seed(seed)  # on the CPU, so that a seed means the same on every device
    labelled = torch.zeros(len(y), dtype=torch.bool)
    for c in classes:
        rows = (y == c).nonzero()[:, 0].cpu()
        if len(rows) < per_class:
            raise ValueError(f"n_labelled={n_labelled} needs {per_class} of each class; class {c} has {len(rows)}.")
        labelled[rows[torch.randperm(len(rows), generator=generator)[:per_class]]] = True
    return tuple(which.nonzero()[:, 0].to(y.device) for which in (labelled, ~labelled))


@typed
def hold_out(digits: Digits, n: int = 10_000) -> Digits:
    """The same data with the last n training images in the place of the test set: choices are made on these."""
    if not 0 < n < len(digits.x_train):
        raise ValueError(f"n must be between 1 and {len(digits.x_train) - 1}, to leave images to train on; got {n}.")
    return replace(
        digits,
        name=f"{digits.name} with its last {n:,} training images held out",
        x_train=digits.x_train[:-n],
        y_train=digits.y_train[:-n],
        x_test=digits.x_train[-n:],
        y_test=digits.y_train[-n:],
    )
