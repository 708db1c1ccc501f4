"""Draw a digit: the page's numbers are PyTorch's; test digits by keys and clicks; bad values are told in a sentence."""

import base64

import pytest
import torch
import torch.nn.functional as F
import traitlets
from explorer_pages import MAKERS, change, image_of, value

from vaecore import explorer
from vaecore.vae import VAE


@pytest.fixture(scope="module")
def made(digits):
    return MAKERS["digit"](digits)


@pytest.fixture
def page(explorer_page, fragments):
    return explorer_page(fragments["digit"])


@pytest.fixture(scope="module")
def functions(page_functions, made):
    """The module's functions, and both nets as `nets`."""
    blobs = [made.blobs[made.settings["blobs"][role]] for role in ("encoder", "decoder")]
    page_functions.evaluate(
        "blobs => { globalThis.nets = blobs.map(b => js.readNetwork(JSON.parse(b), 'net')); }", blobs
    )
    return page_functions


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
def test_the_pages_numbers_are_pytorchs(functions, made, flat):
    """Seven digits, four epsilons. These weights were stored as float16, so what is left is float32's rounding."""
    for image in made.test_digits[::9]:
        made.image = image
        for epsilon in ([0.0, 0.0], [1.0, -2.0], [-0.5, 0.25], [3.0, 3.0]):
            seen = functions.evaluate("([x, e]) => js.seenByVae(...nets, x, e)", [made.bits[0].tolist(), epsilon])
            for name, exact in oracle(flat, made.bits, epsilon).items():
                assert seen[name] == pytest.approx(exact.tolist(), rel=1e-4, abs=1e-4), name


@torch.no_grad()
def test_what_is_written_is_the_sum_of_this_digit(page, made, flat):
    """The three numbers as the reader sees them, of a drawing and an epsilon set from outside."""
    made.image = made.test_digits[17]
    change(page, drawing=made.drawing, epsilon=[1.5, -1.0])
    page.wait_for_function("document.querySelector('.vae-digit-caption').textContent.startsWith('test digit 18 of')")
    exact = oracle(flat, made.bits, [1.5, -1.0])
    shown = [float(t.replace("\u2212", "-")) for t in page.locator(".vae-term .vae-value").all_inner_texts()]
    assert shown == pytest.approx([exact[name].item() for name in ("logP", "kl", "elbo")], abs=0.0501)
    assert shown[0] - shown[1] == pytest.approx(shown[2], abs=0.11)


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


def test_nets_are_shared_with_the_latent_explorer(made, flat, digits):
    latent = explorer.LatentExplorer(flat, digits)
    assert made.settings["blobs"]["decoder"] == latent.settings["blobs"]["decoder"]
