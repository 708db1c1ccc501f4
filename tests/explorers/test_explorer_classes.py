"""One z as every class, analogies, and completions: what is shown is PyTorch's, and the digit leads the style."""

import re

import pytest
import torch
from explorer_pages import ROUNDED, change, colours, ink, two_frames, value

from vaecore.explorer.digits import base64_of
from vaecore.splits import pixel_split

LARGE, SMALL = ".vae-side + .vae-side canvas", ".vae-draws canvas"


def row(page) -> torch.Tensor:
    """The ten pictures, (10, 784), ink is 1."""
    return ink(page, ".vae-classes canvas")


@torch.no_grad()
def exact(model, z: list[float] | torch.Tensor) -> torch.Tensor:
    """z as class 0 to 9, one at a time."""
    z = torch.as_tensor(z, dtype=torch.float32).reshape(1, -1)
    return torch.cat([model.decode(z, torch.tensor([k])).mean for k in range(10)])


def written_q(page) -> list[str]:
    two_frames(page)
    return page.locator(".vae-classes output").all_inner_texts()


def test_one_z_as_every_class(shared_page, explorers):
    """Set from outside, then by keys alone; sliders come in the order of their KL."""
    page, one = shared_page("classes"), explorers["classes"]
    order, kl = one.settings["order"], one.settings["kl"]
    assert [kl[j] for j in order] == sorted(kl, reverse=True)
    z = [0.25 * j - 1 for j in range(10)]
    change(page, z=z)
    assert (row(page) - exact(one.model, z)).abs().max() < ROUNDED
    sliders = page.locator("input[type=range]")
    assert sliders.evaluate_all("all => all.map(e => Number(e.value))") == pytest.approx([z[j] for j in order])
    names = page.locator(".vae-classes canvas").evaluate_all("all => all.map(e => e.ariaLabel)")
    assert names == [f"This z as class {k}" for k in range(10)]
    sliders.first.focus()
    for _ in range(4):
        page.keyboard.press("ArrowRight")
    z[order[0]] += 0.04
    assert value(page, "z") == pytest.approx(z)
    assert (row(page) - exact(one.model, z)).abs().max() < ROUNDED
    page.get_by_role("button", name="draw z from the prior").press("Enter")
    assert len(set(value(page, "z"))) >= 6 and max(map(abs, value(page, "z"))) <= 3
    page.wait_for_function("document.querySelector('[role=status]').textContent.includes('classes 0 to 9')")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert value(page, "z") == [0] * 10


@torch.no_grad()
def test_bars_and_analogies_are_those_of_the_digit(shared_page, explorers):
    """Of test digits in the page: the chances as written, the bars' heights, and the ten pictures."""
    page, one = shared_page("analogies"), explorers["analogies"]
    for image in one.test_digits[::12]:
        one.image = image
        change(page, drawing=one.drawing)
        q, top = one.model.classifier(one.bits).softmax(-1)[0], one.model.classify(one.bits).item()
        assert (row(page) - one.model.analogies(one.bits)[0]).abs().max() < ROUNDED
        for words, chance in zip(written_q(page), q.tolist(), strict=True):
            fine = "." in words or words in ("0", "100")
            assert float(words) / 100 == pytest.approx(chance, abs=0.0016 if fine else 0.0065)
        heights = page.locator(".vae-chance > div").evaluate_all("all => all.map(e => parseFloat(e.style.height))")
        assert (torch.tensor(heights) / 100 - q).abs().max() < 1e-3
        weights = page.locator(".vae-classes output").evaluate_all(
            "all => all.map(e => getComputedStyle(e).fontWeight)"
        )
        assert weights == ["700" if k == top else "400" for k in range(10)]


def test_sliders_move_the_style_and_a_new_digit_brings_its_own(shared_page, explorers):
    page, one = shared_page("analogies"), explorers["analogies"]
    one.image = one.test_digits[0]
    change(page, drawing=one.drawing)
    before, own = written_q(page), one.style[0]
    page.locator("input[type=range]").first.press("ArrowRight")
    j, z = one.settings["order"][0], torch.tensor(value(page, "z"))
    assert z[j] > own[j] - 0.005 and ((z - own).abs() < 5e-3).sum() >= 9
    assert (row(page) - exact(one.model, z)).abs().max() < ROUNDED and written_q(page) == before
    page.get_by_role("button", name="back to the digit's style").click()
    assert value(page, "z") is None
    page.get_by_role("button", name="draw z from the prior").click()
    assert (row(page) - exact(one.model, value(page, "z"))).abs().max() < ROUNDED and written_q(page) == before
    change(page, drawing=base64_of(one.test_digits[0]))
    page.get_by_role("button", name="next").press("Enter")
    assert value(page, "z") is None
    one.image = one.test_digits[1]
    assert (row(page) - one.model.analogies(one.bits)[0]).abs().max() < ROUNDED
    said = f"test digit 2 of 50: a {one.labels[1]}; most probable class {one.model.classify(one.bits).item()}"
    page.wait_for_function(f"document.querySelector('[role=status]').textContent.startsWith('{said}')")


# --- completions --------------------------------------------------------------------------------------------------


def tinted(picture: torch.Tensor, name: str) -> torch.Tensor:
    """The chapter's colours: ink on paper, and dark green on pale green where pixels are given, counted by hand."""
    mask = torch.zeros(28, 28, dtype=torch.bool)
    mask[:, slice(13, 14) if name == "column" else slice(0, 14)] = True
    paper, green = torch.tensor([0.78, 0.93, 0.82]), torch.tensor([0.0, 0.42, 0.2])
    picture = picture[:, None]
    return torch.where(mask.flatten()[:, None], picture * green + (1 - picture) * paper, 1 - picture)


@torch.no_grad()
@pytest.mark.parametrize("name", ["column", "left"])
def test_what_is_shown_is_the_completion_the_regressor_and_the_draws(shared_page, explorers, name):
    """There is no regressor for the column."""
    page, one = shared_page("completion"), explorers["completion"]
    one.given, one.image, one.z = name, one.test_digits[5], [0.1 * j - 1 for j in range(20)]
    page.get_by_role("combobox").select_option(name)
    change(page, drawing=one.drawing, z=one.z)
    words = {"column": "one column", "left": "left half"}[name]
    page.wait_for_function(f"document.querySelector('{LARGE}').ariaLabel.includes('{words}')")
    given, others = pixel_split(name)
    bits, draws = one.bits[0], value(page, "draws")
    pictures = bits.expand(8, -1).clone()
    pictures[:7, others] = one.models[name].decode(torch.tensor([one.z, *draws]), bits[given].expand(7, -1)).mean
    assert torch.allclose(one.completions(torch.tensor(draws)), pictures[1:7], atol=1e-6)
    shown = list(colours(page, SMALL))
    shown = [colours(page, LARGE)[0], *shown]
    if name == "left":
        pictures[7, others] = one.regressors[name].predict(bits[given][None]).mean[0]
        shown.append(colours(page, LARGE)[1])
    assert page.locator(f"{LARGE}:visible").count() == len(shown) - 6
    for found, picture in zip(shown, pictures, strict=name == "left"):
        assert (found - tinted(picture, name)).abs().max() < ROUNDED + 0.5 / 255  # the colours too are whole numbers
    order = next(p["order"] for p in one.settings["parts"] if p["name"] == name)
    sliders = page.locator("input[type=range]:visible").evaluate_all("all => all.map(e => e.ariaLabel)")
    assert sliders == [f"z{j + 1}" for j in order[:5]]
    assert (colours(page, ".vae-source canvas")[-1] - tinted(bits, name)).abs().max() < 0.5 / 255 + 1e-6
    assert f"{words} is given" in one.static().alt.replace("the ", "") and "6 draws" in one.static().alt


def test_nets_come_with_the_part_that_needs_them(explorer_page, explorers, fragments):
    """Those of the other part are in files that are not there: nobody asks for them until the part is chosen."""
    names = [name for role, name in explorers["completion"].settings["blobs"].items() if "left" in role]

    def away(match) -> str:
        gone = f'<script class="vae-blob" data-id="{match[1]}" data-src="nowhere/{match[1]}.js"></script>'
        return gone if match[1] in names else match[0]

    fragment = re.sub(r'<script [^>]*class="vae-blob" data-id="(\w+)">.*?</script>', away, fragments["completion"])
    page = explorer_page(fragment)
    assert page.locator("[role=alert]").count() == 0 and len(colours(page, SMALL)) == 6
    page.get_by_role("combobox").select_option("left")
    assert "(left) of this explorer could not be loaded" in page.locator("[role=alert]").inner_text()
