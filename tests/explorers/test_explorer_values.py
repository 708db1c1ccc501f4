"""The values of explorers in Python: which are taken, in which sentence others are refused, what goes to the page."""

import json
import math
import re

import numpy as np
import pytest
import torch
import traitlets
from explorer_pages import GRID, MAKERS, SMALL, log_normal, small_vae
from ipywidgets.widgets.widget import _remove_buffers

from vaecore import explorer
from vaecore.explorer import base


@pytest.mark.parametrize("kind, name", [("latent", "z"), ("digit", "epsilon"), ("classes", "z"), ("completion", "z")])
def test_none_is_no_value(digits, kind, name):
    one = SMALL[kind](digits)
    before = getattr(one, name)
    with pytest.raises(traitlets.TraitError, match=rf"^{name} must be {len(before)} numbers; got None\.$"):
        setattr(one, name, None)
    assert getattr(one, name) == before


class WithoutDoubles(torch.Tensor):
    """A tensor as on a device that has no float64, until it comes to the CPU."""

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        if func is torch.Tensor.cpu:
            return args[0].as_subclass(torch.Tensor).cpu()
        if func in (torch.Tensor.to, torch.Tensor.double):
            raise TypeError("Cannot convert this tensor to float64, which its device does not have.")
        return super().__torch_function__(func, types, args, kwargs or {})


@pytest.fixture
def without_doubles(monkeypatch):
    """Makes such tensors; torch.as_tensor asks no subclass, so it is told here."""
    as_tensor = torch.as_tensor

    def strict(value, dtype=None, **options):
        if isinstance(value, WithoutDoubles) and dtype == torch.float64:
            raise TypeError("Cannot convert this tensor to float64, which its device does not have.")
        return as_tensor(value, dtype=dtype, **options)

    monkeypatch.setattr(torch, "as_tensor", strict)
    return lambda value: value.float().as_subclass(WithoutDoubles)


def test_numbers_come_from_a_device_without_float64(without_doubles):
    assert base.numbers(without_doubles(torch.tensor([0.5, 1.5])), 2, "z") == [0.5, 1.5]
    joint = log_normal(GRID) + log_normal(GRID, 2.0, 0.5)
    one = explorer.GapExplorer(without_doubles(GRID), without_doubles(joint))
    assert one.log_evidence == pytest.approx(log_normal(torch.tensor(2.0), 0.0, 1.25**0.5).item(), abs=1e-5)


@pytest.mark.parametrize(
    "value",
    [
        np.array([1.0, 0.0])[::-1],
        np.array([0.0, 1.0], dtype=">f8"),
        torch.tensor([0.0, 1.0]).to_sparse(),
        torch.tensor([0.0, 1.0], requires_grad=True),
        (0, torch.tensor(1)),
        torch.tensor([0.0, 1.0], dtype=torch.bfloat16),
    ],
)
def test_numbers_come_from_any_array(value):
    assert base.numbers(value, 2, "z") == [0.0, 1.0]


@pytest.mark.parametrize(
    "value, sentence",
    [
        ([10**400, 0], r"z must be 2 numbers; got \[10{400}, 0\]\."),
        ([10**5000, 0], r"z must be 2 numbers; got list\."),
        (np.array(["1", "2"]), r"z must be 2 numbers; got array\(\['1', '2'\].*\)\."),
        (torch.tensor([1j, 2]), r"z must be 2 numbers; got tensor\(.*\)\."),
        (np.array([1j, 2]), r"z must be 2 numbers; got array\(.*\)\."),
        (torch.tensor([0.0, math.nan]).to_sparse(), r"z must be finite numbers; got \[0\.0, nan\]\."),
    ],
)
def test_what_is_no_number_is_told_in_a_sentence(value, sentence):
    with pytest.raises(traitlets.TraitError, match=f"^{sentence}$"):
        base.numbers(value, 2, "z")


def test_a_nan_put_into_a_list_stays_out_of_the_page():
    one = explorer.LatentExplorer(small_vae())
    one.z[0] = float("nan")
    with pytest.raises(traitlets.TraitError, match=r"^z must be finite numbers; got \[nan, 0\.0\]\.$"):
        one.fragment()
    one.z = [0.5, 0.5]
    one.z[0] = 1.5
    assert '"z": [1.5, 0.5]' in one.fragment()


def test_no_setting_brings_a_nan_into_the_page():
    one = explorer.LatentExplorer(small_vae())
    one.settings = one.settings | dict(kl=[float("nan")])
    with pytest.raises(ValueError, match="not JSON compliant"):
        one.fragment()


def test_settings_go_to_the_page_once(digits):
    sent = []
    one = explorer.DigitExplorer.__new__(explorer.DigitExplorer)
    one.observe(lambda change: sent.append(change["new"]), "settings")
    one.__init__(small_vae(), digits)
    assert len(sent) == 1 and len(sent[0]["codes"]) == len(one.test_digits)


def test_a_style_that_comes_with_its_digit_stays(digits):
    one = SMALL["analogies"](digits)
    first, second = (explorer.digits._text(image) for image in one.test_digits[:2])
    z = [0.5, 1.5, 2.5]
    for state in (dict(drawing=second, z=z), dict(z=z[::-1], drawing=first)):
        one.set_state(state)
        assert (one.drawing, one.z) == (state["drawing"], state["z"])
    one.set_state(dict(drawing=second))
    assert one.z is None
    one.set_state(dict(z=z))
    assert one.z == z
    one.image = one.test_digits[2]
    assert one.z is None
    one.z = z
    one.set_state(dict(drawing=first, z=None))
    assert one.z is None


def test_what_an_explorer_sends_is_json(digits):
    """No NaN, no tensor: what the page reads is what Python has."""
    for kind, make in SMALL.items():
        one = make(digits)
        state = re.search(r'class="vae-state">(.*?)</script>', one.fragment(), re.DOTALL)[1]
        assert json.loads(state)["settings"] == json.loads(json.dumps(one.settings, allow_nan=False)), kind


def test_everything_goes_as_text(digits):
    """No bytes: Colab has lost binary buffers of widgets."""
    for kind in ("latent", "kernel's"):
        shown = MAKERS[kind](digits)
        state, paths, buffers = _remove_buffers(shown.get_state())
        assert paths == [] and buffers == []
        assert max(len(blob) for blob in state["blobs"].values()) > 50_000  # the net, or the grid
        json.dumps(state)


def test_a_bad_z_is_one_sentence(digits):
    shown = MAKERS["latent"](digits)
    for bad in ([1.0], [[0.0, 0.0]], [float("inf"), 0.0], None, torch.zeros(3), ["a", "b"]):
        with pytest.raises(traitlets.TraitError) as refused:
            shown.z = bad
        sentence = str(refused.value)
        assert sentence.startswith("z must be ") and sentence.endswith(".") and "\n" not in sentence
    assert shown.z == [0.0, 0.0]
