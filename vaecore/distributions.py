"""The two distributions a VAE needs. Sums run over the last dimension; everything is in nats."""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from .checks import check_at_least, check_device, check_fits, check_floats, check_unit_interval, typed

LOG_2PI = math.log(2 * math.pi)


def at_least_float32(x: Tensor) -> Tensor:
    """x, wide enough for exp, log and a sum over pixels: bfloat16 and float16 become float32."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


@typed
@dataclass(frozen=True)
class Gaussian:
    """A Gaussian with a diagonal covariance, N(mu, diag(sigma^2)).

    mu and log_var = log sigma^2 have shape (..., Z), and are held in float32 or float64. Raises ValueError if their
    shapes differ.
    """

    mu: Tensor
    log_var: Tensor

    def __post_init__(self) -> None:
        check_floats(mu=self.mu, log_var=self.log_var)
        if self.mu.shape != self.log_var.shape:
            raise ValueError(
                f"mu and log_var must have the same shape; got {tuple(self.mu.shape)} and {tuple(self.log_var.shape)}."
            )
        if self.mu.device != self.log_var.device:
            raise ValueError(f"mu and log_var must be on one device; got {self.mu.device} and {self.log_var.device}.")
        object.__setattr__(self, "mu", at_least_float32(self.mu))
        object.__setattr__(self, "log_var", at_least_float32(self.log_var))

    @classmethod
    def standard(cls, *shape: int, device: torch.device | str = "cpu") -> "Gaussian":
        """The prior N(0, I), with mu and log_var of the given shape."""
        check_at_least(0, **{f"shape[{i}]": size for i, size in enumerate(shape)})
        zeros = torch.zeros(*shape, device=check_device(device))
        return cls(zeros, zeros)

    @property
    def mean(self) -> Tensor:
        return self.mu

    @property
    def sigma(self) -> Tensor:
        """The standard deviation, (..., Z)."""
        return torch.exp(0.5 * self.log_var)

    def rsample(self) -> Tensor:
        """One draw z = mu + sigma * epsilon, (..., Z), with a gradient. Eq. reparameterization."""
        epsilon = torch.randn_like(self.mu)
        return self.mu + self.sigma * epsilon

    def log_prob(self, z: Tensor) -> Tensor:
        """log N(z; mu, diag(sigma^2)), (...,). Eq. gaussian-log-density."""
        check_fits("z", z, self.mu)
        epsilon = (z - self.mu) * torch.exp(-0.5 * self.log_var)  # squared after it, or the square might vanish
        return -0.5 * (LOG_2PI + self.log_var + epsilon**2).sum(-1)

    def kl_per_dimension(self, other: "Gaussian | None" = None) -> Tensor:
        """The terms of KL(self || other), (..., Z); other is N(0, I) by default. Eq. kl-gaussians."""
        mu, log_var = self.mu, self.log_var
        if other is not None:  # both are moved and stretched, so that other becomes N(0, I)
            check_fits("other", other.mu, mu)
            mu, log_var = (mu - other.mu) * torch.exp(-0.5 * other.log_var), log_var - other.log_var
        return 0.5 * (mu**2 + torch.expm1(log_var) - log_var)  # expm1: no digit is lost where sigma is near 1

    def kl(self, other: "Gaussian | None" = None) -> Tensor:
        """KL(self || other), (...,); other is N(0, I) by default. Eq. kl-closed; arXiv:1312.6114, app. B."""
        return self.kl_per_dimension(other).sum(-1)

    def entropy(self) -> Tensor:
        """The differential entropy, (...,). Eq. gaussian-entropy."""
        return 0.5 * (1 + LOG_2PI + self.log_var).sum(-1)


@typed
@dataclass(frozen=True)
class Bernoulli:
    """Independent bits; the probability of a 1 is sigmoid(logits). They have shape (..., D), in float32 or float64."""

    logits: Tensor

    def __post_init__(self) -> None:
        check_floats(logits=self.logits)
        object.__setattr__(self, "logits", at_least_float32(self.logits))

    @property
    def mean(self) -> Tensor:
        """The probability of a 1, (..., D)."""
        return torch.sigmoid(self.logits)

    def sample(self) -> Tensor:
        """One draw of bits, float (..., D). It carries no gradient."""
        return torch.bernoulli(self.mean)

    def log_prob(self, x: Tensor) -> Tensor:
        """log p(x), (...,), for x of shape (..., D) in [0, 1]. Eq. bernoulli-log-likelihood.

        Minus the binary cross-entropy, summed over pixels; computed from the logits, it never meets log 0.
        """
        check_fits("x", x, self.logits)
        check_unit_interval(x)
        logits, x = torch.broadcast_tensors(self.logits, x.to(self.logits.dtype))
        return -F.binary_cross_entropy_with_logits(logits, x, reduction="none").sum(-1)

    def entropy(self) -> Tensor:
        """The entropy, (...,)."""
        size = self.logits.abs()  # swapping 0 and 1 changes nothing, and so no digit is lost
        return (F.softplus(-size) + size * torch.sigmoid(-size)).sum(-1)
