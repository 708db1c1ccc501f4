"""A run is what its settings say: its key changes with each of them, and what another key made is not taken for it."""

import dataclasses
import json

import pytest

from benchmarks import reproduce
from vaecore import records, runs
from vaecore.experiments import EXPERIMENTS, TABLES, Experiment, runs_of

pytest_plugins = ["small_experiments"]

FIELDS = [field.name for field in dataclasses.fields(Experiment)]
RECORDS = sorted(path for path in records.RESULTS.glob("*-*.json") if not path.name.startswith("tried-"))
CHANGES = [("m2", "alpha", 2.0), ("m1m2", "equal_shares", 19.0), ("m2", "rising", None), ("m1m2", "grey", None)]
CHANGES += [("m2_short", "objective", "in_turn")]
UNUSED = dict(given="left", bound="without_entropy", faster={"columns": 2.0}, rising={"columns": 2.0}, grey=True)
UNUSED |= dict(mean_image=True)


def changed(field: str, value: object) -> object:
    """Another value for a setting."""
    if field == "init":
        return "vae_nll" if value != "vae_nll" else None
    if value is None:
        return UNUSED.get(field, 1)
    if isinstance(value, bool | dict):
        return value | {"more": 1} if isinstance(value, dict) else not value
    if field in ("model", "objective"):
        return dict(model="Regressor", objective="in_turn")[field]
    return value + ("x" if isinstance(value, str) else 1)


# ---- Keys


@pytest.mark.parametrize("field", FIELDS)
def test_the_key_changes_with_every_setting(field, monkeypatch):
    """With its own, and with those of the experiment it starts from."""
    row, start = EXPERIMENTS["m2"].at(100, 1), EXPERIMENTS["m2_classifier"]
    before = row.key()
    another = dataclasses.replace(row, **{field: changed(field, getattr(row, field))})
    assert another.key() != before and another.stem() != row.stem()
    if field not in ("draw", "labels", "data", "sizes"):  # which a start has from the experiment that starts from it
        another = dataclasses.replace(start, **{field: changed(field, getattr(start, field))})
        monkeypatch.setitem(EXPERIMENTS, "m2_classifier", another)
        assert row.key() != before


def test_a_new_setting_that_is_not_used_changes_no_key():
    row = EXPERIMENTS["vae_nll"]
    assert not {name for name, value in row.settings().items() if value is None}
    new = dataclasses.make_dataclass("New", [("temperature", float | None, None)], bases=(Experiment,), frozen=True)
    assert new(**{name: getattr(row, name) for name in FIELDS}).key() == row.key()


def test_every_row_has_a_key_of_its_own_and_a_start_that_exists():
    everything = {run.stem(): run for table in TABLES for run in runs_of(table)} | EXPERIMENTS
    assert len({run.key() for run in everything.values()}) == len({run.stem() for run in everything.values()})
    for run in everything.values():
        assert run.init is None or run.start().key()
    first = EXPERIMENTS["m2"].at(600, 2).start()
    assert (first.name, first.labels, first.draw) == ("m2_classifier", 600, 2)  # the same labelled images
    assert EXPERIMENTS["m1_classifier"].at(600, 2).start() == EXPERIMENTS["m1m2-book"]


# ---- What another key made


def write(name: str, labels: int | None, draw: int, value: float) -> None:
    row = EXPERIMENTS[name].at(labels, draw)
    record = dict(row=name, labels=labels, draw=draw, value=value, key=row.key(), trained=dict(commit="abc"))
    records.write(records.path_of(row), record)


@pytest.fixture
def printed(monkeypatch, capsys):
    def lines(*arguments: str) -> list[str]:
        monkeypatch.setattr("sys.argv", ["reproduce", *arguments])
        reproduce.main()
        return capsys.readouterr().out.splitlines()

    return lines


@pytest.mark.parametrize("name, setting, value", CHANGES)
def test_a_record_of_other_settings_is_stale(name, setting, value, small, monkeypatch, printed):
    table = "ablation" if name == "m2_short" else "table1"
    monkeypatch.setattr(reproduce, "has_weights", lambda start: True)  # else a run is also listed as another's start
    write(name, 100, 0, 5.0)
    command = records.command(EXPERIMENTS[name].at(100, 0))
    assert records.cell(name, 100) == "5.00 (1 run)" and command not in printed(table, "--list")
    monkeypatch.setitem(EXPERIMENTS, name, dataclasses.replace(EXPERIMENTS[name], **{setting: value}))
    assert records.cell(name, 100) == "stale" and records.result(name, 100) is None
    assert command in printed(table, "--list")
    (entry,) = json.loads("".join(printed("--summary", "--json")))
    assert (entry["runs"], entry["stale"], entry["mean"]) == (0, 1, None)
    assert "stale" in printed("--summary")[0]


@pytest.mark.parametrize("name, setting, value", CHANGES)
def test_weights_of_other_settings_are_not_taken(name, setting, value, small, monkeypatch):
    row = EXPERIMENTS[name].at(100, 0)
    runs.train(row, small)
    taken, fit = [], runs.fit

    def noted(model, *args, checkpoint, **settings):
        if checkpoint.name.startswith(f"{name}-100"):
            taken.append(checkpoint.exists())
        return fit(model, *args, checkpoint=checkpoint, **settings)

    monkeypatch.setattr(runs, "fit", noted)
    runs.train(row, small)
    assert taken and all(taken)
    taken.clear()
    runs.train(dataclasses.replace(row, **{setting: value}), small)
    assert taken and not any(taken)


def test_results_are_shown_with_their_spread(small):
    assert records.cell("m2", 100) == "not run yet" and records.result("m2", 100) is None
    for draw, value in enumerate([4.0, 5.0, 9.0]):
        write("m2", 100, draw, value)
    write("m2", 600, 0, 3.25)
    write("m1_bf16", None, 0, -97.0)
    assert records.cell("m2", 100) == "6.00 ± 2.65 (3 runs)" and records.cell("m2", 600) == "3.25 (1 run)"
    assert records.cell("m1_bf16") == "−97.00 (1 run)"
    assert [run["value"] for run in records.runs("m2", 100)] == [4, 5, 9]
    assert len(records.runs("m2")) == 4 and records.runs("m1m2") == []
    first, second, third = reproduce.summary()
    std = pytest.approx(7**0.5)
    assert first == dict(row="m2", labels=100, runs=3, stale=0, mean=6, std=std, published=11.97, commits=["abc"])
    assert second["std"] is None and second["published"] == 4.94
    assert third["row"] == "m1_bf16" and third["labels"] is None and third["mean"] == -97


# ---- The records of the package


@pytest.mark.parametrize("path", RECORDS, ids=lambda path: path.stem)
def test_recorded_runs_are_current_and_say_how_they_came_about(path):
    record = json.loads(path.read_text())
    row = EXPERIMENTS[record["row"]].at(record["labels"], record["draw"])
    assert record["key"] == row.key(), "made with other settings: run it again"
    assert path == records.path_of(row) and record["settings"] == row.settings()
    assert "carried_over" in record or record["architecture"]["model"] == row.model
    assert {"commit", "device", "threads", "seconds", "torch"} <= set(record["trained"])
    assert {"device", "threads"} <= set(record["measured"])
    assert "carried_over" in record or {"commit", "seconds"} <= set(record["measured"])
    assert not record["trained"]["commit"].endswith("-dirty") and record["trained"]["commit"] != "unknown"
    assert record["data"].startswith("MNIST: 60,000 training and 10,000 test digits")
    if record["unit"].endswith("per cent"):
        assert 0 < record["value"] < 100
    else:  # nats: a bound on log p(x) lies below zero, and minus log p(x) above; 206 is what pixel-wise rates give
        assert 40 < abs(record["value"]) < 206 and (record["value"] < 0) == ("ELBO" in record["unit"])
