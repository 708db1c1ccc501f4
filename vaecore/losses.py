"""Everything that is minimised: scalars in nats, averaged over the images of a batch."""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor

from .checks import check_at_least, check_classes
from .distributions import Gaussian
from .evaluate import log_weights
from .m2 import M2
from .vae import VAE, Regressor

Loss = Float[Tensor, ""]


def vae_loss(model: VAE, x: Float[Tensor, "B D"], y: Tensor | None = None) -> Loss:
    """Minus the ELBO. Eq. m1-loss."""
    return -model.elbo(x, y).mean()


def autoencoder_loss(model: VAE, x: Float[Tensor, "B D"]) -> Loss:
    """The same nets as a classical autoencoder: the code is q's mean; no noise, no KL. Eq. autoencoder-loss."""
    code = model.encode(x).mean
    return -model.decode(code).log_prob(x).mean()


def regressor_loss(model: Regressor, x: Float[Tensor, "B D"], y: Float[Tensor, "B Y"]) -> Loss:
    """Minus log p(x|y) without a latent."""
    return -model.log_likelihood(x, y).mean()


def classifier_loss(model: M2, x: Float[Tensor, "B D"], y: Int64[Tensor, "B"]) -> Loss:
    """Minus log q(y|x) of the true classes."""
    check_classes(y, model.n_classes)  # torch would leave out those of -100
    return F.nll_loss(model.log_q_y(x), y)


def semi_supervised_loss(
    model: M2,
    x_l: Float[Tensor, "L D"],
    y_l: Int64[Tensor, "L"],
    x_u: Float[Tensor, "U D"],
    *,
    n_labelled: int,
    n_unlabelled: int,
    alpha: float = 0.1,
    unlabelled_bound: Callable[[M2, Tensor, Tensor], Tensor] = M2.unlabelled_bound,
    corrupt: Callable[[Tensor], Tensor] | None = None,
) -> Loss:
    """J^alpha / N: all that M2 minimises, N = n_labelled + n_unlabelled. Eq. m2-objective.

    Each batch may have any size: its mean, times the number of such images, stands for their full sum. The last term
    is alpha times the mean over the labelled images of -log q(y|x); the paper's alpha is N times ours.
    `unlabelled_bound` is called with the model, x_u and log q(y|x_u). With `corrupt`, such as torch.bernoulli, q(y|x)
    sees corrupt(x), and the other nets see x.
    """
    check_at_least(0, alpha=alpha)
    seen_l, seen_u = (x_l, x_u) if corrupt is None else (corrupt(x_l), corrupt(x_u))
    labelled_sum = n_labelled * model.labelled_bound(x_l, y_l).mean()
    unlabelled_sum = n_unlabelled * unlabelled_bound(model, x_u, model.log_q_y(seen_u)).mean()
    return -(labelled_sum + unlabelled_sum) / (n_labelled + n_unlabelled) + alpha * classifier_loss(model, seen_l, y_l)


def class_imbalance(model: M2, x: Float[Tensor, "B D"]) -> Loss:
    """The KL of a batch's mean q(y|x) from the uniform p(y): 0 where all classes occur equally often."""
    q_y = model.log_q_y(x).exp().mean(0)
    return (q_y * torch.log(q_y.clamp_min(1e-30) * model.n_classes)).sum()


def bound_of_drawn_classes(model: M2, x: Float[Tensor, "B D"], log_q_y: Float[Tensor, "B K"]) -> Float[Tensor, "B"]:
    """An estimate of -U(x), right on average, from a part of the classes: once q is sure, about two of ten.

    A class is taken with the probability 0.1 + 10 q(y|x), or 1 if that is more, and then weighs its inverse.
    """
    q_y = log_q_y.exp()
    chance = (0.1 + 10 * q_y.detach()).clamp(max=1)
    rows, y = torch.bernoulli(chance).nonzero(as_tuple=True)
    epsilon = torch.randn(len(x), model.d_z, device=x.device)
    bounds = model.labelled_bound(x[rows], y, epsilon[rows])
    taken = torch.zeros_like(q_y).index_put((rows, y), bounds)
    likeliest = taken.gather(1, q_y.argmax(1, keepdim=True)).squeeze(1).detach()  # always taken
    # weighed is only the distance to it: the weights of all ten add up to 1 on average, not in every draw
    distance = torch.zeros_like(q_y).index_put((rows, y), (bounds - likeliest[rows]) / chance[rows, y])
    return likeliest + (q_y * (distance - log_q_y)).sum(-1)


def bound_without_entropy(model: M2, x: Float[Tensor, "B D"], log_q_y: Float[Tensor, "B K"]) -> Float[Tensor, "B"]:
    """-U(x) without the entropy of q(y|x): an ablation."""
    return (log_q_y.T.exp() * model.labelled_bound(x)).sum(0)


def bound_of_sampled_class(model: M2, x: Float[Tensor, "B D"], log_q_y: Float[Tensor, "B K"]) -> Float[Tensor, "B"]:
    """-U(x) with one class drawn from q(y|x) instead of the sum over all: an ablation."""
    y = torch.distributions.Categorical(logits=log_q_y).sample()
    return model.labelled_bound(x, y) - (log_q_y.exp() * log_q_y).sum(-1)


def iwae_loss(model: VAE, x: Float[Tensor, "B D"], *, k: int, n: int) -> Loss:
    """Minus the importance-weighted bound of k draws, with a gradient from n of them that is exact on average.

    The gradient of the bound adds up those of the log weights, each times its share of the weights, so draws picked
    by their shares need no factor. The encoder's gradient is taken at fixed q, times the share once more: the same on
    average, with less variance. arXiv:1509.00519; arXiv:1810.04152.
    """
    q = model.encode(x)
    fixed_q = Gaussian(q.mu.detach(), q.log_var.detach())
    with torch.no_grad():
        epsilon = torch.randn(k, *q.mu.shape, device=x.device)
        z = fixed_q.mu + fixed_q.sigma * epsilon
        log_w = torch.cat([log_weights(model, fixed_q, ten, x) for ten in z.split(10)])  # (K, B)
        bound = (log_w.logsumexp(0) - math.log(k)).mean()
        shares = log_w.softmax(0)
        picked = torch.multinomial(shares.nan_to_num(1 / k).T, n, replacement=True).T  # (n, B); fit reports the nan
        share = shares.gather(0, picked)[..., None]
        epsilon = epsilon.gather(0, picked[..., None].expand(-1, -1, epsilon.shape[-1]))
    torch.clear_autocast_cache()  # an older torch would reuse the weights' copies, which were made without a gradient
    z = q.mu + q.sigma * epsilon
    z = z.detach() + share * (z - z.detach())  # the same numbers, with `share` times their gradient
    loss = -log_weights(model, fixed_q, z, x).mean()
    return loss - loss.detach() - bound
