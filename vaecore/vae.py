"""The variational autoencoder: M1 when it is given x alone, a conditional VAE when it is given y as well."""

import math
from itertools import pairwise
from operator import index
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from .checks import check_classes, check_no_bytes, check_unit_interval
from .distributions import Bernoulli, Gaussian

LIKELIHOODS = ("bernoulli", "gaussian")
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


def _rows(net: nn.Module, name: str, inputs: Float[Tensor, "*B I"], width: int) -> Float[Tensor, "*B O"]:
    """The net's outputs. It gets rows, (N, I): convolutions take no further axes."""
    out = net(inputs.reshape(-1, inputs.shape[-1]))
    if out.shape != (n := math.prod(inputs.shape[:-1]), width):
        raise ValueError(
            f"{name} must return ({n}, {width}) for {n} rows of {inputs.shape[-1]}; got {tuple(out.shape)}."
        )
    return out.reshape(*inputs.shape[:-1], width)


class VAE(nn.Module):
    """p(z) = N(0, I), q(z|x) diagonal Gaussian, p(x|z) Bernoulli or Gaussian. arXiv:1406.5298, secs. 2, 3.1.

    d_x pixels, d_z latents. With `likelihood` "gaussian" the decoder gives means, and all pixels share one learned
    variance, exp(log_var). With d_y > 0 both nets also see a condition y: class numbers (B,) int64, or rows of d_y
    numbers, (B, d_y).

    The nets are MLPs of `hidden` units, from the image inwards (the decoder has them reversed), unless you hand in
    others: an `encoder` from (B, d_x + d_y) to (B, 2 d_z), mu beside log sigma^2, and a `decoder` from (B, d_z + d_y)
    to (B, d_x), logits or means.
    """

    def __init__(
        self,
        d_x: int = 784,
        d_z: int = 50,
        hidden: tuple[int, ...] | list[int] = (500, 500),
        d_y: int = 0,
        activation: str = "tanh",
        *,
        likelihood: str = "bernoulli",
        encoder: nn.Module | None = None,
        decoder: nn.Module | None = None,
    ) -> None:
        super().__init__()
        if likelihood not in LIKELIHOODS:
            raise ValueError(f"likelihood must be one of {', '.join(LIKELIHOODS)}; got {likelihood!r}.")
        d_x, d_z, d_y, hidden = index(d_x), index(d_z), index(d_y), [index(units) for units in hidden]
        self.d_x, self.d_z, self.d_y, self.likelihood = d_x, d_z, d_y, likelihood
        self.config: dict[str, Any] = dict(d_x=d_x, d_z=d_z, hidden=hidden, d_y=d_y, activation=activation)
        handed = dict(encoder=encoder, decoder=decoder)
        self.config |= {name: str(net) for name, net in handed.items() if net is not None}
        self.encoder = encoder or mlp(d_x + d_y, hidden, 2 * d_z, activation)
        self.decoder = decoder or mlp(d_z + d_y, hidden[::-1], d_x, activation)
        if likelihood == "gaussian":
            self.config["likelihood"] = likelihood
            self.log_var = nn.Parameter(torch.zeros(()))

    def encode(self, x: Float[Tensor, "*B D"], y: Shaped[Tensor, "..."] | None = None) -> Gaussian:
        """q(z|x), or q(z|x,y): a Gaussian over (*B, Z). Images x of a Bernoulli decoder must lie in [0, 1]."""
        if self.likelihood == "bernoulli":
            check_unit_interval(x)
        out = _rows(self.encoder, "encoder", self._join(x, y), 2 * self.d_z)
        return Gaussian(*out.chunk(2, dim=-1))

    def decode(self, z: Float[Tensor, "*B Z"], y: Shaped[Tensor, "..."] | None = None) -> Bernoulli | Gaussian:
        """p(x|z), or p(x|z,y), over (*B, D)."""
        out = _rows(self.decoder, "decoder", self._join(z, y), self.d_x)
        return Bernoulli(out) if self.likelihood == "bernoulli" else Gaussian(out, self.log_var.expand(out.shape))

    def elbo(self, x: Float[Tensor, "*B D"], y: Shaped[Tensor, "..."] | None = None) -> Float[Tensor, "*B"]:
        """A one-sample estimate of the evidence lower bound, in nats. Eq. elbo; with y, Eq. cvae-elbo."""
        posterior = self.encode(x, y)
        likelihood = self.decode(posterior.rsample(), y)
        return likelihood.log_prob(x) - posterior.kl()

    def generate(self, n: int, y: Shaped[Tensor, "..."] | None = None) -> Bernoulli | Gaussian:
        """p(x|z) for n draws z from the prior, over (n, D). Its mean is what figures show."""
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
