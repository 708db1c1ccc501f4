"""The completer: its pictures are PyTorch's, only what is given counts, and a part's nets come when it is chosen."""

import re

import pytest
import torch
import traitlets
from explorer_pages import ROUNDED, change, colours, value

from vaecore import explorer, pretrained
from vaecore.vae import VAE, Regressor

NAMES = ("column", "upper left", "left")
LARGE, SMALL = ".vae-side + .vae-side canvas", ".vae-draws canvas"


@pytest.fixture(scope="module")
def models(digits) -> dict[str, VAE]:
    return {name: pretrained.pretrained("cvae-" + name.replace(" ", "-"), digits) for name in NAMES}


@pytest.fixture(scope="module")
def regressors(digits) -> dict[str, Regressor]:
    return {name: pretrained.pretrained("regressor-" + name.replace(" ", "-"), digits) for name in NAMES}


@pytest.fixture
def completer(models, regressors, digits):
    return explorer.CompletionExplorer(models, digits, regressors=regressors)


def is_given(name: str) -> torch.Tensor:
    """Which pixels of (28, 28) are given, counted by hand."""
    mask = torch.zeros(28, 28, dtype=torch.bool)
    rows, columns = {"column": ((0, 28), (13, 14)), "upper left": ((0, 14), (0, 14)), "left": ((0, 28), (0, 14))}[name]
    mask[slice(*rows), slice(*columns)] = True
    return mask.flatten()


@torch.no_grad()
def exact(net: VAE | Regressor, name: str, bits: torch.Tensor, z=None) -> torch.Tensor:
    """The whole picture (784,): bits where they are given, the net's means elsewhere."""
    mask, picture = is_given(name), bits.clone()
    y = bits[mask][None]
    mean = net.predict(y).mean if z is None else net.decode(torch.tensor([z]), y).mean
    picture[~mask] = mean[0]
    return picture


def tinted(picture: torch.Tensor, name: str) -> torch.Tensor:
    """The chapter's colours: ink on paper, and dark green on pale green where pixels are given."""
    green = picture[:, None] * torch.tensor([0.0, 0.42, 0.2]) + (1 - picture[:, None]) * torch.tensor(
        [0.78, 0.93, 0.82]
    )
    return torch.where(is_given(name)[:, None], green, 1 - picture[:, None])


@pytest.mark.parametrize("name", NAMES)
def test_the_pages_pixels_are_pytorchs(page_functions, completer, models, regressors, digits, name):
    """The digit's other pixels are noise here: what is not given must not matter."""
    torch.manual_seed(0)
    bits, z = (digits.x_test[:10] > 127).float(), torch.randn(10, 20)
    noisy = torch.where(is_given(name), bits, torch.rand(10, 784).round())
    blobs = [completer.blobs[completer.settings["blobs"][f"{kind} ({name})"]] for kind in ("decoder", "regressor")]
    given = next(p["given"] for p in completer.settings["parts"] if p["name"] == name)
    found = page_functions.evaluate(
        """([blobs, given, bits, z]) => {
            const nets = blobs.map(blob => js.readNetwork(JSON.parse(blob), "net"));
            const mask = Array.from({ length: 784 }, (_, i) => given.includes(i));
            const made = js.completer(...nets, given, mask, 20);
            return bits.map((b, i) => [Array.from(made.complete(b, z[i])), Array.from(made.average(b))]);
        }""",
        [blobs, given, noisy.tolist(), z.tolist()],
    )
    for b, one, (completion, average) in zip(bits, z.tolist(), found, strict=True):
        assert (torch.tensor(completion) - exact(models[name], name, b, one)).abs()[~is_given(name)].max() < 1e-3
        assert (torch.tensor(average) - exact(regressors[name], name, b)).abs()[~is_given(name)].max() < 1e-3
        assert torch.equal(torch.tensor(completion)[is_given(name)], b[is_given(name)])


@pytest.mark.parametrize("name", NAMES)
def test_what_is_shown_is_the_completion_the_regressor_and_the_draws(
    explorer_page, completer, models, regressors, name
):
    page = explorer_page(completer.fragment())
    completer.image, completer.z = completer.test_digits[5], [0.1 * j - 1 for j in range(20)]
    page.get_by_role("combobox").select_option(name)
    change(page, drawing=completer.drawing)
    change(page, z=completer.z)
    words = {"column": "one column", "upper left": "quadrant", "left": "left half"}[name]
    page.wait_for_function(f"document.querySelector('{LARGE}').ariaLabel.includes('{words}')")
    bits = completer.bits[0]
    expected = [exact(models[name], name, bits, completer.z), exact(regressors[name], name, bits)]
    for found, picture in zip(colours(page, LARGE), expected, strict=True):
        assert (found - tinted(picture, name)).abs().max() < ROUNDED + 0.5 / 255  # the colours too are whole numbers
    draws = value(page, "draws")
    assert len(draws) == 6 and len({tuple(z) for z in draws}) == 6
    for found, z in zip(colours(page, SMALL), draws, strict=True):
        assert (found - tinted(exact(models[name], name, bits, z), name)).abs().max() < ROUNDED + 0.5 / 255
    order = next(p["order"] for p in completer.settings["parts"] if p["name"] == name)
    sliders = page.locator("input[type=range]:visible").evaluate_all("all => all.map(e => [e.ariaLabel, e.value])")
    assert [s[0] for s in sliders] == [f"z{j + 1}" for j in order[:5]]
    assert [float(s[1]) for s in sliders] == pytest.approx([completer.z[j] for j in order[:5]])
    seen = colours(page, ".vae-source canvas")[-1]
    assert (seen - tinted(bits, name)).abs().max() < 0.5 / 255 + 1e-6


def test_by_keyboard_alone(explorer_page, completer):
    page = explorer_page(completer.fragment())
    page.keyboard.press("Tab")
    page.keyboard.press("ArrowDown")
    assert value(page, "given") == "upper left"
    for name in ("previous", "next", "clear", "z", *"zzzz", "the other 15 latents", "draw z from the prior", "reset"):
        page.keyboard.press("Tab")
        focus = page.evaluate("document.activeElement.ariaLabel ?? document.activeElement.textContent")
        assert focus.startswith(name), focus
        if name == "draw z from the prior":
            page.keyboard.press("Enter")
            assert len(set(value(page, "z"))) > 10
    page.keyboard.press("Enter")
    assert value(page, "z") == [0] * 20
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    before = value(page, "draws")
    assert value(page, "z") == before[1]
    name = page.evaluate("document.activeElement.ariaLabel")
    assert name == "draw 2, another completion of the upper left quadrant: show it large"
    page.get_by_role("button", name="draw others").press("Enter")
    after = value(page, "draws")
    assert all(len(z) == 20 for z in after) and not any(a == b for a, b in zip(before, after, strict=True))
    page.wait_for_function("document.querySelector('[role=status]').textContent.includes('is given, in green')")


def test_nets_come_with_the_part_that_needs_them(explorer_page, completer):
    """Those of the other parts are in files that are not there: nobody asks for them until the part is chosen."""
    ids = [blob for role, blob in completer.settings["blobs"].items() if "left" in role]
    assert len(ids) == 4

    def away(match) -> str:
        name = match[1]
        gone = f'<script class="vae-blob" data-id="{name}" data-src="nowhere/{name}.js"></script>'
        return gone if name in ids else match[0]

    fragment = re.sub(r'<script [^>]*class="vae-blob" data-id="(\w+)">.*?</script>', away, completer.fragment())
    page = explorer_page(fragment)
    assert page.locator("[role=alert]").count() == 0 and colours(page, SMALL).shape[0] == 6
    page.get_by_role("combobox").select_option("left")
    page.wait_for_selector("[role=alert]")
    said = page.locator("[role=alert]").inner_text()
    assert re.fullmatch(
        r"The (decoder|regressor) \(left\) of this explorer could not be loaded; load the page again.", said
    )
    assert page.locator(".vae-static svg").is_visible()


def test_python_completes_the_same(completer, models):
    completer.given, completer.image = "left", completer.test_digits[3]
    z = torch.randn(3, 20)
    expected = torch.stack([exact(models["left"], "left", completer.bits[0], one) for one in z.tolist()])
    assert torch.allclose(completer.completions(z), expected, atol=1e-6)
    assert torch.equal(completer.y[0], completer.bits[0][is_given("left")])
    completer.draws = torch.zeros(6, 20)
    assert completer.draws == [[0.0] * 20] * 6


def test_it_works_without_regressors(explorer_page, models, digits):
    one = explorer.CompletionExplorer({"left": models["left"]}, digits)
    page = explorer_page(one.fragment())
    assert page.locator(LARGE + ":visible").count() == 1
    assert "regressor" not in one.static().alt


def test_without_a_script_it_says_the_same(completer):
    completer.given = "upper left"
    alt = completer.static().alt
    assert "the upper left quadrant is given" in alt and "6 draws" in alt and "regressor (b)" in alt


@pytest.mark.parametrize(
    "name, bad, sentence",
    [
        ("z", [1.0], r"z must be 20 numbers; got shape \(1,\)\."),
        ("z", [float("nan")] * 20, "z must be finite numbers"),
        ("given", "right", "given must be one of 'column', 'upper left', 'left'; got 'right'"),
        ("draws", [[0.0] * 20], "draws must be 6 rows of 20 numbers"),
        ("draws", None, "draws must be 6 rows of 20 numbers; got None"),
        ("draws", [[0.0] * 20] * 5 + [[0.0]], r"draws\[5\] must be 20 numbers; got shape \(1,\)"),
        ("drawing", "AAAA", "drawing must be 784 bytes as base64; got 3 bytes"),
    ],
)
def test_a_bad_value_in_python_is_told_in_a_sentence(completer, name, bad, sentence):
    before = getattr(completer, name)
    with pytest.raises(traitlets.TraitError, match=sentence):
        setattr(completer, name, bad)
    assert getattr(completer, name) == before


@pytest.mark.parametrize(
    "values, sentence",
    [
        ({"z": [1.0]}, "z must be 20 finite numbers; got 1."),
        ({"given": "right"}, "given must be one of column, upper left, left; got right."),
        ({"draws": [[1.0]]}, "draws must be 6 rows of 20 finite numbers."),
    ],
)
def test_a_bad_value_in_the_page_is_told_in_a_sentence(explorer_page, completer, values, sentence):
    page = explorer_page(completer.fragment())
    change(page, **values)
    page.wait_for_selector("[role=alert]")
    assert page.locator("[role=alert]").inner_text() == sentence


def test_models_that_do_not_fit_are_told_in_a_sentence(models, regressors, digits):
    small = VAE(d_x=392, d_z=20, hidden=(8,), d_y=392)
    for given, others, sentence in (
        ({}, {}, "models must name at least one"),
        ({"half": small}, {}, "must be one of 'column', 'left'"),
        ({"column": small}, {}, r"models\['column'\] must predict 756 pixels from 28; got d_x=392 and d_y=392"),
        ({"left": small}, {"left": regressors["column"]}, r"regressors\['left'\] must predict 392 pixels from 392"),
        ({"left": small}, {"column": regressors["column"]}, "must have names of models; got 'column' as well"),
        (
            {"column": models["column"], "left": VAE(d_x=392, d_z=3, hidden=(8,), d_y=392)},
            {},
            "must have one number of latents; got 3, 20",
        ),
    ):
        with pytest.raises(ValueError, match=sentence):
            explorer.CompletionExplorer(given, digits, regressors=others)
