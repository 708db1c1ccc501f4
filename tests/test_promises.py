"""What signatures and docstrings promise beside the equations: defaults, sizes, further dimensions, messages."""

import dataclasses

import pytest
import torch

from vaecore.distributions import Bernoulli, Gaussian
from vaecore.vae import VAE, Regressor


@pytest.fixture
def small():
    return VAE(d_x=3, d_z=2, hidden=(4,))


def test_the_vae_has_the_papers_sizes():
    assert VAE().config == dict(d_x=784, d_z=50, hidden=[500, 500], d_y=0, activation="tanh")


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


def test_one_image_can_be_drawn_but_not_none(small):
    assert small.generate(1).mean.shape == (1, 3)
    with pytest.raises(ValueError, match="n must be at least 1; got 0"):
        small.generate(0)


def test_a_condition_of_one_number_is_asked_for():
    with pytest.raises(ValueError, match="y is missing"):
        VAE(d_x=3, d_z=2, hidden=(4,), d_y=1).encode(torch.zeros(5, 3))


def test_messages_count_the_rows():
    with pytest.raises(ValueError, match=r"y must hold 2 numbers for each of 5 images, shape \(5, 2\)"):
        VAE(d_x=3, d_z=2, hidden=(4,), d_y=2).encode(torch.zeros(5, 3), torch.zeros(5, 4))
    with pytest.raises(ValueError, match=r"y must have a row for each of the 5 rows of x; got shape \(4, 2\)"):
        Regressor(3, 2).log_likelihood(torch.zeros(5, 3), torch.zeros(4, 2))
