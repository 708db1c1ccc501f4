"""Which pixels are given, which digits are labelled, which are held out."""

import numpy as np
import pytest
import torch

from vaecore import data
from vaecore.splits import draw_rows, hold_out, label_split, pixel_split, split_bits

GIVEN = {  # rows and columns of the image that are given
    "column": (slice(None), slice(13, 14)),
    "left": (slice(None), slice(0, 14)),
    "right": (slice(None), slice(14, 28)),
    "upper left": (slice(0, 14), slice(0, 14)),
    "upper right": (slice(0, 14), slice(14, 28)),
    "lower left": (slice(14, 28), slice(0, 14)),
    "lower right": (slice(14, 28), slice(14, 28)),
}


@pytest.mark.parametrize("name", GIVEN)
def test_pixel_split_partitions_the_image(name):
    given, hidden = pixel_split(name)
    assert torch.equal(torch.cat([given, hidden]).sort().values, torch.arange(784))
    drawn = torch.zeros(784).index_fill(0, given, 1).view(28, 28)
    assert drawn[GIVEN[name]].all() and drawn.sum() == drawn[GIVEN[name]].numel()
    assert (given.diff() > 0).all() and (hidden.diff() > 0).all()
    if name == "column":
        assert (len(given), len(hidden)) == (28, 756)


def test_pixel_split_of_other_shapes():
    given, hidden = pixel_split("column", shape=(4, 5))
    assert given.tolist() == [2, 7, 12, 17] and len(hidden) == 16
    assert len(pixel_split("upper left", shape=(5, 5))[0]) == 4


def test_split_bits_are_the_two_parts_of_an_image_s_bits(digits):
    images = (digits.x_test[:9] > 127).byte() * 255
    x, y = split_bits(images, "left")
    given, hidden = pixel_split("left")
    assert torch.equal(x, images[:, hidden] / 255) and torch.equal(y, images[:, given] / 255)


def test_draw_rows_repeats_none():
    rows = draw_rows(50, 60, torch.device("cpu"))
    assert len(set(rows.tolist())) == 50 and max(rows) < 60
    assert sorted(draw_rows(50, 7, torch.device("cpu")).tolist()) == list(range(7))


@pytest.mark.parametrize("n_labelled", [100, 600, 1000, 3000])
def test_label_split_is_balanced_and_disjoint(n_labelled, digits):
    labelled, unlabelled = label_split(digits.y_train, n_labelled, seed=0)
    assert digits.y_train[labelled].bincount().tolist() == [n_labelled // 10] * 10
    assert torch.equal(torch.cat([labelled, unlabelled]).sort().values, torch.arange(8000))


def test_label_split_depends_on_its_seed_alone(digits):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    draws = [label_split(digits.y_train, 100, seed=seed)[0] for seed in range(5)]
    assert torch.equal(torch.rand(3), expected)  # the caller's random state is as it was
    torch.manual_seed(6)
    for seed, labelled in enumerate(draws):
        assert torch.equal(labelled, label_split(digits.y_train, 100, seed=seed)[0])
    shared = [len(set(a.tolist()) & set(b.tolist())) for a in draws for b in draws if a is not b]
    assert max(shared) < 20


def test_every_digit_may_be_drawn():
    y = torch.arange(60) % 3
    drawn = {row for seed in range(100) for row in label_split(y, 9, seed)[0].tolist()}
    assert drawn == set(range(60))


def test_hold_out_takes_training_digits_only(digits):
    choices = hold_out(digits, 2000)
    assert torch.equal(torch.cat([choices.x_train, choices.x_test]), digits.x_train)
    assert torch.equal(torch.cat([choices.y_train, choices.y_test]), digits.y_train)
    assert len(choices.x_test) == 2000 and not choices.is_full
    assert "2,000 training images held out" in repr(choices)
    assert data.fingerprint(choices) != data.fingerprint(digits)
    assert torch.equal(hold_out(digits, 2000).x_test, choices.x_test)
    assert len(hold_out(digits, np.uint8(100)).x_test) == 100
