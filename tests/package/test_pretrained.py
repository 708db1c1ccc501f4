"""The weights that travel along: each loads, and scores what its card says on digits that travel along."""

import dataclasses
import hashlib
import json

import pytest
import torch
from mirror import Mirror

from vaecore import checkpoints, evaluate, pretrained


@pytest.mark.parametrize("name", pretrained.RECIPES)
def test_weights_score_what_their_card_says(name):
    path, recipe = pretrained.WEIGHTS / f"{name}.safetensors", pretrained.RECIPES[name]
    model, card = checkpoints.load(path)
    if name != "m1m2":  # whose sizes are only known once its M1 is trained
        assert model.config == recipe.make(None).config
    assert card["command"] == f"python -m vaecore.pretrained {name}"
    assert card["epochs"] == recipe.epochs and card.get("n_labelled", 0) == recipe.n_labelled
    assert pretrained.check_value(name, model) == pytest.approx(card["check_value"], rel=1e-3)
    assert abs(card["test_loss"] - card["test_loss_float32"]) < 0.05  # nats that half precision costs
    assert not card["commit"].endswith("-dirty"), json.dumps(card)
    assert path.stat().st_size < 3e6


def test_all_weights_together_are_small():
    files = set(pretrained.WEIGHTS.glob("*"))
    assert files == {pretrained.WEIGHTS / f"{name}.safetensors" for name in pretrained.RECIPES}
    assert sum(path.stat().st_size for path in files) < 12e6


@pytest.mark.parametrize("name", pretrained.RECIPES)
def test_without_weights_the_recipe_is_run(name, digits, tmp_path, monkeypatch):
    """One epoch on a few digits already beats an untrained model."""
    monkeypatch.setattr(pretrained, "WEIGHTS", tmp_path)
    monkeypatch.setattr(pretrained, "M1", dataclasses.replace(pretrained.M1, epochs=1))
    recipe = dataclasses.replace(pretrained.RECIPES[name], epochs=1)
    monkeypatch.setitem(pretrained.RECIPES, name, recipe)
    few = dataclasses.replace(digits, x_train=digits.x_train[:3000], y_train=digits.y_train[:3000])
    models = pretrained.pretrained(name, few), recipe.make(few)
    with torch.no_grad(), evaluate.seeded(0):
        trained, untrained = (recipe.loss(model, digits.x_test[:200]) for model in models)
    assert trained < untrained - 1


def test_a_name_without_recipe_is_refused(digits):
    with pytest.raises(ValueError, match=r"name must be one of m1-2d, .*'m1'"):
        pretrained.pretrained("m1", digits)


@pytest.fixture
def left_behind(tmp_path, monkeypatch):
    """vaecore as a notebook carries it, without weights but with what is known of m1-2d's; training it is only told."""
    (tmp_path / "weights").mkdir()
    weights = (pretrained.WEIGHTS / "m1-2d.safetensors").read_bytes()
    known = {"m1-2d": dict(seconds=293, threads=1, sha256=hashlib.sha256(weights).hexdigest())}
    (tmp_path / "weights" / "cards.json").write_text(json.dumps(known))
    monkeypatch.setattr(pretrained, "WEIGHTS", tmp_path / "weights")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("VAECORE_WEIGHTS", raising=False)
    monkeypatch.setattr(pretrained.Recipe, "train", lambda recipe, digits: "trained")
    return weights


def test_weights_left_behind_are_fetched_once(left_behind, digits, monkeypatch, caplog):
    site = Mirror({"/weights/m1-2d.safetensors": left_behind})
    monkeypatch.setenv("VAECORE_WEIGHTS", site.address + "weights/")
    first, again = (pretrained.pretrained("m1-2d", digits) for _ in range(2))
    site.close()
    assert site.asked == ["/weights/m1-2d.safetensors"] and caplog.messages == []
    assert pretrained.check_value("m1-2d", first) == pretrained.check_value("m1-2d", again)


@pytest.mark.parametrize("fault, reason", [("error 500", "HTTP Error 500"), ("flipped bit", "has another checksum")])
def test_weights_that_do_not_come_whole_are_trained(left_behind, digits, monkeypatch, caplog, fault, reason):
    site = Mirror({"/m1-2d.safetensors": left_behind}, fault)
    monkeypatch.setenv("VAECORE_WEIGHTS", site.address)
    assert pretrained.pretrained("m1-2d", digits) == "trained"
    site.close()
    (told,) = caplog.messages
    assert told.startswith("The weights of m1-2d could not be fetched (") and reason in told


def test_how_long_the_training_takes_is_told(left_behind, digits, caplog):
    assert pretrained.card("m1-2d")["seconds"] == 293 and pretrained.card("m2") == {}
    assert pretrained.pretrained("m1-2d", digits) == "trained"
    assert caplog.messages == [
        "The weights of m1-2d do not travel along, so the model is trained now, which took us 5 minutes "
        "with 1 CPU thread(s); a GPU is faster."
    ]
