"""Models that the chapters show without training them live: weights that travel along, and how each was made.

`python -m vaecore.pretrained NAME` makes one anew from the whole of MNIST and writes it with its card.
"""

import argparse
import copy
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from . import checkpoints, data, evaluate
from .train import fit
from .vae import VAE

WEIGHTS = Path(__file__).parent / "weights"
PACKAGED = Path(__file__).parent / "digits"


def vae_loss(model: VAE, x: Tensor) -> Tensor:
    """Minus the ELBO, averaged over the batch, in nats. Eq. m1-loss."""
    return -model.elbo(x).mean()


def autoencoder_loss(model: VAE, x: Tensor) -> Tensor:
    """The same nets as a classical autoencoder: the code is q's mean; no noise, no KL. Eq. autoencoder-loss."""
    code = model.encode(x).mean
    return -model.decode(code).log_prob(x).mean()


@dataclass(frozen=True)
class Recipe:
    """All it takes to make one model from the training images."""

    make: Callable[[], VAE]
    loss: Callable[[VAE, Tensor], Tensor]
    epochs: int

    def train(self, x_train: Tensor, seed: int = 0) -> VAE:
        """A new model, trained on uint8 images (N, D) on their device, binarised anew at every step."""
        with evaluate.seeded(seed, x_train.device):
            model = self.make().to(x_train.device)
        fit(model, lambda x: self.loss(model, data.binarize(x)), x_train, epochs=self.epochs, seed=seed)
        return model


RECIPES = {
    "m1-2d": Recipe(lambda: VAE(d_z=2, hidden=(256, 256)), vae_loss, epochs=60),
    "autoencoder-2d": Recipe(lambda: VAE(d_z=2, hidden=(256, 256)), autoencoder_loss, epochs=60),
}


def pretrained(name: str, x_train: Tensor) -> VAE:
    """The model whose weights travel along, on the device of x_train; without them it is trained on x_train."""
    recipe = _recipe(name)
    path = WEIGHTS / f"{name}.safetensors"
    if path.exists():
        return checkpoints.load(path, x_train.device)[0]
    return recipe.train(x_train)


def check_value(name: str, model: VAE) -> float:
    """The recipe's mean loss, in nats, on the first 500 test digits that travel along; the card records it."""
    digits = data.mnist(root=PACKAGED)
    with torch.no_grad(), evaluate.seeded(0):
        return _recipe(name).loss(copy.deepcopy(model).cpu(), data.binarize(digits.x_test[:500])).item()


def _recipe(name: str) -> Recipe:
    if name not in RECIPES:
        raise ValueError(f"name must be one of {', '.join(RECIPES)}; got {name!r}.")
    return RECIPES[name]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name", choices=RECIPES)
    name = parser.parse_args().name
    digits = data.mnist()
    if not digits.is_full:
        parser.error("the whole of MNIST is needed; set VAECORE_DATA to it, or connect for the download.")
    recipe, made_by = RECIPES[name], checkpoints.provenance()
    model = recipe.train(digits.x_train)
    with torch.no_grad(), evaluate.seeded(0):
        for parameter in model.parameters():
            parameter.copy_(parameter.half())  # the card's numbers are those of the weights as stored
        test_loss = recipe.loss(model, data.binarize(digits.x_test)).item()
    card = dict(command=f"python -m vaecore.pretrained {name}", data=str(digits), seed=0, epochs=recipe.epochs)
    card |= made_by | dict(test_loss=test_loss, check_value=check_value(name, model))
    checkpoints.save(WEIGHTS / f"{name}.safetensors", model, dtype=torch.float16, **card)


if __name__ == "__main__":
    main()
