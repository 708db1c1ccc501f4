"""A plugin for tests: all experiments of the book made small, on 600 digits that pass for the whole of MNIST."""

import dataclasses

import pytest

from vaecore import data, records
from vaecore.experiments import EXPERIMENTS


def make_small(patch, folder, digits) -> data.Pictures:
    few = dict(x_train=digits.x_train[:600], y_train=digits.y_train[:600], origin="")
    few = dataclasses.replace(digits, **few, x_test=digits.x_test[:40], y_test=digits.y_test[:40])
    patch.setattr(data, "SIZES", (600, 40))
    patch.setattr(data, "MNIST_ITSELF", (data.fingerprint(few),))
    patch.setattr(data, "mnist", lambda *args, root=None, **kwargs: few if root is None else digits)
    patch.setattr(records, "RESULTS", folder / "results")
    patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
    patch.delenv("VAECORE_WEIGHTS", raising=False)
    for name, row in EXPERIMENTS.items():
        short = dict(epochs=2, batch_size=50)  # 500 unlabelled: 10 steps
        short |= dict(sizes=row.sizes | dict(hidden=(16,)), labels=row.labels and 100)
        patch.setitem(EXPERIMENTS, name, dataclasses.replace(row, **short))
    return few


@pytest.fixture
def small(digits, tmp_path, monkeypatch):
    return make_small(monkeypatch, tmp_path, digits)


@pytest.fixture(scope="module")
def small_once(digits, tmp_path_factory):
    """The same for all tests of a file, so that a model which several start from is trained once."""
    with pytest.MonkeyPatch.context() as patch:
        yield make_small(patch, tmp_path_factory.mktemp("small"), digits)
