"""Explorers in Python: which models and values they take, what goes to the page, and one refusal for each door."""

import json
import math
import re

import explorer_pages
import numpy as np
import pytest
import torch
import traitlets
from explorer_pages import GRID, SMALL, log_normal, small_m2, small_vae
from ipywidgets.widgets.widget import _remove_buffers
from torch import nn

from vaecore import explorer
from vaecore.distributions import Bernoulli
from vaecore.explorer import base, blobs
from vaecore.explorer.digits import base64_of
from vaecore.m2 import M2
from vaecore.vae import VAE


def net(*modules: nn.Module) -> str:
    return blobs.network_blob(nn.Sequential(*modules), "decoder")


def of_other_latents() -> VAE:
    model = small_vae()
    model.encoder = small_vae(7).encoder
    return model


class Brighter(VAE):
    def decode(self, z, y=None):
        return Bernoulli(super().decode(z, y).logits + 1)


class Sure(M2):
    def log_q_y(self, x):
        return 2 * super().log_q_y(x)


def with_a_decode_of_its_own() -> VAE:
    model = small_vae()
    model.decode = Brighter(d_z=2, hidden=(8,)).decode
    return model


class Inverted(nn.Sequential):
    def forward(self, x):
        return -super().forward(x)


class Doubled(nn.Linear):
    def forward(self, x):
        return 2 * super().forward(x)


ZERO = log_normal(GRID) - 1
REFUSED = {  # the door: the call, given digits; the type of the error, and the argument that it names
    "nothing": (lambda _: explorer.LatentExplorer(), ValueError, "model"),
    "model": (lambda digits: explorer.DigitExplorer(small_m2(), digits), TypeError, "model"),
    "pixels": (lambda digits: explorer.LatentExplorer(small_vae(d_x=100), digits), ValueError, "model"),
    "net": (lambda digits: explorer.DigitExplorer(of_other_latents(), digits), ValueError, "encoder"),
    "pictures": (lambda _: explorer.LatentExplorer(decode=lambda z: torch.ones(3, 784), d_z=2), ValueError, "decode"),
    "classes": (lambda _: explorer.ClassesExplorer(small_vae()), ValueError, "model"),
    "parts": (lambda digits: explorer.CompletionExplorer({"left": small_vae()}, digits), ValueError, "models['left']"),
    "betas": (lambda digits: explorer.BetaExplorer({1: small_vae()}, digits), ValueError, "models"),
    "beta": (lambda digits: explorer.BetaExplorer({0: small_vae(), 1: small_vae()}, digits), ValueError, "beta"),
    "latents": (lambda digits: explorer.BetaExplorer({1: small_vae(), 2: small_vae(3)}, digits), ValueError, "[2]"),
    "grid": (lambda _: explorer.GapExplorer(GRID / 2, ZERO), ValueError, "z"),
    "joint": (lambda _: explorer.GapExplorer(GRID, {"a": ZERO / 0}), ValueError, "log_joint of 'a'"),
    "layers": (lambda _: net(nn.Linear(2, 3), nn.GELU(), nn.Linear(3, 3)), TypeError, "decoder"),
    "a decode of its own": (lambda _: explorer.LatentExplorer(Brighter(d_z=2, hidden=(8,))), TypeError, "model"),
    "a q(y|x) of its own": (lambda _: explorer.ClassesExplorer(Sure(d_z=2, hidden=(8,))), TypeError, "model"),
    "one model's own decode": (lambda _: explorer.LatentExplorer(with_a_decode_of_its_own()), TypeError, "model"),
    "a net of its own": (lambda _: blobs.network_blob(Inverted(nn.Linear(2, 3)), "decoder"), TypeError, "decoder"),
    "a layer of its own": (lambda _: net(Doubled(2, 3), nn.ReLU(), nn.Linear(3, 3)), TypeError, "decoder"),
    "weights": (lambda _: net(nn.Linear(2, 3).apply(lambda m: m.weight.data.fill_(1e6))), ValueError, "decoder"),
}


@pytest.mark.parametrize("door", REFUSED)
def test_a_bad_argument_is_refused(digits, door):
    call, error, argument = REFUSED[door]
    with pytest.raises(error, match=re.escape(argument)):
        call(digits)


@pytest.mark.parametrize(
    "kind, name, bad",
    [
        ("latent", "z", "far"),
        ("classes", "z", [0.0, 0.0, math.nan]),
        ("digit", "epsilon", torch.zeros(3)),
        ("digit", "drawing", "AAAA"),
        ("digit", "image", torch.zeros(784)),
        ("completion", "given", "right"),
        ("completion", "draws", [[0.0] * 3]),
        ("beta", "beta", 2.5),
        ("gap", "sigma", math.nan),
        ("gap", "posterior", "none"),
    ],
)
def test_a_bad_value_is_refused_and_the_last_one_stays(digits, kind, name, bad):
    one = explorer.GapExplorer(GRID, ZERO) if kind == "gap" else SMALL[kind](digits)
    before = getattr(one, name)
    with pytest.raises(traitlets.TraitError, match=name):
        setattr(one, name, bad)
    assert before is getattr(one, name) or torch.equal(torch.as_tensor(before), torch.as_tensor(getattr(one, name)))


def test_numbers_come_from_any_array():
    """From arrays of either byte order, from views that go backwards, from any tensor, and from a mixture."""
    tensor = torch.tensor([0.0, 1.0], dtype=torch.bfloat16, requires_grad=True)
    for value in (np.array([1.0, 0.0])[::-1], np.array([0.0, 1.0], dtype=">f8"), tensor, (0, torch.tensor(1))):
        assert base.numbers(value, 2, "z") == [0.0, 1.0]


def test_nothing_but_json_goes_to_the_page(digits):
    """No bytes, which Colab has lost; no NaN, not even one put into a row of values afterwards."""
    for kind, make in SMALL.items():
        one = make(digits)
        state, paths, buffers = _remove_buffers(one.get_state())
        assert paths == [] and buffers == [], kind
        json.dumps(state, allow_nan=False)
    one = SMALL["completion"](digits)
    one.draws[0][0] = math.nan
    with pytest.raises(traitlets.TraitError, match="draws"):
        one.fragment()


def test_a_number_changed_in_a_list_of_latents_leaves_the_explorer_alone():
    vae = small_vae()
    one = explorer.LatentExplorer(decode=lambda z: vae.decode(z).mean, d_z=2)
    before = one.picture
    one.z[0] = 1.5  # of a copy
    assert one.z == [0, 0] and one.picture == before
    one.z = [1.5, 0]
    assert one.picture["z"] == [1.5, 0] and one.picture["pixels"] != before["pixels"]


def test_a_new_digit_has_a_style_of_its_own_and_one_that_comes_with_it_stays(digits):
    one = SMALL["analogies"](digits)
    first, second = (base64_of(image) for image in one.test_digits[:2])
    assert torch.equal(one.style, one.model.encode(one.bits, one.model.classify(one.bits)).mean)
    one.z = torch.arange(3.0)
    assert one.style.tolist() == [one.z] == [[0, 1, 2]]
    for state in (dict(drawing=second, z=[0.5, 1.5, 2.5]), dict(z=[2.5, 1.5, 0.5], drawing=first)):
        one.set_state(state)
        assert (one.drawing, one.z) == (state["drawing"], state["z"])
    one.image = one.test_digits[2]
    assert one.z is None


@pytest.mark.parametrize("kind", SMALL)
@pytest.mark.parametrize("wrap", [nn.DataParallel, pytest.param(torch.compile, marks=pytest.mark.slow)])
def test_an_explorer_keeps_the_weights_of_the_moment_it_was_made(digits, kind, wrap, monkeypatch):
    """What Python computes stays what the page has, though the model goes on to learn; a wrapped model is taken."""
    models = []

    def wrapped(make):
        def made(*arguments, **options):
            models.append(make(*arguments, **options))
            return wrap(models[-1])

        return made

    for name in ("VAE", "M2", "Regressor"):
        monkeypatch.setattr(explorer_pages, name, wrapped(getattr(explorer_pages, name)))
    one = SMALL[kind](digits)
    assert models and all(model.training for model in models)

    def computed() -> list:
        picture = one.static()  # its ids are new in every picture
        return [re.findall(r'\b(?:d|href)="([^#][^"]*)"', str(picture)), picture.alt, one.blobs]

    before = computed()
    for parameter in (p for model in models for p in model.parameters()):
        assert parameter.requires_grad
        parameter.data += torch.randn_like(parameter)
    assert computed() == before


def test_a_rounded_net_is_noted():
    torch.manual_seed(0)
    vae, z = VAE(d_z=2, hidden=(700,)), torch.randn(1000, 2)
    note = explorer.LatentExplorer(vae).settings["note"]
    assert note.startswith("Weights of its decoder are rounded to 10 bits for this page.")
    with torch.no_grad():
        read = blobs.read_network(blobs.network_blob(vae.decoder))
        error = (torch.sigmoid(read(z)) - vae.decode(z).mean).abs().max().item()
    assert float(note.split(" moves a pixel by ")[1].split()[0]) == pytest.approx(error, abs=0.003)
