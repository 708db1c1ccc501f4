"""One bad call for each door of the package: the right exception, and a message that names the argument.

They are made in a process without the tests' import hook, so with the checks that readers have.
"""

import json
import re
import subprocess
import sys

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from vaecore import checkpoints, data, devices, diagrams, evaluate, figures, losses, runs, seeds, splits
from vaecore.data import Pictures
from vaecore.distributions import Bernoulli, Gaussian
from vaecore.m2 import M1M2, M2
from vaecore.objectives import fit_semi_supervised
from vaecore.train import fit
from vaecore.vae import VAE, Regressor

X, Y = torch.zeros(6, 20), torch.arange(6) % 3
PIXELS = torch.full((6, 4), 255, dtype=torch.uint8)


def vae(**sizes) -> VAE:
    return VAE(**dict(d_x=20, d_z=2, hidden=(4,)) | sizes)


def m2(**sizes) -> M2:
    return M2(**dict(d_x=20, d_z=2, hidden=(4,), n_classes=3) | sizes)


def digits(x=PIXELS, y=Y) -> Pictures:
    return Pictures("toy", x, y, x, y, shape=(2, 2))


class Column:
    def classify(self, x):
        return Y[:, None]


def train(model=None, tensor=X, loss=lambda model, x: -model.elbo(x).mean(), **settings):
    model = model or vae()
    return fit(model, lambda x: loss(model, x), tensor, **dict(epochs=1) | settings)


OTHER = vae()
CALLS = {
    "Pictures: grey up to 1": (lambda: digits(PIXELS // 255), ValueError, "x_train"),
    "Pictures: classes one-hot": (lambda: digits(y=F.one_hot(Y)), ValueError, "y_train"),
    "Pictures: another length": (lambda: digits(y=Y[:5]), ValueError, "x_train"),
    "mnist: name": (lambda: data.mnist("CIFAR10"), ValueError, "name"),
    "binarize: floats": (lambda: data.binarize(torch.rand(2, 4)), TypeError, "x"),
    "batches: size": (lambda: list(data.batches(0, X)), ValueError, "batch_size"),
    "batches: lengths": (lambda: list(data.batches(2, X, Y[:5])), ValueError, "tensors"),
    "VAE: activation": (lambda: vae(activation="sine"), ValueError, "activation"),
    "VAE: likelihood": (lambda: vae(likelihood="poisson"), ValueError, "likelihood"),
    "VAE: sizes": (lambda: vae(d_z=2.5), TypeError, "float"),
    "M2: sizes": (lambda: m2(hidden=(4.5,)), TypeError, "float"),
    "VAE: values": (lambda: vae().encode(255 + X), ValueError, "x"),
    "VAE: nan": (lambda: vae().elbo(X * float("nan")), ValueError, "x"),
    "VAE: no condition": (lambda: vae(d_y=3).elbo(X), ValueError, "y"),
    "VAE: no need of a condition": (lambda: vae().elbo(X, Y), ValueError, "y"),
    "VAE: class too high": (lambda: vae(d_y=3).encode(X, Y + 1), ValueError, "y"),
    "VAE: a condition of bytes": (lambda: vae(d_y=4).encode(X, PIXELS), TypeError, "y"),
    "VAE: classes as floats": (lambda: vae(d_y=3).encode(X, Y.float()), ValueError, "y"),
    "VAE: classes in a column": (lambda: vae(d_y=3).encode(X, Y[:, None]), ValueError, "y"),
    "VAE: a number as condition": (lambda: vae(d_y=3).encode(X, torch.tensor(1.0)), ValueError, "y"),
    "Regressor: bytes": (lambda: Regressor(20, 4).predict(PIXELS), TypeError, "y"),
    "Regressor: classes": (lambda: Regressor(20, 4).predict(Y[:, None]), ValueError, "y"),
    "Gaussian: a column for a row": (lambda: Gaussian.standard(4, 1).log_prob(torch.ones(4)), ValueError, "z"),
    "Bernoulli: values": (lambda: vae().decode(torch.zeros(6, 2)).log_prob(X - 1), ValueError, "x"),
    "Bernoulli: a column for a row": (lambda: Bernoulli(torch.zeros(4, 1)).log_prob(torch.ones(4)), ValueError, "x"),
    "M2: likelihood": (lambda: m2(likelihood="laplace"), ValueError, "likelihood"),
    "M2: values": (lambda: m2().unlabelled_bound(X + 2), ValueError, "x"),
    "M2: classes one-hot": (lambda: m2().labelled_bound(X, F.one_hot(Y)), ValueError, "y"),
    "M2: class below 0": (lambda: m2().labelled_bound(X, Y - 1), ValueError, "y"),
    "M1M2: sizes": (lambda: M1M2(vae(), m2(d_x=2), torch.tensor([True, False])), ValueError, "m2"),
    "M2: classes of more draws": (lambda: m2().generate(1, Y), ValueError, "y"),
    "M2: one image": (lambda: m2().unlabelled_bound(X[0]), ValueError, "x"),
    "M1M2: length of active": (
        lambda: M1M2(vae(), m2(d_x=2, likelihood="gaussian"), torch.tensor([True, True, False])),
        ValueError,
        "active",
    ),
    "evaluate: dtype": (lambda: evaluate.elbo(vae(), X.byte()), TypeError, "x"),
    "evaluate: rank": (lambda: evaluate.elbo(vae(), X[0]), TypeError, "x"),
    "evaluate: length of y": (lambda: evaluate.elbo(vae(d_y=3), X, Y[:5]), ValueError, "y"),
    "evaluate: M2 without y": (lambda: evaluate.log_evidence(m2(), X), ValueError, "y"),
    "evaluate: class below 0": (lambda: evaluate.classification_error(m2(), X, Y - 1), ValueError, "y"),
    "evaluate: classes from 1": (lambda: evaluate.classification_error(m2(), X, Y + 1), ValueError, "y"),
    "evaluate: classes in a column": (lambda: evaluate.classification_error(Column(), X, Y), ValueError, "classify"),
    "log_evidence: no rows": (lambda: evaluate.log_evidence(vae(), X, rows=0), ValueError, "rows"),
    "pixel_split: name": (lambda: splits.pixel_split("top"), ValueError, "name"),
    "label_split: no multiple": (lambda: splits.label_split(Y, 4, seed=0), ValueError, "n_labelled"),
    "label_split: too many": (lambda: splits.label_split(Y, 9, seed=0), ValueError, "n_labelled"),
    "hold_out: everything": (lambda: splits.hold_out(digits(), 6), ValueError, "n"),
    "seeded: seed": (lambda: seeds.seeded(-1).__enter__(), ValueError, "seed"),
    "pick_device: not there": (lambda: devices.pick_device("cuda:77"), ValueError, "name"),
    "pick_device: unknown": (lambda: devices.pick_device("gpu"), ValueError, "name"),
    "fit: epochs": (lambda: train(epochs=0), ValueError, "epochs"),
    "fit: batch_size": (lambda: train(batch_size=0), ValueError, "batch_size"),
    "fit: type of epochs": (lambda: train(epochs="3"), TypeError, "epochs"),
    "fit: epochs of torch": (lambda: train(epochs=torch.tensor(2.5)), TypeError, "epochs"),
    "fit: several lr": (lambda: train(lr=torch.tensor([1e-3, 1e-4])), TypeError, "lr"),
    "fit: complex lr": (lambda: train(lr=np.complex64(1e-3)), TypeError, "lr"),
    "fit: lr": (lambda: train(lr=float("inf")), ValueError, "lr"),
    "fit: schedule": (lambda: train(schedule="step"), ValueError, "schedule"),
    "fit: precision": (lambda: train(precision="fp8"), ValueError, "precision"),
    "fit: faster": (lambda: train(faster={"columns": 4.0}), ValueError, "faster"),
    "fit: rising": (lambda: train(rising={"columns": 2.0}), ValueError, "rising"),
    "fit: falling": (lambda: train(rising={"encoder": -1.0}), ValueError, "rising"),
    "fit: two words of faster": (lambda: train(faster={"en": 4.0, "coder": 2.0}), ValueError, "faster"),
    "fit: frozen weights": (lambda: train(vae().requires_grad_(False)), ValueError, "frozen"),
    "fit: float16": (lambda: train(vae().half()), TypeError, "float16"),
    "fit: in inference mode": (lambda: torch.inference_mode()(train)(), ValueError, "inference_mode"),
    "fit: no tensors": (lambda: fit(vae(), lambda: X.sum(), epochs=1), ValueError, "tensors"),
    "fit: lengths": (lambda: fit(vae(), lambda x, y: x.sum(), X, Y[:5], epochs=1), ValueError, "tensors"),
    "fit: an array": (lambda: train(tensor=np.zeros((6, 20))), TypeError, "tensors"),
    "fit: loss per image": (lambda: train(loss=lambda model, x: -model.elbo(x)), ValueError, "loss"),
    "fit: loss without the model": (lambda: train(loss=lambda model, x: x.sum()), ValueError, "loss"),
    "fit: another model's loss": (lambda: train(vae(), loss=lambda _, x: -OTHER.elbo(x).mean()), ValueError, "loss"),
    "fit: checkpoint a folder": (lambda: train(checkpoint="."), OSError, "must be a file"),
    "fit: no weights": (lambda: train(torch.nn.ReLU()), ValueError, "model"),
    "train: no number of labels": (lambda: runs.train(runs.EXPERIMENTS["m2"], digits()), ValueError, "labels"),
    "pretrained: too few digits": (lambda: runs.pretrained("m2-book", digits()), ValueError, "digits"),
    "pretrained: name": (lambda: runs.pretrained("m1", digits()), ValueError, "name"),
    "checkpoints: dtype": (lambda: checkpoints.save("unwritten", vae(), dtype=torch.int8), ValueError, "dtype"),
    "classifier_loss: torch's own mark": (lambda: losses.classifier_loss(m2(), X, Y - 100), ValueError, "y"),
    "fit_semi_supervised: alpha": (
        lambda: fit_semi_supervised(m2(), digits(), 3, 0, alpha=-1.0, epochs=1),
        ValueError,
        "alpha",
    ),
    "checkpoints: a name that is taken": (
        lambda: checkpoints.save("unwritten", vae(), commit="mine"),
        ValueError,
        "commit",
    ),
    "checkpoints: card": (lambda: checkpoints.save("unwritten", vae(), note=object()), TypeError, "card"),
    "graph: dot": (lambda: diagrams.graph("digraph { a -> ", alt="x"), ValueError, "dot"),
    "graph: no alt text": (lambda: diagrams.graph("digraph { a }", alt=" "), ValueError, "alt"),
    "curves: too many": (lambda: figures.curves([0], {c: [0] for c in "abcde"}, "x", "y", "x"), ValueError, "lines"),
    "latent_scatter: too many classes": (
        lambda: figures.latent_scatter(figures.axes()[1], torch.zeros(11, 2), torch.arange(11)),
        ValueError,
        "labels",
    ),
    "digit_grid: shape": (lambda: figures.digit_grid(torch.zeros(4, 16), 1, "x", shape=(2, 2)), ValueError, "reshape"),
    "digit_grid: values": (lambda: figures.digit_grid(torch.full((1, 784), 2.0), 1, alt="x"), ValueError, "images"),
}


def call_all() -> dict[str, tuple[list[str], str]]:
    """The names of the classes of each exception, and its message."""
    raised = {}
    for door, (call, _, _) in CALLS.items():
        try:
            call()
            raised[door] = [], "no exception"
        except Exception as error:
            raised[door] = [kind.__name__ for kind in type(error).__mro__], str(error)
    return raised


@pytest.fixture(scope="module")
def raised(request):
    code = "import json, test_bad_calls as t; print(json.dumps(t.call_all()))"
    folder = request.path.parent
    run = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=True)
    return json.loads(run.stdout)


@pytest.mark.parametrize("door", CALLS)
def test_a_bad_call_names_the_argument(door, raised):
    (_, error, argument), (kinds, message) = CALLS[door], raised[door]
    assert error.__name__ in kinds and re.search(rf"\b{argument}\b", message), (kinds, message)
