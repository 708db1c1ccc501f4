"""What signatures and docstrings promise beside the equations: defaults, sizes, further dimensions, messages."""

import dataclasses
import inspect
import math
import warnings
from functools import partial

import pytest
import torch

from vaecore import evaluate
from vaecore.distributions import Bernoulli, Gaussian
from vaecore.m2 import M1M2, M2, LabelledMLP, semi_supervised_loss
from vaecore.vae import VAE, Regressor, mlp

X, ZEROS = torch.zeros(5, 3), torch.zeros(5, dtype=torch.int64)


@pytest.fixture
def small():
    return VAE(d_x=3, d_z=2, hidden=(4,))


@pytest.fixture
def m2():
    return M2(d_x=3, d_z=2, hidden=(4,), n_classes=2)


def test_the_models_have_the_papers_sizes():
    assert VAE().config == dict(d_x=784, d_z=50, hidden=[500, 500], d_y=0, activation="tanh")
    assert Regressor(3, 2).config == dict(d_x=3, d_y=2, hidden=[500, 500], activation="tanh")
    sizes = dict(d_x=784, d_z=50, hidden=[500], n_classes=10, likelihood="bernoulli", activation="softplus")
    assert M2().config == sizes


def test_the_documented_defaults_of_measuring():
    defaults = {
        name: [
            p.default
            for p in inspect.signature(getattr(evaluate, name)).parameters.values()
            if p.kind is p.KEYWORD_ONLY
        ]
        for name in ("elbo", "log_evidence", "kl_per_dimension", "active_units", "classification_error")
    }
    assert defaults == dict(
        elbo=[0, 1000],
        log_evidence=[1000, 0, 20_000],
        kl_per_dimension=[1000],
        active_units=[0.01, 1000],
        classification_error=[1000],
    )


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


@pytest.mark.parametrize("made", [Gaussian(torch.zeros(2), torch.zeros(2)), Bernoulli(torch.zeros(2))])
def test_a_distribution_does_not_change_and_takes_tensors_only(made):
    for field in dataclasses.fields(made):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(made, field.name, torch.ones(2))
    with pytest.raises(TypeError, match="must be a Tensor; got "):
        type(made)(*["text" for _ in dataclasses.fields(made)])


def test_a_prior_may_hold_no_latents_but_not_fewer():
    assert Gaussian.standard(0, 2).mu.shape == (0, 2)
    with pytest.raises(ValueError, match=r"shape\[1\] must be at least 0; got -1"):
        Gaussian.standard(2, -1)


@pytest.mark.parametrize("name", ["small", "m2"])
def test_one_image_can_be_drawn_but_not_none(name, request):
    model = request.getfixturevalue(name)
    assert model.generate(1).mean.shape == (1, 3)
    with pytest.raises(ValueError, match="n must be at least 1; got 0"):
        model.generate(0)


def test_images_in_two_batches_of_rows_are_encoded_as_each_is(small):
    x, y = torch.rand(2, 5, 3).round(), torch.rand(2, 5, 2)
    torch.testing.assert_close(small.encode(x).mu, torch.stack([small.encode(part).mu for part in x]))
    regressor = Regressor(3, 2)
    apart = [regressor.log_likelihood(*part) for part in zip(x, y, strict=True)]
    torch.testing.assert_close(regressor.log_likelihood(x, y), torch.stack(apart))
    with pytest.raises(ValueError, match="y must have a row for each"):
        regressor.log_likelihood(x, y[0])


def test_a_condition_of_one_number_is_asked_for():
    with pytest.raises(ValueError, match="y is missing"):
        VAE(d_x=3, d_z=2, hidden=(4,), d_y=1).encode(torch.zeros(5, 3))


def test_log_evidence_decodes_no_more_latents_at_a_time_than_it_was_told(small, monkeypatch):
    decode, sizes = small.decode, []

    def watched(z, y=None):
        sizes.append(z.shape[:-1].numel())
        return decode(z, y)

    monkeypatch.setattr(small, "decode", watched)
    evaluate.log_evidence(small, X, n_samples=7, rows=15)
    assert sizes == [15, 15, 5]  # three draws of z for each of five images, three more, and the seventh


@pytest.mark.parametrize(
    "name, arguments",
    [
        *((name, dict(x=None)) for name in ("elbo", "log_evidence", "kl_per_dimension", "active_units")),
        ("classification_error", dict(x=None, y=ZEROS)),
        ("iwae_bound", dict(k=None, x=X)),
        ("spread", dict(values=None)),
        ("seeded", dict(seed=None)),
        ("reseed", dict(seed=None, device=torch.device("cpu"))),
    ],
)
def test_measuring_looks_at_types(name, arguments, small):
    model = {} if {"values", "seed"} & set(arguments) else dict(model=small)
    with pytest.raises(TypeError, match=f"^{next(iter(arguments))} must be .*; got None.$"):
        getattr(evaluate, name)(**model, **arguments)


def test_messages_count_the_rows():
    with pytest.raises(ValueError, match=r"y must hold 2 numbers for each of 5 images, shape \(5, 2\)"):
        VAE(d_x=3, d_z=2, hidden=(4,), d_y=2).encode(torch.zeros(5, 3), torch.zeros(5, 4))
    with pytest.raises(ValueError, match=r"y must have a row for each of the 5 rows of x; got shape \(4, 2\)"):
        Regressor(3, 2).log_likelihood(torch.zeros(5, 3), torch.zeros(4, 2))


def test_messages_name_what_is_wrong(m2):
    with pytest.raises(ValueError, match=r"^x must have shape \(B, 3\); got \(2, 5, 3\)"):
        m2.log_q_y(torch.zeros(2, 5, 3))
    with pytest.raises(ValueError, match=r"^x must be on the model's device"):
        m2.log_q_y(torch.zeros(5, 3, device="meta"))
    with pytest.raises(ValueError, match=r"^y must be on the model's device"):
        m2.encode(torch.zeros(5, 3), ZEROS.to("meta"))
    with pytest.raises(ValueError, match=r"alpha must be at least 0; got -0\.5"):
        semi_supervised_loss(m2, X, ZEROS, X, n_labelled=1, n_unlabelled=1, alpha=-0.5)
    with pytest.raises(ValueError, match="m2 must be an M2 of likelihood 'gaussian' and d_x=1"):
        M1M2(VAE(3, 2, (4,)), M2(3, 2, (4,), likelihood="gaussian"), torch.tensor([True, False]))


@pytest.mark.parametrize(
    "call, told",
    [
        (lambda m: mlp("many", (2,), 2, "relu"), "d_in must be a whole number; got 'many'"),
        (lambda m: VAE("many"), "d_x must be a whole number; got 'many'"),
        (lambda m: Regressor("many", 2), "d_x must be a whole number; got 'many'"),
        (lambda m: LabelledMLP("many", 2, (2,), 2, "relu"), "d_a must be a whole number; got 'many'"),
        (lambda m: M2("many"), "d_x must be a whole number; got 'many'"),
        (lambda m: M1M2(m, m, ZEROS), "m1 must be a VAE; got M2"),
        (lambda m: semi_supervised_loss(3, X, X, X, n_labelled=1, n_unlabelled=1), "model must be an M2; got 3"),
        (lambda m: evaluate.elbo(VAE(3, 2, (4,)), "x"), "x must be a Tensor; got 'x'"),
        (lambda m: evaluate.log_evidence(m, "x"), "x must be a Tensor; got 'x'"),
        (lambda m: evaluate.iwae_bound(m, "x", k=1), "x must be a Tensor; got 'x'"),
        (lambda m: evaluate.kl_per_dimension(m, "x"), "x must be a Tensor; got 'x'"),
        (lambda m: evaluate.active_units(m, "x"), "x must be a Tensor; got 'x'"),
        (lambda m: evaluate.classification_error(m, "x", ZEROS), "x must be a Tensor; got 'x'"),
        (lambda m: evaluate.spread(3), "values must be a sequence of which each is a number; got 3"),
        (lambda m: evaluate.spread([0.5, "x"]), "each of values must be a number; got 'x'"),
        (lambda m: evaluate.seeded(0, 3).__enter__(), "device must be a device or a text; got 3"),
        (lambda m: evaluate.reseed(0, "cpu"), "device must be a device; got 'cpu'"),
    ],
)
def test_a_thing_of_the_wrong_kind_is_named(m2, call, told):
    with pytest.raises(TypeError) as error:
        call(m2)
    assert str(error.value).startswith(told)


def test_only_the_bound_that_is_trained_on_has_a_gradient(small, m2):
    assert evaluate.iwae_bound(small, X, k=2).requires_grad
    for measure in (evaluate.elbo, evaluate.log_evidence, evaluate.kl_per_dimension):
        assert not measure(small, X).requires_grad
    ours = []
    for net in (small.encoder, m2.classifier):
        net.register_forward_hook(lambda net, given, out: ours.append(out.requires_grad))
    evaluate.active_units(small, X)
    evaluate.classification_error(m2, X, ZEROS)
    assert ours == [False, False]


def test_how_many_images_measuring_needs(small, m2):
    assert len(evaluate.elbo(small, X[:1], batch_size=1)) == 1
    assert evaluate.active_units(small, X[:2]).shape == (2,)
    with pytest.raises(ValueError, match="x must hold at least two images, to vary; got 1"):
        evaluate.active_units(small, X[:1])
    for none in (X[:0], X[0]):
        with pytest.raises(ValueError, match="x must hold at least one image"):
            evaluate.elbo(small, none)
    with pytest.raises(ValueError, match="batch_size must be at least 1; got 0"):
        evaluate.elbo(small, X, batch_size=0)
    with pytest.raises(ValueError, match="y must hold one row for each of the 5 images of x"):
        evaluate.log_evidence(m2, X, ZEROS[:4])


def test_a_latent_is_active_above_the_threshold_only(small):
    with torch.no_grad():
        small.encoder[-1].weight[0] = 0  # so that the first latent's mean is the same for all images
        small.encoder[-1].weight[1] = 1
    assert evaluate.active_units(small, torch.eye(3), threshold=0).tolist() == [False, True]
    with pytest.raises(ValueError, match=r"threshold must be at least 0; got -0\.5"):
        evaluate.active_units(small, X, threshold=-0.5)


def test_the_spread_of_few_runs():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert math.isnan(evaluate.spread([3.0]).std)
    assert evaluate.spread([1.0, 3.0]) == (2.0, math.sqrt(2), 2)


@pytest.mark.parametrize("grey", [0.0, 0.5, 1.0])
def test_grey_pixels_are_told_of_where_the_model_has_bits(small, m2, grey):
    x, y = torch.full((5, 3), grey), ZEROS
    numbers = M2(d_x=3, d_z=2, hidden=(4,), n_classes=2, likelihood="gaussian")
    for measure, of_bits in (
        (partial(evaluate.elbo, small, x), True),  # a lambda would be one more caller in this file
        (partial(evaluate.log_evidence, m2, x, y, n_samples=1), True),
        (partial(evaluate.log_evidence, numbers, x, y, n_samples=1), False),
    ):
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            measure()
        assert len(told) == (of_bits and grey == 0.5)
        assert all("grey pixels" in str(each.message) and each.filename == __file__ for each in told)


def test_seeding_the_cpu_leaves_other_devices_alone(monkeypatch):
    reseeded = []
    monkeypatch.setattr(torch.mps, "manual_seed", reseeded.append)
    evaluate.reseed(0, torch.device("cpu"))
    assert reseeded == []
