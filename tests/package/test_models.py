"""The distributions, the VAE and its evaluation: the VAE learns and repeats; what signatures and docstrings promise."""

import dataclasses
import math
import warnings

import pytest
import torch
from torch import nn
from torch.distributions import MultivariateNormal, Normal, kl_divergence

from vaecore import checkpoints, evaluate
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
    torch.manual_seed(0)
    by_number = model.elbo(x, y)
    for rows in (torch.eye(10)[y], torch.eye(10, dtype=torch.int64)[y], torch.eye(10, dtype=torch.bool)[y]):
        torch.manual_seed(0)
        assert torch.equal(model.elbo(x, rows), by_number)
    for scrambled in (rows.T, rows.flatten(), rows[:10].flatten().float()):
        with pytest.raises((ValueError, TypeError)):
            model.elbo(x, scrambled)


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
        *(evaluate.log_evidence(model, x, n_samples=500, rows=rows) for rows in (3, 40_000)), rtol=0, atol=0.05
    )


def test_kl_per_dimension_and_active_units():
    torch.manual_seed(0)
    x = (torch.rand(3000, 6) > 0.5).float()
    model = VAE(d_x=6, d_z=3, hidden=(16,))
    with torch.no_grad():  # the second latent ignores x
        model.encoder[-1].weight[[1, 4]] = 0
        model.encoder[-1].bias[[1, 4]] = 0
        model.encoder[-1].weight[[0, 2]] *= 5
    kl = evaluate.kl_per_dimension(model, x)
    torch.testing.assert_close(kl.sum(), model.encode(x).kl().mean())
    assert kl[1] == 0 and (kl[[0, 2]] > 0).all()
    assert evaluate.active_units(model, x).tolist() == [True, False, True]


# ---- What signatures and docstrings promise

X, Y = torch.zeros(5, 3), torch.zeros(5, dtype=torch.int64)


@pytest.fixture
def small() -> VAE:
    return VAE(d_x=3, d_z=2, hidden=(4,))


@pytest.fixture
def m2() -> M2:
    return M2(d_x=3, d_z=2, hidden=(4,), n_classes=2)


def test_the_models_have_the_sizes_of_the_papers():
    assert VAE().config == dict(d_x=784, d_z=50, hidden=[500, 500], d_y=0, activation="tanh")
    assert Regressor(3, 2).config == dict(d_x=3, d_y=2, hidden=[500, 500], activation="tanh")
    sizes = dict(d_x=784, d_z=50, hidden=[500], n_classes=10, likelihood="bernoulli", activation="softplus")
    assert M2().config == sizes


def test_a_decoder_has_the_hidden_layers_from_the_latent_outwards():
    for net in (VAE(3, 2, (7, 5)).decoder, Regressor(3, 2, (7, 5)).net, M2(3, 2, (7, 5)).decoder):
        assert [layer.out_features for layer in net.modules() if isinstance(layer, torch.nn.Linear)] == [5, 7, 3]


@pytest.mark.parametrize("shape", [(), (3,), (2, 3), (4, 2, 3)])
def test_sums_run_over_the_last_dimension(shape):
    """Against torch.distributions, with any number of dimensions in front."""
    torch.manual_seed(0)
    mu, log_var, x = torch.randn(3, *shape, 5)
    ours, theirs = Gaussian(mu, log_var), torch.distributions.Normal(mu, torch.exp(0.5 * log_var))
    torch.testing.assert_close(ours.entropy(), theirs.entropy().sum(-1))
    torch.testing.assert_close(ours.log_prob(x), theirs.log_prob(x).sum(-1))
    ours, theirs, bits = Bernoulli(mu), torch.distributions.Bernoulli(logits=mu), (x > 0).float()
    torch.testing.assert_close(ours.entropy(), theirs.entropy().sum(-1))
    torch.testing.assert_close(ours.log_prob(bits), theirs.log_prob(bits).sum(-1))


@pytest.mark.parametrize("made", [Gaussian.standard(2), Bernoulli(torch.zeros(2))])
def test_a_distribution_does_not_change(made):
    for field in dataclasses.fields(made):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(made, field.name, torch.ones(2))


def test_any_number_of_images_is_drawn_or_encoded(small, m2):
    for model in (small, m2):
        assert model.generate(1).mean.shape == (1, 3)
    x, y = torch.rand(2, 5, 3).round(), torch.rand(2, 5, 2)
    torch.testing.assert_close(small.encode(x).mu, torch.stack([small.encode(part).mu for part in x]))
    regressor = Regressor(3, 2)
    each = [regressor.log_likelihood(*part) for part in zip(x, y, strict=True)]
    torch.testing.assert_close(regressor.log_likelihood(x, y), torch.stack(each))


def test_a_condition_of_one_number_is_asked_for():
    model = VAE(d_x=3, d_z=2, hidden=(4,), d_y=1)
    assert model.elbo(X, torch.ones(5, 1)).shape == (5,)
    for number in (0, 1):  # as a whole number too
        torch.testing.assert_close(
            model.encode(X, torch.full((5,), number)).mu, model.encode(X, torch.full((5, 1), float(number))).mu
        )
    two, y = VAE(d_x=3, d_z=2, hidden=(4,), d_y=2), torch.tensor([0, 1, 1, 0, 1])  # from two on, classes
    torch.testing.assert_close(two.encode(X, y).mu, two.encode(X, torch.eye(2)[y]).mu)
    with pytest.raises(ValueError, match="y must be given"):
        model.encode(X)
    with pytest.raises(ValueError, match="y must be left out"):
        VAE(d_x=3, d_z=2, hidden=(4,)).encode(X, torch.ones(5, 1))
    with pytest.raises(ValueError, match="rows of 5 numbers"):  # one number for each image, not five
        VAE(d_x=3, d_z=2, hidden=(4,), d_y=5).encode(X, torch.ones(5))


def test_measuring_takes_so_many_at_a_time(small, monkeypatch):
    sizes = []
    for name in ("encode", "decode"):
        net = getattr(small, name)
        watched = lambda a, y=None, net=net: sizes.append(a.shape[:-1].numel()) or net(a, y)  # noqa: E731
        monkeypatch.setattr(small, name, watched)
    evaluate.log_evidence(small, X, n_samples=7, rows=15)
    assert sizes == [5, 15, 15, 5]  # three draws of z for each of five images, three more, and the seventh
    sizes.clear()
    evaluate.log_evidence(small, X.repeat(5, 1))
    assert sizes == [25, 20_000, 5_000]
    sizes.clear()
    evaluate.log_evidence(small, X[:1], n_samples=20_001)
    assert sizes == [1, 20_000, 1]
    for measure in (evaluate.kl_per_dimension, evaluate.active_units):
        sizes.clear()
        measure(small, X[:1].expand(1001, 3))
        assert sizes == [1000, 1]


@pytest.mark.parametrize("estimate", [evaluate.elbo, evaluate.log_evidence])
def test_a_measure_repeats_and_its_seed_is_0(estimate, small):
    torch.testing.assert_close(estimate(small, X), estimate(small, X, seed=0), rtol=0, atol=0)
    assert not torch.equal(estimate(small, X), estimate(small, X, seed=1))


@pytest.mark.parametrize("estimate", [evaluate.elbo, evaluate.log_evidence])
def test_grey_pixels_are_warned_of_where_bits_are_expected(estimate, small):
    with warnings.catch_warnings(action="error"):
        estimate(small, torch.eye(3))
        estimate(LinearGaussian(0.0), torch.rand(2, 5))
    with pytest.warns(UserWarning, match="^x has grey pixels"):
        estimate(small, torch.eye(3) / 2)


def test_one_draw_is_enough_and_none_is_refused(small):
    assert (
        evaluate.log_evidence(small, X, n_samples=1, rows=1).shape == evaluate.iwae_bound(small, X, k=1).shape == (5,)
    )
    with pytest.raises(ValueError, match="n_samples"):
        evaluate.log_evidence(small, X, n_samples=0)
    with pytest.raises(ValueError, match="k must be at least 1"):
        evaluate.iwae_bound(small, X, k=0)


def test_only_the_bound_that_is_trained_on_has_a_gradient(small, m2):
    assert evaluate.iwae_bound(small, X, k=2).requires_grad
    for measure in (evaluate.elbo, evaluate.log_evidence, evaluate.kl_per_dimension):
        assert not measure(small, X).requires_grad
    has_gradient = []
    for net in (small.encoder, m2.classifier):
        net.register_forward_hook(lambda net, inputs, out: has_gradient.append(out.requires_grad))
    evaluate.active_units(small, X)
    evaluate.classification_error(m2, X, Y)
    assert has_gradient == [False, False]


def test_a_latent_is_active_above_the_threshold_only(small):
    with torch.no_grad():
        small.encoder[-1].weight[0] = 0  # so that the first latent's mean is the same for all images
        small.encoder[-1].weight[1] = 1
    assert evaluate.active_units(small, torch.eye(3), threshold=0).tolist() == [False, True]


def test_the_error_and_the_spread_of_runs():
    class Parity:
        def classify(self, x):
            return x[:, 0].long() % 2

    x = torch.arange(7.0)[:, None]
    assert evaluate.classification_error(Parity(), x, torch.tensor([0, 1, 0, 0, 0, 0, 0])) == 2 / 7
    assert evaluate.spread([1.0, 2.0, 6.0]) == (3.0, pytest.approx(math.sqrt(7)), 3)
    assert evaluate.spread([1.0, 3.0]) == (2.0, math.sqrt(2), 2)
    with warnings.catch_warnings(action="error"):
        mean, std, n = evaluate.spread(error for error in [0.05])
    assert (mean, n) == (0.05, 1) and math.isnan(std)


def test_all_pixels_of_a_gaussian_decoder_share_one_learned_variance():
    """On 5,000 draws of N(m, 0.3 squared) without any latent structure it becomes 0.09; the mean becomes m."""
    torch.manual_seed(0)
    mean = torch.tensor([0.2, 0.5, 0.9])
    x = mean + 0.3 * torch.randn(5000, 3)
    model = VAE(d_x=3, d_z=1, hidden=(4,), likelihood="gaussian")
    fit(model, lambda x: -model.elbo(x).mean(), x, epochs=30, batch_size=100, lr=1e-2)
    with torch.no_grad():
        p = model.generate(2000)
        assert p.log_var.shape == (2000, 3) and len(p.log_var.unique()) == 1
        assert p.log_var.exp()[0, 0].item() == pytest.approx(0.09, rel=0.05)
        assert torch.allclose(p.mean.mean(0), mean, atol=0.03)
        q, z = model.encode(x), torch.zeros(5000, 1)
        theirs = Normal(model.decoder(z), torch.exp(0.5 * model.log_var)).log_prob(x).sum(-1)
        assert torch.allclose(model.decode(z).log_prob(x), theirs, atol=1e-4)
        theirs = kl_divergence(Normal(q.mu, q.sigma), Normal(0.0, 1.0)).sum(-1)
        assert torch.allclose(q.kl(), theirs, atol=1e-4)
    with warnings.catch_warnings():  # numbers that are not bits are what it is for
        warnings.simplefilter("error")
        assert evaluate.elbo(model, 7 * x).isfinite().all()


def convolutions():
    encoder = nn.Sequential(
        nn.Unflatten(1, (3, 8, 8)), nn.Conv2d(3, 4, 4, 2, 1), nn.ReLU(), nn.Flatten(), nn.Linear(64, 10)
    )
    decoder = nn.Sequential(
        nn.Linear(5, 64), nn.Unflatten(1, (4, 4, 4)), nn.ReLU(), nn.ConvTranspose2d(4, 3, 4, 2, 1), nn.Flatten()
    )
    return VAE(d_x=192, d_z=5, likelihood="gaussian", encoder=encoder, decoder=decoder)


def test_nets_of_ones_own_go_through_training_measures_and_checkpoints(tmp_path):
    torch.manual_seed(0)
    model, x = convolutions(), torch.rand(64, 192)
    how = dict(epochs=3, batch_size=16, checkpoint=tmp_path / "run.safetensors")
    history = fit(model, lambda x: -model.elbo(x).mean(), x, **how)
    assert history.loss[-1] < history.loss[0]
    assert evaluate.log_evidence(model, x, n_samples=50).mean() >= evaluate.elbo(model, x).mean()
    assert evaluate.iwae_bound(model, x, k=3).shape == (64,)
    assert evaluate.active_units(model, x).shape == evaluate.kl_per_dimension(model, x).shape == (5,)
    again = convolutions()
    assert fit(again, lambda x: -again.elbo(x).mean(), x, **how).loss == history.loss  # read, not trained
    checkpoints.save(tmp_path / "m.safetensors", model)
    with pytest.raises(ValueError, match="into="):
        checkpoints.load(tmp_path / "m.safetensors")
    loaded, card = checkpoints.load(tmp_path / "m.safetensors", into=convolutions())
    assert evaluate.elbo(loaded, x).equal(evaluate.elbo(model, x)) and "Conv2d" in card["config"]["encoder"]
    other = VAE(d_x=192, d_z=5, likelihood="gaussian")
    with pytest.raises(ValueError, match="another architecture"):
        checkpoints.load(tmp_path / "m.safetensors", into=other)


def test_a_net_that_returns_another_shape_is_named():
    wrong = VAE(d_x=12, d_z=2, encoder=nn.Linear(12, 2), decoder=nn.Unflatten(1, (1, 2)))
    with pytest.raises(ValueError, match=r"encoder must return \(3, 4\).*got \(3, 2\)"):
        wrong.encode(torch.rand(3, 12))
    with pytest.raises(ValueError, match=r"decoder must return \(3, 12\).*got \(3, 1, 2\)"):
        wrong.decode(torch.rand(3, 2))
