"""The papers' runs: their records, their summary, and the models that the ablation is made of."""

import copy
import dataclasses
import functools
import json
import sys

import pytest
import torch
from torch.distributions import Categorical, kl_divergence

from benchmarks import reproduce
from vaecore import data, evaluate, pretrained, records
from vaecore.m2 import M2
from vaecore.splits import label_split
from vaecore.vae import VAE

RECORDS = sorted(path for path in records.RESULTS.glob("*.json") if path.name not in ("speed.json", "tests.json"))
BITS = (torch.arange(4 * 6).reshape(4, 6) % 5 % 2).float()


@pytest.fixture
def results(tmp_path, monkeypatch):
    monkeypatch.setattr(records, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(reproduce, "STATE", tmp_path / "state")
    return tmp_path / "results"


@pytest.fixture
def packaged(digits, monkeypatch):
    """Some of the digits that travel along pass for the whole of MNIST, and a run takes two epochs."""
    few = dataclasses.replace(digits, x_train=digits.x_train[:600], y_train=digits.y_train[:600])
    monkeypatch.setattr(data, "FULL", (len(few.x_train), len(few.x_test)))
    monkeypatch.setattr(data, "mnist", lambda device: few)
    monkeypatch.setattr(reproduce, "N_SAMPLES", dict(evidence=2, conditional=2))
    for name, row in reproduce.ROWS.items():
        how = row.how | dict(epochs=2, batch_size=50)  # 500 unlabelled: 10 steps
        monkeypatch.setitem(reproduce.ROWS, name, dataclasses.replace(row, how=how))
    m2 = reproduce.ROWS["m2"]
    monkeypatch.setitem(reproduce.ROWS, "m2", dataclasses.replace(m2, train=functools.partial(m2.train, held=2)))
    return few


def write(folder, row, labels, draw, value):
    folder.mkdir(exist_ok=True)
    record = dict(row=row, labels=labels, draw=draw, value=value, commit="abc")
    (folder / f"{records.stem(row, labels, draw)}.json").write_text(json.dumps(record))


def test_results_are_told_with_their_spread(results):
    assert records.cell("m2", 100) == "not run yet" and records.result("m2", 100) is None
    for draw, value in enumerate([4.0, 5.0, 9.0]):
        write(results, "m2", 100, draw, value)
    write(results, "m2", 600, 0, 3.25)
    write(results, "m1_bf16", None, 0, -97.0)
    assert records.cell("m2", 100) == "6.00 ± 2.65 (3 runs)" and records.cell("m2", 600) == "3.25 (1 run)"
    assert records.cell("m1_bf16") == "−97.00 (1 run)"
    assert [run["value"] for run in records.runs("m2", 100)] == [4, 5, 9]
    assert len(records.runs("m2")) == 4 and records.runs("m1m2") == []
    first, second, third = reproduce.summary()
    assert first == dict(
        row="m2", labels=100, runs=3, mean=6.0, std=pytest.approx(7**0.5), published=11.97, commits=["abc"]
    )
    assert second["std"] is None and second["published"] == 4.94
    assert third["row"] == "m1_bf16" and third["labels"] is None and third["mean"] == -97


@pytest.mark.parametrize("name", reproduce.ROWS)
def test_a_run_leaves_its_record(name, results, packaged):
    labels = 100 if reproduce.ROWS[name].labelled else None
    path = reproduce.run(name, labels, 1, "cpu")
    record = json.loads(path.read_text())
    assert 0 < record["value"] < 95 if labels else 0 < abs(record["value"]) < 300
    words = f"{name} --labels 100" if labels else name
    assert record["command"] == f"python -m benchmarks.reproduce {words} --draw 1 --device cpu"
    assert (record["row"], record["labels"], record["draw"]) == (name, labels, 1)
    assert {"commit", "seed", "device", "seconds", "data", "settings", "torch"} <= set(record)
    kept = {file.name.split("-")[0] for file in reproduce.STATE.glob("*.safetensors")}
    goes_on = name in ("vae_nll", "iwae50_nll", "m1m2") or name.startswith("m2")
    assert kept == ({"vae_nll"} if goes_on else set()) | ({"m1m2"} if name in ("m1m2", "m2") else set())
    assert not list(results.glob("*.part"))
    assert reproduce.run(name, labels, 1, "cpu") == path and json.loads(path.read_text()) == record


@pytest.mark.parametrize("name, at", [("m2_apart", 3), ("m2", 1), ("m2", 3)])
def test_a_killed_run_goes_on(name, at, results, packaged, monkeypatch):
    whole = json.loads(reproduce.run(name, 100, 0, "cpu").read_text())
    (results / f"{name}-100-0.json").unlink()
    save, calls = pretrained.checkpoints.save, []

    def dies(*args, **kwargs):
        save(*args, **kwargs)
        calls.append(args)
        if len(calls) == at:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(reproduce.checkpoints, "save", dies)
        reproduce.run(name, 100, 0, "cpu")
    assert not list(results.glob("*.json"))
    assert list(reproduce.STATE.glob(f"{name}-100-0.*"))
    again = json.loads(reproduce.run(name, 100, 0, "cpu").read_text())
    assert again["value"] == whole["value"]
    assert not list(reproduce.STATE.glob(f"{name}-100-0.*"))


def test_kept_weights_are_taken_wherever_they_were_trained(results, packaged):
    """By several processes, or on a GPU; only those of fewer epochs would have to go on in the same way."""
    path = reproduce.state("vae_nll", None, 0)
    weights = reproduce.trained("vae_nll", packaged, None, 0).state_dict()
    tensors, card = pretrained.checkpoints.read(path)
    model = reproduce.ROWS["vae_nll"].make(packaged)
    pretrained.checkpoints.load_weights(model, tensors, path)
    pretrained.checkpoints.save(
        path, model, fit=card["fit"] | dict(processes=4, device="cuda"), history=card["history"]
    )
    again = reproduce.trained("vae_nll", packaged, None, 0).state_dict()
    assert all(torch.equal(again[name], value) for name, value in weights.items())
    short = {what: values[:1] for what, values in card["history"].items()}
    pretrained.checkpoints.save(path, model, fit=card["fit"] | dict(processes=4), history=short)
    with pytest.raises(ValueError, match="processes=4"):  # fit says so
        reproduce.trained("vae_nll", packaged, None, 0)


def test_of_several_processes_the_first_writes(results, packaged, monkeypatch):
    reproduce.trained("vae_nll", packaged, None, 0)
    monkeypatch.setenv("RANK", "1")
    path = reproduce.run("vae_nll", None, 0, "cpu")
    assert not path.exists()


JOB = """
import os, sys, time
from pathlib import Path
folder, (row, labels, draw) = Path(sys.argv[1]), sys.argv[4:9:2]
folder.joinpath(draw).write_text(f"{row} {labels} {os.environ.get('OMP_NUM_THREADS')}")
end = time.monotonic() + 20
while draw in "01" and not all((folder / other).exists() for other in "01"):  # these two wait for each other
    if time.monotonic() > end:
        sys.exit("alone")
    time.sleep(0.01)
sys.exit(draw == "2")
"""


def test_jobs_run_side_by_side_and_one_that_fails_stops_no_other(tmp_path, monkeypatch):
    monkeypatch.setattr(reproduce, "PYTHON", [sys.executable, "-c", JOB, str(tmp_path)])
    jobs = [("m2", 600, draw) for draw in (2, 0, 1, 3)]
    (failed,) = reproduce.run_all(jobs, "cpu", at_a_time=2)
    assert failed.endswith("m2 --labels 600 --draw 2 --device cpu")
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == dict.fromkeys("0123", "m2 600 1")


def test_of_a_table_only_what_is_missing_is_run_and_a_failed_run_is_told(results, monkeypatch):
    monkeypatch.setattr("sys.argv", ["reproduce", "ablation", "--jobs", "2"])
    asked = []
    monkeypatch.setattr(reproduce, "run_all", lambda *how: asked.append(how) or ["python -m that failed"])
    write(results, "m2_apart", 100, 1, 5.0)
    with pytest.raises(SystemExit, match="that failed"):
        reproduce.main()
    everything = reproduce.TABLES["ablation"]
    assert asked == [([job for job in everything if job != ("m2_apart", 100, 1)], "auto", 2)] and len(everything) == 36


def test_the_iwae_s_loss_is_its_bound_and_has_its_gradient_on_average():
    """In bf16: the weights' copies that autocast made without a gradient must not serve where one is wanted."""
    torch.manual_seed(0)
    model = VAE(d_x=6, d_z=2, hidden=(5,))
    for name, parameter in model.named_parameters():  # z varies, and with it the weights
        torch.nn.init.normal_(parameter, std=0.3 if name.startswith("encoder") else 1.0)
    x = BITS.repeat(12_500, 1)

    def value_and_gradients(loss):
        with evaluate.seeded(1), torch.autocast("cpu", torch.bfloat16):
            value = loss(model, x)
        gradients = torch.autograd.grad(value, list(model.parameters()))
        return value.detach(), torch.cat([gradient.flatten() for gradient in gradients])

    value, gradient = value_and_gradients(lambda model, x: -evaluate.iwae_bound(model, x, k=6).mean())
    again, by_some = value_and_gradients(lambda model, x: reproduce.iwae_loss(model, x, k=6, n=2))
    torch.testing.assert_close(again, value, rtol=0, atol=0.02)
    torch.testing.assert_close(by_some, gradient, rtol=0.03, atol=0.01)


@pytest.mark.parametrize("path", RECORDS, ids=lambda path: path.stem)
def test_recorded_runs_say_how_they_came_about(path):
    record = json.loads(path.read_text())
    assert path.stem == records.stem(record["row"], record["labels"], record["draw"])
    settings, row = record["settings"].items(), reproduce.ROWS[record["row"]]
    # the first records lack what is given to `train` besides
    assert row.how.items() <= settings <= row.settings().items(), "made with other settings: run it again"
    assert not record["commit"].endswith("-dirty") and record["commit"] != "unknown"
    assert record["data"].startswith("MNIST: 60,000 training and 10,000 test digits")
    assert record["seconds"] > 0
    if record["unit"].endswith("per cent"):
        assert 0 < record["value"] < 100
    else:  # nats: a bound on log p(x) lies below zero, and minus log p(x) above; 206 is what pixel-wise rates give
        assert 40 < abs(record["value"]) < 206 and (record["value"] < 0) == ("ELBO" in record["unit"])


@torch.no_grad()
def test_the_ablation_lacks_what_it_says():
    torch.manual_seed(0)
    settings = dict(d_x=6, d_z=2, hidden=(5,), n_classes=3)
    whole = M2(**settings)
    for parameter in whole.parameters():
        parameter.normal_(std=0.5)
    without, sampled = reproduce.NoEntropy(**settings), reproduce.SampledY(**settings)
    for model in (without, sampled):
        model.load_state_dict(whole.state_dict())

    def mean_of(model, n=20_000):
        with evaluate.seeded(0):
            return model.unlabelled_bound(BITS.repeat(n, 1)).reshape(n, -1).mean(0)

    entropy = Categorical(logits=whole.log_q_y(BITS)).entropy()
    torch.testing.assert_close(mean_of(whole) - mean_of(without), entropy, rtol=0, atol=1e-3)
    torch.testing.assert_close(mean_of(sampled), mean_of(whole), rtol=0, atol=0.05)  # only its gradient errs


@torch.no_grad()
def test_unlikely_classes_are_left_out_of_a_bound_that_stays_one(monkeypatch):
    """Where all are likely nothing changes; else it is the bound for the q that gives everything to the others."""
    torch.manual_seed(0)
    settings = dict(d_x=6, d_z=2, hidden=(5,), n_classes=3)
    whole, likely = M2(**settings), reproduce.LikelyClasses(**settings)
    for parameter in whole.parameters():
        parameter.normal_(std=0.5)
    likely.load_state_dict(whole.state_dict())
    bounds = torch.tensor([[-3.0, -5.0, -40.0], [-6.0, -2.0, -1.0], [-4.0, -4.0, -4.0], [-1.0, -2.0, -3.0]])

    def bound(x, y):
        rows = (x[:, None] == BITS).all(-1).long().argmax(1)
        return bounds[rows].T if y is None else bounds[rows, y]

    for model in (whole, likely):
        monkeypatch.setattr(model, "_bound", bound)
    torch.testing.assert_close(likely.unlabelled_bound(BITS), whole.unlabelled_bound(BITS))
    logits = torch.tensor([[0.0, 1.0, -9.0], [0.0, -9.0, -9.0], [0.0, 0.0, 0.0], [-9.0, 1.0, 1.0]])
    monkeypatch.setattr(likely, "log_q_y", lambda x: logits.log_softmax(-1))
    q = torch.where(logits < -8, 0.0, logits.exp())
    q = q / q.sum(-1, keepdim=True)
    expected = (q * bounds).sum(-1) - torch.xlogy(q, q).sum(-1)
    torch.testing.assert_close(likely.unlabelled_bound(BITS), expected)


def test_imbalance_is_the_kl_from_equal_shares():
    model = M2(d_x=6, n_classes=4, hidden=(5,))
    with torch.no_grad():
        for parameter in model.classifier.parameters():
            parameter.normal_()
        q_y = Categorical(logits=model.log_q_y(BITS)).probs.mean(0)
        expected = kl_divergence(Categorical(q_y), Categorical(torch.ones(4)))
        torch.testing.assert_close(reproduce.imbalance(model, BITS), expected)


def test_equal_shares_are_asked_for_beside_the_objective(packaged, monkeypatch):
    model, losses = M2(hidden=(16,)), []

    def once(module, loss, rows, **how):
        with evaluate.seeded(0):
            losses.append(loss(rows[:20]))

    monkeypatch.setattr(reproduce, "fit", once)
    for weight in (0.0, 3.0):
        reproduce.in_equal_shares(
            model, packaged.x_train, lambda rows: rows / 255, packaged, 100, 0, alpha=0.5, weight=weight
        )
    _, unlabelled = label_split(packaged.y_train, 100, seed=0)
    with torch.no_grad():
        expected = 3 * reproduce.imbalance(model, packaged.x_train[unlabelled][:20] / 255)
    assert expected > 1e-3
    torch.testing.assert_close(losses[1] - losses[0], expected, rtol=0, atol=1e-3)


def test_m2_starts_with_the_q_of_m1_m2_which_the_first_passes_leave_as_it_is(results, packaged, monkeypatch, tmp_path):
    row, fit, asked, seen = reproduce.ROWS["m2"], reproduce.fit, [], []
    images = packaged.x_test / 255
    stack, model = reproduce.trained("m1m2", packaged, 100, 3), row.make(packaged)

    def spy(model, *args, **how):
        before, logits = copy.deepcopy(model.state_dict()), model.classifier(images).detach()
        fit(model, *args, **how)
        after = model.state_dict()
        seen.append((logits, {name for name in after if not torch.equal(before[name], after[name])}))

    monkeypatch.setattr(reproduce, "fit", spy)
    monkeypatch.setattr(reproduce, "trained", lambda *run: asked.append(run) or stack)
    row.train(model, packaged, 100, 3, checkpoint=tmp_path / "m2.safetensors", **row.how)
    assert asked == [("m1m2", packaged, 100, 3)]
    (start, at_first), (_, then) = seen
    with torch.no_grad():
        expected = stack.m2.classifier(stack.features(images).mean)
    torch.testing.assert_close(start, expected, rtol=1e-4, atol=1e-4)
    everything = set(model.state_dict())
    assert at_first == {name for name in everything if not name.startswith("classifier")} and then == everything


def test_the_ablation_s_m2_starts_as_the_trained_vae_s_encoder(results, packaged):
    model, vae = reproduce.on_pixels(M2)(packaged), reproduce.trained("vae_nll", packaged, None, 0)
    for ours, theirs in zip(list(model.classifier)[:-1], list(vae.encoder)[:-1], strict=True):
        for name, value in theirs.state_dict().items():
            assert torch.equal(ours.state_dict()[name], value) and not torch.equal(value, torch.zeros_like(value))
    assert model.classifier[-1].out_features == 10
    mean = (packaged.x_train.float().mean(0) / 255).clamp(0.001, 0.999)
    torch.testing.assert_close(model.decoder.rest[-1].bias.sigmoid(), mean)


def test_apart_takes_turns(packaged, monkeypatch):
    """Odd steps leave q(y|x) to J, even ones touch nothing else: counted by the gradients that arrive."""
    model, seen = M2(hidden=(16,)), []
    fit = reproduce.fit

    def spy(module, loss, *tensors, **how):
        def watched(*batch):
            value = loss(*batch)
            grads = torch.autograd.grad(value, list(module.parameters()), retain_graph=True, allow_unused=True)
            seen.append(
                {n.split(".")[0] for (n, _), g in zip(module.named_parameters(), grads, strict=True) if g is not None}
            )
            return value

        return fit(module, watched, *tensors, **how)

    monkeypatch.setattr(reproduce, "fit", spy)
    reproduce.apart(model, packaged, 100, 0, alpha=0.1, epochs=1, batch_size=50)
    assert seen[0::2] == [{"classifier", "encoder", "decoder"}] * 10 and seen[1::2] == [{"classifier"}] * 10


def test_the_paper_s_table_is_whole():
    assert all(len(row) == len(records.LABELS) for row in records.PUBLISHED.values())
    assert set(reproduce.PUBLISHED.values()) <= set(records.PUBLISHED)


@pytest.mark.parametrize("arguments", [[], ["m3"], ["m2", "--labels", "50"], ["m2", "--jobs", "0"]])
def test_bad_commands_are_refused(arguments, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["reproduce", *arguments])
    with pytest.raises(SystemExit):
        reproduce.main()
    assert "error: " in capsys.readouterr().err
