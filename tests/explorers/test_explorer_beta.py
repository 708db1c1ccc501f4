"""One slider, beta: picture, plane, codes and numbers are those of the VAE that was trained with it."""

import pytest
import torch
import torch.nn.functional as F
from explorer_pages import ROUNDED, change, ink, value
from torch.distributions import Normal, kl_divergence

from vaecore.explorer.classes import sample_bits

PLACES = """() => [...document.querySelectorAll(".vae-codes text")].map(e =>
    [e.textContent, Number(e.getAttribute("x")), Number(e.getAttribute("y"))])"""
FIRST_AND_LAST_TILE = """() => [0, 420].map(at => {
    const { data } = document.querySelector(".vae-manifold").getContext("2d").getImageData(at, at, 28, 28);
    return data.filter((_, i) => i % 4 === 3).reduce((sum, v) => sum + v, 0) / (784 * 255);
})"""


@pytest.fixture
def page(shared_page):
    return shared_page("beta")


@torch.no_grad()
def test_the_slider_brings_the_picture_and_the_plane_of_its_vae(page, explorers):
    one, knob = explorers["beta"], page.locator("input[type=range]").first
    assert value(page, "beta") == 1 and list(one.models) == [0.5, 1, 4]
    change(page, z=[1.25, -2.0])
    for key, beta in (("End", 4), ("ArrowLeft", 1), ("Home", 0.5)):
        knob.press(key)
        assert value(page, "beta") == beta and knob.get_attribute("aria-valuetext") == f"{beta:g}"
        model = one.models[beta]
        exact = model.decode(torch.tensor([[1.25, -2.0]])).mean[0]
        assert (ink(page, "canvas.vae-digit")[0] - exact).abs().max() < ROUNDED
        edge = 3 * 15 / 16
        corners = model.decode(torch.tensor([[-edge, edge], [edge, -edge]])).mean.mean(1)
        page.wait_for_function(
            f"([a, b]) => {{ const found = ({FIRST_AND_LAST_TILE})(); "
            "return Math.abs(found[0] - a) < 0.005 && Math.abs(found[1] - b) < 0.005; }",
            arg=corners.tolist(),
        )
        k = one.settings["betas"].index(beta)
        for (label, x, y), code, expected in zip(
            page.evaluate(PLACES), one.settings["codes"][k], one.settings["labels"], strict=True
        ):
            assert label == str(expected)
            assert (x, y) == pytest.approx((160 * (code[0] / 3 + 1), 160 * (1 - code[1] / 3)), abs=0.06)


@torch.no_grad()
def test_the_numbers_are_those_of_the_test_digits(page, explorers, digits):
    """As written, they add up, and they are the means of PyTorch's; of log p(x|z) at other draws of z."""
    one, x, means = explorers["beta"], sample_bits(digits.x_test), []
    torch.manual_seed(5)
    for model in one.models.values():
        mu, log_var = model.encoder(x).chunk(2, dim=-1)
        q = Normal(mu, torch.exp(log_var / 2))
        log_p = -F.binary_cross_entropy_with_logits(model.decoder(q.sample()), x, reduction="none").sum(1).mean()
        means.append((log_p.item(), kl_divergence(q, Normal(0.0, 1.0)).sum(1).mean().item()))
    for beta, (log_p, kl) in zip(one.models, means, strict=True):
        change(page, beta=beta)
        written = [float(t.replace("\u2212", "-")) for t in page.locator(".vae-term .vae-value").all_inner_texts()]
        assert written[0] == pytest.approx(log_p, rel=2e-3) and written[1] == pytest.approx(kl, abs=0.0501)
        assert written[0] - written[1] == pytest.approx(written[2], abs=1e-9)
        assert one.terms[beta]["kl"] == pytest.approx(kl, abs=0.006)


def test_codes_are_the_test_digits_and_all_is_said(page, explorers, digits):
    one = explorers["beta"]
    assert [one.settings["labels"].count(c) for c in range(10)] == [5] * 10
    assert "2,000 test digits" in page.locator(".vae-sum").inner_text()
    page.locator("input[type=range]").first.press("End")
    page.wait_for_function(
        "document.querySelector('[role=status]').textContent.startsWith('β is 4: log p of x given z')"
    )
    assert all(f"at beta {beta:g}" in one.static().alt for beta in one.models)
