"""The papers' results, one command a run: `python -m benchmarks.reproduce m2 --labels 100 --draw 0 --device auto`.

`python -m benchmarks.reproduce ablation` (or `table1`, `likelihood`, `precision`) makes every run of that table that is
missing or stale; `--list` prints them in the order in which they are made, `--summary` prints the results, next to the
published figures. A run writes one JSON file into vaecore/results; one that was stopped goes on from its last epoch.
`--jobs 4` makes four of a table's runs at a time, on one thread each; torchrun's processes share one run's batches.
"""

import argparse
import json
import os
import subprocess
import sys
from concurrent.futures import Future, ThreadPoolExecutor

from vaecore import data, records
from vaecore.devices import keep_freed_memory, pick_device
from vaecore.experiments import EXPERIMENTS, TABLES, Experiment, runs_of
from vaecore.runs import has_weights, run, weights_of

COMMAND = [sys.executable, "-m", "benchmarks.reproduce"]
PUBLISHED = {"m2": "M2", "m1m2": "M1+M2"}  # the names that the paper's table gives our rows
PUBLISHED_NATS = {"vae_nll": records.PUBLISHED_NATS["VAE"][1], "iwae50_nll": records.PUBLISHED_NATS["IWAE"][50]}


def in_order(runs: list[Experiment]) -> list[Experiment]:
    """The runs, each after the one it starts from, which is added unless its weights are there."""
    ordered: dict[str, Experiment] = {}

    def add(experiment: Experiment) -> None:
        start = experiment.start()
        if start is not None and not has_weights(start):
            add(start)
        ordered.setdefault(experiment.key(), experiment)

    for experiment in runs:
        add(experiment)
    return list(ordered.values())


def make_all(runs: list[Experiment], device: str, jobs: int) -> list[str]:
    """Make the runs, each in its own process after the one it starts from; return the commands of those that failed."""
    environment = os.environ | ({"OMP_NUM_THREADS": "1"} if jobs > 1 else {})
    futures: dict[str, Future] = {}

    def make(experiment: Experiment, first: Future | None) -> bool:
        if first is not None and not first.result():
            return False
        labels = ["--labels", str(experiment.labels)] if experiment.labels else []
        words = [experiment.name, *labels, "--draw", str(experiment.draw), "--device", device]
        words += ["--weights"] * records.path_of(experiment).exists()
        return subprocess.run([*COMMAND, *words], env=environment).returncode == 0

    with ThreadPoolExecutor(jobs) as pool:  # first in, first out: a run that waits, waits for one that has begun
        for experiment in runs:
            start = experiment.start()
            futures[experiment.key()] = pool.submit(make, experiment, futures.get(start.key()) if start else None)
    return [records.command(experiment) for experiment in runs if not futures[experiment.key()].result()]


def summary() -> list[dict]:
    """One entry for each row and number of labels of which there are records."""
    entries = []
    for name, row in EXPERIMENTS.items():
        for labels in records.LABELS if row.is_labelled and row.labels is None else [row.labels]:
            runs, stale = records.runs(name, labels), records.runs(name, labels, stale=True)
            if not runs + stale:
                continue
            result, published = records.result(name, labels), PUBLISHED_NATS.get(name)
            if name in PUBLISHED:
                published = records.PUBLISHED[PUBLISHED[name]][records.LABELS.index(labels)]
            entry = dict(row=name, labels=labels, runs=len(runs), stale=len(stale), published=published)
            entry |= dict(mean=result.mean if result else None, std=result.std if len(runs) > 1 else None)
            entries.append(entry | dict(commits=sorted({run["trained"]["commit"] for run in runs})))
    return entries


def summary_as_text() -> str:
    lines = []
    for entry in summary():
        published = "" if entry["published"] is None else f"published {entry['published']}"
        labels = "" if entry["labels"] is None else f"N={entry['labels']}"
        stale = f"and {entry['stale']} stale" if entry["stale"] and entry["runs"] else ""
        cell = records.cell(entry["row"], entry["labels"])
        lines.append(f"{entry['row']:20} {labels:7} {cell:24} {published} {stale}".rstrip())
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument(
        "row", nargs="?", choices=[*EXPERIMENTS, *TABLES], help="a row, or a table: all its missing runs"
    )
    parser.add_argument("--labels", type=int, choices=records.LABELS, help="by default 100, for a row that uses labels")
    parser.add_argument("--draw", type=int, default=0, help="the number of the label draw, also the run's seed")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--jobs", type=int, default=1, metavar="K", help="make K of a table's runs at a time")
    parser.add_argument(
        "--weights", action="store_true", help="train, if the weights are missing, even if the record is not"
    )
    parser.add_argument("--list", action="store_true", help="only print the runs that are missing, in order")
    parser.add_argument("--summary", action="store_true", help="print the results of the recorded runs")
    parser.add_argument("--json", action="store_true", help="the summary as JSON")
    args = parser.parse_args()
    keep_freed_memory()
    if args.summary:
        text = json.dumps(summary(), indent=1) if args.json else summary_as_text()
        print(text)
        return
    if args.row is None:
        parser.error("name a row or a table, or ask for --summary.")
    if args.jobs < 1:
        parser.error(f"--jobs must be at least 1; got {args.jobs}.")
    if args.row in TABLES:
        if args.labels or args.draw:
            parser.error(f"--labels and --draw are for a row; {args.row} is a table.")
        runs = runs_of(args.row)
    else:
        row = EXPERIMENTS[args.row]
        if args.labels and (row.labels is not None or not row.is_labelled):
            parser.error(f"--labels does not apply to {args.row}.")
        runs = [row.at(args.labels or 100, args.draw)]
    missing = in_order([experiment for experiment in runs if not records.path_of(experiment).exists()])
    if args.list:
        print("\n".join(records.command(experiment) for experiment in missing) or "nothing is missing")
    elif args.row in TABLES:
        if failed := make_all(missing, args.device, args.jobs):
            raise SystemExit("\n".join(["These runs failed; started again, they go on:", *failed]))
    elif args.weights:
        weights_of(runs[0], data.mnist(device=pick_device(args.device)))
    else:
        path = run(runs[0], args.device)
        print(f"{path.name}: {records.cell(args.row, runs[0].labels)}", flush=True)


if __name__ == "__main__":
    main()
