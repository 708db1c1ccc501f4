"""Analogies: the class and the style of a digit, drawn or picked, and its style as every class."""

from typing import Any

import torch
import traitlets
from jaxtyping import Float
from torch import Tensor, nn

from ..data import Pictures
from ..figures import ENCODER, Picture, axes, picture, show_digits
from ..m2 import M2
from .base import LIMIT, Latents, device_of, frozen
from .blobs import network_blob
from .classes import FIRST, as_every_class, check_pixels, labelled_kl
from .digits import D_X, DigitPad


class AnalogiesExplorer(DigitPad):
    """A digit under the three nets of an M2: bars of q(y|x), and its style as all classes, which sliders change.

    `z` is None as long as the style is the digit's own, the mean of q(z|x,y) at the most probable y (M2.analogies);
    the sliders, or Python, set it to one float per latent. A new digit makes it None again. `style` is the z in use
    either way, and `drawing`, `image`, `bits` are the digit. Raises TypeError for another model, ValueError for an M2
    of anything but pixels.
    """

    z = Latents(allow_none=True, default_value=None).tag(sync=True, value=True)

    def __init__(self, model: nn.Module, digits: Pictures, *, live: bool | None = None) -> None:
        self.model = frozen(model, M2)
        check_pixels(self.model)
        self.d_z, k = self.model.d_z, self.model.n_classes
        self._drawing_of_z = None  # the one that was there when z was set
        settings = dict(d_z=self.d_z, n_classes=k, limit=LIMIT, first=FIRST)
        sizes = dict(classifier=(D_X, k), encoder=(D_X + k, 2 * self.d_z), decoder=(self.d_z + k, D_X))
        blobs = {role: network_blob(getattr(self.model, role), role, n_in=a, n_out=b) for role, (a, b) in sizes.items()}
        settings |= labelled_kl(self.model, digits)
        super().__init__("Analogies", digits, settings, blobs, live, kind="analogies")
        self.observe(self._new_digit, "drawing")

    @traitlets.validate("z")
    def _remember(self, proposal: Any) -> list[float] | None:
        # traitlets validates all values that arrive together before it notifies of any: this is the new drawing
        self._drawing_of_z = self.drawing
        return proposal["value"]

    def _new_digit(self, change: Any) -> None:
        if self._drawing_of_z != self.drawing:
            self.z = None

    @property
    def q_y(self) -> Float[Tensor, " K"]:
        """q(y|x) of the digit, on the CPU."""
        with torch.no_grad():
            return self.model.log_q_y(self._bits()).exp()[0].cpu()

    @property
    def style(self) -> Float[Tensor, "1 Z"]:
        """The z that all classes share, on the CPU."""
        if self.z is not None:
            return torch.tensor([self.z], device="cpu")
        with torch.no_grad():
            return self.model.encode(self._bits(), self.model.classify(self._bits())).mean.cpu()

    def static(self) -> Picture:
        """Return the digit, bars of q(y|x) and, under each class, the style as that class."""
        k, q_y = self.model.n_classes, self.q_y
        figure, panels = axes(0.55 * (k + 1.5), 1.6, n_columns=2, n_rows=2)
        figure.set_layout_engine("none")  # the bars stand exactly over the pictures
        across, up = 1 / (k + 1.5), 0.55 / 1.6
        panels[0, 0].set_position((0, 0, across, up))
        panels[1, 0].set_position((1.5 * across, 0, k * across, up))
        panels[0, 1].set_position((1.5 * across, up + 0.17, k * across, 0.4))
        panels[1, 1].remove()
        show_digits(panels[0, 0], self.bits, 1)
        show_digits(panels[1, 0], as_every_class(self.model, self.style)[0], k)
        panels[0, 1].bar(range(k), q_y.tolist(), width=0.8, facecolor="none", edgecolor=ENCODER)
        panels[0, 1].set(xlim=(-0.5, k - 0.5), ylim=(0, 1), yticks=[0, 1], xticks=range(k))
        panels[0, 1].tick_params(length=0)
        return picture(
            figure,
            alt=f"A digit in black and white; bars of its q(y|x), the highest, {100 * q_y.max():.0f} per cent, over "
            f"class {int(q_y.argmax())}; under the bars the digit's style as each of {k} classes",
        )

    def _bits(self) -> Float[Tensor, "1 784"]:
        return self.bits.to(device_of(self.model))
