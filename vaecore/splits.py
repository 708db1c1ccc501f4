"""Splits: pixels into given and predicted, images into labelled and unlabelled, and digits held out for choices."""

import math
from dataclasses import replace

import torch
from jaxtyping import Float, Int64, Shaped, UInt8
from torch import Tensor

from .checks import check_classes
from .data import SHAPE, Pictures, binarize


def pixel_split(name: str, shape: tuple[int, int] = SHAPE) -> tuple[Int64[Tensor, "Y"], Int64[Tensor, "D"]]:
    """The numbers of the pixels given and of those to predict, rising: together every pixel, none twice.

    Given are "column" (the middle one, index 13 of 28: arXiv:1606.05908, sec. 4.2), "left" or "right" (a half), or
    one quadrant: "upper left", "upper right", "lower left", "lower right".
    """
    n_rows, n_columns = shape
    row, column = torch.meshgrid(*(torch.arange(n, device="cpu") for n in shape), indexing="ij")
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


def split_bits(images: UInt8[Tensor, "B 784"], given: str) -> tuple[Float[Tensor, "B D"], Float[Tensor, "B Y"]]:
    """The bits to predict, x, and those given, y; `given` as in pixel_split."""
    to_see, to_predict = (rows.to(images.device) for rows in pixel_split(given))
    bits = binarize(images)
    return bits[:, to_predict], bits[:, to_see]


def label_split(y: Shaped[Tensor, "N *_"], n_labelled: int, seed: int) -> tuple[Int64[Tensor, "L"], Int64[Tensor, "U"]]:
    """Row numbers of n_labelled images, equally many of each class, drawn by the seed, and of all others; rising.

    y (N,) holds the classes. Raises ValueError if n_labelled is no multiple of the classes, or a class has too few.
    """
    check_classes(y, math.inf)
    classes, n_labelled = y.unique().tolist(), int(n_labelled)
    per_class, rest = divmod(n_labelled, max(1, len(classes)))
    if per_class < 1 or rest:
        raise ValueError(f"n_labelled must be a multiple of the {len(classes)} classes; got {n_labelled}.")
    generator = torch.Generator().manual_seed(int(seed))  # on the CPU, so that a seed means the same on every device
    labelled = torch.zeros(len(y), dtype=torch.bool, device="cpu")
    for c in classes:
        rows = (y == c).nonzero()[:, 0].cpu()
        if len(rows) < per_class:
            raise ValueError(f"n_labelled={n_labelled} needs {per_class} of each class; class {c} has {len(rows)}.")
        labelled[rows[torch.randperm(len(rows), generator=generator, device="cpu")[:per_class]]] = True
    return labelled.nonzero()[:, 0].to(y.device), (~labelled).nonzero()[:, 0].to(y.device)


def draw_rows(n: int, n_rows: int, device: torch.device) -> Int64[Tensor, "n"]:
    """Up to n of n_rows row numbers, drawn without repetition; unlike randperm, the host never waits for CUDA."""
    return torch.rand(n_rows, device=device).topk(min(n, n_rows)).indices


def hold_out(digits: Pictures, n: int = 10_000) -> Pictures:
    """The same data with the last n training images as the test set: choices are made on these."""
    n = int(n)  # numpy's uint8 would wrap around in -n
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
