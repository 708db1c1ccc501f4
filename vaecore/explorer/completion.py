"""The completer: a part of a digit is given, a conditional VAE makes up the rest."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
import traitlets
from jaxtyping import Float
from torch import Tensor, nn

from ..data import Pictures
from ..figures import Picture, axes, picture
from ..splits import pixel_split
from ..vae import VAE, Regressor
from .base import LIMIT, Latents, device_of, frozen, numbers
from .blobs import network_blob
from .classes import FIRST, by_kl, sample_bits
from .digits import D_X, DigitPad

WORDS = {
    "column": "one column",
    "left": "the left half",
    "right": "the right half",
    **{f"{v} {h}": f"the {v} {h} quadrant" for v in ("upper", "lower") for h in ("left", "right")},
}
GREEN = ((199, 237, 209), (0, 107, 51))  # paper and ink of the pixels given
N_DRAWS = 6


class CompletionExplorer(DigitPad):
    """The given part of a digit, drawn or picked, and how conditional VAEs go on with it.

    `models` has one VAE for each part, named as in splits.pixel_split: of the pixels to predict, x, with the given bits
    as its condition y. `regressors`, with the same names, show their one answer next to it. `given` is the part in
    use, `z` the latents of the large picture, at first zeros, and `draws` those of the six small ones, drawn from the
    prior and clipped to the sliders. Raises ValueError for models that do not fit their part, or that differ in d_z.
    """

    given = traitlets.Unicode().tag(sync=True, value=True)
    z = Latents().tag(sync=True, value=True)
    draws = traitlets.TraitType().tag(sync=True, value=True)

    def __init__(
        self,
        models: Mapping[str, nn.Module],
        digits: Pictures,
        *,
        regressors: Mapping[str, nn.Module] | None = None,
        live: bool | None = None,
    ) -> None:
        self.models = {name: frozen(net, VAE, name=f"models[{name!r}]") for name, net in models.items()}
        self.regressors = {
            name: frozen(net, Regressor, name=f"regressors[{name!r}]") for name, net in (regressors or {}).items()
        }
        _check_sizes(models=self.models, regressors=self.regressors)
        if stray := set(self.regressors) - set(self.models):
            raise ValueError(f"regressors must have names of models; got {sorted(stray)} as well.")
        if len(sizes := {model.d_z for model in self.models.values()}) != 1:
            raise ValueError(f"models must be VAEs with one number of latents; got {sorted(sizes)}.")
        (self.d_z,) = sizes
        parts, blobs, bits = [], {}, sample_bits(digits.x_test[:1000])
        for name, model in self.models.items():
            given, others = pixel_split(name)
            parts.append(dict(name=name, words=WORDS[name], given=given.tolist()))
            parts[-1] |= by_kl(model, bits[:, others.to(bits.device)], bits[:, given.to(bits.device)])
            blobs[f"decoder ({name})"] = network_blob(
                model.decoder, "decoder", n_in=self.d_z + model.d_y, n_out=model.d_x
            )
            if name in self.regressors:
                net = self.regressors[name].net
                blobs[f"regressor ({name})"] = network_blob(net, "regressor", n_in=model.d_y, n_out=model.d_x)
        settings = dict(d_z=self.d_z, limit=LIMIT, first=FIRST, parts=parts, green=GREEN)
        how: Any = dict(generator=torch.Generator().manual_seed(0), dtype=torch.float32, device="cpu")
        noise = torch.randn(N_DRAWS, self.d_z, **how)
        draws = [[round(v, 2) for v in row] for row in noise.clamp(-LIMIT, LIMIT).tolist()]
        state = dict(kind="completion", given=parts[0]["name"], z=[0.0] * self.d_z, draws=draws)
        super().__init__("Completing a picture", digits, settings, blobs, live, **state)

    @traitlets.validate("draws")
    def _check_draws(self, proposal: Any) -> list[list[float]]:
        value = proposal["value"]
        if not isinstance(value, list | tuple | Tensor | np.ndarray) or len(value) != N_DRAWS:
            raise traitlets.TraitError(f"draws must be {N_DRAWS} rows of {self.d_z} numbers; got {value!r}.")
        return [numbers(row, self.d_z, f"draws[{k}]") for k, row in enumerate(value)]

    @traitlets.validate("given")
    def _check_given(self, proposal: Any) -> str:
        if proposal["value"] not in self.models:
            names = ", ".join(map(repr, self.models))
            raise traitlets.TraitError(f"given must be one of {names}; got {proposal['value']!r}.")
        return proposal["value"]

    @property
    def y(self) -> Float[Tensor, "1 Y"]:
        """The given bits, in the order of pixel_split."""
        return self.bits[:, pixel_split(self.given)[0]]

    @torch.no_grad()
    def completions(self, z: Float[Tensor, "B Z"]) -> Float[Tensor, "B 784"]:
        """Return the given bits with the mean of the other pixels at each z: whole pictures, on the CPU."""
        model = self.models[self.given]
        device = device_of(model)
        x = model.decode(z.to(device), self.y.expand(len(z), -1).to(device)).mean.cpu()
        return self._picture_of(x)

    def static(self) -> Picture:
        """Return what is given, the completion at z, the six draws, the regressor's answer, and the digit."""
        pictures = [self._picture_of(self.y.new_zeros(1, len(pixel_split(self.given)[1])))]
        pictures += [*(self.completions(torch.tensor(z, device="cpu")) for z in ([self.z], self.draws))]
        letters = ["$y$", "$z$", *"a" * N_DRAWS]
        if self.given in self.regressors:
            net = self.regressors[self.given]
            with torch.no_grad():
                answer = net.predict(self.y.to(device_of(net))).mean.cpu()
            pictures.append(self._picture_of(answer))
            letters.append("b")
        pictures, letters = torch.cat([*pictures, self.bits]), [*letters, "c"]
        figure, panels = axes(0.7 * len(letters), 0.95, n_columns=len(letters))
        for ax, image, letter in zip(panels, self._tinted(pictures), letters, strict=True):
            ax.imshow(image, interpolation="none", origin="upper")
            ax.set(xticks=[], yticks=[], xlabel=letter)
            ax.spines[:].set_visible(False)
        return picture(
            figure,
            alt=f"Of a digit {WORDS[self.given]} is given, in green; then its completion at the z in use (z) and at "
            f"{N_DRAWS} draws of z from the prior (a){'; the regressor (b)' * ('b' in letters)}; the digit (c)",
        )

    def _picture_of(self, x: Float[Tensor, "B X"]) -> Float[Tensor, "B 784"]:
        given, others = pixel_split(self.given)
        pictures = x.new_empty(len(x), D_X)
        pictures[:, given], pictures[:, others] = self.y.to(x), x
        return pictures

    def _tinted(self, pictures: Float[Tensor, "N 784"]) -> np.ndarray:
        """Return RGB images (N, 28, 28, 3), given pixels in green."""
        pictures = pictures[..., None]
        images, (paper, ink) = (1 - pictures).repeat(1, 1, 3), (pictures.new_tensor(c) / 255 for c in GREEN)
        bits = pictures[:, (given := pixel_split(self.given)[0])]
        images[:, given] = bits * ink + (1 - bits) * paper
        return images.unflatten(1, (28, 28)).clamp(0, 1).numpy()


def _check_sizes(**nets: Mapping[str, VAE | Regressor]) -> None:
    """Raise ValueError unless each net predicts the other pixels from the part that it is named after."""
    for argument, named in nets.items():
        for name, net in named.items():
            d_y, d_x = (len(pixels) for pixels in pixel_split(name))
            if (net.d_x, net.d_y) != (d_x, d_y):
                found = f"d_x={net.d_x} and d_y={net.d_y}"
                raise ValueError(f"{argument}[{name!r}] must predict {d_x} pixels from {d_y}; got {found}.")
