"""A VAE that learns in the page, in front of the reader, with the classical mistakes at a switch."""

import base64
from typing import Any

import numpy as np
import torch
import traitlets
from jaxtyping import UInt8
from torch import Tensor, nn

from .. import diagrams
from ..data import Pictures
from ..figures import Picture, digit_grid
from ..vae import VAE
from .base import LIMIT, Explorer
from .blobs import images_blob
from .digits import first_rows
from .latent import RADIUS

SIDE = 14  # pixels of a picture's side
N_PICTURES = 2000
GREYS = 15  # steps of grey from paper to ink
BETAS, RATES = (0, 0.1, 0.5, 1, 2, 4, 8), (0.0003, 0.001, 0.003, 0.01, 0.03)
WIDTHS, D_ZS = (8, 16, 32, 64, 128), (2, 3, 5, 10)
Z, LOSS = "z = mu + exp(log_var / 2) * epsilon", "loss = (beta * kl - log_p).mean()"
MISTAKES = {  # by name: what the switch says, the line of code, the part of the machine that it concerns
    "none": ("none", LOSS, "all"),
    "no KL": ("no KL", "loss = -log_p.mean()", "kl"),
    "mean": ("mean over pixels, not sum", "log_p = -bce.mean(1)", "log-likelihood"),
    "no noise": ("no noise: an autoencoder", "z = mu", "sample"),
    "exp(log_var)": ("exp(log_var) taken for sigma", "z = mu + exp(log_var) * epsilon", "sample"),
    "KL added": ("sign of the KL", "loss = -(log_p + beta * kl).mean()", "kl"),
}
LIT = {"all": (), "log-likelihood": ("decoder", "log-likelihood"), "kl": ("encoder", "kl"), "sample": ("sample",)}


class TrainingExplorer(Explorer):
    """A VAE of one hidden layer that learns 2,000 digits of 14 x 14 pixels in the page, once the reader starts it.

    `width` hidden units, `d_z` latents, `beta`, the learning `rate` of Adam and the `mistake` can be set here, and in
    the page; sizes hold from the next reset. In a live notebook `model()` is the VAE as it stood when it last stopped.
    Raises ValueError for fewer than 2,000 training digits, TraitError for a value that the page does not offer.
    """

    width = traitlets.Enum(WIDTHS, 64).tag(sync=True, value=True)
    d_z = traitlets.Enum(D_ZS, 2).tag(sync=True, value=True)
    beta = traitlets.Enum(BETAS, 1).tag(sync=True, value=True)
    rate = traitlets.Enum(RATES, 0.003).tag(sync=True, value=True)
    mistake = traitlets.Enum(tuple(MISTAKES), "none").tag(sync=True, value=True)
    learned = traitlets.Dict().tag(sync=True)

    def __init__(self, digits: Pictures, *, live: bool | None = None, **values: Any) -> None:
        if len(digits.x_train) < N_PICTURES:
            raise ValueError(f"digits must have {N_PICTURES:,} training digits or more; got {len(digits.x_train):,}.")
        self.pictures = small(digits.x_train[:N_PICTURES])
        rows = first_rows(digits.y_test, 10)
        shown = small(digits.x_test[rows])
        blobs = {"pictures": images_blob(self.pictures, True), "test digits": images_blob(shown, True)}
        settings: dict[str, Any] = dict(limit=LIMIT, radius=RADIUS, shape=[SIDE, SIDE], seed=0)
        settings |= dict(betas=BETAS, rates=RATES, widths=WIDTHS, d_zs=D_ZS, labels=digits.y_test[rows].tolist())
        settings |= dict(mistakes={k: dict(words=w, code=c, lit=lit) for k, (w, c, lit) in MISTAKES.items()})
        settings |= dict(machines={name: str(diagrams.machine(lit)) for name, lit in LIT.items()})
        super().__init__("A VAE that learns", settings, blobs, live, kind="training", **values)

    def model(self) -> VAE:
        """The VAE with the weights that the page had when it last stopped. RuntimeError before that."""
        if not self.learned:
            raise RuntimeError("nothing has been learned yet: press play, and then pause.")
        width, d_z = self.learned["width"], self.learned["d_z"]
        model = VAE(SIDE * SIDE, d_z, (width,), activation="relu")
        weights = torch.from_numpy(np.frombuffer(base64.b64decode(self.learned["weights"]), "<f4").astype(np.float32))
        at = 0
        for linear in [module for module in model.modules() if isinstance(module, nn.Linear)]:
            n_in, n_out = linear.in_features, linear.out_features
            rows = weights[at : at + (n_in + 1) * n_out].view(n_in + 1, n_out)  # the page has one for each input
            linear.weight.data, linear.bias.data = rows[:-1].T.contiguous(), rows[-1].clone()
            at += rows.numel()
        return model

    def static(self) -> Picture:
        """The first of the digits that it learns from."""
        alt = (
            f"Forty of {N_PICTURES:,} training digits, {SIDE} x {SIDE} pixels each, from which a VAE learns in the page"
        )
        return digit_grid(self.pictures[:40] / 255, 10, alt, size=0.45, shape=(SIDE, SIDE))


def small(images: UInt8[Tensor, "N 784"]) -> UInt8[Tensor, "N 196"]:
    """Halve the sides: each pixel is the darkest of four, in sixteen greys."""
    darkest = images.cpu().view(-1, SIDE, 2, SIDE, 2).amax((2, 4)).view(-1, SIDE * SIDE)
    return ((darkest.float() * GREYS / 255).round() * 255 / GREYS).round().to(torch.uint8)
