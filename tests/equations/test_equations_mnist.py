"""The equations of chapter 8, against enumeration of all bits, quadrature over z, and torch.distributions."""

import itertools
import math

import numpy as np
import torch
from torch.distributions import Bernoulli as TorchBernoulli
from torch.distributions import ContinuousBernoulli, Normal, kl_divergence

from vaecore.data import binarize
from vaecore.distributions import Bernoulli, Gaussian
from vaecore.vae import VAE

BITS = torch.tensor(list(itertools.product([0.0, 1.0], repeat=4)), dtype=torch.float64)  # (16, 4)
GREY = torch.tensor([[0.0, 0.3, 0.5, 1.0], [0.9, 0.6, 0.2, 0.1]], dtype=torch.float64)
Z = torch.linspace(-12, 12, 4001, dtype=torch.float64)[:, None]
DZ = (Z[1] - Z[0]).item()
PRIOR = Normal(torch.zeros(1, dtype=torch.float64), 1.0)


def chance(grey: torch.Tensor) -> torch.Tensor:
    """The probability of each of the 16 patterns of bits, (2, 16), as a product over the pixels."""
    return torch.where(BITS == 1, grey[:, None], 1 - grey[:, None]).prod(-1)


def tiny() -> VAE:
    torch.manual_seed(0)
    model = VAE(d_x=4, d_z=1, hidden=(5,)).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(3)  # an untrained net hardly looks at its input
    return model


def log_likelihoods(model: VAE) -> torch.Tensor:
    """log p(x|z) on the grid of z for all bits, (4001, 16)."""
    return TorchBernoulli(logits=model.decoder(Z)[:, None]).log_prob(BITS).sum(-1)


def log_evidence(model: VAE) -> torch.Tensor:
    """log p(x) of all bits by quadrature, (16,)."""
    return (log_likelihoods(model) + PRIOR.log_prob(Z)).logsumexp(0) + math.log(DZ)


def test_grey_target():
    torch.manual_seed(0)
    logits = 3 * torch.randn(2, 4, dtype=torch.float64)
    of_bits = TorchBernoulli(logits=logits[:, None]).log_prob(BITS).sum(-1)
    torch.testing.assert_close(Bernoulli(logits).log_prob(GREY), (chance(GREY) * of_bits).sum(-1))


def test_grey_target_is_what_binarize_draws():
    """The mean of drawn bits is the grey value, and the bits of a picture are drawn independently."""
    torch.manual_seed(0)
    pixels = torch.tensor([[51, 204]], dtype=torch.uint8)
    bits = binarize(pixels.expand(200_000, -1))
    assert (bits.mean(0) - torch.tensor([0.2, 0.8])).abs().max() < 0.005
    assert abs(bits.prod(-1).mean() - 0.2 * 0.8) < 0.005


@torch.no_grad()
def test_grey_bound(monkeypatch):
    """The ELBO of grey pictures, averaged over a grid of noise, is the mean ELBO of bits under the same q(z|g)."""
    model = tiny()
    mu, log_var = model.encoder(GREY).chunk(2, -1)
    q = Normal(mu, torch.exp(log_var / 2))
    density = q.log_prob(Z[:, None]).exp().squeeze(-1)  # (4001, 2)
    of_bits = DZ * density.T @ log_likelihoods(model) - kl_divergence(q, PRIOR)  # (2, 16)
    mean_over_bits = (chance(GREY) * of_bits).sum(-1)

    noise = Z.repeat(2, 1)
    monkeypatch.setattr(Gaussian, "rsample", lambda posterior: posterior.mu + posterior.sigma * noise)
    elbo = model.elbo(GREY.repeat_interleave(len(Z), 0)).reshape(2, -1) @ PRIOR.log_prob(Z).exp().squeeze(-1) * DZ
    torch.testing.assert_close(elbo, mean_over_bits, rtol=0, atol=1e-5)
    mean_evidence = chance(GREY) @ log_evidence(model)
    assert (elbo < mean_evidence - 1e-3).all()


@torch.no_grad()
def test_grey_bound_is_looser_than_that_of_bits():
    """At their best, one q for all draws of the bits is further from log p(x) than one q for each."""
    model = tiny()
    joint = log_likelihoods(model) + PRIOR.log_prob(Z)  # (4001, 16)
    for chances in chance(GREY):
        # the best q for all draws at once is proportional to exp of the mean of log p(x, z)
        shared = (joint @ chances).logsumexp(0) + math.log(DZ)
        assert shared < chances @ log_evidence(model) - 1e-3


@torch.no_grad()
def test_bit_entropy():
    """No model passes the ceiling, and the one that knows the grey values reaches it."""
    entropy = TorchBernoulli(probs=GREY).entropy().sum(-1)
    ours = -(torch.xlogy(GREY, GREY) + torch.xlogy(1 - GREY, 1 - GREY)).sum(-1)
    torch.testing.assert_close(ours, entropy)
    for seed in range(5):
        torch.manual_seed(seed)
        model = VAE(d_x=4, d_z=1, hidden=(5,)).double()
        assert (chance(GREY) @ log_evidence(model) < -ours).all()
    for grey, most in zip(GREY, -ours, strict=True):
        for parameter in model.decoder.parameters():
            parameter.zero_()
        model.decoder[-1].bias.copy_(torch.logit(grey, eps=1e-12))
        torch.testing.assert_close(chance(grey[None])[0] @ log_evidence(model), most, rtol=0, atol=1e-6)


def test_grey_normaliser():
    p = torch.tensor([0.02, 0.3, 0.499, 0.7, 0.97], dtype=torch.float64)
    ours = (2 * p - 1) / (p.log() - (1 - p).log())
    pixel = (torch.arange(20_000, dtype=torch.float64)[:, None] + 0.5) / 20_000
    torch.testing.assert_close(ours, TorchBernoulli(p, validate_args=False).log_prob(pixel).exp().mean(0))
    cross_entropy = -TorchBernoulli(p, validate_args=False).log_prob(pixel[:1])
    log_constant = ContinuousBernoulli(p).log_prob(pixel[:1]) + cross_entropy
    torch.testing.assert_close(ours, torch.exp(-log_constant)[0], rtol=1e-4, atol=0)
    assert (ours < 1).all()


def test_test_set_spread():
    """All outcomes of eight tosses, one by one."""
    tosses = torch.tensor(list(itertools.product([0.0, 1.0], repeat=8)), dtype=torch.float64)
    e = torch.tensor(0.3, dtype=torch.float64)
    probability = torch.where(tosses == 1, e, 1 - e).prod(-1)
    rate = tosses.mean(-1)
    variance = (probability * rate**2).sum() - (probability * rate).sum() ** 2
    assert torch.isclose(variance.sqrt(), (e * (1 - e) / 8).sqrt(), rtol=1e-9)


def test_shared_variance():
    """A Gaussian decoder's density is PyTorch's Normal with one scale for all pixels."""
    torch.manual_seed(0)
    model = VAE(d_x=6, d_z=2, hidden=(5,), likelihood="gaussian").double()
    model.log_var.data.fill_(-0.7)
    x, z = torch.randn(2, 3, 6, dtype=torch.float64)[0], torch.randn(3, 2, dtype=torch.float64)
    with torch.no_grad():
        m, s = model.decoder(z), math.exp(-0.35)
        by_equation = -(x - m).square().sum(-1) / (2 * s**2) - 3 * math.log(2 * math.pi * s**2)
        torch.testing.assert_close(Normal(m, s).log_prob(x).sum(-1), by_equation)
        torch.testing.assert_close(model.decode(z).log_prob(x), by_equation)


def test_shared_variance_best():
    """Over a fine grid of s the mean density is highest at the typical error, and has the value of the equation."""
    torch.manual_seed(0)
    error = 0.3 * torch.randn(500, 6, dtype=torch.float64) + 0.1
    s = torch.linspace(0.05, 1, 9501, dtype=torch.float64)
    mean = Normal(0.0, s[:, None, None]).log_prob(error[None, :50]).sum(-1).mean(-1)
    typical = error[:50].square().mean().sqrt()
    assert abs(s[mean.argmax()] - typical) < 2e-4
    assert abs(mean.max() - -3 * (torch.log(2 * math.pi * typical**2) + 1)) < 1e-4


def test_iwae_doubly():
    """Two draws of one latent: over all noise, by quadrature, this is the slope of the bound in mu and sigma."""
    nodes, at = np.polynomial.hermite_e.hermegauss(80)
    epsilon = torch.tensor(np.stack(np.meshgrid(nodes, nodes)).reshape(2, -1))
    share_of_node = torch.tensor(np.outer(at, at).ravel() / at.sum() ** 2)
    mu, sigma = (torch.tensor(v, dtype=torch.float64, requires_grad=True) for v in (0.4, 0.8))

    def log_w(z, q):
        return Normal(0.0, 1.0).log_prob(z) + Normal(z, 1.0).log_prob(torch.tensor(2.0)) - q.log_prob(z)

    z = mu + sigma * epsilon
    bound = (log_w(z, Normal(mu, sigma)).logsumexp(0) - math.log(2)) @ share_of_node
    exact = torch.autograd.grad(bound, (mu, sigma), retain_graph=True)
    weights = log_w(z, Normal(mu.detach(), sigma.detach()))  # (2, nodes), moved through z alone
    shares = weights.softmax(0).detach()
    doubly = torch.autograd.grad((shares**2 * weights).sum(0) @ share_of_node, (mu, sigma))
    torch.testing.assert_close(doubly, exact, rtol=1e-6, atol=0)
