"""Explorers with a kernel, in a real browser: values go both ways, in JupyterLab and in the classic notebook."""

import base64
import lzma

import jupyter_host
import pytest
import torch
from conftest import ROOT
from jupyter_host import PIXELS, SLIDERS, pixels, press, wait_for_sliders

from tools.code_wheel import code_wheel

CELLS = (
    jupyter_host.EXPLORER,
    "explorer",
    """linked, slider = LatentExplorer(model, digits), FloatSlider(min=-3, max=3, step=0.01)
link((slider, "value"), (linked, "z"), transform=(lambda v: [v, linked.z[1]], lambda z: z[0]))
HBox([slider, linked])""",
    "grey = LatentExplorer(decode=lambda z: z[:, :1].sigmoid().expand(-1, 784), d_z=2)\ngrey",
    "LatentExplorer(model, digits, live=False)",
    "m2 = pretrained('m2-book', digits)\nhand = AnalogiesExplorer(m2, digits)\nhand",
    "hand",
    "drawn = DigitExplorer(model, digits)\ndrawn",
    "completer = CompletionExplorer({'left': pretrained('cvae-left', digits)}, digits)\ncompleter",
    "every = ClassesExplorer(m2, digits)\nevery",
    "z = torch.linspace(-12, 12, 481)\ngap = GapExplorer(z, -(z**2) - (2 - z)**2)\ngap",
    "dear = BetaExplorer({1: model, 4: model}, digits)\ndear",
    "learner = TrainingExplorer(digits)\nlearner",
    "Tab([FloatSlider(), LatentExplorer(model, digits)])",
)
FIRST, SECOND, LINKED, GREY, ALONE, HAND, HAND_AGAIN, DRAWN, COMPLETER, EVERY, GAP, DEAR, LEARNER = range(13)
LAST_TILE = "() => document.querySelector('.widget-tab .vae-manifold').getContext('2d').getImageData(420, 420, 28, 28)"


def painted(notebook, n: int, expected: torch.Tensor) -> bool:
    return bool((pixels(notebook, n) - expected).abs().max() < 0.005)


def goes_both_ways(notebook, decoded) -> None:
    """z of one explorer in two views, from Python and from a key; an explorer without a kernel keeps to itself."""
    notebook.run("explorer.z = torch.tensor([1.5, -2])")
    for n in (FIRST, SECOND):
        wait_for_sliders(notebook, n, [1.5, -2])
        assert painted(notebook, n, decoded(1.5, -2))
    press(notebook, FIRST, "ArrowRight", 5)
    notebook.wait_for("[round(v, 6) for v in explorer.z]", "[1.55, -2.0]")
    notebook.wait_for("history[-1] == explorer.z", "True")  # observe was called
    wait_for_sliders(notebook, SECOND, [1.55, -2])
    assert painted(notebook, SECOND, decoded(1.55, -2.0))
    said = notebook.run("explorer.z = [1, 2, 3]")
    assert said.startswith("TraitError: z must be") and notebook.run("print(explorer.z[1])") == "-2.0"


def keeps_to_itself(notebook, n: int, decoded) -> None:
    """An explorer that was asked to be HTML lives, and Python hears nothing of it."""
    before = notebook.run("print(explorer.z, history)")
    press(notebook, n, "ArrowLeft", 3)
    wait_for_sliders(notebook, n, [-0.03, 0])
    assert painted(notebook, n, decoded(-0.03, 0.0))
    assert notebook.run("print(explorer.z, history)") == before


def test_in_jupyterlab(browser, tmp_path, decoded):
    with jupyter_host.in_lab(browser, tmp_path, *CELLS) as lab:
        lab.wait_until("() => document.querySelectorAll('.vae-live[data-ready]').length >= 13")
        goes_both_ways(lab, decoded)
        keeps_to_itself(lab, ALONE, decoded)
        is_linked(lab)
        decodes_in_the_kernel(lab)
        shares_a_digit(lab)
        reads_a_drawing(lab)
        answers_python(lab)
        hands_over_what_it_has_learned(lab)
        lab.page.locator(".widget-tab [role=tab]").nth(1).click()  # opened late, it paints its whole plane
        lab.wait_until(f"{LAST_TILE}.data.some(v => v)")
        assert lab.page.locator(".vae-trouble").count() == 0
        assert lab.foreign == [] and lab.errors == []


def is_linked(lab) -> None:
    """A slider of ipywidgets, next to an explorer in a box with room for it."""
    values = "print(round(slider.value, 6), [round(v, 6) for v in linked.z])"
    lab.run("slider.value = 1.5")
    wait_for_sliders(lab, LINKED, [1.5, 0])
    press(lab, LINKED, "ArrowRight", 1)
    lab.wait_until("() => document.querySelector('.widget-slider .widget-readout').textContent === '1.51'")
    assert lab.run(values) == "1.51 [1.51, 0.0]"
    lab.page.locator(".widget-slider [role=slider]").first.press("ArrowLeft")
    wait_for_sliders(lab, LINKED, [1.5, 0])
    assert lab.run(values) == "1.5 [1.5, 0.0]"
    assert lab.page.locator(".widget-hbox .vae-plane").bounding_box()["width"] > 200


def decodes_in_the_kernel(lab) -> None:
    lab.run("grey.z = [2, 0]")
    wait_for_sliders(lab, GREY, [2, 0])
    lab.wait_until(f"n => ({PIXELS})(n)[0] > 0.85", GREY)
    assert painted(lab, GREY, torch.sigmoid(torch.tensor(2.0)))
    press(lab, GREY, "Home", 1)  # z = -3, moved in the page
    lab.wait_until(f"n => ({PIXELS})(n)[0] < 0.06", GREY)


def shares_a_digit(lab) -> None:
    """A digit picked in one view is in Python and in the other view; one set by Python has a style of its own."""
    says = "([n, k]) => document.querySelectorAll('.vae-live')[n].innerText.includes(`test digit ${k} of`)"
    lab.run("hand.image = hand.test_digits[0]")
    lab.wait_until(says, [HAND, 1])
    lab.page.locator(".vae-live").nth(HAND).get_by_role("button", name="next test digit").click()
    lab.wait_for("torch.equal(hand.image, hand.test_digits[1])", "True")
    lab.wait_until(says, [HAND_AGAIN, 2])
    press(lab, HAND_AGAIN, "End", 1)
    lab.wait_for("max(hand.z)", "3.0")
    lab.run("hand.image = hand.test_digits[4]")
    for n in (HAND, HAND_AGAIN):
        lab.wait_until(says, [n, 5])
    assert lab.run("print(hand.z)") == "None"


def reads_a_drawing(lab) -> None:
    pad = lab.page.locator(".vae-live").nth(DRAWN).locator(".vae-pad")
    pad.scroll_into_view_if_needed()
    box = pad.bounding_box()
    lab.page.mouse.move(box["x"] + 0.5 * box["width"], box["y"] + 0.2 * box["height"])
    lab.page.mouse.down()
    lab.page.mouse.move(box["x"] + 0.45 * box["width"], box["y"] + 0.8 * box["height"], steps=6)
    lab.page.mouse.up()
    lab.wait_for("m2.classify(drawn.bits).item()", "1")  # a stroke from above is a one


def answers_python(lab) -> None:
    lab.run("completer.z = torch.full((20,), 0.5); every.z = [0.25] * 10; gap.mu = 1.25")
    contains = "([n, text]) => document.querySelectorAll('.vae-live')[n].innerText.includes(text)"
    for n, text, values in (
        (COMPLETER, "0.50", "completer.z"),
        (EVERY, "0.25", "every.z"),
        (GAP, "1.25", "[gap.mu, gap.sigma]"),
    ):
        lab.wait_until(contains, [n, text])
        lab.page.locator(".vae-live").nth(n).locator("input[type=range]").first.press("End")
        lab.wait_for(f"max({values})", "3.0")
    press(lab, DEAR, "End", 1)
    lab.wait_for("dear.beta", "4.0")
    lab.run("dear.beta = 1")
    lab.wait_until(contains, [DEAR, "β\n1"])


def hands_over_what_it_has_learned(lab) -> None:
    lab.run("learner.d_z, learner.beta = 3, 4")
    live = lab.page.locator(".vae-live").nth(LEARNER)
    live.get_by_label("β, the weight of the KL").locator("xpath=..").get_by_text("4", exact=True).wait_for()
    live.get_by_role("button", name="reset").click()
    live.get_by_role("button", name="one pass").click()
    lab.wait_for(
        "learner.learned.get('d_z'), len(learner.learned) and learner.model().generate(2).mean.shape[1]", "3 196"
    )


# --- ipywidgets 7.7, which Colab has, in the classic notebook of that time ------------------------------------------

CLASSIC = (jupyter_host.EXPLORER, "explorer", "LatentExplorer(model, digits, live=False)")


def set_up() -> str:
    """The first cell of a notebook, which adds what Colab lacks."""
    packed = base64.b64encode(lzma.compress(code_wheel(ROOT))).decode()
    return f'{(ROOT / "tools" / "first_cell.py").read_text()}\n\nbring(weights="", packed="{packed}")'


@pytest.mark.slow
def test_in_the_classic_notebook(browser, colab, tmp_path, decoded):
    """Whose style has a root of 10 px, so that whatever is measured in rem shrinks."""
    with jupyter_host.in_classic(browser, colab, tmp_path, set_up(), *CLASSIC) as classic:
        classic.wait_until("() => document.querySelectorAll('.vae-live[data-ready]').length === 3")
        assert classic.run("print(ipywidgets.__version__)") == "7.7.1"
        goes_both_ways(classic, decoded)
        keeps_to_itself(classic, 2, decoded)
        link = 'link((slider, "value"), (explorer, "z"), transform=(lambda v: [v, explorer.z[1]], lambda z: z[0]))'
        classic.run(f"slider = FloatSlider(min=-3, max=3); {link}; slider.value = 0.5")
        classic.wait_until(f"n => ({SLIDERS})(n)[0] === 0.5", FIRST)
        for n in (FIRST, 2):
            live = classic.page.locator(".vae-live").nth(n)
            assert live.evaluate("e => parseFloat(getComputedStyle(e).fontSize)") >= 14
            assert live.locator("canvas.vae-digit").bounding_box()["width"] >= 150
        assert classic.page.locator(".vae-trouble").count() == 0 and classic.foreign == []
