"""What each setting of a training run does, and the numbers and models that users hand to it."""

import dataclasses
import shutil

import numpy as np
import pytest
import torch
from small_runs import images, tiny, train, weights

from vaecore import checkpoints, data, devices, evaluate, figures, runs, seeds, splits
from vaecore.explorer import DigitExplorer
from vaecore.m2 import M1M2, M2
from vaecore.objectives import fit_semi_supervised
from vaecore.train import fit
from vaecore.vae import VAE


@pytest.mark.parametrize(
    "schedule, expected",
    [
        ("constant", [1, 1, 1, 1]),
        ("cosine", [1, 0.853553, 0.5, 0.146447]),
        ("warm cosine", [0, 0.853553, 0.5, 0.146447]),
        ("cooldown", [1] * 9 + [0.5]),
    ],
)
def test_schedules(schedule, expected):
    """Adam's step is as long as the rate while the gradient stays the same."""
    weight = torch.nn.Linear(1, 1, bias=False)
    values = []

    def loss(x):
        values.append(weight.weight.item())
        return weight.weight.sum()

    fit(weight, loss, torch.zeros(4, 1), epochs=len(expected), batch_size=4, lr=0.01, schedule=schedule)
    steps = -torch.tensor([*values, weight.weight.item()]).diff() / 0.01
    torch.testing.assert_close(steps, torch.tensor(expected, dtype=torch.float32), rtol=1e-3, atol=1e-4)


def test_the_parameters_that_faster_names_take_longer_steps():
    net = torch.nn.Linear(3, 2)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    fit(net, lambda x: net(x).square().sum(), torch.ones(4, 3), epochs=1, batch_size=4, lr=0.01, faster={"bias": 4.0})
    for name, length in (("weight", 0.01), ("bias", 0.04)):
        steps = (net.state_dict()[name] - before[name]).abs()
        torch.testing.assert_close(steps, torch.full_like(steps, length), rtol=1e-3, atol=0)


def test_a_rising_rate_grows_with_the_share_of_the_run_that_is_done(tmp_path):
    """Adam's first steps are as long as its rate: 0 at first, then 0.01 * 4 * (1/2)**2; the other's stay 0.01."""
    net, path = torch.nn.Linear(3, 2), tmp_path / "run"

    def learn(epochs):
        settings = dict(batch_size=4, lr=0.01, schedule="constant", faster={"bias": 4.0}, rising={"bias": 2.0})
        fit(net, lambda x: net(x).sum() * 100, torch.ones(4, 3), epochs=epochs, checkpoint=path, **settings)

    before = {name: value.clone() for name, value in net.state_dict().items()}
    learn(2)
    for name, length in (("weight", 0.02), ("bias", 0.01)):
        steps = before[name] - net.state_dict()[name]
        torch.testing.assert_close(steps, torch.full_like(steps, length), rtol=1e-3, atol=0)
    with pytest.raises(ValueError, match="epochs=2"):  # for more epochs the steps so far would have been others
        learn(3)


def test_bf16_reaches_what_fp32_reaches():
    """A few passes in either precision end within a nat of each other."""
    bounds = []
    for precision in ("fp32", "bf16"):
        train(model := tiny(), precision=precision, epochs=60, lr=1e-2)
        bounds.append(evaluate.elbo(model, images()).mean())
    assert 0 < abs(bounds[0] - bounds[1]) < 1 and bounds[0] > evaluate.elbo(tiny(), images()).mean() + 2


# ---- What users hand to fit


@pytest.mark.parametrize("wrap", [lambda m: torch.compile(m, backend="eager"), torch.nn.DataParallel])
def test_a_wrapped_model_is_taken_for_the_model_itself(tmp_path, wrap):
    """A plain model goes on with the run of a wrapped one."""
    whole, model, plain = tiny(), tiny(), tiny(seed=1)
    wrapped, settings = wrap(model), dict(batch_size=50, schedule="constant", checkpoint=tmp_path / "run")
    fit(wrapped, lambda x: -model.elbo(x).mean(), images(), epochs=1, **settings)
    assert weights(checkpoints.load(tmp_path / "run")[0]) == weights(model)
    train(plain, tmp_path / "run", schedule="constant")
    train(whole, schedule="constant")
    assert weights(plain) == weights(whole)
    assert checkpoints.read(checkpoints.save(tmp_path / "again", wrapped))[1]["model"] == "VAE"


def test_a_model_with_a_compiled_part(tmp_path):
    """Its weights have their plain names in a checkpoint, those of Adam too."""
    whole, model = tiny(), tiny()
    model.encoder = torch.compile(model.encoder, backend="eager")
    train(model, tmp_path / "run", epochs=1, schedule="constant")
    for resumed in (tiny(), model):
        path = shutil.copy(tmp_path / "run", tmp_path / "again")
        train(resumed, path, schedule="constant")
    train(whole, schedule="constant")
    assert weights(resumed) == weights(whole) == weights(checkpoints.load(path)[0])
    assert "<svg" in DigitExplorer(torch.compile(VAE(d_z=2, hidden=(8,))), data.mnist(root=data.BUNDLED)).fragment()


@pytest.mark.parametrize("stacked", [False, True])
def test_a_compiled_m2_learns_and_is_measured(stacked, digits):
    few = dataclasses.replace(digits, x_train=digits.x_train[:600], y_train=digits.y_train[:600])
    values = []
    for wrap in (lambda m: m, lambda m: torch.compile(m, backend="eager")):
        torch.manual_seed(0)
        m2 = M2(2, 2, (8,), likelihood="gaussian") if stacked else M2(d_z=2, hidden=(8,))
        model = wrap(M1M2(VAE(d_z=2, hidden=(8,)), m2, torch.tensor([True, True])) if stacked else m2)
        fit_semi_supervised(model, few, 100, 0, epochs=1, batch_size=500)
        values.append(runs.loss_without_labels(runs.EXPERIMENTS["m2-book"], model, few.x_train))
    assert values[0] == values[1]


def test_m2_does_not_go_on_with_another_weight_of_the_labels_another_m1_or_other_labels(tmp_path, digits):
    few = dataclasses.replace(digits, x_train=digits.x_train[:200], y_train=digits.y_train[:200])
    m1, other = VAE(d_z=2, hidden=(8,)), VAE(d_z=2, hidden=(8,))

    def learn(m1, alpha, few=few):
        m2 = M2(2, 2, (8,), n_classes=11, likelihood="gaussian")
        model = M1M2(m1, m2, torch.tensor([True, True]))
        settings = dict(epochs=1, batch_size=100, checkpoint=tmp_path / "run", data="mine")
        fit_semi_supervised(model, few, 100, 0, alpha, **settings)

    learn(m1, 0.1)
    learn(m1, 0.1)
    renumbered = dataclasses.replace(few, y_train=few.y_train + 1)  # the same images have labels
    for case in ((m1, 1.0), (other, 0.1), (m1, 0.1, renumbered)):
        with pytest.raises(ValueError, match="was made with data="):
            learn(*case)


def test_tied_weights_are_kept(tmp_path):
    for epochs in (1, 2):
        net = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.Linear(3, 3))
        net[1].weight = net[0].weight
        loss = lambda x, net=net: net(x).square().sum()  # noqa: E731
        settings = dict(epochs=epochs, schedule="constant", checkpoint=tmp_path / "run")
        assert len(fit(net, loss, torch.ones(4, 3), **settings).loss) == epochs


def test_a_models_own_part_called_module_is_no_wrapping():
    model = torch.nn.Module()
    model.module, model.extra = torch.nn.Linear(1, 1), torch.nn.Linear(1, 1)
    assert checkpoints.unwrap(model) is model


NUMBERS = [("epochs", np.int64(2), 2), ("batch_size", np.int32(20), 20), ("seed", np.int64(3), 3)]
NUMBERS += [("lr", np.float64(1e-3), 1e-3), ("lr", torch.tensor(0.25), 0.25)]
NUMBERS += [("faster", {"encoder": np.float32(2)}, {"encoder": 2.0})]


@pytest.mark.parametrize("setting, value, plain", NUMBERS)
def test_numbers_of_numpy_and_torch_are_settings(tmp_path, setting, value, plain):
    models = tiny(), tiny()
    for model, number in zip(models, (value, plain), strict=True):
        train(model, tmp_path / "run", **{setting: number})  # the second resumes: the cards agree
    assert weights(models[0]) == weights(models[1])


def test_numbers_of_numpy_elsewhere(tmp_path, digits):
    model = VAE(d_x=np.int64(100), d_z=np.int64(2), hidden=tuple(np.array([8])))
    assert checkpoints.load(checkpoints.save(tmp_path / "model", model))[0].config == model.config
    x = images()
    assert torch.equal(evaluate.elbo(model, x, seed=np.int64(1)), evaluate.elbo(model, x, seed=1))
    expected = splits.label_split(digits.y_train, 100, seed=1)[0]
    for number in (np.int64, torch.tensor):
        assert torch.equal(splits.label_split(digits.y_train, number(100), seed=number(1))[0], expected)
        assert next(data.batches(number(7), x))[0].shape == (7, 100)
        row = runs.EXPERIMENTS["m1m2"]
        assert row.at(number(100), number(2)).stem() == row.at(100, 2).stem()
        figures.latent_scatter(figures.axes()[1], x[:, :2], digits.y_test[:100], limit=number(3))


# ---- Devices


@pytest.mark.parametrize("variable, before, after", [("", 4, 2), ("4", 4, 4), ("", 1, 1)])
def test_half_of_the_cores(monkeypatch, variable, before, after):
    monkeypatch.setattr(devices, "n_cores", lambda: 4)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if variable:
        monkeypatch.setenv("OMP_NUM_THREADS", variable)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(before)
        assert devices.use_half_the_cores() == torch.get_num_threads() == after
    finally:
        torch.set_num_threads(threads)


@pytest.mark.parametrize(
    "name, width, bf16, expected",
    [
        ("auto", 256, 0.5, "bf16"),
        ("auto", 256, 0.9, "fp32"),  # no gain, or a machine's noise
        ("auto", 256, 1.7, "fp32"),  # a CPU that has the instructions and is slower with them
        ("auto", 255, 0.5, "fp32"),
        ("bf16", 2, 1.7, "bf16"),
    ],
)
def test_the_precision_is_the_faster_one_for_the_largest_layer(monkeypatch, name, width, bf16, expected):
    monkeypatch.setattr(devices, "layer_seconds", lambda *shape: (1.0, bf16) if shape == (300, width, 64) else None)
    assert devices.pick_precision(name, torch.nn.Linear(width, 300), batch_size=64) == expected


def test_a_layer_is_timed_whatever_torch_has_by_default(monkeypatch):
    """Once for each shape, without a draw from the caller's random numbers."""
    state, default = torch.get_rng_state(), torch.get_default_dtype()
    try:
        torch.set_default_dtype(torch.float64)
        with torch.device("meta"):
            seconds = devices.layer_seconds(300, 256, 2)
    finally:
        torch.set_default_dtype(default)
    assert min(seconds) > 0 and devices.layer_seconds(300, 256, 2) is seconds
    assert torch.equal(torch.get_rng_state(), state)


def test_seeding_the_cpu_leaves_other_devices_alone(monkeypatch):
    reseeded = []
    monkeypatch.setattr(torch.mps, "manual_seed", reseeded.append)
    seeds.reseed(0, torch.device("cpu"))
    assert reseeded == []
