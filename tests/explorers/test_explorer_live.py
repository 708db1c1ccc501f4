"""The latent explorer with a kernel: JupyterLab driven by a real browser, and the values going both ways."""

import jupyter_host
import pytest
import torch
from jupyter_host import PIXELS, pixels, press, wait_for_sliders

CELLS = (
    jupyter_host.EXPLORER,
    "explorer",
    """linked = LatentExplorer(model, digits)
slider = FloatSlider(min=-3, max=3, step=0.01)
link((slider, "value"), (linked, "z"), transform=(lambda v: [v, linked.z[1]], lambda z: z[0]))
VBox([slider, linked])""",
    """grey = LatentExplorer(decode=lambda z: z[:, :1].sigmoid().expand(-1, 784), d_z=2)
grey""",
    "LatentExplorer(model, digits, live=False)",
)
FIRST, SECOND, LINKED, GREY, ALONE = range(5)  # the explorers of the notebook, in their order
ALL_SLIDERS = "() => [...document.querySelectorAll('.vae-sliders input')].map(e => e.value)"
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


@pytest.fixture(scope="module")
def opened(browser, tmp_path_factory):
    with jupyter_host.in_lab(browser, tmp_path_factory.mktemp("lab"), *CELLS) as notebook:
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
