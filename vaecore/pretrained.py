"""Models that the chapters show without training them live: weights that travel along, and how each was made.

`python -m vaecore.pretrained NAME` makes one anew from the whole of MNIST and writes it with its card.
"""

import argparse
import copy
import json
import logging
import math
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.client import HTTPException
from pathlib import Path

import torch
from torch import Tensor, nn

from . import checkpoints, data, evaluate
from .checks import check_at_least, check_pixels, check_seed, check_values, typed
from .m2 import M1M2, M2, semi_supervised_loss
from .splits import label_split, pixel_split
from .train import History, fit
from .vae import VAE, Regressor

WEIGHTS = Path(__file__).parent / "weights"
CARDS = "cards.json"  # in WEIGHTS, in the copy of vaecore that a notebook carries: what is known of weights left behind
PACKAGED = Path(__file__).parent / "digits"
log = logging.getLogger(__name__)
M2_HOW = dict(batch_size=500, precision="bf16")
LABEL_HOW = M2_HOW | dict(alpha=10.0)  # ten thousand labels, and their term well heard: these show what y and z are


@typed
def vae_loss(model: VAE, x: Tensor, y: Tensor | None = None) -> Tensor:
    """Minus the ELBO, averaged over the batch, in nats. Eq. m1-loss."""
    return -model.elbo(x, y).mean()


@typed
def autoencoder_loss(model: VAE, x: Tensor) -> Tensor:
    """The same nets as a classical autoencoder: the code is q's mean; no noise, no KL. Eq. autoencoder-loss."""
    code = model.encode(x).mean
    return -model.decode(code).log_prob(x).mean()


@typed
def regressor_loss(model: Regressor, x: Tensor, y: Tensor) -> Tensor:
    """Minus log p(x|y) without a latent, averaged over the batch, in nats."""
    return -model.log_likelihood(x, y).mean()


@typed
def seen(model: M2 | M1M2, images: Tensor) -> tuple[M2, Tensor]:
    """The M2 of the model, and what it sees of uint8 images: their bits or, on an M1, a draw of their features."""
    check_pixels(images, "images", model.m1.d_x if isinstance(model, M1M2) else model.d_x)
    check_values(images=images)
    bits = data.binarize(images)
    return (model.m2, model.features(bits).rsample()) if isinstance(model, M1M2) else (model, bits)


@typed
def unlabelled_loss(model: M2 | M1M2, images: Tensor) -> Tensor:
    """Minus M2's bound for uint8 images without labels, averaged over the batch, in nats."""
    m2, x = seen(model, images)
    return -m2.unlabelled_bound(x).mean()


@typed
def split_bits(images: Tensor, given: str) -> tuple[Tensor, Tensor]:
    """The bits to predict, x, and those given, y, of images (B, 784) uint8; `given` as in pixel_split."""
    check_pixels(images, "images", math.prod(data.SHAPE))
    check_values(images=images)
    to_see, to_predict = (rows.to(images.device) for rows in pixel_split(given))
    bits = data.binarize(images)
    return bits[:, to_predict], bits[:, to_see]


@typed
def some_rows(x_l: Tensor, n: int = 100) -> Tensor:
    """Up to n rows of x_l, drawn without repetition, (n,); unlike randperm it never makes the host wait for CUDA."""
    check_at_least(1, n=n)
    if x_l.shape[:1] in ((), (0,)):
        raise ValueError(f"x_l must have at least one row; got shape {tuple(x_l.shape)}.")
    return torch.rand(len(x_l), device=x_l.device).topk(min(n, len(x_l))).indices


@typed
def fit_semi_supervised(
    model: M2 | M1M2, digits: data.Digits, n_labelled: int, draw: int, alpha: float = 0.1, **how
) -> History:
    """Train an M2 on the training images' bits, or the M2 of an M1+M2 on its features, with n_labelled labels.

    A step sees up to 100 labelled images beside its batch of unlabelled ones. `draw` picks the labels; `how` goes to
    fit.
    """
    check_seed(draw, "draw")
    labelled, unlabelled = label_split(digits.y_train, n_labelled, seed=draw)
    x_l, y_l = digits.x_train[labelled], digits.y_train[labelled]
    counts = dict(n_labelled=n_labelled, n_unlabelled=len(unlabelled))

    def loss(images: Tensor) -> Tensor:
        some = some_rows(x_l)
        (m2, x), (_, x_u) = seen(model, x_l[some]), seen(model, images)
        return semi_supervised_loss(m2, x, y_l[some], x_u, alpha=alpha, **counts)

    return fit(getattr(model, "m2", model), loss, digits.x_train[unlabelled], **how)


@typed
@dataclass(frozen=True)
class Recipe:
    """All it takes to make one model from the training images.

    `loss(model, images)`, of uint8 images (B, 784), stands in the card and is minimised. With n_labelled the model is
    an M2, or an M1+M2, that is shown so many labels; then semi_supervised_loss is minimised. `how` goes to `fit`.
    """

    make: Callable[[data.Digits], nn.Module]
    loss: Callable[[nn.Module, Tensor], Tensor]
    epochs: int
    n_labelled: int = 0
    how: dict = field(default_factory=lambda: dict(precision="fp32"))

    def __post_init__(self) -> None:
        check_at_least(1, epochs=self.epochs)
        check_at_least(0, n_labelled=self.n_labelled)

    def train(self, digits: data.Digits, seed: int = 0) -> nn.Module:
        """A new model, on the device of the digits, whose bits are drawn anew at every step."""
        device = digits.x_train.device
        with evaluate.seeded(seed, device):
            model = self.make(digits).to(device)
        how = dict(seed=seed, epochs=self.epochs) | self.how
        if self.n_labelled:
            n_labelled = min(self.n_labelled, len(digits.x_train) // 60 * 10)  # never more than a sixth of a small set
            fit_semi_supervised(model, digits, n_labelled, draw=seed, **how)
        else:
            fit(model, lambda images: self.loss(model, images), digits.x_train, **how)
        return model


@typed
def on_bits(loss: Callable[..., Tensor], given: str = "") -> Callable[[nn.Module, Tensor], Tensor]:
    """The loss of what a model sees of uint8 images: their bits or, where pixels are `given`, x and y of split_bits."""
    if given:
        pixel_split(given)  # told now, not at the first step
    return lambda model, images: loss(model, *(split_bits(images, given) if given else (data.binarize(images),)))


@typed
def completer(given: str) -> Callable[[data.Digits], VAE]:
    """Makes the conditional VAE that completes a picture of which some pixels are `given`."""
    d_y, d_x = (len(rows) for rows in pixel_split(given))
    return lambda digits: VAE(d_x=d_x, d_z=20, hidden=(200, 200), d_y=d_y)


@typed
def regressor(given: str) -> Callable[[data.Digits], Regressor]:
    """Makes the completer's decoder without its z."""
    d_y, d_x = (len(rows) for rows in pixel_split(given))
    return lambda digits: Regressor(d_x=d_x, d_y=d_y, hidden=(200, 200))


@typed
def stack(digits: data.Digits) -> M1M2:
    """Trains an M1 and sets an untrained M2 on those of its latents that are active on the training images."""
    m1 = M1.train(digits)
    active = evaluate.active_units(m1, data.binarize(digits.x_train))
    return M1M2(m1, M2(d_x=int(active.sum()), d_z=50, hidden=(300,), likelihood="gaussian"), active)


M1 = Recipe(lambda digits: VAE(d_z=50, hidden=(500, 500)), on_bits(vae_loss), epochs=75, how=dict(precision="bf16"))
RECIPES = {
    "m1-2d": Recipe(lambda digits: VAE(d_z=2, hidden=(256, 256)), on_bits(vae_loss), epochs=60),
    "autoencoder-2d": Recipe(lambda digits: VAE(d_z=2, hidden=(256, 256)), on_bits(autoencoder_loss), epochs=60),
    "m2": Recipe(
        lambda digits: M2(d_z=10, hidden=(256,)), unlabelled_loss, epochs=60, n_labelled=10_000, how=LABEL_HOW
    ),
    "m2-2d": Recipe(
        lambda digits: M2(d_z=2, hidden=(256,)), unlabelled_loss, epochs=60, n_labelled=10_000, how=LABEL_HOW
    ),
    "m1m2": Recipe(stack, unlabelled_loss, epochs=200, n_labelled=100, how=M2_HOW),
}
for name in ("column", "left", "upper left"):
    key = name.replace(" ", "-")
    RECIPES[f"cvae-{key}"] = Recipe(completer(name), on_bits(vae_loss, given=name), epochs=60)
    RECIPES[f"regressor-{key}"] = Recipe(regressor(name), on_bits(regressor_loss, given=name), epochs=60)


@typed
def pretrained(name: str, digits: data.Digits) -> nn.Module:
    """The model whose weights travel along, on the device of the digits.

    Weights that do not travel along are fetched from the address $VAECORE_WEIGHTS. Where that is not set or does not
    answer, the model is trained on the digits, and a logged sentence says how long that takes.
    """
    recipe, path, reason = _recipe(name), WEIGHTS / f"{name}.safetensors", "do not travel along"
    known, address = card(name), os.environ.get("VAECORE_WEIGHTS")
    if not path.exists() and known and address:
        try:
            path = checkpoints.fetch(f"{address.rstrip('/')}/{name}.safetensors", known["sha256"])
        except (OSError, HTTPException, ValueError) as error:
            reason = f"could not be fetched ({error})"
    if path.exists():
        return checkpoints.load(path, digits.x_train.device)[0]
    time_taken = "takes some minutes"
    if known:
        time_taken = f"took us {math.ceil(known['seconds'] / 60)} minutes with {known['threads']} CPU thread(s)"
    log.warning(f"The weights of {name} {reason}, so the model is trained now, which {time_taken}; a GPU is faster.")
    return recipe.train(digits)


@typed
def card(name: str) -> dict:
    """How the weights came about, be they here or left behind: at least `seconds` and `threads`; {} if unknown."""
    path, left_behind = WEIGHTS / f"{name}.safetensors", WEIGHTS / CARDS
    if path.exists():
        return checkpoints.read(path)[1]
    return json.loads(left_behind.read_text(encoding="utf-8")).get(name, {}) if left_behind.exists() else {}


@typed
def check_value(name: str, model: nn.Module) -> float:
    """The recipe's mean loss, in nats, on the first 500 test digits that travel along; the card records it."""
    digits = data.mnist(root=PACKAGED)
    return mean_loss(_recipe(name), copy.deepcopy(model).cpu(), digits.x_test[:500])


@typed
@torch.no_grad()
def mean_loss(recipe: Recipe, model: nn.Module, images: Tensor) -> float:
    """The recipe's loss, in nats, on uint8 images (N, 784) whose bits are drawn once."""
    check_pixels(images, "images", math.prod(data.SHAPE))
    check_values(images=images)
    with evaluate.seeded(0, images.device):
        return recipe.loss(model, images).item()


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
    recipe, made_by, start = RECIPES[name], checkpoints.provenance(), time.perf_counter()
    model = recipe.train(digits)
    seconds = round(time.perf_counter() - start)
    exact_loss = mean_loss(recipe, model, digits.x_test)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(parameter.half())  # the card's other numbers are those of the weights as stored
    made = dict(command=f"python -m vaecore.pretrained {name}", data=str(digits), seed=0, epochs=recipe.epochs)
    made |= made_by | dict(seconds=seconds, threads=torch.get_num_threads(), **recipe.how)
    made |= dict(test_loss_float32=exact_loss, test_loss=mean_loss(recipe, model, digits.x_test))
    made |= dict(check_value=check_value(name, model))
    if recipe.n_labelled:
        with evaluate.seeded(0):
            error = evaluate.classification_error(model, data.binarize(digits.x_test), digits.y_test)
        made |= dict(n_labelled=recipe.n_labelled, test_error=error)
    checkpoints.save(WEIGHTS / f"{name}.safetensors", model, dtype=torch.float16, **made)


if __name__ == "__main__":
    main()
