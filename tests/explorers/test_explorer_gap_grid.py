"""Which grids, and which posteriors on them, the gap viewer takes, and in which sentence others are refused."""

import math

import pytest
import torch
from explorer_pages import GRID, log_normal

from vaecore.explorer import GapExplorer

LINE_JOINT = log_normal(GRID) + log_normal(GRID, 2.0, 0.5)


@pytest.mark.parametrize(
    "z, joint, sentence",
    [
        (GRID[:, None], LINE_JOINT, r"z must be a grid of finite numbers, shape \(N,\); got shape \(481, 1\)\."),
        (GRID.flip(0), LINE_JOINT, r"z must be an even grid from left to right; got steps from -0.05 to -0.05\."),
        (GRID**3 / 144, LINE_JOINT, r"z must be an even grid from left to right; got steps from 8.68e-07 to 0.149\."),
        (
            GRID / 2,
            LINE_JOINT,
            r"z must reach from -12 to 12 in steps of 0.05 or less; got -6 to 6 in steps of 0.025\.",
        ),
        (GRID[::2], LINE_JOINT[::2], r"z must reach .* in steps of 0.05 or less; got -12 to 12 in steps of 0.1\."),
        (GRID, LINE_JOINT[1:], r"log_joint must have the grid's shape \(481,\); got \(480,\)\."),
        (GRID, LINE_JOINT / 0, r"log_joint must be finite on the whole grid; got 481 values that are not\."),
        (GRID, {"a": LINE_JOINT + 1}, r"log_joint of 'a' must have log p\(x\|z\) <= 0, .* got up to 0.774\."),
        (GRID, {}, r"log_joint must hold at least one posterior; got an empty dict\."),
    ],
)
def test_a_bad_grid_is_told_in_a_sentence(z, joint, sentence):
    with pytest.raises(ValueError, match=f"^{sentence}$"):
        GapExplorer(z, joint)


@pytest.mark.parametrize("mu, sigma", [(0.0, 0.02), (0.025, 0.01), (0.513, 0.04), (1.0, 0.05)])
def test_a_posterior_too_narrow_for_the_grid_is_refused(mu, sigma):
    """log p(x, z) of a z that is seen almost without noise, its top at log p(x|z) = 0."""
    narrow = log_normal(GRID) - (GRID - mu) ** 2 / (2 * sigma**2)
    with pytest.raises(ValueError, match=r"^log_joint of 'a' must be wider than the steps of its grid; log p\(x\) is"):
        GapExplorer(GRID, {"a": narrow})
    fine = torch.linspace(-12, 12, 4801, dtype=torch.float64)
    one = GapExplorer(fine, log_normal(fine) - (fine - mu) ** 2 / (2 * sigma**2))
    exact = log_normal(torch.tensor(mu), 0.0, (1 + sigma**2) ** 0.5).item() + math.log(sigma * math.sqrt(2 * math.pi))
    assert one.log_evidence == pytest.approx(exact, abs=1e-4)


@pytest.mark.parametrize("mu", [-1.0, 0.01, 0.025, 1.5])
def test_the_narrowest_posterior_that_is_promised_is_taken(mu):
    noise = (1 / (1 / 0.10001**2 - 1)) ** 0.5  # of the posterior, sigma is 0.1
    one = GapExplorer(GRID, log_normal(GRID) - (GRID - mu) ** 2 / (2 * noise**2))
    assert one.settings["posteriors"][0]["gaussian"][1] == pytest.approx(0.10001, abs=1e-5)


def test_a_joint_in_float32_may_round_above_zero():
    """Far out log p(z) is -72, and a float32 there has steps of 8e-6."""
    certain = (log_normal(GRID).float() + 2e-5).float()
    one = GapExplorer(GRID, certain)
    assert one.terms()["reconstruction"] <= 1e-6
    with pytest.raises(ValueError, match=r"must have log p\(x\|z\) <= 0"):
        GapExplorer(GRID, certain + 2e-4)


def test_a_name_is_no_formula():
    named = {"$x_ = z": LINE_JOINT, "a $ and a $ {": LINE_JOINT}
    assert "<svg" in str(GapExplorer(GRID, named).static())


@pytest.mark.parametrize("bad", [10**400, "left", None, 1j])
def test_a_grid_of_no_numbers_is_told_in_a_sentence(bad):
    with pytest.raises(ValueError, match=r"^z must be a grid of finite numbers, shape \(N,\); got"):
        GapExplorer([bad, 1], GRID)
    with pytest.raises(ValueError, match=r"^log_joint must be numbers, of the grid's shape \(481,\); got"):
        GapExplorer(GRID, [bad, 1])


def test_a_grid_may_be_a_reversed_view():
    joint = LINE_JOINT.numpy()
    backwards = GapExplorer(-GRID.numpy()[::-1], joint[::-1].copy()[::-1])
    assert backwards.gap == GapExplorer(GRID, joint).gap
