"""The last exercise, a VAE from an empty file: a module of the reader's own, before and after some training."""

import copy
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import Bernoulli, Normal

from .. import data
from ..seeds import seeded
from .base import Exercise, Finding, Wrong, a_type, distance
from .shared import bound, elbo_by_distributions, kl_terms, wrong_draws, wrong_scores, wrong_terms

D = 784
METHODS = ("encode", "decode", "elbo", "generate")
REPEATS = 200  # draws for each picture, where only an average can be compared
SEED = 511  # none that a reader would set
EXACT = 2e-5, 5e-3


def _elbo(*last: Callable, **parts: Callable) -> Callable:
    """An ELBO of a model's own encode and decode, right or with one mistake."""
    return lambda model, x, noise=torch.randn_like: bound(*last, **parts)(model.encode, model.decode, x, noise)


def _by_distributions(model, x: Tensor, noise: Callable = torch.randn_like) -> Tensor:
    mu, log_var = model.encode(x)
    return elbo_by_distributions(mu, log_var, model.decode(mu + log_var.exp().sqrt() * noise(mu)), x)


def _of_one_draw(model, x: Tensor, noise: Callable = torch.randn_like) -> Tensor:
    """The bound with one draw for the KL as well."""
    mu, log_var = model.encode(x)
    q = Normal(mu, log_var.exp().sqrt())
    z = q.mean + q.stddev * noise(mu)
    log_ratio = Normal(torch.zeros_like(mu), torch.ones_like(mu)).log_prob(z) - q.log_prob(z)
    return Bernoulli(logits=model.decode(z)).log_prob(x).sum(-1) + log_ratio.sum(-1)


RIGHT = _by_distributions, _of_one_draw
MISTAKES = (  # what an `elbo` is known to be instead
    *wrong_terms(_elbo),
    *wrong_draws(_elbo),
    *wrong_scores(_elbo),
    Wrong(
        _elbo(parts=lambda mu, log_var: (log_var, mu)),
        "It takes mu for log_var, and log_var for mu.",
        "In which order does `encode` return the two?",
    ),
)


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
    return "None" if value is None else a_type(value)


def _shaken(model: Any, x: Tensor) -> Any:
    """A copy with weights so far from a start's that mu and log_var are far from 0, and every mistake shows."""
    model = copy.deepcopy(model).eval()
    with torch.no_grad(), seeded(SEED):
        for weight in model.parameters():
            weight += 0.03 * torch.randn_like(weight)
        for _ in range(30):
            mu, log_var = model.encode(x)
            if min(mu.abs().mean(), log_var.abs().mean()) > 0.5 or log_var.abs().max() > 4:
                break
            for weight in model.parameters():
                weight *= 1.15
    return model


def _watched(model: Any, d_z: int) -> Callable[[Callable, int], tuple[Tensor, Tensor | None]]:
    """Calls of a method that also give the z (n, Z) which it decodes; None where it does not do so by `decode`."""
    decode, seen = model.decode, []

    def decode_and_note(z: Tensor) -> Tensor:
        seen.append(z)
        return decode(z)

    vars(model)["decode"] = decode_and_note

    def call(method: Callable, n: int) -> tuple[Tensor, Tensor | None]:
        seen.clear()
        value = method()
        known = sum(z.numel() for z in seen) == n * d_z
        return value, torch.cat([z.reshape(-1, d_z) for z in seen]) if known else None

    return call


def _odd(noise: Tensor) -> str:
    """What shows that noise (N, Z) is not from N(0, I); nothing if it may be."""
    n, many = len(noise), noise.numel()
    mean, std = noise.mean().item(), noise.std().item()
    if not abs(mean) < 5 / many**0.5 or not abs(std - 1) < 5 / (2 * many) ** 0.5:
        return f"has mean {mean:.2f} and standard deviation {std:.2f}, and 0 and 1 are expected"
    if abs((noise**4).mean() - 3) > 50 / many**0.5:
        return "has other tails than a Gaussian's"
    together = noise.T @ noise / n
    if (together - together.diag().diag()).abs().max() > 7 / n**0.5:
        return "moves several latents together"
    return "is not drawn for each picture by itself" if (noise[1:] * noise[:-1]).mean().abs() > 5 / many**0.5 else ""


def _formula(model: Any, x: Tensor) -> None:
    """Raises Finding if `elbo` is none of the right bounds of the model's own encode and decode."""
    mu, log_var = model.encode(x)
    if not torch.equal(mu, model.encode(x)[0]):
        raise Finding(
            "random", "`encode` gives other numbers at each call.", "The noise is added in `elbo`, to make z."
        )
    if distance(model.encode(x[:5])[0], mu[:5], (1e-3, 1e-3)) > 1:
        raise Finding("mixed", "`encode` of one picture changes with the others of its batch.", "A row is one picture.")
    if torch.equal(mu[0], mu[1]) and torch.equal(log_var[0], log_var[1]):
        raise Finding("unused", "`encode` gives the same for every picture.", "Which line of it has x in it?")
    watched = _watched(model, mu.shape[1])

    def drawn(seed: int) -> tuple[Tensor, Tensor | None]:
        with seeded(seed):
            return watched(lambda: model.elbo(x), len(x))

    def noise_of(z: Tensor) -> Tensor:
        return ((z - mu) * torch.exp(-0.5 * log_var)).detach()

    values, z = drawn(SEED)
    with seeded(SEED):
        usual = torch.randn_like(mu)
    own = usual if z is None else noise_of(z)

    def which(elbos: Iterable[Callable], noise: Tensor) -> Iterator[tuple[int, Tensor]]:
        """Which of the bounds `elbo` gives picture by picture, with this noise."""
        for i, elbo in enumerate(elbos):
            theirs = elbo(model, x, lambda mu: noise)
            if distance(values.detach().float(), theirs.detach(), EXACT) <= 1:
                yield i, theirs

    def name_mistake(noise: Tensor) -> None:
        for i, _ in which([mistake.answer for mistake in MISTAKES], noise):
            raise Finding("known", _in_elbo(MISTAKES[i].sentence), MISTAKES[i].hint)

    right = [theirs for _, theirs in which(RIGHT, usual)]
    if not right:
        name_mistake(usual)
    if torch.equal(values, drawn(SEED + 1)[0]):
        raise Finding("random", "`elbo` draws the same noise at each call.", "Draw it inside, and set no seed there.")
    if not right and (right := [theirs for _, theirs in which(RIGHT, own)]):
        more = [noise_of(z) for seed in range(20) if (z := drawn(SEED + seed)[1]) is not None]
        if odd := _odd(torch.cat(more)):
            hint = "A number from N(0, 1) for each latent of each picture, times sigma."
            raise Finding(
                "value", f"z is not mu + sigma times noise from N(0, I): that noise, (z - mu) / sigma, {odd}.", hint
            )
    if right:
        _slopes(model, x)
        if not any(_same_slopes(model, values, theirs) for theirs in right):
            said = "`elbo` has the right value, but not the gradient that its own encode and decode give."
            hint = "z and the KL both depend on mu and log_var; `.detach()` and `sample()` cut that."
            raise Finding("gradient", said, hint)
    elif z is None:
        _average(model, x)
    else:
        name_mistake(own)
        raise _unlike(values, _by_distributions(model, x, lambda mu: own), "with the same z")


def _same_slopes(model: Any, mine: Tensor, theirs: Tensor) -> bool:
    """Whether two bounds have the same gradient in all weights."""
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    slopes = [torch.autograd.grad(b.sum(), weights, retain_graph=True, allow_unused=True) for b in (mine, theirs)]
    return all(
        distance(a, b, (1e-3, 1e-3 * (0 if b is None else b.abs().max().item()) + 1e-4)) <= 1
        for a, b in zip(*slopes, strict=True)
    )


def _unlike(mine: Tensor, theirs: Tensor, how: str) -> Finding:
    i = int((mine - theirs).abs().argmax())
    due = f"{how} its own encode and decode make {theirs[i].item():.2f} of it"
    said = f"`elbo` gives {mine[i].item():.2f} for a digit, and {due}."
    return Finding("value", said, "Compare each of its two terms with torch.distributions.")


def _average(model: Any, x: Tensor) -> None:
    """Raises Finding if `elbo` is another bound on average."""
    x = x[:8]
    rows = x.repeat(REPEATS, 1)

    def averages(elbo: Callable) -> tuple[Tensor, Tensor]:
        with torch.no_grad(), seeded(SEED):
            values = elbo(model, rows).view(REPEATS, len(x)).double()
        return values.mean(0), values.std(0) / REPEATS**0.5

    (mine, noise), (theirs, error) = averages(lambda model, rows: model.elbo(rows)), averages(_by_distributions)
    if ((mine - theirs).abs() > 5 * (noise**2 + error**2).sqrt() + 1e-2).any():
        raise _unlike(mine, theirs, "on average over many draws")


def _prior(model: Any, d_z: int, n: int = 1000) -> None:
    """Raises Finding if `generate` is not the sigmoid of what its decoder makes of draws from N(0, I)."""
    with torch.no_grad(), seeded(SEED):
        pictures, z = _watched(model, d_z)(lambda: model.generate(n), n)
    with torch.no_grad(), seeded(SEED):
        plain = torch.randn(n, d_z)
        due = model.decode(plain).sigmoid()
        if distance(pictures.float(), due, (1e-4, 1e-4)) <= 1:
            return
        if z is not None and (odd := _odd(z)):
            raise Finding("value", f"The z that `generate` decodes {odd}.", OWN_Z)
        off = (pictures - due).mean(0).abs() / (5 * ((pictures.var(0) + due.var(0)) / n).sqrt() + 1e-3)
        if z is not None:
            off = (pictures - model.decode(z).sigmoid()).abs() / 1e-3
    if off.max() > 1:
        said = "`generate` gives other pictures than the sigmoid of what `decode` makes of draws from N(0, I)."
        raise Finding("value", said, "Draw z, decode it, and take one sigmoid.")


SIGMOID = (
    "`decode` gives nothing below 0: probabilities, or the result of a ReLU, and logits are expected.",
    "The sigmoid is inside the cross-entropy with logits.",
)
NOT_PROBABLE = (
    "`generate` gives numbers that are not between 0 and 1, and probabilities are expected.",
    "A sigmoid makes probabilities of logits.",
)
BITS = "`generate` gives bits, and their probabilities are expected.", "The sigmoid of a logit is one."
OWN_Z = "Each picture begins with a z of its own, drawn from N(0, I)."
SAME = "`generate` gives the same pictures every time.", OWN_Z
ALL_ALIKE = "`generate` gives n times the same picture.", OWN_Z
CUT = "No gradient of `elbo` reaches any weight.", "`.detach()` and `no_grad` cut the graph."
ENCODER_CUT = "No gradient of `elbo` reaches the encoder.", "`.detach()`, `sample()` and `no_grad` cut the graph."


UNUSED_Z = "`decode` gives the same for every z.", "Which line of it has z in it?"
LISTED = (
    "`elbo` has weights that are none of the module's, so no optimiser trains them.",
    "A net in a plain list or dict stays unknown: make it an attribute, or use `nn.ModuleList`.",
)


def _before(model: Any, x: Tensor) -> None:
    """Raises Finding for what is wrong with the untrained model."""
    mu, _ = _call(model, "encode", x, shapes=((), ()))
    n, d_z = len(x), mu.shape[-1]
    _call(model, "encode", x, shapes=((n, d_z), (n, d_z)))
    _call(model, "decode", torch.zeros(n, d_z), shapes=((n, D),))
    _call(model, "elbo", x, shapes=((n,),))
    _call(model, "generate", 5, shapes=((5, D),))
    own = {id(weight) for weight in model.parameters()}
    if any(id(leaf) not in own for leaf in _leaves(model.elbo(x))):
        raise Finding("known", *LISTED)
    model = _shaken(model, x)
    with torch.no_grad(), seeded(0):
        logits = model.decode(3 * torch.randn(n, d_z))
        if (logits >= 0).all():
            raise Finding("known", *SIGMOID)
        if torch.equal(logits[0], logits[1]):
            raise Finding("known", *UNUSED_Z)
        pictures, more = model.generate(5), model.generate(5)
    _formula(model, x[:20])
    if not (pictures.min() >= 0 and pictures.max() <= 1):
        raise Finding("known", *NOT_PROBABLE)
    if ((pictures == 0) | (pictures == 1)).all():
        raise Finding("known", *BITS)
    if torch.equal(pictures, more):
        raise Finding("known", *SAME)
    if torch.equal(pictures[0], pictures[1]):
        raise Finding("known", *ALL_ALIKE)
    _prior(model, d_z)


def _leaves(value: Tensor) -> Iterator[Tensor]:
    """All weights that a tensor depends on."""
    nodes, seen = [value.grad_fn], set()
    while nodes:
        node = nodes.pop()
        if node is not None and node not in seen:
            seen.add(node)
            nodes += [after for after, _ in node.next_functions]
            if (leaf := getattr(node, "variable", None)) is not None:
                yield leaf


def _slopes(model: Any, x: Tensor) -> None:
    """Raises Finding if a weight is not learned."""
    learning, encoder = ({id(leaf) for leaf in _leaves(t)} for t in (model.elbo(x), torch.cat(model.encode(x))))
    if not learning:
        raise Finding("known", *CUT)
    if not encoder & learning:
        raise Finding("known", *ENCODER_CUT)
    for name, weight in model.named_parameters():
        if id(weight) not in learning:
            raise Finding("gradient", f"No gradient of `elbo` reaches {name}.", "Is that layer used?")


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
    if not after > before:
        said = f"With some training its ELBO does not rise: from {before:.0f} to {after:.0f} nats in {STEPS} steps."
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


def _wrong(**methods: Any) -> Callable:
    """A builder of the small VAE with these methods instead of its own."""
    return lambda: type("Answer", (_Plain,), methods)()


BUILD_VAE = Exercise(
    chapter=11,
    name="build_vae",
    tested="bound and gradient are right for its own nets, all weights learn, it generates, and some training helps.",
    probes=lambda seed: [(_digits(seed),)],
    oracle=lambda x: torch.ones(()),
    run=_try,
    wrong=(
        *(Wrong(_wrong(elbo=one.answer), _in_elbo(one.sentence), one.hint) for one in MISTAKES),
        Wrong(_wrong(decode=lambda self, z: self.decoder(z).sigmoid()), *SIGMOID),
        Wrong(_wrong(generate=lambda self, n: self.decode(torch.randn(n, 8))), *NOT_PROBABLE),
        Wrong(_wrong(generate=lambda self, n: self.decode(torch.linspace(-1, 1, 8 * n).view(n, 8)).sigmoid()), *SAME),
        Wrong(_wrong(generate=lambda self, n: self.decode(torch.randn(8)).sigmoid().expand(n, -1)), *ALL_ALIKE),
        Wrong(_wrong(generate=lambda self, n: torch.bernoulli(_Plain.generate(self, n))), *BITS),
        Wrong(_wrong(decode=lambda self, z: self.decoder(0 * z)), *UNUSED_Z),
        Wrong(_wrong(encode=lambda self, x: self.parts[0](x).chunk(2, -1), parts=[_Plain().encoder]), *LISTED),
        Wrong(_wrong(elbo=lambda self, x: _elbo()(self, x).detach()), *CUT),
        Wrong(_wrong(elbo=_elbo(parts=lambda mu, log_var: (mu.detach(), log_var.detach()))), *ENCODER_CUT),
    ),
)
