"""The ELBO gap viewer: its numbers, in Python and in the page, against closed forms and a far finer sum."""

import math

import pytest
import torch
from explorer_pages import BENT, GRID, LINE, change, log_joint, log_normal, value
from torch.distributions import Normal, kl_divergence

from vaecore.explorer import GapExplorer

X, S = 2.0, 0.5
PLACES = [(1.0, 1.0), (1.6, 0.2**0.5), (0.0, 1.0), (-3.0, 1.5), (3.0, 0.1), (-1.3, 0.25), (1.38, 0.19), (1.2, 0.44)]
TERMS = ("reconstruction", "klToPrior", "logEvidence", "gap", "elbo")


def oracle(name: str, mu: float, sigma: float) -> dict[str, float]:
    """The terms in closed form; for the bent model by midpoints, 40 to each step of the explorer's grid."""
    mu, sigma = torch.tensor([mu, sigma], dtype=torch.float64)
    q, prior = Normal(mu, sigma), Normal(mu.new_tensor(0.0), 1.0)
    kl = kl_divergence(q, prior)
    if name == LINE:
        reconstruction = Normal(mu, S).log_prob(torch.tensor(X)) - sigma**2 / (2 * S**2)
        log_evidence = prior.log_prob(torch.tensor(0.0)) - 0.5 * math.log(1 + S**2) - X**2 / (2 * (1 + S**2))
        gap = kl_divergence(q, Normal(mu.new_tensor(X / (1 + S**2)), (S**2 / (1 + S**2)) ** 0.5))
    else:
        n = 800 * 40
        z = (torch.arange(n, dtype=torch.float64) + 0.5) * 40 / n - 20
        joint, weight = log_joint(z, name), q.log_prob(z).exp() * 40 / n
        log_evidence = joint.logsumexp(0) + math.log(40 / n)
        reconstruction = (weight * (joint - prior.log_prob(z))).sum()
        gap = (weight * (q.log_prob(z) - joint + log_evidence)).sum()
    values = reconstruction, kl, log_evidence, gap, reconstruction - kl
    return dict(zip(TERMS, map(float, values), strict=True))


@pytest.fixture
def page(shared_page):
    return shared_page("gap")


def table(page) -> dict[str, float]:
    """What the table says, with the signs of the terms themselves."""
    cells = page.locator("td[data-term]").evaluate_all("all => all.map(e => [e.dataset.term, e.textContent])")
    numbers = {term: float(text.replace("\u2212", "-")) for term, text in cells}
    assert [text for term, text in cells if term == "elbo"] == [dict(cells)["elbo"]] * 2
    return {term: number if term in ("klToPrior", "gap") else -number for term, number in numbers.items()}


@pytest.mark.parametrize("name", [LINE, BENT])
def test_python_computes_the_terms(explorers, name):
    gap = explorers["gap"]
    for mu, sigma in PLACES:
        gap.posterior, gap.mu, gap.sigma = name, mu, sigma
        terms = gap.terms()
        ours = [terms["reconstruction"], terms["kl_to_prior"], terms["log_evidence"], terms["gap"], gap.elbo]
        assert ours == pytest.approx(list(oracle(name, mu, sigma).values()), abs=1e-6, rel=2e-7)
        assert gap.elbo + gap.gap == pytest.approx(gap.log_evidence, abs=1e-7)


@pytest.mark.parametrize("name", [LINE, BENT])
def test_the_page_shows_the_terms_and_its_bars_add_up(page, name):
    for mu, sigma in PLACES:
        change(page, posterior=name, mu=mu, sigma=sigma)
        exact = oracle(name, mu, sigma)
        found = table(page)  # thousandths; a KL is the difference of two of them, so that the sums hold as shown
        assert found == pytest.approx(exact, abs=0.001 + 1e-4)
        assert found["klToPrior"] - found["reconstruction"] == pytest.approx(-found["elbo"], abs=1e-9)
        assert found["gap"] - found["logEvidence"] == pytest.approx(-found["elbo"], abs=1e-9)
        bars = page.locator("rect[data-term]").evaluate_all(
            "all => all.map(e => ['y', 'height'].map(n => Number(e.getAttribute(n))))"
        )
        (y0, recon), (y1, kl), (y2, evidence), (y3, above) = bars
        assert (recon + kl, y1) == pytest.approx((evidence + above, y3), abs=1e-3)
        assert (y1 + kl, y3 + above) == pytest.approx((y0, y2), abs=1e-3)  # the upper parts stand on the lower ones
        heights = [-exact["reconstruction"], exact["klToPrior"], -exact["logEvidence"], exact["gap"]]
        scale = evidence / heights[2]
        assert [recon, kl, evidence, above] == pytest.approx([scale * h for h in heights], abs=0.01)
        svg = page.locator("svg:has(rect[data-term])")
        ticks = svg.locator("text").evaluate_all(
            "all => all.map(e => [Number(e.textContent), Number(e.getAttribute('y'))])"
        )
        (low, first), (nats, last) = ticks[1], ticks[-1]
        assert (first - last) / (nats - low) == pytest.approx(scale, rel=1e-3)
        assert recon + kl <= scale * nats + 1e-6
        assert f"both {-exact['elbo']:.2f} nats" in svg.get_attribute("aria-label")


def test_one_button_closes_the_gap_where_it_can_be_closed_and_keys_move_q(page):
    page.get_by_role("button", name="q = the posterior").press("Enter")
    assert [value(page, "mu"), value(page, "sigma")] == pytest.approx([1.6, 0.2**0.5], abs=1e-5)
    page.wait_for_function("document.querySelector('td[data-term=gap]').textContent === '0.000'")
    page.get_by_role("button", name="reset").press("Enter")
    for name, control, ends in (("mu", "μ, the mean of q", (-3, 3)), ("sigma", "σ, the standard", (0.1, 1.5))):
        page.get_by_role("slider", name=control).press("ArrowLeft")
        assert value(page, name) == pytest.approx(0.99)
        for key, end in zip(("Home", "End"), ends, strict=True):
            page.keyboard.press(key)
            assert value(page, name) == end
    page.get_by_role("combobox", name="model").press("ArrowDown")
    elbo, gap = (oracle(BENT, 3.0, 1.5)[name] for name in ("elbo", "gap"))
    said = f"q is N(3.00, 2.25): ELBO \u2212{-elbo:.2f}, gap {gap:.2f}, log p of x \u22122.17 nats"
    page.wait_for_function("said => document.querySelector('[role=status]').textContent === said", arg=said)


@pytest.mark.parametrize("start", [-2.0, 0.7])
def test_the_other_climbs_to_the_nearest_top(page, explorers, start):
    """Each bump has half of the posterior: what is left is log 2 and a little, for its bend."""
    page.get_by_role("combobox", name="model").select_option(BENT)
    change(page, mu=start, sigma=0.3)
    assert page.locator("button:visible").all_inner_texts() == ["climb from here", "reset"]
    page.get_by_role("button", name="climb from here").click()
    mu, sigma = value(page, "mu"), value(page, "sigma")
    best = oracle(BENT, mu, sigma)
    assert math.copysign(1, mu) == math.copysign(1, start) and math.log(2) < best["gap"] < math.log(2) + 0.1
    around = [oracle(BENT, mu + a, sigma + b) for a in (-0.01, 0, 0.01) for b in (-0.01, 0, 0.01) if a or b]
    assert max(terms["elbo"] for terms in around) < best["elbo"]
    assert explorers["gap"].best(BENT) == pytest.approx((abs(mu), sigma), abs=1e-3)


def test_bars_with_their_table_below_stay_small(explorer_page, fragments):
    page = explorer_page(fragments["gap"], viewport={"width": 320, "height": 900})
    assert page.locator(".vae-gap-bars > svg").bounding_box()["width"] < 160


# --- grids, and posteriors on them ------------------------------------------------------------------------------


@pytest.mark.parametrize("mu, sigma", [(0.0, 0.02), (0.025, 0.01), (1.0, 0.05)])
def test_a_posterior_too_narrow_for_the_grid_is_refused(mu, sigma):
    """log p(x, z) of a z that is seen almost without noise, its top at log p(x|z) = 0."""
    with pytest.raises(ValueError, match="log_joint of 'a' must be wider"):
        GapExplorer(GRID, {"a": log_normal(GRID) - (GRID - mu) ** 2 / (2 * sigma**2)})
    fine = torch.linspace(-12, 12, 4801, dtype=torch.float64)
    one = GapExplorer(fine, log_normal(fine) - (fine - mu) ** 2 / (2 * sigma**2))
    exact = log_normal(torch.tensor(mu), 0.0, (1 + sigma**2) ** 0.5).item() + math.log(sigma * math.sqrt(2 * math.pi))
    assert one.log_evidence == pytest.approx(exact, abs=1e-4)


def test_what_is_as_narrow_as_promised_or_rounded_to_float32_is_taken():
    """A posterior of sigma = 0.1 between two points of the grid; and log p(z) is -72 far out, in steps of 8e-6."""
    noise = (1 / (1 / 0.10001**2 - 1)) ** 0.5
    one = GapExplorer(GRID, log_normal(GRID) - (GRID - 0.025) ** 2 / (2 * noise**2))
    assert one.settings["posteriors"][0]["gaussian"][1] == pytest.approx(0.10001, abs=1e-5)
    assert GapExplorer(GRID.numpy(), log_normal(GRID).float() + 2e-5).terms()["reconstruction"] <= 1e-6
