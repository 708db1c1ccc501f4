"""The explorers with ipywidgets 7.7, Colab's line, in a second environment and the classic notebook of that time."""

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

import jupyter_host
import pytest
import torch
from conftest import ROOT
from jupyter_host import SLIDERS, pixels, press, wait_for_sliders

LOCK = Path(__file__).parents[1] / "ipywidgets7.txt"
FOLDER = ROOT / "_build" / "ipywidgets7"
CELLS = (
    jupyter_host.EXPLORER,
    "explorer",
    "LatentExplorer(model, digits, live=False)",
)
FIRST, SECOND, ALONE = range(3)  # the explorers of the notebook, in their order
# what a cell that ends in `shown` gives to the notebook, as IPython makes it
BUNDLES = """from IPython.utils.capture import capture_output
def bundle(shown):
    with capture_output() as caught:
        formatted = get_ipython().display_formatter.format(shown)[0]
    return sorted({*formatted, *(kind for output in caught.outputs for kind in output.data)})
"""


@pytest.fixture(scope="module")
def python7() -> Path:
    """The Python of the second environment, made once: its own Jupyter in front of this one's torch."""
    python, made_of = FOLDER / "bin" / "python", FOLDER / "made_of"
    ours = [place for place in sys.path if place.endswith("-packages")]
    wanted = hashlib.sha256(f"{LOCK.read_text()}{sys.executable}{ours}".encode()).hexdigest()
    if made_of.exists() and made_of.read_text() == wanted:
        return python
    shutil.rmtree(FOLDER, ignore_errors=True)
    uv = Path(sys.executable).with_name("uv")
    subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, FOLDER], check=True)
    install = [uv, "pip", "install", "--quiet", "--python", python, "--require-hashes", "-r", LOCK]
    subprocess.run(install, check=True)
    (site,) = FOLDER.glob("lib/python*/site-packages")
    lines = (f"import site; site.addsitedir({place!r})\n" for place in ours)  # behind its own packages
    (site / "torch_of_the_first.pth").write_text("".join(lines))
    made_of.write_text(wanted)
    return python


@pytest.fixture(scope="module")
def classic(browser, python7, tmp_path_factory):
    with jupyter_host.in_classic(browser, python7, tmp_path_factory.mktemp("classic"), *CELLS) as notebook:
        notebook.wait_until("() => document.querySelectorAll('.vae-live[data-ready]').length === 3")
        yield notebook


def is_painted(notebook, n: int, expected: torch.Tensor) -> bool:
    return bool((pixels(notebook, n) - expected).abs().max() < 0.005)


def test_it_imports_and_shows(classic):
    assert classic.run("print(ipywidgets.__version__)") == "7.7.1"
    assert classic.page.locator(".vae-trouble").count() == 0
    assert classic.foreign == []


def test_z_goes_both_ways(classic, decoded):
    classic.run("explorer.z = [1.5, -2]")
    for n in (FIRST, SECOND):
        wait_for_sliders(classic, n, [1.5, -2])
        assert is_painted(classic, n, decoded(1.5, -2))
    press(classic, FIRST, "ArrowRight", 5)
    classic.wait_for("[round(v, 6) for v in explorer.z]", "[1.55, -2.0]")
    classic.wait_for("seen[-1] == explorer.z", "True")
    wait_for_sliders(classic, SECOND, [1.55, -2])
    assert is_painted(classic, SECOND, decoded(1.55, -2.0))


def test_a_slider_of_ipywidgets_is_linked(classic):
    link = 'link((slider, "value"), (explorer, "z"), transform=(lambda v: [v, explorer.z[1]], lambda z: z[0]))'
    classic.run(f"slider = FloatSlider(min=-3, max=3); {link}; slider.value = 0.5")
    classic.wait_for("explorer.z[0]", "0.5")
    classic.wait_until(f"n => ({SLIDERS})(n)[0] === 0.5", FIRST)
    assert classic.run("explorer.z = [-1, 1]; print(slider.value)") == "-1.0"


def test_the_kind_of_output_is_what_was_asked_for(classic):
    """The older ipywidgets shows widgets by `_ipython_display_`, which comes before a mimebundle."""
    widget, html = "application/vnd.jupyter.widget-view+json", "text/html"
    classic.run(BUNDLES)
    live, alone = (classic.run(f"print(bundle(LatentExplorer(model, digits, live={live})))") for live in (True, False))
    assert widget in live and html not in live
    assert html in alone and widget not in alone


def test_without_a_kernel_in_the_classic_notebook(classic, decoded):
    press(classic, ALONE, "ArrowLeft", 3)
    wait_for_sliders(classic, ALONE, [-0.03, 0])
    assert is_painted(classic, ALONE, decoded(-0.03, 0.0))


def test_it_is_as_large_as_elsewhere(classic):
    """Its style has a root of 10 px, so whatever is measured in rem shrinks."""
    for n in (FIRST, ALONE):
        live = classic.page.locator(".vae-live").nth(n)
        assert live.evaluate("e => parseFloat(getComputedStyle(e).fontSize)") >= 14
        assert live.locator("canvas.vae-digit").bounding_box()["width"] >= 150
