"""The VAE and its evaluation: learns, repeats, agrees across devices, refuses bad input."""

import math

import pytest
import torch
from torch.distributions import MultivariateNormal

from vaecore import evaluate
from vaecore.data import binarize
from vaecore.distributions import Bernoulli, Gaussian
from vaecore.m2 import M2
from vaecore.train import fit
from vaecore.vae import VAE, Regressor

MODELS = {
    "plain": (lambda: VAE(d_x=784, d_z=8, hidden=(128,)), False),
    "conditional": (lambda: VAE(d_x=784, d_z=8, hidden=(128,), d_y=10), True),
    "relu": (lambda: VAE(d_x=784, d_z=8, hidden=(128, 64), activation="relu"), False),
}


@pytest.mark.parametrize("name", MODELS)
def test_overfits_sixteen_images(name, digits):
    """Sixteen fixed pictures need log 16 = 2.8 nats at best; a model that did not learn them needs over 100."""
    make, conditional = MODELS[name]
    torch.manual_seed(0)
    model, x, y = make(), (digits.x_train[:16] > 127).float(), digits.y_train[:16]
    batch = (x, y) if conditional else (x,)
    history = fit(model, lambda *b: -model.elbo(*b).mean(), *batch, epochs=400, batch_size=16, lr=5e-3)
    bound = torch.stack([evaluate.elbo(model, *batch, seed=seed).mean() for seed in range(20)]).mean()
    assert history.loss[0] > 500
    assert -30 < bound < 0


def test_condition_is_used():
    """With the class given, the picture of each class is learnt with a latent that carries nothing."""
    torch.manual_seed(0)
    model = VAE(d_x=10, d_z=1, hidden=(32,), d_y=10)
    x, y = torch.eye(10).repeat(20, 1), torch.arange(10).repeat(20)
    fit(model, lambda *b: -model.elbo(*b).mean(), x, y, epochs=150, batch_size=50, lr=1e-2)
    drawn = model.generate(10, torch.arange(10)).mean
    assert torch.equal(drawn.argmax(-1), torch.arange(10))
    assert evaluate.elbo(model, x, y).mean() > -0.5
    same = model.elbo(x, torch.nn.functional.one_hot(y, 10).float())
    assert same.shape == (200,)


def test_seeded_run_repeats(digits):
    def run():
        torch.manual_seed(0)
        model = VAE(d_z=4, hidden=(32,))
        history = fit(model, lambda x: -model.elbo(binarize(x)).mean(), digits.x_train[:500], epochs=2, seed=3)
        return history.loss, [p.detach().clone() for p in model.parameters()]

    (losses, weights), (losses_2, weights_2) = run(), run()
    assert losses == losses_2
    assert all(torch.equal(a, b) for a, b in zip(weights, weights_2, strict=True))


def test_fit_leaves_the_random_state_alone(digits):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    model = VAE(d_z=2, hidden=(8,))
    torch.manual_seed(5)
    fit(model, lambda x: -model.elbo(binarize(x)).mean(), digits.x_train[:64], epochs=1)
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no CUDA device")
@pytest.mark.parametrize("name", MODELS)
def test_cpu_and_cuda_agree(name, digits):
    """One step in float32 from the same weights with the same noise."""
    make, conditional = MODELS[name]
    torch.manual_seed(0)
    model, x, epsilon = make(), (digits.x_train[:100] > 127).float(), torch.randn(100, 8)
    start, results = model.state_dict(), []
    for device in ("cpu", "cuda"):
        model = make().to(device)
        model.load_state_dict(start)
        batch = [t.to(device) for t in ((x, digits.y_train[:100]) if conditional else (x,))]
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
        posterior = model.encode(*batch)
        likelihood = model.decode(posterior.mu + posterior.sigma * epsilon.to(device), *batch[1:])
        elbo = likelihood.log_prob(batch[0]) - posterior.kl()
        (-elbo.mean()).backward()
        optimizer.step()
        results.append([elbo.mean().detach().cpu() / 784, *(p.detach().cpu() for p in model.parameters())])
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)


class LinearGaussian:
    """z ~ N(0, I), x|z ~ N(W z, s^2 I): log p(x) and p(z|x) are exact. q is the posterior, made a little wrong."""

    def __init__(self, wrong: float) -> None:
        torch.manual_seed(0)
        self.W, self.s, self.wrong = torch.randn(5, 2), 0.7, wrong
        # orthogonal columns make the posterior's covariance diagonal
        self.W = torch.linalg.qr(self.W).Q * torch.tensor([2.0, 1.0])

    def encode(self, x, y=None):
        precision = 1 + (self.W**2).sum(0) / self.s**2
        mu = (x @ self.W / self.s**2) / precision
        return Gaussian(mu + self.wrong, (-precision.log() + self.wrong).expand_as(mu))

    def decode(self, z, y=None):
        mu = z @ self.W.T
        return Gaussian(mu, torch.full_like(mu, 2 * math.log(self.s)))

    def elbo(self, x, y=None):
        q = self.encode(x)
        return self.decode(q.rsample()).log_prob(x) - q.kl()

    def log_p(self, x):
        covariance = self.W @ self.W.T + self.s**2 * torch.eye(5)
        return MultivariateNormal(torch.zeros(5), covariance).log_prob(x)


def test_log_evidence_is_exact_on_the_linear_gaussian_model():
    x = torch.randn(7, 5, generator=torch.Generator().manual_seed(1))
    perfect, wrong = LinearGaussian(0.0), LinearGaussian(0.3)
    torch.testing.assert_close(evaluate.log_evidence(perfect, x, n_samples=3), perfect.log_p(x))
    few, many = (evaluate.log_evidence(wrong, x, n_samples=n) for n in (1, 20_000))
    torch.testing.assert_close(many, wrong.log_p(x), rtol=0, atol=0.05)
    assert few.mean() < many.mean()
    gap = torch.stack([evaluate.elbo(wrong, x, seed=s) for s in range(300)]).mean(0) - wrong.log_p(x)
    assert (gap < 0).all()


def test_log_evidence_does_not_depend_on_chunks():
    torch.manual_seed(1)
    x, model = torch.randn(7, 5), LinearGaussian(0.1)
    torch.testing.assert_close(
        *(evaluate.log_evidence(model, x, n_samples=5000, rows=rows) for rows in (3, 40_000)), rtol=0, atol=0.03
    )


def test_kl_per_dimension_and_active_units():
    torch.manual_seed(0)
    x = (torch.rand(3000, 6) > 0.5).float()
    model = VAE(d_x=6, d_z=3, hidden=(16,))
    with torch.no_grad():  # the second latent ignores x
        model.encoder[-1].weight[[1, 4]] = 0
        model.encoder[-1].bias[[1, 4]] = 0
        model.encoder[-1].weight[[0, 2]] *= 5
    kl = evaluate.kl_per_dimension(model, x, batch_size=700)
    torch.testing.assert_close(kl.sum(), model.encode(x).kl().mean())
    assert kl[1] == 0 and (kl[[0, 2]] > 0).all()
    assert evaluate.active_units(model, x).tolist() == [True, False, True]


def test_bernoulli_entropy_and_gaussian_broadcast():
    logits = torch.tensor([[0.0, 2.0, -30.0]])
    reference = torch.distributions.Bernoulli(logits=logits).entropy().sum(-1)
    torch.testing.assert_close(Bernoulli(logits).entropy(), reference)
    with pytest.raises(ValueError, match=r"mu and log_var .* \(2,\) and \(3,\)"):
        Gaussian(torch.zeros(2), torch.zeros(3))


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda m: m.elbo(torch.zeros(2, 28, 28)), ValueError, r"x must .* \(B, 784\); got shape \(2, 28, 28\)"),
        (lambda m: m.elbo(torch.zeros(784)), ValueError, r"x must .* got shape \(784,\)"),
        (lambda m: m.elbo(torch.full((1, 784), 255.0)), ValueError, r"x must lie in \[0, 1\].* 255"),
        (lambda m: m.elbo(torch.full((1, 784), math.nan)), ValueError, r"x must lie in \[0, 1\].*nan"),
        (lambda m: m.elbo(torch.zeros(1, 784, dtype=torch.uint8)), TypeError, r"x must be floats.*uint8"),
        (lambda m: m.elbo(torch.zeros(1, 784), torch.zeros(1)), ValueError, "y was given"),
        (lambda m: m.decode(torch.zeros(1, 3)), ValueError, r"z must hold 4 numbers.*\(1, 3\)"),
        (lambda m: VAE(d_y=10).elbo(torch.zeros(1, 784)), ValueError, "y is missing"),
        (lambda m: VAE(activation="sine"), ValueError, "activation must be one of .*'sine'"),
        (lambda m: VAE(d_z=0), ValueError, "d_z must be at least 1; got 0"),
        (lambda m: VAE(d_y=-1), ValueError, "d_y must be at least 0; got -1"),
        (lambda m: VAE(hidden=500), TypeError, r"hidden must be a sequence .*; got 500"),
        (lambda m: evaluate.log_evidence(M2(), torch.zeros(9, 784), n_samples=10), ValueError, "y is missing"),
        (lambda m: Regressor(4, 2).log_likelihood(torch.zeros(3, 1), torch.zeros(3, 2)), ValueError, r"x must hold 4"),
        (lambda m: evaluate.log_evidence(m, torch.zeros(1, 784), n_samples=0), ValueError, "n_samples"),
    ],
)
def test_bad_input_gets_one_clear_sentence(call, error, words):
    with pytest.raises(error, match=words) as caught:
        call(VAE(d_z=4, hidden=(8,)))
    assert "\n" not in str(caught.value)
