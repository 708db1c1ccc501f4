"""The door to the papers' runs: their order, several at a time, and what is said of bad commands."""

import dataclasses
import os
import sys

import pytest

from benchmarks import reproduce, tried
from vaecore import records, runs
from vaecore.experiments import EXPERIMENTS, runs_of
from vaecore.splits import hold_out

pytest_plugins = ["small_experiments"]


@pytest.fixture
def nothing_trained(tmp_path, tmp_path_factory, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
    monkeypatch.setattr(records, "RESULTS", tmp_path / "results")


def test_a_start_comes_first_and_only_once(nothing_trained, small):
    table = runs_of("table1")
    ordered = reproduce.in_order([*table, *table])
    names = [run.stem() for run in ordered]
    assert len(names) == len(set(names)) and {run.stem() for run in table} < set(names)
    assert {run.name for run in ordered} == {"m2", "m1m2", "m2_classifier", "m1_classifier", "m1m2-book", "m1-book"}
    for run in ordered:
        assert run.init is None or names.index(run.start().stem()) < names.index(run.stem())


def test_a_start_that_is_trained_or_bundled_is_not_made_again(nothing_trained, small, monkeypatch):
    row = EXPERIMENTS["m2_short"].at(100, 0)
    assert reproduce.in_order([row]) == [row.start(), row]
    runs.train(row.start(), small)
    assert reproduce.in_order([row]) == [row]
    monkeypatch.setattr(runs, "WEIGHTS", runs.checkpoint_of(row).parent)
    monkeypatch.setenv("XDG_CACHE_HOME", str(records.RESULTS / "nothing here"))
    assert reproduce.in_order([row]) == [row]


JOB = """
import os, sys, time
from pathlib import Path
folder, name, words = Path(sys.argv[1]), sys.argv[2], sys.argv[3:]
draw = words[words.index("--draw") + 1]
starts = sorted(path.name for path in folder.iterdir())
folder.joinpath(f"{name}-{draw}").write_text(f"{starts} {words[-1]} {os.environ.get('OMP_NUM_THREADS')}")
end = time.monotonic() + 20
while (name, draw) in (("m1_fp32", "0"), ("m1_fp32", "1")) and len(list(folder.glob("m1_fp32-*"))) < 2:
    if time.monotonic() > end:
        sys.exit("these two wait for each other")
    time.sleep(0.01)
sys.exit(name == "vae_nll")
"""


def test_runs_are_made_side_by_side_and_after_their_starts(tmp_path, nothing_trained, monkeypatch):
    monkeypatch.setattr(reproduce, "COMMAND", [sys.executable, "-c", JOB, str(tmp_path)])
    wanted = [EXPERIMENTS["m1_fp32"].at(draw=draw) for draw in (0, 1)]
    wanted += [EXPERIMENTS["iwae50_nll"]]
    ordered = reproduce.in_order(wanted)
    assert len(ordered) == 4
    failed = reproduce.make_all(ordered, "cpu", jobs=2)
    assert failed == [records.command(run) for run in ordered if run.name not in ("m1_fp32",)]  # vae_nll, and after it
    texts = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert set(texts) == {"m1_fp32-0", "m1_fp32-1", "vae_nll-0"} and all(
        text.endswith("cpu 1") for text in texts.values()
    )


def test_a_start_whose_record_is_there_is_only_trained(tmp_path, nothing_trained, monkeypatch):
    monkeypatch.setattr(reproduce, "COMMAND", [sys.executable, "-c", JOB.replace('"vae_nll"', "0"), str(tmp_path)])
    row = EXPERIMENTS["iwae50_nll"]
    records.write(records.path_of(row.start()), {})
    assert reproduce.make_all(reproduce.in_order([row]), "cpu", jobs=1) == []
    threads = os.environ.get("OMP_NUM_THREADS")
    assert (tmp_path / "vae_nll-0").read_text() == f"['results'] --weights {threads}"
    assert (tmp_path / "iwae50_nll-0").read_text() == f"['results', 'vae_nll-0'] cpu {threads}"


def test_the_failed_runs_of_a_table_are_named(nothing_trained, monkeypatch):
    monkeypatch.setattr("sys.argv", ["reproduce", "precision", "--jobs", "2"])
    calls = []
    monkeypatch.setattr(reproduce, "make_all", lambda *args: calls.append(args) or ["python -m that failed"])
    done = EXPERIMENTS["m1_bf16"].at(draw=3)
    records.write(records.path_of(done), {})
    with pytest.raises(SystemExit, match="that failed"):
        reproduce.main()
    assert calls == [([run for run in runs_of("precision") if run != done], "auto", 2)]


def test_a_trial_is_made_once_on_held_out_digits(small, monkeypatch):
    held = hold_out(small, 100)
    monkeypatch.setattr(tried, "trial", lambda row, change, draw: EXPERIMENTS[row].at(100, draw))
    for _ in range(2):
        tried.make("m2", "nothing", 1, held)
        monkeypatch.setattr(runs, "fit", None)  # the second finds the file
    (found,) = records.tried("m2")
    assert records.tried("m1m2") == []
    assert found["draw"] == 1 and found["change"] == "nothing" and len(found["after_each_pass"]) == 2
    assert "held out" in found["data"] and found["settings"]["data"] != "MNIST"


@pytest.mark.parametrize("row", tried.CHANGES)
def test_each_trial_changes_something(row):
    trials = [tried.trial(row, change, 0) for change in tried.CHANGES[row]]
    assert len({run.key() for run in trials}) == len(trials)


def test_the_trials_begin_at_rows_and_the_best_of_m2_has_the_settings_of_the_table():
    short, m1m2 = (tried.trial(row, "nothing", 0) for row in ("m2", "m1m2"))
    assert short == dataclasses.replace(EXPERIMENTS["m2_short"].at(100, 0), name="m2", bound="drawn_classes")
    assert m1m2 == dataclasses.replace(EXPERIMENTS["m1m2"].at(1000, 0), sizes=EXPERIMENTS["m1m2_short"].sizes)
    assert tried.trial("m1m2", "500 hidden units", 0) == EXPERIMENTS["m1m2"].at(1000, 0)
    best = tried.trial("m2", records.tried("m2")[0]["change"], 0)
    assert dataclasses.replace(best, epochs=EXPERIMENTS["m2"].epochs) == EXPERIMENTS["m2"].at(100, 0)


def test_the_table_of_the_paper_is_complete():
    assert all(len(row) == len(records.LABELS) for row in records.PUBLISHED.values())
    assert set(reproduce.PUBLISHED.values()) <= set(records.PUBLISHED)


@pytest.mark.parametrize(
    "arguments", [[], ["m3"], ["m2", "--labels", "50"], ["m2", "--jobs", "0"], ["table1", "--draw", "1"]]
)
def test_bad_commands_are_refused(arguments, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["reproduce", *arguments])
    with pytest.raises(SystemExit):
        reproduce.main()
    assert "error: " in capsys.readouterr().err
