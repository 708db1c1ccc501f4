"""Training: exact resume, what a run records and says, and the numbers and models that users hand it."""

import math
import sys
from itertools import count

import numpy as np
import pytest
import torch
from small_runs import epochs_saved, images, tiny, train, weights

from vaecore import checkpoints, devices, evaluate, seeds, splits
from vaecore.train import fit
from vaecore.vae import VAE


@pytest.fixture
def two_epochs(tmp_path):
    """The checkpoint of a run of two epochs."""
    train(tiny(), tmp_path / "run", epochs=2)
    return tmp_path / "run"


def stop_at(step: int):
    steps = count()

    def each():
        if next(steps) == step:
            raise KeyboardInterrupt

    return each


# ---- Resuming


@pytest.mark.parametrize("step", [1, 2, 3, 5])
def test_an_interrupted_run_resumes_exactly(tmp_path, step):
    """Two steps make an epoch; the test function draws numbers too."""
    whole, model, steps = tiny(), tiny(), []
    history = train(whole, test=lambda: torch.rand(()))
    with pytest.raises(KeyboardInterrupt):
        train(tiny(), tmp_path / "run", stop_at(step), test=lambda: torch.rand(()))
    assert epochs_saved(tmp_path / "run") == step // 2
    resumed = train(model, tmp_path / "run", lambda: steps.append(1), test=lambda: torch.rand(()))
    assert len(steps) == 2 * (3 - step // 2)  # only the missing epochs were run
    assert resumed.loss == history.loss and resumed.test == history.test and weights(model) == weights(whole)


def test_a_finished_run_is_only_read(two_epochs):
    model = tiny(seed=1)
    train(model, two_epochs, stop_at(0), epochs=2)
    assert weights(model) == weights(checkpoints.load(two_epochs)[0])


def test_a_run_at_a_constant_rate_goes_on_for_more_epochs(tmp_path):
    model = tiny()
    train(tiny(), tmp_path / "run", epochs=1, schedule="constant")
    train(model, tmp_path / "run", epochs=3, schedule="constant")
    whole = tiny()
    train(whole, epochs=3, schedule="constant")
    assert weights(model) == weights(whole)
    with pytest.raises(ValueError, match="epochs=3"):  # but not for fewer
        train(model, tmp_path / "run", epochs=2, schedule="constant")


CHANGES = dict(epochs=3, batch_size=20, lr=1e-3, schedule="constant", seed=1, precision="bf16")
CHANGES |= dict(faster={"encoder": 2.0}, hidden=(8,), activation="relu", d_z=3)


@pytest.mark.parametrize("setting, value", CHANGES.items())
def test_another_setting_or_architecture_is_refused(two_epochs, setting, value):
    sizes = {setting: value} if setting in ("hidden", "activation", "d_z") else {}
    settings = dict(epochs=2) | ({} if sizes else {setting: value})
    model, before = tiny(**sizes), two_epochs.read_bytes()
    untrained = weights(model)
    with pytest.raises(ValueError, match=f"run was made with {setting}=.*; choose another file"):
        train(model, two_epochs, **settings)
    assert weights(model) == untrained and two_epochs.read_bytes() == before


def test_other_data_and_weights_without_a_run_are_refused(two_epochs, tmp_path):
    model = tiny()
    with pytest.raises(ValueError, match="tensors="):
        fit(model, lambda x: -model.elbo(x).mean(), 1 - images(), epochs=2, batch_size=50, checkpoint=two_epochs)
    path = checkpoints.save(tmp_path / "weights", model)
    with pytest.raises(ValueError, match="no run to go on with"):
        train(model, path)


def test_a_run_goes_on_in_its_precision_on_a_cpu_without_bf16(tmp_path, monkeypatch):
    path = tmp_path / "run"
    for native, epochs in ((True, 1), (False, 2)):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda native=native: dict(avx512_bf16=native))
        model = tiny(hidden=(256,), d_x=300)
        x = torch.ones(20, 300)
        settings = dict(epochs=epochs, schedule="constant", checkpoint=path)
        history = fit(model, lambda x, model=model: -model.elbo(x).mean(), x, **settings)
        assert len(history.loss) == epochs and history.setting.endswith("bf16")
    assert checkpoints.read(path)[1]["fit"]["precision"] == "bf16"


# ---- What a run records and says


def test_the_card_says_how_the_weights_came_about(tmp_path):
    model = tiny()
    test = lambda: evaluate.elbo(model, images()).mean()  # noqa: E731
    history = train(model, tmp_path / "run", data="toy", seed=7, test=test)
    loaded, card = checkpoints.load(tmp_path / "run")
    assert card["model"] == "VAE" and card["config"] == model.config and card["data"] == "toy"
    assert card["fit"]["seed"] == 7 and card["fit"]["epochs"] == 3 and card["fit"]["lr"] == 2e-3
    assert card["run"] == dict(device="cpu", threads=1, processes=1)
    assert card["history"]["test"] == history.test and history.test[-1] == test()
    assert card["torch"] == torch.__version__ and card["commit"]
    assert weights(loaded) == weights(model) and [path.name for path in tmp_path.iterdir()] == ["run"]


def test_the_history_is_a_few_lines():
    text = repr(train(tiny(), epochs=40))
    assert len(text.splitlines()) <= 7 and "40 epochs in" in text


@pytest.mark.parametrize(("built", "terminal", "shown"), [("", True, True), ("1", True, False), ("", False, False)])
def test_a_progress_bar_only_where_somebody_watches(monkeypatch, capsys, built, terminal, shown):
    monkeypatch.setenv("VAECORE_BUILD", built)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    monkeypatch.delitem(sys.modules, "ipykernel", raising=False)
    train(tiny(), epochs=2)
    printed = capsys.readouterr()
    assert ("step" in printed.err) == shown and printed.out == ""


def test_every_epoch_has_its_own_order_and_noise():
    weight, orders, noise = torch.nn.Linear(1, 1), [], []

    def loss(x):
        orders.append(tuple(x[:, 0].tolist()))
        noise.append(torch.rand(()).item())
        return weight(x).mean()

    fit(weight, loss, torch.arange(50.0)[:, None], epochs=4, batch_size=50)
    assert all(sorted(order) == list(range(50)) for order in orders)
    assert len(set(orders)) == len(set(noise)) == 4


def test_nothing_of_the_process_is_changed():
    def state():
        settings = (torch.get_num_threads(), torch.get_default_dtype(), torch.is_autocast_enabled("cpu"))
        return *settings, torch.is_grad_enabled(), torch.get_rng_state().tolist()

    train(model := tiny())  # small_runs sets the threads
    torch.set_num_threads(2)
    before = state()
    x = images()
    fit(model, lambda x: -model.elbo(x).mean(), x, epochs=1, precision="bf16", test=lambda: torch.rand(()))
    assert state() == before


@pytest.mark.parametrize("schedule, expected", [("constant", [1, 1, 1, 1]), ("cosine", [1, 0.853553, 0.5, 0.146447])])
def test_schedules(schedule, expected):
    """Adam's step is as long as the rate while the gradient stays the same."""
    weight = torch.nn.Linear(1, 1, bias=False)
    values = []

    def loss(x):
        values.append(weight.weight.item())
        return weight.weight.sum()

    fit(weight, loss, torch.zeros(4, 1), epochs=4, batch_size=4, lr=0.01, schedule=schedule)
    steps = -torch.tensor([*values, weight.weight.item()]).diff() / 0.01
    torch.testing.assert_close(steps, torch.tensor(expected, dtype=torch.float32), rtol=1e-3, atol=1e-4)


def test_the_parameters_that_faster_names_take_longer_steps():
    net = torch.nn.Linear(3, 2)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    fit(net, lambda x: net(x).square().sum(), torch.ones(4, 3), epochs=1, batch_size=4, lr=0.01, faster={"bias": 4.0})
    for name, length in (("weight", 0.01), ("bias", 0.04)):
        steps = (net.state_dict()[name] - before[name]).abs()
        torch.testing.assert_close(steps, torch.full_like(steps, length), rtol=1e-3, atol=0)


def test_bf16_reaches_what_fp32_reaches():
    """A few passes in either precision end within a nat of each other."""
    bounds = []
    for precision in ("fp32", "bf16"):
        train(model := tiny(), precision=precision, epochs=60, lr=1e-2)
        bounds.append(evaluate.elbo(model, images()).mean())
    assert 0 < abs(bounds[0] - bounds[1]) < 1 and bounds[0] > evaluate.elbo(tiny(), images()).mean() + 2


# ---- A loss that is not finite


@pytest.mark.parametrize("where", ["loss", "weight"])
def test_after_a_loss_that_is_not_finite_the_last_good_weights_are_kept(tmp_path, where):
    """In the third epoch: the loss is nan, or a gradient is, at the last step, where no later loss would show it."""
    model, good, steps = torch.nn.Linear(1, 1, bias=False), [], count(1)

    def loss(x):
        if (step := next(steps)) in (1, 3, 5):
            good.append(weights(model))
        if step < 6:
            return model.weight.sum()
        return model.weight.sum() * math.nan if where == "loss" else torch.sqrt(0 * model.weight).sum()

    with pytest.raises(FloatingPointError, match=r"step 2 of epoch 3.*before that epoch"):
        fit(model, loss, torch.zeros(4, 1), epochs=4, batch_size=2, checkpoint=tmp_path / "run")
    assert weights(model) == good[-1] and epochs_saved(tmp_path / "run") == 2
    assert torch.equal(checkpoints.read(tmp_path / "run")[0]["model.weight"], model.weight)


def test_the_message_distinguishes_data_from_the_learning_rate():
    model = torch.nn.Linear(8, 1)

    def message(x, lr):
        with pytest.raises(FloatingPointError) as caught:
            fit(model, lambda x: model(x).square().mean().exp(), x, epochs=3, batch_size=100, lr=lr)
        return str(caught.value)

    x = torch.randn(500, 8)
    assert message(x, lr=1e3).endswith("; try a smaller lr.")
    assert "the data reach" in message(x * 1e4, lr=1e-3)
    x[77, 3] = math.nan
    assert "tensors[0] holds 1 values that are nan or infinite: mend the data" in message(x, lr=1e-3)


def test_a_smaller_learning_rate_can_be_tried_on_the_same_model():
    model = tiny()
    with pytest.raises(FloatingPointError):
        train(model, lr=1e10, epochs=9)
    assert math.isfinite(train(model, lr=1e-3).loss[-1])


# ---- What users hand to fit


@pytest.mark.parametrize("wrap", [lambda m: torch.compile(m, backend="eager"), torch.nn.DataParallel])
def test_a_wrapped_model_is_taken_for_the_model_itself(tmp_path, wrap):
    plain, model = tiny(), tiny()
    train(plain)
    wrapped = wrap(model)
    fit(wrapped, lambda x: -model.elbo(x).mean(), images(), epochs=3, batch_size=50, checkpoint=tmp_path / "run")
    assert weights(model) == weights(plain) == weights(checkpoints.load(tmp_path / "run")[0])
    assert checkpoints.read(checkpoints.save(tmp_path / "again", wrapped))[1]["model"] == "VAE"


def test_another_default_dtype(tmp_path):
    torch.set_default_dtype(torch.float64)
    try:
        model = tiny()
        assert math.isfinite(train(model, tmp_path / "run").loss[-1])
        assert next(model.parameters()).dtype == torch.float64
    finally:
        torch.set_default_dtype(torch.float32)


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
    assert torch.equal(
        evaluate.elbo(model, x, seed=np.int64(1), batch_size=np.int64(7)),
        evaluate.elbo(model, x, seed=1, batch_size=7),
    )
    labelled = splits.label_split(digits.y_train, np.int64(100), seed=np.int64(1))[0]
    assert torch.equal(labelled, splits.label_split(digits.y_train, 100, seed=1)[0])


# ---- Devices


@pytest.mark.parametrize("variable, before, after", [("", 4, 2), ("4", 4, 4), ("", 1, 1)])
def test_half_of_the_cores(monkeypatch, variable, before, after):
    monkeypatch.setattr(devices.os, "cpu_count", lambda: 4)
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
    "name, width, native, expected",
    [
        ("auto", 256, True, "bf16"),
        ("auto", 255, True, "fp32"),
        ("auto", 256, False, "fp32"),
        ("bf16", 2, False, "bf16"),
    ],
)
def test_the_precision_depends_on_the_cpu_and_the_layers(monkeypatch, name, width, native, expected):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: dict(avx512_bf16=native))
    assert devices.pick_precision(name, torch.nn.Linear(width, 300)) == expected


def test_seeding_the_cpu_leaves_other_devices_alone(monkeypatch):
    reseeded = []
    monkeypatch.setattr(torch.mps, "manual_seed", reseeded.append)
    seeds.reseed(0, torch.device("cpu"))
    assert reseeded == []
