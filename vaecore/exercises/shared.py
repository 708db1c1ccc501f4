"""What several exercises share: random probes, the terms of a bound, and wrong answers that are known of all of them.

Each `wrong_...` takes a maker of answers: `bound(kl=f)` is a right answer but for its KL, which is f, and so on.
"""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.distributions import Bernoulli, Independent, Normal, kl_divergence

from .base import MINUS, Wrong

BERNOULLI = (
    "`F.binary_cross_entropy_with_logits` takes logits and is a loss: it is what the log-likelihood is minus of."
)
EACH_PICTURE = "The average over pictures is taken in the loss alone."
FROM_LOGITS = "Work from the logits: there is a cross-entropy that takes them."
HALF = "Where is the 1/2 of the Gaussian's exponent?"
LOGARITHM = "What is log_var the logarithm of?"
MINUS_ONE = "The KL of N(0, I) from itself is 0: try mu = 0 and log_var = 0."
PIXELS = "One picture's log-likelihood is a sum over its pixels: independent factors multiply."
REDUCTION = '`reduction="none"` keeps all axes.'
SUM_AXIS = "A row is one picture, a column one latent: KLs of independent latents add up."
UNDERFLOW = "Densities this small underflow: stay with logarithms, and add up with `logsumexp`."
WRONG_AXIS = "One row is one picture: which axis holds what has to be added up?"
Z = "z = mu + sigma * epsilon."


def draws(seed: int) -> Callable[..., Tensor]:
    """Standard normal numbers of any shape, from a generator of their own."""
    generator = torch.Generator().manual_seed(1000 + seed)
    return lambda *shape: torch.randn(*shape, generator=generator)


def kl_by_distributions(mu: Tensor, log_var: Tensor) -> Tensor:
    """KL(N(mu, sigma^2) || N(0, I)), an oracle."""
    q, prior = Normal(mu, torch.exp(log_var / 2)), Normal(torch.zeros_like(mu), torch.ones_like(mu))
    return kl_divergence(q, prior).sum(-1)


def elbo_by_distributions(mu: Tensor, log_var: Tensor, logits: Tensor, x: Tensor) -> Tensor:
    """log p(x|z) - KL(q(z|x) || N(0, I)), an oracle."""
    return Independent(Bernoulli(logits=logits), 1).log_prob(x) - kl_by_distributions(mu, log_var)


def log_p_terms(logits: Tensor, x: Tensor) -> Tensor:
    """log p(x|z), pixel by pixel."""
    return -F.binary_cross_entropy_with_logits(logits, x, reduction="none")


def kl_terms(mu: Tensor, log_var: Tensor) -> Tensor:
    """The KL of N(mu, sigma^2) from N(0, I), latent by latent."""
    return 0.5 * (mu**2 + log_var.exp() - 1 - log_var)


def log_p_minus_kl(log_p: Tensor, kl: Tensor) -> Tensor:
    """The bound, from its terms."""
    return log_p.sum(-1) - kl.sum(-1)


def bound(
    last: Callable = log_p_minus_kl,
    *,
    kl: Callable = kl_terms,
    score: Callable = log_p_terms,
    draw: Callable = lambda mu, log_var, epsilon: mu + torch.exp(0.5 * log_var) * epsilon,
    parts: Callable = lambda mu, log_var: (mu, log_var),
    drawn: Callable | None = None,
) -> Callable:
    """A bound with one or the other part replaced by a wrong one; drawn(mu, log_var, z) is a KL of the draw z."""

    def answer(encode: Callable, decode: Callable, x: Tensor, noise: Callable) -> Tensor:
        mu, log_var = parts(*encode(x))
        z = draw(mu, log_var, noise(mu))
        return last(score(decode(z), x), drawn(mu, log_var, z) if drawn else kl(mu, log_var))

    return answer


def wrong_sums(made: Callable, what: str, hint: str) -> tuple[Wrong, ...]:
    """Wrong ways of adding up terms (B, D) over D, pixels or what; made(last) is an answer with this last step."""
    batch = "the whole batch: one number for each picture is asked for."
    return (
        Wrong(made(lambda terms: terms.mean(-1)), f"It averages over the {what} where it should add them up.", hint),
        Wrong(made(lambda terms: terms), f"It leaves the {what} apart: the sum over them is missing.", hint),
        Wrong(made(lambda terms: terms.sum(0)), f"It adds up over the pictures, and not the {what}.", WRONG_AXIS),
        Wrong(made(lambda terms: terms.sum()), f"It adds up {batch}", WRONG_AXIS),
        Wrong(made(lambda terms: terms.sum(-1).mean()), f"It averages over {batch}", EACH_PICTURE),
    )


def wrong_loops(made: Callable, what: str) -> tuple[Wrong, ...]:
    """Loops over terms (B, D) that leave some out; made(last) is an answer with this last step."""
    return (
        Wrong(
            made(lambda terms: terms[:, 0]),
            f"It counts the first of the {what} alone.",
            "Does the `return` stand inside the loop?",
        ),
        Wrong(
            made(lambda terms: terms[:, -1]),
            f"It counts the last of the {what} alone.",
            "Inside the loop, `total = total + ...`.",
        ),
        Wrong(
            made(lambda terms: terms[:, :-1].sum(-1)),
            f"It leaves the last of the {what} out.",
            "Where does the loop end?",
        ),
    )


def wrong_log_means(made: Callable, n: str) -> tuple[Wrong, ...]:
    """Wrong logarithms of the mean of n weights; made(f) is an answer with this f of log weights (B, n, ...)."""
    log_n = f"log(a / {n}) = log a - log {n}."
    return (
        Wrong(
            made(lambda log_w: log_w.logsumexp(1)),
            f"It adds the weights up and does not divide by their number {n}.",
            f"A mean is a sum divided by {n}, also under the logarithm.",
        ),
        Wrong(
            made(lambda log_w: log_w.mean(1)),
            f"It averages the logarithms, which gives the ELBO, whatever {n} is.",
            "The logarithm is taken of the mean.",
        ),
        Wrong(
            made(lambda log_w: log_w.exp().mean(1).log()),
            "It gives -inf where the weights are too small for a float.",
            UNDERFLOW,
        ),
        Wrong(
            made(lambda log_w: log_w.max(1).values),
            "It takes the largest weight alone.",
            "The logarithm is taken of the mean.",
        ),
        Wrong(
            made(lambda log_w: log_w.logsumexp(1) / log_w.shape[1]),
            f"It divides the logarithm by {n}, and the sum under it should be divided.",
            log_n,
        ),
        Wrong(
            made(lambda log_w: log_w.logsumexp(1) - log_w.shape[1]),
            f"It subtracts {n}, and a division by {n} is the subtraction of log {n}.",
            log_n,
        ),
        Wrong(
            made(lambda log_w: log_w.logsumexp(1) + math.log(log_w.shape[1])),
            f"It adds log {n} where it should subtract it.",
            log_n,
        ),
    )


WRONG_KLS = (  # the terms of a KL from N(0, I), what is wrong with them, and a hint
    (lambda mu, log_var: 2 * kl_terms(mu, log_var), "is twice too large: the factor 1/2 is missing.", HALF),
    (
        lambda mu, log_var: 0.5 * kl_terms(mu, log_var),
        "is only half of what it should be.",
        "One factor 1/2 is enough.",
    ),
    (
        lambda mu, log_var: 0.5 * (mu**2 + log_var.exp() ** 2 - 1 - 2 * log_var),
        "takes exp(log_var) for sigma, and squares it again.",
        LOGARITHM,
    ),
    (
        lambda mu, log_var: 0.5 * (mu**2 + torch.exp(0.5 * log_var) - 1 - log_var),
        "has sigma where the variance belongs.",
        LOGARITHM,
    ),
    (
        lambda mu, log_var: 0.5 * (mu**2 + log_var.exp() ** 2 - 1 - log_var),
        "squares the variance exp(log_var).",
        LOGARITHM,
    ),
    (
        lambda mu, log_var: 0.5 * (mu**2 + log_var**2 - 1 - (log_var**2).log()),
        "takes log_var for sigma itself.",
        "log_var may be negative, sigma may not: which function comes between them?",
    ),
    (lambda mu, log_var: 0.5 * (mu**2 + log_var.exp() - log_var), "forgets the -1 of each latent.", MINUS_ONE),
    (
        lambda mu, log_var: 0.5 * (mu**2 + log_var.exp() + 1 - log_var),
        "adds 1 for each latent, where 1 is subtracted.",
        MINUS_ONE,
    ),
    (
        lambda mu, log_var: 0.5 * (mu**2 + log_var.exp() - 1 + log_var),
        "has the wrong sign before log_var.",
        "The KL grows without bound as q shrinks to a point: which term sees to that?",
    ),
    (
        lambda mu, log_var: 0.5 * (mu + log_var.exp() - 1 - log_var),
        "has mu where mu squared belongs.",
        "A shift to the left costs as much as one to the right.",
    ),
    (
        lambda mu, log_var: 0.5 * (mu.abs() + log_var.exp() - 1 - log_var),
        "has the absolute value of mu where mu squared belongs.",
        "E_q[z^2] is the variance plus something.",
    ),
    (
        lambda mu, log_var: 0.5 * (mu**2 + torch.exp(-log_var) - 1 + log_var),
        "has the sign of log_var wrong throughout.",
        LOGARITHM,
    ),
    (
        lambda mu, log_var: 0.5 * mu**2 + log_var.exp() - 1 - log_var,
        "has the factor 1/2 at mu squared alone.",
        "Brackets: every term has it.",
    ),
    (
        lambda mu, log_var: 0.5 * (mu**2 - 1 - log_var),
        "forgets the variance, the term exp(log_var).",
        "E_q[z^2] is mu^2 plus something.",
    ),
    (
        lambda mu, log_var: 0.5 * (log_var.exp() - 1 - log_var),
        "does not use mu.",
        "E_q[z^2] is the variance plus something.",
    ),
    (
        lambda mu, log_var: 0.5 * (mu**2 + log_var.exp() - 1),
        "forgets the entropy of q: the term -log_var.",
        "With this, what would keep a variance above 0?",
    ),
    (
        lambda mu, log_var: 0.5 * ((mu**2 + 1) * torch.exp(-log_var) - 1 + log_var),
        "is taken the other way round: it is that of N(0, I) from q.",
        "KL(q || p) is an average over draws of q.",
    ),
)


def wrong_kls(made: Callable, subject: str) -> tuple[Wrong, ...]:
    """Wrong KLs of q from N(0, I); made(terms) is an answer with these terms, and the subject, "It" or "Its KL"."""
    return tuple(Wrong(made(terms), f"{subject} {said}", hint) for terms, said, hint in WRONG_KLS)


def wrong_terms(bound: Callable) -> tuple[Wrong, ...]:
    """Bounds whose KL is wrong, or how it and the log-likelihood come together: bound(last, kl=...)."""
    return (
        Wrong(
            bound(lambda log_p, kl: log_p.sum(-1) + kl.sum(-1)),
            "It adds the KL where it should subtract it.",
            "The KL is a price: the bound is what is left of the log-likelihood.",
        ),
        Wrong(
            bound(lambda log_p, kl: kl.sum(-1) - log_p.sum(-1)),
            "Log-likelihood and KL have the signs that they have in a loss.",
            MINUS,
        ),
        Wrong(
            bound(lambda log_p, kl: -log_p.sum(-1) - kl.sum(-1)),
            "It takes the cross-entropy for the log-likelihood: the sign of that term is wrong.",
            BERNOULLI,
        ),
        Wrong(
            bound(lambda log_p, kl: log_p.mean(-1) - kl.sum(-1)),
            "It averages over the pixels where it should add them up, so the KL weighs far too much.",
            PIXELS,
        ),
        Wrong(
            bound(lambda log_p, kl: log_p.sum(-1) - kl.mean(-1)),
            "It averages the KL over the latents where it should add them up.",
            SUM_AXIS,
        ),
        Wrong(
            bound(lambda log_p, kl: log_p.mean(-1) - kl.mean(-1)),
            "It averages over pixels and over latents, and both are sums.",
            PIXELS,
        ),
        Wrong(
            bound(lambda log_p, kl: log_p.sum(-1)),
            "The KL is missing.",
            "Without the KL nothing keeps the codes near the prior.",
        ),
        Wrong(
            bound(lambda log_p, kl: -kl.sum(-1)),
            "The log-likelihood of x is missing.",
            "How well does the decoder's distribution fit x?",
        ),
        *wrong_kls(lambda kl: bound(kl=kl), "Its KL"),
    )


def wrong_batches(bound: Callable) -> tuple[Wrong, ...]:
    """Bounds that mix the pictures of a batch: bound(last)."""
    return (
        Wrong(
            bound(lambda log_p, kl: log_p_minus_kl(log_p, kl).mean()),
            "It averages over the batch: one bound for each picture is asked for.",
            EACH_PICTURE,
        ),
        Wrong(
            bound(lambda log_p, kl: log_p.sum() - kl.sum()),
            "It adds up the whole batch: one bound for each picture is asked for.",
            EACH_PICTURE,
        ),
        Wrong(
            bound(lambda log_p, kl: log_p.mean() - kl.sum(-1).mean()),
            "It averages over pixels and pictures alike, as a cross-entropy does by default.",
            REDUCTION,
        ),
        Wrong(
            bound(lambda log_p, kl: log_p.mean() - kl.sum(-1)),
            "Its log-likelihood is averaged over all pixels of all pictures, as a cross-entropy is by default.",
            REDUCTION,
        ),
        Wrong(
            bound(lambda log_p, kl: log_p.sum() - kl.sum(-1)),
            "Its log-likelihood is one number, that of the whole batch, and it is given to every picture.",
            REDUCTION,
        ),
    )


def wrong_scores(made: Callable) -> tuple[Wrong, ...]:
    """Wrong log-likelihoods of bits: made(score=...)."""
    return (
        Wrong(
            made(score=lambda logits, x: log_p_terms(logits.sigmoid(), x)),
            "It takes a sigmoid twice: once by hand, and once inside the cross-entropy with logits.",
            BERNOULLI,
        ),
        Wrong(
            made(score=lambda logits, x: log_p_terms(x, logits)),
            "It hands x to the cross-entropy as logits, and the logits as the picture.",
            "Which of its two arguments comes first?",
        ),
        Wrong(
            made(score=lambda logits, x: log_p_terms(logits, 1 - x)),
            "It scores the negative: ink and paper have changed places.",
            "The net's logit is that of ink, x = 1.",
        ),
        Wrong(
            made(score=lambda logits, x: x * F.logsigmoid(logits)),
            "It scores the ink alone: pixels of paper, where x is 0, cost nothing.",
            "log p(x) of a bit has two halves, for x = 1 and for x = 0.",
        ),
        Wrong(
            made(score=lambda logits, x: x * logits),
            "It scores x times the logit: the logarithm of the sum over both outcomes is missing.",
            "Which function of a logit is the logarithm of a probability?",
        ),
        Wrong(
            made(score=lambda logits, x: x * logits.sigmoid() + (1 - x) * (1 - logits.sigmoid())),
            "It adds up the pixels' probabilities, and their logarithms are needed.",
            BERNOULLI,
        ),
        Wrong(
            made(score=lambda logits, x: -((logits.sigmoid() - x) ** 2)),
            "It takes a squared error, and for bits the log-likelihood is a Bernoulli's.",
            BERNOULLI,
        ),
    )


def wrong_when_sure(made: Callable) -> tuple[Wrong, ...]:
    """Log-likelihoods of bits that are wrong only where a logit is large: made(score=...)."""

    def of_probability(p: Tensor, x: Tensor) -> Tensor:
        return -F.binary_cross_entropy(p, x, reduction="none")

    return (
        Wrong(
            made(score=lambda logits, x: of_probability(logits.sigmoid(), x)),
            "Where a net is very sure and wrong, its probability is rounded to 0 or 1, and the logarithm is capped.",
            FROM_LOGITS,
        ),
        Wrong(
            made(score=lambda logits, x: of_probability(logits.sigmoid().clamp(1e-7, 1 - 1e-7), x)),
            "Where a net is very sure and wrong, its probability has been clamped, and the price with it.",
            FROM_LOGITS,
        ),
    )


def wrong_draws(bound: Callable) -> tuple[Wrong, ...]:
    """Bounds at a wrong z: bound(draw=...)."""
    return (
        Wrong(
            bound(draw=lambda mu, log_var, epsilon: mu + torch.exp(log_var) * epsilon),
            "It stretches the noise by exp(log_var), the variance, where sigma belongs.",
            "What is sigma, in terms of log_var?",
        ),
        Wrong(
            bound(draw=lambda mu, log_var, epsilon: mu),
            "It decodes the mean of q: neither sigma nor the noise is used.",
            Z,
        ),
        Wrong(
            bound(draw=lambda mu, log_var, epsilon: mu + torch.exp(0.5 * log_var)),
            "It decodes mu + sigma: the noise is not used.",
            Z,
        ),
        Wrong(
            bound(draw=lambda mu, log_var, epsilon: epsilon),
            "It decodes the noise itself, a draw from the prior: the encoder has no say in z.",
            Z,
        ),
        Wrong(
            bound(draw=lambda mu, log_var, epsilon: mu + torch.exp(0.5 * log_var) + epsilon),
            "It adds sigma to the noise, and it should multiply.",
            Z,
        ),
        Wrong(
            bound(draw=lambda mu, log_var, epsilon: mu + log_var * epsilon),
            "It stretches the noise by log_var itself.",
            "What is sigma, in terms of log_var?",
        ),
        Wrong(bound(draw=lambda mu, log_var, epsilon: mu + epsilon), "It adds the noise without stretching it.", Z),
    )
