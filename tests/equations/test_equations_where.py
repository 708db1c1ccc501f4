"""The equations of "Where this leads" and "When it does not learn", against sums, integrals and torch."""

import math

import torch
from torch.distributions import Categorical, Independent, Normal, kl_divergence


def test_flow_density():
    """The density of z = f(z0) on a grid: it integrates to 1, and its moments are those of transformed draws."""
    torch.manual_seed(0)
    z0 = torch.linspace(-9, 9, 20_001, dtype=torch.float64, requires_grad=True)
    z = z0 + torch.tanh(2 * z0)  # smooth and rising, so invertible
    (slope,) = torch.autograd.grad(z.sum(), z0)
    q_0 = Normal(0.3, 0.8)
    density = (q_0.log_prob(z0) - slope.log()).exp().detach()
    z = z.detach()
    assert math.isclose(torch.trapezoid(density, z), 1, abs_tol=1e-6)
    draws = q_0.sample((400_000,))
    draws = draws + torch.tanh(2 * draws)
    for power in (1, 2):
        assert abs(torch.trapezoid(density * z**power, z) - (draws**power).mean()) < 0.02


def test_vq_kl():
    for n_words in (2, 512):
        q = torch.zeros(n_words)
        q[n_words // 3] = 1
        uniform = Categorical(logits=torch.zeros(n_words))
        assert math.isclose(kl_divergence(Categorical(q), uniform), math.log(n_words), rel_tol=1e-5)


def test_hierarchical_elbo():
    """Three layers of four values each, all tables random: the formula, and the ELBO summed over all 64 cases."""
    torch.manual_seed(0)
    likelihood, q3, q2, q1, p3, p2, p1 = (
        torch.randn(shape, dtype=torch.float64).log_softmax(-1).exp()
        for shape in ((4,), (4,), (4, 4), (4, 4), (4,), (4, 4), (4, 4))
    )  # p(x|z1); q(z3|x), q(z2|z3,x), q(z1|z2,x); p(z3), p(z2|z3), p(z1|z2)
    q = torch.einsum("c,cb,ba->cba", q3, q2, q1)
    joint = torch.einsum("c,cb,ba,a->cba", p3, p2, p1, likelihood)
    elbo = (q * (joint / q).log()).sum()

    def kl(q, p):
        return (q * (q / p).log()).sum(-1)

    reconstruction = (q.sum((0, 1)) * likelihood.log()).sum()
    expected = (q3 * kl(q2, p2)).sum() + (q.sum((0, 2)) * kl(q1, p1)).sum()
    assert torch.isclose(elbo, reconstruction - kl(q3, p3) - expected)
    assert elbo < joint.sum().log()


def test_diffusion_step():
    torch.manual_seed(0)
    mu, m = torch.randn(2, 5)
    ours = ((mu - m) ** 2).sum() / (2 * 0.3**2)
    theirs = kl_divergence(Independent(Normal(mu, 0.3), 1), Independent(Normal(m, 0.3), 1))
    assert torch.isclose(ours, theirs)


def test_kl_warm_up():
    """Minus the loss is best at beta log of the mean of p(x|z)^(1/beta): above log p(x) before step T, then equal."""
    z = torch.linspace(-8, 8, 4001, dtype=torch.float64)
    prior, likelihood = Normal(0.0, 1.0), Normal(1.5 * z, 0.7).log_prob(torch.tensor(2.0, dtype=torch.float64))
    evidence = Normal(0.0, math.sqrt(1.5**2 + 0.7**2)).log_prob(torch.tensor(2.0)).item()
    for t in (1, 5, 10, 20):
        beta = min(1, t / 10)
        precision = 1 + 1.5**2 / (0.7**2 * beta)
        q = Normal(1.5 * 2 / (0.7**2 * beta) / precision, precision**-0.5)  # proportional to p(z) p(x|z)^(1/beta)
        density = q.log_prob(z).exp()
        minus_loss = torch.trapezoid(density * likelihood, z) - beta * kl_divergence(q, prior)
        best = beta * torch.trapezoid((prior.log_prob(z) + likelihood / beta).exp(), z).log()
        assert torch.isclose(minus_loss, best, atol=1e-6)
        assert minus_loss > evidence + 0.05 if t < 10 else math.isclose(minus_loss, evidence, abs_tol=1e-5)


def test_free_bits():
    """No latent below its allowance has a gradient from the KL; minus the loss lies between the ELBO and d_z lambda."""
    torch.manual_seed(0)
    mu = (torch.randn(100, 6) * torch.tensor([0.0, 0.1, 0.3, 1.0, 2.0, 3.0])).requires_grad_()
    kl = kl_divergence(Normal(mu, 1.0), Normal(0.0, 1.0)).mean(0)  # mu^2 / 2, on average
    allowance = 0.5
    price = kl.clamp(min=allowance).sum()
    (gradient,) = torch.autograd.grad(price, mu)
    free = (mu**2 / 2).mean(0) < allowance
    assert 0 < free.sum() < 6
    assert (gradient[:, free] == 0).all() and torch.allclose(gradient[:, ~free], mu[:, ~free] / 100)
    assert kl.sum() < price < kl.sum() + 6 * allowance
