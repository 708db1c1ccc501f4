"""The explorers of the built book keep their bars: sizes as they stand, times five times over, for busy machines."""

import re

import pytest
from explorer_pages import GRID, LINE, log_joint, small_vae

from benchmarks import explorers
from vaecore.explorer import DigitExplorer, GapExplorer, LatentExplorer

SLACK = 5
PAGE = '<!doctype html><html lang="en"><meta charset="utf-8"><title>Speed</title><body>{}'
FAR = '<div style="height: 5000px"></div>'


def test_the_book_keeps_its_bars(browser, site):
    found = explorers.measure(browser, site, n_inputs=30)
    assert explorers.faults(found, SLACK) == []
    assert {one["page"] for one in found["explorers"]} == set(found["pages"]) >= {"index", "02_kl", "05_look_inside"}
    assert all(one["painted"] for one in found["explorers"]) and found["networks"]


# --- what is slow or large is found --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def gap() -> str:
    return GapExplorer(GRID, log_joint(GRID, LINE)).fragment()


@pytest.fixture
def measured(browser, tmp_path):
    def measure(*fragments: str, far: bool = True, n_inputs: int = 6) -> dict:
        body = (FAR if far else "").join(["", *fragments])
        (tmp_path / "page.html").write_text(PAGE.format(body), encoding="utf-8")
        return explorers.measure(browser, tmp_path, n_inputs=n_inputs)

    return measure


def slowed(script: str, at: str, milliseconds: int) -> str:
    """The script with a pause before a place."""
    assert at in script
    return script.replace(at, f"for (const t = performance.now(); performance.now() - t < {milliseconds};); {at}")


def test_what_is_measured_and_what_is_large(measured, digits):
    """Of the pad that is drawn on, and of a plane on which z is dragged; one that is only clicked has no times."""
    found = measured(LatentExplorer(small_vae()).fragment(), DigitExplorer(small_vae(), digits).fragment())
    flat, digit = found["explorers"]
    assert (flat["name"], digit["name"]) == ("Latent explorer", "Draw a digit")
    for one, surface in ((flat, "plane"), (digit, "pad")):
        assert set(one["painted"]) == {"slider", "button", surface}
    for times in (*flat["painted"].values(), *digit["painted"].values()):
        assert 0 < times["p50_ms"] <= times["p95_ms"] and times["inputs"] == 6
    decoder = next(net for net in found["networks"] if net["role"] == "decoder")
    weights = 2 * (2 * 8 + 8 + 8 * 784 + 784) / 1000  # two bytes each; base64 over gzip keeps about that
    assert decoder["gzip_kb"] == pytest.approx(weights, rel=0.15) and 0 < decoder["forward_ms"] < 5
    large = dict(explorers=[], networks=[dict(decoder, gzip_kb=1000.1)], pages=dict(index=dict(html_kb=400.1)))
    assert [fault.split(":")[1] for fault in explorers.faults(large, slack=1000)] == [
        " 400.1 kb, and 400 are the most.",
        " 1000.1 kb, and 1000 are the most.",
    ]


def test_a_slow_paint_is_found(measured, gap):
    found = measured(slowed(gap, "const terms = termsOf(grid, posterior, mu, sigma);", 200))
    for said, kind in zip(explorers.faults(found, SLACK), ("slider", "button"), strict=True):
        assert re.fullmatch(rf"the {kind} of ELBO gap viewer 1 on page: \d+(\.\d)? ms, and 170 are the most\.", said)


@pytest.mark.parametrize(
    "part, broken, words",
    [
        ("this.model.set(each, one)", "", "changes nothing"),
        ('"kind": "gap"', '"kind": "gaps"', "does not come alive; it says: .+"),
    ],
)
def test_an_explorer_that_does_not_work_is_named(measured, gap, part, broken, words):
    assert part in gap
    with pytest.raises(ValueError, match=words):
        measured(gap.replace(part, broken))
