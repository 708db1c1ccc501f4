"""The last exercise, a VAE from an empty file: a module of the reader's own, before and after some training."""

import copy
import math
from collections.abc import Callable
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.distributions import Bernoulli, Independent, Normal, kl_divergence

from ..data import BUNDLED, mnist
from ..seeds import seeded
from .base import Exercise, Finding, Wrong

D = 784
GUESS = D * math.log(2)  # what a picture costs a decoder that knows nothing
METHODS = ("encode", "decode", "elbo", "generate")
REPEATS = 24  # draws for each picture


def _parts(model, x: Tensor) -> tuple[Tensor, Tensor, Callable]:
    """mu and log_var of x, and log p(x|z) of every pixel for some z."""
    mu, log_var = model.encode(x)

    def score(z: Tensor) -> Tensor:
        return -F.binary_cross_entropy_with_logits(model.decode(z), x, reduction="none")

    return mu, log_var, score


def _bound(
    last: Callable = lambda log_p, kl: log_p.sum(-1) - kl.sum(-1),
    sigma: Callable = lambda log_var: torch.exp(0.5 * log_var),
    noise: Callable = torch.randn_like,
    kl: Callable = lambda mu, log_var: 0.5 * (mu**2 + log_var.exp() - 1 - log_var),
) -> Callable:
    """An ELBO of a model's own parts, right or with one mistake."""

    def elbo(model, x: Tensor) -> Tensor:
        mu, log_var, score = _parts(model, x)
        z = mu + sigma(log_var) * noise(mu)
        return last(score(z), kl(mu, log_var))

    return elbo


def _by_distributions(model, x: Tensor) -> Tensor:
    mu, log_var = model.encode(x)
    q, prior = Normal(mu, log_var.exp().sqrt()), Normal(torch.zeros_like(mu), torch.ones_like(mu))
    return Independent(Bernoulli(logits=model.decode(q.rsample())), 1).log_prob(x) - kl_divergence(q, prior).sum(-1)


#: what an `elbo` of the reader's is known to be instead: its formula, the sentence, and a hint
MISTAKES: tuple[tuple[Callable, str, str], ...] = (
    (
        _bound(lambda log_p, kl: log_p.sum(-1) + kl.sum(-1)),
        "Its `elbo` adds the KL where it should subtract it.",
        "The KL is a price.",
    ),
    (
        _bound(lambda log_p, kl: kl.sum(-1) - log_p.sum(-1)),
        "Its `elbo` has the sign of a loss.",
        "Higher is better; the minus stands in the training step.",
    ),
    (
        _bound(lambda log_p, kl: -log_p.sum(-1) - kl.sum(-1)),
        "Its `elbo` takes the cross-entropy for the log-likelihood: the sign of that term is wrong.",
        "A cross-entropy is a loss.",
    ),
    (
        _bound(lambda log_p, kl: log_p.mean(-1) - kl.sum(-1)),
        "Its `elbo` averages over the pixels where it should add them up, so the KL weighs 784 times too much.",
        "Independent factors multiply, so their logarithms add up.",
    ),
    (
        _bound(lambda log_p, kl: log_p.mean(-1) - kl.mean(-1)),
        "Its `elbo` averages over pixels and over latents, and both are sums.",
        "Independent factors multiply, so their logarithms add up.",
    ),
    (
        _bound(lambda log_p, kl: log_p.sum(-1) - kl.mean(-1)),
        "Its `elbo` averages the KL over the latents where it should add them up.",
        "KLs of independent latents add up.",
    ),
    (
        _bound(lambda log_p, kl: log_p.sum(-1)),
        "Its `elbo` has no KL: this trains a classical autoencoder with noise.",
        "What keeps the codes near the prior?",
    ),
    (
        _bound(lambda log_p, kl: log_p.sum(-1) - 2 * kl.sum(-1)),
        "Its `elbo` subtracts the KL twice, or forgets its factor 1/2.",
        "Where is the 1/2 of the Gaussian's exponent?",
    ),
    (
        _bound(sigma=torch.exp),
        "Its `elbo` stretches the noise by exp(log_var), the variance, where sigma belongs.",
        "What is sigma, in terms of log_var?",
    ),
    (
        _bound(sigma=torch.zeros_like),
        "Its `elbo` decodes the mean of q, without noise.",
        "z = mu + sigma * epsilon.",
    ),
    (
        _bound(noise=torch.ones_like),
        "Its `elbo` decodes mu + sigma: no noise is drawn.",
        "z = mu + sigma * epsilon.",
    ),
    (
        _bound(sigma=torch.ones_like),
        "Its `elbo` adds the noise without stretching it.",
        "z = mu + sigma * epsilon.",
    ),
    (
        _bound(kl=lambda mu, log_var: 0.5 * (mu**2 + log_var.exp() ** 2 - 1 - 2 * log_var)),
        "The KL in its `elbo` takes exp(log_var) for sigma.",
        "What is log_var the logarithm of?",
    ),
    (
        _bound(kl=lambda mu, log_var: 0.5 * (mu**2 + log_var.exp() - log_var)),
        "The KL in its `elbo` forgets the -1 of each latent.",
        "The KL of N(0, I) from itself is 0.",
    ),
    (
        _bound(kl=lambda mu, log_var: 0.5 * (mu**2 + log_var.exp() - 1 + log_var)),
        "The sign of log_var is wrong inside the KL of its `elbo`.",
        "The KL grows without bound as q shrinks to a point.",
    ),
)


class _Plain(nn.Module):
    """A small VAE that the known wrong answers are made of."""

    def __init__(self, elbo: Callable, **replaced: Callable) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(D, 64), nn.Tanh(), nn.Linear(64, 2 * 8))
        self.decoder = nn.Sequential(nn.Linear(8, 64), nn.Tanh(), nn.Linear(64, D))
        self.replaced = {"elbo": elbo, **replaced}

    def encode(self, x):
        return tuple(self.encoder(x).chunk(2, -1))

    def decode(self, z):
        return self.replaced.get("decode", type(self).plain_decode)(self, z)

    def plain_decode(self, z):
        return self.decoder(z)

    def elbo(self, x):
        return self.replaced["elbo"](self, x)

    def generate(self, n):
        return self.replaced.get("generate", lambda self, n: self.decode(torch.randn(n, 8)).sigmoid())(self, n)


@cache
def _digits(seed: int) -> Tensor:
    with seeded(seed):
        return torch.bernoulli(mnist(root=BUNDLED).x_train[seed * 200 : seed * 200 + 400] / 255)


def _call(model: Any, name: str, *arguments: Any, shapes: tuple[tuple, ...]) -> Any:
    """What a method gives, of these shapes."""
    value = getattr(model, name)(*arguments)
    parts = value if isinstance(value, tuple | list) else (value,)
    if len(parts) != len(shapes) or not all(isinstance(part, Tensor) for part in parts):
        due = "a pair of tensors, mu and log_var" if len(shapes) == 2 else "a tensor"
        raise Finding("type", f"`{name}` returns {_named(value)}, and {due} is expected.", "Look at its last line.")
    came = tuple(tuple(part.shape) for part in parts)
    if any(a != b for a, b in zip(came, shapes, strict=True) if b):
        rows = " and ".join(map(str, came))
        due = " and ".join(map(str, filter(None, shapes)))
        hint = (
            "One row is one picture; only the loss averages over them." if name == "elbo" else "One row is one picture."
        )
        raise Finding("shape", f"`{name}` gives shape {rows}, and {due} is expected.", hint)
    return value


def _named(value: Any) -> str:
    if isinstance(value, tuple | list):
        return f"{len(value)} things"
    return "None" if value is None else f"a {type(value).__name__}"


def _stretched(model: Any, x: Tensor) -> Any:
    """A copy whose weights are so large that mu and log_var are far from 0, and every mistake shows."""
    model = copy.deepcopy(model)
    with torch.no_grad():
        for _ in range(30):
            mu, log_var = model.encode(x)
            if min(mu.abs().mean(), log_var.abs().mean()) > 0.5 or log_var.abs().max() > 4:
                break
            for weight in model.parameters():
                weight *= 1.15
    return model


def _formula(model: Any, x: Tensor) -> None:
    """Raises Finding if `elbo` is none of the right bounds of the model's own encode and decode."""
    model, rows = _stretched(model, x), x.repeat(REPEATS, 1)

    def averages(elbo: Callable) -> tuple[Tensor, Tensor]:
        with torch.no_grad(), seeded(0):
            values = elbo(model, rows).view(REPEATS, len(x)).double()
        return values.mean(0), values.std(0) / REPEATS**0.5

    mine, noise = averages(lambda model, rows: model.elbo(rows))

    def off(elbo: Callable) -> float:
        theirs, error = averages(elbo)
        return ((mine - theirs).abs() / (5 * (noise**2 + error**2).sqrt() + 1e-3 * theirs.abs() + 1e-3)).max().item()

    distances = [off(elbo) for elbo, _, _ in MISTAKES]
    right = max(off(_by_distributions), 1e-9)
    best = min(range(len(MISTAKES)), key=distances.__getitem__)
    if right <= 1 and right <= 20 * distances[best]:
        return
    if distances[best] <= 1:
        raise Finding("known", *MISTAKES[best][1:])
    due = averages(_by_distributions)[0][0].item()
    came = (
        f"`elbo` gives {mine[0].item():.1f} on average for a digit, and its own encode and decode make {due:.1f} of it."
    )
    raise Finding("value", came, "Compare each of its two terms with torch.distributions.")


SIGMOID = (
    "`decode` gives nothing below 0: probabilities, it seems, and logits are expected.",
    ("The sigmoid is inside the cross-entropy with logits."),
)
NOT_PROBABLE = "`generate` gives logits, and probabilities from 0 to 1 are expected.", "A sigmoid makes probabilities."
OWN_Z = "Each picture begins with a z of its own, drawn from N(0, I)."
SAME = "`generate` gives the same pictures every time.", OWN_Z
ALL_ALIKE = "`generate` gives n times the same picture.", OWN_Z
CUT = "No gradient of `elbo` reaches any weight.", "`.detach()` and `no_grad` cut the graph."
ENCODER_CUT = "No gradient of `elbo` reaches the encoder.", "`.detach()`, `sample()` and `no_grad` cut the graph."


def _before(model: Any, x: Tensor) -> None:
    """Raises Finding for what is wrong with the untrained model."""
    mu, _ = _call(model, "encode", x, shapes=((), ()))
    n, d_z = len(x), mu.shape[-1]
    _call(model, "encode", x, shapes=((n, d_z), (n, d_z)))
    with torch.no_grad(), seeded(0):
        logits = _call(model, "decode", 3 * torch.randn(n, d_z), shapes=((n, D),))
        if (logits >= 0).all():
            raise Finding("known", *SIGMOID)
        log_p = _bound(lambda log_p, kl: log_p.sum(-1))(model, x).mean().item()
    if abs(log_p + GUESS) > 60:
        said = f"Before training a digit has {log_p:.0f} nats, and guessing gives it -784 log 2, {-GUESS:.0f}."
        raise Finding("value", said, "Small random weights put every pixel near one half.")
    _call(model, "elbo", x, shapes=((n,),))
    _formula(model, x[:8])
    _slopes(model, x)
    with seeded(1):
        pictures = _call(model, "generate", 5, shapes=((5, D),)).detach()
        more = model.generate(5).detach()
    if not (pictures.min() >= 0 and pictures.max() <= 1):
        raise Finding("known", *NOT_PROBABLE)
    if torch.equal(pictures, more):
        raise Finding("known", *SAME)
    if torch.equal(pictures[0], pictures[1]):
        raise Finding("known", *ALL_ALIKE)


def _slopes(model: Any, x: Tensor) -> None:
    """Raises Finding if a weight is not learned."""
    weights = dict(model.named_parameters())
    bound = model.elbo(x).mean()
    if not bound.requires_grad:
        raise Finding("known", *CUT)
    slopes = torch.autograd.grad(bound, list(weights.values()), allow_unused=True)
    dead = [name for name, slope in zip(weights, slopes, strict=True) if slope is None or not slope.any()]
    mu, log_var = model.encode(x)
    of_codes = torch.autograd.grad(mu.sum() + log_var.sum(), list(weights.values()), allow_unused=True)
    encoder = {name for name, slope in zip(weights, of_codes, strict=True) if slope is not None}
    if encoder and encoder <= set(dead):
        raise Finding("known", *ENCODER_CUT)
    if dead:
        raise Finding("gradient", f"No gradient of `elbo` reaches {dead[0]}.", "Is that layer used?")


STEPS = 30


def _after(model: Any, x: Tensor) -> None:
    """Raises Finding for what shows only once it is trained for a moment."""
    model = copy.deepcopy(model)
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    with seeded(0):
        before = model.elbo(x).mean().item()
        for i in range(STEPS):
            loss = -model.elbo(x[i % 4 :: 4]).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        after = model.elbo(x).mean().item()
        mu, log_var = model.encode(x)
        kl = 0.5 * (mu**2 + log_var.exp() - 1 - log_var).sum(-1)
    if not after > before + 100:
        said = f"With some training its ELBO hardly rises: from {before:.0f} to {after:.0f} nats in {STEPS} steps."
        raise Finding("value", said, "Do the weights move? Is a net too small, or an activation in the last layer?")
    if kl.min() < 0:
        raise Finding("value", f"A picture's KL is {kl.min().item():.2f}, and none is below 0.", "Check its formula.")


def _try(build: Callable, x: Tensor) -> Tensor:
    """1, or the first finding, of what a call of `build` gives."""
    model = build()
    if not isinstance(model, nn.Module):
        raise Finding(
            "type",
            f"It returns {_named(model)}, and a `torch.nn.Module` is expected.",
            "An object, not the class: with its brackets." if isinstance(model, type) else "Is the `return` missing?",
        )
    if missing := [name for name in METHODS if not callable(getattr(model, name, None))]:
        raise Finding("type", f"The module has no method {missing[0]}.", f"It needs {', '.join(METHODS)}.")
    if not list(model.parameters()):
        raise Finding(
            "type",
            "The module has no weights.",
            "Nets that are attributes of a module hand it their weights; a list of nets does not.",
        )
    _before(model, x[:100])
    _after(model, x)
    return torch.ones(())


RIGHT = _bound()


def _wrong(elbo: Callable = RIGHT, **replaced: Callable) -> Callable:
    return lambda: _Plain(elbo, **replaced)


def _cut(model, x: Tensor) -> Tensor:
    """An ELBO whose codes are detached."""
    mu, log_var = (part.detach() for part in model.encode(x))
    log_p = -F.binary_cross_entropy_with_logits(
        model.decode(mu + torch.exp(0.5 * log_var) * torch.randn_like(mu)), x, reduction="none"
    )
    return log_p.sum(-1) - 0.5 * (mu**2 + log_var.exp() - 1 - log_var).sum(-1)


BUILD_VAE = Exercise(
    chapter=11,
    name="build_vae",
    tested="untrained it guesses, its bound is right for its own nets, all weights learn, and some training helps.",
    probes=lambda seed: [(_digits(seed),)],
    oracle=lambda x: torch.ones(()),
    run=_try,
    wrong=(
        *(Wrong(_wrong(elbo), sentence, hint) for elbo, sentence, hint in MISTAKES),
        Wrong(_wrong(decode=lambda self, z: self.decoder(z).sigmoid()), *SIGMOID),
        Wrong(_wrong(generate=lambda self, n: self.decode(torch.randn(n, 8))), *NOT_PROBABLE),
        Wrong(_wrong(generate=lambda self, n: self.decode(torch.linspace(-1, 1, 8 * n).view(n, 8)).sigmoid()), *SAME),
        Wrong(_wrong(generate=lambda self, n: self.decode(torch.randn(8)).sigmoid().expand(n, -1)), *ALL_ALIKE),
        Wrong(_wrong(lambda self, x: RIGHT(self, x).detach()), *CUT),
        Wrong(_wrong(_cut), *ENCODER_CUT),
    ),
)
