"""Draw a digit: a drawing becomes what MNIST's digits are, wherever it was drawn; test digits by keys and clicks."""

import math

import pytest
import torch
import torch.nn.functional as F
from explorer_pages import change, image_of, ink

from vaecore import data, runs
from vaecore.explorer.digits import bits_of


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


@pytest.fixture
def page(shared_page):
    return shared_page("digit")


@pytest.fixture
def one(explorers):
    return explorers["digit"]


def normalised(page_functions, lines) -> torch.Tensor:
    """(28, 28) greys of lines."""
    return torch.tensor(page_functions.evaluate("lines => Array.from(js.normalise(lines))", lines)).reshape(28, 28)


def stroke(page, line, place) -> None:
    """Draw a line on the pad at (left, top, size) with the mouse."""
    (left, top, size), pad = place, page.locator(".vae-pad").bounding_box()
    at = [(pad["x"] + (left + size * x) * pad["width"], pad["y"] + (top + size * y) * pad["height"]) for x, y in line]
    page.mouse.move(*at[0])
    page.mouse.down()
    for point in at[1:]:
        page.mouse.move(*point)
    page.mouse.up()


def drawn(page, lines, place) -> torch.Tensor:
    page.get_by_role("button", name="clear").click()
    for line in lines:
        stroke(page, line, place)
    return image_of(page)


def box_and_centre(image: torch.Tensor) -> tuple[int, float, float]:
    """The longer side of the ink's box, and the ink's centre of mass as (row, column), counted from 0."""
    greys, line = image.reshape(28, 28).double(), torch.arange(28).double()
    rows, columns = (greys.sum(d).nonzero()[:, 0] for d in (1, 0))
    side = max(r.max() - r.min() + 1 for r in (rows, columns)).item()
    return side, *((greys.sum(d) * line).sum().div(greys.sum()).item() for d in (1, 0))


# --- drawings -----------------------------------------------------------------------------------------------------


@torch.no_grad()
def test_a_drawn_digit_is_made_like_mnists_and_is_understood(page, digits, flat):
    """Wherever and however large: box and centre, reconstructed as well as real digits of its class, read by M2."""
    classify, real = runs.pretrained("m2-book", digits).classify, bits_of(digits.x_test)
    fit = flat.decode(flat.encode(real).mean).log_prob(real)
    of_mnist = torch.tensor([box_and_centre(image) for image in digits.x_test[:200]])
    assert (of_mnist[:, 0] == 20).float().mean() > 0.98 and ((of_mnist[:, 1:] - 14).abs() <= 0.51).all()
    for label, lines in STROKES.items():
        worst = fit[digits.y_test == label].quantile(0.05)  # of 20 real digits one is reconstructed worse
        for name, place in PLACES.items():
            image = drawn(page, lines, place)
            side, row, column = box_and_centre(image)
            assert side == 20 and max(abs(row - 14), abs(column - 14)) <= 0.5, (label, name)
            x = bits_of(image[None])
            assert flat.decode(flat.encode(x).mean).log_prob(x) > worst, (label, name)
            assert classify(x).item() == label, (label, name)


def test_odd_drawings_are_whole(page_functions):
    """Size and place do not matter; a dot stays a dot; what has its mass at one end is not cut off."""
    first = normalised(page_functions, STROKES[3])
    for left, top, size in PLACES.values():
        moved = [[[left + size * x, top + size * y] for x, y in line] for line in STROKES[3]]
        assert (normalised(page_functions, moved) - first).abs().max() <= 1  # a grey level
    dot = normalised(page_functions, [[[0.2, 0.9], [0.205, 0.9]]])  # the hand trembles
    assert 0 < (dot > 0).sum() < 30 and dot[14, 14] == 255
    lopsided = [[[0.5, 0.0]], [[0.1, 1.0], [0.9, 1.0]]]
    assert box_and_centre(normalised(page_functions, lopsided))[0] == 20
    assert normalised(page_functions, []).sum() == 0


def test_page_and_python_have_the_same_bits(page, one, digits):
    """Read off the picture of the bits; and they follow the greys as data.binarize's do."""
    for image in [drawn(page, STROKES[3], PLACES["large"]), *one.test_digits[::20]]:
        one.image = image
        change(page, drawing=one.drawing)
        assert ink(page, ".vae-pair canvas")[1].tolist() == one.bits[0].tolist()
        assert one.image.tolist() == image.tolist()
    x, bits = digits.x_test, bits_of(digits.x_test)
    assert (bits[x == 0] == 0).all() and (bits[x == 255] == 1).all()
    assert bits.mean() == pytest.approx(data.binarize(x).mean().item(), abs=0.005)


def test_a_line_over_a_test_digit_starts_a_new_drawing_and_a_second_one_adds(page):
    first = drawn(page, STROKES[7][:1], PLACES["large"])
    drawn(page, STROKES[1], PLACES["lower right"])
    page.get_by_role("button", name="next").click()
    stroke(page, STROKES[7][0], PLACES["large"])
    assert image_of(page).tolist() == first.tolist()
    stroke(page, STROKES[7][1], PLACES["large"])
    assert image_of(page).bool().sum() > first.bool().sum()


def test_a_finger_draws_and_the_page_stays(explorer_page, fragments):
    far = "<p style='height: 3000px'>"
    page = explorer_page(fragments["digit"], far, viewport={"width": 390, "height": 800}, has_touch=True)
    page.evaluate("scrollTo(0, 0)")
    pad, session = page.locator(".vae-pad").bounding_box(), page.context.new_cdp_session(page)
    for kind, y in (("touchStart", 0.9), ("touchMove", 0.5), ("touchMove", 0.1), ("touchEnd", None)):
        points = [] if y is None else [dict(x=pad["x"] + pad["width"] / 2, y=pad["y"] + y * pad["height"])]
        session.send("Input.dispatchTouchEvent", dict(type=kind, touchPoints=points))
    assert box_and_centre(image_of(page))[0] == 20
    assert page.evaluate("scrollY") == 0


# --- test digits, and the numbers ---------------------------------------------------------------------------------


@torch.no_grad()
def test_the_written_elbo_is_that_of_the_digit(page, one, flat):
    """The three numbers as the reader sees them, of a digit and an epsilon set from outside; they add up."""
    one.image = one.test_digits[17]
    change(page, drawing=one.drawing, epsilon=[1.5, -1.0])
    q = flat.encode(one.bits)
    z = q.mu + q.sigma * torch.tensor([1.5, -1.0])
    log_p = -F.binary_cross_entropy_with_logits(flat.decoder(z), one.bits, reduction="sum")
    kl = torch.distributions.kl_divergence(torch.distributions.Normal(q.mu, q.sigma), torch.distributions.Normal(0, 1))
    values = [float(t.replace("\u2212", "-")) for t in page.locator(".vae-term .vae-value").all_inner_texts()]
    assert values[:2] == pytest.approx([log_p.item(), kl.sum().item()], abs=0.0501)
    assert values[0] - values[1] == pytest.approx(values[2], abs=1e-9)


def test_by_keyboard_alone_through_the_test_digits(page, one):
    """From a 4 to the next, from the first back to the last, on round, and to an empty pad; what is there is said."""
    caption, buttons = page.locator(".vae-digit-caption").first, page.get_by_role("button")
    four = one.labels.tolist().index(4)
    assert image_of(page).tolist() == one.test_digits[four].tolist()
    buttons.get_by_text("next").press("Enter")
    assert image_of(page).tolist() == one.test_digits[four + 1].tolist()
    one.image = one.test_digits[0]
    change(page, drawing=one.drawing)
    for name, k in (("previous", 50), ("next", 1), ("next", 2)):
        buttons.get_by_text(name).press("Enter")
        assert image_of(page).tolist() == one.test_digits[k - 1].tolist()
        assert caption.inner_text() == f"test digit {k} of 50: a {one.labels[k - 1]}"
        assert page.locator(".vae-pad").get_attribute("aria-label") == f"Drawing pad: {caption.inner_text()}"
    buttons.get_by_text("clear").press("Enter")
    page.wait_for_selector("text=Nothing is drawn yet: there is no")
    assert not page.locator(".vae-term").first.is_visible()
    buttons.get_by_text("next").press("Enter")
    page.wait_for_function("document.querySelector('[role=status]').textContent.startsWith('test digit 3 of 50: a ')")


def test_a_click_on_the_plane_takes_the_nearest_test_digit(page, one):
    code, box = one.settings["codes"][20], page.locator(".vae-plane").bounding_box()
    page.mouse.click(box["x"] + (code[0] / 3 + 1) / 2 * box["width"], box["y"] + (1 - code[1] / 3) / 2 * box["height"])
    assert image_of(page).tolist() == one.test_digits[20].tolist()
