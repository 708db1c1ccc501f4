"""What was published, and the results of our recorded runs: one JSON file a run, in results/."""

import json
from pathlib import Path

from .evaluate import Spread, spread
from .experiments import EXPERIMENTS, Experiment
from .files import as_json, write_whole

RESULTS = Path(__file__).parent / "results"
LABELS = (100, 600, 1000, 3000)
# Test error in per cent on MNIST by number of labels, arXiv:1406.5298, table 1. None: not given there.
PUBLISHED = {
    "NN": (25.81, 11.44, 10.7, 6.04),
    "CNN": (22.98, 7.68, 6.45, 3.35),
    "TSVM": (16.81, 6.16, 5.38, 3.45),
    "CAE": (13.47, 6.3, 4.77, 3.22),
    "MTC": (12.03, 5.13, 3.64, 2.57),
    "AtlasRBF": (8.10, None, 3.68, None),
    "M1+TSVM": (11.82, 5.72, 4.24, 3.49),
    "M2": (11.97, 4.94, 3.60, 3.92),
    "M1+M2": (3.33, 2.59, 2.40, 2.18),
}
# -log p(x) in nats on MNIST with one layer of latents, by the draws in training, arXiv:1509.00519, table 1.
PUBLISHED_NATS = {"VAE": {1: 86.76, 5: 86.47, 50: 86.35}, "IWAE": {1: 86.76, 5: 85.54, 50: 84.78}}


def path_of(experiment: Experiment) -> Path:
    """Where the record of a run is kept."""
    return RESULTS / f"{experiment.stem()}.json"


def command(experiment: Experiment) -> str:
    """The command that makes a run."""
    fixed = EXPERIMENTS[experiment.name].labels is not None
    labels = f" --labels {experiment.labels}" if experiment.labels and not fixed else ""
    return f"python -m benchmarks.reproduce {experiment.name}{labels} --draw {experiment.draw}"


def write(path: Path, record: dict) -> None:
    """Write a record as JSON; the file appears whole or not at all."""
    write_whole(path, (as_json("record", record, indent=1) + "\n").encode())


def runs(row: str, labels: int | None = None, stale: bool = False) -> list[dict]:
    """The records of a row, in the order of their draws; with `labels`, of those with so many labels.

    A record holds `value` and its `unit` (an error in per cent, or nats), `settings` and `key`, the architecture, and
    what `trained` and what `measured` it: commit, device, threads, seconds. With `stale`, the records whose key is not
    that of the row today, which are ignored everywhere else.
    """
    everything = (json.loads(path.read_text(encoding="utf-8")) for path in RESULTS.glob(f"{row}-*.json"))
    found = [run for run in everything if run["row"] == row and labels in (None, run["labels"])]
    found = [run for run in found if is_stale(run) == stale]
    return sorted(found, key=lambda run: (run["labels"] or 0, run["draw"]))


def is_stale(run: dict) -> bool:
    """Whether the row's settings have changed since the run was made."""
    row = EXPERIMENTS.get(run["row"])
    return row is None or run["key"] != row.at(run["labels"], run["draw"]).key()


def result(row: str, labels: int | None = None) -> Spread | None:
    """Mean, standard deviation and number of a row's runs; None if there is none yet."""
    found = runs(row, labels)
    return spread(run["value"] for run in found) if found else None


def tried(row: str) -> list[dict]:
    """What `python -m benchmarks.tried` found for "m2" or "m1m2": the `change`, `draw` and errors `after_each_pass`."""
    found = [json.loads(path.read_text(encoding="utf-8")) for path in RESULTS.glob("tried-*.json")]
    found = [trial for trial in found if trial["settings"]["name"] == row]
    return sorted(found, key=lambda trial: (trial["draw"], trial["after_each_pass"][-1]))


def speed() -> dict:
    """What `python -m benchmarks.speed` measured: images a second of each way to train, their ratios, the machine."""
    return json.loads((RESULTS / "speed.json").read_text(encoding="utf-8"))


def tested() -> dict | None:
    """The figures of the last full run of all tests: their number, and how much of what they tried held; or None."""
    path = RESULTS / "tests.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def cell(row: str, labels: int | None = None) -> str:
    """The result as a table shows it, such as "5.21 ± 0.32 (3 runs)"; "stale" or "not run yet" if there is none."""
    found = result(row, labels)
    if found is None:
        return "stale" if runs(row, labels, stale=True) else "not run yet"
    mean = f"{found.mean:.2f}".replace("-", "−")
    return f"{mean} (1 run)" if found.n == 1 else f"{mean} ± {found.std:.2f} ({found.n} runs)"
