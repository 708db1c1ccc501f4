"""Real runs, made small: from start to record, and again after a stop; bundled weights that are missing are trained."""

import dataclasses
import json

import pytest
import torch

from vaecore import checkpoints, data, records, runs
from vaecore.experiments import EXPERIMENTS

pytest_plugins = ["small_experiments"]

ROWS = [name for name, row in EXPERIMENTS.items() if row.measure != "test loss"]
BUNDLED = [name for name, row in EXPERIMENTS.items() if row.measure == "test loss" and name != "m1-book"]


def cached(folder) -> list[str]:
    return sorted(path.name.removesuffix(".safetensors") for path in folder.rglob("*.safetensors"))


@pytest.mark.parametrize("name", ROWS)
def test_a_run_leaves_its_record(name, small_once):
    row = EXPERIMENTS[name].at(100, 1)
    path = runs.run(row, "cpu")
    record = json.loads(path.read_text())
    assert 0 < record["value"] <= 100 if row.is_labelled else 0 < abs(record["value"]) < 600
    labels = " --labels 100" if row.is_labelled else ""
    assert record["command"] == f"python -m benchmarks.reproduce {name}{labels} --draw 1"
    assert (record["row"], record["labels"], record["draw"]) == (name, 100 if labels else None, 1)
    assert record["key"] == row.key() and record["settings"] == row.settings()
    architecture = record["architecture"]
    assert architecture["model"] == row.model and row.sizes.items() <= dict(_sizes(architecture["config"])).items()
    if row.is_labelled:
        assert len(record["after_each_pass"]) == (0 if row.objective == "classifier" else 2)
        assert set(record["after_each_pass"][-1:]) <= {round(record["value"], 2)} and 0 < record["on_bits"] <= 100
    for part in ("trained", "measured"):
        assert {"commit", "device", "threads", "seconds", "torch"} <= set(record[part])
    assert record["data"] == "MNIST: 600 training and 40 test digits"
    assert row.stem() in cached(data.cache_folder("runs"))
    before = path.stat().st_mtime_ns
    assert runs.run(row, "cpu") == path and path.stat().st_mtime_ns == before


def _sizes(config: dict):
    """A model's sizes as a row has them."""
    for name, value in config.get("m2", config).items():
        yield name, tuple(value) if isinstance(value, list) else value


@pytest.mark.parametrize("name, save", [("m2", 1), ("m2", 2), ("m1m2_in_turn", 1)])
def test_a_stopped_run_goes_on(name, save, small, monkeypatch):
    row = EXPERIMENTS[name].at(100, 0)
    whole, path = json.loads(runs.run(row, "cpu").read_text()), runs.checkpoint_of(row)
    weights = checkpoints.read(path)[0]
    for left in (records.path_of(row), *path.parent.glob(f"{row.stem()}.*")):
        left.unlink()
    real, saves = checkpoints.save, []

    def stops(*args, **kwargs):
        real(*args, **kwargs)
        saves.append(1)
        if len(saves) == save:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(checkpoints, "save", stops)
        runs.run(row, "cpu")
    assert not records.path_of(row).exists()
    again = json.loads(runs.run(row, "cpu").read_text())
    assert again["value"] == whole["value"]
    assert all(torch.equal(weights[name], value) for name, value in checkpoints.read(path)[0].items())


def test_of_several_processes_the_first_writes(small, monkeypatch):
    row = EXPERIMENTS["m1_fp32"]
    runs.train(row, small)  # so that no training is left to share
    for variable, value in dict(TORCHELASTIC_RUN_ID="none", WORLD_SIZE="1", RANK="1").items():
        monkeypatch.setenv(variable, value)
    assert not runs.run(row, "cpu").exists()


def test_images_that_only_look_like_mnist_have_a_key_of_their_own(small):
    row = EXPERIMENTS["vae_nll"]
    inverted = dataclasses.replace(small, x_train=255 - small.x_train)
    assert inverted.is_full and inverted.name == "MNIST"
    assert runs.on(row, small).key() == row.key() != runs.on(row, inverted).key()


def test_a_run_wants_the_whole_of_mnist(digits, monkeypatch):
    monkeypatch.setattr(data, "mnist", lambda device: digits)
    with pytest.raises(ValueError, match="the whole of MNIST is needed"):
        runs.run(EXPERIMENTS["vae_nll"].at(draw=9), "cpu")


# ---- Bundled weights


@pytest.mark.parametrize("name", BUNDLED)
def test_without_weights_the_experiment_is_run(name, digits, small_once, monkeypatch, tmp_path):
    """On a few digits, a few passes already beat an untrained model."""
    few = dataclasses.replace(small_once, x_train=digits.x_train[:2000], y_train=digits.y_train[:2000])
    row = dataclasses.replace(EXPERIMENTS[name], epochs=3)
    monkeypatch.setitem(EXPERIMENTS, name, row)
    model = runs.pretrained(name, few)
    start = row.start()
    untrained = runs.build(row, few, runs.weights_of(start, few) if start else None)
    after, before = (runs.loss_without_labels(row, net, digits.x_test[:200]) for net in (model, untrained))
    assert after < before - 1
