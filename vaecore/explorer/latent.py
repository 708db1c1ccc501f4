"""The latent explorer: a decoder under the hand."""

import math
from collections.abc import Callable

import torch
import traitlets
from torch import Tensor

from .. import evaluate
from ..data import Digits, binarize
from ..figures import Picture, digit_grid
from ..vae import VAE
from .base import Explorer, numbers
from .blobs import images_blob, network_blob, part, read_network

LIMIT = 3.0  # how far the sliders go, in standard deviations of the prior
RADIUS = math.sqrt(-2 * math.log(0.01))  # outside this circle lies a hundredth of N(0, I) in two dimensions
STEPS = 15  # of a precomputed grid, along a latent


class LatentExplorer(Explorer):
    """Sliders for the latents of a VAE, their plane where there are two, and walks between the codes of test digits.

    `z` holds one float a latent, at first zeros. A VAE's decoder runs in the page. For any other model give `decode`,
    a function from z (B, d_z) to pictures (B, 784) in [0, 1], and `d_z`: then the kernel decodes, and a page without
    one shows the nearest picture of a grid over the first two latents. Of more than two latents only the active ones
    have sliders, those with the largest KL first.
    """

    z = traitlets.TraitType().tag(sync=True, value=True)
    picture = traitlets.Dict(allow_none=True, default_value=None).tag(sync=True)  # the kernel's: its z and its pixels

    def __init__(
        self,
        model: VAE | None = None,
        digits: Digits | None = None,
        *,
        decode: Callable[[Tensor], Tensor] | None = None,
        d_z: int | None = None,
        live: bool | None = None,
    ) -> None:
        if (model is None) == (decode is None) or (decode is None) != (d_z is None):
            raise ValueError("LatentExplorer takes either a model, or decode and d_z.")
        self.d_z = model.d_z if d_z is None else d_z
        self.decode = decode or (lambda z: model.decode(z.to(next(model.parameters()).device)).mean)
        settings = dict(d_z=self.d_z, limit=LIMIT, radius=RADIUS, order=list(range(self.d_z)), kl=[], note="")
        settings |= _test_digits(model, digits) if model and digits else dict(codes=[], labels=[])
        if model is not None:
            blobs = dict(decoder=network_blob(model.decoder, "decoder"))
            settings |= dict(note=_rounding(model, blobs["decoder"]))
        else:
            blobs = dict(grid=images_blob(self._pixels(_grid(self.d_z, STEPS))))
            settings |= dict(
                steps=STEPS,
                note=f"No kernel answers here, so this shows the nearest of {STEPS} pictures "
                "along each of the first two latents, made beforehand.",
            )
        super().__init__("Latent explorer", settings, blobs, live, kind="latent", z=[0.0] * self.d_z)
        if decode is not None:
            self.observe(lambda change: self._answer(), "z")
            self._answer()

    @traitlets.validate("z")
    def _finite(self, proposal) -> list[float]:
        return numbers(proposal["value"], self.d_z, "z")

    def static(self) -> Picture:
        """The decoded plane, or what each of the first latents does on its own."""
        if self.d_z == 2:
            return digit_grid(
                self._pixels(_grid(2, 11)),
                11,
                size=0.36,
                alt=(f"Decoded digits at eleven by eleven points of the plane of two latents, -{LIMIT:g} to {LIMIT:g}"),
            )
        rows = self.settings["order"][:6]
        z = torch.zeros(len(rows), 11, self.d_z)
        for k, j in enumerate(rows):
            z[k, :, j] = torch.linspace(-LIMIT, LIMIT, 11)
        named = ", ".join(str(j + 1) for j in rows)
        return digit_grid(
            self._pixels(z.flatten(0, 1)),
            11,
            size=0.4,
            alt=(
                f"Decoded digits: along each row one latent goes from -{LIMIT:g} to {LIMIT:g}, the others are 0. "
                f"From above, latents {named}"
            ),
        )

    @torch.no_grad()
    def _pixels(self, z: Tensor) -> Tensor:
        pictures = self.decode(z)
        if not torch.is_tensor(pictures) or pictures.ndim != 2 or len(pictures) != len(z):
            raise ValueError(f"decode must give pictures (B, D) for z (B, {self.d_z}); got {_shape(pictures)}.")
        return (255 * pictures.cpu()).round().clamp(0, 255).to(torch.uint8)

    def _answer(self) -> None:
        pixels = self._pixels(torch.tensor([self.z], dtype=torch.float32))
        self.picture = dict(z=self.z, pixels=part(pixels.numpy()))


@torch.no_grad()
def _test_digits(model: VAE, digits: Digits) -> dict:
    """Codes and labels of some test digits, and the active latents, those with the largest KL first."""
    with evaluate.seeded(0, digits.x_test.device):
        x = binarize(digits.x_test[:1000])
    codes = model.encode(x[:150]).mean
    if not codes.isfinite().all():
        raise ValueError("model's encoder gives means of q(z|x) that are not finite numbers; its training went wrong.")
    kl, active = evaluate.kl_per_dimension(model, x), evaluate.active_units(model, x)
    order = list(range(model.d_z))
    if model.d_z > 2:
        order = [j for j in kl.argsort(descending=True).tolist() if active[j]]
        codes = codes[:30] * active  # many numbers each: fewer of them
    codes = [[round(v, 3) for v in code] for code in codes.tolist()]
    labels = digits.y_test[: len(codes)].tolist()
    return dict(order=order, kl=[round(v, 3) for v in kl.tolist()], codes=codes, labels=labels)


@torch.no_grad()
def _rounding(model: VAE, blob: str) -> str:
    """How far rounded weights move the pixels, over draws from the prior; empty where they hardly do."""
    if '"int10"' not in blob:
        return ""
    with evaluate.seeded(0):
        z = torch.randn(1000, model.d_z)
    exact = torch.sigmoid(model.decoder(z.to(next(model.parameters()).device))).cpu()
    error = (torch.sigmoid(read_network(blob)(z)) - exact).abs().max()
    return f"Its weights are rounded to 10 bits for this page; that moves a pixel by {error:.3f} at most."


def _grid(d_z: int, n: int) -> Tensor:
    """Points of the plane of the first two latents, row by row from above, the other latents 0: (n * n, d_z)."""
    line = torch.linspace(-LIMIT, LIMIT, n)
    z = torch.zeros(n * n, d_z)
    z[:, 0] = line.repeat(n)
    if d_z > 1:
        z[:, 1] = line.flip(0).repeat_interleave(n)
    return z


def _shape(value) -> str:
    return f"shape {tuple(value.shape)}" if torch.is_tensor(value) else type(value).__name__
