"""How good is a model? Every function of a model takes the images as the model sees them, (N, D), and no gradient.

The one exception is `iwae_bound`, which is also trained on. `elbo` and `log_evidence` of grey pixels, where the model
is one of bits, are told of in a UserWarning: they are numbers of another kind.
"""

import itertools
import math
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor

from .checks import check_at_least, check_device, check_labels, check_methods, check_seed, check_type, typed
from .distributions import Gaussian


@typed
@torch.no_grad()
def elbo(model, x: Tensor, y: Tensor | None = None, *, seed: int = 0, batch_size: int = 1000) -> Tensor:
    """A one-sample estimate of the ELBO of each image, (N,), in nats, repeatable by its seed. Eq. elbo."""
    check_methods(model, "elbo")
    parts = _parts(x, y, batch_size=batch_size)
    with seeded(seed, x.device):
        bounds = torch.cat([model.elbo(*part) for part in parts])
    _warn_of_grey(model, x)
    return bounds


@typed
@torch.no_grad()
def log_evidence(
    model, x: Tensor, y: Tensor | None = None, *, n_samples: int = 1000, seed: int = 0, rows: int = 20_000
) -> Tensor:
    """log p(x) of each image or, with y, log p(x|y), (N,), in nats, by importance sampling. Eq. latent-importance.

    For an M2, log p(x,y) is this plus log p(y). The mean of this estimate grows with n_samples towards the true value.
    At most `rows` latents are decoded at a time.
    """
    check_methods(model, "encode", "decode")
    check_at_least(1, n_samples=n_samples, rows=rows)
    parts = _parts(x, y, batch_size=min(100, rows))
    with seeded(seed, x.device):
        estimates = torch.cat([_log_mean_weight(model, *part, n_samples, rows) for part in parts])
    _warn_of_grey(model, x)
    return estimates


def _log_mean_weight(model, x: Tensor, y: Tensor | None, n_samples: int, rows: int) -> Tensor:
    step = rows // len(x)
    parts = [_log_weights(model, x, y, min(step, n_samples - k)).logsumexp(0) for k in range(0, n_samples, step)]
    return torch.stack(parts).logsumexp(0) - math.log(n_samples)


def _log_weights(model, x: Tensor, y: Tensor | None, k: int) -> Tensor:
    """log p(x,z)/q(z|x) at k draws of z from q for each image, (K, B); with y all three are given y."""
    posterior = model.encode(x, y)
    if posterior.mu.ndim != 2:
        raise ValueError("y is missing: without it this model has one q(z|x,y) for every class.")
    q = Gaussian(posterior.mu.expand(k, -1, -1), posterior.log_var.expand(k, -1, -1))
    z = q.rsample()  # (K, B, Z)
    prior = Gaussian.standard(z.shape[-1], device=z.device)
    return model.decode(z, y).log_prob(x) + prior.log_prob(z) - q.log_prob(z)


@typed
def iwae_bound(model, x: Tensor, y: Tensor | None = None, *, k: int) -> Tensor:
    """One estimate of the importance-weighted bound on log p(x), or log p(x|y), (B,), in nats. Eq. iwae-bound.

    The log of the mean of k weights p(x,z)/q(z|x): the ELBO at k = 1, and on average tighter with every further
    draw. Its gradient is that of its expectation, each z moving with mu and sigma. arXiv:1509.00519. ValueError for k
    below 1.
    """
    check_methods(model, "encode", "decode")
    check_at_least(1, k=k)
    return _log_weights(model, x, y, k).logsumexp(0) - math.log(k)


@typed
@torch.no_grad()
def kl_per_dimension(model, x: Tensor, y: Tensor | None = None, *, batch_size: int = 1000) -> Tensor:
    """The mean over the images of each latent's share of KL(q(z|x) || p(z)), (Z,), in nats."""
    check_methods(model, "encode")
    parts = [model.encode(*part).kl_per_dimension() for part in _parts(x, y, batch_size=batch_size)]
    return torch.cat(parts).mean(0)


@typed
@torch.no_grad()
def active_units(
    model, x: Tensor, y: Tensor | None = None, *, threshold: float = 0.01, batch_size: int = 1000
) -> Tensor:
    """Which latents the encoder uses, (Z,) bool: variance over images of q's mean > threshold. arXiv:1509.00519."""
    check_methods(model, "encode")
    check_at_least(0, threshold=threshold)
    parts = _parts(x, y, batch_size=batch_size)
    if len(x) < 2:
        raise ValueError(f"x must hold at least two images, to vary; got {len(x)}.")
    means = torch.cat([model.encode(*part).mean for part in parts])
    return means.var(0) > threshold


@typed
@torch.no_grad()
def classification_error(model, x: Tensor, y: Tensor, *, batch_size: int = 1000) -> float:
    """The share of the images x whose model.classify(x) is not their class y (N,): from 0 to 1."""
    check_methods(model, "classify")
    parts = _parts(x, y, batch_size=batch_size)
    check_labels(y, math.inf, len(x))
    wrong = [model.classify(x_part) != y_part for x_part, y_part in parts]
    return torch.cat(wrong).cpu().double().mean().item()


class Spread(NamedTuple):
    """What several runs came to."""

    mean: float  #: of the runs
    std: float  #: of the runs, with n - 1 in its denominator; not of their mean
    n: int  #: how many runs


@typed
def spread(values: Iterable[float]) -> Spread:
    """What the errors of several label draws come to; the standard deviation of one run alone is nan."""
    values = list(values)
    for value in values:
        check_type("each of values", value, float)
    runs = torch.tensor(values, dtype=torch.float64)
    if len(runs) == 0:
        raise ValueError("values must hold the result of at least one run; got none.")
    std = runs.std().item() if len(runs) > 1 else math.nan
    return Spread(runs.mean().item(), std, len(runs))


def _parts(x: Tensor, y: Tensor | None, batch_size: int) -> Iterator[tuple[Tensor, Tensor | None]]:
    check_at_least(1, batch_size=batch_size)
    if x.ndim < 2 or len(x) == 0:
        raise ValueError(f"x must hold at least one image, shape (N, D); got shape {tuple(x.shape)}.")
    if y is not None and (y.shape[:1] != x.shape[:1] or y.device != x.device):
        told = f"one row for each of the {len(x)} images of x, on {x.device}"
        raise ValueError(f"y must hold {told}; got shape {tuple(y.shape)}, on {y.device}.")
    return zip(x.split(batch_size), itertools.repeat(None) if y is None else y.split(batch_size), strict=False)


def _warn_of_grey(model, x: Tensor) -> None:
    if getattr(model, "likelihood", "") == "bernoulli" and ((x != 0) & (x != 1)).any():
        told = "x holds grey pixels, but the model is one of bits, to be drawn by data.binarize: no such number is "
        warnings.warn(f"{told}comparable to that of bits.", stacklevel=5)  # the line that calls elbo


@typed
@contextmanager
def seeded(seed: int, device: torch.device | str = "cpu"):
    """Within the block draws come from this seed; after it the caller's random state is as it was."""
    check_seed(seed)
    device = check_device(device)
    cuda, mps = device.type == "cuda", device.type == "mps"
    before = torch.get_rng_state()
    on_device = torch.cuda.get_rng_state(device) if cuda else torch.mps.get_rng_state() if mps else None
    reseed(seed, device)
    try:
        yield
    finally:
        torch.set_rng_state(before)
        if cuda:
            torch.cuda.set_rng_state(on_device, device)
        if mps:
            torch.mps.set_rng_state(on_device)


@typed
def reseed(seed: int, device: torch.device) -> None:
    """From here on the CPU and this device, and no other, draw from the seed."""
    check_seed(seed)
    torch.default_generator.manual_seed(seed)  # torch.manual_seed would reseed every other device as well
    if device.type == "cuda":
        with torch.cuda.device(device):
            torch.cuda.manual_seed(seed)
    if device.type == "mps":
        torch.mps.manual_seed(seed)
