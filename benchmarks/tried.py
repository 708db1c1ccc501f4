"""What was tried for M2 and for M1+M2, on held-out digits: `python -m benchmarks.tried`.

Each trial changes something in a simpler M2 than that of the book's table, with a hundred labels, or in a narrower
M1+M2, with a thousand. The last 10,000 training digits are its test digits. It writes one file into vaecore/results,
which the page *The runs* shows; a trial whose file is there is not made again, and one that was stopped goes on.
`--draw 1` makes those of one draw of the labels only.
"""

import argparse
from dataclasses import replace

from vaecore import checkpoints, data, records, runs
from vaecore.devices import keep_freed_memory, pick_device
from vaecore.experiments import EXPERIMENTS, Experiment
from vaecore.splits import hold_out

DRAWS = (0, 1)
LABELS = {"m2": 100, "m1m2": 1000}
FROM = {
    "m2": replace(EXPERIMENTS["m2_short"], name="m2", bound="drawn_classes"),
    "m1m2": replace(EXPERIMENTS["m1m2"], sizes=EXPERIMENTS["m1m2_short"].sizes),
}
SIZES = {row: experiment.sizes for row, experiment in FROM.items()}
HELPFUL = dict(sizes=SIZES["m2"] | dict(d_z=50), faster={"classifier": 5.0, "columns": 4.0}, schedule="cooldown")
CHANGES = {
    "m2": {
        "nothing": {},
        "the full sum over the classes": dict(bound=None),
        "bits for all nets and as the target": dict(grey=None),
        "no teaching by the labels first": dict(init=None),
        "all nets at the same constant rate": dict(faster=None, rising=None),
        "q(y|x) at a tenth of the others' rate": dict(faster={"classifier": 0.1}, rising=None),
        "q(y|x) up to the others' rate": dict(faster=None),
        "a cosine schedule": dict(schedule="cosine"),
        "twice the learning rate": dict(lr=2e-3),
        "batches of 100": dict(batch_size=100),
        "label columns four times as fast": dict(faster={"classifier": 5.0, "columns": 4.0}),
        "a tenth of the weight of the labels": dict(alpha=0.1),
        "equal shares, weight 5": dict(equal_shares=5.0),
        "z of 50": dict(sizes=SIZES["m2"] | dict(d_z=50)),
        "a cooldown": dict(schedule="cooldown"),
        "label columns, z of 50, cooldown": HELPFUL,
        "label columns, z of 50, cooldown, twice the rate": HELPFUL | dict(lr=2e-3),
        "softplus": dict(sizes=SIZES["m2"] | dict(activation="softplus")),
    },
    "m1m2": {
        "nothing": {},
        "the full sum over the classes": dict(bound=None),
        "a cooldown": dict(schedule="cooldown"),
        "a third of the learning rate": dict(lr=1e-3),
        "a fifth of the weight of the labels": dict(alpha_per_label=2e-4),
        "five times the weight of the labels": dict(alpha_per_label=5e-3),
        "no equal shares": dict(equal_shares=None),
        "features of bits": dict(grey=None),
        "an M1 of 250 passes": dict(init="vae_nll"),
        "twice the passes": dict(epochs=160),
        "500 hidden units": dict(sizes=SIZES["m1m2"] | dict(hidden=(500,))),
        "1000 hidden units": dict(sizes=SIZES["m1m2"] | dict(hidden=(1000,))),
        "z of 50": dict(sizes=SIZES["m1m2"] | dict(d_z=50)),
        "softplus": dict(sizes=SIZES["m1m2"] | dict(activation="softplus")),
    },
}


def trial(row: str, change: str, draw: int) -> Experiment:
    return replace(FROM[row], **CHANGES[row][change]).at(LABELS[row], draw)


def make(row: str, change: str, draw: int, digits: data.Pictures) -> None:
    experiment = runs.on(trial(row, change, draw), digits)
    path = records.RESULTS / f"tried-{draw}-{experiment.key()}.json"
    if path.exists():
        return
    runs.train(experiment, digits)
    card = checkpoints.read(runs.checkpoint_of(experiment))[1]
    record = dict(change=change, draw=draw, data=digits.describe(), settings=experiment.settings())
    record |= dict(after_each_pass=[round(error, 2) for error in card["history"]["test"]])
    records.write(path, record | dict(trained=card["run"] | checkpoints.provenance()))
    print(f"{row}, {change}, draw {draw}: {record['after_each_pass'][-1]}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--draw", type=int, choices=DRAWS, help="by default both")
    parser.add_argument("--device", default="auto")
    args = parser.parse_args()
    keep_freed_memory()
    whole = data.mnist(device=pick_device(args.device))
    if not whole.is_full:
        parser.error("the whole of MNIST is needed: set VAECORE_DATA to it, or connect for the download.")
    digits = hold_out(whole)
    for row, changes in CHANGES.items():
        for change in changes:
            for draw in DRAWS if args.draw is None else (args.draw,):
                make(row, change, draw, digits)


if __name__ == "__main__":
    main()
