"""How good is a model? Every function of a model takes the images as the model sees them, (N, D), and no gradient.

The one exception is `iwae_bound`, which is also trained on.
"""

import math
from collections.abc import Iterable
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor

from .distributions import Gaussian


@torch.no_grad()
def elbo(model, x: Tensor, y: Tensor | None = None, *, seed: int = 0, batch_size: int = 1000) -> Tensor:
    """A one-sample estimate of the ELBO of each image, (N,), in nats, repeatable by its seed. Eq. elbo."""
    with seeded(seed, x.device):
        return torch.cat([model.elbo(*part) for part in _parts(x, y, batch_size)])


@torch.no_grad()
def log_evidence(
    model, x: Tensor, y: Tensor | None = None, *, n_samples: int = 1000, seed: int = 0, rows: int = 20_000
) -> Tensor:
    """log p(x) of each image or, with y, log p(x|y), (N,), in nats, by importance sampling. Eq. latent-importance.

    For an M2, log p(x,y) is this plus log p(y). The mean of this estimate grows with n_samples towards the true value.
    At most `rows` latents are decoded at a time.
    """
    if n_samples < 1:
        raise ValueError(f"n_samples must be at least 1; got {n_samples}.")
    n_images = max(1, min(len(x), 100, rows))
    with seeded(seed, x.device):
        return torch.cat([_log_mean_weight(model, *part, n_samples, rows) for part in _parts(x, y, n_images)])


def _log_mean_weight(model, x: Tensor, y: Tensor | None, n_samples: int, rows: int) -> Tensor:
    total = torch.full(x.shape[:1], -math.inf, device=x.device)
    for start in range(0, n_samples, max(1, rows // len(x))):
        k = min(n_samples - start, max(1, rows // len(x)))
        total = torch.logaddexp(total, _log_weights(model, x, y, k).logsumexp(0))
    return total - math.log(n_samples)


def _log_weights(model, x: Tensor, y: Tensor | None, k: int) -> Tensor:
    """log p(x,z)/q(z|x) at k draws of z from q for each image, (K, B); with y all three are given y."""
    posterior = model.encode(x, y)
    if posterior.mu.ndim != 2:
        raise ValueError("y is missing: without it this model has one q(z|x,y) for every class.")
    q = Gaussian(posterior.mu.expand(k, -1, -1), posterior.log_var.expand(k, -1, -1))
    z = q.rsample()  # (K, B, Z)
    prior = Gaussian.standard(z.shape[-1], device=z.device)
    return model.decode(z, y).log_prob(x) + prior.log_prob(z) - q.log_prob(z)


def iwae_bound(model, x: Tensor, y: Tensor | None = None, *, k: int) -> Tensor:
    """One estimate of the importance-weighted bound on log p(x), or log p(x|y), (B,), in nats. Eq. iwae-bound.

    The log of the mean of k weights p(x,z)/q(z|x): the ELBO at k = 1, and on average tighter with every further
    draw. Its gradient is that of its expectation, each z moving with mu and sigma. arXiv:1509.00519. ValueError for k
    below 1.
    """
    if k < 1:
        raise ValueError(f"k must be at least 1; got {k}.")
    return _log_weights(model, x, y, k).logsumexp(0) - math.log(k)


@torch.no_grad()
def kl_per_dimension(model, x: Tensor, y: Tensor | None = None, *, batch_size: int = 1000) -> Tensor:
    """The mean over the images of each latent's share of KL(q(z|x) || p(z)), (Z,), in nats."""
    parts = [model.encode(*part).kl_per_dimension() for part in _parts(x, y, batch_size)]
    return torch.cat(parts).mean(0)


@torch.no_grad()
def active_units(
    model, x: Tensor, y: Tensor | None = None, *, threshold: float = 0.01, batch_size: int = 1000
) -> Tensor:
    """Which latents the encoder uses, (Z,) bool: variance over images of q's mean > threshold. arXiv:1509.00519."""
    means = torch.cat([model.encode(*part).mean for part in _parts(x, y, batch_size)])
    return means.var(0) > threshold


@torch.no_grad()
def classification_error(model, x: Tensor, y: Tensor, *, batch_size: int = 1000) -> float:
    """The share of the images x whose model.classify(x) is not their class y (N,): from 0 to 1."""
    wrong = [model.classify(x_part) != y_part for x_part, y_part in _parts(x, y, batch_size)]
    return torch.cat(wrong).cpu().double().mean().item()


class Spread(NamedTuple):
    """What several runs came to."""

    mean: float  #: of the runs
    std: float  #: of the runs, with n - 1 in its denominator; not of their mean
    n: int  #: how many runs


def spread(values: Iterable[float]) -> Spread:
    """What the errors of several label draws come to; the standard deviation of one run alone is nan."""
    runs = torch.tensor(list(values), dtype=torch.float64)
    if len(runs) == 0:
        raise ValueError("values must hold the result of at least one run; got none.")
    std = runs.std().item() if len(runs) > 1 else math.nan
    return Spread(runs.mean().item(), std, len(runs))


def _parts(x: Tensor, y: Tensor | None, size: int):
    for start in range(0, len(x), size):
        yield x[start : start + size], None if y is None else y[start : start + size]


@contextmanager
def seeded(seed: int, device: torch.device | str = "cpu"):
    """Within the block draws come from this seed; after it the caller's random state is as it was."""
    device = torch.device(device)
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


def reseed(seed: int, device: torch.device) -> None:
    """From here on the CPU and this device, and no other, draw from the seed."""
    torch.default_generator.manual_seed(seed)  # torch.manual_seed would reseed every other device as well
    if device.type == "cuda":
        with torch.cuda.device(device):
            torch.cuda.manual_seed(seed)
    if device.type == "mps":
        torch.mps.manual_seed(seed)
