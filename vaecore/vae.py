"""The variational autoencoder: M1 when it is given x alone, a conditional VAE when it is given y as well."""

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .distributions import Bernoulli, Gaussian

ACTIVATIONS = {"relu": nn.ReLU, "softplus": nn.Softplus, "tanh": nn.Tanh}


def mlp(d_in: int, hidden: tuple[int, ...], d_out: int, activation: str) -> nn.Sequential:
    """Linear layers d_in -> hidden -> d_out with the activation between them, and none after the last."""
    sizes = (d_in, *hidden)
    layers: list[nn.Module] = []
    for d_before, d_after in pairwise(sizes):
        layers += [nn.Linear(d_before, d_after), ACTIVATIONS[activation]()]
    return nn.Sequential(*layers, nn.Linear(sizes[-1], d_out))


def at_least_float32(x: Tensor) -> Tensor:
    """What comes out of a bfloat16 net, wide enough for exp, log and a sum over pixels."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


class VAE(nn.Module):
    """p(z) = N(0, I), p(x|z) Bernoulli, q(z|x) diagonal Gaussian, both nets MLPs. arXiv:1406.5298, secs. 2, 3.1.

    d_x pixels, d_z latents, `hidden` units from the image inwards (the decoder has them reversed).
    With d_y > 0 both nets also see a condition y: class numbers (B,) int64, or rows of d_y numbers, (B, d_y).
    """

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
        if d_y < 0:
            raise ValueError(f"d_y must be 0, for no condition, or more; got {d_y}.")
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
        mu, log_var = self.encoder(self._join(x, y)).chunk(2, dim=-1)
        return Gaussian(at_least_float32(mu), at_least_float32(log_var))

    def decode(self, z: Tensor, y: Tensor | None = None) -> Bernoulli:
        """p(x|z), or p(x|z,y): a Bernoulli over (B, D), for latents z of shape (B, Z)."""
        if z.shape[-1] != self.d_z:
            raise ValueError(f"z must have {self.d_z} latents in its last dimension; got shape {tuple(z.shape)}.")
        return Bernoulli(at_least_float32(self.decoder(self._join(z, y))))

    def elbo(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """A one-sample estimate of the evidence lower bound, (B,), in nats. Eq. elbo; with y, Eq. cvae-elbo."""
        posterior = self.encode(x, y)
        likelihood = self.decode(posterior.rsample(), y)
        return likelihood.log_prob(x) - posterior.kl()

    def generate(self, n: int, y: Tensor | None = None) -> Bernoulli:
        """p(x|z) for n draws z from the prior: a Bernoulli over (n, D). Its mean is what figures show."""
        z = torch.randn(n, self.d_z, device=next(self.parameters()).device)
        return self.decode(z, y)

    def _join(self, x: Tensor, y: Tensor | None) -> Tensor:
        """x with the condition's columns behind it, (B, D + d_y)."""
        if y is not None and self.d_y == 0:
            raise ValueError("y was given, but this VAE has d_y=0 and takes no condition.")
        if y is None and self.d_y > 0:
            raise ValueError(f"y is missing: this VAE needs class numbers (B,) or rows of {self.d_y} numbers.")
        if y is None:
            return x
        if y.ndim == 1:
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
        return Bernoulli(at_least_float32(self.net(y)))

    def log_likelihood(self, x: Tensor, y: Tensor) -> Tensor:
        """log p(x|y), exact, (B,), in nats: to be set beside evaluate.log_evidence of a conditional VAE."""
        check_rows(x, self.d_x)
        check_unit_interval(x)
        return self.predict(y).log_prob(x)


def check_architecture(activation: str, hidden: tuple[int, ...], **sizes: int) -> None:
    if activation not in ACTIVATIONS:
        raise ValueError(f"activation must be one of {', '.join(ACTIVATIONS)}; got {activation!r}.")
    if isinstance(hidden, int):
        raise TypeError(f"hidden must be a sequence of layer sizes, such as (500, 500); got {hidden}.")
    for name, size in (*sizes.items(), *(("hidden", h) for h in hidden)):
        if size < 1:
            raise ValueError(f"{name} must be at least 1; got {size}.")


def check_rows(x: Tensor, d_x: int, name: str = "x") -> None:
    if x.ndim < 2 or x.shape[-1] != d_x:
        raise ValueError(f"{name} must hold {d_x} numbers a row, shape (B, {d_x}); got shape {tuple(x.shape)}.")
    if not x.is_floating_point():
        raise TypeError(f"{name} must be floats (see data.binarize); got {x.dtype}.")


def check_unit_interval(x: Tensor) -> None:
    # on CUDA a look at the values would make the host wait at every step
    if x.device.type == "cpu" and x.numel() > 0:
        low, high = (v.item() for v in x.detach().aminmax())
        if not (low >= 0 and high <= 1):
            raise ValueError(f"x must lie in [0, 1] (see data.binarize); got values from {low:g} to {high:g}.")


def check_labels(y: Tensor, n_classes: int, n_images: int) -> None:
    """Raises unless y holds one class number, int64, 0 to n_classes - 1, for each of n_images."""
    if y.dtype != torch.int64:
        raise TypeError(f"y must be class numbers, a tensor of int64; got {y.dtype}.")
    if y.shape != (n_images,):
        raise ValueError(f"y must hold one class number for each of {n_images} images; got shape {tuple(y.shape)}.")
    if y.device.type == "cpu" and y.numel() > 0:
        low, high = (v.item() for v in y.aminmax())
        if low < 0 or high >= n_classes:
            raise ValueError(f"y must hold class numbers from 0 to {n_classes - 1}; got {low} to {high}.")
