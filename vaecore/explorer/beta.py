"""One knob, beta: what a costlier KL does to the plane of latents, to the pictures and to the two terms of the ELBO."""

from collections.abc import Mapping
from typing import Any

import torch
import traitlets
from jaxtyping import Float
from torch import Tensor, nn

from ..checks import check_above_zero
from ..data import Pictures
from ..figures import Picture, axes, picture, show_digits
from ..seeds import seeded
from ..vae import VAE
from .base import LIMIT, Explorer, Latents, device_of
from .blobs import network_blob
from .classes import sample_bits
from .digits import D_X, PER_CLASS, first_rows, frozen_vae
from .latent import RADIUS, plane_grid


class BetaExplorer(Explorer):
    """VAEs of two latents, each trained with another weight beta of the KL, and a slider that chooses among them.

    `models` maps each beta to its VAE; `beta` is the one shown, at first the one nearest to 1, and `z` the point that
    the ring marks, at first zeros. `terms` has, for each beta, the means over the test digits of log p(x|z), at one
    draw of z, and of the KL, in nats. Raises ValueError for fewer than two models, or for one without two latents.
    """

    beta = traitlets.Float().tag(sync=True, value=True)
    z = Latents().tag(sync=True, value=True)

    def __init__(self, models: Mapping[float, nn.Module], digits: Pictures, *, live: bool | None = None) -> None:
        if len(models) < 2:
            raise ValueError(f"models must have at least two values of beta; got {len(models)}.")
        check_above_zero(**{f"models' beta {beta}": beta for beta in models})
        self.models = {float(beta): _flat(models[beta], beta) for beta in sorted(models)}
        self.d_z, betas, bits = 2, list(self.models), sample_bits(digits.x_test)
        rows, codes, terms, blobs = first_rows(digits.y_test, PER_CLASS), [], [], {}
        for k, model in enumerate(self.models.values()):
            read = _read(model, bits)
            codes.append([[round(v, 3) for v in code] for code in read.pop("codes")[rows].tolist()])
            terms.append(read)
            blobs[f"decoder ({k})"] = network_blob(model.decoder, "decoder", n_in=2, n_out=D_X)
        self.terms = dict(zip(betas, terms, strict=True))
        settings: dict[str, Any] = dict(d_z=2, limit=LIMIT, radius=RADIUS, betas=betas, terms=terms, codes=codes)
        settings |= dict(labels=digits.y_test[rows].tolist(), n_test=len(bits))
        first = min(betas, key=lambda beta: abs(beta - 1))
        super().__init__("Beta-VAE", settings, blobs, live, kind="beta", beta=first, z=[0.0, 0.0])

    @traitlets.validate("beta")
    def _check_beta(self, proposal: Any) -> float:
        if proposal["value"] not in self.models:
            known = ", ".join(f"{beta:g}" for beta in self.models)
            raise traitlets.TraitError(f"beta must be one of {known}; got {proposal['value']}.")
        return proposal["value"]

    @torch.no_grad()
    def static(self) -> Picture:
        """Return the decoded plane of each beta, side by side."""
        n, side = len(self.models), 9
        figure, panels = axes(1.7 * n, 1.9, n_columns=n)
        for ax, (beta, model) in zip(panels, self.models.items(), strict=True):
            show_digits(ax, model.decode(plane_grid(2, side).to(device_of(model))).mean.cpu(), side)
            ax.set_title(f"$\\beta$ = {beta:g}", fontsize="medium")
        read = (f"{t['log_likelihood']:.0f} and {t['kl']:.1f} at beta {beta:g}" for beta, t in self.terms.items())
        alt = f"Decoded planes of the two latents of {n} VAEs, -{LIMIT:g} to {LIMIT:g}. On the test digits "
        return picture(figure, f"{alt}log p(x|z) and the KL are, in nats, {'; '.join(read)}")


def _flat(model: nn.Module, beta: float) -> VAE:
    vae = frozen_vae(model, f"models[{beta}]")
    if vae.d_z != 2:
        raise ValueError(f"models[{beta}] must have two latents; got d_z={vae.d_z}.")
    return vae


@torch.no_grad()
def _read(model: VAE, bits: Float[Tensor, "N D"]) -> dict[str, Any]:
    """Return the codes of the digits on the CPU, and the means of the ELBO's two terms, as much of them as is shown."""
    device, log_likelihood, kl, codes = device_of(model), 0.0, 0.0, []
    with seeded(0, device):
        for x in bits.to(device).split(1000):
            posterior = model.encode(x)
            log_likelihood += model.decode(posterior.rsample()).log_prob(x).sum().item()
            kl += posterior.kl().sum().item()
            codes.append(posterior.mean.cpu())
    means = dict(log_likelihood=log_likelihood / len(bits), kl=kl / len(bits))
    return {name: round(mean, 2) for name, mean in means.items()} | dict(codes=torch.cat(codes))
