"""The explorer of latents: its pictures are PyTorch's; pointers, keys and walks move z, on the plane and next to it."""

import pytest
import torch
from explorer_pages import ROUNDED, VIEW, change, ink, small_vae, value

from vaecore import data, explorer
from vaecore.seeds import seeded


@pytest.fixture
def page(shared_page):
    return shared_page("latent")


def on_plane(page, across: float, down: float) -> tuple[float, float]:
    """A point of the window, from shares of the plane."""
    box = page.locator(".vae-plane").bounding_box()
    return box["x"] + across * box["width"], box["y"] + down * box["height"]


def test_what_is_shown_is_what_the_model_decodes(page, decoded):
    for z in ([0.0, 0.0], [1.25, -2.0], [-3.0, 3.0]):
        change(page, z=z)
        assert (ink(page, "canvas.vae-digit")[0] - decoded(*z)).abs().max() < ROUNDED
        spoken = ", ".join(f"{v:.2f}".replace("-", "\u2212") for v in z)
        assert spoken in page.locator("canvas.vae-digit").get_attribute("aria-label")


def test_a_pointer_drags_the_ring_by_its_main_button_alone(page):
    page.mouse.move(*on_plane(page, 0.5, 0.5))
    page.mouse.down()
    page.mouse.move(*on_plane(page, 0.25, 0.5), steps=5)
    page.mouse.up()
    page.mouse.move(*on_plane(page, 0, 0))  # the hand is up: nothing follows it
    assert value(page, "z") == pytest.approx([-1.5, 0], abs=0.02)
    page.wait_for_function("document.querySelector('.vae-slider output').textContent.startsWith('\u22121.')")
    page.mouse.move(*on_plane(page, 1.2, 0.1))
    page.mouse.down()
    page.mouse.move(*on_plane(page, 0.1, 0.1), steps=4)  # a drag from elsewhere
    page.mouse.up()
    page.mouse.click(*on_plane(page, 0.1, 0.1), button="right")
    assert value(page, "z") == pytest.approx([-1.5, 0], abs=0.02)


@pytest.mark.parametrize("motion", ["no-preference", "reduce"])
def test_a_walk_ends_at_the_second_digit_and_moves_only_where_motion_is_welcome(page, flat, digits, motion):
    page.emulate_media(reduced_motion=motion)
    count = "globalThis.count ??= () => { steps++; }"
    page.evaluate(f"() => {{ globalThis.steps = 0; {VIEW}.model.on('change:z', {count}); }}")
    with seeded(0):
        x = data.binarize(digits.x_test)
    first = digits.y_test.tolist().index(7)
    end = flat.encode(x[first : first + 1]).mean[0].tolist()
    page.get_by_role("button", name="walk", exact=True).click()
    arrived = f"end => {VIEW}.get('z').every((z, j) => Math.abs(z - end[j]) < 1e-3)"
    page.wait_for_function(arrived, arg=end, timeout=15_000)
    assert page.locator(".vae-walk output").text_content() == "1.00"
    assert (page.evaluate("steps") == 1) == (motion == "reduce")


def test_a_hand_stops_a_walk_and_a_walk_shows_how_far_it_is_whoever_moved_z(page):
    page.emulate_media(reduced_motion="no-preference")
    page.get_by_role("button", name="walk", exact=True).click()
    page.wait_for_function(f"{VIEW}.get('z')[0] !== 0")
    page.get_by_role("button", name="reset").click()
    page.wait_for_timeout(200)
    assert value(page, "z") == [0, 0]
    assert page.locator(".vae-walk output").inner_text() == ""  # z is not on the way between the two
    assert not page.locator(".vae-path").is_visible()
    page.locator(".vae-walk input").press("End")
    end = value(page, "z")
    page.locator(".vae-walk input").press("Home")
    change(page, z=[(a + b) / 2 for a, b in zip(value(page, "z"), end, strict=True)])
    page.wait_for_function("document.querySelector('.vae-walk output').textContent === '0.50'")
    assert page.locator(".vae-path").is_visible()


def test_the_prior_is_drawn_and_reset(shared_page):
    page, draws = shared_page("latents"), []
    for _ in range(40):
        page.get_by_role("button", name="draw z from the prior").evaluate("e => e.click()")
        draws.append(value(page, "z"))
    z = torch.tensor(draws)
    used = (z != 0).any(0)
    assert 10 < used.sum() < 50  # the active latents only
    assert abs(z[:, used].mean()) < 0.2 and abs(z[:, used].std() - 1) < 0.15
    page.get_by_role("button", name="reset").click()
    assert value(page, "z") == [0] * 50


@torch.no_grad()
def test_the_plane_is_what_the_model_decodes(page, flat):
    """Of its 16 by 16 tiles, the mean ink."""
    tiles = """() => {
        const canvas = document.querySelector(".vae-manifold"), side = canvas.width / 16;
        const tile = (row, column) => canvas.getContext("2d").getImageData(column * side, row * side, side, side).data;
        const mean = data => data.filter((_, i) => i % 4 === 3).reduce((sum, v) => sum + v, 0) / (side * side * 255);
        return Array.from({ length: 256 }, (_, k) => mean(tile(Math.floor(k / 16), k % 16)));
    }"""
    page.wait_for_function(f"() => ({tiles})()[255] > 0")
    middles = torch.linspace(-3, 3, 33)[1::2]
    down, across = torch.meshgrid(-middles, middles, indexing="ij")
    exact = flat.decode(torch.stack([across.flatten(), down.flatten()], dim=1)).mean.mean(1)
    assert (torch.tensor(page.evaluate(tiles)) - exact).abs().max() < 0.005


def test_collapsed_and_active_latents(digits):
    """Without an active latent there are sliders for the first few and a note; else only for the active ones."""
    collapsed, active = small_vae(12), small_vae(5)
    collapsed.encoder[-1].weight.data.zero_()
    active.encoder[-1].weight.data[:2] *= 20
    settings = explorer.LatentExplorer(collapsed, digits).settings
    assert len(settings["order"]) == 8 and "No latent of this model is active" in settings["note"]
    settings = explorer.LatentExplorer(active, digits).settings
    assert 0 < len(settings["order"]) < 5 and settings["note"] == ""


def test_pictures_of_another_shape_are_drawn_in_their_colours(explorer_page):
    """Red grows to the right, green downwards; z moves the blue."""

    def decode(z):
        picture = torch.zeros(len(z), 3, 2, 5)
        picture[:, 0] = torch.linspace(0, 1, 5)
        picture[:, 1] = torch.linspace(0, 1, 2)[:, None]
        picture[:, 2] = (z[:, 0, None, None] + 3) / 6
        return picture.flatten(1)

    one = explorer.LatentExplorer(decode=decode, d_z=2, shape=(3, 2, 5), live=False)
    page = explorer_page(one.fragment())
    pixels = """() => {
        const context = document.querySelector("canvas.vae-digit").getContext("2d");
        return Array.from(context.getImageData(0, 0, 5, 2).data);
    }"""
    for z in ([0.0, 0.0], [3.0, -3.0]):
        change(page, z=z)
        shown = torch.tensor(page.evaluate(pixels)).view(2, 5, 4) / 255
        exact = decode(torch.tensor([z])).view(3, 2, 5).permute(1, 2, 0)
        assert (shown[..., :3] - exact).abs().max() < 0.5 / 255 + 1e-6
    tile = """() => {
        const canvas = document.querySelector(".vae-manifold"), side = canvas.width / 16;
        return Array.from(canvas.getContext("2d").getImageData(canvas.width - 2, canvas.height - 2, 1, 1).data);
    }"""
    page.wait_for_function(f"() => ({tile})()[3] > 0")
    assert torch.tensor(page.evaluate(tile)).tolist()[:2] == [255, 255]  # the last pixel of the last tile
    with pytest.raises(ValueError, match=r"\(B, 12\)"):
        explorer.LatentExplorer(decode=decode, d_z=2, shape=(3, 2, 2))
