"""The ELBO gap viewer: its numbers, in Python and in the page, against closed forms and a far finer sum."""

import math
import re
from pathlib import Path

import pytest
import torch
import traitlets
from explorer_pages import GRID, change, value
from torch.distributions import Normal, kl_divergence

from vaecore.explorer import GapExplorer, base

X, S = 2.0, 0.5
LINE, BENT = "x = z + noise", "x = z² + noise"
PLACES = [(1.0, 1.0), (1.6, 0.2**0.5), (0.0, 1.0), (-3.0, 1.5), (3.0, 1.5), (3.0, 0.1), (-1.3, 0.25), (0.02, 0.1),
          (1.38, 0.19), (2.57, 0.8), (-0.4, 1.23), (1.2, 0.44)]  # fmt: skip
TERMS = ("reconstruction", "klToPrior", "logEvidence", "gap", "elbo")


def log_joint(z: torch.Tensor, name: str) -> torch.Tensor:
    return Normal(0.0, 1.0).log_prob(z) + Normal(z if name == LINE else z**2, S).log_prob(torch.tensor(X).to(z))


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
def gap() -> GapExplorer:
    return GapExplorer(GRID, {name: log_joint(GRID, name) for name in (LINE, BENT)})


@pytest.fixture
def open_page(explorer_page):
    return lambda one, **options: explorer_page(one.fragment(), **options)


def shown(page) -> dict[str, float]:
    """What the table says, with the signs of the terms themselves."""
    cells = page.locator("td[data-term]").evaluate_all("all => all.map(e => [e.dataset.term, e.textContent])")
    numbers = {term: float(text.replace("\u2212", "-")) for term, text in cells}
    assert [text for term, text in cells if term == "elbo"] == [dict(cells)["elbo"]] * 2
    return {term: number if term in ("klToPrior", "gap") else -number for term, number in numbers.items()}


@pytest.mark.parametrize("name", [LINE, BENT])
@pytest.mark.parametrize("mu, sigma", PLACES)
def test_python_computes_the_terms(gap, name, mu, sigma):
    gap.posterior, gap.mu, gap.sigma = name, mu, sigma
    exact, terms = oracle(name, mu, sigma), gap.terms()
    ours = [terms["reconstruction"], terms["kl_to_prior"], terms["log_evidence"], terms["gap"], gap.elbo]
    assert ours == pytest.approx(list(exact.values()), abs=1e-6, rel=2e-7)
    assert gap.elbo + gap.gap == pytest.approx(gap.log_evidence, abs=1e-7)


@pytest.mark.parametrize("name", [LINE, BENT])
def test_the_page_shows_the_terms_and_its_bars_add_up(open_page, gap, name):
    page = open_page(gap)
    for mu, sigma in PLACES:
        change(page, posterior=name, mu=mu, sigma=sigma)
        exact = oracle(name, mu, sigma)
        found = shown(page)  # thousandths; a KL is the difference of two of them, so that the sums hold as shown
        assert found == pytest.approx(exact, abs=0.001 + 1e-4)
        assert found["klToPrior"] - found["reconstruction"] == pytest.approx(-found["elbo"], abs=1e-9)
        assert found["gap"] - found["logEvidence"] == pytest.approx(-found["elbo"], abs=1e-9)
        bars = page.locator("rect[data-term]").evaluate_all(
            "all => all.map(e => [e.dataset.term, ['y', 'height'].map(n => Number(e.getAttribute(n)))])"
        )
        (_, (y0, recon)), (_, (y1, kl)), (_, (y2, evidence)), (_, (y3, above)) = bars
        assert [term for term, _ in bars] == ["reconstruction", "klToPrior", "logEvidence", "gap"]
        assert recon + kl == pytest.approx(evidence + above, abs=1e-3) and y1 == pytest.approx(y3, abs=1e-3)
        assert (y1 + kl, y3 + above) == pytest.approx((y0, y2), abs=1e-3)  # the upper parts stand on the lower ones
        scale = evidence / -exact["logEvidence"]
        heights = [-exact["reconstruction"], exact["klToPrior"], -exact["logEvidence"], exact["gap"]]
        assert [recon, kl, evidence, above] == pytest.approx([scale * h for h in heights], abs=0.01)
        svg = page.locator("svg:has(rect[data-term])")
        ticks = svg.locator("text").evaluate_all(
            "all => all.map(e => [Number(e.textContent), Number(e.getAttribute('y'))])"
        )
        (_, first), (nats, last) = ticks[1], ticks[-1]
        assert (first - last) / (nats - ticks[1][0]) == pytest.approx(scale, rel=1e-3)
        assert max(recon + kl, evidence + above) <= scale * nats + 1e-6
        assert f"both {-exact['elbo']:.2f} nats" in svg.get_attribute("aria-label")


def test_page_and_python_agree_far_beyond_what_is_shown(open_page, gap):
    """The same sums over the same numbers."""
    page = open_page(gap)
    page.add_script_tag(
        type="module", content=f"{base.JAVASCRIPT}\nglobalThis.gap = {{ gapGrid, gapProblem, gapTerms }};"
    )
    page.wait_for_function("globalThis.gap")
    for number, name in enumerate((LINE, BENT)):
        for mu, sigma in PLACES:
            gap.posterior, gap.mu, gap.sigma = name, mu, sigma
            theirs = page.evaluate(
                """([settings, number, mu, sigma]) => {
                    const grid = gap.gapGrid(settings), { name, log_joint: joint } = settings.posteriors[number];
                    return gap.gapTerms(grid, gap.gapProblem(grid, name, joint, null), mu, sigma);
                }""",
                [gap.settings, number, mu, sigma],
            )
            assert theirs["elbo"] == pytest.approx(gap.elbo, abs=1e-9)
            assert theirs["gap"] == pytest.approx(gap.gap, abs=1e-9)
            assert theirs["logEvidence"] == pytest.approx(gap.log_evidence, abs=1e-9)


def test_the_curves_are_the_densities(open_page, gap):
    """Read off the paths: q's and the posterior's peaks lie where they should, as high as the axis says."""
    page = open_page(gap)
    change(page, mu=-1.0, sigma=0.5)
    svg = page.locator("svg:has(path.vae-gap-blue)").first
    ticks = svg.locator("text.vae-gap-end").evaluate_all(
        "all => all.map(e => [Number(e.textContent), Number(e.getAttribute('y'))])"
    )
    (_, bottom), (roof, top) = ticks[0], ticks[-1]
    across = svg.locator("text.vae-gap-middle").evaluate_all(
        "all => Object.fromEntries(all.map(e => [e.textContent, Number(e.getAttribute('x'))]))"
    )
    for colour, at, peak in (("blue", -1.0, 0.7979), ("ink", 1.6, 0.8921), ("grey", 0.0, 0.3989)):
        path = svg.locator(f"path.vae-gap-{colour}").get_attribute("d")
        x, y = min(((float(a), float(b)) for a, b in re.findall(r"([\d.]+) ([\d.]+)(?=C|$)", path)), key=lambda p: p[1])
        assert (x - across["0"]) / (across["2"] - across["0"]) * 2 == pytest.approx(at, abs=0.03)
        assert (bottom - y) / (bottom - top + 4) * roof == pytest.approx(peak, abs=0.03)  # the word sits 4 lower


def test_one_button_closes_the_gap_where_it_can_be_closed(open_page, gap):
    page = open_page(gap)
    assert page.locator("button:visible").all_inner_texts() == ["q = the posterior", "reset"]
    page.get_by_role("button", name="q = the posterior").click()
    assert [value(page, "mu"), value(page, "sigma")] == pytest.approx([1.6, 0.2**0.5], abs=1e-5)
    page.wait_for_function("document.querySelector('td[data-term=gap]').textContent === '0.000'")
    assert shown(page)["elbo"] == shown(page)["logEvidence"]
    page.get_by_role("button", name="reset").click()
    assert [value(page, "mu"), value(page, "sigma")] == [1, 1]


@pytest.mark.parametrize("start", [-2.0, -0.5, 0.7, 3.0])
def test_the_other_climbs_to_the_nearest_top(open_page, gap, start):
    """No Gaussian near by has a larger ELBO; a q on one of two equal bumps misses half, which costs log 2."""
    page = open_page(gap)
    page.get_by_role("combobox", name="model").select_option(BENT)
    change(page, mu=start, sigma=0.3)
    assert page.locator("button:visible").all_inner_texts() == ["climb from here", "reset"]
    page.get_by_role("button", name="climb from here").click()
    mu, sigma = value(page, "mu"), value(page, "sigma")
    best = oracle(BENT, mu, sigma)
    assert math.copysign(1, mu) == math.copysign(1, start) and math.log(2) < best["gap"] < math.log(2) + 0.1
    around = [oracle(BENT, mu + a, sigma + b) for a in (-0.01, 0, 0.01) for b in (-0.01, 0, 0.01) if a or b]
    assert max(terms["elbo"] for terms in around) < best["elbo"]
    assert abs(gap.best(BENT)[0]) == pytest.approx(abs(mu), abs=0.1)
    assert gap.best(BENT)[1] == pytest.approx(sigma, abs=0.05)


def test_keys_move_the_sliders(open_page, gap):
    page = open_page(gap)
    for name, control in (("mu", "μ, the mean of q"), ("sigma", "σ, the standard deviation of q")):
        page.get_by_role("slider", name=control).focus()
        page.keyboard.press("ArrowLeft")
        assert value(page, name) == pytest.approx(0.99)
        page.keyboard.press("End")
        assert value(page, name) == {"mu": 3.0, "sigma": 1.5}[name]
        page.keyboard.press("Home")
        assert value(page, name) == {"mu": -3.0, "sigma": 0.1}[name]
    page.get_by_role("combobox", name="model").focus()
    page.keyboard.press("ArrowDown")
    assert value(page, "posterior") == BENT
    exact = oracle(BENT, -3.0, 0.1)
    said = (
        f"q is N(\u22123.00, 0.01): ELBO \u2212{-exact['elbo']:.2f}, gap {exact['gap']:.2f}, log p of x \u22122.17 nats"
    )
    page.wait_for_function("said => document.querySelector('[role=status]').textContent === said", arg=said)


@pytest.mark.parametrize("width", [340, 390, 575, 624, 1200])
def test_nothing_sticks_out(open_page, gap, width):
    page = open_page(gap, viewport={"width": width, "height": 900})
    ends = page.locator(".vae-live :visible").evaluate_all("all => all.map(e => e.getBoundingClientRect().right)")
    change(page, mu=-3, sigma=1.5, posterior=BENT)  # the widest numbers
    ends += page.locator(".vae-live :visible").evaluate_all("all => all.map(e => e.getBoundingClientRect().right)")
    assert max(ends) <= width - 8


def test_without_a_script_it_says_the_same(browser, gap):
    page = browser.new_context(java_script_enabled=False).new_page()
    page.set_content(gap.fragment())
    label = page.locator(".vae-static svg").get_attribute("aria-label")
    told = [float(nats) for nats in re.findall(r"a gap of ([\d.]+) nats", label)]
    start, line, bent = (oracle(LINE, 1, 1), oracle(LINE, 1.6, 0.2**0.5), oracle(BENT, *gap.best(BENT)))
    assert told == pytest.approx([start["gap"], line["gap"], bent["gap"]], abs=0.006)
    assert page.locator(".vae-static svg").is_visible()
    page.context.close()


@pytest.mark.parametrize(
    "name, bad, sentence",
    [
        ("mu", "left", r"mu must be a number from -3 to 3; got 'left'\."),
        ("mu", float("nan"), r"mu must be a number from -3 to 3; got nan\."),
        ("mu", [1.0, 2.0], r"mu must be a number from -3 to 3; got \[1.0, 2.0\]\."),
        ("mu", 3.5, r"mu must be a number from -3 to 3; got 3.5\."),
        ("sigma", 0.0, r"sigma must be a number from 0.1 to 1.5; got 0.0\."),
        ("sigma", float("inf"), r"sigma must be a number from 0.1 to 1.5; got inf\."),
        ("sigma", None, r"sigma must be a number from 0.1 to 1.5; got None\."),
        ("posterior", "x = z", r"posterior must be one of \['x = z \+ noise', 'x = z² \+ noise'\]; got 'x = z'\."),
    ],
)
def test_a_bad_value_in_python_is_told_in_a_sentence(gap, name, bad, sentence):
    before = gap.terms()
    with pytest.raises(traitlets.TraitError, match=f"^{sentence}$"):
        setattr(gap, name, bad)
    assert gap.terms() == before


@pytest.mark.parametrize(
    "values, sentence",
    [
        (dict(mu=None), "mu must lie from −3 to 3, sigma from 0.1 to 1.5; got null and 1."),
        (dict(mu="left"), "mu must lie from −3 to 3, sigma from 0.1 to 1.5; got left and 1."),
        (dict(mu=0.5, sigma=0), "mu must lie from −3 to 3, sigma from 0.1 to 1.5; got 0.5 and 0."),
        (dict(posterior="none"), "There is no posterior named none here."),
    ],
)
def test_a_bad_value_in_the_page_is_told_in_a_sentence(open_page, gap, values, sentence):
    page = open_page(gap)
    change(page, **values)
    assert page.locator("[role=alert]").all_inner_texts() == [sentence]
    assert page.locator(".vae-static svg").is_visible()


def test_one_posterior_needs_no_name(open_page):
    one = GapExplorer(GRID, log_joint(GRID, LINE))
    assert one.gap == pytest.approx(oracle(LINE, 1, 1)["gap"], abs=1e-5)
    page = open_page(one)
    assert page.locator("select").count() == 0 and shown(page)["gap"] == pytest.approx(one.gap, abs=0.0006)


def test_it_takes_little_of_a_page(gap):
    shared = Path(__file__).parents[2] / "vaecore" / "explorer"
    scripts = sum(len(file.read_text()) for file in shared.rglob("*.[jc]s*"))
    assert len(gap.fragment()) - scripts < 150_000
