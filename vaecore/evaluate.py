"""How good is a model? Every function of a model takes the images as the model sees them and computes no gradient.

The one exception is `iwae_bound`, which can be trained on. `elbo` and `log_evidence` warn of grey pixels where the
model expects bits: such numbers are not comparable to those of bits.
"""

import itertools
import math
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor

from .checks import check_at_least, check_classes, warn
from .distributions import Gaussian
from .seeds import seeded


@torch.no_grad()
def elbo(
    model,
    x: Float[Tensor, "N D"],
    y: Shaped[Tensor, "N *_"] | None = None,
    *,
    seed: int = 0,
) -> Float[Tensor, "N"]:
    """A one-sample estimate of the ELBO of each image, in nats, repeatable by its seed. Eq. elbo."""
    _warn_of_grey(model, x)
    with seeded(seed, x.device):
        return torch.cat([model.elbo(*batch) for batch in _batches(x, y)])


@torch.no_grad()
def log_evidence(
    model,
    x: Float[Tensor, "N D"],
    y: Shaped[Tensor, "N *_"] | None = None,
    *,
    n_samples: int = 1000,
    seed: int = 0,
    rows: int = 20_000,
) -> Float[Tensor, "N"]:
    """log p(x) of each image or, with y, log p(x|y), in nats, by importance sampling. Eq. latent-importance.

    For an M2, log p(x,y) is this plus log p(y). The mean of this estimate grows with n_samples towards the true value.
    At most `rows` latents are decoded at a time.
    """
    check_at_least(1, n_samples=n_samples, rows=rows)
    _warn_of_grey(model, x)
    with seeded(seed, x.device):
        estimates = [_log_mean_weight(model, *batch, n_samples, rows) for batch in _batches(x, y, min(100, rows))]
    return torch.cat(estimates)


def _log_mean_weight(model, x: Tensor, y: Tensor | None, n_samples: int, rows: int) -> Tensor:
    q, step = _posterior(model, x, y), rows // len(x)
    draws = (_expand(q, min(step, n_samples - k)).rsample() for k in range(0, n_samples, step))
    parts = [log_weights(model, q, z, x, y).logsumexp(0) for z in draws]
    return torch.stack(parts).logsumexp(0) - math.log(n_samples)


def log_weights(
    model,
    q: Gaussian,
    z: Float[Tensor, "K B Z"],
    x: Float[Tensor, "B D"],
    y: Shaped[Tensor, "B *_"] | None = None,
) -> Float[Tensor, "K B"]:
    """log p(x,z)/q(z|x) of K draws z for each image, in nats; with y, all three are given y."""
    prior = Gaussian.standard(z.shape[-1], device=z.device)
    return model.decode(z, y).log_prob(x) + prior.log_prob(z) - q.log_prob(z)


def iwae_bound(
    model, x: Float[Tensor, "B D"], y: Shaped[Tensor, "B *_"] | None = None, *, k: int
) -> Float[Tensor, "B"]:
    """One estimate of the importance-weighted bound on log p(x), or log p(x|y), in nats. Eq. iwae-bound.

    The log of the mean of k weights p(x,z)/q(z|x): the ELBO at k = 1, and on average tighter with every further
    draw. Its gradient is that of its expectation, each z moving with mu and sigma. arXiv:1509.00519.
    """
    check_at_least(1, k=k)
    q = _posterior(model, x, y)
    return log_weights(model, q, _expand(q, k).rsample(), x, y).logsumexp(0) - math.log(k)


def _posterior(model, x: Tensor, y: Tensor | None) -> Gaussian:
    posterior = model.encode(x, y)
    if posterior.mu.ndim != 2:
        raise ValueError("y is missing: without it this model has one q(z|x,y) for every class.")
    return posterior


def _expand(q: Gaussian, k: int) -> Gaussian:
    return Gaussian(q.mu.expand(k, -1, -1), q.log_var.expand(k, -1, -1))


@torch.no_grad()
def kl_per_dimension(model, x: Float[Tensor, "N D"], y: Shaped[Tensor, "N *_"] | None = None) -> Float[Tensor, "Z"]:
    """The mean over the images of each latent's share of KL(q(z|x) || p(z)), in nats."""
    return torch.cat([model.encode(*batch).kl_per_dimension() for batch in _batches(x, y)]).mean(0)


@torch.no_grad()
def active_units(
    model,
    x: Float[Tensor, "N D"],
    y: Shaped[Tensor, "N *_"] | None = None,
    *,
    threshold: float = 0.01,
) -> Bool[Tensor, "Z"]:
    """Which latents the encoder uses: variance over images of q's mean > threshold. arXiv:1509.00519."""
    means = torch.cat([model.encode(*batch).mean for batch in _batches(x, y)])
    return means.var(0) > threshold


@torch.no_grad()
def classification_error(model, x: Float[Tensor, "N D"], y: Shaped[Tensor, "N *_"]) -> float:
    """The share of the images x whose model.classify(x) is not their class y (N,): from 0 to 1."""
    check_classes(y, getattr(getattr(model, "m2", model), "n_classes", math.inf))
    guesses = torch.cat([model.classify(x_batch) for x_batch, _ in _batches(x, y)])
    if guesses.shape != y.shape:  # (N, 1) would be compared with every class
        raise ValueError(
            f"model.classify must return the class of each image, {tuple(y.shape)}; got {tuple(guesses.shape)}."
        )
    return (guesses != y).cpu().double().mean().item()


class Spread(NamedTuple):
    """The mean and spread of several runs."""

    mean: float  #: of the runs
    std: float  #: of the runs, with n - 1 in its denominator; not of their mean
    n: int  #: how many runs


def spread(values: Iterable[float]) -> Spread:
    """The mean and standard deviation of several runs' results; the standard deviation of a single run is nan."""
    runs = torch.tensor(list(values), dtype=torch.float64, device="cpu")
    std = runs.std().item() if len(runs) > 1 else math.nan
    return Spread(runs.mean().item(), std, len(runs))


def _batches(x: Tensor, y: Tensor | None, size: int = 1000) -> Iterator[tuple[Tensor, Tensor | None]]:
    if y is not None and len(y) != len(x):
        raise ValueError(f"y must hold one row for each of the {len(x)} images of x; got {len(y)}.")
    return zip(x.split(size), itertools.repeat(None) if y is None else y.split(size), strict=False)


def _warn_of_grey(model, x: Tensor) -> None:
    if getattr(model, "likelihood", "") == "bernoulli" and ((x != 0) & (x != 1)).any():
        warn("x has grey pixels but the model expects 0 or 1: call data.binarize first, or no number is comparable.")
