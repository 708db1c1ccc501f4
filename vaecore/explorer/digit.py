"""Draw a digit: what a VAE's encoder makes of it, and what the decoder makes of that."""

import torch
from jaxtyping import Float, UInt8
from matplotlib.patches import Circle, Ellipse
from torch import Tensor, nn

from .. import figures
from ..data import Pictures
from .base import LIMIT, Latents, device_of
from .blobs import network_blob
from .digits import D_X, DigitPad, bits_of, few_of_each, frozen_vae
from .latent import RADIUS, rounding


class DigitExplorer(DigitPad):
    """The q(z|x) of a digit that the reader draws or picks, its reconstruction, and the terms of its ELBO in nats.

    `model` is a VAE without a condition; both of its nets run in the page. `epsilon` holds one float per latent, at
    first zeros: z = mu + sigma * epsilon. With two latents q is shown on their plane. Raises TypeError for another
    model, ValueError for a VAE of pictures other than 28 x 28 or with d_y > 0.
    """

    epsilon = Latents().tag(sync=True, value=True)

    def __init__(self, model: nn.Module, digits: Pictures, *, live: bool | None = None) -> None:
        self.model = frozen_vae(model)
        self.d_z = self.model.d_z
        blobs = dict(
            encoder=network_blob(self.model.encoder, "encoder", n_in=D_X, n_out=2 * self.d_z),
            decoder=network_blob(self.model.decoder, "decoder", n_in=self.d_z, n_out=D_X),
        )
        codes = self._encode_decode(few_of_each(digits)[0])[0].tolist() if self.d_z == 2 else []
        settings = dict(d_z=self.d_z, limit=LIMIT, radius=RADIUS, note=rounding(self.model, blobs["decoder"]))
        settings |= dict(codes=[[round(v, 3) for v in code] for code in codes])
        super().__init__("Draw a digit", digits, settings, blobs, live, kind="digit", epsilon=[0.0] * self.d_z)

    def static(self) -> figures.Picture:
        """One test digit of each class above its reconstruction; with two latents, also q on the plane."""
        rows = torch.stack([(self.labels == c).nonzero()[0, 0] for c in self.labels.unique()])
        mu, sigma, means = self._encode_decode(self.test_digits[rows])
        bits = bits_of(self.test_digits[rows])
        alt = f"The bits of {len(rows)} test digits, one of each class; below each its reconstruction from q's mean"
        if self.d_z != 2:
            return figures.digit_grid(torch.cat([bits, means]), len(rows), alt, size=0.5)
        half = -(-len(rows) // 2)  # two lines of pairs; an odd number of classes leaves a blank
        blank = bits.new_zeros(2 * half - len(rows), D_X)
        lines = torch.stack([torch.cat([bits, blank]), torch.cat([means, blank])]).unflatten(1, (2, half))
        figure, (left, right) = figures.axes(7, 3.2, n_columns=2, width_ratios=(3, 2))
        figures.show_digits(left, lines.transpose(0, 1).reshape(-1, D_X), half)
        right.add_patch(Circle((0, 0), RADIUS, fill=False, linestyle="--", edgecolor=figures.PRIOR))
        for row, m, s in zip(rows, mu.tolist(), sigma.tolist(), strict=True):
            right.add_patch(Ellipse(m, 4 * s[0], 4 * s[1], color=figures.ENCODER))
            right.annotate(
                str(self.labels[row].item()), m, xytext=(4, 3), textcoords="offset points", color=figures.ENCODER
            )
        ends = (-1.1 * LIMIT, 1.1 * LIMIT)
        right.set(xlim=ends, ylim=ends, xlabel="$z_1$", ylabel="$z_2$", aspect="equal")
        return figures.picture(figure, f"{alt}; next to them the plane of two latents with each q as a small ellipse")

    @torch.no_grad()
    def _encode_decode(
        self, images: UInt8[Tensor, "N D"]
    ) -> tuple[Float[Tensor, "N Z"], Float[Tensor, "N Z"], Float[Tensor, "N D"]]:
        """Return mu and sigma of q for each image, and the decoder's mean picture at mu."""
        q = self.model.encode(bits_of(images).to(device_of(self.model)))
        return q.mu.cpu(), q.sigma.cpu(), self.model.decode(q.mu).mean.cpu()
