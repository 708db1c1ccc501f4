"""The equations of "Where this leads", each against something that knows nothing of it: sums, integrals, torch."""

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
