"""M2, where the class y is a latent that some images come with; and M1+M2, an M2 on the features of a frozen VAE."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .checks import check_at_least, check_beside, check_labels, check_rows, check_unit_interval, check_values, typed
from .distributions import Bernoulli, Gaussian, at_least_float32
from .vae import VAE, check_architecture, for_net, mlp

LIKELIHOODS = ("bernoulli", "gaussian")


@typed
class LabelledMLP(nn.Module):
    """An MLP of (a, y) whose first layer is W a + b, computed once, plus the column of class y."""

    def __init__(self, d_a: int, n_classes: int, hidden: tuple[int, ...], d_out: int, activation: str) -> None:
        super().__init__()
        check_architecture(activation, hidden, d_a=d_a, n_classes=n_classes)
        net = mlp(d_a, hidden, d_out, activation)
        self.first, self.rest = net[0], net[1:]
        # zero, since random columns let the classes stand for styles before the labels have said what they are
        self.columns = nn.Parameter(torch.zeros(n_classes, net[0].out_features))

    def forward(self, a: Tensor, y: Tensor | None) -> Tensor:
        """(..., B, d_out) for classes y (B,); for every class, (K, B, d_out), where y is None."""
        return self.rest(self.first(a) + (self.columns[:, None] if y is None else self.columns[y]))


@typed
class M2(nn.Module):
    """p(y) uniform, p(z) = N(0, I), p(x|y,z); q(y|x) categorical, q(z|x,y) diagonal Gaussian.

    `likelihood` says what x is: "bernoulli", pixels in [0, 1], or "gaussian", numbers with a learned log-variance.
    All three nets have the `hidden` units, from the image inwards. Classes y are int64, (B,). arXiv:1406.5298, secs. 2,
    3.1.2.
    """

    def __init__(
        self,
        d_x: int = 784,
        d_z: int = 50,
        hidden: tuple[int, ...] = (500,),
        n_classes: int = 10,
        likelihood: str = "bernoulli",
        activation: str = "softplus",
    ) -> None:
        super().__init__()
        if likelihood not in LIKELIHOODS:
            raise ValueError(f"likelihood must be one of {', '.join(LIKELIHOODS)}; got {likelihood!r}.")
        check_architecture(activation, hidden, d_x=d_x, d_z=d_z, n_classes=n_classes)
        self.d_x, self.d_z, self.n_classes, self.likelihood = d_x, d_z, n_classes, likelihood
        self.config = dict(d_x=d_x, d_z=d_z, hidden=list(hidden), n_classes=n_classes)
        self.config |= dict(likelihood=likelihood, activation=activation)
        d_out = d_x if likelihood == "bernoulli" else 2 * d_x
        self.classifier = mlp(d_x, tuple(hidden), n_classes, activation)
        self.encoder = LabelledMLP(d_x, n_classes, tuple(hidden), 2 * d_z, activation)
        self.decoder = LabelledMLP(d_z, n_classes, tuple(reversed(hidden)), d_out, activation)

    def log_q_y(self, x: Tensor) -> Tensor:
        """log q(y|x) of every class, (B, K)."""
        return F.log_softmax(at_least_float32(self.classifier(self._checked(x))), dim=-1)

    def encode(self, x: Tensor, y: Tensor | None = None) -> Gaussian:
        """q(z|x,y): a Gaussian over (B, Z), or over (K, B, Z), one for every class, without y."""
        return Gaussian(*self.encoder(self._checked(x, y), y).chunk(2, dim=-1))

    def decode(self, z: Tensor, y: Tensor | None = None) -> Bernoulli | Gaussian:
        """p(x|y,z) for latents z (..., B, Z): over (..., B, D), or over (K, B, D), for every class, without y."""
        check_rows(z, self.d_z, "z")
        if y is not None:
            check_labels(y, self.n_classes, z.shape[-2])
            check_beside("y", y, self.decoder.columns)
        out = self.decoder(for_net(self.decoder, "z", z), y)
        return Bernoulli(out) if self.likelihood == "bernoulli" else Gaussian(*out.chunk(2, dim=-1))

    def labelled_bound(self, x: Tensor, y: Tensor) -> Tensor:
        """A one-sample estimate of a lower bound on log p(x,y), (B,), in nats: -L(x,y). Eq. m2-labelled; sec. 3.1.2."""
        return self._bound(x, y)

    def unlabelled_bound(self, x: Tensor) -> Tensor:
        """A one-sample estimate of a lower bound on log p(x), (B,), in nats: -U(x). Eq. m2-unlabelled; sec. 3.1.2.

        The sum over the classes is exact; each class has its own draw of z.
        """
        log_q_y = self.log_q_y(x).T  # (K, B)
        return (log_q_y.exp() * (self._bound(x, y=None) - log_q_y)).sum(0)

    def _bound(self, x: Tensor, y: Tensor | None) -> Tensor:
        posterior = self.encode(x, y)
        likelihood = self.decode(posterior.rsample(), y)
        log_p_y = -math.log(self.n_classes)
        return likelihood.log_prob(x) + log_p_y - posterior.kl()

    def classify(self, x: Tensor) -> Tensor:
        """The likeliest class under q(y|x), (B,)."""
        return self.log_q_y(x).argmax(-1)

    def generate(self, n: int, y: Tensor | None = None) -> Bernoulli | Gaussian:
        """p(x|y,z) for n draws of z from its prior, over (n, D), of classes y (n,) or, without y, drawn classes."""
        check_at_least(1, n=n)
        device = next(self.parameters()).device
        if y is None:
            y = torch.randint(self.n_classes, (n,), device=device)
        return self.decode(torch.randn(n, self.d_z, device=device), y)

    def analogies(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """The mean of z under q(z|x,y), decoded as every class: means (B, K, D). Without y, it is classify(x)."""
        z = self.encode(x, self.classify(x) if y is None else y).mean
        return self.decode(z).mean.transpose(0, 1)

    def _checked(self, x: Tensor, y: Tensor | None = None, names: tuple[str, str] = ("x", "y")) -> Tensor:
        """x as the nets take it, (B, D), if it and the classes y, (B,), are what they must be."""
        check_rows(x, self.d_x, names[0])
        if x.ndim != 2:  # an axis before the rows is that of the classes
            raise ValueError(f"{names[0]} must have shape (B, {self.d_x}); got {tuple(x.shape)}.")
        if self.likelihood == "bernoulli":
            check_unit_interval(x, names[0])
        if y is not None:
            check_labels(y, self.n_classes, x.shape[-2], names[1])
            check_beside(names[1], y, self.encoder.columns)
        return for_net(self.encoder, names[0], x)


@typed
def semi_supervised_loss(
    model: M2, x_l: Tensor, y_l: Tensor, x_u: Tensor, *, n_labelled: int, n_unlabelled: int, alpha: float = 0.1
) -> Tensor:
    """J^alpha / N, a scalar, in nats per image: all that M2 minimises, N = n_labelled + n_unlabelled. Eq. m2-objective.

    Each batch may have any size: its mean, times the number of such images there are, stands for their full sum.
    The last term is alpha times the mean over the labelled images of -log q(y|x); the paper's alpha is N times ours.
    """
    x_l, x_u = model._checked(x_l, y_l, ("x_l", "y_l")), model._checked(x_u, names=("x_u", "y_u"))
    if min(n_labelled, n_unlabelled, len(x_l), len(x_u)) < 1:
        sizes = f"n_labelled={n_labelled}, n_unlabelled={n_unlabelled} and batches of {len(x_l)} and {len(x_u)}"
        raise ValueError(f"the loss needs labelled and unlabelled images; got {sizes}.")
    if not isinstance(alpha, Tensor):
        check_at_least(0, alpha=alpha)
    labelled_sum = n_labelled * model.labelled_bound(x_l, y_l).mean()
    unlabelled_sum = n_unlabelled * model.unlabelled_bound(x_u).mean()
    log_q_y = model.log_q_y(x_l).gather(1, y_l[:, None])  # of the true classes, (B, 1)
    return -(labelled_sum + unlabelled_sum) / (n_labelled + n_unlabelled) - alpha * log_q_y.mean()


@typed
class M1M2(nn.Module):
    """p(y) p(z2) p(z1|y,z2) p(x|z1): an M2 with Gaussian inputs on the features z1 of an M1. arXiv:1406.5298, sec. 2.

    `active` (Z1,), bool, names the latents of m1 that m2 sees (evaluate.active_units). m1 is frozen here; m2 is
    trained on features(x).rsample(), drawn anew at each visit. Raises ValueError where the sizes do not fit.
    """

    def __init__(self, m1: VAE, m2: M2, active: Tensor) -> None:
        super().__init__()
        told = f"active must be {m1.d_z} bools; got {active.dtype}, shape {tuple(active.shape)}."
        if active.dtype != torch.bool:
            raise TypeError(told)
        if active.shape != (m1.d_z,):
            raise ValueError(told)
        check_values(active=active)
        if m2.likelihood != "gaussian" or m2.d_x != active.sum():
            raise ValueError(
                f"m2 must be an M2 of likelihood 'gaussian' and d_x={active.sum()}, the number of active latents; "
                f"got {m2.likelihood!r} and d_x={m2.d_x}."
            )
        self.m1, self.m2 = m1.requires_grad_(False), m2
        self.config = dict(m1=m1.config, m2=m2.config, active=active.tolist())
        self.register_buffer("active", active.nonzero()[:, 0])

    @classmethod
    def from_config(cls, m1: dict, m2: dict, active: list[bool]) -> "M1M2":
        """An untrained one of the sizes in another's `config`."""
        return cls(VAE(**m1), M2(**m2), torch.tensor(active, dtype=torch.bool))

    def features(self, x: Tensor) -> Gaussian:
        """q(z1|x) of the active latents, over (B, A): its draws are what m2 learns from, its mean is classified."""
        posterior = self.m1.encode(x)
        return Gaussian(posterior.mu[..., self.active], posterior.log_var[..., self.active])

    def decode(self, z1: Tensor) -> Bernoulli:
        """p(x|z1) for active latents (..., A); the others, of which m1 makes no use, are 0."""
        check_rows(z1, len(self.active), "z1")
        check_beside("z1", z1, self.active)
        latents = z1.new_zeros(*z1.shape[:-1], self.m1.d_z)
        latents[..., self.active] = z1
        return self.m1.decode(latents)

    def classify(self, x: Tensor) -> Tensor:
        """The likeliest class under q(y|z1), at the mean of z1, (B,)."""
        return self.m2.classify(self.features(x).mean)

    def generate(self, n: int, y: Tensor | None = None) -> Bernoulli:
        """p(x|z1) for n draws of z1 from p(z1|y,z2), over (n, D), of classes y (n,) or, without y, drawn classes."""
        return self.decode(self.m2.generate(n, y).rsample())

    def analogies(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """The mean of z2 at the mean of z1, decoded as every class: means (B, K, D). Without y, it is classify(x)."""
        return self.decode(self.m2.analogies(self.features(x).mean, y)).mean
