"""Where explorers get a digit: drawn by the reader, or one of a few test digits; and its bits."""

import base64
import binascii

import torch
import traitlets
from torch import Tensor

from ..data import Digits
from ..vae import VAE
from .base import Explorer
from .blobs import images_blob

D_X = 784  # 28 x 28 pixels, row by row from above
EACH = 6  # test digits of each class that the page has
THRESHOLDS = torch.randint(0, 255, (D_X,), generator=torch.Generator().manual_seed(0)).to(torch.uint8)


def bits_of(images: Tensor) -> Tensor:
    """uint8 images (..., 784) as float bits, the same in Python and in the page, always on the CPU.

    The rule is data.binarize's: a pixel is 1 where it exceeds a threshold of 0 to 254, so with probability grey / 255.
    Only the thresholds are drawn once for all, so that both sides have the same bits and a picture keeps its own.
    """
    return (images.cpu() > THRESHOLDS).float()


class DigitPad(Explorer):
    """An explorer of one digit, which the reader draws or picks; `drawing` holds its 784 grey values as base64.

    `digits` are those from which some test digits are taken; the first of them is there at the start. The page has
    `labels` and the blob `images` of these, and `thresholds`; js/digits.js says what it makes of them.
    """

    drawing = traitlets.Unicode().tag(sync=True, value=True)

    def __init__(
        self, name: str, digits: Digits, settings: dict, blobs: dict[str, str], live: bool | None = None, **values
    ) -> None:
        self.test_digits, self.labels = some_of_each(digits)
        settings = dict(labels=self.labels.tolist(), thresholds=_text(THRESHOLDS)) | settings
        blobs = dict(images=images_blob(self.test_digits)) | blobs
        super().__init__(name, settings, blobs, live, **(dict(drawing=_text(self.test_digits[0])) | values))

    @property
    def image(self) -> Tensor:
        """The digit: uint8 (784,), 0 for paper and 255 for ink; all 0 if nothing is drawn."""
        return torch.tensor(list(base64.b64decode(self.drawing)), dtype=torch.uint8)

    @image.setter
    def image(self, value: Tensor) -> None:
        if not torch.is_tensor(value) or value.dtype != torch.uint8 or value.shape != (D_X,):
            got = f"{value.dtype}, shape {tuple(value.shape)}" if torch.is_tensor(value) else type(value).__name__
            raise traitlets.TraitError(f"image must be a uint8 tensor of shape ({D_X},); got {got}.")
        self.drawing = _text(value)

    @property
    def bits(self) -> Tensor:
        """What the net sees of the digit: float (1, 784) of 0 and 1, the page's own."""
        return bits_of(self.image[None])

    @traitlets.validate("drawing")
    def _whole(self, proposal) -> str:
        try:
            n = len(base64.b64decode(proposal["value"], validate=True))
        except (binascii.Error, ValueError):
            raise traitlets.TraitError(
                f"drawing must be {D_X} bytes as base64; got other text, of length {len(proposal['value'])}."
            ) from None
        if n != D_X:
            raise traitlets.TraitError(f"drawing must be {D_X} bytes as base64; got {n} bytes.")
        return proposal["value"]


def some_of_each(digits: Digits) -> tuple[Tensor, Tensor]:
    """The first few test digits of each class, in their own order, (N, 784), and their labels, (N,); on the CPU."""
    labels = digits.y_test
    rows = torch.cat([(labels == c).nonzero()[:EACH, 0] for c in labels.unique()]).sort().values
    return digits.x_test[rows].cpu(), labels[rows].cpu()


def check_vae(model: VAE) -> None:
    """TypeError for what is no VAE, ValueError for one of other pictures than 28 x 28 or with a condition."""
    if not isinstance(model, VAE):
        raise TypeError(f"model must be a VAE; got {type(model).__name__}.")
    if (model.d_x, model.d_y) != (D_X, 0):
        raise ValueError(f"model must have d_x={D_X} and d_y=0; got d_x={model.d_x} and d_y={model.d_y}.")


def _text(pixels: Tensor) -> str:
    return base64.b64encode(pixels.cpu().numpy().tobytes()).decode()
