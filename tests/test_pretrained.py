"""The weights that travel along: each loads, and scores what its card says on digits that travel along."""

import json

import pytest
import torch

from vaecore import checkpoints, pretrained


@pytest.mark.parametrize("name", pretrained.RECIPES)
def test_weights_score_what_their_card_says(name):
    path = pretrained.WEIGHTS / f"{name}.safetensors"
    model, card = checkpoints.load(path)
    assert model.config == pretrained.RECIPES[name].make().config
    assert (
        card["command"] == f"python -m vaecore.pretrained {name}" and card["epochs"] == pretrained.RECIPES[name].epochs
    )
    assert pretrained.check_value(name, model) == pytest.approx(card["check_value"], rel=1e-3)
    assert not card["commit"].endswith("-dirty"), json.dumps(card)
    assert path.stat().st_size < 3e6


def test_without_weights_the_recipe_is_run(digits, tmp_path, monkeypatch):
    monkeypatch.setattr(pretrained, "WEIGHTS", tmp_path)
    recipe = pretrained.RECIPES["m1-2d"]
    monkeypatch.setitem(pretrained.RECIPES, "m1-2d", pretrained.Recipe(recipe.make, recipe.loss, epochs=1))
    model = pretrained.pretrained("m1-2d", digits.x_train[:1000])
    fresh = recipe.make()
    x = (digits.x_test[:200] > 127).float()
    with torch.no_grad():
        assert recipe.loss(model, x) < recipe.loss(fresh, x) - 100
    with pytest.raises(ValueError, match=r"name must be one of m1-2d, .*'m1'"):
        pretrained.pretrained("m1", digits.x_train)
