"""The ELBO gap viewer: a Gaussian q next to a true posterior, and what the gap between them costs."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
import traitlets
from jaxtyping import Float64
from matplotlib.axes import Axes
from torch import Tensor

from .. import figures
from ..figures import Picture
from .base import Explorer, as_float64

LIMIT = 3.0  # how far mu goes to either side
NARROWEST, WIDEST = 0.1, 1.5  # how far sigma goes
START = (1.0, 1.0)  # mu and sigma at first
REACH = LIMIT + 6 * WIDEST  # at most a billionth of q's mass lies outside
RANGES = {"mu": (-LIMIT, LIMIT), "sigma": (NARROWEST, WIDEST)}

Numbers = Tensor | np.ndarray | Sequence[float]


class GapExplorer(Explorer):
    """Sliders for q = N(mu, sigma^2) in one dimension, over the true posterior of one observed x; the prior is N(0, 1).

    `z` is an even grid (N,), and `log_joint` is log p(x, z) on it (N,), in nats; or a dict of several, by names that
    the reader chooses between. All integrals are trapezoid sums over the grid, here and in the page. The grid must
    reach from -12 to 12 in steps of 0.05 or less: then, for posteriors no narrower than sigma = 0.1, the sums are the
    integrals to a millionth of a nat, or of their own size. Raises ValueError for anything else, and for a posterior
    so narrow that log p(x) changes by more than 1e-4 if every second point is left out.
    """

    mu = traitlets.CFloat().tag(sync=True, value=True)
    sigma = traitlets.CFloat().tag(sync=True, value=True)
    posterior = traitlets.Unicode().tag(sync=True, value=True)  # the name of the one shown

    def __init__(self, z: Numbers, log_joint: Numbers | Mapping[str, Numbers], *, live: bool | None = None) -> None:
        self.grid = _grid(z)
        self._log_prior = -0.5 * (math.log(2 * math.pi) + self.grid**2)
        joints = dict(log_joint) if isinstance(log_joint, Mapping) else {"": log_joint}
        if not joints:
            raise ValueError("log_joint must hold at least one posterior; got an empty dict.")
        self._joints = {name: self._checked(joint, name) for name, joint in joints.items()}
        posteriors = [
            dict(name=name, log_joint=joint.tolist(), gaussian=self._gaussian(name))
            for name, joint in self._joints.items()
        ]
        settings = dict(ends=[self.grid[0].item(), self.grid[-1].item()], posteriors=posteriors, start=START)
        settings |= dict(limit=LIMIT, narrowest=NARROWEST, widest=WIDEST)
        first = next(iter(self._joints))
        super().__init__(
            "ELBO gap viewer", settings, {}, live, kind="gap", mu=START[0], sigma=START[1], posterior=first
        )

    @property
    def log_evidence(self) -> float:
        """log p(x), in nats."""
        return self._log_evidence(self.posterior).item()

    @property
    def elbo(self) -> float:
        """Reconstruction minus KL to the prior, in nats. Eq. elbo."""
        terms = self.terms()
        return terms["reconstruction"] - terms["kl_to_prior"]

    @property
    def gap(self) -> float:
        """KL(q || p(z|x)), in nats."""
        return self.terms()["gap"]

    def terms(self) -> dict[str, float]:
        """Return the four terms of the derivation's last line, for the current q and posterior, in nats."""
        return {name: value.item() for name, value in self._terms(self.posterior, self.mu, self.sigma).items()}

    def best(self, name: str) -> tuple[float, float]:
        """Return mu and sigma where the page's button "climb from here" ends, from the start: a top of the ELBO."""
        mu, sigma, step = *START, 0.2
        elbo = self._elbos(name, [START])[0]
        while step > 1e-4:  # as in js/gap_terms.js: to the best of four neighbours, or with half the step
            around = ((step, 0), (-step, 0), (0, step), (0, -step))
            neighbours = [(_clip(mu + a, "mu"), _clip(sigma + b, "sigma")) for a, b in around]
            elbos = self._elbos(name, neighbours)
            if max(elbos) > elbo + 1e-12:
                elbo = max(elbos)
                mu, sigma = neighbours[elbos.index(elbo)]
            else:
                step /= 2
        return mu, sigma

    def static(self) -> Picture:
        """Return curves over bars: the q of the start for the first posterior, and the best q for each."""
        best = {name: self._gaussian(name) or self.best(name) for name in self._joints}
        first = next(iter(best))
        columns = [(first, *START), *((name, *q) for name, q in best.items())]
        figure, axes = figures.axes(2.2 * len(columns), 4.0, len(columns), 2, squeeze=False, sharey="row")
        for (curves, bars), column in zip(axes.T, columns, strict=True):
            self._draw_column(curves, bars, *column)
        axes[0, 0].set_ylabel("density")
        axes[1, 0].set_ylabel("nats")
        handles = [handle for ax in axes[:, 0] for handle in ax.get_legend_handles_labels()[0]]
        figure.legend(handles=handles, ncols=4, loc="outside lower center", frameon=False)
        gaps = []
        for name, mu, sigma in columns:
            gap = self._terms(name, mu, sigma)["gap"].item()
            gaps.append(f"q of mean {mu:.2f} and standard deviation {sigma:.2f} leaves a gap of {gap:.2f} nats")
            gaps[-1] += f" to the posterior{f' of {name}' if name else ''}"
        alt = "Curves of q, of the true posterior and of the prior, over pairs of equally high bars: " + "; ".join(gaps)
        return figures.picture(figure, alt=alt)

    def _draw_column(self, curves: Axes, bars: Axes, name: str, mu: float, sigma: float) -> None:
        ink, blue, orange, grey = figures.INK, figures.ENCODER, figures.DECODER, figures.PRIOR
        near = self.grid.abs() <= 4
        z = self.grid[near]
        posterior = (self._joints[name] - self._log_evidence(name)).exp()
        curves.plot(z, self._log_prior.exp()[near], dashes=(4, 2), color=grey, label="$p(z)$")
        curves.plot(z, posterior[near], color=ink, label="$p(z|x)$")
        curves.plot(z, _log_normal(self.grid, mu, sigma).exp()[near], color=blue, linewidth=2, label="$q(z|x)$")
        curves.set(xlabel="$z$", xticks=[-2, 0, 2])
        curves.set_title(name, size=10, parse_math=False)  # a name may hold a dollar
        terms = {key: value.item() for key, value in self._terms(name, mu, sigma).items()}
        box: dict[str, Any] = dict(width=0.7, linewidth=1.3)
        bars.bar(0, -terms["reconstruction"], facecolor=orange, edgecolor=orange, label=r"$-E_q[\log p(x|z)]$", **box)
        prior: dict[str, Any] = dict(facecolor="none", edgecolor=grey, hatch="..", label=r"$KL(q \Vert p(z))$")
        bars.bar(0, terms["kl_to_prior"], bottom=-terms["reconstruction"], **prior, **box)
        bars.bar(1, -terms["log_evidence"], facecolor="none", edgecolor=ink, label=r"$-\log p(x)$", **box)
        gap: dict[str, Any] = dict(facecolor="none", edgecolor=blue, hatch="//", label=r"$KL(q \Vert p(z|x))$")
        bars.bar(1, terms["gap"], bottom=-terms["log_evidence"], **gap, **box)
        bars.set(xticks=[], xlabel=f"$q = N({mu:.2f}, {sigma**2:.2f})$")

    def _elbos(self, name: str, gaussians: list[tuple[float, float]]) -> list[float]:
        mu, sigma = torch.tensor(gaussians, dtype=torch.float64, device="cpu").T[..., None]
        terms = self._terms(name, mu, sigma)
        return (terms["reconstruction"] - terms["kl_to_prior"]).tolist()

    def _terms(self, name: str, mu: float | Tensor, sigma: float | Tensor) -> dict[str, Tensor]:
        log_q, joint, log_evidence = _log_normal(self.grid, mu, sigma), self._joints[name], self._log_evidence(name)
        q = log_q.exp()
        sums = dict(
            reconstruction=q * (joint - self._log_prior),
            kl_to_prior=q * (log_q - self._log_prior),
            gap=q * (log_q - (joint - log_evidence)),
        )
        return {term: torch.trapezoid(f, self.grid) for term, f in sums.items()} | dict(log_evidence=log_evidence)

    def _log_evidence(self, name: str) -> Float64[Tensor, ""]:
        return self._integral(self._joints[name])

    def _integral(self, joint: Float64[Tensor, " N"], every: int = 1) -> Float64[Tensor, ""]:
        """Return the log of the integral of exp(joint), over one of `every` points of the grid."""
        return torch.trapezoid((joint - joint.max()).exp()[::every], self.grid[::every]).log() + joint.max()

    def _gaussian(self, name: str) -> tuple[float, float] | None:
        """Return mu and sigma of the posterior if it is a Gaussian that the sliders reach."""
        posterior = (self._joints[name] - self._log_evidence(name)).exp()
        mean = torch.trapezoid(posterior * self.grid, self.grid)
        sigma = torch.trapezoid(posterior * (self.grid - mean) ** 2, self.grid).sqrt()
        reached = mean.abs() <= LIMIT and NARROWEST <= sigma <= WIDEST
        is_gaussian = reached and self._terms(name, mean, sigma)["gap"] < 1e-5
        return (round(mean.item(), 6), round(sigma.item(), 6)) if is_gaussian else None

    def _checked(self, joint: Numbers, name: str) -> Float64[Tensor, " N"]:
        """Return log p(x, z) as the page will have it, with six decimals."""
        argument = f"log_joint of {name!r}" if name else "log_joint"
        joint = as_float64(joint, argument)
        if joint.shape != self.grid.shape:
            expected = f"the grid's shape {tuple(self.grid.shape)}"
            raise ValueError(f"{argument} must have {expected}; got {tuple(joint.shape)}.")
        if n_wild := (~joint.isfinite()).sum():
            raise ValueError(f"{argument} must be finite on the whole grid; got {n_wild} values that are not.")
        top = (joint - self._log_prior).max()
        if top > 1e-4:  # float32 logs lose as much
            raise ValueError(f"{argument} must have log p(x|z) <= 0, for bars of minus logs; got up to {top:.3g}.")
        joint = torch.minimum(joint, self._log_prior)
        evidence = self._integral(joint)
        # every second point alone would miss a spike halfway between two points
        for every, tolerance in ((2, 1e-4), (3, 1e-2)):
            thinned = self._integral(joint, every)
            if abs(thinned - evidence) > tolerance:
                found = f"log p(x) is {evidence:.4f}, but {thinned:.4f} over one of {every} points"
                raise ValueError(f"{argument} must be wider than the steps of its grid; {found}.")
        return joint.round(decimals=6)

    @traitlets.validate("mu", "sigma")
    def _check_range(self, proposal: Any) -> float:
        name, value = proposal["trait"].name, proposal["value"]
        low, high = RANGES[name]
        if not low <= value <= high:
            raise traitlets.TraitError(f"{name} must be a number from {low:g} to {high:g}; got {value!r}.")
        return value

    @traitlets.validate("posterior")
    def _check_name(self, proposal: Any) -> str:
        if proposal["value"] not in self._joints:
            raise traitlets.TraitError(f"posterior must be one of {list(self._joints)}; got {proposal['value']!r}.")
        return proposal["value"]


def _clip(value: float, name: str) -> float:
    low, high = RANGES[name]
    return math.floor(1e4 * min(high, max(low, value)) + 0.5) / 1e4  # as Math.round does


def _log_normal(z: Tensor, mu: float | Tensor, sigma: float | Tensor) -> Tensor:
    sigma = torch.as_tensor(sigma, dtype=z.dtype, device=z.device)
    return -0.5 * (math.log(2 * math.pi) + ((z - mu) / sigma) ** 2) - sigma.log()


def _grid(z: Numbers) -> Float64[Tensor, " N"]:
    z = as_float64(z, "z")
    if z.ndim != 1 or len(z) < 2 or not z.isfinite().all():
        raise ValueError(f"z must be a grid of finite numbers, shape (N,); got shape {tuple(z.shape)}.")
    step = (z[-1] - z[0]) / (len(z) - 1)
    even = torch.linspace(z[0].item(), z[-1].item(), len(z), dtype=torch.float64, device="cpu")
    if not (step > 0 and torch.allclose(z, even, atol=1e-6)):
        low, high = z.diff().aminmax()
        raise ValueError(f"z must be an even grid from left to right; got steps from {low:.3g} to {high:.3g}.")
    if z[0] > -REACH + 1e-6 or z[-1] < REACH - 1e-6 or step > NARROWEST / 2 + 1e-6:
        limits, found = f"-{REACH:g} to {REACH:g}", f"{z[0]:g} to {z[-1]:g} in steps of {step:.3g}"
        raise ValueError(f"z must reach from {limits} in steps of {NARROWEST / 2:g} or less; got {found}.")
    return even
