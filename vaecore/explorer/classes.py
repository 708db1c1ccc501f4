"""One z as every class: sliders over a row of ten digits."""

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from .. import evaluate
from ..data import Pictures, binarize
from ..figures import Picture, digit_grid
from ..m2 import M2
from ..seeds import seeded
from ..vae import VAE
from .base import LIMIT, Explorer, Latents, device_of, frozen
from .blobs import network_blob
from .digits import D_X

FIRST = 5  # sliders in the open; the others are folded away


class ClassesExplorer(Explorer):
    """One z, decoded as every class by a VAE that is given labels (d_y classes) or by an M2.

    `z` holds one float per latent, at first zeros. With labelled digits, the latents with the largest KL on the test
    images have the first sliders. Raises ValueError for a model that takes no class or makes no pixels.
    """

    z = Latents().tag(sync=True, value=True)

    def __init__(self, model: nn.Module, digits: Pictures | None = None, *, live: bool | None = None) -> None:
        self.model: VAE | M2 = frozen(model, VAE, M2)
        self.n_classes, self.d_z = n_classes(self.model), self.model.d_z
        if isinstance(self.model, M2):
            check_pixels(self.model)
        settings = dict(d_z=self.d_z, n_classes=self.n_classes, limit=LIMIT, first=FIRST)
        blobs = dict(decoder=network_blob(self.model.decoder, "decoder", n_in=self.d_z + self.n_classes, n_out=D_X))
        settings |= labelled_kl(self.model, digits)
        super().__init__("One z as every class", settings, blobs, live, kind="classes", z=[0.0] * self.d_z)

    def static(self) -> Picture:
        """The ten classes at five values of the first slider's latent."""
        j = self.settings["order"][0]
        z = torch.tensor(self.z, device="cpu").repeat(5, 1)
        z[:, j] = torch.linspace(-2, 2, 5, device="cpu")
        return digit_grid(
            as_every_class(self.model, z).flatten(0, 1),
            self.n_classes,
            alt=f"Decoded digits: along a row one z as each of {self.n_classes} classes; down the rows latent {j + 1} "
            "goes from -2 to 2, the others stay as they are",
        )


def n_classes(model: VAE | M2) -> int:
    """Return how many classes the decoder can be asked for; raise ValueError if it takes none."""
    n = model.n_classes if isinstance(model, M2) else model.d_y
    if n < 2:
        raise ValueError(f"model must be a VAE with d_y classes, or an M2; got d_y={n}.")
    return n


def check_pixels(model: M2) -> None:
    if model.likelihood != "bernoulli":
        raise ValueError(f"model must be an M2 of pixels, with likelihood 'bernoulli'; got {model.likelihood!r}.")


@torch.no_grad()
def as_every_class(model: VAE | M2, z: Float[Tensor, "B Z"]) -> Float[Tensor, "B K D"]:
    """Return the mean pictures of styles z as all K classes, on the CPU."""
    device, k = device_of(model), n_classes(model)
    y = torch.arange(k, device=device).repeat(len(z))
    return model.decode(z.to(device).repeat_interleave(k, 0), y).mean.unflatten(0, (-1, k)).cpu()


def labelled_kl(model: VAE | M2, digits: Pictures | None) -> dict:
    """Return the settings `order` and `kl` of a model that is given labels; without digits, in their own order."""
    if digits is None:
        return dict(order=list(range(model.d_z)), kl=[])
    return by_kl(model, sample_bits(digits.x_test[:1000]), digits.y_test[:1000])


def sample_bits(images: Shaped[Tensor, "N D"]) -> Float[Tensor, "N D"]:
    """Return bits of images, the same at every call, so that equal models give equal explorers."""
    with seeded(0, images.device):
        return binarize(images)


def by_kl(model: VAE | M2, x: Float[Tensor, "N D"], y: Shaped[Tensor, "N *Y"] | None = None) -> dict:
    """Return the latents, largest mean KL over pictures x with conditions y first, and the KLs in nats."""
    device = device_of(model)
    kl = evaluate.kl_per_dimension(model, x.to(device), None if y is None else y.to(device))
    if not kl.isfinite().all():
        given = "q(z|x)" if y is None else "q(z|x,y)"
        raise ValueError(f"model's encoder gives a {given} that is not finite for some test digits.")
    return dict(order=kl.argsort(descending=True).tolist(), kl=[round(v, 3) for v in kl.tolist()])
