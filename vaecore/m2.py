"""M2, where the class y is a latent that is known for some images; and M1+M2, an M2 on the features of a frozen VAE."""

import math
from operator import index
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

from .checks import check_classes, check_unit_interval
from .distributions import Bernoulli, Gaussian, at_least_float32
from .vae import LIKELIHOODS, VAE, mlp


class LabelledMLP(nn.Module):
    """An MLP of (a, y) whose first layer is W a + b, computed once, plus the column of class y."""

    def __init__(self, d_a: int, n_classes: int, hidden: list[int], d_out: int, activation: str) -> None:
        super().__init__()
        net = mlp(d_a, hidden, d_out, activation)
        self.first, self.rest = net[0], net[1:]
        # zero, since random columns let the classes stand for styles before the labels have said what they are
        self.columns = nn.Parameter(torch.zeros(n_classes, [*hidden, d_out][0]))

    def forward(self, a: Float[Tensor, "*B A"], y: Int64[Tensor, "B"] | None) -> Float[Tensor, "..."]:
        """(*B, d_out) for classes y (B,); for every class, (K, B, d_out), where y is None."""
        a = a.to(self.columns.dtype)
        if y is None:
            return self.rest(self.first(a) + self.columns[:, None])
        check_classes(y, len(self.columns))
        return self.rest(self.first(a) + self.columns[y])


class M2(nn.Module):
    """p(y) uniform, p(z) = N(0, I), p(x|y,z); q(y|x) categorical, q(z|x,y) diagonal Gaussian.

    `likelihood` says what x is: "bernoulli", pixels in [0, 1], or "gaussian", numbers with a learned log-variance.
    All three nets have the `hidden` units, from the image inwards. Classes y are int64. arXiv:1406.5298, secs. 2,
    3.1.2.
    """

    def __init__(
        self,
        d_x: int = 784,
        d_z: int = 50,
        hidden: tuple[int, ...] | list[int] = (500,),
        n_classes: int = 10,
        likelihood: str = "bernoulli",
        activation: str = "softplus",
    ) -> None:
        super().__init__()
        if likelihood not in LIKELIHOODS:
            raise ValueError(f"likelihood must be one of {', '.join(LIKELIHOODS)}; got {likelihood!r}.")
        d_x, d_z, n_classes, hidden = index(d_x), index(d_z), index(n_classes), [index(units) for units in hidden]
        self.d_x, self.d_z, self.n_classes, self.likelihood = d_x, d_z, n_classes, likelihood
        self.config = dict(d_x=d_x, d_z=d_z, hidden=hidden, n_classes=n_classes)
        self.config |= dict(likelihood=likelihood, activation=activation)
        d_out = d_x if likelihood == "bernoulli" else 2 * d_x
        self.classifier = mlp(d_x, hidden, n_classes, activation)
        self.encoder = LabelledMLP(d_x, n_classes, hidden, 2 * d_z, activation)
        self.decoder = LabelledMLP(d_z, n_classes, hidden[::-1], d_out, activation)

    def log_q_y(self, x: Float[Tensor, "B D"]) -> Float[Tensor, "B K"]:
        """log q(y|x) of every class."""
        x = self._pixels(x).to(self.encoder.columns.dtype)
        return F.log_softmax(at_least_float32(self.classifier(x)), dim=-1)

    def encode(self, x: Float[Tensor, "B D"], y: Int64[Tensor, "B"] | None = None) -> Gaussian:
        """q(z|x,y): a Gaussian over (B, Z) or, without y, over (K, B, Z), one for every class."""
        return Gaussian(*self.encoder(self._pixels(x), y).chunk(2, dim=-1))

    def decode(self, z: Float[Tensor, "*B Z"], y: Int64[Tensor, "B"] | None = None) -> Bernoulli | Gaussian:
        """p(x|y,z): over (*B, D) or, without y, over (K, B, D), for every class."""
        out = self.decoder(z, y)
        return Bernoulli(out) if self.likelihood == "bernoulli" else Gaussian(*out.chunk(2, dim=-1))

    def labelled_bound(
        self,
        x: Float[Tensor, "B D"],
        y: Int64[Tensor, "B"] | None = None,
        epsilon: Float[Tensor, "B Z"] | None = None,
    ) -> Float[Tensor, "*K B"]:
        """A one-sample estimate of a lower bound on log p(x,y), in nats: -L(x,y). Eq. m2-labelled; sec. 3.1.2.

        Without y, for every class, (K, B). The noise of z, epsilon, is drawn unless given. All classes of an image
        share it: in the differences between classes, from which q(y|x) learns, most of it then cancels.
        """
        posterior = self.encode(x, y)
        if epsilon is None:
            epsilon = torch.randn(len(x), self.d_z, device=x.device)
        likelihood = self.decode(posterior.rsample(epsilon), y)
        log_p_y = -math.log(self.n_classes)
        return likelihood.log_prob(x) + log_p_y - posterior.kl()

    def unlabelled_bound(
        self, x: Float[Tensor, "B D"], log_q_y: Float[Tensor, "B K"] | None = None
    ) -> Float[Tensor, "B"]:
        """A one-sample estimate of a lower bound on log p(x), in nats: -U(x). Eq. m2-unlabelled; sec. 3.1.2.

        The sum over the classes is exact. log_q_y is self.log_q_y(x) unless another q(y|x) is given.
        """
        log_q_y = (self.log_q_y(x) if log_q_y is None else log_q_y).T  # (K, B)
        return (log_q_y.exp() * (self.labelled_bound(x) - log_q_y)).sum(0)

    def classify(self, x: Float[Tensor, "B D"]) -> Int64[Tensor, "B"]:
        """The most probable class under q(y|x)."""
        return self.log_q_y(x).argmax(-1)

    def generate(self, n: int, y: Int64[Tensor, "n"] | None = None) -> Bernoulli | Gaussian:
        """p(x|y,z) for n draws of z from its prior, over (n, D), of classes y or, without y, drawn classes."""
        device = self.encoder.columns.device
        if y is None:
            y = torch.randint(self.n_classes, (n,), device=device)
        if len(y) != n:
            raise ValueError(f"y must hold a class for each of the n={n} draws; got {len(y)}.")
        return self.decode(torch.randn(n, self.d_z, device=device), y)

    def analogies(self, x: Float[Tensor, "B D"], y: Int64[Tensor, "B"] | None = None) -> Float[Tensor, "B K D"]:
        """The mean of z under q(z|x,y), decoded as every class. Without y, it is classify(x)."""
        z = self.encode(x, self.classify(x) if y is None else y).mean
        return self.decode(z).mean.transpose(0, 1)

    def _pixels(self, x: Tensor) -> Tensor:
        if x.ndim != 2:  # a single image would be taken for a row of each class
            raise ValueError(f"x must be images, (B, {self.d_x}); got shape {tuple(x.shape)}.")
        if self.likelihood == "bernoulli":
            check_unit_interval(x)
        return x


class M1M2(nn.Module):
    """p(y) p(z2) p(z1|y,z2) p(x|z1): an M2 with Gaussian inputs on the features z1 of an M1. arXiv:1406.5298, sec. 2.

    `active` names the latents of m1 that m2 sees (evaluate.active_units). m1 is frozen here; m2 is trained on
    features(x).rsample(), drawn again at each visit.
    """

    active: Tensor

    def __init__(self, m1: VAE, m2: M2, active: Bool[Tensor, "Z1"]) -> None:
        super().__init__()
        if len(active) != m1.d_z:
            raise ValueError(f"active must say of each of m1's {m1.d_z} latents whether m2 sees it; got {len(active)}.")
        if (m2.likelihood, m2.d_x) != ("gaussian", active.sum()):
            raise ValueError(f"m2 must have likelihood 'gaussian' and d_x={active.sum()}, got {m2.config}.")
        self.m1, self.m2 = m1.requires_grad_(False), m2
        self.config = dict(m1=m1.config, m2=m2.config, active=active.tolist())
        self.register_buffer("active", active.nonzero()[:, 0])

    @classmethod
    def from_config(cls, m1: dict, m2: dict, active: list[bool]) -> "M1M2":
        """An untrained model of the sizes in another's `config`."""
        return cls(VAE(**m1), M2(**m2), torch.tensor(active, dtype=torch.bool))

    def features(self, x: Float[Tensor, "*B D"]) -> Gaussian:
        """q(z1|x) of the active latents, over (*B, A): m2 learns from its draws, its mean is classified."""
        posterior = self.m1.encode(x)
        return Gaussian(posterior.mu[..., self.active], posterior.log_var[..., self.active])

    def decode(self, z1: Float[Tensor, "*B A"]) -> Bernoulli | Gaussian:
        """p(x|z1) for active latents; the others, which m1 does not use, are 0."""
        latents = z1.new_zeros(*z1.shape[:-1], self.m1.d_z)
        latents[..., self.active] = z1
        return self.m1.decode(latents)

    def classify(self, x: Float[Tensor, "B D"]) -> Int64[Tensor, "B"]:
        """The most probable class under q(y|z1), at the mean of z1."""
        return self.m2.classify(self.features(x).mean)

    def generate(self, n: int, y: Int64[Tensor, "n"] | None = None) -> Bernoulli | Gaussian:
        """p(x|z1) for n draws of z1 from p(z1|y,z2), over (n, D), of classes y or, without y, drawn classes."""
        p_z1: Any = self.m2.generate(n, y)  # a Gaussian
        return self.decode(p_z1.rsample())

    def analogies(self, x: Float[Tensor, "B D"], y: Int64[Tensor, "B"] | None = None) -> Float[Tensor, "B K D"]:
        """The mean of z2 at the mean of z1, decoded as every class. Without y, it is classify(x)."""
        return self.decode(self.m2.analogies(self.features(x).mean, y)).mean
