"""The variational autoencoder: M1 when it is given x alone, a conditional VAE when it is given y as well."""

from itertools import pairwise
from operator import index

import torch
import torch.nn.functional as F
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from .checks import check_classes, check_no_bytes, check_unit_interval
from .distributions import Bernoulli, Gaussian

ACTIVATIONS = {"relu": nn.ReLU, "softplus": nn.Softplus, "tanh": nn.Tanh}


def mlp(d_in: int, hidden: tuple[int, ...] | list[int], d_out: int, activation: str) -> nn.Sequential:
    """Linear layers d_in -> hidden -> d_out with the activation between them, and none after the last."""
    if activation not in ACTIVATIONS:
        raise ValueError(f"activation must be one of {', '.join(ACTIVATIONS)}; got {activation!r}.")
    sizes = (d_in, *hidden)
    layers: list[nn.Module] = []
    for d_before, d_after in pairwise(sizes):
        layers += [nn.Linear(d_before, d_after), ACTIVATIONS[activation]()]
    return nn.Sequential(*layers, nn.Linear(sizes[-1], d_out))


class VAE(nn.Module):
    """p(z) = N(0, I), p(x|z) Bernoulli, q(z|x) diagonal Gaussian, both nets MLPs. arXiv:1406.5298, secs. 2, 3.1.

    d_x pixels, d_z latents, `hidden` units from the image inwards (the decoder has them reversed).
    With d_y > 0 both nets also see a condition y: class numbers (B,) int64, or rows of d_y numbers, (B, d_y).
    """

    likelihood = "bernoulli"

    def __init__(
        self,
        d_x: int = 784,
        d_z: int = 50,
        hidden: tuple[int, ...] | list[int] = (500, 500),
        d_y: int = 0,
        activation: str = "tanh",
    ) -> None:
        super().__init__()
        d_x, d_z, d_y, hidden = index(d_x), index(d_z), index(d_y), [index(units) for units in hidden]
        self.d_x, self.d_z, self.d_y = d_x, d_z, d_y
        self.config = dict(d_x=d_x, d_z=d_z, hidden=hidden, d_y=d_y, activation=activation)
        self.encoder = mlp(d_x + d_y, hidden, 2 * d_z, activation)
        self.decoder = mlp(d_z + d_y, hidden[::-1], d_x, activation)

    def encode(self, x: Float[Tensor, "*B D"], y: Shaped[Tensor, "..."] | None = None) -> Gaussian:
        """q(z|x), or q(z|x,y): a Gaussian over (*B, Z), for images x in [0, 1]."""
        check_unit_interval(x)
        return Gaussian(*self.encoder(self._join(x, y)).chunk(2, dim=-1))

    def decode(self, z: Float[Tensor, "*B Z"], y: Shaped[Tensor, "..."] | None = None) -> Bernoulli:
        """p(x|z), or p(x|z,y): a Bernoulli over (*B, D)."""
        return Bernoulli(self.decoder(self._join(z, y)))

    def elbo(self, x: Float[Tensor, "*B D"], y: Shaped[Tensor, "..."] | None = None) -> Float[Tensor, "*B"]:
        """A one-sample estimate of the evidence lower bound, in nats. Eq. elbo; with y, Eq. cvae-elbo."""
        posterior = self.encode(x, y)
        likelihood = self.decode(posterior.rsample(), y)
        return likelihood.log_prob(x) - posterior.kl()

    def generate(self, n: int, y: Shaped[Tensor, "..."] | None = None) -> Bernoulli:
        """p(x|z) for n draws z from the prior: a Bernoulli over (n, D). Its mean is what figures show."""
        z = torch.randn(n, self.d_z, device=next(self.parameters()).device)
        return self.decode(z, y)

    def _join(self, x: Tensor, y: Tensor | None) -> Tensor:
        """x, or z, in the type of the weights, with the condition's columns appended, (*B, D + d_y)."""
        x = x.to(next(self.parameters()).dtype)
        if (y is None) != (self.d_y == 0):
            raise ValueError(f"y must be {'given' if y is None else 'left out'}: this VAE has d_y={self.d_y}.")
        if y is None:
            return x
        if y.ndim == 1 and not y.is_floating_point() and self.d_y > 1:  # a single number is no class
            check_classes(y, self.d_y)
            y = F.one_hot(y, self.d_y)
        check_no_bytes(y)
        if y.shape[1:].numel() != self.d_y:
            wanted = f"class numbers (B,), int64, or rows of {self.d_y} numbers"
            raise ValueError(f"y must be {wanted}; got {y.dtype}, {tuple(y.shape)}.")
        y = y.to(x.dtype).reshape(len(y), -1)  # one row for each image, or one for all
        return torch.cat([x, y.expand(*x.shape[:-1], -1)], dim=-1)


class Regressor(nn.Module):
    """p(x|y) of independent bits: a conditional VAE's decoder without its z. arXiv:1606.05908, sec. 4.2.

    d_x pixels are predicted from a condition of d_y numbers; `hidden` as in the VAE, from the image inwards.
    """

    def __init__(
        self, d_x: int, d_y: int, hidden: tuple[int, ...] | list[int] = (500, 500), activation: str = "tanh"
    ) -> None:
        super().__init__()
        d_x, d_y, hidden = index(d_x), index(d_y), [index(units) for units in hidden]
        self.d_x, self.d_y = d_x, d_y
        self.config = dict(d_x=d_x, d_y=d_y, hidden=hidden, activation=activation)
        self.net = mlp(d_y, hidden[::-1], d_x, activation)

    def predict(self, y: Float[Tensor, "*B Y"]) -> Bernoulli:
        """p(x|y): a Bernoulli over (*B, D)."""
        check_no_bytes(y)
        if y.shape[-1:] != (self.d_y,):
            raise ValueError(f"y must be rows of {self.d_y} numbers; got shape {tuple(y.shape)}.")
        return Bernoulli(self.net(y.to(next(self.parameters()).dtype)))

    def log_likelihood(self, x: Float[Tensor, "*B D"], y: Float[Tensor, "*B Y"]) -> Float[Tensor, "*B"]:
        """log p(x|y), exact, in nats; comparable to evaluate.log_evidence of a conditional VAE."""
        return self.predict(y).log_prob(x)
