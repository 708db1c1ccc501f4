"""A drawing becomes what MNIST's digits are, wherever and however it was drawn; page and Python have the same bits."""

import math

import pytest
import torch
from explorer_pages import MAKERS, change, image_of, ink

from vaecore import data, pretrained
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
def page(explorer_page, fragments):
    return explorer_page(fragments["digit"])


def normalised(page_functions, lines) -> torch.Tensor:
    """(28, 28) greys of lines."""
    return torch.tensor(page_functions.evaluate("lines => Array.from(js.normalise(lines))", lines)).reshape(28, 28)


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
def test_a_drawn_digit_is_made_like_mnists_and_is_understood(page, digits, flat):
    """Wherever and however large: box and centre, reconstructed as well as real digits of its class, read by M2."""
    classify = pretrained.pretrained("m2", digits).classify
    real = bits_of(digits.x_test)
    fit = flat.decode(flat.encode(real).mean).log_prob(real)
    for label, lines in STROKES.items():
        worst = fit[digits.y_test == label].quantile(0.05)  # of 20 real digits one is reconstructed worse
        for name, place in PLACES.items():
            image = drawn_by_mouse(page, lines, place)
            side, row, column = box_and_centre(image)
            assert side == 20, (label, name)
            assert abs(row - 14) <= 0.5 and abs(column - 14) <= 0.5, (label, name)
            x = bits_of(image[None])
            assert flat.decode(flat.encode(x).mean).log_prob(x) > worst, (label, name)
            assert classify(x).item() == label, (label, name)


def test_the_pen_is_as_wide_as_mnists(page_functions, digits):
    """Ink per length of line: a line of 17 pixels as dark as a real upright 1, whose height is 20."""
    image = normalised(page_functions, [[[0.5, 0.1], [0.5, 0.9]]])
    ones = digits.x_test[digits.y_test == 1].reshape(-1, 28, 28).double()
    upright = ones[(ones > 0).any(1).sum(1) <= 6]  # columns with ink
    assert len(upright) > 30
    assert image.sum() / 255 == pytest.approx(upright.sum((1, 2)).div(255).median().item(), rel=0.1)


def test_a_drawing_ends_the_same_whatever_its_size_and_place(page_functions):
    lines = STROKES[3]
    first = normalised(page_functions, lines)
    for left, top, size in PLACES.values():
        moved = [[[left + size * x, top + size * y] for x, y in line] for line in lines]
        assert (normalised(page_functions, moved) - first).abs().max() <= 1  # a grey level


def test_odd_drawings_are_whole(page_functions):
    """A dot stays a dot though the hand trembles; what has its mass at one end is not cut off; nothing is nothing."""
    dot = normalised(page_functions, [[[0.2, 0.9], [0.205, 0.9]]])
    assert 0 < (dot > 0).sum() < 30 and dot[14, 14] == 255
    lopsided = [[[0.5, 0.0]], [[0.1, 1.0], [0.9, 1.0]]]
    assert box_and_centre(normalised(page_functions, lopsided))[0] == 20
    assert normalised(page_functions, []).sum() == 0


def test_page_and_python_have_the_same_bits(page, digits):
    """Read off the picture of the bits, for test digits and for a drawing."""
    made = MAKERS["digit"](digits)
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
