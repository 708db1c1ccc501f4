"""Runs of experiments: trained, measured, recorded; and the models whose weights are bundled.

`python -m vaecore.runs NAME` makes bundled weights again from the whole of MNIST.
"""

import argparse
import contextlib
import json
import logging
import math
import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from . import checkpoints, data, evaluate, processes, records
from .data import Pictures, binarize
from .devices import pick_device
from .download import cache_folder, fetch
from .experiments import EXPERIMENTS, OF_THE_BOOK, Experiment
from .m2 import M1M2, M2
from .objectives import WITHOUT_LABELS, build, m2_input, objective, trained_part
from .seeds import seeded
from .splits import split_bits
from .train import fit
from .vae import Regressor

WEIGHTS = Path(__file__).parent / "weights"
CARDS = WEIGHTS / "cards.json"  # only in a notebook's copy of vaecore: what is known of weights that were left out
log = logging.getLogger(__name__)


def train(experiment: Experiment, digits: Pictures) -> nn.Module:
    """Train the experiment's model, or go on where a run with the same key stopped; first the one it starts from.

    Return the model, on the device of the digits. Checkpoints are kept in `cache_folder("runs")`, under the key.
    """
    if experiment.is_labelled and not experiment.labels:
        raise ValueError(
            f"experiment must say how many labels it uses: EXPERIMENTS[{experiment.name!r}].at(labels=100)."
        )
    experiment, device = on(experiment, digits), digits.x_train.device
    start = experiment.start()
    first = weights_of(start, digits) if start else None
    with seeded(experiment.draw, device):
        model = build(experiment, digits, first).to(device)
    loss, tensors = objective(experiment, model, digits)
    names = ("epochs", "batch_size", "lr", "schedule", "precision", "faster", "rising")
    settings: dict[str, Any] = {name: getattr(experiment, name) for name in names} | dict(seed=experiment.draw)
    if experiment.measure == "test error" and experiment.objective != "classifier":  # a pass of that is a step or two
        settings["test"] = lambda: _error(model, digits.x_test / 255, digits)
    fit(trained_part(model), loss, *tensors, checkpoint=checkpoint_of(experiment), data=digits.describe(), **settings)
    return model


def checkpoint_of(experiment: Experiment) -> Path:
    """Where the run keeps its weights from epoch to epoch."""
    return cache_folder("runs", f"{experiment.stem()}.safetensors")


def on(experiment: Experiment, digits: Pictures) -> Experiment:
    """The experiment as it is run on these digits; on other data than the whole of MNIST it has another key."""
    known = data.fingerprint(digits)
    if digits.is_full and known in data.MNIST_ITSELF:
        return experiment
    labels = experiment.labels and min(experiment.labels, len(digits.x_train) // 60 * 10)
    if labels == 0:
        raise ValueError(f"digits must be at least 60 to train on, for ten with labels; got {len(digits.x_train)}.")
    return replace(experiment, data=known, labels=labels)


def weights_of(experiment: Experiment, digits: Pictures) -> nn.Module:
    """The experiment's model: from the bundled weights, from the address in $VAECORE_WEIGHTS, or else trained."""
    bundled = replace(experiment, data="MNIST")
    path, device = WEIGHTS / f"{bundled.stem()}.safetensors", digits.x_train.device
    fits = data.fingerprint(digits) in data.MNIST_ITSELF
    if fits and path.exists():
        return checkpoints.load(path, device)[0]
    known, address = card(bundled.name), os.environ.get("VAECORE_WEIGHTS")
    problem = "are not bundled" if fits else "are MNIST's"
    if fits and "sha256" in known and address:
        try:
            known_hash, copy = f"sha256:{known['sha256']}", cache_folder("weights", path.name)
            return checkpoints.load(fetch(f"{address.rstrip('/')}/{path.name}", known_hash, copy), device)[0]
        except (OSError, ValueError) as error:
            problem = f"could not be fetched ({error})"
    if known:
        minutes = f"{math.ceil(known['seconds'] / 60)} minutes with {known['threads']} CPU thread(s)"
        log.warning(
            f"The weights of {bundled.name} {problem}, so the model is trained now, which took us {minutes}; "
            "a GPU is faster."
        )
    return train(experiment, digits)


def has_weights(experiment: Experiment) -> bool:
    """Whether the experiment's weights are bundled, or whole in the cache."""
    path, start = checkpoint_of(experiment), experiment.start()
    if (WEIGHTS / path.name).exists():
        return True
    if start is not None and experiment.model == "M1M2" and not has_weights(start):  # only the M2 is in the checkpoint
        return False
    with contextlib.suppress(FileNotFoundError, ValueError):
        return len(checkpoints.read(path)[1]["history"]["loss"]) == experiment.epochs
    return False


def pretrained(name: str, digits: Pictures) -> nn.Module:
    """The model whose weights are bundled, on the device of the digits; trained on the digits if they are not here.

    The bundled weights are for MNIST itself, the whole set or the bundled digits. On any other digits, also on a part
    of MNIST, the model is trained.
    """
    if name not in OF_THE_BOOK:
        raise ValueError(f"name must be one of {', '.join(OF_THE_BOOK)}; got {name!r}.")
    return weights_of(EXPERIMENTS[name], digits)


def card(name: str) -> dict:
    """How the bundled weights came about: at least `seconds` and `threads`; {} if unknown."""
    stem = EXPERIMENTS[name].stem()
    if (path := WEIGHTS / f"{stem}.safetensors").exists():
        return checkpoints.read(path)[1]
    return json.loads(CARDS.read_text(encoding="utf-8")).get(stem, {}) if CARDS.exists() else {}


def drawn_test_bits(digits: Pictures) -> Tensor:
    """The bits of the test images, drawn once."""
    with seeded(0, digits.x_test.device):
        return binarize(digits.x_test)


def loss_without_labels(experiment: Experiment, model: nn.Module, images: Tensor) -> float:
    """The loss without labels, in nats, on images (N, 784) uint8 whose bits are drawn once."""
    model = checkpoints.unwrap(model)
    with torch.no_grad(), seeded(0, images.device):
        if isinstance(model, M2 | M1M2):
            return -trained_part(model).unlabelled_bound(m2_input(model, images)).mean().item()
        given = experiment.given
        inputs = split_bits(images, given) if given else (binarize(images),)
        return WITHOUT_LABELS[experiment.objective](model, *inputs).item()


def _log_evidence_given_column(experiment: Experiment, model: nn.Module, digits: Pictures) -> float:
    """-log p(x|y) of the bits of the other columns, given the middle one's: exact for a regressor, else by draws."""
    with seeded(0, digits.x_test.device):
        x, y = split_bits(digits.x_test, experiment.given or "")
    if isinstance(model, Regressor):
        with torch.no_grad():
            return -model.log_likelihood(x, y).mean().item()
    return -evaluate.log_evidence(model, x, y, n_samples=500).mean().item()


def _error(model: nn.Module, x: Tensor, digits: Pictures) -> float:
    return 100 * evaluate.classification_error(model, x, digits.y_test)


MEASURES = {  # a function of experiment, model and digits, and its unit
    "test error": (lambda e, model, d: _error(model, d.x_test / 255, d), "test error in per cent"),
    "test ELBO": (lambda e, model, d: evaluate.elbo(model, drawn_test_bits(d)).mean().item(), "test ELBO in nats"),
    "test loss": (lambda e, model, d: loss_without_labels(e, model, d.x_test), "test loss in nats"),
    "-log p(x) by 5000 draws": (
        lambda e, model, d: -evaluate.log_evidence(model, drawn_test_bits(d), n_samples=5000).mean().item(),
        "-log p(x) in nats",
    ),
    "-log p(x|y) by 500 draws": (_log_evidence_given_column, "-log p(x|y) in nats"),
}


def run(experiment: Experiment, device: str = "auto") -> Path:
    """Train and measure the experiment on the whole of MNIST and write its record; return the record's path.

    A record that exists with this key is left as it is. Raises ValueError without the whole of MNIST.
    """
    path = records.path_of(experiment)
    if path.exists():
        return path
    digits = data.mnist(device=pick_device(device))
    if not digits.is_full:
        raise ValueError("the whole of MNIST is needed: set VAECORE_DATA to it, or connect for the download.")
    measure, unit = MEASURES[experiment.measure]
    model = train(experiment, digits)
    if not processes.is_first():
        return path
    start = time.perf_counter()
    value = measure(experiment, model, digits)
    measured = dict(device=str(digits.x_train.device), threads=torch.get_num_threads())
    measured |= dict(seconds=round(time.perf_counter() - start)) | checkpoints.provenance()
    card = checkpoints.read(checkpoint_of(experiment))[1]
    trained = card["run"] | {name: card[name] for name in checkpoints.provenance()}
    trained["seconds"] = round(sum(card["history"]["seconds"]))
    architecture = dict(model=type(model).__name__, config=model.config)
    record = dict(row=experiment.name, labels=experiment.labels, draw=experiment.draw, key=experiment.key())
    record |= dict(value=value, unit=unit, command=records.command(experiment), data=digits.describe())
    record |= dict(settings=experiment.settings(), architecture=architecture, trained=trained, measured=measured)
    if experiment.measure == "test error":
        after_each_pass = [round(error, 2) for error in card["history"]["test"] if isinstance(error, float)]
        record |= dict(on_bits=_error(model, drawn_test_bits(digits), digits), after_each_pass=after_each_pass)
    records.write(path, record)
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description="Make bundled weights again from the whole of MNIST.")
    parser.add_argument("name", choices=OF_THE_BOOK)
    experiment, digits = EXPERIMENTS[parser.parse_args().name], data.mnist()
    if not digits.is_full:
        parser.error("the whole of MNIST is needed: set VAECORE_DATA to it, or connect for the download.")
    model = train(experiment, digits)
    card = checkpoints.read(checkpoint_of(experiment))[1]
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(parameter.half())  # what is measured is the weights as stored
    facts: dict[str, Any] = dict(key=experiment.key(), settings=experiment.settings())
    facts |= dict(command=f"python -m vaecore.runs {experiment.name}")
    facts |= dict(seconds=round(sum(card["history"]["seconds"])), threads=card["run"]["threads"])
    facts |= dict(data=digits.describe(), test_loss=loss_without_labels(experiment, model, digits.x_test))
    facts |= dict(check_value=loss_without_labels(experiment, model, data.mnist(root=data.BUNDLED).x_test[:500]))
    if experiment.is_labelled:
        facts |= dict(test_error=_error(model, drawn_test_bits(digits), digits) / 100)
    checkpoints.save(WEIGHTS / f"{experiment.stem()}.safetensors", model, dtype=torch.float16, **facts)


if __name__ == "__main__":
    main()
