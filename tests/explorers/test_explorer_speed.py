"""The explorers of the built book keep their bars: sizes as they stand, times five times over, for busy machines."""

import os
import re
import subprocess
import sys

import pytest
import torch
from conftest import ROOT

from benchmarks import explorers
from vaecore.explorer import DigitExplorer, GapExplorer, LatentExplorer, blobs
from vaecore.vae import VAE

SLACK = 5
PAGE = '<!doctype html><html lang="en"><meta charset="utf-8"><title>Speed</title><body>{}'
FAR = '<div style="height: 5000px"></div>'


def test_the_book_keeps_its_bars(browser, site):
    found = explorers.measure(browser, site, n_inputs=30)
    assert explorers.faults(found, SLACK) == []
    assert {one["page"] for one in found["explorers"]} == set(found["pages"]) >= {"index", "02_kl", "04_m1"}
    assert all(one["painted"] for one in found["explorers"]) and found["networks"]


# From here on: what is slow or large is found out.


@pytest.fixture(scope="module")
def gap() -> str:
    z = torch.linspace(-12, 12, 481, dtype=torch.float64)
    return GapExplorer(z, torch.distributions.Normal(0, 1).log_prob(z) - (z - 2) ** 2 - 1).fragment()


@pytest.fixture(scope="module")
def decoder():
    torch.manual_seed(0)
    return VAE(d_z=2, hidden=(64,))


@pytest.fixture(scope="module")
def measured(browser, tmp_path_factory):
    def measure(*fragments: str, far: bool = True) -> dict:
        folder = tmp_path_factory.mktemp("pages")
        body = (FAR if far else "").join(["", *fragments])
        folder.joinpath("page.html").write_text(PAGE.format(body), encoding="utf-8")
        return explorers.measure(browser, folder, n_inputs=12)

    return measure


@pytest.fixture(scope="module")
def sound(measured, gap, decoder) -> dict:
    return measured(LatentExplorer(decoder).fragment(), gap)


def slowed(script: str, at: str, milliseconds: int, behind: bool = False) -> str:
    """The script with a pause before a place, or behind it."""
    wait = f"for (const t = performance.now(); performance.now() - t < {milliseconds};);"
    assert at in script
    return script.replace(at, at + wait if behind else wait + at)


def test_what_is_measured(sound):
    flat, curves = sound["explorers"]
    assert (flat["name"], curves["name"]) == ("Latent explorer", "ELBO gap viewer")
    assert set(flat["painted"]) == {"slider", "button", "plane"} and set(curves["painted"]) == {"slider", "button"}
    for times in (*flat["painted"].values(), *curves["painted"].values()):
        assert 0 < times["p50_ms"] <= times["p95_ms"] and times["inputs"] == 12
    (net,) = sound["networks"]
    assert net["role"] == "decoder" and 0 < net["forward_ms"] < 5
    weights = 2 * (2 * 64 + 64 + 64 * 784 + 784) / 1000  # two bytes each; base64 over gzip keeps about that
    assert net["gzip_kb"] == pytest.approx(weights, rel=0.15)
    assert 300 < sound["pages"]["page"]["html_kb"] < 1000  # here the net stands in the page itself


def test_a_slow_paint_is_found(measured, gap):
    found = measured(slowed(gap, "const terms = gapTerms(grid, problem, mu, sigma);", 200))
    assert found["explorers"][0]["painted"]["slider"]["p50_ms"] > 200
    for said, kind in zip(explorers.faults(found, SLACK), ("slider", "button"), strict=True):
        assert re.fullmatch(rf"the {kind} of ELBO gap viewer 1 on page: \d+(\.\d)? ms, and 170 are the most\.", said)


@pytest.mark.parametrize("place", ["load", "scroll"])
def test_a_slow_start_is_found(measured, gap, place):
    """Also at the top of a page, where an explorer is alive before anybody scrolls."""
    slow = slowed(gap, "const curves = gapCurves(grid)", 1500)
    (one,) = measured(slow, far=place == "scroll")["explorers"]
    assert one["alive_from"] == place and 1500 < one["alive_ms"] < 6000
    assert len(explorers.faults(dict(pages={}, explorers=[one | dict(painted={})], networks=[]))) == 1


def test_both_surfaces_are_timed(measured, digits):
    """The pad that is drawn on, and the plane on which z is dragged; one that is only clicked is none."""
    torch.manual_seed(0)
    model = VAE(d_z=2, hidden=(8,))
    for made, surface in ((DigitExplorer(model, digits), "pad"), (LatentExplorer(model, digits), "plane")):
        (one,) = measured(made.fragment())["explorers"]
        assert set(one["painted"]) == {"slider", "button", surface}
        assert all(times["inputs"] == 12 for times in one["painted"].values())


def test_a_slow_button_is_found(measured, gap):
    press = "onclick: onClick, ..."
    assert press in gap
    slow = "onclick: () => { for (const t = performance.now(); performance.now() - t < 200;); onClick(); }, ..."
    found = measured(gap.replace(press, slow))
    (said,) = explorers.faults(found, SLACK)
    assert said.startswith("the button of ELBO gap viewer 1 on page: ")


def test_it_keeps_to_two_cores():
    """In a program of its own, as the cores of this one are not to change; where a system cannot, it has them all."""
    held = min(2, explorers.cores()) if hasattr(os, "sched_setaffinity") else os.cpu_count()
    code = "import sys; from benchmarks import explorers; sys.argv = ['explorers', '--site', 'nowhere']\n"
    code += "try: explorers.main()\nexcept SystemExit as end: print(end, explorers.cores())"
    out = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True).stdout
    assert re.fullmatch(rf"explorers: site must be .* {held}\n", out)


@pytest.mark.parametrize("there, kept", [(4, 2), (1, 1), (None, os.cpu_count())], ids=["four", "one", "no call"])
def test_its_browser_starts_on_two_of_many_cores(monkeypatch, there, kept):
    """On a machine of so many cores, played, and on a system that cannot hold a program to some of them."""
    if there:
        held = set(range(there))
        monkeypatch.setattr(os, "sched_getaffinity", lambda process: held, raising=False)
        monkeypatch.setattr(
            os, "sched_setaffinity", lambda process, some: held.intersection_update(some), raising=False
        )
    else:
        monkeypatch.delattr(os, "sched_getaffinity", raising=False)
        monkeypatch.delattr(os, "sched_setaffinity", raising=False)
    monkeypatch.setattr(explorers, "sync_playwright", lambda: sys.exit(f"{explorers.cores()} cores"))
    monkeypatch.setattr(sys, "argv", ["explorers"])
    with pytest.raises(SystemExit, match=rf"^{kept} cores$"):
        explorers.main()


def test_a_slow_net_is_found(browser, decoder, monkeypatch):
    blob = dict(id="net", role="decoder", page="page", text=blobs.network_blob(decoder.decoder))
    start = "function forward(network, input) {"
    monkeypatch.setattr(explorers, "JAVASCRIPT", slowed(explorers.JAVASCRIPT, start, 6, behind=True))
    (net,) = explorers.of_networks(browser, [blob])
    assert net["forward_ms"] > 5.5  # the clock of a page is coarse
    assert len(explorers.faults(dict(pages={}, explorers=[], networks=[net]))) == 1


def test_large_files_are_found(sound):
    net = dict(sound["networks"][0], gzip_kb=1000.1)
    found = dict(explorers=[], networks=[net], pages=dict(index=dict(html_kb=400.1), small=dict(html_kb=399.9)))
    assert explorers.faults(found, slack=1000) == [
        "the HTML of index: 400.1 kb, and 400 are the most.",
        f"the decoder {net['id']} of page: 1000.1 kb, and 1000 are the most.",
    ]


def test_an_explorer_that_does_not_answer_is_told(measured, gap):
    dead = gap.replace("this.model.set(each, one)", "")
    assert dead != gap
    with pytest.raises(ValueError, match=r"the slider of ELBO gap viewer on file.* changes nothing"):
        measured(dead)


def test_an_explorer_that_does_not_come_alive_is_told(measured, gap):
    broken = gap.replace('"kind": "gap"', '"kind": "gaps"')
    assert broken != gap
    with pytest.raises(ValueError, match=r"ELBO gap viewer on file.* does not come alive; it says: .+"):
        measured(broken)


def test_a_folder_without_explorers_is_told(measured):
    with pytest.raises(ValueError, match=r"site must be a folder of pages with explorers; .* has none"):
        measured("<p>No explorer.</p>")
