"""The two distributions a VAE needs. Sums run over the last dimension; everything is in nats."""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

LOG_2PI = math.log(2 * math.pi)


@dataclass(frozen=True)
class Gaussian:
    """A Gaussian with a diagonal covariance, N(mu, diag(sigma^2)).

    mu and log_var = log sigma^2 have shape (..., Z). Raises ValueError if their shapes differ.
    """

    mu: Tensor
    log_var: Tensor

    def __post_init__(self) -> None:
        if self.mu.shape != self.log_var.shape:
            raise ValueError(
                f"mu and log_var must have the same shape; got {tuple(self.mu.shape)} and {tuple(self.log_var.shape)}."
            )

    @classmethod
    def standard(cls, *shape: int, device: torch.device | str = "cpu") -> "Gaussian":
        """The prior N(0, I), with mu and log_var of the given shape."""
        zeros = torch.zeros(*shape, device=device)
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
        per_dimension = -0.5 * (LOG_2PI + self.log_var + (z - self.mu) ** 2 * torch.exp(-self.log_var))
        return per_dimension.sum(-1)

    def kl_per_dimension(self, other: "Gaussian | None" = None) -> Tensor:
        """The terms of KL(self || other), (..., Z); other is N(0, I) by default. Eq. kl-gaussians."""
        if other is None:
            return 0.5 * (self.mu**2 + torch.exp(self.log_var) - 1 - self.log_var)
        ratio = torch.exp(self.log_var - other.log_var)
        distance = (self.mu - other.mu) ** 2 * torch.exp(-other.log_var)
        return 0.5 * (distance + ratio - 1 - self.log_var + other.log_var)

    def kl(self, other: "Gaussian | None" = None) -> Tensor:
        """KL(self || other), (...,); other is N(0, I) by default. Eq. kl-closed; arXiv:1312.6114, app. B."""
        return self.kl_per_dimension(other).sum(-1)

    def entropy(self) -> Tensor:
        """The differential entropy, (...,). Eq. gaussian-entropy."""
        return 0.5 * (1 + LOG_2PI + self.log_var).sum(-1)


@dataclass(frozen=True)
class Bernoulli:
    """Independent bits; logits of shape (..., D), the probability of a 1 is sigmoid(logits)."""

    logits: Tensor

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
        logits, x = torch.broadcast_tensors(self.logits, x)
        return -F.binary_cross_entropy_with_logits(logits, x, reduction="none").sum(-1)

    def entropy(self) -> Tensor:
        """The entropy, (...,)."""
        return (F.softplus(self.logits) - self.logits * self.mean).sum(-1)
