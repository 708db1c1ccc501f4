"""Training: exact resume, what a run records and says, and what a loss that is not finite leaves."""

import math
import sys
from itertools import count

import pytest
import torch
from small_runs import epochs_saved, images, tiny, train, weights

from vaecore import checkpoints, devices, evaluate
from vaecore.train import fit


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
    history = train(model, two_epochs, stop_at(0), epochs=2)
    assert f"2 of them read from {two_epochs.name}" in repr(history)
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
CHANGES |= dict(faster={"encoder": 2.0}, rising={"encoder": 2.0}, hidden=(8,), activation="relu", d_z=3)


@pytest.mark.parametrize("setting, value", CHANGES.items())
def test_another_setting_or_architecture_is_refused(two_epochs, setting, value):
    sizes = {setting: value} if setting in ("hidden", "activation", "d_z") else {}
    settings = dict(epochs=2) | ({} if sizes else {setting: value})
    model, before = tiny(**sizes), two_epochs.read_bytes()
    untrained = weights(model)
    with pytest.raises(ValueError, match=f"run was made with {setting}=.*; choose another file"):
        train(model, two_epochs, **settings)
    assert weights(model) == untrained and two_epochs.read_bytes() == before


def test_an_own_models_config_is_compared_apart_and_may_hold_tuples(tmp_path):
    settings = dict(checkpoint=tmp_path / "run", epochs=1, batch_size=50)
    for _ in range(2):
        model = tiny()
        model.config = dict(hidden=(16,), lr=1.0)
        fit(model, lambda x, model=model: -model.elbo(x).mean(), images(), lr=0.1, **settings)
    with pytest.raises(ValueError, match=r"lr=0\.1, this run has 1\.0"):
        fit(model, lambda x: -model.elbo(x).mean(), images(), lr=1.0, **settings)


def test_a_run_goes_on_in_another_type_of_numbers(tmp_path):
    train(tiny(), tmp_path / "run", epochs=1, schedule="constant")
    model = tiny().double()
    history = train(model, tmp_path / "run", epochs=2, schedule="constant")
    assert len(history.loss) == 2 and model.encoder[0].weight.dtype == torch.float64
    assert history.setting.endswith("float64")


def test_other_data_and_weights_without_a_run_are_refused(two_epochs, tmp_path):
    model = tiny()
    with pytest.raises(ValueError, match="other data"):
        fit(model, lambda x: -model.elbo(x).mean(), 1 - images(), epochs=2, batch_size=50, checkpoint=two_epochs)
    path = checkpoints.save(tmp_path / "weights", model)
    with pytest.raises(ValueError, match="no run to go on with"):
        train(model, path)


def test_a_run_goes_on_in_its_precision_on_a_cpu_slower_in_bf16(tmp_path, monkeypatch):
    path = tmp_path / "run"
    for bf16, epochs in ((0.5, 1), (2.0, 2)):
        monkeypatch.setattr(devices, "layer_seconds", lambda *shape, bf16=bf16: (1.0, bf16))
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


@pytest.mark.parametrize("value", [-math.inf, math.nan])
def test_a_test_value_that_json_has_not_is_recorded_too(tmp_path, value):
    first, again = (train(tiny(), tmp_path / "run", test=lambda: value).test for _ in range(2))
    assert str(first) == str(again) == str([value] * 3)


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


@pytest.mark.parametrize("where", [dict(each=3), dict(test=1)])
def test_after_any_error_the_model_has_the_weights_from_before_that_epoch(where):
    train(first := tiny(), epochs=1, schedule="constant")
    (name, call), model = where.popitem(), tiny()
    stop = stop_at(call)
    with pytest.raises(KeyboardInterrupt):
        train(model, schedule="constant", **{name: lambda: stop() or 0.0})
    assert weights(model) == weights(first)


def test_a_loss_that_is_not_finite_at_first_needs_no_smaller_rate():
    model = torch.nn.Linear(1, 1)
    with pytest.raises(FloatingPointError, match="no step had been taken yet: look at the loss"):
        fit(model, lambda x: model(x).mean() * math.inf, torch.ones(9, 1), epochs=1)


def test_the_message_distinguishes_data_from_the_learning_rate():
    model = torch.nn.Linear(8, 1)

    def message(x, lr):
        with pytest.raises(FloatingPointError) as caught:
            fit(model, lambda x: model(x).square().mean().exp(), x, epochs=3, batch_size=100, lr=lr)
        return str(caught.value)

    x = torch.randn(500, 8)
    assert message(x, lr=1e3).endswith("; try a smaller lr.")
    assert message(x * 1e4, lr=1e-3).endswith("scale them to about 1.")
    x[77, 3] = math.nan
    assert "tensors[0] holds 1 values that are nan or infinite: fix the data" in message(x, lr=1e-3)


def test_a_model_that_is_ruined_already_is_said_to_be():
    model = torch.nn.Linear(8, 1)
    torch.nn.init.constant_(model.weight, math.nan)
    with pytest.raises(FloatingPointError, match=r"^model .*; make a new model\.$"):
        fit(model, lambda x: model(x).mean(), torch.ones(9, 8), epochs=1)


def test_a_smaller_learning_rate_can_be_tried_on_the_same_model():
    model = tiny()
    with pytest.raises(FloatingPointError):
        train(model, lr=1e10, epochs=9)
    assert math.isfinite(train(model, lr=1e-3).loss[-1])
