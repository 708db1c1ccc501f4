"""The CVAE's equations and the importance-weighted bound, against quadrature, enumeration, finite differences."""

import itertools
import math

import numpy as np
import pytest
import torch
from torch.distributions import Bernoulli as TorchBernoulli
from torch.distributions import Categorical, Normal, kl_divergence
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from vaecore import evaluate
from vaecore.distributions import Gaussian
from vaecore.vae import VAE, Regressor

IMAGES = torch.tensor(list(itertools.product([0.0, 1.0], repeat=3)), dtype=torch.float64)
Z = torch.linspace(-12, 12, 4001, dtype=torch.float64)[:, None]
DZ = (Z[1] - Z[0]).item()
PRIOR = Normal(torch.zeros(1, dtype=torch.float64), 1.0)


def tiny(d_y: int) -> VAE:
    torch.manual_seed(0)
    model = VAE(d_x=3, d_z=1, hidden=(4,), d_y=d_y).double()
    with torch.no_grad():
        for parameter in model.decoder.parameters():
            parameter.mul_(3)  # an untrained net hardly looks at its input
    return model


def with_noise(monkeypatch, epsilon):
    """From here on a draw from a Gaussian is mu + sigma * epsilon."""
    monkeypatch.setattr(Gaussian, "rsample", lambda q, *_: q.mu + q.sigma * epsilon)


CONDITIONS = {
    "none": (0, [torch.zeros(0)]),
    "classes": (3, list(torch.eye(3))),
    "pixels": (2, list(torch.cartesian_prod(*[torch.tensor([0.0, 1.0])] * 2))),
}


@pytest.mark.parametrize("kind", CONDITIONS)
@torch.no_grad()
def test_cvae_elbo(kind, monkeypatch):
    """For each condition y alone: its expectation, and that p(x|y) is a distribution which it bounds."""
    d_y, conditions = CONDITIONS[kind]
    model, log_p_y = tiny(d_y), []
    for number, row in enumerate(conditions):

        def nets(net, rows, row=row):
            return net(torch.cat([rows, row.double().expand(len(rows), -1)], dim=-1))

        mu, log_var = nets(model.encoder, IMAGES).chunk(2, -1)
        q = Normal(mu, torch.exp(log_var / 2))
        log_likelihood = TorchBernoulli(logits=nets(model.decoder, Z)[:, None]).log_prob(IMAGES).sum(-1)  # (G, 8)
        log_evidence = (log_likelihood + PRIOR.log_prob(Z)).logsumexp(0) + math.log(DZ)
        density = q.log_prob(Z[:, None]).exp().squeeze(-1)  # (G, 8)
        exact = (density * log_likelihood).sum(0) * DZ - kl_divergence(q, PRIOR).sum(-1)

        y = None if kind == "none" else torch.tensor(number) if kind == "classes" else row.double()
        batch = [y.expand(8 * len(Z), *y.shape)] if y is not None else []
        with monkeypatch.context() as patch:  # every image meets the whole grid of noise
            with_noise(patch, Z.repeat(8, 1))
            bounds = model.elbo(IMAGES.repeat_interleave(len(Z), 0), *batch).reshape(8, -1)
        ours = bounds @ PRIOR.log_prob(Z).exp().squeeze(-1) * DZ
        torch.testing.assert_close(ours, exact, rtol=0, atol=1e-6)
        assert (ours < log_evidence).all()
        estimate = evaluate.log_evidence(model, IMAGES, *(b[:8] for b in batch), n_samples=20_000)
        torch.testing.assert_close(estimate, log_evidence, rtol=0, atol=0.03, check_dtype=False)
        log_p_y.append(log_evidence)
    torch.testing.assert_close(torch.stack(log_p_y).exp().sum(-1), torch.ones(len(conditions)).double())


def of_class(model: VAE, number: int) -> tuple[torch.Tensor, Normal]:
    """log p(x|z,y) on the grid, (G, 8), and q(z|x,y), from the nets alone, for one class of three."""
    row = torch.eye(3, dtype=torch.float64)[number]

    def nets(net, rows):
        return net(torch.cat([rows, row.expand(len(rows), 3)], dim=-1))

    mu, log_var = nets(model.encoder, IMAGES).chunk(2, -1)
    log_likelihood = TorchBernoulli(logits=nets(model.decoder, Z)[:, None]).log_prob(IMAGES).sum(-1)
    return log_likelihood, Normal(mu, torch.exp(log_var / 2))


@pytest.mark.parametrize("number", range(3))
@torch.no_grad()
def test_cvae_derivation(number):
    """Line 1 by a posterior normalised on the grid, lines 2 and 3 by sums, line 4 by the package's KL."""
    model, y = tiny(3), torch.full((8,), number)
    log_likelihood, q = of_class(model, number)
    log_joint = log_likelihood + PRIOR.log_prob(Z)
    log_evidence = log_joint.logsumexp(0) + math.log(DZ)
    log_posterior = log_joint - log_evidence
    log_q = q.log_prob(Z[:, None]).squeeze(-1)  # (G, 8)

    def expect(f):
        return (log_q.exp() * f).sum(0) * DZ

    line_1 = expect(log_q - log_posterior)
    line_3 = expect(log_q - log_likelihood - PRIOR.log_prob(Z)) + log_evidence
    ours = torch.stack([model.decode(Z, y[:1].expand(len(Z))).log_prob(image) for image in IMAGES], dim=1)
    line_4 = model.encode(IMAGES, y).kl() - expect(ours) + log_evidence
    torch.testing.assert_close(line_3, line_1)
    torch.testing.assert_close(line_4, line_1)
    assert (line_1 > 1e-3).all()


@pytest.mark.parametrize("y", [-1.0, 1.0])
def test_cvae_toy_posterior(y):
    """The joint density, integrated over z for the evidence and divided by it for the posterior."""
    c, s, x = 1.5, 0.5, torch.tensor(0.5, dtype=torch.float64)
    z = Z.squeeze(-1)
    joint = (PRIOR.log_prob(Z).squeeze(-1) + Normal(z + c * y, s).log_prob(x)).exp()
    evidence = Normal(c * y, torch.tensor(1 + s**2).double().sqrt()).log_prob(x).exp()
    torch.testing.assert_close(joint.sum() * DZ, evidence)
    mean, variance = (x - c * y) / (1 + s**2), torch.tensor(s**2 / (1 + s**2)).double()
    torch.testing.assert_close(joint / evidence, Normal(mean, variance.sqrt()).log_prob(z).exp())


def test_cvae_whitening():
    """The package's KL between two Gaussians, against torch's KL of the whitened one to N(0, 1)."""
    torch.manual_seed(0)
    mu, log_var, m, log_t2 = torch.randn(4, 50, 3, dtype=torch.float64)
    sigma, t = torch.exp(log_var / 2), torch.exp(log_t2 / 2)
    whitened = kl_divergence(Normal((mu - m) / t, sigma / t), Normal(0.0, 1.0)).sum(-1)
    torch.testing.assert_close(Gaussian(mu, log_var).kl(Gaussian(m, log_t2)), whitened, check_dtype=False)


@torch.no_grad()
def test_cvae_label_worth():
    """p(x|y) by quadrature, p(y|x) by Bayes' rule on a table of all images and classes."""
    model = tiny(3)
    log_p = torch.stack(
        [(of_class(model, k)[0] + PRIOR.log_prob(Z)).logsumexp(0) + math.log(DZ) for k in range(3)]
    )  # log p(x|y), (3, 8)
    joint = log_p.exp() / 3  # p(x, y)
    p_x = joint.sum(0)
    gain = log_p - p_x.log()
    torch.testing.assert_close(gain, (joint / p_x).log() + math.log(3))
    assert (gain <= math.log(3)).all() and (gain < 0).any()
    ours = torch.stack([evaluate.log_evidence(model, IMAGES, torch.full((8,), k), n_samples=20_000) for k in range(3)])
    ours = ours - (ours.logsumexp(0) - math.log(3))
    torch.testing.assert_close(ours, gain, rtol=0, atol=0.03, check_dtype=False)


@torch.no_grad()
def test_cvae_regressor():
    """The likelihood of independent bits: a product of probabilities, summing to 1 over all images for each y."""
    torch.manual_seed(0)
    model, y = Regressor(d_x=3, d_y=2, hidden=(4,)).double(), torch.randn(5, 2, dtype=torch.float64)
    p = torch.sigmoid(model.net(y))
    for image in IMAGES:
        ours = model.log_likelihood(image.expand(5, 3), y)
        torch.testing.assert_close(ours, torch.where(image == 1, p, 1 - p).prod(-1).log())
    total = sum(model.log_likelihood(image.expand(5, 3), y).exp() for image in IMAGES)
    torch.testing.assert_close(total, torch.ones(5).double())


def test_completing_gain():
    """Torch's KL between categoricals over all pictures of three bits, with marginals summed by hand."""
    torch.manual_seed(0)
    log_p = torch.randn(8, dtype=torch.float64).mul(2).log_softmax(0)  # p(x|y) of one y
    marginals = (log_p.exp()[:, None] * IMAGES).sum(0)
    log_apart = TorchBernoulli(marginals).log_prob(IMAGES).sum(-1)
    regressor = Regressor(d_x=3, d_y=1, hidden=()).double()
    with torch.no_grad():
        regressor.net[0].weight.zero_()
        regressor.net[0].bias.copy_(marginals.logit())
        gain = log_p - regressor.log_likelihood(IMAGES, torch.zeros(8, 1))
    kl = kl_divergence(Categorical(logits=log_p), Categorical(logits=log_apart))
    torch.testing.assert_close((log_p.exp() * gain).sum(), kl)
    assert kl > 0.1


def nested_grid(k: int, n: int = 24):
    """Noise (k, n^k, 1) and weights (n^k,) whose weighted sum is the average over k independent draws."""
    points, weights = (torch.as_tensor(a) for a in np.polynomial.hermite_e.hermegauss(n))
    grid = torch.cartesian_prod(*[points] * k).reshape(-1, k)
    weights = torch.cartesian_prod(*[weights / weights.sum()] * k).reshape(-1, k).prod(-1)
    return grid.T[..., None], weights


def expected_log_mean_weight(model: VAE, x: torch.Tensor, k: int) -> torch.Tensor:
    """E[log (1/k) sum_i p(x,z_i)/q(z_i|x)] over k draws, for one image x, by nested quadrature and plain logs."""
    epsilon, weights = nested_grid(k)
    mu, log_var = model.encoder(x).chunk(2, -1)
    q = Normal(mu, torch.exp(log_var / 2))
    z = q.mean + q.stddev * epsilon
    p = TorchBernoulli(logits=model.decoder(z)).log_prob(x).sum(-1).exp() * PRIOR.log_prob(z).squeeze(-1).exp()
    return weights @ torch.log((p / q.log_prob(z).squeeze(-1).exp()).mean(0))


@pytest.mark.parametrize("k", [1, 2])
def test_iwae_bound(k, monkeypatch):
    """Value and gradient, averaged exactly over the draws, against the expectation and its finite differences."""
    model, x = tiny(0), IMAGES[5]
    epsilon, weights = nested_grid(k)
    with_noise(monkeypatch, epsilon)
    bound = weights @ evaluate.iwae_bound(model, x.expand(len(weights), 3), k=k)
    ours = parameters_to_vector(torch.autograd.grad(bound, list(model.parameters())))
    with torch.no_grad():
        torch.testing.assert_close(bound, expected_log_mean_weight(model, x, k))
        theta, step, differences = parameters_to_vector(model.parameters()), 1e-5, []
        for direction in torch.eye(len(theta), dtype=torch.float64) * step:
            values = []
            for at in (theta + direction, theta - direction):
                vector_to_parameters(at, model.parameters())
                values.append(expected_log_mean_weight(model, x, k))
            differences.append((values[0] - values[1]) / (2 * step))
    torch.testing.assert_close(ours, torch.stack(differences), rtol=1e-5, atol=1e-7)
    assert ours.abs().max() > 0.1


@torch.no_grad()
def test_iwae_bound_tightens():
    model, x = tiny(0), IMAGES[5]
    log_likelihood = TorchBernoulli(logits=model.decoder(Z)).log_prob(x).sum(-1)
    log_evidence = (log_likelihood + PRIOR.log_prob(Z).squeeze(-1)).logsumexp(0) + math.log(DZ)
    bounds = [expected_log_mean_weight(model, x, k) for k in (1, 2, 3)]
    assert bounds[0] < bounds[1] < bounds[2] < log_evidence
    torch.manual_seed(1)
    draws = evaluate.iwae_bound(model, x.expand(50_000, 3), k=2)
    assert abs(draws.mean() - bounds[1]) < 5 * draws.std() / len(draws) ** 0.5
    assert evaluate.iwae_bound(model, x.expand(200, 3), k=2000).mean() > bounds[2]
