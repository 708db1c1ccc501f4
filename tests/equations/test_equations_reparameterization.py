"""The equations of chapter 3, each against an independent oracle: closed forms, quadrature, torch.distributions."""

import math

import pytest
import torch
from numpy.polynomial.hermite_e import hermegauss
from torch.distributions import AffineTransform, Normal, TransformedDistribution

from vaecore.distributions import Gaussian

NODES, WEIGHTS = (torch.tensor(a) for a in hermegauss(60))
WEIGHTS = WEIGHTS / WEIGHTS.sum()
PLACES = [(1.0, 0.5), (-0.7, 2.0), (0.3, 0.1)]  # mu, sigma; never sigma = 1, which hides the usual slips


def averages(mu, sigma):
    """For g = z^2 and g = sin z: g, and the exact slopes of E[g] in mu and in log sigma^2."""
    damped = math.exp(-(sigma**2) / 2)
    return [
        (torch.square, 2 * mu, sigma**2),
        (torch.sin, damped * math.cos(mu), -0.5 * sigma**2 * damped * math.sin(mu)),
    ]


def parameters(mu, sigma, n):
    """n copies of mu and log sigma^2, (n, 1), each with a gradient of its own."""
    mu = torch.full((n, 1), mu, dtype=torch.float64, requires_grad=True)
    log_var = torch.full((n, 1), 2 * math.log(sigma), dtype=torch.float64, requires_grad=True)
    return mu, log_var


def assert_mean(terms, exact):
    """The mean of the terms is `exact`, within five standard errors."""
    assert abs(terms.mean().item() - exact) < 5 * terms.std().item() / len(terms) ** 0.5 + 1e-12


@pytest.mark.parametrize("mu, sigma", PLACES)
def test_reparameterization(mu, sigma):
    torch.manual_seed(0)
    mus, log_vars = parameters(mu, sigma, 100_000)
    z = Gaussian(mus, log_vars).rsample()
    for point in (-2.0, -1.0, 0.0, 0.5, 1.5):
        share = Normal(0.0, 1.0).cdf(torch.tensor(point)).item()
        assert_mean((z.detach() <= mu + sigma * point).double(), share)

    # with epsilon held, z moves one for one with mu, and sigma moves by half of sigma with log sigma^2
    d_mu, d_log_var = torch.autograd.grad(z.sum(), (mus, log_vars))
    torch.testing.assert_close(d_mu, torch.ones_like(d_mu))
    torch.testing.assert_close(d_log_var, (z.detach() - mu) / 2)


def test_reparameterization_draws_for_each_dimension():
    torch.manual_seed(1)
    z = Gaussian.standard(50_000, 3).rsample()
    assert (torch.corrcoef(z.T) - torch.eye(3)).abs().max() < 5 / len(z) ** 0.5


@pytest.mark.parametrize("mu, sigma", PLACES)
def test_reparameterization_density(mu, sigma):
    z = torch.linspace(-4, 4, 41, dtype=torch.float64)
    shifted = TransformedDistribution(Normal(torch.zeros((), dtype=torch.float64), 1.0), AffineTransform(mu, sigma))
    mus, log_vars = parameters(mu, sigma, 41)
    torch.testing.assert_close(Gaussian(mus, log_vars).log_prob(z[:, None]), shifted.log_prob(z))


@pytest.mark.parametrize("mu, sigma", PLACES)
def test_pathwise_gradient(mu, sigma):
    torch.manual_seed(2)
    for g, slope_mu, slope_log_var in averages(mu, sigma):
        mus, log_vars = parameters(mu, sigma, 100_000)
        d_mu, d_log_var = torch.autograd.grad(g(Gaussian(mus, log_vars).rsample()).sum(), (mus, log_vars))
        assert_mean(d_mu, slope_mu)
        assert_mean(d_log_var, slope_log_var)


@pytest.mark.parametrize("mu, sigma", PLACES)
def test_score_gradient(mu, sigma):
    z = (mu + sigma * NODES)[:, None]
    for g, slope_mu, slope_log_var in averages(mu, sigma):
        mus, log_vars = parameters(mu, sigma, len(z))
        weighted = WEIGHTS * g(z[:, 0]) * Gaussian(mus, log_vars).log_prob(z)
        d_mu, d_log_var = torch.autograd.grad(weighted.sum(), (mus, log_vars))
        assert d_mu.sum().item() == pytest.approx(slope_mu, abs=1e-9)
        assert d_log_var.sum().item() == pytest.approx(slope_log_var, abs=1e-9)


@pytest.mark.parametrize("mu, sigma", PLACES)
def test_reparameterization_score(mu, sigma):
    torch.manual_seed(3)
    epsilon = torch.randn(200, dtype=torch.float64)
    z = mu + sigma * epsilon
    mus, log_vars = parameters(mu, sigma, 200)
    d_mu, d_log_var = torch.autograd.grad(Gaussian(mus, log_vars).log_prob(z[:, None]).sum(), (mus, log_vars))
    torch.testing.assert_close(d_mu[:, 0], epsilon / sigma)
    torch.testing.assert_close(d_log_var[:, 0] * 2 / sigma, (epsilon**2 - 1) / sigma)


@pytest.mark.parametrize("n_draws", [1, 4, 25])
def test_reparameterization_draws(n_draws):
    torch.manual_seed(4)
    mu, sigma, repeats = 1.0, 0.5, 10_000
    mus, log_vars = parameters(mu, sigma, repeats)
    copies = Gaussian(mus.expand(repeats, n_draws), log_vars.expand(repeats, n_draws))
    (estimates,) = torch.autograd.grad((copies.rsample() ** 2).mean(dim=1).sum(), mus)
    assert_mean(estimates, 2 * mu)
    # one draw's estimate is 2z, whose variance is 4 sigma^2
    tolerance = 5 * math.sqrt(2 / repeats)
    assert estimates.var().item() == pytest.approx(4 * sigma**2 / n_draws, rel=tolerance)


@pytest.mark.parametrize("mu, sigma", PLACES)
def test_reparameterization_score_variance(mu, sigma):
    z = (mu + sigma * NODES)[:, None]
    mus, log_vars = parameters(mu, sigma, len(z))
    (score,) = torch.autograd.grad(Gaussian(mus, log_vars).log_prob(z).sum(), mus)
    terms = z[:, 0] ** 2 * score[:, 0]
    variance = (WEIGHTS * terms**2).sum() - (WEIGHTS * terms).sum() ** 2
    assert variance.item() == pytest.approx(mu**4 / sigma**2 + 14 * mu**2 + 15 * sigma**2, rel=1e-9)
