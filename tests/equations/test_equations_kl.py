"""Chapter 2's equations against oracles that share no code with vaecore.

The oracles: torch.distributions, Gauss-Hermite quadrature (exact for the polynomials it meets here), and a
linear-Gaussian model whose evidence and posterior linear algebra gives exactly.
"""

import math

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.distributions import Bernoulli, Categorical, MultivariateNormal, Normal, kl_divergence

from vaecore.distributions import Gaussian
from vaecore.vae import VAE

MU = torch.tensor([[0.3, -1.2, 0.0], [2.0, 0.0, -0.7]], dtype=torch.float64)
LOG_VAR = torch.tensor([[-1.5, 0.4, 0.0], [1.1, -3.0, 0.6]], dtype=torch.float64)
Q = Gaussian(MU, LOG_VAR)
P = Gaussian(MU.flip(0) + 0.5, 0.5 - LOG_VAR)


def oracle(q: Gaussian) -> Normal:
    return Normal(q.mu, torch.sqrt(torch.exp(q.log_var)))


def nodes(mu: Tensor, sigma: Tensor, n: int = 30) -> tuple[Tensor, Tensor]:
    """Points (n^Z, Z) and weights (n^Z,) whose weighted sum is the average under N(mu, diag(sigma^2))."""
    points, weights = (torch.as_tensor(a) for a in np.polynomial.hermite_e.hermegauss(n))
    weights = weights / weights.sum()
    grid = torch.cartesian_prod(*[points] * len(mu)).reshape(-1, len(mu))
    return mu + sigma * grid, torch.cartesian_prod(*[weights] * len(mu)).reshape(-1, len(mu)).prod(-1)


def average(q: Gaussian, f) -> Tensor:
    """E_q[f(z)] in each dimension alone, (B, Z); f works elementwise on (n, B, Z)."""
    points, weights = nodes(MU.new_zeros(1), MU.new_ones(1))
    return torch.einsum("n,nbz->bz", weights, f(q.mu + torch.sqrt(torch.exp(q.log_var)) * points[:, :, None]))


class LinearGaussian:
    """z ~ N(0, I_2), x|z ~ N(Wz + b, s^2 I_3): p(x) and p(z|x) by linear algebra, at one x."""

    W = torch.tensor([[1.0, 0.5], [-0.3, 0.8], [0.6, -1.1]], dtype=torch.float64)
    b = torch.tensor([0.1, -0.4, 0.7], dtype=torch.float64)
    s = 0.6
    x = torch.tensor([1.5, 0.2, -0.9], dtype=torch.float64)
    eye = torch.eye(2, dtype=torch.float64)
    prior = MultivariateNormal(torch.zeros(2, dtype=torch.float64), eye)
    evidence = MultivariateNormal(b, W @ W.T + s**2 * torch.eye(3, dtype=torch.float64))
    precision = eye + W.T @ W / s**2
    posterior = MultivariateNormal(torch.linalg.solve(precision, W.T @ (x - b) / s**2), precision_matrix=precision)

    def log_likelihood(self, z: Tensor) -> Tensor:
        return Normal(z @ self.W.T + self.b, self.s).log_prob(self.x).sum(-1)


TOY = LinearGaussian()
ENCODERS = [
    Gaussian(MU.new_zeros(2), MU.new_zeros(2)),
    Gaussian(TOY.posterior.mean, -TOY.precision.diag().log()),
    Gaussian(MU.new_tensor([1.4, 0.3]), MU.new_tensor([-0.2, -1.0])),
]


def full(q: Gaussian) -> MultivariateNormal:
    return MultivariateNormal(q.mu, torch.diag(torch.exp(q.log_var)))


def test_gaussian_log_density():
    z = torch.linspace(-30, 30, 60_001, dtype=torch.float64)
    assert torch.allclose(Q.log_prob(P.mu), oracle(Q).log_prob(P.mu).sum(-1))
    one = Gaussian(MU.new_tensor([0.7]), MU.new_tensor([1.3]))
    density = one.log_prob(z[:, None]).exp()
    assert torch.trapezoid(density, z).item() == pytest.approx(1, abs=1e-9)
    assert torch.trapezoid(density * (z - 0.7) ** 2, z).item() == pytest.approx(math.exp(1.3), rel=1e-9)


def test_gaussian_entropy():
    assert torch.allclose(Q.entropy(), oracle(Q).entropy().sum(-1))
    assert torch.allclose(Q.entropy(), -average(Q, oracle(Q).log_prob).sum(-1))


def test_kl_cross_entropy():
    by_quadrature = -average(Q, Normal(0.0, 1.0).log_prob).sum(-1)
    assert torch.allclose(0.5 * (math.log(2 * math.pi) + MU**2 + torch.exp(LOG_VAR)).sum(-1), by_quadrature)
    assert torch.allclose(Q.kl() + Q.entropy(), by_quadrature)


def test_kl_closed():
    standard = Normal(torch.zeros_like(MU), torch.ones_like(MU))
    theirs = kl_divergence(oracle(Q), standard)
    assert torch.allclose(Q.kl_per_dimension(), theirs)
    assert torch.allclose(Q.kl(), theirs.sum(-1)) and Q.kl().shape == (2,)
    assert torch.allclose(Q.kl(), average(Q, lambda z: oracle(Q).log_prob(z) - standard.log_prob(z)).sum(-1))
    assert torch.allclose(Q.kl(), Q.kl(Gaussian.standard(2, 3)))


def test_kl_gaussians():
    theirs = kl_divergence(oracle(Q), oracle(P))
    assert torch.allclose(Q.kl_per_dimension(P), theirs)
    assert torch.allclose(Q.kl(P), theirs.sum(-1)) and Q.kl(P).shape == (2,)
    assert torch.allclose(theirs, average(Q, lambda z: oracle(Q).log_prob(z) - oracle(P).log_prob(z)))


def test_kl_nonnegative():
    torch.manual_seed(0)
    q, p = (Gaussian(*torch.randn(2, 1000, 5, dtype=torch.float64)) for _ in range(2))
    assert (q.kl(p) > 0).all() and (q.kl() > 0).all() and q.kl(q).abs().max() < 1e-12
    t = torch.logspace(-6, 6, 1201, dtype=torch.float64)
    assert (t.log() <= t - 1 + 1e-12).all()
    # the proof's middle step: the average of p/q under q is 1 where q covers p
    ratio = average(Q, lambda z: torch.exp(Normal(MU, 0.5 * Q.sigma).log_prob(z) - oracle(Q).log_prob(z)))
    assert torch.allclose(ratio, torch.ones_like(MU), atol=1e-6)


def test_kl_toy_posterior():
    x, w, s = 2.0, 1.3, 0.5
    z = torch.linspace(-12, 12, 24_001, dtype=torch.float64)
    joint = torch.exp(Normal(0.0, 1.0).log_prob(z) + Normal(w * z, s).log_prob(torch.tensor(x)))
    evidence = torch.trapezoid(joint, z)
    variance = torch.tensor([w**2 + s**2, s**2 / (w**2 + s**2)], dtype=torch.float64)
    marginal = Gaussian(MU.new_zeros(1), variance[:1].log())
    posterior = Gaussian(MU.new_tensor([w * x / (w**2 + s**2)]), variance[1:].log())
    assert torch.allclose(marginal.log_prob(MU.new_tensor([x])), evidence.log())
    assert torch.allclose(posterior.log_prob(z[:, None]).exp(), joint / evidence)


@pytest.mark.parametrize("q", ENCODERS)
def test_kl_derivation(q):
    z, weights = nodes(q.mu, torch.sqrt(torch.exp(q.log_var)))
    log_q, log_evidence = q.log_prob(z), TOY.evidence.log_prob(TOY.x)
    line_1 = weights @ (log_q - TOY.posterior.log_prob(z))
    line_2 = weights @ (log_q - TOY.log_likelihood(z) - TOY.prior.log_prob(z)) + log_evidence
    line_3 = q.kl() - weights @ TOY.log_likelihood(z) + log_evidence
    assert torch.allclose(line_1, line_2) and torch.allclose(line_2, line_3)
    assert torch.allclose(line_1 - log_evidence, q.kl() - weights @ TOY.log_likelihood(z))  # line 4


@pytest.mark.parametrize("q", ENCODERS)
def test_elbo_identity(q):
    z, weights = nodes(q.mu, torch.sqrt(torch.exp(q.log_var)))
    elbo, gap = weights @ TOY.log_likelihood(z) - q.kl(), kl_divergence(full(q), TOY.posterior)
    assert torch.allclose(elbo + gap, TOY.evidence.log_prob(TOY.x))
    assert gap > 0.01  # the posterior is not diagonal, so no q here may reach it


@pytest.mark.parametrize("q", ENCODERS[:1] + ENCODERS[2:])  # wide enough for ratios of finite variance
def test_jensen(q):
    torch.manual_seed(0)
    z = Gaussian(*(v.expand(100_000, 2) for v in (q.mu, q.log_var))).rsample()
    log_ratio = TOY.log_likelihood(z) + TOY.prior.log_prob(z) - q.log_prob(z)
    ratio, n = log_ratio.exp(), len(z)
    exact = TOY.evidence.log_prob(TOY.x)
    elbo = exact - kl_divergence(full(q), TOY.posterior)
    assert abs(ratio.mean() - exact.exp()) < 5 * ratio.std() / n**0.5
    assert abs(log_ratio.mean() - elbo) < 5 * log_ratio.std() / n**0.5
    assert log_ratio.mean() + 5 * log_ratio.std() / n**0.5 < exact


def test_kl_one_bump():
    z = torch.linspace(-8, 8, 32_001, dtype=torch.float64)
    posterior = 0.5 * (Normal(-1.4, 0.3).log_prob(z).exp() + Normal(1.4, 0.3).log_prob(z).exp())
    right = z > 0
    half = posterior[right] / torch.trapezoid(posterior[right], z[right])
    q = Normal(1.2, 0.1).log_prob(z).exp()  # nothing of it lies left of 0
    gap = torch.trapezoid(torch.where(q > 0, q * (q / posterior).log(), 0), z)
    to_half = torch.trapezoid(torch.where(q[right] > 0, q[right] * (q[right] / half).log(), 0), z[right])
    assert gap.item() == pytest.approx(to_half.item() + math.log(2), abs=1e-3)
    assert gap > math.log(2)


def test_kl_full():
    q = full(ENCODERS[2])
    p = MultivariateNormal(q.mean, precision_matrix=TOY.precision)
    variance, precision = torch.exp(ENCODERS[2].log_var), TOY.precision
    terms = precision.diag() * variance - 1 - variance.log()
    assert torch.allclose(kl_divergence(q, p), 0.5 * (terms.sum() - precision.logdet()))


def test_kl_maximum_likelihood():
    torch.manual_seed(0)
    data = torch.bincount(torch.randint(0, 3, (50,)), minlength=4) / 50  # one value never came up
    theta = torch.linspace(-2, 2, 401)
    p = torch.softmax(theta[:, None] * torch.arange(4.0), dim=1)  # a family with one parameter
    forward = kl_divergence(Categorical(data), Categorical(p))
    likelihood = (data * p.log()).sum(1)
    assert torch.allclose(forward, -Categorical(data).entropy() - likelihood, atol=1e-5)
    assert forward.argmin() == likelihood.argmax()


def test_elbo():
    torch.manual_seed(0)
    model = VAE(d_x=4, d_z=2, hidden=(5,), activation="tanh")
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(3)  # so that q is far from the prior and every term counts
    x = torch.tensor([[1.0, 0.0, 1.0, 1.0], [0.0, 0.0, 1.0, 0.0]])

    def log_likelihood(z, x):
        return Bernoulli(logits=model.decoder(z.float()).double()).log_prob(x.double()).sum(-1)

    with torch.no_grad():
        mu, log_var = model.encoder(x).double().chunk(2, dim=-1)
        sigma = torch.exp(log_var / 2)
        kl = kl_divergence(Normal(mu, sigma), Normal(0.0, 1.0)).sum(-1)
        for i, image in enumerate(x):
            z, weights = nodes(mu[i], sigma[i], 40)
            exact = weights @ log_likelihood(z, image) - kl[i]
            draws = model.elbo(image.expand(100_000, 4))
            assert abs(draws.mean() - exact) < 5 * draws.std() / len(draws) ** 0.5
            z, weights = nodes(MU.new_zeros(2), MU.new_ones(2), 80)
            assert kl[i] > 1 and exact < torch.log(weights @ log_likelihood(z, image).exp())
