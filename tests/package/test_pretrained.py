"""The bundled weights: each reaches what its card says; without them they are fetched, or trained."""

import dataclasses
import hashlib
import json

import pytest
import torch
from mirror import Mirror, whole_mnist

from vaecore import checkpoints, data, runs
from vaecore.experiments import EXPERIMENTS

BUNDLED = sorted(path.name for path in runs.WEIGHTS.glob("*.safetensors"))


def test_the_bundled_weights_are_those_of_the_table():
    names = {f"{row.stem()}.safetensors" for row in EXPERIMENTS.values() if row.measure == "test loss"}
    assert set(BUNDLED) <= names and names - set(BUNDLED) == {f"{EXPERIMENTS['m1-book'].stem()}.safetensors"}
    sizes = [(runs.WEIGHTS / name).stat().st_size for name in BUNDLED]
    assert max(sizes) < 3e6 and sum(sizes) < 12e6


@pytest.mark.parametrize("file", BUNDLED)
def test_bundled_weights_reach_what_their_card_says(file, digits):
    model, card = checkpoints.load(runs.WEIGHTS / file)
    row = next(row for row in EXPERIMENTS.values() if file.startswith(row.stem()))
    assert card["key"] == row.key() and card["settings"] == row.settings()
    assert type(model).__name__ == row.model and not card["commit"].endswith("-dirty")
    value = runs.loss_without_labels(row, model, digits.x_test[:500])
    assert value == pytest.approx(card["check_value"], rel=1e-3)


@pytest.fixture
def left_behind(tmp_path, monkeypatch):
    """vaecore as a notebook carries it, without weights but with the card of m1-2d's; training is only noted."""
    stem = EXPERIMENTS["m1-2d"].stem()
    weights = (runs.WEIGHTS / f"{stem}.safetensors").read_bytes()
    card = dict(seconds=293, threads=1, sha256=hashlib.sha256(weights).hexdigest())
    (tmp_path / "cards.json").write_text(json.dumps({stem: card}))
    monkeypatch.setattr(runs, "WEIGHTS", tmp_path)
    monkeypatch.setattr(runs, "CARDS", tmp_path / "cards.json")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("VAECORE_BUILD", "1")
    monkeypatch.delenv("VAECORE_WEIGHTS", raising=False)
    monkeypatch.setattr(runs, "train", lambda *run: torch.nn.Identity())
    return f"/{stem}.safetensors", weights


def test_weights_left_behind_are_fetched_once(left_behind, digits, monkeypatch, caplog):
    path, weights = left_behind
    site = Mirror({f"/weights{path}": weights})
    monkeypatch.setenv("VAECORE_WEIGHTS", f"{site.address}weights/")
    models = [runs.pretrained("m1-2d", digits) for _ in range(2)]
    site.close()
    assert site.asked == [f"/weights{path}"] and caplog.messages == []
    row = EXPERIMENTS["m1-2d"]
    values = {runs.loss_without_labels(row, model, digits.x_test[:500]) for model in models}
    assert len(values) == 1 and values.pop() < 160


@pytest.mark.parametrize("fault, reason", [("error 500", "500 Server Error"), ("flipped bit", "does not match")])
def test_weights_that_arrive_damaged_are_trained(left_behind, digits, monkeypatch, caplog, fault, reason):
    site = Mirror({left_behind[0]: left_behind[1]}, fault)
    monkeypatch.setenv("VAECORE_WEIGHTS", site.address)
    assert isinstance(runs.pretrained("m1-2d", digits), torch.nn.Identity)
    site.close()
    (message,) = caplog.messages
    assert message.startswith("The weights of m1-2d could not be fetched (") and reason in message


def test_the_warning_says_how_long_the_training_takes(left_behind, digits, caplog):
    assert runs.card("m1-2d")["seconds"] == 293 and runs.card("m2-book") == {}
    assert isinstance(runs.pretrained("m1-2d", digits), torch.nn.Identity)
    (message,) = caplog.messages
    assert "m1-2d are not bundled" in message and "5 minutes with 1 CPU thread" in message


@pytest.mark.parametrize("change", ["a part", "inverted", "other labels"])
def test_other_digits_do_not_get_the_weights_of_mnist(digits, change, monkeypatch, caplog):
    """Also of a part of MNIST the bundled weights say too much: they have learnt from what is held out."""
    monkeypatch.setattr(runs, "train", lambda *run: torch.nn.Identity())
    other = {
        "a part": dict(x_train=digits.x_train[:-500], y_train=digits.y_train[:-500]),
        "inverted": dict(x_train=255 - digits.x_train, x_test=255 - digits.x_test),
        "other labels": dict(y_train=9 - digits.y_train, y_test=9 - digits.y_test),
    }[change]
    assert isinstance(runs.pretrained("m1-2d", dataclasses.replace(digits, **other)), torch.nn.Identity)
    assert "are MNIST's" in caplog.text


def test_the_whole_of_mnist_gets_them(monkeypatch):
    if root := whole_mnist():
        monkeypatch.setattr(runs, "train", None)
        assert runs.pretrained("m1-2d", data.mnist(root=root)).d_z == 2
