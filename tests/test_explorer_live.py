"""The explorers with a kernel: JupyterLab driven by a real browser, and the values going both ways."""

import json
import sys

import jupyter_host
import pytest
import torch
import traitlets
from ipywidgets.widgets.widget import _remove_buffers

from vaecore import explorer, pretrained

CELLS = (
    """from ipywidgets import FloatSlider, VBox
from traitlets import link
import torch
from vaecore import data, pretrained
from vaecore.explorer import LatentExplorer
digits = data.mnist(root=pretrained.PACKAGED)
model = pretrained.pretrained("m1-2d", digits)
explorer = LatentExplorer(model, digits)
seen = []
explorer.observe(lambda change: seen.append(change.new), "z")
explorer""",
    "explorer",
    """linked = LatentExplorer(model, digits)
slider = FloatSlider(min=-3, max=3, step=0.01)
link((slider, "value"), (linked, "z"), transform=(lambda v: [v, linked.z[1]], lambda z: z[0]))
VBox([slider, linked])""",
    """grey = LatentExplorer(decode=lambda z: z[:, :1].sigmoid().expand(-1, 784), d_z=2)
grey""",
    "LatentExplorer(model, digits, live=False)",
)
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
LAB = (
    "jupyterlab",
    "--expose-app-in-browser",
    "--ServerApp.port_retries=0",
    f"--IdentityProvider.token={jupyter_host.TOKEN}",
    "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
    "--LabApp.news_url=None",
    "--LabApp.extension_manager=readonly",
)
OURS = {
    "@jupyterlab/apputils-extension:themes": {"theme": "JupyterLab Light", "adaptive-theme": False},
    "@jupyterlab/apputils-extension:notification": {"fetchNews": "false"},
    "@jupyterlab/notebook-extension:tracker": {"windowingMode": "none"},  # all cells are there, also those below
}
FIRST, SECOND, LINKED, GREY, ALONE = range(5)  # the explorers of the notebook, in their order

# of the n-th explorer: the numbers that its sliders for z show, and its digit's pixels, white 0 and black 1
SLIDERS = """n => [...document.querySelectorAll(".vae-live")[n].querySelectorAll(".vae-sliders > div")].map(row => {
    const shown = Number(row.querySelector("output").textContent.replace("\u2212", "-"));
    return Number(row.querySelector("input").value) === shown ? shown : "moving";
})"""
ALL_SLIDERS = "() => [...document.querySelectorAll('.vae-sliders input')].map(e => e.value)"
PIXELS = """n => {
    const canvas = document.querySelectorAll(".vae-live")[n].querySelector("canvas.vae-digit");
    const { data } = canvas.getContext("2d").getImageData(0, 0, 28, 28);
    return Array.from({ length: 784 }, (_, i) => 1 - data[4 * i] / 255);
}"""
# the least contrast of any text with what lies behind it, and that text
CONTRAST = """root => {
    const pen = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
    const rgba = colour => {
        pen.clearRect(0, 0, 1, 1); pen.fillStyle = colour; pen.fillRect(0, 0, 1, 1);
        return pen.getImageData(0, 0, 1, 1).data;
    };
    const light = colour => {
        const [r, g, b] = [...rgba(colour)].slice(0, 3).map(v => v / 255)
            .map(v => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const behind = e => {
        for (; e; e = e.parentElement) {
            const colour = getComputedStyle(e).backgroundColor;
            if (rgba(colour)[3] === 255) return colour;
        }
        return "white";
    };
    const texts = [...root.querySelectorAll("*")].filter(e =>
        e.checkVisibility() && [...e.childNodes].some(c => c.nodeType === 3 && c.data.trim()));
    return texts.map(e => {
        const style = getComputedStyle(e), ink = e instanceof SVGElement ? style.fill : style.color;
        const [a, b] = [light(ink), light(behind(e))].sort((p, q) => q - p);
        return [(a + 0.05) / (b + 0.05), e.textContent];
    }).reduce((least, next) => (next[0] < least[0] ? next : least));
}"""


@pytest.fixture(scope="session")
def lab_server(tmp_path_factory):
    """A JupyterLab of its own: no settings, no kernels, no folders of whoever runs the tests."""
    folder = tmp_path_factory.mktemp("lab")
    overrides = folder / "config" / "labconfig" / "default_setting_overrides.json"
    overrides.parent.mkdir(parents=True)
    overrides.write_text(json.dumps(OURS))
    jupyter_host.write(folder / "notebooks" / "explorers.ipynb", *CELLS)
    jupyter_host.write(folder / "notebooks" / "pads.ipynb", *PADS)
    with jupyter_host.server(sys.executable, folder, *LAB) as address:
        yield address


@pytest.fixture(scope="module")
def opened(browser, lab_server):
    with jupyter_host.in_lab(browser, lab_server, "explorers.ipynb") as notebook:
        notebook.wait_until("() => document.querySelectorAll('.vae-live[data-ready]').length === 5")
        notebook.page.wait_for_selector(".widget-slider")
        yield notebook


@pytest.fixture
def lab(opened):
    """The notebook with its explorers at z = (0, 0)."""
    rest(opened)
    opened.run("explorer.z = linked.z = grey.z = [0, 0]")
    for n in (FIRST, SECOND, LINKED, GREY):
        wait_for_sliders(opened, n, [0, 0])
    rest(opened)
    opened.run("seen.clear()")
    return opened


def rest(notebook) -> None:
    """Until nothing is on its way: page and kernel have said the same eight times over."""
    said, values = [], "print(explorer.z, grey.z, linked.z, slider.value)"
    while len(said) < 8 or len(set(said[-8:])) > 1:
        said.append((notebook.run(values), str(notebook.page.evaluate(ALL_SLIDERS))))
        assert len(said) < 1000


@pytest.fixture(scope="module")
def decoded(digits):
    """What the decoder makes of z, by PyTorch: 784 numbers."""
    model = pretrained.pretrained("m1-2d", digits)
    return lambda *z: model.decode(torch.tensor([z])).mean[0].detach()


def wait_for_sliders(notebook, n: int, z: list[float]) -> None:
    """Until the n-th explorer's sliders and the numbers beside them say z; its digit is painted in the same frame."""
    notebook.wait_until(f"([n, z]) => String(({SLIDERS})(n)) === String(z)", [n, z])


def press(notebook, n: int, key: str, times: int, slider: int = 0) -> None:
    notebook.page.locator(".vae-live").nth(n).locator(".vae-sliders input").nth(slider).focus()
    for _ in range(times):
        notebook.page.keyboard.press(key)


def pixels(notebook, n: int) -> torch.Tensor:
    return torch.tensor(notebook.page.evaluate(PIXELS, n))


def test_all_come_alive_and_ask_only_this_machine(lab):
    assert lab.page.locator(".vae-trouble").count() == 0
    assert lab.foreign == [] and lab.errors == []


def test_the_slider_moves_z_in_python(lab, decoded):
    press(lab, FIRST, "ArrowRight", 4)
    press(lab, FIRST, "PageUp", 1, slider=1)
    lab.wait_for("[round(v, 6) for v in explorer.z]", "[0.04, 0.6]")
    lab.wait_for("[round(v, 6) for v in seen[-1]]", "[0.04, 0.6]")  # observe was called
    assert (pixels(lab, FIRST) - decoded(0.04, 0.6)).abs().max() < 0.005


def test_z_set_in_python_moves_slider_and_picture(lab, decoded):
    before = pixels(lab, FIRST)
    assert lab.run("explorer.z = [1.5, -2]") == ""
    for n in (FIRST, SECOND):
        wait_for_sliders(lab, n, [1.5, -2])
        assert (pixels(lab, n) - decoded(1.5, -2)).abs().max() < 0.005
    assert (pixels(lab, FIRST) - before).abs().max() > 0.5
    lab.wait_for("seen", "[[1.5, -2.0]]")


def test_z_may_be_a_tensor(lab):
    assert lab.run("explorer.z = torch.tensor([0.5, 0.25]); print(explorer.z)") == "[0.5, 0.25]"
    wait_for_sliders(lab, FIRST, [0.5, 0.25])


def test_two_views_stay_together(lab):
    press(lab, FIRST, "End", 1)
    wait_for_sliders(lab, SECOND, [3, 0])
    assert torch.equal(pixels(lab, FIRST), pixels(lab, SECOND))
    press(lab, SECOND, "ArrowLeft", 2)
    wait_for_sliders(lab, FIRST, [2.98, 0])
    assert torch.equal(pixels(lab, FIRST), pixels(lab, SECOND))


def test_a_slider_of_ipywidgets_is_linked_both_ways(lab):
    values = "print(round(slider.value, 6), [round(v, 6) for v in linked.z])"
    readout = lab.page.locator(".widget-slider .widget-readout")
    lab.run("slider.value = 1.5")
    wait_for_sliders(lab, LINKED, [1.5, 0])
    assert lab.run(values) == "1.5 [1.5, 0.0]"
    press(lab, LINKED, "ArrowRight", 1)
    lab.wait_until("() => document.querySelector('.widget-slider .widget-readout').textContent === '1.51'")
    assert lab.run(values) == "1.51 [1.51, 0.0]"
    lab.page.locator(".widget-slider [role=slider]").focus()
    lab.page.keyboard.press("ArrowLeft")
    wait_for_sliders(lab, LINKED, [1.5, 0])
    assert lab.run(values) == "1.5 [1.5, 0.0]" and readout.inner_text() == "1.50"


def test_the_kernel_decodes_where_the_page_cannot(lab):
    lab.run("grey.z = [2, 0]")
    wait_for_sliders(lab, GREY, [2, 0])
    lab.wait_until(f"n => ({PIXELS})(n)[0] > 0.85", GREY)
    assert (pixels(lab, GREY) - torch.sigmoid(torch.tensor(2.0))).abs().max() < 0.005
    press(lab, GREY, "Home", 1)  # z = -3, moved in the page
    lab.wait_until(f"n => ({PIXELS})(n)[0] < 0.06", GREY)
    assert (pixels(lab, GREY) - torch.sigmoid(torch.tensor(-3.0))).abs().max() < 0.005


@pytest.mark.parametrize(
    "z, sentence",
    [
        ("[1, 2, 3]", "TraitError: z must be 2 numbers; got shape (3,)."),
        ("[1, float('nan')]", "TraitError: z must be finite numbers; got [1.0, nan]."),
        ("'left'", "TraitError: z must be 2 numbers; got 'left'."),
    ],
)
def test_a_bad_z_is_refused_in_python_and_the_widget_lives(lab, z, sentence):
    assert lab.run(f"explorer.z = {z}") == sentence
    assert lab.run("print(explorer.z, seen)") == "[0.0, 0.0] []"
    press(lab, FIRST, "ArrowRight", 1)
    lab.wait_for("[round(v, 6) for v in explorer.z]", "[0.01, 0.0]")
    assert lab.page.locator(".vae-trouble").count() == 0


def test_without_a_kernel_in_lab_too(lab, decoded):
    """The last cell's explorer was asked to be HTML: it lives, and Python hears nothing of it."""
    press(lab, ALONE, "ArrowRight", 3)
    wait_for_sliders(lab, ALONE, [0.03, 0])
    assert (pixels(lab, ALONE) - decoded(0.03, 0.0)).abs().max() < 0.005
    assert lab.run("print(explorer.z, seen)") == "[0.0, 0.0] []"


@pytest.mark.parametrize("theme", ["Light", "Dark"])
def test_its_ink_is_read_in_both_themes(lab, theme):
    lab.page.evaluate("theme => jupyterapp.commands.execute('apputils:change-theme', { theme })", f"JupyterLab {theme}")
    ground = "getComputedStyle(document.body).getPropertyValue('--jp-layout-color0')"
    lab.wait_until(f"white => {ground} === white", {"Light": "white", "Dark": "#111"}[theme])
    for n in (FIRST, ALONE):
        contrast, text = lab.page.locator(".vae-live").nth(n).evaluate(CONTRAST)
        assert contrast >= 4.5, text


@pytest.fixture(scope="module")
def pads(browser, lab_server):
    with jupyter_host.in_lab(browser, lab_server, "pads.ipynb") as notebook:
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


# --- what goes over the wire ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def made(digits):
    flat = pretrained.pretrained("m1-2d", digits)
    return {
        "in the page": explorer.LatentExplorer(flat, digits),
        "in the kernel": explorer.LatentExplorer(decode=lambda z: flat.decode(z).mean, d_z=2),
    }


def test_everything_goes_as_text(made):
    """No bytes: Colab has lost binary buffers of widgets."""
    for shown in made.values():
        state, paths, buffers = _remove_buffers(shown.get_state())
        assert paths == [] and buffers == []
        assert max(len(blob) for blob in state["blobs"].values()) > 50_000  # the net, or the grid
        json.dumps(state)


def test_a_bad_z_is_one_sentence(made):
    shown = made["in the page"]
    for bad in ([1.0], [[0.0, 0.0]], [float("inf"), 0.0], None, torch.zeros(3), ["a", "b"]):
        with pytest.raises(traitlets.TraitError) as refused:
            shown.z = bad
        sentence = str(refused.value)
        assert sentence.startswith("z must be ") and sentence.endswith(".") and "\n" not in sentence
    assert shown.z == [0.0, 0.0]
