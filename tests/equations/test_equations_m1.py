"""The equations of the index and of chapters 4 and 5, against torch.distributions, enumeration and quadrature."""

import itertools
import math

import torch
from torch.distributions import Bernoulli as TorchBernoulli
from torch.distributions import Normal, kl_divergence

from vaecore.distributions import Bernoulli
from vaecore.losses import autoencoder_loss, vae_loss
from vaecore.vae import VAE


def all_images(n_pixels: int) -> torch.Tensor:
    return torch.tensor(list(itertools.product([0.0, 1.0], repeat=n_pixels)))


def test_bayes_rule():
    """Two boxes of coloured balls, counted one by one."""
    balls = [(box, colour) for box, colours in enumerate(["rrrg", "rggggg"]) for colour in colours for _ in range(60)]
    # each box is as likely as the other: weigh its balls by one over their number
    weight = {box: 1 / sum(b == box for b, _ in balls) for box in (0, 1)}
    red = [box for box, colour in balls if colour == "r"]
    counted = sum(weight[box] for box in red if box == 0) / sum(weight[box] for box in red)
    prior, likelihood = torch.tensor([0.5, 0.5]), torch.tensor([3 / 4, 1 / 6])
    assert math.isclose((likelihood * prior / (likelihood * prior).sum())[0].item(), counted, rel_tol=1e-6)


def test_bernoulli_log_likelihood():
    torch.manual_seed(0)
    logits = 3 * torch.randn(5, 6)
    ours = Bernoulli(logits[:, None]).log_prob(all_images(6))  # (5, 64)
    theirs = TorchBernoulli(logits=logits[:, None]).log_prob(all_images(6)).sum(-1)
    torch.testing.assert_close(ours, theirs)
    torch.testing.assert_close(ours.exp().sum(-1), torch.ones(5))  # over all pictures it is a distribution


def test_m1_loss():
    """The mean over many draws of the loss is minus the ELBO, whose expectation is a sum over a grid of z."""
    torch.manual_seed(0)
    model = VAE(d_x=6, d_z=1, hidden=(8,)).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(3)  # an untrained net hardly looks at its input
        x = all_images(6)[[3, 17, 42]].double()
        mu, log_var = model.encoder(x).chunk(2, -1)
        q = Normal(mu, torch.exp(log_var / 2))
        z = torch.linspace(-12, 12, 20001, dtype=torch.float64)
        logits = model.decoder(z[:, None])
        log_likelihood = TorchBernoulli(logits=logits[:, None]).log_prob(x).sum(-1)  # (grid, 3)
        density = q.log_prob(z[:, None, None]).exp().squeeze(-1)  # (grid, 3)
        expected = (density * log_likelihood).sum(0) * (z[1] - z[0])
        kl = kl_divergence(q, Normal(torch.zeros(1).double(), torch.ones(1).double())).sum(-1)
        exact = -(expected - kl).mean()
        draws = torch.stack([vae_loss(model, x.repeat(500, 1)) for _ in range(200)])
    error = draws.std() / math.sqrt(len(draws))
    assert abs(draws.mean() - exact) < 5 * error < 0.05 * abs(exact)


def test_autoencoder_loss():
    torch.manual_seed(0)
    model = VAE(d_x=6, d_z=2, hidden=(8,))
    x = all_images(6)
    probability = torch.sigmoid(model.decoder(model.encoder(x)[:, :2]))
    chosen = torch.where(x == 1, probability, 1 - probability)
    torch.testing.assert_close(autoencoder_loss(model, x), -chosen.prod(-1).log().mean())
