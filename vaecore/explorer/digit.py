"""Draw a digit: what a VAE's encoder makes of it, and what the decoder makes of that."""

import torch
import traitlets
from matplotlib.patches import Circle, Ellipse
from torch import Tensor

from .. import figures
from ..data import Digits
from ..vae import VAE
from .base import numbers
from .blobs import network_blob
from .digits import D_X, DigitPad, bits_of
from .latent import LIMIT, RADIUS


class DigitExplorer(DigitPad):
    """q(z|x) of a digit that the reader draws or picks, its reconstruction, and the terms of its ELBO in nats.

    Both nets of the VAE, without a condition, run in the page. `epsilon` holds one float a latent, at first zeros:
    z = mu + sigma * epsilon. With two latents q is shown on their plane. Raises ValueError for a VAE of other
    pictures than 28 x 28 or with d_y > 0.
    """

    epsilon = traitlets.Any().tag(sync=True, value=True)

    def __init__(self, model: VAE, digits: Digits, *, live: bool | None = None) -> None:
        if (model.d_x, model.d_y) != (D_X, 0):
            raise ValueError(f"model must have d_x={D_X} and d_y=0; got d_x={model.d_x} and d_y={model.d_y}.")
        self.model, self.d_z = model, model.d_z
        super().__init__(
            "Draw a digit",
            digits,
            dict(d_z=model.d_z, limit=LIMIT, radius=RADIUS, codes=[]),
            dict(encoder=network_blob(model.encoder, "encoder"), decoder=network_blob(model.decoder, "decoder")),
            live,
            kind="digit",
            epsilon=[0.0] * model.d_z,
        )
        if model.d_z == 2:
            mu = self._seen(self.test_digits)[0]
            self.settings = self.settings | dict(codes=[[round(v, 3) for v in code] for code in mu.tolist()])

    @traitlets.validate("epsilon")
    def _finite(self, proposal) -> list[float]:
        return numbers(proposal["value"], self.d_z, "epsilon")

    def static(self) -> figures.Picture:
        """One test digit of each class above its reconstruction; with two latents, q beside them on the plane."""
        rows = torch.stack([(self.labels == c).nonzero()[0, 0] for c in self.labels.unique()])
        mu, sigma, means = self._seen(self.test_digits[rows])
        pairs = torch.cat([bits_of(self.test_digits[rows]), means])
        alt = f"The bits of {len(rows)} test digits, one of each class; below each its reconstruction from q's mean"
        if self.d_z != 2:
            return figures.digit_grid(pairs, len(rows), alt, size=0.5)
        half = -(-len(rows) // 2)
        order = [part for k in (0, half) for part in (range(k, k + half), range(len(rows) + k, len(rows) + k + half))]
        figure, (left, right) = figures.axes(7, 3.2, n_columns=2, width_ratios=(3, 2))
        figures.show_digits(left, pairs[[min(i, len(pairs) - 1) for part in order for i in part]], half)
        right.add_patch(Circle((0, 0), RADIUS, fill=False, linestyle="--", edgecolor=figures.PRIOR))
        for row, m, s in zip(rows, mu.tolist(), sigma.tolist(), strict=True):
            right.add_patch(Ellipse(m, 4 * s[0], 4 * s[1], color=figures.ENCODER))
            right.annotate(
                str(self.labels[row].item()), m, xytext=(4, 3), textcoords="offset points", color=figures.ENCODER
            )
        ends = (-1.1 * LIMIT, 1.1 * LIMIT)
        right.set(xlim=ends, ylim=ends, xlabel="$z_1$", ylabel="$z_2$", aspect="equal")
        return figures.picture(figure, f"{alt}; beside them the plane of two latents with each q as a small ellipse")

    @torch.no_grad()
    def _seen(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """mu and sigma (N, Z) of q for uint8 images (N, 784), and the decoder's mean picture at mu, (N, 784)."""
        q = self.model.encode(bits_of(images).to(next(self.model.parameters()).device))
        return q.mu.cpu(), q.sigma.cpu(), self.model.decode(q.mu).mean.cpu()
