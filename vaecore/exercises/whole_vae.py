"""The last exercise, a VAE from an empty file: a module of the reader's own, before and after some training."""

import copy
import math
from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import Normal

from .. import data
from ..seeds import seeded
from .base import Exercise, Finding, Wrong
from .shared import bound, elbo_by_distributions, kl_terms, wrong_draws, wrong_scores, wrong_terms

D = 784
GUESS = D * math.log(2)  # what a picture costs a decoder that knows nothing
METHODS = ("encode", "decode", "elbo", "generate")
REPEATS = 24  # draws for each picture


def _elbo(*last: Callable, **parts: Callable) -> Callable:
    """An ELBO of a model's own encode and decode, right or with one mistake."""
    return lambda model, x: bound(*last, **parts)(model.encode, model.decode, x, torch.randn_like)


def _by_distributions(model, x: Tensor) -> Tensor:
    mu, log_var = model.encode(x)
    z = Normal(mu, log_var.exp().sqrt()).rsample()
    return elbo_by_distributions(mu, log_var, model.decode(z), x)


MISTAKES = (*wrong_terms(_elbo), *wrong_draws(_elbo), *wrong_scores(_elbo))  # what an `elbo` is known to be instead


class _Plain(nn.Module):
    """A small VAE that the known wrong answers are made of."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(D, 64), nn.Tanh(), nn.Linear(64, 2 * 8))
        self.decoder = nn.Sequential(nn.Linear(8, 64), nn.Tanh(), nn.Linear(64, D))

    def encode(self, x):
        return self.encoder(x).chunk(2, -1)

    def decode(self, z):
        return self.decoder(z)

    def elbo(self, x):
        return _elbo()(self, x)

    def generate(self, n):
        return self.decode(torch.randn(n, 8)).sigmoid()


@cache
def _digits(seed: int) -> Tensor:
    here = data.BUNDLED if data.BUNDLED.is_dir() else None  # a notebook's copy of the package has none
    with seeded(seed):
        return torch.bernoulli(data.mnist(root=here).x_train[seed * 200 : seed * 200 + 400] / 255)


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
        hint = f"One row is one picture{'; only the loss averages over them' if name == 'elbo' else ''}."
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
        ratio = (mine - theirs).abs() / (5 * (noise**2 + error**2).sqrt() + 1e-3 * theirs.abs() + 1e-3)
        return ratio.max().item()

    distances = [off(mistake.answer) for mistake in MISTAKES]
    right = max(off(_by_distributions), 1e-9)
    best = min(range(len(MISTAKES)), key=distances.__getitem__)
    if right <= 1 and right <= 20 * distances[best]:
        return
    if distances[best] <= 1:
        raise Finding("known", _in_elbo(MISTAKES[best].sentence), MISTAKES[best].hint)
    due = averages(_by_distributions)[0][0].item()
    came = f"`elbo` gives {mine[0].item():.1f} on average for a digit"
    said = f"{came}, and its own encode and decode make {due:.1f} of it."
    raise Finding("value", said, "Compare each of its two terms with torch.distributions.")


SIGMOID = (
    "`decode` gives nothing below 0: probabilities, it seems, and logits are expected.",
    "The sigmoid is inside the cross-entropy with logits.",
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
        log_p = _elbo(lambda log_p, kl: log_p.sum(-1))(model, x).mean().item()
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
        kl = kl_terms(mu, log_var).sum(-1)
    if not after > before + 100:
        said = f"With some training its ELBO hardly rises: from {before:.0f} to {after:.0f} nats in {STEPS} steps."
        raise Finding("value", said, "Do the weights move? Is a net too small, or an activation in the last layer?")
    if kl.min() < 0:
        raise Finding("value", f"A picture's KL is {kl.min().item():.2f}, and none is below 0.", "Check its formula.")


def _try(build: Callable, x: Tensor) -> Tensor:
    """1, or the first finding, of what a call of `build` gives."""
    model = build()
    if not isinstance(model, nn.Module):
        hint = "An object, not the class: with its brackets." if isinstance(model, type) else "Is the `return` missing?"
        raise Finding("type", f"It returns {_named(model)}, and a `torch.nn.Module` is expected.", hint)
    if missing := [name for name in METHODS if not callable(getattr(model, name, None))]:
        raise Finding("type", f"The module has no method {missing[0]}.", f"It needs {', '.join(METHODS)}.")
    if not list(model.parameters()):
        hint = "Nets that are attributes of a module hand it their weights; a list of nets does not."
        raise Finding("type", "The module has no weights.", hint)
    _before(model, x[:100])
    _after(model, x)
    return torch.ones(())


def _in_elbo(sentence: str) -> str:
    return f"In `elbo`: {sentence[0].lower()}{sentence[1:]}"


def _wrong(**methods: Callable) -> Callable:
    """A builder of the small VAE with these methods instead of its own."""
    return lambda: type("Answer", (_Plain,), methods)()


BUILD_VAE = Exercise(
    chapter=11,
    name="build_vae",
    tested="untrained it guesses, its bound is right for its own nets, all weights learn, and some training helps.",
    probes=lambda seed: [(_digits(seed),)],
    oracle=lambda x: torch.ones(()),
    run=_try,
    wrong=(
        *(Wrong(_wrong(elbo=one.answer), _in_elbo(one.sentence), one.hint) for one in MISTAKES),
        Wrong(_wrong(decode=lambda self, z: self.decoder(z).sigmoid()), *SIGMOID),
        Wrong(_wrong(generate=lambda self, n: self.decode(torch.randn(n, 8))), *NOT_PROBABLE),
        Wrong(_wrong(generate=lambda self, n: self.decode(torch.linspace(-1, 1, 8 * n).view(n, 8)).sigmoid()), *SAME),
        Wrong(_wrong(generate=lambda self, n: self.decode(torch.randn(8)).sigmoid().expand(n, -1)), *ALL_ALIKE),
        Wrong(_wrong(elbo=lambda self, x: _elbo()(self, x).detach()), *CUT),
        Wrong(_wrong(elbo=_elbo(parts=lambda mu, log_var: (mu.detach(), log_var.detach()))), *ENCODER_CUT),
    ),
)
