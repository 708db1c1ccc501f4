"""What explorers take in Python, what they refuse and in which sentence; no browser runs here."""

import json
import math
import re

import numpy as np
import pytest
import torch
import traitlets
from torch import nn

from vaecore import explorer
from vaecore.explorer import base, blobs
from vaecore.m2 import M2
from vaecore.splits import pixel_split
from vaecore.vae import VAE, Regressor

GRID = torch.linspace(-12, 12, 481, dtype=torch.float64)


def log_normal(z: torch.Tensor, mu: float = 0.0, sigma: float = 1.0) -> torch.Tensor:
    return torch.distributions.Normal(mu, sigma).log_prob(z)


def small_vae(d_z: int = 2, **sizes) -> VAE:
    torch.manual_seed(0)
    return VAE(d_z=d_z, hidden=(8,), **sizes)


def small_m2(**sizes) -> M2:
    torch.manual_seed(0)
    return M2(**(dict(d_z=3, hidden=(8,)) | sizes))


def collapsed(d_z: int) -> VAE:
    """Its q(z|x) is the same for every x."""
    model = small_vae(d_z)
    model.encoder[-1].weight.data.zero_()
    model.encoder[-1].bias.data = torch.arange(2.0 * d_z) / d_z
    return model


def completer(digits) -> explorer.CompletionExplorer:
    d_y, d_x = map(len, pixel_split("left"))
    models = {"left": small_vae(3, d_x=d_x, d_y=d_y)}
    regressors = {"left": Regressor(d_x, d_y, hidden=(8,))}
    return explorer.CompletionExplorer(models, digits, regressors=regressors)


MAKERS = {
    "latent": lambda digits: explorer.LatentExplorer(small_vae(), digits),
    "digit": lambda digits: explorer.DigitExplorer(small_vae(), digits),
    "classes": lambda digits: explorer.ClassesExplorer(small_m2(), digits),
    "analogies": lambda digits: explorer.AnalogiesExplorer(small_m2(), digits),
    "completion": completer,
}


# --- values -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind, name", [("latent", "z"), ("digit", "epsilon"), ("classes", "z"), ("completion", "z")])
def test_none_is_no_value(digits, kind, name):
    one = MAKERS[kind](digits)
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


# --- models -----------------------------------------------------------------------------------------------------


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
    with pytest.raises(ValueError, match=r"^d_z must be a whole number of at least 1; got .*\.$"):
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


@pytest.mark.parametrize("kind", MAKERS)
def test_an_explorer_keeps_the_weights_of_the_moment_it_was_made(digits, kind, monkeypatch):
    """What Python computes stays what the page has, though the model goes on to learn."""
    models = []

    def kept(make):
        def made(*arguments, **options):
            models.append(make(*arguments, **options))
            return models[-1]

        return made

    for name in ("VAE", "M2", "Regressor"):
        monkeypatch.setitem(globals(), name, kept(globals()[name]))
    one = MAKERS[kind](digits)
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
    for kind, make in MAKERS.items():
        assert "<svg" in str(make(digits).static()), kind


# --- nets -------------------------------------------------------------------------------------------------------


def test_layers_that_do_not_fit_are_told_in_a_sentence():
    net = nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(4, 5))
    with pytest.raises(ValueError, match=r"^Layer 2 of decoder takes 4 numbers; layer 1 gives 3\.$"):
        blobs.network_blob(net, "decoder")


@pytest.mark.parametrize("softplus", [nn.Softplus(beta=2), nn.Softplus(threshold=2)])
def test_only_the_pages_softplus_is_packed(softplus):
    with pytest.raises(TypeError, match="must be Linear layers with relu, softplus, tanh"):
        blobs.network_blob(nn.Sequential(nn.Linear(2, 3), softplus, nn.Linear(3, 3)))
    blobs.network_blob(nn.Sequential(nn.Linear(2, 3), nn.Softplus(threshold=30), nn.Linear(3, 3)))


@pytest.mark.parametrize("dtype", ["float16", "int10"])
def test_layers_without_a_bias_have_one_of_zeros(dtype):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 6, bias=False), nn.Tanh(), nn.Linear(6, 3, bias=False))
    read, x = blobs.read_network(blobs.network_blob(net, dtype=dtype)), torch.randn(5, 4)
    assert read[0].bias.tolist() == [0.0] * 6
    assert (read(x) - net(x)).abs().max() < 1e-2


def test_a_net_of_other_sizes_is_told_in_a_sentence():
    net = nn.Sequential(nn.Linear(2, 5))
    blobs.network_blob(net, "decoder", n_in=2, n_out=5)
    for sizes in (dict(n_in=3, n_out=5), dict(n_in=2, n_out=6)):
        wanted = f"must take {sizes['n_in']} numbers and give {sizes['n_out']}; it takes 2 and gives 5"
        with pytest.raises(ValueError, match=rf"^decoder {wanted}\.$"):
            blobs.network_blob(net, "decoder", **sizes)


@pytest.mark.parametrize(
    "kind, role, make",
    [
        (explorer.LatentExplorer, "decoder", small_vae),
        (explorer.DigitExplorer, "encoder", small_vae),
        (explorer.DigitExplorer, "decoder", small_vae),
        (explorer.ClassesExplorer, "decoder", small_m2),
        (explorer.AnalogiesExplorer, "encoder", small_m2),
        (explorer.AnalogiesExplorer, "decoder", small_m2),
    ],
)
def test_every_kind_looks_at_the_sizes_of_its_nets(digits, kind, role, make):
    """Of those that it has in the page."""
    model = make()
    setattr(model, role, getattr(make(d_z=7), role))
    with pytest.raises(ValueError, match=rf"^{role} must take \d+ numbers and give \d+; it takes"):
        kind(model, digits)


@pytest.mark.parametrize("role", ["decoder", "regressor"])
def test_the_completer_looks_at_the_sizes_of_its_nets(digits, role):
    d_y, d_x = map(len, pixel_split("left"))
    model, regressor = small_vae(3, d_x=d_x, d_y=d_y), Regressor(d_x, d_y, hidden=(8,))
    if role == "decoder":
        model.decoder = small_vae(4, d_x=d_x, d_y=d_y).decoder
    else:
        regressor.net = Regressor(d_x, d_y - 1, hidden=(8,)).net
    with pytest.raises(ValueError, match=rf"^{role} must take \d+ numbers and give \d+; it takes"):
        explorer.CompletionExplorer({"left": model}, digits, regressors={"left": regressor})


def test_an_m2_of_small_pictures_is_refused(digits):
    with pytest.raises(ValueError, match=r"^classifier must take 784 numbers and give 10; it takes 100 and gives 10\."):
        explorer.AnalogiesExplorer(small_m2(d_x=100), digits)


def large(model: nn.Module) -> nn.Module:
    """The same, made so that its nets are stored as ten-bit numbers."""
    torch.manual_seed(0)
    return type(model)(**(model.config | dict(hidden=[700])))


def test_every_rounded_net_is_noted(digits):
    vae, m2, rounded = large(small_vae()), large(small_m2()), "rounded to 10 bits for this page."
    note = explorer.LatentExplorer(vae).settings["note"]
    moved = float(note.split(" moves a pixel by ")[1].split()[0])
    assert note.startswith(f"Weights of its decoder are {rounded}") and "over 1,000 draws from the prior" in note
    with torch.no_grad():
        z = torch.randn(1000, 2)
        read = blobs.read_network(blobs.network_blob(vae.decoder))
        assert moved == pytest.approx((torch.sigmoid(read(z)) - vae.decode(z).mean).abs().max().item(), abs=0.003)
    note = explorer.DigitExplorer(vae, digits).settings["note"]
    assert note.startswith(f"Weights of its encoder and decoder are {rounded}") and "1,000 draws" in note
    note = explorer.ClassesExplorer(m2).settings["note"]
    assert note == f"Weights of its decoder are {rounded}"
    note = explorer.AnalogiesExplorer(m2, digits).settings["note"]
    assert note == f"Weights of its classifier, encoder and decoder are {rounded}"
    for kind in ("digit", "classes", "analogies", "completion"):
        assert MAKERS[kind](digits).settings["note"] == ""


# --- digits -----------------------------------------------------------------------------------------------------


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


def test_settings_go_to_the_page_once(digits):
    sent = []
    one = explorer.DigitExplorer.__new__(explorer.DigitExplorer)
    one.observe(lambda change: sent.append(change["new"]), "settings")
    one.__init__(small_vae(), digits)
    assert len(sent) == 1 and len(sent[0]["codes"]) == len(one.test_digits)


def test_a_style_that_comes_with_its_digit_stays(digits):
    one = MAKERS["analogies"](digits)
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


# --- the gap ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mu, sigma", [(0.0, 0.02), (0.025, 0.01), (0.513, 0.04), (1.0, 0.05)])
def test_a_posterior_too_narrow_for_the_grid_is_refused(mu, sigma):
    """log p(x, z) of a z that is seen almost without noise, its top at log p(x|z) = 0."""
    narrow = log_normal(GRID) - (GRID - mu) ** 2 / (2 * sigma**2)
    with pytest.raises(ValueError, match=r"^log_joint of 'a' must be wider than the steps of its grid; log p\(x\) is"):
        explorer.GapExplorer(GRID, {"a": narrow})
    fine = torch.linspace(-12, 12, 4801, dtype=torch.float64)
    one = explorer.GapExplorer(fine, log_normal(fine) - (fine - mu) ** 2 / (2 * sigma**2))
    exact = log_normal(torch.tensor(mu), 0.0, (1 + sigma**2) ** 0.5).item() + math.log(sigma * math.sqrt(2 * math.pi))
    assert one.log_evidence == pytest.approx(exact, abs=1e-4)


@pytest.mark.parametrize("mu", [-1.0, 0.01, 0.025, 1.5])
def test_the_narrowest_posterior_that_is_promised_is_taken(mu):
    noise = (1 / (1 / 0.10001**2 - 1)) ** 0.5  # of the posterior, sigma is 0.1
    one = explorer.GapExplorer(GRID, log_normal(GRID) - (GRID - mu) ** 2 / (2 * noise**2))
    assert one.settings["posteriors"][0]["gaussian"][1] == pytest.approx(0.10001, abs=1e-5)


def test_a_joint_in_float32_may_round_above_zero():
    """Far out log p(z) is -72, and a float32 there has steps of 8e-6."""
    certain = (log_normal(GRID).float() + 2e-5).float()
    one = explorer.GapExplorer(GRID, certain)
    assert one.terms()["reconstruction"] <= 1e-6
    with pytest.raises(ValueError, match=r"must have log p\(x\|z\) <= 0"):
        explorer.GapExplorer(GRID, certain + 2e-4)


def test_a_name_is_no_formula():
    joint = log_normal(GRID) + log_normal(GRID, 2.0, 0.5)
    assert "<svg" in str(explorer.GapExplorer(GRID, {"$x_ = z": joint, "a $ and a $ {": joint}).static())


@pytest.mark.parametrize("bad", [10**400, "left", None, 1j])
def test_a_grid_of_no_numbers_is_told_in_a_sentence(bad):
    with pytest.raises(ValueError, match=r"^z must be a grid of finite numbers, shape \(N,\); got"):
        explorer.GapExplorer([bad, 1], GRID)
    with pytest.raises(ValueError, match=r"^log_joint must be numbers, of the grid's shape \(481,\); got"):
        explorer.GapExplorer(GRID, [bad, 1])


def test_a_grid_may_be_a_reversed_view():
    joint = (log_normal(GRID) + log_normal(GRID, 2.0, 0.5)).numpy()
    backwards = explorer.GapExplorer(-GRID.numpy()[::-1], joint[::-1].copy()[::-1])
    assert backwards.gap == explorer.GapExplorer(GRID, joint).gap


def test_what_an_explorer_sends_is_json(digits):
    """No NaN, no tensor: what the page reads is what Python has."""
    for kind, make in MAKERS.items():
        one = make(digits)
        state = re.search(r'class="vae-state">(.*?)</script>', one.fragment(), re.DOTALL)[1]
        assert json.loads(state)["settings"] == json.loads(json.dumps(one.settings, allow_nan=False)), kind


@pytest.mark.parametrize("kind", [base.Explorer, explorer.digits.DigitPad])
def test_a_kind_without_a_static_picture_makes_no_explorer(kind):
    with pytest.raises(TypeError, match=r"abstract method.*static"):
        kind("A kind", {}, {})
