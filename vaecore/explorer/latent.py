"""The latent explorer: sliders over a decoder."""

import math
from collections.abc import Callable
from typing import Any

import torch
import traitlets
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from .. import evaluate
from ..checks import check_at_least
from ..data import SHAPE, Pictures
from ..figures import Picture, digit_grid
from ..seeds import seeded
from ..vae import VAE
from .base import LIMIT, Explorer, Latents, device_of
from .blobs import images_blob, network_blob, pack, read_network
from .classes import by_kl, sample_bits
from .digits import D_X, PER_CLASS, first_rows, frozen_vae

RADIUS = math.sqrt(-2 * math.log(0.01))  # outside this circle lies a hundredth of N(0, I) in two dimensions
STEPS = 15  # of a precomputed grid, along a latent
MAX_SLIDERS = 8  # where no latent is active


class LatentExplorer(Explorer):
    """Sliders for the latents of a VAE, their plane where there are two, and walks between the codes of test digits.

    `z` holds one float per latent, at first zeros. `model` is a VAE, whose decoder runs in the page. For any other
    model give `d_z`, `decode`, a function from z (B, d_z) to pictures (B, D) in [0, 1], and their `shape`, (H, W) or
    (3, H, W): then the kernel decodes, and a page without one shows the nearest picture of a grid over the first two
    latents. Of more than two latents only the active ones have sliders, largest KL first. Raises TypeError for another
    model, ValueError for a VAE of pictures other than 28 x 28 or with d_y > 0 and, now or as z moves, if `decode`
    returns anything else.
    """

    z = Latents().tag(sync=True, value=True)
    picture = traitlets.Dict(allow_none=True, default_value=None).tag(sync=True)  # the kernel's: its z and its pixels

    def __init__(
        self,
        model: nn.Module | None = None,
        digits: Pictures | None = None,
        *,
        decode: Callable[[Tensor], Tensor] | None = None,
        d_z: int | None = None,
        shape: tuple[int, ...] = SHAPE,
        live: bool | None = None,
    ) -> None:
        self.shape = tuple(shape)
        settings: dict[str, Any] = dict(
            shape=self.shape, limit=LIMIT, radius=RADIUS, codes=[], labels=[], kl=[], note=""
        )
        if model is not None and decode is None and d_z is None and self.shape == SHAPE:
            vae = frozen_vae(model)
            self.d_z, self.decode = vae.d_z, lambda z: vae.decode(z.to(device_of(vae))).mean
            settings |= dict(order=list(range(self.d_z))) | (_test_digits(vae, digits) if digits else {})
            blobs = dict(decoder=network_blob(vae.decoder, "decoder", n_in=self.d_z, n_out=D_X))
            settings["note"] = f"{rounding(vae, blobs['decoder'])} {settings['note']}".strip()
        elif model is None and decode is not None and d_z is not None:
            check_at_least(1, d_z=d_z)
            self.d_z, self.decode = int(d_z), decode
            blobs = dict(grid=images_blob(self._pixels(plane_grid(self.d_z, STEPS))))
            note = f"No kernel answers here, so this shows the nearest of {STEPS} pictures along each of the first two "
            settings |= dict(order=list(range(self.d_z)), steps=STEPS, note=note + "latents, made beforehand.")
        else:
            raise ValueError("LatentExplorer takes either a model, or decode and d_z, and their shape if not 28 x 28.")
        settings["d_z"] = self.d_z
        super().__init__("Latent explorer", settings, blobs, live, kind="latent", z=[0.0] * self.d_z)
        if decode is not None:
            self.observe(lambda change: self._answer(), "z")
            self._answer()

    def static(self) -> Picture:
        """Return the decoded plane, or what each of the first latents does on its own."""
        things = "digits" if self.shape == SHAPE else "pictures"
        if self.d_z == 2:
            return digit_grid(
                self._pixels(plane_grid(2, 11)),
                11,
                shape=self.shape,
                size=0.36,
                alt=(f"Decoded {things} at eleven by eleven points of a plane of two latents, -{LIMIT:g} to {LIMIT:g}"),
            )
        rows = self.settings["order"][:6]
        z = torch.zeros(len(rows), 11, self.d_z, device="cpu")
        for k, j in enumerate(rows):
            z[k, :, j] = torch.linspace(-LIMIT, LIMIT, 11, device="cpu")
        named = ", ".join(str(j + 1) for j in rows)
        return digit_grid(
            self._pixels(z.flatten(0, 1)),
            11,
            shape=self.shape,
            size=0.4,
            alt=(
                f"Decoded {things}: along each row one latent goes from -{LIMIT:g} to {LIMIT:g}, the others are 0. "
                f"From above, latents {named}"
            ),
        )

    @torch.no_grad()
    def _pixels(self, z: Float[Tensor, "B Z"]) -> UInt8[Tensor, "B D"]:
        pictures, d_x = self.decode(z), math.prod(self.shape)
        if fault := _fault(pictures, (len(z), d_x)):
            raise ValueError(f"decode must return pictures (B, {d_x}) in [0, 1] for z (B, {self.d_z}); got {fault}.")
        return (255 * pictures.cpu().float()).round().to(torch.uint8)

    def _answer(self) -> None:
        pixels = self._pixels(torch.tensor([self.z], dtype=torch.float32, device="cpu"))
        self.picture = dict(z=self.z, pixels=pack(pixels.numpy()))


@torch.no_grad()
def _test_digits(model: VAE, digits: Pictures) -> dict:
    """Return codes and labels of a few test digits, and the latents active on all test digits, largest KL first."""
    x = sample_bits(digits.x_test).to(device_of(model))
    settings: dict[str, Any] = by_kl(model, x)
    rows = first_rows(digits.y_test, PER_CLASS if model.d_z <= 2 else 3)  # many numbers each: fewer of them
    active, codes = evaluate.active_units(model, x).cpu(), model.encode(x[rows.to(x.device)]).mean.cpu()
    if not active.any():
        settings["note"] = "No latent of this model is active: its q(z|x) is much the same for every x."
    if model.d_z <= 2:
        settings["order"] = list(range(model.d_z))
    elif active.any():
        settings["order"] = [j for j in settings["order"] if active[j]]
        codes = codes * active
    else:
        settings["order"], codes = settings["order"][:MAX_SLIDERS], codes[:0]  # there is nowhere to walk
    codes = [[round(v, 3) for v in code] for code in codes.tolist()]
    return settings | dict(codes=codes, labels=digits.y_test[rows[: len(codes)]].tolist())


@torch.no_grad()
def rounding(model: VAE, blob: str) -> str:
    """Say how far ten-bit weights move the decoder's pixels, over draws from the prior; empty for float16."""
    if '"int10"' not in blob:
        return ""
    with seeded(0):
        z = torch.randn(1000, model.d_z, dtype=torch.float32, device="cpu")
    exact = model.decode(z.to(device_of(model))).mean.cpu()
    error = (torch.sigmoid(read_network(blob)(z)) - exact).abs().max()
    return f"The decoder's rounding moves a pixel by {error:.3f} at most, over 1,000 draws from the prior."


def plane_grid(d_z: int, n: int) -> Float[Tensor, "N Z"]:
    """Return n * n points of the plane of the first two latents, row by row from above; the other latents are 0."""
    line = torch.linspace(-LIMIT, LIMIT, n, device="cpu")
    z = torch.zeros(n * n, d_z, device="cpu")
    z[:, 0] = line.repeat(n)
    if d_z > 1:
        z[:, 1] = line.flip(0).repeat_interleave(n)
    return z


def _fault(pictures: Any, size: tuple[int, int]) -> str | None:
    """Say what is wrong with pictures of that size; None for nothing."""
    if not torch.is_tensor(pictures):
        return type(pictures).__name__
    if pictures.shape != size:
        return f"shape {tuple(pictures.shape)}"
    low, high = (v.item() for v in pictures.float().aminmax())
    if not pictures.isfinite().all():
        return "values that are not finite"
    return None if low >= 0 and high <= 1 else f"values from {low:g} to {high:g}"
