"""M2, M1+M2 and the baselines: they learn, repeat, agree with the naive sum."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch.distributions import Normal, kl_divergence

from vaecore import checkpoints, evaluate
from vaecore.distributions import Bernoulli, Gaussian
from vaecore.losses import semi_supervised_loss
from vaecore.m2 import M1M2, M2
from vaecore.seeds import seeded
from vaecore.train import fit
from vaecore.vae import VAE, Regressor


def small(**changes) -> M2:
    """A new M2 whose nets tell the classes apart."""
    torch.manual_seed(0)
    model = M2(**{"d_x": 784, "d_z": 8, "hidden": (64,), **changes})
    with torch.no_grad():
        for net in (model.encoder, model.decoder):
            net.columns.uniform_(-0.5, 0.5)
    return model


@pytest.mark.parametrize("likelihood", ["bernoulli", "gaussian"])
@pytest.mark.parametrize("hidden", [(500,), (40, 30), ()])
@torch.no_grad()
def test_unlabelled_bound_is_the_naive_sum(likelihood, hidden, digits, monkeypatch):
    """Ten copies of each image with a one-hot label appended, as one would write it at first."""
    model = small(hidden=hidden, likelihood=likelihood)
    x = (digits.x_train[:20] > 127).float()
    epsilon = torch.randn(10, 20, 8)
    monkeypatch.setattr(Gaussian, "rsample", lambda q, *_: q.mu + q.sigma * epsilon.reshape(*q.mu.shape))
    factored = model.unlabelled_bound(x)

    def through(net, a, one_hot):
        first = F.linear(torch.cat([a, one_hot], -1), torch.cat([net.first.weight, net.columns.T], 1), net.first.bias)
        return net.rest(first)

    copies, one_hot = x.repeat(10, 1), F.one_hot(torch.arange(10).repeat_interleave(20), 10).float()
    mu, log_var = through(model.encoder, copies, one_hot).chunk(2, -1)
    q = Normal(mu, torch.exp(log_var / 2))
    out = through(model.decoder, q.mean + q.stddev * epsilon.reshape(200, 8), one_hot)
    if likelihood == "bernoulli":
        log_likelihood = -F.binary_cross_entropy_with_logits(out, copies, reduction="none").sum(-1)
    else:
        log_likelihood = Normal(out[:, :784], torch.exp(out[:, 784:] / 2)).log_prob(copies).sum(-1)
    bounds = log_likelihood - kl_divergence(q, Normal(0.0, 1.0)).sum(-1) - math.log(10)
    q_y = torch.softmax(model.classifier(x), -1).T.flatten()
    naive = (q_y * (bounds - q_y.log())).view(10, 20).sum(0)
    torch.testing.assert_close(factored.mean(), naive.mean(), rtol=0, atol=1e-4)
    torch.testing.assert_close(factored, naive, rtol=1e-6, atol=1e-4)
    one_by_one = torch.full_like(naive, 0)
    for y in range(10):
        monkeypatch.setattr(Gaussian, "rsample", lambda q, *_, y=y: q.mu + q.sigma * epsilon[y])
        log_q_y = model.log_q_y(x)[:, y]
        one_by_one += log_q_y.exp() * (model.labelled_bound(x, torch.full((20,), y)) - log_q_y)
    torch.testing.assert_close(factored, one_by_one, rtol=1e-6, atol=1e-4)


@torch.no_grad()
def test_all_classes_of_an_image_share_its_noise():
    """Each image has its own draw; where the classes do not differ, nor do their bounds."""
    model, x = M2(d_z=8, hidden=(64,)), torch.rand(1, 784).repeat(5, 1)
    bounds = model.labelled_bound(x)  # the columns are zero
    torch.testing.assert_close(bounds, bounds[:1].expand(10, -1))
    assert len(set(bounds[0].tolist())) == 5
    epsilon, model = torch.randn(5, 8), small()
    every = model.labelled_bound(x, epsilon=epsilon)
    for y in range(10):
        torch.testing.assert_close(every[y], model.labelled_bound(x, torch.full((5,), y), epsilon))


def test_overfits_sixteen_images(digits):
    """Sixteen fixed pictures, each with its class and again without: few nats are left, and q(y|x) knows them all."""
    torch.manual_seed(0)
    model, x, y = M2(d_z=8, hidden=(128,)), (digits.x_train[:16] > 127).float(), digits.y_train[:16]

    def loss(x, y):
        return semi_supervised_loss(model, x, y, x, n_labelled=16, n_unlabelled=16)

    history = fit(model, loss, x, y, epochs=200, batch_size=16, lr=5e-3)
    assert history.loss[0] > 500
    with torch.no_grad(), seeded(0):
        labelled = torch.stack([model.labelled_bound(x, y).mean() for _ in range(20)]).mean()
        unlabelled = torch.stack([model.unlabelled_bound(x).mean() for _ in range(20)]).mean()
    assert -30 < labelled < -math.log(16) and -30 < unlabelled < 0
    assert evaluate.classification_error(model, x, y) == 0


def test_labels_name_what_pictures_alone_tell_apart():
    """Two kinds of pictures, one label each: the unlabelled ones, read by the model, follow."""
    torch.manual_seed(0)
    kinds = torch.tensor([[1.0] * 6 + [0.0] * 6, [0.0] * 6 + [1.0] * 6])
    y_u = torch.randint(2, (600,))
    x_u = (kinds[y_u] - (torch.rand(600, 12) < 0.25).float()).abs()  # a quarter of the pixels flipped
    model = M2(d_x=12, d_z=1, hidden=(16,), n_classes=2)

    def loss(x):
        return semi_supervised_loss(model, kinds, torch.tensor([1, 0]), x, n_labelled=2, n_unlabelled=600)

    fit(model, loss, x_u, epochs=40, batch_size=50, lr=1e-2)
    assert evaluate.classification_error(model, x_u, 1 - y_u) < 0.1


@torch.no_grad()
def test_analogies_and_generate():
    model, x = small(), torch.rand(5, 784)
    y = torch.tensor([3, 1, 4, 1, 5])
    z = model.encode(x, y).mean
    ours = model.analogies(x, y)
    assert ours.shape == (5, 10, 784)
    for c in range(10):
        torch.testing.assert_close(ours[:, c], model.decode(z, torch.full((5,), c)).mean)
    torch.testing.assert_close(model.analogies(x), model.analogies(x, model.classify(x)))
    assert torch.equal(model.classify(x), model.log_q_y(x).argmax(-1))

    torch.manual_seed(1)
    drawn = model.generate(5, y).mean
    torch.manual_seed(1)
    torch.testing.assert_close(drawn, model.decode(torch.randn(5, 8), y).mean)
    assert isinstance(model.generate(7), Bernoulli) and model.generate(7).mean.shape == (7, 784)
    assert isinstance(small(likelihood="gaussian").generate(7), Gaussian)


@pytest.fixture
def stack() -> M1M2:
    """An M1 of six latents, three of them active, under an M2."""
    torch.manual_seed(0)
    active = torch.tensor([True, False, True, False, False, True])
    return M1M2(VAE(d_z=6, hidden=(32,)), small(d_x=3, d_z=2, likelihood="gaussian"), active)


def test_m1m2_goes_through_both(stack):
    x = torch.rand(5, 784)
    q = stack.m1.encode(x)
    features = stack.features(x)
    torch.testing.assert_close(features.mu, q.mu[:, [0, 2, 5]])
    torch.testing.assert_close(features.sigma, q.sigma[:, [0, 2, 5]])
    assert torch.equal(stack.classify(x), stack.m2.classify(features.mean))
    assert not torch.equal(features.rsample(), features.rsample())

    z1 = stack.m2.analogies(features.mean)
    latents = torch.zeros(5, 10, 6)
    latents[..., [0, 2, 5]] = z1
    assert stack.analogies(x).shape == (5, 10, 784)
    torch.testing.assert_close(stack.analogies(x), stack.m1.decode(latents).mean)
    torch.manual_seed(2)
    drawn = stack.generate(4, torch.arange(4)).mean
    torch.manual_seed(2)
    torch.testing.assert_close(drawn, stack.decode(stack.m2.generate(4, torch.arange(4)).rsample()).mean)


def test_m1m2_can_be_saved_and_loaded(stack, digits, tmp_path):
    path = checkpoints.save(tmp_path / "stack.safetensors", stack, dtype=torch.float16)
    loaded, card = checkpoints.load(path)
    assert card["model"] == "M1M2" and loaded.config == stack.config and loaded.active.dtype == torch.int64
    assert checkpoints.read(path)[0]["model.active"].dtype == torch.int64  # half precision is for weights only
    halved = {name: t.half().float() if t.is_floating_point() else t for name, t in stack.state_dict().items()}
    assert all(torch.equal(t, halved[name]) for name, t in loaded.state_dict().items())
    assert not any(p.requires_grad for p in loaded.m1.parameters())


def test_m1m2_trains_m2_and_leaves_m1_as_it_is(stack, digits):
    """Also the baseline, a plain classifier on M1's features: the same net, q(y|z1), and the last term of J alone."""
    x, y = (digits.x_train[:16] > 127).float(), digits.y_train[:16]
    before = {name: p.clone() for name, p in stack.state_dict().items()}

    def loss(x, y):
        z1 = stack.features(x).rsample()
        return semi_supervised_loss(stack.m2, z1, y, z1, n_labelled=16, n_unlabelled=16, alpha=10)

    fit(stack.m2, loss, x, y, epochs=1, batch_size=16)
    changed = {name for name, p in stack.state_dict().items() if not torch.equal(p, before[name])}
    assert changed == {f"m2.{name}" for name, _ in stack.m2.named_parameters()}
    assert not any(p.requires_grad for p in stack.m1.parameters())

    before = evaluate.classification_error(stack, x, y)
    fit(stack.m2, lambda x, y: F.nll_loss(stack.m2.log_q_y(stack.features(x).mean), y), x, y, epochs=300, lr=2e-2)
    assert evaluate.classification_error(stack, x, y) < 0.2 < before


def test_completion_beats_the_regressor_where_pixels_move_together():
    """A hidden coin sets all four pixels to predict: log 2 nats with a latent, four times that without."""
    torch.manual_seed(0)
    coin, given = (torch.rand(1000, 1) < 0.5).float(), (torch.rand(1000, 2) < 0.5).float()
    x = (coin - given[:, :1]).abs().expand(-1, 4).contiguous()
    cvae, regressor = VAE(d_x=4, d_z=1, hidden=(16,), d_y=2), Regressor(d_x=4, d_y=2, hidden=(16,))
    fit(cvae, lambda x, y: -cvae.elbo(x, y).mean(), x, given, epochs=60, batch_size=50, lr=1e-2)
    fit(regressor, lambda x, y: -regressor.log_likelihood(x, y).mean(), x, given, epochs=20, batch_size=50, lr=1e-2)
    with torch.no_grad():
        without = regressor.log_likelihood(x, given).mean()
    assert abs(without + 4 * math.log(2)) < 0.1
    assert abs(evaluate.log_evidence(cvae, x, given, n_samples=200).mean() + math.log(2)) < 0.25


def test_checkpoints_hold_them(tmp_path):
    models = (small(), small(d_x=3, likelihood="gaussian", activation="tanh"), Regressor(756, 28, (16,)))
    before = torch.get_rng_state()
    for model in models:
        loaded, _ = checkpoints.load(checkpoints.save(tmp_path / "model.safetensors", model))
        assert repr(loaded) == repr(model) and loaded.config == model.config
        for (name, a), (_, b) in zip(model.state_dict().items(), loaded.state_dict().items(), strict=True):
            assert torch.equal(a, b), name
    assert torch.equal(torch.get_rng_state(), before)  # loading draws none of the caller's numbers


class Sharper(VAE):
    def encode(self, x, y=None):
        posterior = super().encode(x, y)
        return Gaussian(posterior.mu, posterior.log_var - 1)


def test_an_m1m2_on_a_vae_of_ones_own_is_not_loaded_as_one_on_a_plain_vae(tmp_path):
    m2 = M2(2, 2, (4,), likelihood="gaussian")
    model = M1M2(Sharper(d_z=2, hidden=(4,)), m2, torch.tensor([True, True]))
    with pytest.raises(ValueError, match=r"M1M2 with .*\.Sharper"):
        checkpoints.load(checkpoints.save(tmp_path / "model", model))
