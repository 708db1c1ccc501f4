"""The other explorers with a kernel, in JupyterLab: pads, rows of classes, completions, curves; in boxes and tabs."""

import jupyter_host
import pytest

PADS = (
    """import torch
from vaecore import data, pretrained
from vaecore.explorer import *
digits = data.mnist(root=pretrained.PACKAGED)
flat, m2 = pretrained.pretrained("m1-2d", digits), pretrained.pretrained("m2", digits)
cvae = pretrained.pretrained("cvae-left", digits)
hand = AnalogiesExplorer(m2, digits)
hand""",
    "hand",
    "drawn = DigitExplorer(flat, digits)\ndrawn",
    """completer = CompletionExplorer({"left": cvae}, digits)
completer""",
    "every = ClassesExplorer(m2, digits)\nevery",
    """z = torch.linspace(-12, 12, 481)
gap = GapExplorer(z, -(z**2) - (2 - z)**2)
gap""",
    """from ipywidgets import FloatSlider, HBox, Tab
HBox([FloatSlider(), LatentExplorer(flat, digits)])""",
    "Tab([FloatSlider(), LatentExplorer(flat, digits)])",
)


@pytest.fixture(scope="module")
def pads(browser, tmp_path_factory):
    with jupyter_host.in_lab(browser, tmp_path_factory.mktemp("lab"), *PADS) as notebook:
        notebook.wait_until("() => document.querySelectorAll('.vae-live[data-ready]').length >= 7")
        yield notebook


def caption(notebook, n: int) -> str:
    return notebook.page.locator(".vae-live").nth(n).locator(".vae-source .vae-digit-caption").first.inner_text()


def test_a_digit_picked_in_one_view_is_in_python_and_in_the_other_view(pads):
    pads.page.locator(".vae-live").nth(0).get_by_role("button", name="next test digit").click()
    pads.wait_for("torch.equal(hand.image, hand.test_digits[1])", "True")
    pads.wait_until("() => document.querySelectorAll('.vae-source')[1].innerText.includes('test digit 2 of')")
    assert caption(pads, 0) == caption(pads, 1) == pads.run("print('test digit 2 of 60: a', hand.labels[1].item())")
    pads.page.locator(".vae-live").nth(1).locator(".vae-sliders input").first.press("End")
    pads.wait_for("max(hand.z)", "3.0")
    pads.run("hand.image = hand.test_digits[4]")  # a new digit has a style of its own
    pads.wait_until("() => document.querySelectorAll('.vae-source')[0].innerText.includes('test digit 5 of')")
    assert pads.run("print(hand.z)") == "None"
    (first, second) = (pads.page.locator(".vae-live").nth(n).locator("output").all_inner_texts() for n in (0, 1))
    assert first == second


def test_a_digit_drawn_by_mouse_is_read_in_python(pads):
    pad = pads.page.locator(".vae-live").nth(2).locator(".vae-pad")
    pad.scroll_into_view_if_needed()
    box = pad.bounding_box()
    pads.page.mouse.move(box["x"] + 0.5 * box["width"], box["y"] + 0.2 * box["height"])
    pads.page.mouse.down()
    pads.page.mouse.move(box["x"] + 0.45 * box["width"], box["y"] + 0.8 * box["height"], steps=6)
    pads.page.mouse.up()
    pads.wait_for("m2.classify(drawn.bits).item()", "1")  # a stroke from above is a one
    assert caption(pads, 2) == "a drawing"
    pads.run("drawn.epsilon = [1, -1]")
    pads.wait_until("() => document.querySelectorAll('.vae-live')[2].innerText.includes('\u22121.00')")
    outputs = pads.page.locator(".vae-live").nth(2).locator(".vae-sliders output")
    assert outputs.all_inner_texts() == ["1.00", "\u22121.00"]
    assert pads.run("print(m2.classify(drawn.bits).item(), drawn.epsilon)") == "1 [1.0, -1.0]"


def test_the_others_answer_python_and_tell_it(pads):
    pads.run("completer.z = torch.full((20,), 0.5); every.z = [0.25] * 10; gap.mu = 1.25")
    shown = "([n, text]) => document.querySelectorAll('.vae-live')[n].innerText.includes(text)"
    for n, text in ((3, "0.50"), (4, "0.25"), (5, "1.25")):
        pads.wait_until(shown, [n, text])
    for n, values in ((3, "completer.z"), (4, "every.z"), (5, "[gap.mu, gap.sigma]")):
        pads.page.locator(".vae-live").nth(n).locator("input[type=range]").first.press("End")
        pads.wait_for(f"max({values})", "3.0")
    assert pads.page.locator(".vae-trouble").count() == 0 and pads.errors == [] and pads.foreign == []


def test_beside_a_slider_in_a_box_there_is_room_for_it(pads):
    box = pads.page.locator(".widget-hbox:has(> .vae-host)")
    assert box.locator(".vae-live").bounding_box()["width"] > 300
    plane, slider = box.locator(".vae-plane").bounding_box(), box.locator(".widget-slider").bounding_box()
    assert plane["width"] > 200 and plane["x"] >= slider["x"] + slider["width"]


def test_in_a_tab_that_is_opened_late_its_plane_is_whole(pads):
    tab = pads.page.locator(".widget-tab")
    assert not tab.locator(".vae-live").is_visible()
    tab.locator("[role=tab]").nth(1).click()
    tab.locator(".vae-live[data-ready]").wait_for()
    assert tab.locator(".vae-live").bounding_box()["width"] > 300
    pads.wait_until("""() => {
        const plane = document.querySelector(".widget-tab .vae-manifold"), side = plane.width / 16;
        const { data } = plane.getContext("2d").getImageData(0, 0, plane.width, plane.height), inked = new Set();
        for (let i = 0; i < data.length / 4; i++) {
            const row = Math.floor(i / plane.width / side), column = Math.floor(i % plane.width / side);
            if (data[4 * i + 3]) inked.add(16 * row + column);
        }
        return inked.size === 256;
    }""")
