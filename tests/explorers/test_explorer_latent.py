"""The explorer of latents: its pictures are PyTorch's, and hands, keys and walks move z, in the plane and beside it."""

import re

import pytest
import torch
import traitlets
from explorer_pages import ROUNDED, VIEW, change, ink, page_of, value

from vaecore import data, evaluate, explorer, pretrained
from vaecore.explorer import base
from vaecore.vae import VAE


def test_a_bad_z_in_the_page_is_told_in_a_sentence(explorer_page, fragments):
    page = explorer_page(fragments["latent"])
    for bad, got in (("[1, 2, 3]", "3"), ("[0, NaN]", "0, NaN"), ("[0, Infinity]", "0, Infinity")):
        page.reload()
        page.wait_for_selector(".vae-alive")
        page.evaluate(f"{VIEW}.set('z', {bad})")
        page.wait_for_selector("[role=alert]")
        assert page.locator("[role=alert]").inner_text() == f"z must be 2 finite numbers; got {got}."


@pytest.mark.parametrize(
    "z, sentence",
    [
        ([1.0], r"z must be 2 numbers; got shape \(1,\)\."),
        ([[1.0, 2.0]], r"z must be 2 numbers; got shape \(1, 2\)\."),
        ("far", "z must be 2 numbers; got 'far'"),
        (None, "z must be 2 numbers; got None"),
        ([0.0, float("nan")], r"z must be finite numbers; got \[0.0, nan\]"),
        (torch.tensor([float("inf"), 0.0]), r"z must be finite numbers; got \[inf, 0.0\]"),
    ],
)
def test_a_bad_z_in_python_is_told_in_a_sentence(digits, z, sentence):
    one = explorer.LatentExplorer(pretrained.pretrained("m1-2d", digits), digits)
    one.z = [0.5, 1.5]
    with pytest.raises(traitlets.TraitError, match=sentence):
        one.z = z
    assert one.z == [0.5, 1.5]


@pytest.mark.parametrize(
    "arguments, sentence",
    [
        (dict(), "takes either a model, or decode and d_z"),
        (dict(decode=torch.sigmoid), "takes either a model, or decode and d_z"),
        (dict(model=VAE(d_z=2), d_z=2), "takes either a model, or decode and d_z"),
        (dict(decode=lambda z: z.sum(), d_z=2), r"decode must give pictures \(B, 784\) .* got shape \(\)"),
        (dict(decode=lambda z: None, d_z=2), r"decode must give pictures \(B, 784\) .* got NoneType"),
    ],
)
def test_a_bad_model_is_told_in_a_sentence(arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        explorer.LatentExplorer(**arguments)


def test_an_encoder_that_went_wrong_is_told_in_a_sentence(digits):
    model = VAE(d_z=2, hidden=(8,))
    model.encoder[0].weight.data[0, 0] = float("nan")
    with pytest.raises(ValueError, match=r"model's encoder gives a q\(z\|x\) that is not finite"):
        explorer.LatentExplorer(model, digits)


def test_a_view_that_is_attached_late_paints_its_whole_plane(browser, digits):
    """As in a Tab of ipywidgets that is opened later: until then the view is in no document."""
    model = pretrained.pretrained("m1-2d", digits)
    one = explorer.LatentExplorer(model, digits)
    page = browser.new_page()
    page.set_content(page_of())
    page.add_script_tag(type="module", content=f"{base.JAVASCRIPT}\nglobalThis.js = {{ render, Store }};")
    page.wait_for_function("globalThis.js")
    state = dict(kind=one.kind, settings=one.settings, blobs=one.blobs, z=one.z, picture=None)
    page.evaluate(
        """state => {
            const model = new js.Store(state);
            globalThis.el = document.createElement("div");
            js.render({ model, el });
            return new Promise(done => setTimeout(done, 500)).then(() => document.body.append(el));
        }""",
        state,
    )
    page.wait_for_selector(".vae-live[data-ready]")
    page.wait_for_timeout(2000)
    tiles = torch.tensor(page.evaluate("""() => {
        const canvas = document.querySelector(".vae-manifold"), side = canvas.width / 16;
        const tile = (row, column) => canvas.getContext("2d").getImageData(column * side, row * side, side, side).data;
        const mean = data => data.filter((_, i) => i % 4 === 3).reduce((sum, v) => sum + v, 0) / (side * side * 255);
        return Array.from({ length: 256 }, (_, k) => mean(tile(Math.floor(k / 16), k % 16)));
    }"""))  # fmt: skip
    middles = torch.linspace(-1, 1, 33)[1::2] * one.settings["limit"]
    down, across = torch.meshgrid(-middles, middles, indexing="ij")
    with torch.no_grad():
        exact = model.decode(torch.stack([across.flatten(), down.flatten()], dim=1)).mean.mean(1)
    assert (tiles - exact).abs().max() < 0.005
    page.close()


def test_z_may_be_a_tensor(digits):
    model = pretrained.pretrained("m1-2d", digits)
    one = explorer.LatentExplorer(model, digits)
    code = model.encode(data.binarize(digits.x_test[:1])).mean[0]
    one.z = code
    assert one.z == pytest.approx(code.tolist())


def test_what_is_shown_is_what_the_model_decodes(explorer_page, fragments, digits):
    page, model = explorer_page(fragments["latent"]), pretrained.pretrained("m1-2d", digits)
    for z in ([0.0, 0.0], [1.25, -2.0], [-3.0, 3.0]):
        change(page, z=z)
        with torch.no_grad():
            exact = model.decode(torch.tensor([z])).mean
        assert (ink(page, "canvas.vae-digit") - exact).abs().max() < ROUNDED
        assert spoken(z) in page.locator("canvas.vae-digit").get_attribute("aria-label")


def spoken(z: list[float]) -> str:
    return ", ".join(f"{v:.2f}".replace("-", "\u2212") for v in z)


def test_what_is_shown_is_told_to_screen_readers(explorer_page, fragments):
    page = explorer_page(fragments["latent"])
    page.locator("input[type=range]").first.focus()
    page.keyboard.press("ArrowRight")
    page.wait_for_function("document.querySelector('[role=status]').textContent.startsWith('z = (0.01, 0.00)')")
    assert re.search(r"the nearest test digit shown is a \d$", page.locator("[role=status]").inner_text())
    assert page.locator("canvas.vae-digit").get_attribute("aria-label").startswith("Decoded digit at z = (0.01, 0.00)")
    change(page, z=[-1.25, 2.5])
    sliders = page.locator(".vae-sliders input[type=range]").all()
    assert [one.get_attribute("aria-valuetext") for one in sliders] == ["minus 1.25", "2.50"]


def test_touch_moves_the_ring_on_a_narrow_screen(explorer_page, fragments):
    page = explorer_page(fragments["latent"], viewport={"width": 390, "height": 800}, has_touch=True, is_mobile=True)
    box = page.locator(".vae-plane").bounding_box()
    page.touchscreen.tap(box["x"] + 0.75 * box["width"], box["y"] + 0.25 * box["height"])
    z = value(page, "z")
    assert z == pytest.approx([1.5, 1.5], abs=0.02)


def test_the_ring_is_dragged(explorer_page, fragments):
    page = explorer_page(fragments["latent"])
    box = page.locator(".vae-plane").bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 4, box["y"] + box["height"] / 2, steps=5)
    page.mouse.up()
    page.mouse.move(box["x"], box["y"])  # the hand is up: nothing follows it
    z = value(page, "z")
    assert z == pytest.approx([-1.5, 0], abs=0.02)
    page.wait_for_function("document.querySelector('.vae-slider output').textContent.startsWith('\u22121.')")


@pytest.mark.parametrize("motion", ["no-preference", "reduce"])
def test_a_walk_ends_at_the_second_digit_and_moves_only_where_motion_is_welcome(
    explorer_page, fragments, digits, motion
):
    page = explorer_page(fragments["latent"], reduced_motion=motion)
    page.evaluate("""() => { const v = document.querySelector(".vae-explorer").vaecore;
                             globalThis.steps = 0; v.model.on("change:z", () => { steps++; }); }""")
    page.get_by_role("button", name="walk", exact=True).click()
    page.wait_for_function("document.querySelector('.vae-walk output').textContent === '1.00'", timeout=15_000)
    assert (page.evaluate("steps") == 1) == (motion == "reduce")
    model = pretrained.pretrained("m1-2d", digits)
    with evaluate.seeded(0):
        x = data.binarize(digits.x_test)
    first = digits.y_test.tolist().index(7)
    with torch.no_grad():
        code = model.encode(x[first : first + 1]).mean[0].tolist()
    assert value(page, "z") == pytest.approx(code, abs=1e-3)


def test_the_prior_is_drawn_and_reset(explorer_page, fragments):
    page = explorer_page(fragments["latents"])
    draws = []
    for _ in range(40):
        page.get_by_role("button", name="draw z from the prior").click()
        draws.append(value(page, "z"))
    z = torch.tensor(draws)
    used = (z != 0).any(0)
    assert 10 < used.sum() < 50  # the active latents only
    assert abs(z[:, used].mean()) < 0.2 and abs(z[:, used].std() - 1) < 0.15
    page.get_by_role("button", name="reset").click()
    assert value(page, "z") == [0] * 50


def test_a_hand_stops_a_walk(explorer_page, fragments):
    page = explorer_page(fragments["latent"])
    page.get_by_role("button", name="walk", exact=True).click()
    page.wait_for_function(f"{VIEW}.get('z')[0] !== 0")
    page.get_by_role("button", name="reset").click()
    page.evaluate("new Promise(done => setTimeout(done, 200))")
    assert value(page, "z") == [0, 0]
    assert page.locator(".vae-walk output").inner_text() == ""  # z is not on the way between the two
    assert not page.locator(".vae-path").is_visible()


def test_a_walk_shows_how_far_it_is_whoever_moved_z(explorer_page, fragments):
    page = explorer_page(fragments["latent"])
    page.locator(".vae-walk input").press("End")
    end = value(page, "z")
    page.locator(".vae-walk input").press("Home")
    start = value(page, "z")
    middle = [(a + b) / 2 for a, b in zip(start, end, strict=True)]
    change(page, z=middle)
    page.wait_for_function("document.querySelector('.vae-walk output').textContent === '0.50'")
    assert page.locator(".vae-path").is_visible()


def test_only_the_main_button_that_went_down_on_the_plane_moves_the_ring(explorer_page, fragments):
    page = explorer_page(fragments["latent"])
    box = page.locator(".vae-plane").bounding_box()
    page.mouse.move(box["x"] + box["width"] + 40, box["y"] + 40)
    page.mouse.down()
    page.mouse.move(box["x"] + 40, box["y"] + 40, steps=4)  # a drag from elsewhere
    page.mouse.up()
    page.mouse.click(box["x"] + 40, box["y"] + 40, button="right")
    assert value(page, "z") == [0, 0]


def test_without_a_kernel_only_latents_with_pictures_have_sliders(explorer_page, digits):
    one = explorer.LatentExplorer(decode=lambda z: z[:, :1].sigmoid().expand(-1, 784), d_z=4)
    page = explorer_page(one.fragment())
    assert page.locator("input[type=range]").count() == 2
    assert "No kernel answers here" in page.locator(".vae-live > .vae-note").inner_text()
