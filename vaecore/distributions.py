"""The two distributions a VAE needs. Sums run over the last dimension; everything is in nats."""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from .checks import check_unit_interval

LOG_2PI = math.log(2 * math.pi)


def at_least_float32(x: Tensor) -> Tensor:
    """x, precise enough for exp, log and a sum over pixels: bfloat16 and float16 become float32."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


@dataclass(frozen=True)
class Gaussian:
    """A Gaussian with a diagonal covariance, N(mu, diag(sigma^2)), where log_var = log sigma^2.

    Its numbers are held in float32 or float64.
    """

    mu: Float[Tensor, "*B Z"]
    log_var: Float[Tensor, "*B Z"]

    def __post_init__(self) -> None:
        object.__setattr__(self, "mu", at_least_float32(self.mu))
        object.__setattr__(self, "log_var", at_least_float32(self.log_var))

    @classmethod
    def standard(cls, *shape: int, device: torch.device | str = "cpu") -> "Gaussian":
        """The prior N(0, I), with mu and log_var of the given shape."""
        zeros = torch.zeros(*shape, device=device)
        return cls(zeros, zeros)

    @property
    def mean(self) -> Float[Tensor, "*B Z"]:
        return self.mu

    @property
    def sigma(self) -> Float[Tensor, "*B Z"]:
        """The standard deviation."""
        return torch.exp(0.5 * self.log_var)

    def rsample(self, epsilon: Float[Tensor, "*_ Z"] | None = None) -> Float[Tensor, "*B Z"]:
        """One draw z = mu + sigma * epsilon, with a gradient; epsilon is drawn unless given. Eq. reparameterization."""
        if epsilon is None:
            epsilon = torch.randn_like(self.mu)
        return self.mu + self.sigma * epsilon

    def log_prob(self, z: Float[Tensor, "*B Z"]) -> Float[Tensor, "..."]:
        """log N(z; mu, diag(sigma^2)). Eq. gaussian-log-density."""
        if z.shape[-1:] != self.mu.shape[-1:]:
            raise ValueError(f"z must have the last dimension of mu, {tuple(self.mu.shape)}; got {tuple(z.shape)}.")
        epsilon = (z - self.mu) * torch.exp(-0.5 * self.log_var)  # squared later, or it might underflow
        return -0.5 * (LOG_2PI + self.log_var + epsilon**2).sum(-1)

    def kl_per_dimension(self, other: "Gaussian | None" = None) -> Float[Tensor, "..."]:
        """The terms of KL(self || other), one for each latent; other is N(0, I) by default. Eq. kl-gaussians."""
        mu, log_var = self.mu, self.log_var
        if other is not None:  # shift and scale the two so that other becomes N(0, I)
            mu, log_var = (mu - other.mu) * torch.exp(-0.5 * other.log_var), log_var - other.log_var
        return 0.5 * (mu**2 + torch.expm1(log_var) - log_var)  # expm1: no digit is lost where sigma is near 1

    def kl(self, other: "Gaussian | None" = None) -> Float[Tensor, "..."]:
        """KL(self || other); other is N(0, I) by default. Eq. kl-closed; arXiv:1312.6114, app. B."""
        return self.kl_per_dimension(other).sum(-1)

    def entropy(self) -> Float[Tensor, "*B"]:
        """The differential entropy. Eq. gaussian-entropy."""
        return 0.5 * (1 + LOG_2PI + self.log_var).sum(-1)


@dataclass(frozen=True)
class Bernoulli:
    """Independent bits; the probability of a 1 is sigmoid(logits). The logits are held in float32 or float64."""

    logits: Float[Tensor, "*B D"]

    def __post_init__(self) -> None:
        object.__setattr__(self, "logits", at_least_float32(self.logits))

    @property
    def mean(self) -> Float[Tensor, "*B D"]:
        """The probability of a 1."""
        return torch.sigmoid(self.logits)

    def sample(self) -> Float[Tensor, "*B D"]:
        """One draw of bits, as floats. It carries no gradient."""
        return torch.bernoulli(self.mean)

    def log_prob(self, x: Float[Tensor, "*B D"]) -> Float[Tensor, "..."]:
        """log p(x) for x in [0, 1]. Eq. bernoulli-log-likelihood.

        Minus the binary cross-entropy, summed over pixels; computed from the logits, so log 0 never occurs.
        """
        check_unit_interval(x)
        if x.shape[-1:] != self.logits.shape[-1:]:  # x (B,) and logits (B, 1) would broadcast to (B, B)
            raise ValueError(
                f"x must have the last dimension of logits, {tuple(self.logits.shape)}; got {tuple(x.shape)}."
            )
        logits, x = torch.broadcast_tensors(self.logits, x.to(self.logits.dtype))
        return -F.binary_cross_entropy_with_logits(logits, x, reduction="none").sum(-1)

    def entropy(self) -> Float[Tensor, "*B"]:
        """The entropy."""
        size = self.logits.abs()  # swapping 0 and 1 changes nothing, and with -size no digit is lost
        return (F.softplus(-size) + size * torch.sigmoid(-size)).sum(-1)
