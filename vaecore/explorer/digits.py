"""Where explorers get a digit, drawn by the reader or one of a few test digits, and its bits."""

import base64
from typing import Any

import torch
import traitlets
from jaxtyping import Float, Int64, UInt8
from torch import Tensor, nn

from ..checks import warn_of_few_greys
from ..data import Pictures
from ..vae import VAE
from .base import Explorer, frozen
from .blobs import images_blob

D_X = 784  # 28 x 28 pixels, row by row from above
PER_CLASS = 5  # test digits of each class that the page has
START = 4  # the class of the digit that explorers start with, the first of the test digits: the book follows it
THRESHOLDS = torch.randint(255, (D_X,), generator=torch.Generator().manual_seed(0), device="cpu").to(torch.uint8)


def bits_of(images: UInt8[Tensor, "*B 784"]) -> Float[Tensor, "*B 784"]:
    """Return images as bits on the CPU, the same in Python and in the page.

    The rule is data.binarize's: a pixel is 1 where it exceeds a threshold of 0 to 254, so with probability grey / 255.
    But the thresholds are drawn only once, so that both sides have the same bits and a picture keeps its own.
    """
    return (images.cpu() > THRESHOLDS).float()


class DigitPad(Explorer):
    """An explorer of one digit, which the reader draws or picks; `drawing` holds its 784 grey values as base64.

    The page has a few test digits of `digits`, and starts with the first 4: settings `labels`, blob `images`.
    """

    drawing = traitlets.Unicode().tag(sync=True, value=True)

    def __init__(
        self, name: str, digits: Pictures, settings: dict, blobs: dict[str, str], live: bool | None = None, **values
    ) -> None:
        self.test_digits, self.labels = few_of_each(digits)
        settings = dict(labels=self.labels.tolist(), thresholds=base64_of(THRESHOLDS)) | settings
        blobs = dict(images=images_blob(self.test_digits)) | blobs
        first = int((self.labels == START).long().argmax())  # where there is no 4, the first digit
        super().__init__(name, settings, blobs, live, **(dict(drawing=base64_of(self.test_digits[first])) | values))

    @property
    def image(self) -> UInt8[Tensor, "784"]:
        """The digit: 0 for paper and 255 for ink; all 0 if nothing is drawn."""
        return torch.tensor(list(base64.b64decode(self.drawing)), dtype=torch.uint8, device="cpu")

    @image.setter
    def image(self, value: Tensor) -> None:
        if value.dtype != torch.uint8 or value.shape != (D_X,):
            found = f"{value.dtype}, shape {tuple(value.shape)}"
            raise traitlets.TraitError(f"image must be a uint8 tensor of shape ({D_X},); got {found}.")
        warn_of_few_greys(value, "image")
        self.drawing = base64_of(value)

    @property
    def bits(self) -> Float[Tensor, "1 784"]:
        """What the net sees of the digit: the page's own bits."""
        return bits_of(self.image[None])

    @traitlets.validate("drawing")
    def _check_drawing(self, proposal: Any) -> str:
        try:
            n_bytes = len(base64.b64decode(proposal["value"], validate=True))
        except ValueError:
            n_bytes = None
        if n_bytes != D_X:
            found = "other text" if n_bytes is None else f"{n_bytes} bytes"
            raise traitlets.TraitError(f"drawing must be {D_X} bytes as base64; got {found}.")
        return proposal["value"]


def few_of_each(digits: Pictures) -> tuple[UInt8[Tensor, "N D"], Int64[Tensor, " N"]]:
    """Return the first few test digits of each class, in their own order, and their labels, on the CPU."""
    rows = first_rows(digits.y_test, PER_CLASS)
    return digits.x_test[rows].cpu(), digits.y_test[rows].cpu()


def first_rows(labels: Int64[Tensor, " N"], n: int) -> Int64[Tensor, " M"]:
    """Return the rows of the first n of each class, in their own order."""
    return torch.cat([(labels == c).nonzero()[:n, 0] for c in labels.unique()]).sort().values


def frozen_vae(model: nn.Module, name: str = "model") -> VAE:
    """Return the explorer's copy; raise TypeError unless it is a VAE, ValueError unless it is one of 28 x 28 pixels."""
    vae = frozen(model, VAE, name=name)
    if (vae.d_x, vae.d_y) != (D_X, 0):
        raise ValueError(f"{name} must have d_x={D_X} and d_y=0; got d_x={vae.d_x} and d_y={vae.d_y}.")
    return vae


def base64_of(pixels: UInt8[Tensor, " D"]) -> str:
    return base64.b64encode(pixels.cpu().numpy().tobytes()).decode()
