"""M1+M2's bound, against its density by quadrature over both latents."""

import math

import pytest
import torch
from torch.distributions import Bernoulli as TorchBernoulli
from torch.distributions import Normal

from vaecore.distributions import Gaussian
from vaecore.m2 import M1M2, M2
from vaecore.vae import VAE

K = 3
GRID = torch.linspace(-10, 10, 801, dtype=torch.float64)
STEP = (GRID[1] - GRID[0]).item()
X = torch.tensor([[0.0, 1.0, 1.0], [1.0, 0.0, 1.0]], dtype=torch.float64)
STANDARD = Normal(torch.zeros((), dtype=torch.float64), 1.0)


@pytest.fixture
def stack() -> M1M2:
    """Three pixels, two latents of which the second is active, three classes, one z2; nets that look at their input."""
    torch.manual_seed(0)
    m1 = VAE(d_x=3, d_z=2, hidden=(5,)).double()
    m2 = M2(d_x=1, d_z=1, hidden=(5,), n_classes=K, likelihood="gaussian", activation="tanh").double()
    with torch.no_grad():
        for parameter in (*m1.parameters(), *m2.parameters()):
            parameter.mul_(2)
        for net in (m2.encoder, m2.decoder):
            net.columns.uniform_(-1, 1)
    return M1M2(m1, m2, torch.tensor([False, True]))


def gaussian(net, a, y) -> Normal:
    """What a net of M2 says of its inputs a (G, 1) and class y, without the package's own distributions."""
    mu, log_var = net.rest(net.first(a) + net.columns[y]).T
    return Normal(mu, torch.exp(log_var / 2))


class Exact:
    """p(x,y,z1,z2) and q(z1|x) q(z2|z1,y) of one picture on the grid of z1 (rows) and z2 (columns)."""

    def __init__(self, stack: M1M2, x: torch.Tensor) -> None:
        mu, log_var = stack.m1.encoder(x[None])[0].view(2, 2)
        self.q1 = Normal(mu[1], torch.exp(log_var[1] / 2)).log_prob(GRID)[:, None]
        logits = stack.m1.decoder(torch.stack([torch.zeros_like(GRID), GRID], dim=-1))
        self.log_p_x = TorchBernoulli(logits=logits).log_prob(x).sum(-1)[:, None]
        self.log_joint, self.log_q2 = [], []
        for y in range(K):
            p_z1, q_z2 = gaussian(stack.m2.decoder, GRID[:, None], y), gaussian(stack.m2.encoder, GRID[:, None], y)
            log_p_z1 = p_z1.log_prob(GRID[:, None])  # every z1 under every z2
            self.log_joint.append(-math.log(K) + STANDARD.log_prob(GRID) + log_p_z1 + self.log_p_x)
            self.log_q2.append(Normal(q_z2.mean[:, None], q_z2.stddev[:, None]).log_prob(GRID))
        self.p_xy = torch.stack([j.exp().sum() for j in self.log_joint]) * STEP**2

    def gap(self, y: int) -> torch.Tensor:
        """KL(q(z1|x) q(z2|z1,y) || p(z1,z2|x,y))."""
        log_q, log_posterior = self.q1 + self.log_q2[y], self.log_joint[y] - self.p_xy[y].log()
        return (log_q.exp() * (log_q - log_posterior)).sum() * STEP**2


def written_out(stack: M1M2, x: torch.Tensor, m2_bound, monkeypatch) -> torch.Tensor:
    """E[log p(x|z1) - log q(z1|x) + m2_bound(z1)] of a picture, by the package, over a grid of z1 and of noise."""
    features, z1, x = stack.features(x[None]), GRID[:, None], x.expand(len(GRID), -1)
    density = features.log_prob(z1).exp() * STEP
    noise = STANDARD.log_prob(GRID).exp() * STEP
    with monkeypatch.context() as patch:
        patch.setattr(Gaussian, "rsample", lambda q, *_: q.mu + q.sigma * GRID.repeat(len(GRID))[:, None])
        below = m2_bound(z1.repeat_interleave(len(GRID), 0)).view(len(GRID), -1) @ noise
    return (density * (stack.decode(z1).log_prob(x) - features.log_prob(z1) + below)).sum()


@torch.no_grad()
def test_m1m2_bound(stack, monkeypatch):
    for x in X:
        exact = Exact(stack, x)
        for y in range(K):
            classes = torch.full((len(GRID) ** 2,), y)
            ours = written_out(stack, x, lambda z1, y=classes: stack.m2.labelled_bound(z1, y), monkeypatch)
            torch.testing.assert_close(ours + exact.gap(y), exact.p_xy[y].log(), rtol=0, atol=1e-6)
            assert ours < exact.p_xy[y].log() - 1e-3
    pixels = torch.cartesian_prod(*[torch.tensor([0.0, 1.0]).double()] * 3)
    total = sum(Exact(stack, x).p_xy.sum() for x in pixels)
    torch.testing.assert_close(total, torch.ones(()).double(), rtol=0, atol=1e-6)  # the four factors are a distribution


@torch.no_grad()
def test_m1m2_bound_without_a_label(stack, monkeypatch):
    for x in X:
        exact = Exact(stack, x)
        ours = written_out(stack, x, stack.m2.unlabelled_bound, monkeypatch)
        q_y = torch.softmax(stack.m2.classifier(GRID[:, None]), -1).T[..., None]  # (K, G, 1)
        log_q = torch.stack([exact.q1 + q2 for q2 in exact.log_q2]) + q_y.log()
        log_posterior = torch.stack(exact.log_joint) - exact.p_xy.sum().log()
        gap = (log_q.exp() * (log_q - log_posterior)).sum() * STEP**2
        torch.testing.assert_close(ours + gap, exact.p_xy.sum().log(), rtol=0, atol=1e-6)
