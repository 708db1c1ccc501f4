"""One z as every class, and analogies: pictures and q(y|x) of the page are PyTorch's, and the digit leads the style."""

import re

import pytest
import torch
import traitlets
from explorer_pages import ROUNDED, change, ink, two_frames, value
from torch import nn

from vaecore import data, explorer, pretrained
from vaecore.m2 import M2
from vaecore.vae import VAE


@pytest.fixture(scope="module")
def m2(digits):
    return pretrained.pretrained("m2", digits)


@pytest.fixture(scope="module")
def cvae(digits):
    """A VAE with ten classes and weights large enough to tell its inputs apart."""
    torch.manual_seed(0)
    model = VAE(d_z=5, hidden=(64, 32), d_y=10)
    for module in model.modules():
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=1.5 / module.in_features**0.5)
    return model


@pytest.fixture
def classes(cvae, digits):
    return explorer.ClassesExplorer(cvae, digits)


@pytest.fixture
def analogies(m2, digits):
    return explorer.AnalogiesExplorer(m2, digits)


def row(page) -> torch.Tensor:
    """The ten pictures, (10, 784), ink is 1."""
    return ink(page, ".vae-classes canvas")


@torch.no_grad()
def painted(model: VAE | M2, z: list[float] | torch.Tensor) -> torch.Tensor:
    """z as class 0 to 9, one at a time."""
    z = torch.as_tensor(z, dtype=torch.float32).reshape(1, -1)
    return torch.cat([model.decode(z, torch.tensor([k])).mean for k in range(10)])


@pytest.mark.parametrize("name", ["m2", "cvae"])
def test_the_pages_pixels_are_pytorchs(page_functions, request, digits, name):
    model = request.getfixturevalue(name)
    one = explorer.ClassesExplorer(model, digits)
    torch.manual_seed(1)
    z = torch.randn(8, model.d_z)
    found = page_functions.evaluate(
        """([blob, z]) => {
            const decoder = js.readNetwork(JSON.parse(blob), "decoder");
            return z.map(one => js.asEveryClass(decoder, one, 10).map(pixels => Array.from(pixels)));
        }""",
        [one.blobs[one.settings["blobs"]["decoder"]], z.tolist()],
    )
    exact = torch.stack([painted(model, one) for one in z])
    assert exact.std(1).mean() > 0.05  # the classes differ
    assert (torch.tensor(found) - exact).abs().max() < 1e-3


def test_the_pages_classes_and_styles_are_pytorchs(page_functions, analogies, m2, digits):
    x = (digits.x_test[:50] > 127).float()
    blobs = [analogies.blobs[analogies.settings["blobs"][role]] for role in ("classifier", "encoder")]
    found = page_functions.evaluate(
        """([blobs, x]) => {
            const nets = blobs.map(blob => js.readNetwork(JSON.parse(blob), "net"));
            return x.map(bits => js.analogy(...nets, bits));
        }""",
        [blobs, x.tolist()],
    )
    with torch.no_grad():
        q, y = torch.softmax(m2.classifier(x), -1), m2.classify(x)
        style = m2.encode(x, y).mean
    assert [one["y"] for one in found] == y.tolist()
    assert (torch.tensor([one["q"] for one in found]) - q).abs().max() < 1e-3
    assert (torch.tensor([one["style"] for one in found]) - style).abs().max() < 5e-3


def test_what_is_shown_is_z_as_the_classes(explorer_page, classes, cvae):
    page = explorer_page(classes.fragment())
    for z in ([0.0] * 5, [1.0, -2.0, 0.5, 3.0, -0.25]):
        change(page, z=z)
        assert (row(page) - painted(cvae, z)).abs().max() < ROUNDED
        sliders = page.locator("input[type=range]").evaluate_all("all => all.map(e => Number(e.value))")
        assert sliders == [z[j] for j in classes.settings["order"]]
    names = page.locator(".vae-classes canvas").evaluate_all("all => all.map(e => e.ariaLabel)")
    assert names == [f"This z as class {k}" for k in range(10)]


def test_sliders_come_in_the_order_of_their_kl(analogies, m2, digits):
    """The oracle is torch's KL between two normal distributions; with other draws of the bits, so nearly the same."""
    torch.manual_seed(3)
    x, y = data.binarize(digits.x_test[:1000]), digits.y_test[:1000]
    with torch.no_grad():
        q = m2.encode(x, y)
        prior = torch.distributions.Normal(torch.zeros(10), torch.ones(10))
        kl = torch.distributions.kl_divergence(torch.distributions.Normal(q.mu, q.sigma), prior).mean(0)
    assert torch.allclose(torch.tensor(analogies.settings["kl"]), kl, atol=0.03)
    in_order = [analogies.settings["kl"][j] for j in analogies.settings["order"]]
    assert in_order == sorted(in_order, reverse=True)
    assert explorer.ClassesExplorer(m2).settings["order"] == list(range(10))


def test_by_keyboard_alone_through_the_classes(explorer_page, classes, cvae):
    page = explorer_page(classes.fragment())
    page.keyboard.press("Tab")
    for _ in range(4):
        page.keyboard.press("ArrowRight")
    j = classes.settings["order"][0]
    assert value(page, "z") == pytest.approx([0.04 if i == j else 0 for i in range(5)])
    assert (row(page) - painted(cvae, value(page, "z"))).abs().max() < ROUNDED
    for _ in range(5):
        page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "draw z from the prior"
    page.keyboard.press("Enter")
    z = value(page, "z")
    assert len(z) == 5 and len(set(z)) >= 3 and max(map(abs, z)) <= 3
    page.wait_for_function("document.querySelector('[role=status]').textContent.includes('classes 0 to 9')")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert value(page, "z") == [0] * 5


def shown_q(page) -> list[str]:
    two_frames(page)
    return page.locator(".vae-classes output").all_inner_texts()


def test_bars_and_analogies_are_those_of_the_digit(explorer_page, analogies, m2):
    """Of each test digit in the page: the chances as written, the bars' heights, and the ten pictures."""
    page = explorer_page(analogies.fragment())
    for image in analogies.test_digits[::7]:
        analogies.image = image
        change(page, drawing=analogies.drawing)
        with torch.no_grad():
            q, pictures = torch.softmax(m2.classifier(analogies.bits), -1)[0], m2.analogies(analogies.bits)[0]
        assert (row(page) - pictures).abs().max() < ROUNDED
        for words, exact in zip(shown_q(page), q.tolist(), strict=True):
            sign, number = re.fullmatch(r"([<>] )?([\d.]+) %", words).groups()
            if sign:
                assert exact < 0.0015 if sign == "< " else exact > 0.9985
            else:
                assert float(number) / 100 == pytest.approx(exact, abs=0.0065 if "." not in number else 0.0016)
        heights = page.locator(".vae-chance > div").evaluate_all("all => all.map(e => parseFloat(e.style.height))")
        assert (torch.tensor(heights) / 100 - q).abs().max() < 1e-3
        tops = page.locator(".vae-classes > .vae-digit-box").evaluate_all("all => all.map(e => e.matches('.vae-top'))")
        assert tops == [k == q.argmax().item() for k in range(10)]
        weights = page.locator(".vae-classes output").evaluate_all(
            "all => all.map(e => getComputedStyle(e).fontWeight)"
        )
        assert weights == ["700" if k == q.argmax().item() else "400" for k in range(10)]


def test_sliders_move_the_style_and_leave_the_bars(explorer_page, analogies, m2):
    page = explorer_page(analogies.fragment())
    before, own = shown_q(page), analogies.style[0]
    first = page.locator("input[type=range]").first
    first.focus()
    page.keyboard.press("ArrowRight")
    j, z = analogies.settings["order"][0], torch.tensor(value(page, "z"))
    assert z[j] == pytest.approx(own[j].item() + 0.01, abs=0.02) and z[j] > own[j] - 0.005
    assert ((z - own).abs() < 5e-3).sum() >= 9
    assert (row(page) - painted(m2, z)).abs().max() < ROUNDED and shown_q(page) == before
    page.get_by_role("button", name="draw z from the prior").click()
    assert (row(page) - painted(m2, value(page, "z"))).abs().max() < ROUNDED and shown_q(page) == before
    page.get_by_role("button", name="back to the digit's style").click()
    assert value(page, "z") is None
    assert (row(page) - m2.analogies(analogies.bits)[0]).abs().max() < ROUNDED


def test_a_new_digit_brings_its_own_style(explorer_page, analogies, m2):
    page = explorer_page(analogies.fragment())
    page.get_by_role("button", name="draw z from the prior").click()
    page.get_by_role("button", name="next").press("Enter")
    assert value(page, "z") is None
    analogies.image = analogies.test_digits[1]
    assert (row(page) - m2.analogies(analogies.bits)[0]).abs().max() < ROUNDED
    said = f"test digit 2 of 60: a {analogies.labels[1]}; most probable class {m2.classify(analogies.bits).item()}"
    page.wait_for_function(f"document.querySelector('[role=status]').textContent.startsWith('{said}')")


def test_of_an_empty_picture_nothing_is_said(explorer_page, analogies):
    page = explorer_page(analogies.fragment())
    page.get_by_role("button", name="clear").click()
    assert shown_q(page) == [""] * 10 and row(page).max() == 0
    assert page.locator(".vae-top").count() == 0
    page.locator("input[type=range]").first.press("ArrowRight")
    assert row(page).max() > 0.1 and shown_q(page) == [""] * 10


def test_two_rows_of_five_where_it_is_narrow(explorer_page, analogies):
    for width, n_rows in ((1000, 1), (390, 2)):
        page = explorer_page(analogies.fragment(), viewport={"width": width, "height": 800})
        tops = page.locator(".vae-classes canvas").evaluate_all("all => all.map(e => e.getBoundingClientRect().top)")
        assert len(set(tops)) == n_rows
        assert page.evaluate("document.scrollingElement.scrollWidth") <= width


def test_python_reads_and_sets_the_style(analogies, m2, digits):
    analogies.image = digits.x_test[3]
    own = m2.encode(analogies.bits, m2.classify(analogies.bits)).mean
    assert analogies.z is None and torch.allclose(analogies.style, own)
    assert torch.allclose(analogies.q_y, m2.log_q_y(analogies.bits).exp()[0])
    analogies.z = torch.arange(10.0)
    assert analogies.z == list(range(10)) and analogies.style.tolist() == [analogies.z]
    analogies.image = digits.x_test[4]
    assert analogies.z is None


def test_without_a_script_both_say_the_same(classes, analogies):
    assert "latent" in classes.static().alt and "-2 to 2" in classes.static().alt
    top = int(analogies.q_y.argmax())
    assert f"over class {top}" in analogies.static().alt and "<image" in str(analogies.static())


@pytest.mark.parametrize(
    "kind, bad, sentence",
    [
        ("classes", [1.0], r"z must be 5 numbers; got shape \(1,\)\."),
        ("classes", None, "z must be 5 numbers; got None"),
        ("classes", [0.0, 0.0, float("nan"), 0.0, 0.0], "z must be finite numbers"),
        ("analogies", [1.0] * 5, r"z must be 10 numbers; got shape \(5,\)\."),
        ("analogies", [float("inf")] * 10, "z must be finite numbers"),
    ],
)
def test_a_bad_z_in_python_is_told_in_a_sentence(request, kind, bad, sentence):
    one = request.getfixturevalue(kind)
    before = one.z
    with pytest.raises(traitlets.TraitError, match=sentence):
        one.z = bad
    assert one.z == before


@pytest.mark.parametrize("kind, n", [("classes", 5), ("analogies", 10)])
def test_a_bad_z_in_the_page_is_told_in_a_sentence(explorer_page, request, kind, n):
    page = explorer_page(request.getfixturevalue(kind).fragment())
    change(page, z=[0.5, 0.5])
    page.wait_for_selector("[role=alert]")
    assert page.locator("[role=alert]").inner_text() == f"z must be {n} finite numbers; got 2."
    assert page.locator(".vae-static svg").is_visible()


def test_only_models_with_classes_are_taken(digits):
    with pytest.raises(ValueError, match="a VAE with d_y classes or an M2; got VAE with d_y=0"):
        explorer.ClassesExplorer(VAE(d_z=2, hidden=(8,)))
    with pytest.raises(TypeError, match="model must be an M2; got VAE"):
        explorer.AnalogiesExplorer(VAE(d_z=2, hidden=(8,), d_y=10), digits)
    with pytest.raises(TypeError, match="must be an M2 of pixels"):
        explorer.AnalogiesExplorer(M2(likelihood="gaussian"), digits)
    broken = VAE(d_z=2, hidden=(8,), d_y=10)
    broken.encoder[0].weight.data[0, 0] = float("nan")
    with pytest.raises(ValueError, match=r"encoder gives a q\(z\|x,y\) that is not finite"):
        explorer.ClassesExplorer(broken, digits)
