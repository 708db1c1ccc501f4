"""The equations of chapter 1, each against an independent oracle: exact Gaussians, counting, simulation."""

import math

import pytest
import torch
from torch.distributions import MultivariateNormal, Normal

from vaecore.distributions import Gaussian
from vaecore.evaluate import log_evidence
from vaecore.vae import VAE

STEP = 0.01
GRID = torch.arange(-8, 8, STEP, dtype=torch.float64)[:, None]
W, S = 1.5, 0.4  # the linear story: x = W z + S noise


def linear_decoder(z, w=W, s=S):
    mu = w * z
    return Gaussian(mu, torch.full_like(mu, 2 * math.log(s)))


def grid_log_joint(x):
    """log p(x, z) of the linear story at each point of the grid."""
    return Gaussian.standard(1).log_prob(GRID) + linear_decoder(GRID).log_prob(torch.tensor([x]))


@pytest.fixture(scope="module")
def story():
    """A VAE of three pixels and one latent, its eight images, and p(x, z) of each on the grid, (8, G)."""
    torch.manual_seed(0)
    model = VAE(d_x=3, d_z=1, hidden=(8,), activation="tanh").double()
    with torch.no_grad():
        for parameter in model.decoder.parameters():
            parameter.mul_(4)  # a decoder that bends
        images = torch.cartesian_prod(*[torch.tensor([0.0, 1.0], dtype=torch.float64)] * 3)
        log_likelihood = model.decode(GRID).log_prob(images[:, None])
        joint = (Gaussian.standard(1).log_prob(GRID) + log_likelihood).exp()
    return model, images, joint


def test_joint():
    torch.manual_seed(0)
    weights = torch.randn(3, 2, dtype=torch.float64)
    z = torch.randn(5, 2, dtype=torch.float64)
    x = torch.randn(5, 3, dtype=torch.float64)
    mu = z @ weights.T
    log_joint = Gaussian.standard(2).log_prob(z) + Gaussian(mu, torch.full_like(mu, math.log(0.3))).log_prob(x)

    # the pair (z, x) of a linear story is one Gaussian, known in closed form
    both = torch.eye(5, dtype=torch.float64)
    both[2:, :2], both[:2, 2:] = weights, weights.T
    both[2:, 2:] = weights @ weights.T + 0.3 * torch.eye(3, dtype=torch.float64)
    exact = MultivariateNormal(torch.zeros(5, dtype=torch.float64), both).log_prob(torch.cat([z, x], dim=1))
    torch.testing.assert_close(log_joint, exact, rtol=0, atol=1e-6)


@pytest.mark.parametrize("x", [-2.0, 0.0, 0.7, 3.0])
def test_marginal(x):
    exact = Normal(0.0, math.sqrt(W**2 + S**2)).log_prob(torch.tensor(x)).item()
    assert (grid_log_joint(x).logsumexp(0) + math.log(STEP)).item() == pytest.approx(exact, abs=1e-5)


def test_marginal_of_a_vae_is_what_it_generates(story):
    model, _, joint = story
    p_x = joint.sum(dim=1) * STEP
    assert p_x.sum().item() == pytest.approx(1, abs=1e-6)

    torch.manual_seed(1)
    n = 200_000
    with torch.no_grad():
        bits = model.decode(torch.randn(n, 1, dtype=torch.float64)).sample()
    numbers = (bits @ torch.tensor([4.0, 2.0, 1.0], dtype=torch.float64)).long()
    shares = numbers.bincount(minlength=8) / n
    assert ((shares - p_x).abs() < 5 * (p_x * (1 - p_x) / n).sqrt()).all()


@pytest.mark.parametrize("x", [-2.0, 0.0, 0.7, 3.0])
def test_bayes(x):
    log_joint = grid_log_joint(x)
    log_posterior = log_joint - (log_joint.logsumexp(0) + math.log(STEP))
    variance = S**2 / (W**2 + S**2)
    exact = Normal(variance * W * x / S**2, math.sqrt(variance)).log_prob(GRID[:, 0])
    torch.testing.assert_close(log_posterior, exact, rtol=1e-5, atol=1e-4)


def test_bayes_finds_the_causes_that_a_simulation_kept(story):
    model, images, joint = story
    posterior = joint / joint.sum(dim=1, keepdim=True)  # weights of the grid points
    torch.manual_seed(2)
    z = torch.randn(200_000, 1, dtype=torch.float64)
    with torch.no_grad():
        bits = model.decode(z).sample()
    for image, weights in zip(images, posterior, strict=True):
        kept = z[(bits == image).all(dim=1), 0]
        for f in (lambda z: z, torch.square, lambda z: (z > 0.5).double()):
            mean = (weights * f(GRID[:, 0])).sum()
            assert abs(f(kept).mean() - mean) < 5 * f(kept).std() / len(kept) ** 0.5 + 1e-3


def test_latent_prior_sampling(story):
    model, images, joint = story
    p_x = joint.sum(dim=1) * STEP
    torch.manual_seed(3)
    z = Gaussian.standard(100_000, 1).rsample().double()
    with torch.no_grad():
        terms = model.decode(z).log_prob(images[:, None]).exp()  # (8, S)
    assert ((terms.mean(1) - p_x).abs() < 5 * terms.std(1) / terms.shape[1] ** 0.5).all()


@pytest.mark.parametrize("d", [1, 3])
def test_latent_relative_error(d):
    x, s, n_draws, repeats = torch.ones(d), 0.5, 500, 2000
    torch.manual_seed(4)
    terms = linear_decoder(torch.randn(repeats, n_draws, d), 1.0, s).log_prob(x).exp()
    p_x = Normal(0.0, math.sqrt(1 + s**2)).log_prob(x).sum().exp()

    # N(x; z, s^2)^2 is N(x; z, s^2 / 2) / (2 s sqrt(pi)), and its mean under the prior is one more Gaussian
    mean_square = Normal(0.0, math.sqrt(1 + s**2 / 2)).log_prob(x).exp() / (2 * s * math.sqrt(math.pi))
    r = (mean_square.prod() / p_x**2).item()
    measured = (terms.mean(dim=1) / p_x).std().item()
    # a spread from n repeats is good to 1 / sqrt(2 n), somewhat less for skewed terms
    assert measured == pytest.approx(math.sqrt((r - 1) / n_draws), rel=8 / math.sqrt(2 * repeats))


@pytest.mark.parametrize("s", [0.1, 0.7])
def test_latent_square(s):
    x, z = torch.linspace(-2, 2, 9), torch.tensor(0.3)
    narrower = Normal(z, s / math.sqrt(2)).log_prob(x).exp() / (2 * s * math.sqrt(math.pi))
    torch.testing.assert_close(Normal(z, s).log_prob(x).exp() ** 2, narrower)


@pytest.mark.parametrize("d", [1, 2])
def test_latent_exponential(d):
    s, one = 0.4, torch.ones((), dtype=torch.float64)
    weights = Gaussian.standard(1).log_prob(GRID).exp() * STEP
    p = Normal(GRID[:, 0], s).log_prob(one).exp()  # p(x|z) of one dimension
    p, weights = (p, weights) if d == 1 else (torch.outer(p, p), torch.outer(weights, weights))
    r = (weights * p**2).sum() / (weights * p).sum() ** 2
    square = Normal(0.0, math.sqrt(1 + s**2 / 2)).log_prob(one).exp() / (2 * s * math.sqrt(math.pi))
    factor = square / Normal(0.0, math.sqrt(1 + s**2)).log_prob(one).exp() ** 2
    assert r.item() == pytest.approx(factor.item() ** d, rel=1e-5)


def test_latent_importance(story):
    model, images, joint = story
    p_x = joint.sum(dim=1) * STEP
    estimates = torch.stack([log_evidence(model, images, n_samples=500, seed=k).exp() for k in range(30)])
    standard_error = estimates.std(0) / len(estimates) ** 0.5
    assert ((estimates.mean(0) - p_x).abs() < 5 * standard_error + 1e-4).all()


def test_latent_importance_of_the_exact_posterior_has_no_noise():
    torch.manual_seed(5)
    x, variance = 1.3, S**2 / (W**2 + S**2)
    posterior = Gaussian(torch.full((50, 1), variance * W * x / S**2), torch.full((50, 1), math.log(variance)))
    z = posterior.rsample()
    likelihood = linear_decoder(z).log_prob(torch.tensor([x]))
    log_ratio = Gaussian.standard(1).log_prob(z) + likelihood - posterior.log_prob(z)
    exact = Normal(0.0, math.sqrt(W**2 + S**2)).log_prob(torch.tensor(x))
    torch.testing.assert_close(log_ratio, exact.expand(50), rtol=0, atol=1e-4)
