"""The variational autoencoder: M1 when it is given x alone, a conditional VAE when it is given y as well."""

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .checks import check_at_least, check_beside, check_labels, check_rows, check_unit_interval, typed
from .distributions import Bernoulli, Gaussian

ACTIVATIONS = {"relu": nn.ReLU, "softplus": nn.Softplus, "tanh": nn.Tanh}


@typed
def mlp(d_in: int, hidden: tuple[int, ...], d_out: int, activation: str) -> nn.Sequential:
    """Linear layers d_in -> hidden -> d_out with the activation between them, and none after the last."""
    check_architecture(activation, hidden, d_in=d_in, d_out=d_out)
    sizes = (d_in, *hidden)
    layers: list[nn.Module] = []
    for d_before, d_after in pairwise(sizes):
        layers += [nn.Linear(d_before, d_after), ACTIVATIONS[activation]()]
    return nn.Sequential(*layers, nn.Linear(sizes[-1], d_out))


@typed
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
        hidden: tuple[int, ...] = (500, 500),
        d_y: int = 0,
        activation: str = "tanh",
    ) -> None:
        super().__init__()
        check_architecture(activation, hidden, d_x=d_x, d_z=d_z)
        check_at_least(0, d_y=d_y)
        self.d_x, self.d_z, self.d_y = d_x, d_z, d_y
        self.config = dict(d_x=d_x, d_z=d_z, hidden=list(hidden), d_y=d_y, activation=activation)
        self.encoder = mlp(d_x + d_y, tuple(hidden), 2 * d_z, activation)
        self.decoder = mlp(d_z + d_y, tuple(reversed(hidden)), d_x, activation)

    def encode(self, x: Tensor, y: Tensor | None = None) -> Gaussian:
        """q(z|x), or q(z|x,y): a Gaussian over (B, Z), for images x of shape (B, D) in [0, 1].

        Raises ValueError or TypeError for another shape or type and, on the CPU, for values outside [0, 1].
        """
        check_rows(x, self.d_x)
        check_unit_interval(x)
        return Gaussian(*self.encoder(self._join("x", x, y)).chunk(2, dim=-1))

    def decode(self, z: Tensor, y: Tensor | None = None) -> Bernoulli:
        """p(x|z), or p(x|z,y): a Bernoulli over (B, D), for latents z of shape (B, Z)."""
        check_rows(z, self.d_z, "z")
        return Bernoulli(self.decoder(self._join("z", z, y)))

    def elbo(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """A one-sample estimate of the evidence lower bound, (B,), in nats. Eq. elbo; with y, Eq. cvae-elbo."""
        posterior = self.encode(x, y)
        likelihood = self.decode(posterior.rsample(), y)
        return likelihood.log_prob(x) - posterior.kl()

    def generate(self, n: int, y: Tensor | None = None) -> Bernoulli:
        """p(x|z) for n draws z from the prior: a Bernoulli over (n, D). Its mean is what figures show."""
        check_at_least(1, n=n)
        z = torch.randn(n, self.d_z, device=next(self.parameters()).device)
        return self.decode(z, y)

    def _join(self, name: str, x: Tensor, y: Tensor | None) -> Tensor:
        """x, or z, as the nets take it, with the condition's columns behind it, (B, D + d_y)."""
        x = for_net(self.encoder, name, x)
        if y is not None and self.d_y == 0:
            raise ValueError("y was given, but this VAE has d_y=0 and takes no condition.")
        if y is None and self.d_y > 0:
            raise ValueError(f"y is missing: this VAE needs class numbers (B,) or rows of {self.d_y} numbers.")
        if y is None:
            return x
        check_beside("y", y, x)
        if y.ndim < 2:
            check_labels(y, self.d_y, x.shape[-2])
            y = F.one_hot(y, self.d_y)
        elif not y.is_floating_point():
            raise TypeError(f"y must be class numbers (B,), or rows of floats (see data.binarize); got {y.dtype} rows.")
        elif y.shape != (x.shape[-2], self.d_y):
            raise ValueError(
                f"y must hold {self.d_y} numbers for each of {x.shape[-2]} images, shape ({x.shape[-2]}, {self.d_y}); "
                f"got {tuple(y.shape)}."
            )
        return torch.cat([x, y.to(x.dtype).expand(*x.shape[:-1], self.d_y)], dim=-1)


@typed
class Regressor(nn.Module):
    """p(x|y) of independent bits: a conditional VAE's decoder without its z. arXiv:1606.05908, sec. 4.2.

    d_x pixels are predicted from a condition of d_y numbers; `hidden` as in the VAE, from the image inwards.
    """

    def __init__(self, d_x: int, d_y: int, hidden: tuple[int, ...] = (500, 500), activation: str = "tanh") -> None:
        super().__init__()
        check_architecture(activation, hidden, d_x=d_x, d_y=d_y)
        self.d_x, self.d_y = d_x, d_y
        self.config = dict(d_x=d_x, d_y=d_y, hidden=list(hidden), activation=activation)
        self.net = mlp(d_y, tuple(reversed(hidden)), d_x, activation)

    def predict(self, y: Tensor) -> Bernoulli:
        """p(x|y): a Bernoulli over (B, D), for conditions y of shape (B, d_y)."""
        check_rows(y, self.d_y, "y")
        return Bernoulli(self.net(for_net(self.net, "y", y)))

    def log_likelihood(self, x: Tensor, y: Tensor) -> Tensor:
        """log p(x|y), exact, (B,), in nats: to be set beside evaluate.log_evidence of a conditional VAE."""
        check_rows(x, self.d_x)
        check_unit_interval(x)
        likelihood = self.predict(y)
        if x.shape[:-1] != y.shape[:-1]:
            raise ValueError(f"y must have a row for each of the {x.shape[-2]} rows of x; got shape {tuple(y.shape)}.")
        return likelihood.log_prob(x)


def check_architecture(activation: str, hidden: tuple[int, ...], **sizes: int) -> None:
    if activation not in ACTIVATIONS:
        raise ValueError(f"activation must be one of {', '.join(ACTIVATIONS)}; got {activation!r}.")
    for name, size in (*sizes.items(), *(("hidden", h) for h in hidden)):
        check_at_least(1, **{name: size})


def for_net(net: nn.Module, name: str, x: Tensor) -> Tensor:
    """x in the type of a net's weights; it must be on their device."""
    weight = next(net.parameters())
    if weight.dtype == torch.float16:
        raise TypeError(
            "the model must have weights of float32, float64 or bfloat16; got float16, which ends at 65504."
        )
    check_beside(name, x, weight)
    return x.to(weight.dtype)
