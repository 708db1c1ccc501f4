"""What is built in chapters 1 to 4, with the wrong answers that are known."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Normal

from .base import Exercise, Finding, Wrong, a_type
from .shared import (
    SUM_AXIS,
    UNDERFLOW,
    WRONG_AXIS,
    Z,
    draws,
    elbo_by_distributions,
    kl_by_distributions,
    kl_terms,
    log_p_minus_kl,
    log_p_terms,
    wrong_batches,
    wrong_kls,
    wrong_log_means,
    wrong_loops,
    wrong_scores,
    wrong_sums,
    wrong_terms,
    wrong_when_sure,
)

# --- chapter 1 ------------------------------------------------------------------------------------------------------


def _log_joints(seed: int) -> list[tuple]:
    normal = draws(seed)
    small = torch.tensor([[0.0, 1.0, 0.0]])
    return [(small, 0.5), (3 * normal(4, 7), 0.1), (20 * normal(2, 50) - 900, 0.01), (normal(1, 3), 2.0)]


def _grid_posterior(log_joint: Tensor, step: float) -> Tensor:
    joint = log_joint.double()
    ratios = torch.exp(joint[:, None, :] - joint[:, :, None])  # of every two grid points: 1 / p is a sum over them
    return (1 / (step * ratios.sum(-1))).float()


GRID_POSTERIOR = Exercise(
    chapter=1,
    name="grid_posterior",
    tested="each row is a density that adds up to 1 over the grid, even where p(x, z) is too small for a float.",
    probes=_log_joints,
    oracle=_grid_posterior,
    shape="one density for each picture, (N, G)",
    wrong=(
        Wrong(
            lambda log_joint, step: log_joint.softmax(1),
            "The values of each row add up to 1, so they are probabilities of grid points, not a density.",
            "A density adds up to 1 when each value is multiplied with the grid's step.",
        ),
        Wrong(
            lambda log_joint, step: log_joint.softmax(1) * step,
            "The grid's step multiplies where it should divide.",
            "A density times the step is a probability; which of the two does softmax give?",
        ),
        Wrong(
            lambda log_joint, step: log_joint.softmax(0) / step,
            "It normalises over the pictures instead of over the grid.",
            WRONG_AXIS,
        ),
        Wrong(
            lambda log_joint, step: log_joint.flatten().softmax(0).view_as(log_joint) / step,
            "It divides by one sum over all pictures, and every picture has an evidence of its own.",
            WRONG_AXIS,
        ),
        Wrong(
            lambda log_joint, step: log_joint.log_softmax(1) - math.log(step),
            "It returns the log posterior, and the posterior is asked for.",
            "One exp is missing at the end.",
        ),
        Wrong(
            lambda log_joint, step: log_joint.exp() / (log_joint.exp().sum(1, keepdim=True) * step),
            "It gives nan where all p(x, z) of a picture are too small for a float: 0 divided by 0.",
            UNDERFLOW,
        ),
        Wrong(
            lambda log_joint, step: log_joint.exp(),
            "It returns the joint density p(x, z), which does not add up to 1 over z.",
            "Bayes' rule divides by p(x).",
        ),
        Wrong(
            lambda log_joint, step: torch.exp(log_joint - log_joint.max(1, keepdim=True).values),
            "Each row's highest value is 1, but its sum times the step is not.",
            "Taking off the largest logarithm guards against underflow; dividing by p(x) comes after it.",
        ),
        Wrong(
            lambda log_joint, step: torch.exp(log_joint - log_joint.logsumexp(1, keepdim=True) + math.log(step) * 2),
            "The grid's step has been counted twice, as a factor, where it should divide once.",
            "log p(x) is the logsumexp of the row plus log step, and it is subtracted.",
        ),
    ),
)


def _log_weights(seed: int) -> list[tuple]:
    normal = draws(seed)
    log_q = normal(3, 8)
    return [
        (torch.tensor([[-2.0, -1.0]]), torch.tensor([[-1.0, -1.5]])),
        (log_q + normal(3, 8) - 2, log_q),
        (normal(2, 40) - 600, normal(2, 40) - 20),
        (normal(1, 5), normal(1, 5)),
    ]


def _log_evidence(log_joint: Tensor, log_q: Tensor) -> Tensor:
    total = (log_joint - log_q).double()
    while total.shape[1] > 1:  # log(a + b), two by two
        total = torch.cat([torch.logaddexp(total[:, :1], total[:, 1:2]), total[:, 2:]], 1)
    return (total[:, 0] - math.log(log_joint.shape[1])).float()


LOG_EVIDENCE = Exercise(
    chapter=1,
    name="log_evidence",
    tested="the logarithm of the mean of p(x, z) / q(z) over the draws of each picture, also where it underflows.",
    probes=_log_weights,
    oracle=_log_evidence,
    shape="one number for each picture, (N,)",
    gradients=("log_joint",),
    wrong=(
        Wrong(
            lambda log_joint, log_q: log_joint.logsumexp(1) - math.log(log_joint.shape[1]),
            "It weighs all draws alike: log q(z) is not used.",
            "The draws come from q, not from a uniform grid; divide each by how likely q was to make it.",
        ),
        Wrong(
            lambda log_joint, log_q: (log_joint + log_q).logsumexp(1) - math.log(log_joint.shape[1]),
            "It multiplies with q(z), and each weight is p(x, z) divided by q(z).",
            "What q draws often must count less.",
        ),
        Wrong(
            lambda log_joint, log_q: (log_q - log_joint).logsumexp(1) - math.log(log_joint.shape[1]),
            "Its weights are upside down, q(z) / p(x, z).",
            "Averaged over draws from q, which of the two ratios gives p(x)?",
        ),
        *wrong_log_means(lambda of: lambda log_joint, log_q: of(log_joint - log_q), "S"),
        Wrong(
            lambda log_joint, log_q: (log_joint - log_q).logsumexp(0) - math.log(log_joint.shape[0]),
            "It averages over the pictures, and the draws stay apart.",
            WRONG_AXIS,
        ),
        Wrong(
            lambda log_joint, log_q: (log_joint - log_q).flatten().logsumexp(0) - math.log(log_joint.numel()),
            "It gives one number for all pictures together.",
            WRONG_AXIS,
        ),
        Wrong(
            lambda log_joint, log_q: (log_joint - log_q).exp().mean(1),
            "It returns p(x), and its logarithm is asked for.",
            "Small numbers underflow; log p(x) does not.",
        ),
    ),
)

# --- chapter 2 ------------------------------------------------------------------------------------------------------


def _gaussians(seed: int) -> list[tuple]:
    normal = draws(seed)
    return [
        (torch.tensor([[1.0, 0.5]]), torch.tensor([[0.5, -1.0]])),
        (normal(5, 3), normal(5, 3)),
        (normal(2, 7), 3 * normal(2, 7)),
        (4 * normal(1, 1), normal(1, 1)),
        (torch.tensor([[12.0, 0.0], [-6.0, 1.0], [0.0, 0.3]]), torch.tensor([[0.3, 0.5], [-5.2, 1.0], [0.2, 11.0]])),
    ]


KL = Exercise(
    chapter=2,
    name="kl",
    tested="it agrees with torch.distributions, and so do its gradients in mu and in log_var.",
    probes=_gaussians,
    oracle=kl_by_distributions,
    shape="one number for each picture, (B,)",
    gradients=("mu", "log_var"),
    wrong=(
        Wrong(
            lambda mu, log_var: -kl_terms(mu, log_var).sum(-1),
            "It has the wrong sign: a KL is never below 0.",
            "This is the term that the ELBO subtracts; the minus stands in the ELBO.",
        ),
        *wrong_sums(lambda last: lambda mu, log_var: last(kl_terms(mu, log_var)), "latents", SUM_AXIS),
        *wrong_loops(lambda last: lambda mu, log_var: last(kl_terms(mu, log_var)), "latents"),
        Wrong(
            lambda mu, log_var: 0.5 * (mu**2 + log_var - 1 - log_var.log()).sum(-1),
            "It takes log_var for the variance itself.",
            "log_var may be negative, a variance may not: which function comes between them?",
        ),
        *wrong_kls(lambda terms: lambda mu, log_var: terms(mu, log_var).sum(-1), "It"),
        Wrong(
            lambda mu, log_var: 0.5 * ((mu**2 + log_var.exp() - log_var).sum(-1) - 1),
            "It subtracts 1 once, and each latent has its own -1.",
            "Which terms stand inside the sum?",
        ),
        Wrong(
            lambda mu, log_var: 0.5 * (log_var**2 + mu.exp() - 1 - mu).sum(-1),
            "mu and log_var have changed places.",
            "Keep the starter's order of arguments.",
        ),
    ),
)


def _grid_densities(seed: int) -> list[tuple]:
    def one(n: int, reach: float, mu: tuple, sigma: tuple) -> tuple:
        z = torch.linspace(-reach, reach, n)[:, None].double()
        pairs = [map(torch.tensor, pair) for pair in zip(mu, sigma, strict=True)]
        q, p = (Normal(loc, scale).log_prob(z).T.float() for loc, scale in pairs)
        return q, p, 2 * reach / (n - 1)

    a, b = (float(number) for number in draws(seed)(2).tanh())
    return [  # all vanish at both ends, so that a trapezoid's rule is right as well
        (*(torch.tensor([[1e-9, a, 1 - a, 1e-9]]).log() for a in (0.5, 0.25)), 1.0),
        one(801, 12.0, ([0.0, a, 1.0], [0.5, 0.0, b]), ([1.0, 0.7, 0.5], [1.5, 1.0, 0.8])),
        one(1201, 15.0, ([b], [0.0]), ([1.1], [1.0])),
    ]


def _gap(log_q: Tensor, log_posterior: Tensor, step: float) -> Tensor:
    rows = zip(log_q.tolist(), log_posterior.tolist(), strict=True)
    return torch.tensor([math.fsum(math.exp(q) * (q - p) * step for q, p in zip(*row, strict=True)) for row in rows])


GAP = Exercise(
    chapter=2,
    name="gap",
    tested="it is KL(q || posterior) of each picture, as a sum over the grid.",
    probes=_grid_densities,
    oracle=_gap,
    shape="one number for each picture, (N,)",
    tolerance=(1e-3, 1e-4),
    wrong=(
        Wrong(
            lambda log_q, log_posterior, step: (log_posterior.exp() * (log_posterior - log_q)).sum(1) * step,
            "It is the KL in the other order, KL(posterior || q).",
            "Average over draws of q: q is the one that we can draw from.",
        ),
        Wrong(
            lambda log_q, log_posterior, step: (log_q.exp() * (log_posterior - log_q)).sum(1) * step,
            "It has the wrong sign: a KL is never below 0.",
            "Of the two logarithms, that of the density which is averaged over comes first.",
        ),
        Wrong(
            lambda log_q, log_posterior, step: (log_posterior.exp() * (log_q - log_posterior)).sum(1) * step,
            "It averages over the posterior instead of over q.",
            "The gap is an average over draws of q, the one that we can draw from.",
        ),
        Wrong(
            lambda log_q, log_posterior, step: (log_q.exp() * (log_q - log_posterior)).sum(1),
            "It forgets the grid's step.",
            "A sum becomes an integral when each term is multiplied with the width of its cell.",
        ),
        Wrong(
            lambda log_q, log_posterior, step: (log_q - log_posterior).sum(1) * step,
            "It counts all z alike: the weight q(z) is missing.",
            "E_q[f] is the integral of q(z) f(z).",
        ),
        Wrong(
            lambda log_q, log_posterior, step: (log_q * (log_q - log_posterior)).sum(1) * step,
            "It weighs with log q(z) instead of with q(z).",
            "E_q[f] is the integral of q(z) f(z).",
        ),
        Wrong(
            lambda log_q, log_posterior, step: (log_q.exp() * (log_q - log_posterior)).mean(1),
            "It is a plain mean over the grid points, not an integral.",
            "A sum becomes an integral when each term is multiplied with the width of its cell.",
        ),
        *wrong_sums(
            lambda last: lambda log_q, log_p, step: last(log_q.exp() * (log_q - log_p)) * step,
            "grid points",
            "A density is added up over z.",
        ),
        Wrong(
            lambda log_q, log_posterior, step: (log_q.exp() * log_q).sum(1) * step,
            "It is only minus the entropy of q: the posterior is not used.",
            "A KL compares two densities.",
        ),
        Wrong(
            lambda log_q, log_posterior, step: -(log_q.exp() * log_posterior).sum(1) * step,
            "It is only the cross term: the entropy of q is missing.",
            "The KL is 0 where q is the posterior. Is this?",
        ),
        Wrong(
            lambda log_q, log_posterior, step: (log_q.exp() * (log_q - log_posterior)).sum(1) * step / math.log(2),
            "It is in bits, and the book counts in nats.",
            "Which logarithm has been taken?",
        ),
    ),
)

# --- chapter 3 ------------------------------------------------------------------------------------------------------


def _few_gaussians(seed: int) -> list[tuple]:
    mu, log_var = draws(seed)(2, 2, 3)
    fixed = torch.tensor([[0.0, 2.0, -1.0], [1.0, -2.0, 0.5]]), torch.tensor([[-2.0, 0.8, 1.5], [1.0, -1.0, 0.3]])
    return [fixed, (mu, log_var.clamp(-2, 2) + torch.tensor([0.9, -0.9, 1.2]))]


ROWS, COLUMNS = 200, 100  # each picture stands in so many rows, with each latent so often: 20,000 draws of each


def _moments(mu: Tensor, log_var: Tensor) -> Tensor:
    """Mean, spread, fourth moment, and mean slopes in mu and log_var where z > mu; then, all 0, those of KIN."""
    sigma = torch.exp(log_var / 2)
    slopes = torch.full_like(mu, 0.5), sigma / math.sqrt(8 * math.pi)
    return torch.cat([torch.stack([mu, sigma, torch.full_like(mu, 3.0), *slopes]).flatten(), torch.zeros(len(KIN))])


def _drawn_moments(answer: Callable, mu: Tensor, log_var: Tensor) -> Tensor:
    """The same of many draws."""
    rows = [t.repeat(ROWS, COLUMNS).requires_grad_() for t in (mu, log_var)]
    z, again = answer(*rows), answer(*rows)
    if not isinstance(z, Tensor):
        return z
    if z.shape != rows[0].shape:
        came = f"Its result has shape {tuple(z.shape)}, and z has the shape of mu, here {tuple(rows[0].shape)}."
        raise Finding("shape", came, "Each latent of each picture has its own draw.")
    if not z.requires_grad:
        if _each(z, mu).mean(0).abs().max() < 0.06:
            raise Finding("known", *NEITHER)
        raise Finding("gradient", CUT, "Draw the noise first, and then build z from it; `sample()` cuts the graph.")
    above = (z > rows[0]).float().detach()
    slopes = torch.autograd.grad((z * above).sum() + sum(0 * row.sum() for row in rows), rows)
    repeated = torch.equal(z, again)
    z, *slopes = (_each(t.detach(), mu) for t in (z, *slopes))
    centred = z - z.mean(0)
    sigma = centred.square().mean(0).sqrt()
    scaled = centred / sigma.clamp_min(1e-6)
    shifted = scaled.roll(1, 2), scaled.roll(1, 0), scaled.roll(1, 1)  # latents, draws, pictures
    kin = [(scaled * other).mean() for other in shifted]
    noise = scaled.view(ROWS, COLUMNS, *mu.shape).transpose(1, 2).reshape(len(rows[0]), -1)
    together = noise @ noise.T / noise.shape[1]
    size = together.diag()
    together = together / size.outer(size).sqrt().clamp_min(1e-6)
    kin += [
        (together - together.diag().diag()).abs().max(),
        (1 - size).abs().max(),
        1 - len(noise) * noise.mean(0).square().mean(),
    ]
    kin[3:] = [number if abs(number) > 0.5 else torch.zeros(()) for number in kin[3:]]
    moments = z.mean(0), sigma, (scaled**4).mean(0), *(slope.mean(0) for slope in slopes)
    return torch.cat([torch.stack(moments).flatten(), torch.stack([*kin, torch.tensor(float(repeated))])])


def _each(t: Tensor, mu: Tensor) -> Tensor:
    """The draws one by one, each of the shape of mu."""
    return t.view(ROWS, len(mu), COLUMNS, -1).transpose(1, 2).reshape(-1, *mu.shape)


MOMENTS = "mean", "standard deviation", "fourth moment, in units of sigma,", "slope in mu", "slope in log_var"
CORRELATED = "The noise of {} is correlated, by {:.2f}, and it should be independent."
KIN = (
    CORRELATED.replace("{}", "the latents of a picture", 1),
    CORRELATED.replace("{}", "one draw and the next", 1),
    CORRELATED.replace("{}", "different pictures", 1),
    CORRELATED.replace("{}", "two rows", 1),
    "A row has more or less noise than the others.",
    "The noise of the rows of a batch is not independent: its mean over them is too near 0, or too far away.",
    "Two calls with the same arguments give the same draws: the noise is fixed.",
)


def _of_moment(i: int, value: float, wanted: float) -> str:
    """Which moment of 20,000 draws is wrong; the probes have 2 pictures and 3 latents."""
    if i >= 30:
        return KIN[i - 30].format(value)
    kind = i // 6
    where = ", where z > mu," if kind > 2 else ""
    return f"In 20,000 draws the {MOMENTS[kind]} of one latent{where} is {value:.3g}, and {wanted:.3g} is expected."


def _drawing(noise: Callable[[Tensor], Tensor], stretch: Callable[[Tensor], Tensor] | None = None) -> Callable:
    """mu plus some noise, stretched in some way."""
    by = stretch or (lambda log_var: torch.exp(0.5 * log_var))
    return lambda mu, log_var: mu + by(log_var) * noise(mu)


NEITHER = (
    "It uses neither mu nor log_var: it is the noise alone.",
    "Stretch the noise by sigma, and then shift it by mu.",
)
CUT = "No gradient reaches mu or log_var: the result is cut from the graph."
FROM_NORMAL = "epsilon comes from N(0, I), with one number for each latent of each picture."
RSAMPLE = Exercise(
    chapter=3,
    name="rsample",
    tested="20,000 draws have the right mean, spread and tails, are independent, and pass gradients to mu and log_var.",
    probes=_few_gaussians,
    oracle=_moments,
    run=_drawn_moments,
    tolerance=(0.06, 0.06),
    words=_of_moment,
    wrong=(
        Wrong(
            _drawing(torch.randn_like, torch.exp),
            "It stretches the noise by exp(log_var), the variance, where sigma belongs.",
            "Noise times c has c times the standard deviation. What is sigma, in terms of log_var?",
        ),
        Wrong(
            _drawing(torch.randn_like, lambda log_var: torch.exp(-0.5 * log_var)),
            "It divides the noise by sigma.",
            "A larger variance should give a wider spread.",
        ),
        Wrong(
            _drawing(torch.randn_like, lambda log_var: log_var),
            "It stretches the noise by log_var itself.",
            "A standard deviation is positive: which function takes log_var there?",
        ),
        Wrong(
            _drawing(torch.randn_like, lambda log_var: 0.5 * log_var),
            "It stretches the noise by half of log_var, which is log sigma: an exp is missing.",
            "What turns log sigma into sigma?",
        ),
        Wrong(
            _drawing(torch.randn_like, lambda log_var: torch.exp(log_var / 4)),
            "It stretches the noise by the square root of sigma.",
            "One square root is taken too many: the half in exp(0.5 * log_var) is one already.",
        ),
        Wrong(
            _drawing(torch.randn_like, lambda log_var: torch.exp(2 * log_var)),
            "It stretches the noise by the square of the variance.",
            "The way from a variance to sigma is a square root, not a square.",
        ),
        Wrong(
            _drawing(torch.randn_like, torch.ones_like),
            "All its draws have standard deviation 1: log_var is not used.",
            "Stretch the noise by sigma before it is added.",
        ),
        Wrong(
            lambda mu, log_var: torch.exp(0.5 * log_var) * torch.randn_like(mu) + 0 * mu,
            "All its draws have mean 0: mu is not used.",
            "Stretch the noise, and then shift it.",
        ),
        Wrong(
            lambda mu, log_var: mu + 0 * log_var,
            "It returns mu, without any noise.",
            "A draw from q differs each time.",
        ),
        Wrong(
            lambda mu, log_var: mu + torch.exp(0.5 * log_var),
            "It returns mu + sigma: the noise is missing.",
            "A draw from q differs each time.",
        ),
        Wrong(
            _drawing(torch.rand_like),
            "Its noise is uniform from 0 to 1, so it has mean 1/2 and no tails.",
            "`rand` and `randn` differ by more than a letter.",
        ),
        Wrong(
            _drawing(lambda mu: 2 * torch.rand_like(mu) - 1),
            "Its noise is uniform from -1 to 1, without a Gaussian's spread and tails.",
            FROM_NORMAL,
        ),
        Wrong(_drawing(lambda mu: torch.randn(mu.shape[-1])), "All pictures share one noise.", FROM_NORMAL),
        Wrong(
            _drawing(lambda mu: torch.randn(len(mu), 1)),
            "All latents of a picture share one noise, so they move together.",
            FROM_NORMAL,
        ),
        Wrong(_drawing(lambda mu: torch.randn(())), "A single number of noise serves for everything.", FROM_NORMAL),
        Wrong(_drawing(lambda mu: torch.randn_like(mu).abs()), "Its noise is never negative.", FROM_NORMAL),
        Wrong(
            lambda mu, log_var: (mu + torch.exp(0.5 * log_var) * torch.randn_like(mu)).detach(),
            CUT,
            "Draw the noise first, and then build z from it; `sample()` cuts the graph.",
        ),
        Wrong(lambda mu, log_var: torch.randn_like(mu), *NEITHER),
        Wrong(
            lambda mu, log_var: torch.normal(mu, torch.exp(0.5 * log_var)),
            "The draws are right, but the gradient in mu and log_var is 0, as `torch.normal` and `.detach()` make it.",
            "Draw epsilon first; z = mu + sigma * epsilon then is a smooth function of mu and sigma.",
        ),
        Wrong(
            lambda mu, log_var: mu + torch.exp(0.5 * log_var).detach() * torch.randn_like(mu) + 0 * log_var,
            "The draws are right and mu gets its gradient, but log_var gets none.",
            "sigma is cut from the graph.",
        ),
        Wrong(
            lambda mu, log_var: mu.detach() + torch.exp(0.5 * log_var) * torch.randn_like(mu) + 0 * mu,
            "The draws are right and log_var gets its gradient, but mu gets none.",
            "mu is cut from the graph.",
        ),
    ),
)


def _eight(z: Tensor) -> Tensor:
    """log p(x|z) of a small curved decoder, at one x: a smooth function of each draw."""
    return -0.5 * ((z.cos() - 0.3) ** 2 + ((2 * z).sin() - 0.4) ** 2) / 0.2


def _slope_of_eight(z: Tensor) -> Tensor:
    return -((z.cos() - 0.3) * -z.sin() + 2 * ((2 * z).sin() - 0.4) * (2 * z).cos()) / 0.2


def _square(z: Tensor) -> Tensor:
    return z**2


def _estimators(seed: int) -> list[tuple]:
    normal = draws(seed)
    return [
        (_square, 1.0, 0.5, torch.tensor([1.0, -0.4])),
        (_eight, 0.8, 0.3, normal(9)),
        (_eight, -0.5, 2.0, normal(4)),
        (_eight, -1.0, 2.0, torch.tensor([-2.0, -0.6, 1.1, 2.5])),
    ]


def _score_terms(g: Callable, mu: float, sigma: float, epsilon: Tensor) -> Tensor:
    at = torch.tensor(mu, dtype=torch.float64)
    q_above, q_below = (Normal(at + h, sigma) for h in (1e-5, -1e-5))
    z = mu + sigma * epsilon.double()
    return (g(z) * (q_above.log_prob(z) - q_below.log_prob(z)) / 2e-5).float()  # the slope of log q, by differences


def _pathwise_terms(g: Callable, mu: float, sigma: float, epsilon: Tensor) -> Tensor:
    z = mu + sigma * epsilon
    return 2 * z if g is _square else _slope_of_eight(z)


def _slope(g: Callable, z: Tensor) -> Tensor:
    z = z.clone().requires_grad_()
    return torch.autograd.grad(g(z).sum(), z)[0]


def _wrong_estimates(of: Callable) -> tuple[Wrong, ...]:
    """What goes wrong with any terms of g, z, sigma and epsilon."""

    def right(g: Callable, mu: float, sigma: float, epsilon: Tensor) -> Tensor:
        return of(g, mu + sigma * epsilon, sigma, epsilon)

    hint = "The terms say how noisy one draw is; whoever calls it averages them."
    return (
        Wrong(lambda *probe: right(*probe).mean(), "It averages, and one term for each draw is asked for.", hint),
        Wrong(lambda *probe: right(*probe).sum(), "It adds up all draws, and one term for each is asked for.", hint),
        Wrong(
            lambda g, mu, sigma, epsilon: of(g, mu + sigma**2 * epsilon, sigma, epsilon),
            "It stretches epsilon by the variance when it builds z.",
            Z,
        ),
        Wrong(
            lambda g, mu, sigma, epsilon: of(g, epsilon, sigma, epsilon),
            "It takes g at epsilon instead of at z.",
            "Build z from mu, sigma and epsilon first.",
        ),
    )


SCORE = Exercise(
    chapter=3,
    name="score_terms",
    tested="each term is g(z) times the slope of log q(z) in mu, found by differences.",
    probes=_estimators,
    oracle=_score_terms,
    shape="one term for each draw, (S,)",
    tolerance=(1e-3, 1e-3),
    wrong=(
        Wrong(
            lambda g, mu, sigma, epsilon: g(mu + sigma * epsilon) * epsilon / sigma**2,
            "It divides by the variance, and epsilon has been divided by one sigma already.",
            "The score is (z - mu) / sigma^2. What is that in epsilon?",
        ),
        Wrong(
            lambda g, mu, sigma, epsilon: g(mu + sigma * epsilon) * epsilon,
            "It forgets to divide by sigma.",
            "The score is (z - mu) / sigma^2. What is that in epsilon?",
        ),
        Wrong(
            lambda g, mu, sigma, epsilon: g(mu + sigma * epsilon) * epsilon * sigma,
            "It multiplies with sigma where it should divide.",
            "The narrower q is, the steeper is log q.",
        ),
        Wrong(
            lambda g, mu, sigma, epsilon: -g(mu + sigma * epsilon) * epsilon / sigma,
            "It has the wrong sign: it is the slope in z of log q, and the slope in mu is the opposite.",
            "Move mu towards z: does log q(z) rise or fall?",
        ),
        Wrong(
            lambda g, mu, sigma, epsilon: epsilon / sigma,
            "It is the score alone: the value g(z) is missing.",
            "A term is a value times a score.",
        ),
        Wrong(
            lambda g, mu, sigma, epsilon: g(mu + sigma * epsilon) * (mu + sigma * epsilon) / sigma**2,
            "It does not subtract mu: the score is (z - mu) / sigma^2.",
            "Is the score 0 at the top of the hump?",
        ),
        Wrong(
            lambda g, mu, sigma, epsilon: g(mu + sigma * epsilon) * Normal(0.0, sigma).log_prob(sigma * epsilon),
            "It multiplies with log q(z) itself, and its slope in mu is needed.",
            "Differentiate log q(z) by mu.",
        ),
        Wrong(
            lambda g, mu, sigma, epsilon: (g(mu + sigma * epsilon) - g(torch.tensor(mu))) * epsilon / sigma,
            "It subtracts a baseline, g(mu): the mean stays right, but the plain terms are asked for.",
            "A term is g(z) times the score.",
        ),
        Wrong(
            lambda g, mu, sigma, epsilon: _slope(g, mu + sigma * epsilon),
            "These are the pathwise terms: they use the slope of g, the score function only its values.",
            "No derivative of g is needed here.",
        ),
        *_wrong_estimates(lambda g, z, sigma, epsilon: g(z) * epsilon / sigma),
        Wrong(
            lambda g, mu, sigma, epsilon: g(mu + sigma * epsilon) * (epsilon**2 - 1) / sigma,
            "It is the term for the slope in sigma, and the slope in mu is asked for.",
            "By which of the two is log q(z) differentiated?",
        ),
    ),
)

PATHWISE = Exercise(
    chapter=3,
    name="pathwise_terms",
    tested="each term is the slope of g at z, and it agrees with the derivative by hand.",
    probes=_estimators,
    oracle=_pathwise_terms,
    shape="one term for each draw, (S,)",
    tolerance=(1e-3, 1e-3),
    wrong=(
        Wrong(
            lambda g, mu, sigma, epsilon: g(mu + sigma * epsilon) * epsilon / sigma,
            "These are the score-function terms: they use the values of g, the pathwise ones its slope.",
            "Let autograd differentiate g at z.",
        ),
        Wrong(
            lambda g, mu, sigma, epsilon: _slope(g, mu + sigma * epsilon) / len(epsilon),
            "Each term has been divided by the number of draws: the gradient is that of a mean.",
            "Differentiate the sum over the draws: each z has a slope of its own then.",
        ),
        Wrong(
            lambda g, mu, sigma, epsilon: _slope(g, mu + sigma * epsilon) * epsilon,
            "It is the slope in sigma, and the slope in mu is asked for.",
            "How far does z move when mu moves by 1?",
        ),
        Wrong(
            lambda g, mu, sigma, epsilon: _slope(g, mu + sigma * epsilon) * sigma,
            "It is the slope in epsilon: sigma has come in.",
            "How far does z move when mu moves by 1?",
        ),
        Wrong(
            lambda g, mu, sigma, epsilon: g(mu + sigma * epsilon),
            "It returns the values of g, and its slopes are asked for.",
            "`torch.autograd.grad` gives a slope for each z.",
        ),
        Wrong(
            lambda g, mu, sigma, epsilon: _slope(g, torch.full_like(epsilon, mu)),
            "It takes every slope at mu instead of at its own z.",
            "Build z from mu, sigma and epsilon first.",
        ),
        *_wrong_estimates(lambda g, z, sigma, epsilon: _slope(g, z)),
        Wrong(
            lambda g, mu, sigma, epsilon: -_slope(g, mu + sigma * epsilon),
            "It has the wrong sign: that is the slope of a loss.",
            "g itself is to be climbed here.",
        ),
    ),
)

# --- chapter 4 ------------------------------------------------------------------------------------------------------


def _scores(seed: int) -> list[tuple]:
    normal = draws(seed)

    def one(b: int, d: int, z: int, wide: float = 1.0) -> tuple:
        return normal(b, z), normal(b, z), wide * normal(b, d), (normal(b, d) > 0).float()

    small = [[1.0]], [[-1.0]], [[0.5, 2.0]], [[1.0, 0.0]]
    return [tuple(map(torch.tensor, small)), one(5, 8, 3), one(2, 11, 4, 40.0), one(1, 3, 2)]


def _elbo_of(last: Callable = log_p_minus_kl, kl: Callable = kl_terms, score: Callable = log_p_terms) -> Callable:
    """An ELBO with one of its parts replaced by a wrong one."""
    return lambda mu, log_var, logits, x: last(score(logits, x), kl(mu, log_var))


ELBO = Exercise(
    chapter=4,
    name="elbo",
    tested="it agrees with torch.distributions, also where the decoder is very sure, and so do its gradients.",
    probes=_scores,
    oracle=elbo_by_distributions,
    shape="one bound for each picture, (B,)",
    gradients=("mu", "log_var", "logits"),
    wrong=(
        *wrong_terms(_elbo_of),
        *wrong_batches(_elbo_of),
        *wrong_scores(_elbo_of),
        *wrong_when_sure(_elbo_of),
    ),
)


def _bound(w: float, v: float) -> tuple[Callable, list[Tensor]]:
    """A bound whose every step can be worked out by hand, 2 - (w x - 1)^2 - v^2 for a picture x, and its weights."""
    weights = [torch.tensor(number, requires_grad=True) for number in (w, v)]

    def elbo(x: Tensor) -> Tensor:
        return 2 - ((weights[0] * x - 1) ** 2).sum(-1) - weights[1] ** 2

    return elbo, weights


class SGD(torch.optim.SGD):
    """An optimiser that notes what was called: 1 for zero_grad, 2 for backward, 3 for step."""

    def __init__(self, weights: list[Tensor], lr: float) -> None:
        super().__init__(weights, lr=lr)
        self.calls: list[int] = []
        weights[1].register_hook(lambda slope: self.calls.append(2))

    def zero_grad(self, set_to_none: bool = True) -> None:
        self.calls.append(1)
        super().zero_grad(set_to_none)

    def step(self, closure: Any = None) -> Any:
        self.calls.append(3)
        return super().step(closure)


def _steps(seed: int) -> list[tuple]:
    normal = draws(seed)
    fixed = (0.5, 1.0, 0.1, torch.tensor([[2.0], [1.0]]))
    return [fixed, (-1.0, 0.3, 0.05, normal(5, 2)), (2.0, 1.0, 0.02, normal(3, 1))]


def _trained(w: float, v: float, lr: float, x: Tensor) -> Tensor:
    """Three steps uphill on the mean bound, with derivatives by hand: the loss of each, and both weights after it."""
    rows, seen = x.double().tolist(), []
    for _ in range(3):
        loss = sum(sum((w * a - 1) ** 2 for a in row) + v**2 - 2 for row in rows) / len(rows)
        slope_w = sum(2 * (w * a - 1) * a for row in rows for a in row) / len(rows)
        w, v = w - lr * slope_w, v - lr * 2 * v
        seen += [loss, w, v]
    return torch.tensor([*seen, 0.0])


def _train(answer: Callable, w: float, v: float, lr: float, x: Tensor) -> Tensor:
    """The same by the answer; at the end, if nothing ever moved, a number that says what was called in which order."""
    (bound, weights), seen = _bound(w, v), []
    optimizer = SGD(weights, lr)
    for _ in range(3):
        loss = answer(bound, optimizer, x)
        if type(loss) not in (float, int):
            came = "a tensor" if isinstance(loss, Tensor) else "None" if loss is None else a_type(loss)
            hint = "`.item()` makes a number of a tensor, and lets go of its graph, which would fill the memory."
            raise Finding("type", f"It returns {came}, and the loss as a plain number is expected.", hint)
        seen += [float(loss), *(weight.item() for weight in weights)]
    still = [weight.item() for weight in weights] == [torch.tensor(number).item() for number in (w, v)]
    return torch.tensor([*seen, float("".join(map(str, optimizer.calls[:3])) or 9) if still else 0.0])


def _step(
    loss_of: Callable, order: str = "zero backward step", returns: Callable = lambda loss: loss.item()
) -> Callable:
    """A training step that calls these in this order."""

    def training_step(elbo, optimizer, x):
        loss = loss_of(elbo(x))
        calls = {"zero": optimizer.zero_grad, "backward": loss.backward, "step": optimizer.step}
        for name in order.split():
            calls[name]()
        return returns(loss)

    return training_step


def _minus(elbo: Tensor) -> Tensor:
    return -elbo.mean()


def _of_step(i: int, value: float, wanted: float) -> str:
    """Which number of the three steps is wrong."""
    if i == 9:
        return "None of the weights moves."
    what = ("the loss that it returns", "a weight", "the other weight")[i % 3]
    return f"At step {i // 3 + 1}, {what} is {value:.4g}, and {wanted:.4g} is expected."


NOTHING_MOVES = "In which order do clear, differentiate and step belong?"
TRAINING_STEP = Exercise(
    chapter=4,
    name="training_step",
    tested="three steps on a bound with two weights move them just as far as derivatives by hand say.",
    probes=_steps,
    oracle=_trained,
    run=_train,
    words=_of_step,
    wrong=(
        Wrong(
            _step(lambda elbo: elbo.mean()),
            "It steps downhill on the ELBO, so the model gets worse.",
            "An optimiser minimises. What should be small?",
        ),
        Wrong(
            _step(_minus, "backward step"),
            "It never clears the gradients, so each step still carries those of all steps before.",
            "`backward` adds to `.grad`.",
        ),
        Wrong(
            _step(_minus, "backward zero step"),
            "It clears the gradients between `backward` and `step`, so nothing moves.",
            NOTHING_MOVES,
        ),
        Wrong(
            _step(_minus, "zero step backward"),
            "It steps before `backward` has filled the gradients, and then clears them, so nothing moves.",
            NOTHING_MOVES,
        ),
        Wrong(
            _step(_minus, "zero step"),
            "It takes no gradient: `backward` is missing, so nothing moves.",
            "The optimiser reads `.grad`; who fills it?",
        ),
        Wrong(
            _step(_minus, "zero backward"),
            "It never calls `step`, so nothing moves.",
            "Which call changes the weights?",
        ),
        Wrong(_step(_minus, ""), "It computes the loss and does nothing with it.", NOTHING_MOVES),
        Wrong(
            _step(lambda elbo: -elbo.sum()),
            "Its loss is a sum over the pictures, so the step grows with the batch.",
            "Nats per picture: the loss averages over pictures, and over nothing else.",
        ),
        Wrong(
            _step(_minus, returns=lambda loss: -loss.item()),
            "It steps rightly, but returns the bound instead of the loss.",
            "Return the number that was minimised.",
        ),
        Wrong(
            _step(lambda elbo: -elbo[0]),
            "It learns from the first picture of the batch alone.",
            "The loss is an average over all pictures.",
        ),
        Wrong(
            _step(_minus, "zero backward step step"),
            "It goes twice as far as one step: `step` or `backward` runs twice.",
            "One gradient, one step: at the new place the slope is another.",
        ),
    ),
)
EXERCISES = (GRID_POSTERIOR, LOG_EVIDENCE, KL, GAP, RSAMPLE, SCORE, PATHWISE, ELBO, TRAINING_STEP)
