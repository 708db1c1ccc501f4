"""Which models explorers take in Python, what they make of them, and in which sentence others are refused."""

import math
import re

import explorer_pages
import numpy as np
import pytest
import torch
from explorer_pages import SMALL, small_m2, small_vae
from torch import nn

from vaecore import explorer
from vaecore.explorer import base
from vaecore.vae import VAE


def collapsed(d_z: int) -> VAE:
    """Its q(z|x) is the same for every x."""
    model = small_vae(d_z)
    model.encoder[-1].weight.data.zero_()
    model.encoder[-1].bias.data = torch.arange(2.0 * d_z) / d_z
    return model


@pytest.mark.parametrize("d_z", [2, 5, 12])
def test_a_collapsed_vae_has_sliders_and_a_note(digits, d_z):
    one = explorer.LatentExplorer(collapsed(d_z), digits)
    kl, order = one.settings["kl"], one.settings["order"]
    assert len(order) == min(d_z, 8)
    if d_z > 2:
        assert [kl[j] for j in order] == sorted(kl, reverse=True)[:8]
        assert one.settings["codes"] == one.settings["labels"] == []
    assert one.settings["note"].startswith("No latent of this model is active:")
    assert "<svg" in str(one.static())


def test_of_a_model_with_active_latents_nothing_is_noted(digits):
    model = small_vae(5)
    model.encoder[-1].weight.data[:2] *= 20
    one = explorer.LatentExplorer(model, digits)
    assert 0 < len(one.settings["order"]) < 5 and one.settings["note"] == ""


@pytest.mark.parametrize(
    "decode, sentence",
    [
        (lambda z: torch.zeros(len(z), 100), r"got shape \(225, 100\)"),
        (lambda z: torch.zeros(1, 784), r"got shape \(1, 784\)"),
        (lambda z: np.zeros((len(z), 784)), "got ndarray"),
        (lambda z: torch.full((len(z), 784), math.nan), "got values that are not finite"),
        (lambda z: torch.full((len(z), 784), 1.5), "got values from 1.5 to 1.5"),
        (lambda z: torch.full((len(z), 784), -0.5), "got values from -0.5 to -0.5"),
        (lambda z: torch.full((len(z), 784), 200, dtype=torch.uint8), "got values from 200 to 200"),
    ],
)
def test_pictures_that_are_none_are_told_in_a_sentence(decode, sentence):
    expected = rf"^decode must give pictures \(B, 784\) in \[0, 1\] for z \(B, 2\); {sentence}\.$"
    with pytest.raises(ValueError, match=expected):
        explorer.LatentExplorer(decode=decode, d_z=2)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.bool])
def test_pictures_of_any_type_are_shown(dtype):
    one = explorer.LatentExplorer(decode=lambda z: torch.ones(len(z), 784, dtype=dtype), d_z=np.int64(2))
    assert one._pixels(torch.zeros(1, 2)).unique().tolist() == [255] and type(one.settings["d_z"]) is int


@pytest.mark.parametrize("d_z", [0, -1, 2.5, "2", True, None.__class__])
def test_d_z_is_a_whole_number(d_z):
    with pytest.raises((TypeError, ValueError), match=r"^d_z must be a(t least 1| whole number); got .*\.$"):
        explorer.LatentExplorer(decode=lambda z: torch.zeros(len(z), 784), d_z=d_z)


@pytest.mark.parametrize("kind", [explorer.LatentExplorer, explorer.DigitExplorer])
def test_a_model_that_does_not_fit_is_told_in_a_sentence(digits, kind):
    with pytest.raises(TypeError, match=r"^model must be a VAE; got M2\.$"):
        kind(small_m2(), digits)
    with pytest.raises(TypeError, match=r"^model must be a VAE; got Linear\.$"):
        kind(nn.Linear(2, 784), digits)
    for sizes in (dict(d_x=100), dict(d_y=10)):
        with pytest.raises(ValueError, match=r"^model must have d_x=784 and d_y=0; got d_x="):
            kind(small_vae(**sizes), digits)


def test_classes_are_of_pixels():
    with pytest.raises(ValueError, match=r"^model must be an M2 of pixels, with likelihood 'bernoulli'"):
        explorer.ClassesExplorer(small_m2(likelihood="gaussian", d_x=392))


def test_a_decode_that_fails_is_heard_and_the_last_picture_stays():
    def decode(z):
        if z[0, 0] == 2:
            raise ArithmeticError("No picture here.")
        return torch.sigmoid(z.sum(1, keepdim=True)).expand(-1, 784)

    one = explorer.LatentExplorer(decode=decode, d_z=2)
    one.z = [1.0, 0.0]
    last = one.picture
    for change in (lambda: setattr(one, "z", [2.0, 0.0]), lambda: one.set_state({"z": [2.0, 0.5]})):
        with pytest.raises(ArithmeticError, match="No picture here"):
            change()
        assert one.picture == last and last["z"] == [1.0, 0.0]
    one.z = [0.0, 0.0]
    assert one.picture["z"] == [0.0, 0.0]


@pytest.mark.parametrize("kind", SMALL)
def test_an_explorer_keeps_the_weights_of_the_moment_it_was_made(digits, kind, monkeypatch):
    """What Python computes stays what the page has, though the model goes on to learn."""
    models = []

    def kept(make):
        def made(*arguments, **options):
            models.append(make(*arguments, **options))
            return models[-1]

        return made

    for name in ("VAE", "M2", "Regressor"):
        monkeypatch.setattr(explorer_pages, name, kept(getattr(explorer_pages, name)))
    one = SMALL[kind](digits)
    assert models and all(model.training for model in models)

    def told():
        picture = one.static()  # its ids are new in every picture
        found = [re.findall(r'\b(?:d|href)="([^#][^"]*)"', str(picture)), picture.alt, one.blobs]
        if kind == "analogies":
            found += [one.q_y.tolist(), one.style.tolist()]
        if kind == "completion":
            found += [one.completions(torch.ones(1, 3)).tolist()]
        return found

    before = told()
    for parameter in (p for model in models for p in model.parameters()):
        assert parameter.requires_grad
        parameter.data += torch.randn_like(parameter)
    assert told() == before


def test_a_model_and_digits_on_two_devices(digits, monkeypatch):
    """The digits stand on a device that no net can read: every explorer brings them to its model's first."""

    class Elsewhere(torch.Tensor):
        pass

    far = digits.x_test[:1000].as_subclass(Elsewhere), digits.y_test[:1000].as_subclass(Elsewhere)
    digits = type(digits)(**{**vars(digits), "x_test": far[0], "y_test": far[1]})
    moved = torch.Tensor.to

    def to(self, *arguments, **options):
        found = moved(self, *arguments, **options)
        at_home = any(isinstance(a, torch.device) for a in arguments)
        return found.as_subclass(torch.Tensor) if at_home else found

    linear = nn.Linear.forward

    def forward(self, x):
        assert not isinstance(x, Elsewhere), "the digits are on another device than the model"
        return linear(self, x)

    monkeypatch.setattr(Elsewhere, "to", to, raising=False)
    monkeypatch.setattr(Elsewhere, "cpu", lambda self: self.as_subclass(torch.Tensor), raising=False)
    monkeypatch.setattr(nn.Linear, "forward", forward)
    for kind, make in SMALL.items():
        assert "<svg" in str(make(digits).static()), kind


def test_an_odd_number_of_classes_keeps_its_pairs(digits, monkeypatch):
    """Each reconstruction stands under its own bits; what is over is blank."""
    some = digits.y_test < 3
    digits = type(digits)(**{**vars(digits), "x_test": digits.x_test[some], "y_test": digits.y_test[some]})
    one, shown = explorer.DigitExplorer(small_vae(), digits), []
    monkeypatch.setattr(explorer.digit.figures, "show_digits", lambda ax, images, columns: shown.append(images))
    one.static()
    (pictures,) = shown
    rows = [(one.labels == c).nonzero()[0, 0] for c in range(3)]
    bits = explorer.digits.bits_of(one.test_digits[torch.stack(rows)])
    with torch.no_grad():
        means = one.model.decode(one.model.encode(bits).mean).mean
    blank = torch.zeros(784)
    expected = [bits[0], bits[1], means[0], means[1], bits[2], blank, means[2], blank]
    assert torch.equal(pictures, torch.stack(expected))


@pytest.mark.parametrize("kind", [base.Explorer, explorer.digits.DigitPad])
def test_a_kind_without_a_static_picture_makes_no_explorer(kind):
    with pytest.raises(TypeError, match=r"abstract method.*static"):
        kind("A kind", {}, {})
