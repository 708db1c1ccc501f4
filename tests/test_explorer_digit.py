"""Draw a digit: a drawing becomes what MNIST's digits are, and the page's numbers are PyTorch's."""

import base64
import math

import pytest
import torch
import torch.nn.functional as F
import traitlets
from explorer_pages import change, ink, value

from vaecore import data, explorer, pretrained
from vaecore.explorer.digits import bits_of
from vaecore.vae import VAE


def arc(x: float, y: float, rx: float, ry: float, start: float, end: float, n: int = 12) -> list[tuple[float, float]]:
    """Points of an ellipse between two angles in degrees, clockwise on the screen."""
    angles = [math.radians(start + (end - start) * i / n) for i in range(n + 1)]
    return [(x + rx * math.cos(a), y + ry * math.sin(a)) for a in angles]


STROKES = {  # within 0 to 1, down is larger
    0: [arc(0.5, 0.5, 0.35, 0.5, -90, 270, 24)],
    1: [[(0.55, 0), (0.45, 1)]],
    3: [arc(0.5, 0.25, 0.35, 0.25, -150, 90) + arc(0.5, 0.75, 0.4, 0.25, -90, 150)],
    7: [[(0.1, 0.05), (0.85, 0)], [(0.85, 0), (0.4, 1)]],  # two strokes
}
PLACES = {"small, in a corner": (0.02, 0.7, 0.25), "large": (0.05, 0.05, 0.9), "lower right": (0.5, 0.45, 0.5)}


@pytest.fixture(scope="module")
def model(digits):
    return pretrained.pretrained("m1-2d", digits)


@pytest.fixture(scope="module")
def made(model, digits):
    return explorer.DigitExplorer(model, digits)


@pytest.fixture
def page(explorer_page, made):
    made.image = made.test_digits[0]
    return explorer_page(made.fragment())


@pytest.fixture(scope="module")
def functions(page_functions, made):
    """The module's functions, and both nets as `nets`."""
    blobs = [made.blobs[made.settings["blobs"][role]] for role in ("encoder", "decoder")]
    page_functions.evaluate(
        "blobs => { globalThis.nets = blobs.map(b => js.readNetwork(JSON.parse(b), 'net')); }", blobs
    )
    return page_functions


def normalised(functions, lines) -> torch.Tensor:
    """(28, 28) greys of lines."""
    return torch.tensor(functions.evaluate("lines => Array.from(js.normalise(lines))", lines)).reshape(28, 28)


def drawn_by_mouse(page, lines, place) -> torch.Tensor:
    """Draws the lines on the pad at (left, top, size) and gives the drawing as uint8 (784,)."""
    left, top, size = place
    pad = page.locator(".vae-pad").bounding_box()
    page.get_by_role("button", name="clear").click()
    for line in lines:
        at = [
            (pad["x"] + (left + size * x) * pad["width"], pad["y"] + (top + size * y) * pad["height"]) for x, y in line
        ]
        page.mouse.move(*at[0])
        page.mouse.down()
        for point in at[1:]:
            page.mouse.move(*point)
        page.mouse.up()
    return image_of(page)


def image_of(page) -> torch.Tensor:
    return torch.tensor(list(base64.b64decode(value(page, "drawing"))), dtype=torch.uint8)


def box_and_centre(image: torch.Tensor) -> tuple[int, float, float]:
    """The longer side of the ink's box, and the ink's centre of mass as (row, column), counted from 0."""
    greys = image.reshape(28, 28).double()
    rows, columns = (greys.sum(d).nonzero()[:, 0] for d in (1, 0))
    line = torch.arange(28).double()
    side = max(r.max() - r.min() + 1 for r in (rows, columns)).item()
    return side, *((greys.sum(d) * line).sum().div(greys.sum()).item() for d in (1, 0))


def test_mnist_itself_is_centred_as_the_drawings_are(digits):
    """The oracle of the next test: real digits fill a box of 20 and have their mass at (14, 14), to a whole pixel."""
    measured = torch.tensor([box_and_centre(image) for image in digits.x_test[:200]])
    assert (measured[:, 0] >= 19).all() and (measured[:, 0] == 20).float().mean() > 0.98
    assert ((measured[:, 1:] - 14).abs() <= 0.51).all()


@torch.no_grad()
def test_a_drawn_digit_is_made_like_mnists_and_is_understood(page, digits, model):
    """Wherever and however large: box and centre, reconstructed as well as real digits of its class, read by M2."""
    classify = pretrained.pretrained("m2", digits).classify
    real = bits_of(digits.x_test)
    fit = model.decode(model.encode(real).mean).log_prob(real)
    for label, lines in STROKES.items():
        worst = fit[digits.y_test == label].quantile(0.05)  # of 20 real digits one is reconstructed worse
        for name, place in PLACES.items():
            image = drawn_by_mouse(page, lines, place)
            side, row, column = box_and_centre(image)
            assert side == 20, (label, name)
            assert abs(row - 14) <= 0.5 and abs(column - 14) <= 0.5, (label, name)
            x = bits_of(image[None])
            assert model.decode(model.encode(x).mean).log_prob(x) > worst, (label, name)
            assert classify(x).item() == label, (label, name)


def test_the_pen_is_as_wide_as_mnists(functions, digits):
    """Ink per length of line: a line of 17 pixels as dark as a real upright 1, whose height is 20."""
    image = normalised(functions, [[[0.5, 0.1], [0.5, 0.9]]])
    ones = digits.x_test[digits.y_test == 1].reshape(-1, 28, 28).double()
    upright = ones[(ones > 0).any(1).sum(1) <= 6]  # columns with ink
    assert len(upright) > 30
    assert image.sum() / 255 == pytest.approx(upright.sum((1, 2)).div(255).median().item(), rel=0.1)


def test_a_drawing_ends_the_same_whatever_its_size_and_place(functions):
    lines = STROKES[3]
    first = normalised(functions, lines)
    for left, top, size in PLACES.values():
        moved = [[[left + size * x, top + size * y] for x, y in line] for line in lines]
        assert (normalised(functions, moved) - first).abs().max() <= 1  # a grey level


def test_odd_drawings_are_whole(functions):
    """A dot stays a dot though the hand trembles; what has its mass at one end is not cut off; nothing is nothing."""
    dot = normalised(functions, [[[0.2, 0.9], [0.205, 0.9]]])
    assert 0 < (dot > 0).sum() < 30 and dot[14, 14] == 255
    lopsided = [[[0.5, 0.0]], [[0.1, 1.0], [0.9, 1.0]]]
    assert box_and_centre(normalised(functions, lopsided))[0] == 20
    assert normalised(functions, []).sum() == 0


def oracle(model: VAE, x: torch.Tensor, epsilon: list[float]) -> dict[str, torch.Tensor]:
    """mu, sigma, the log-likelihood and the KL of bits (1, 784), by torch's own functions."""
    mu, log_var = model.encoder(x)[0].double().chunk(2)
    sigma = torch.exp(log_var / 2)
    z = mu + sigma * torch.tensor(epsilon)
    logits = model.decoder(z.float())
    q, prior = torch.distributions.Normal(mu, sigma), torch.distributions.Normal(0.0, 1.0)
    kl = torch.distributions.kl_divergence(q, prior).sum()
    log_p = -F.binary_cross_entropy_with_logits(logits, x[0], reduction="sum")
    return dict(mu=mu, sigma=sigma, z=z, logP=log_p, kl=kl, elbo=log_p - kl)


@torch.no_grad()
def test_the_pages_numbers_are_pytorchs(functions, made, model):
    """Seven digits, four epsilons. These weights were stored as float16, so what is left is float32's rounding."""
    for image in made.test_digits[::9]:
        made.image = image
        for epsilon in ([0.0, 0.0], [1.0, -2.0], [-0.5, 0.25], [3.0, 3.0]):
            seen = functions.evaluate("([x, e]) => js.seenByVae(...nets, x, e)", [made.bits[0].tolist(), epsilon])
            for name, exact in oracle(model, made.bits, epsilon).items():
                assert seen[name] == pytest.approx(exact.tolist(), rel=1e-4, abs=1e-4), name


@torch.no_grad()
def test_what_is_written_is_the_sum_of_this_digit(page, made, model):
    """The three numbers as the reader sees them, of a drawing and an epsilon set from outside."""
    made.image = made.test_digits[17]
    change(page, drawing=made.drawing, epsilon=[1.5, -1.0])
    page.wait_for_function("document.querySelector('.vae-digit-caption').textContent.startsWith('test digit 18 of')")
    exact = oracle(model, made.bits, [1.5, -1.0])
    shown = [float(t.replace("\u2212", "-")) for t in page.locator(".vae-term .vae-value").all_inner_texts()]
    assert shown == pytest.approx([exact[name].item() for name in ("logP", "kl", "elbo")], abs=0.0501)
    assert shown[0] - shown[1] == pytest.approx(shown[2], abs=0.11)


def test_page_and_python_have_the_same_bits(page, made):
    """Read off the picture of the bits, for test digits and for a drawing."""
    drawings = [drawn_by_mouse(page, STROKES[3], PLACES["large"]), *made.test_digits[::20]]
    for image in drawings:
        made.image = image
        change(page, drawing=made.drawing)
        assert ink(page, ".vae-pair canvas")[1].tolist() == made.bits[0].tolist()
        assert made.image.tolist() == image.tolist()


def test_bits_follow_the_greys(digits):
    """As data.binarize's: paper is 0, ink of 255 is 1, and the grey between is 1 in its share of all pixels."""
    x = digits.x_test
    bits = bits_of(x)
    assert (bits[x == 0] == 0).all() and (bits[x == 255] == 1).all()
    rim = (x > 0) & (x < 255)
    assert bits[rim].mean() == pytest.approx((x[rim] / 255).mean().item(), abs=0.02)
    assert bits.mean() == pytest.approx(data.binarize(x).mean().item(), abs=0.005)


def test_by_keyboard_alone_through_the_test_digits(page, made):
    """From the first back to the last, on round, and to an empty pad; what is there is said."""
    said, pad = page.locator(".vae-digit-caption").first, page.locator(".vae-pad")
    page.keyboard.press("Tab")
    for key, k in (("Enter", 60), ("Enter", 59), (" ", 58)):
        page.keyboard.press(key)
        page.wait_for_function(
            "k => document.querySelector('.vae-digit-caption').textContent.includes(k)", arg=f" {k} of"
        )
        assert image_of(page).tolist() == made.test_digits[k - 1].tolist()
        assert said.inner_text() == f"test digit {k} of 60: a {made.labels[k - 1]}"
        assert pad.get_attribute("aria-label") == f"Drawing pad: {said.inner_text()}"
    page.keyboard.press("Tab")
    for _ in range(4):
        page.keyboard.press("Enter")
    assert image_of(page).tolist() == made.test_digits[1].tolist()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.wait_for_selector("text=Nothing is drawn yet: there is no")
    assert not page.locator(".vae-term").first.is_visible()
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Enter")
    page.wait_for_selector(".vae-term")
    page.wait_for_function("document.querySelector('[role=status]').textContent.startsWith('test digit 3 of 60: a ')")


def test_a_line_over_a_test_digit_begins_anew_and_a_second_one_adds(page):
    first = drawn_by_mouse(page, STROKES[7][:1], PLACES["large"])
    drawn_by_mouse(page, STROKES[1], PLACES["lower right"])
    page.get_by_role("button", name="next").click()
    pad = page.locator(".vae-pad").bounding_box()
    for k, line in enumerate(STROKES[7]):
        (x0, y0), (x1, y1) = [(pad["x"] + (0.05 + 0.9 * x) * pad["width"], pad["y"] + (0.05 + 0.9 * y) * pad["height"])
                              for x, y in line]  # fmt: skip
        page.mouse.move(x0, y0)
        page.mouse.down()
        page.mouse.move(x1, y1, steps=2)
        page.mouse.up()
        assert (image_of(page).tolist() == first.tolist()) == (k == 0)
    assert image_of(page).bool().sum() > first.bool().sum()


def test_a_finger_draws_and_the_page_stays(explorer_page, made):
    far = "<p style='height: 3000px'>"
    page = explorer_page(made.fragment(), far, viewport={"width": 390, "height": 800}, has_touch=True)
    page.evaluate("scrollTo(0, 0)")
    pad, session = page.locator(".vae-pad").bounding_box(), page.context.new_cdp_session(page)
    for kind, y in (("touchStart", 0.9), ("touchMove", 0.5), ("touchMove", 0.1), ("touchEnd", None)):
        points = [] if y is None else [dict(x=pad["x"] + pad["width"] / 2, y=pad["y"] + y * pad["height"])]
        session.send("Input.dispatchTouchEvent", dict(type=kind, touchPoints=points))
    assert box_and_centre(image_of(page))[0] == 20
    assert page.evaluate("scrollY") == 0


def test_a_click_on_the_plane_takes_the_nearest_test_digit(page, made):
    code = made.settings["codes"][30]
    box = page.locator(".vae-plane").bounding_box()
    page.mouse.click(box["x"] + (code[0] / 3 + 1) / 2 * box["width"], box["y"] + (1 - code[1] / 3) / 2 * box["height"])
    assert image_of(page).tolist() == made.test_digits[30].tolist()


def test_many_latents_have_no_plane_but_the_numbers(explorer_page, digits):
    torch.manual_seed(0)
    many = explorer.DigitExplorer(VAE(d_z=5, hidden=(8,)), digits)
    page = explorer_page(many.fragment())
    assert page.locator(".vae-plane").count() == 0 and len(page.locator(".vae-term").all()) == 3
    page.get_by_role("button", name="draw z from q").click()
    draws = value(page, "epsilon")
    assert len(draws) == 5 and len(set(draws)) >= 3  # two may be the same, as they have two decimals
    assert "reconstruction" in many.static().alt


@pytest.mark.parametrize(
    "name, value, sentence",
    [
        ("drawing", base64.b64encode(bytes(783)).decode(), "drawing must be 784 bytes as base64; got 783 bytes"),
        ("drawing", "", "drawing must be 784 bytes as base64; got 0 bytes"),
        ("drawing", "%%%", "drawing must be 784 bytes as base64; got other text, of length 3"),
        ("drawing", "\u00e9" * 1048, "drawing must be 784 bytes as base64; got other text, of length 1048"),
        (
            "image",
            torch.zeros(784),
            r"image must be a uint8 tensor of shape \(784,\); got torch.float32, shape \(784,\)",
        ),
        ("image", torch.zeros(28, 28).byte(), r"image must be .* got torch.uint8, shape \(28, 28\)"),
        ("image", [0] * 784, r"image must be a uint8 tensor of shape \(784,\); got list"),
        ("epsilon", [0.0], r"epsilon must be 2 numbers; got shape \(1,\)"),
        ("epsilon", [0.0, float("nan")], r"epsilon must be finite numbers; got \[0.0, nan\]"),
    ],
)
def test_bad_values_in_python_are_told_in_a_sentence(made, name, value, sentence):
    before = made.drawing, made.epsilon
    with pytest.raises(traitlets.TraitError, match=sentence):
        setattr(made, name, value)
    assert (made.drawing, made.epsilon) == before


@pytest.mark.parametrize("sizes", [dict(d_x=100, d_z=2), dict(d_x=784, d_z=2, d_y=10)])
def test_only_a_vae_of_whole_digits_is_taken(digits, sizes):
    with pytest.raises(ValueError, match=f"model must have d_x=784 and d_y=0; got d_x={sizes['d_x']}"):
        explorer.DigitExplorer(VAE(hidden=(8,), **sizes), digits)


def test_an_empty_image_is_legal(made):
    made.image = torch.zeros(784, dtype=torch.uint8)
    assert made.bits.shape == (1, 784) and made.bits.sum() == 0


def test_bad_values_in_the_page_are_told_in_a_sentence(page):
    for name, bad, sentence in (
        ("drawing", "AAAA", "A drawing is 784 bytes; got 3."),
        ("drawing", "%%%", "A drawing is 784 bytes as base64; got other text."),
        ("epsilon", [0], "epsilon must be 2 finite numbers; got 1."),
    ):
        page.reload()
        page.wait_for_selector(".vae-alive")
        change(page, **{name: bad})
        page.wait_for_selector("[role=alert]")
        assert page.locator("[role=alert]").inner_text() == sentence
        assert page.locator(".vae-static svg").is_visible()


def test_nets_are_shared_with_the_latent_explorer(made, model, digits):
    latent = explorer.LatentExplorer(model, digits)
    assert made.settings["blobs"]["decoder"] == latent.settings["blobs"]["decoder"]
