"""Extreme numbers in every distribution and bound: finite, and right by mpmath, which has 60 digits."""

import math
import tempfile

import mpmath
import pytest
import torch
from hypothesis import HealthCheck, configuration, given, settings
from hypothesis import strategies as st

from vaecore import evaluate
from vaecore.distributions import Bernoulli, Gaussian
from vaecore.losses import semi_supervised_loss
from vaecore.m2 import M2
from vaecore.vae import VAE

mpmath.mp.dps = 60
HOME = tempfile.TemporaryDirectory()  # of what hypothesis notes, gone when the tests end
configuration.set_hypothesis_home_dir(HOME.name)
DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
HOW = dict(derandomize=True, database=None, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
LOG_2PI = mpmath.log(2 * mpmath.pi)


def many(test):
    """The test with a few examples, and again, slow, with a hundred times as many."""
    how = pytest.mark.parametrize("examples", [30, pytest.param(3000, marks=pytest.mark.slow)])
    return how(test)


def edges(limit: float):
    """Numbers up to the limit, and often its ends, zero, and what lies next to zero."""
    few = st.sampled_from([0.0, limit, -limit, 1e-7, -1e-4, 1e-3, 1.0, -20.0])
    return st.one_of(few, st.floats(-limit, limit, allow_subnormal=False))


def as_tensor(numbers: list[float], dtype: torch.dtype) -> tuple[torch.Tensor, list]:
    """The numbers in a dtype, and exactly what became of them there."""
    tensor = torch.tensor(numbers, dtype=dtype)
    return tensor, [mpmath.mpf(value) for value in tensor.double().tolist()]


def assert_right(ours: torch.Tensor, exact: list, scale: list) -> None:
    """Within some ulps of the largest term that the sum is made of."""
    eps = torch.finfo(ours.dtype).eps
    assert ours.dtype in (torch.float32, torch.float64) and ours.isfinite().all()
    for value, right, size in zip(ours.double().flatten().tolist(), exact, scale, strict=True):
        assert abs(value - right) <= 64 * eps * size + 1e-37, (value, right)


def gaussians(mu, log_var, z, other_mu, other_log_var):
    """(log N(z), its terms' size), (KL to the other, ...), (KL to N(0, 1), ...), (entropy, ...) of one dimension."""
    epsilon2 = (z - mu) ** 2 * mpmath.exp(-log_var)
    ratio, distance = mpmath.expm1(log_var - other_log_var), (mu - other_mu) ** 2 * mpmath.exp(-other_log_var)
    moved = abs(log_var) + abs(other_log_var)  # so much may be lost in the exponent, in ulps
    yield -(LOG_2PI + log_var + epsilon2) / 2, 2 + (1 + abs(log_var)) * (1 + epsilon2)
    yield (distance + ratio - log_var + other_log_var) / 2, (1 + moved) * distance + (1 + moved) * abs(ratio) + moved
    yield (
        (mu**2 + mpmath.expm1(log_var) - log_var) / 2,
        mu**2 + abs(mpmath.expm1(log_var)) * (1 + abs(log_var)) + abs(log_var),
    )
    yield (1 + LOG_2PI + log_var) / 2, 2 + abs(log_var)


@many
@pytest.mark.parametrize("dtype", DTYPES)
def test_gaussians(dtype, examples, tally):
    @settings(max_examples=examples, **HOW)
    @given(st.lists(st.tuples(edges(100), edges(60), edges(100), edges(100), edges(60)), min_size=1, max_size=4))
    def check(rows):
        columns = [as_tensor(list(column), dtype) for column in zip(*rows, strict=True)]
        mu, log_var, z, other_mu, other_log_var = (tensor[:, None] for tensor, _ in columns)
        q, other = Gaussian(mu, log_var), Gaussian(other_mu, other_log_var)
        exact = [list(gaussians(*row)) for row in zip(*(values for _, values in columns), strict=True)]
        if dtype != torch.float64:  # a KL of exp(120) is beyond float32
            exact = [[(right, size) if right < 1e37 else (None, None) for right, size in row] for row in exact]
        for k, ours in enumerate((q.log_prob(z), q.kl(other), q.kl(), q.entropy())):
            kept = [i for i, row in enumerate(exact) if row[k][0] is not None]
            assert_right(ours[kept], [exact[i][k][0] for i in kept], [exact[i][k][1] for i in kept])
        assert (q.kl() >= 0).all() and (q.sigma > 0).all() and q.rsample().isfinite().all()
        tally("extreme numbers", 4 * len(rows), 4 * len(rows))

    check()


@many
@pytest.mark.parametrize("dtype", DTYPES)
def test_bits(dtype, examples, tally):
    @settings(max_examples=examples, **HOW)
    @given(
        st.lists(st.tuples(edges(1e4), st.one_of(st.sampled_from([0.0, 1.0]), st.floats(0, 1))), min_size=1, max_size=4)
    )
    def check(rows):
        (logits, exact), (x, xs) = (as_tensor(list(column), dtype) for column in zip(*rows, strict=True))
        p = Bernoulli(logits[:, None])
        log_1, log_0 = ([-mpmath.log1p(mpmath.exp(s * a)) for a in exact] for s in (-1, 1))
        right = [v * a + (1 - v) * b for v, a, b in zip(xs, log_1, log_0, strict=True)]
        entropy = [-(mpmath.exp(a) * a + mpmath.exp(b) * b) for a, b in zip(log_1, log_0, strict=True)]
        size = [abs(a) + abs(value) for a, value in zip(exact, right, strict=True)]
        assert_right(p.log_prob(x[:, None]), right, size)
        assert_right(p.entropy(), entropy, [value * (1 + abs(a)) for value, a in zip(entropy, exact, strict=True)])
        assert (p.log_prob(x[:, None]) <= 0).all() and set(p.sample().flatten().tolist()) <= {0, 1}
        tally("extreme numbers", 2 * len(rows), 2 * len(rows))

    check()


def constant(net: torch.nn.Module, *values: float) -> None:
    """Has the last layer of a net put out the values, each for a like share of its numbers, whatever comes in."""
    last = (net.rest if hasattr(net, "rest") else net)[-1]
    with torch.no_grad():
        last.weight.zero_()
        last.bias.copy_(torch.tensor(values).repeat_interleave(len(last.bias) // len(values)))


IMAGES = {"black": 1.0, "white": 0.0, "grey": 0.5}


@pytest.mark.parametrize("dtype", DTYPES[1:])
@pytest.mark.parametrize("log_var", [-60.0, 0.0, 60.0])
@pytest.mark.parametrize("logit", [-1e4, 0.0, 1e4])
@pytest.mark.parametrize("image", IMAGES)
@pytest.mark.filterwarnings("ignore:x has grey pixels")
def test_bounds(dtype, log_var, logit, image, tally):
    """VAE and M2 whose nets put out extreme numbers: the bounds are what one writes down for them, in every dtype."""
    torch.manual_seed(0)
    x, y = torch.full((2, 5), IMAGES[image], dtype=dtype), torch.tensor([0, 2])
    net, m = VAE(5, 3, (4,)).to(dtype), M2(5, 3, (4,), 3).to(dtype)
    for model in (net, m):
        constant(model.encoder, 0.5, log_var)
        constant(model.decoder, logit)
    constant(m.classifier, 1e4, 0.0, -1e4)
    logit, log_var = float(torch.tensor(logit, dtype=dtype)), float(torch.tensor(log_var, dtype=dtype))
    sure = float(torch.tensor(1e4, dtype=dtype))
    certain = [-float(mpmath.log1p(mpmath.exp(s * mpmath.mpf(logit)))) for s in (-1, 1)]
    log_likelihood = 5 * (IMAGES[image] * certain[0] + (1 - IMAGES[image]) * certain[1])
    kl = 3 * float(mpmath.mpf(0.25) + mpmath.expm1(log_var) - log_var) / 2
    elbo = torch.full((2,), log_likelihood - kl, dtype=torch.float64)

    def close(ours, right):
        assert ours.isfinite().all()
        torch.testing.assert_close(ours.double(), right, rtol=1e-5, atol=1e-4)

    close(evaluate.elbo(net, x), elbo)
    close(evaluate.kl_per_dimension(net, x).sum(), torch.tensor(kl, dtype=torch.float64))
    assert evaluate.active_units(net, x).tolist() == [False] * 3
    close(m.labelled_bound(x, y), elbo - math.log(3))
    close(m.unlabelled_bound(x), elbo - math.log(3))  # q(y|x) is sure, so it has no entropy
    close(m.log_q_y(x)[0], torch.tensor([0.0, -sure, -2 * sure], dtype=torch.float64))
    loss = semi_supervised_loss(m, x, y, x, n_labelled=2, n_unlabelled=8)
    close(loss, -elbo[0] + math.log(3) + 0.1 * sure)  # log q(y|x) is 0 and -2 sure
    loss.backward()
    assert all(p.grad.isfinite().all() for p in m.parameters())
    if log_var == 0 and dtype == torch.float32:  # q and the prior are near each other
        assert evaluate.log_evidence(net, x, n_samples=500)[0] == pytest.approx(log_likelihood, rel=1e-3, abs=0.2)
    for estimate in (evaluate.log_evidence(net, x, n_samples=5), evaluate.iwae_bound(net, x, k=5)):
        assert estimate.isfinite().all()
    tally("extreme numbers", 9, 9)
