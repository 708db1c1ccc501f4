"""The papers' results, one command a run: `python -m benchmarks.reproduce m2 --labels 100 --draw 0 --device auto`.

`python -m benchmarks.reproduce ablation` (or `table1`) makes every run of that table that is missing; `--summary`
prints what there is beside the published figures. A run writes one JSON file into benchmarks/results; one that was
killed goes on from its last epoch, kept in benchmarks/state. `--jobs 4` makes four of a table's runs at a time, a
thread each; and under torchrun the processes share one run's batches.
"""

import argparse
import contextlib
import copy
import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F
from filelock import FileLock  # comes with torch
from torch import Tensor, nn

from vaecore import checkpoints, data, evaluate, records
from vaecore.distributions import Gaussian
from vaecore.m2 import M1M2, M2, semi_supervised_loss
from vaecore.pretrained import (
    fit_semi_supervised,
    on_bits,
    pretrained,
    regressor_loss,
    seen,
    some_rows,
    split_bits,
    vae_loss,
)
from vaecore.splits import label_split
from vaecore.train import fit, pick_device
from vaecore.vae import VAE, Regressor

PYTHON = [sys.executable]
STATE = Path(__file__).parent / "state"
N_SAMPLES = dict(evidence=5000, conditional=500)
PUBLISHED = {"m2": "M2", "m1m2": "M1+M2"}  # the names that the paper's table gives our rows
PUBLISHED_NATS = {"vae_nll": records.PUBLISHED_NATS["VAE"][1], "iwae50_nll": records.PUBLISHED_NATS["IWAE"][50]}


class LikelyClasses(M2):
    """M2 whose bound for an image without a label leaves out the classes to which q(y|x) gives less than a thousandth.

    It is the bound for a q(y|x) that gives them nothing: once q is sure of most images, a fraction of the work.
    """

    def unlabelled_bound(self, x: Tensor) -> Tensor:
        log_q_y = self.log_q_y(x)
        likely = log_q_y > math.log(1e-3)
        rows, y = likely.nonzero(as_tuple=True)
        log_q_y = log_q_y.masked_fill(~likely, -1e4).log_softmax(-1)  # exp gives 0, and 0 times it is 0
        bounds = torch.zeros_like(log_q_y).index_put((rows, y), self._bound(x[rows], y))
        return (log_q_y.exp() * (bounds - log_q_y)).sum(-1)


class NoEntropy(M2):
    """M2 whose bound for an image without a label lacks the entropy of q(y|x)."""

    def unlabelled_bound(self, x: Tensor) -> Tensor:
        return (self.log_q_y(x).T.exp() * self._bound(x, y=None)).sum(0)


class SampledY(M2):
    """M2 that draws one class for an image without a label, where it should add up over all."""

    def unlabelled_bound(self, x: Tensor) -> Tensor:
        log_q_y = self.log_q_y(x)
        y = torch.distributions.Categorical(logits=log_q_y).sample()
        return self._bound(x, y) - (log_q_y.exp() * log_q_y).sum(-1)


def semi_supervised(model: M2 | M1M2, digits: data.Digits, labels: int, draw: int, **how) -> None:
    fit_semi_supervised(model, digits, labels, draw, seed=draw, **how)


def classifier_only(model: M2 | M1M2, digits: data.Digits, labels: int, draw: int, **how) -> None:
    """Trains q(y|x) on the labelled images alone."""
    labelled, _ = label_split(digits.y_train, labels, seed=draw)

    def loss(images: Tensor, y: Tensor) -> Tensor:
        m2, x = seen(model, images)
        return F.nll_loss(m2.log_q_y(x), y)

    fit(getattr(model, "m2", model), loss, digits.x_train[labelled], digits.y_train[labelled], seed=draw, **how)


def apart(
    model: M2 | M1M2, digits: data.Digits, labels: int, draw: int, *, alpha: float, epochs: int, batch_size: int, **how
) -> None:
    """J and the classifier take turns, a step each, as in the code of the source's [3]."""
    labelled, unlabelled = label_split(digits.y_train, labels, seed=draw)
    x_l, y_l = digits.x_train[labelled], digits.y_train[labelled]
    counts = dict(n_labelled=labels, n_unlabelled=len(unlabelled))
    turns = torch.zeros((), dtype=torch.int64, device=x_l.device)

    def loss(images: Tensor) -> Tensor:
        some = some_rows(x_l)
        (m2, x), y = seen(model, x_l[some]), y_l[some]
        if turns.add_(1) % 2 == 0:
            return alpha * F.nll_loss(m2.log_q_y(x), y)
        return semi_supervised_loss(m2, x, y, seen(model, images)[1], alpha=0.0, **counts)

    steps = -(-len(unlabelled) // batch_size)
    assert steps % 2 == 0, "an epoch must have an even number of steps, so that a resumed run keeps its turn"
    how |= dict(epochs=2 * epochs, batch_size=batch_size, seed=draw)
    fit(getattr(model, "m2", model), loss, digits.x_train[unlabelled], **how)


def on_stored_features(
    model: M1M2, digits: data.Digits, labels: int, draw: int, *, views: int, alpha_per_label: float, **how
) -> None:
    """As in_equal_shares, with M1's q(z1|x) stored for some draws, or views, of each image's bits: M1 stays as it is.

    alpha grows with the number of labels, so that each label weighs as much, however many there are.
    """
    with torch.no_grad(), evaluate.seeded(0, digits.x_train.device):
        seen_as = [model.features(data.binarize(digits.x_train)) for _ in range(views)]
    q_z1 = torch.stack([torch.cat([view.mu, view.log_var], dim=-1) for view in seen_as], dim=1)  # (N, views, 2 A)

    def drawn(stored: Tensor) -> Tensor:
        """A draw of z1 from one of the views of each image, (B, A)."""
        view = torch.rand(stored.shape[:2], device=stored.device).argmax(1)
        chosen = stored.gather(1, view[:, None, None].expand(-1, 1, stored.shape[2]))[:, 0]
        return Gaussian(*chosen.chunk(2, dim=-1)).rsample()

    in_equal_shares(model.m2, q_z1, drawn, digits, labels, draw, alpha=alpha_per_label * labels, **how)


def on_drawn_bits(
    model: M2, digits: data.Digits, labels: int, draw: int, *, held: int, epochs: int, checkpoint: Path, **how
) -> None:
    """As in_equal_shares, on the images' bits, twice; q(y|x) starts as that of M1+M2 with the same labels.

    The first time, for `held` epochs, it stays as it is: the other nets know nothing yet, and would lead it astray.
    """
    model.classifier = classifier_of(trained("m1m2", digits, labels, draw)).to(digits.x_train.device)
    stages = (held, False, checkpoint.with_suffix(".held.safetensors")), (epochs, True, checkpoint)
    for passes, learns, path in stages:
        model.classifier.requires_grad_(learns)
        how |= dict(epochs=passes, checkpoint=path)
        in_equal_shares(model, digits.x_train, data.binarize, digits, labels, draw, **how)


def classifier_of(stack: M1M2) -> nn.Sequential:
    """The q(y|x) of M1+M2 as one net, from images to classes: M1's layers up to the mean of z1, then M2's.

    M1's last layer and M2's first are both linear, and become one.
    """
    with torch.no_grad():
        mean, first = stack.m1.encoder[-1], stack.m2.classifier[0]  # the rows of the means come before the variances
        joined = nn.Linear(mean.in_features, first.out_features)
        joined.weight.copy_(first.weight @ mean.weight[stack.active])
        joined.bias.copy_(first.weight @ mean.bias[stack.active] + first.bias)
    return nn.Sequential(*copy.deepcopy(stack.m1.encoder[:-1]), joined, *copy.deepcopy(stack.m2.classifier[1:]))


def in_equal_shares(
    model: M2,
    stored: Tensor,
    drawn: Callable[[Tensor], Tensor],
    digits: data.Digits,
    labels: int,
    draw: int,
    *,
    alpha: float,
    weight: float,
    **how,
) -> None:
    """As semi_supervised, on what is `drawn` of rows of `stored` (N, ...), with `weight` times the imbalance added.

    Of a perfect model the mean of q(y|x) over the images is p(y), so that the imbalance of a large batch is about 0.
    """
    labelled, unlabelled = label_split(digits.y_train, labels, seed=draw)
    x_l, y_l = stored[labelled], digits.y_train[labelled]
    counts = dict(n_labelled=labels, n_unlabelled=len(unlabelled))

    def loss(rows: Tensor) -> Tensor:
        some, x_u = some_rows(x_l), drawn(rows)
        j = semi_supervised_loss(model, drawn(x_l[some]), y_l[some], x_u, alpha=alpha, **counts)
        return j + weight * imbalance(model, x_u)

    fit(model, loss, stored[unlabelled], seed=draw, **how)


def imbalance(model: M2, x: Tensor) -> Tensor:
    """The KL, in nats, of a batch's mean q(y|x) from the uniform p(y): 0 where all classes come out equally often."""
    q_y = model.log_q_y(x).exp().mean(0)
    return (q_y * torch.log(q_y * model.n_classes)).sum()


def on_pixels(kind: type[M2]) -> Callable[[data.Digits], M2]:
    """Makes an M2 of this kind for images of bits, untrained, save that q(y|x) starts as the encoder of vae_nll.

    It has that encoder's two hidden layers, and only its last layer is new. The other nets have one, with ReLU, and the
    decoder begins with the mean image.
    """

    def make(digits: data.Digits) -> M2:
        encoder = trained("vae_nll", digits, None, 0).encoder
        model = at_mean_image(kind(activation="relu"), digits)
        model.classifier = copy.deepcopy(encoder[:-1]).append(nn.Linear(encoder[-1].in_features, model.n_classes))
        return model

    return make


def on_features(kind: type[M2]) -> Callable[[data.Digits], M1M2]:
    """Makes the M1 that travels along, with an untrained M2 of this kind on the latents that it uses."""

    def make(digits: data.Digits) -> M1M2:
        stack = pretrained("m1m2", digits)
        stack.m2 = kind(**stack.m2.config)
        return stack

    return make


def trained(name: str, digits: data.Digits, labels: int | None, draw: int) -> nn.Module:
    """The trained model of this run; at once, where its weights are in STATE since other rows go on from them.

    Of several runs at a time that need them the first trains it. torchrun's processes train it together.
    """
    row, path = ROWS[name], state(name, labels, draw)
    with evaluate.seeded(draw, digits.x_train.device):
        model = row.make(digits).to(digits.x_train.device)
    STATE.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{path}.lock") if row.keep and "RANK" not in os.environ else contextlib.nullcontext():
        tensors, card = checkpoints.read(path) if row.keep and path.exists() else ({}, None)
        if card and len(card["history"]["loss"]) == row.how["epochs"] and row.how.items() <= card["fit"].items():
            checkpoints.load_weights(getattr(model, "m2", model), tensors, path)  # wherever they were trained
        else:
            row.train(model, digits, labels, draw, checkpoint=path, **row.how)
    return model


def state(name: str, labels: int | None, draw: int) -> Path:
    """Where a run keeps its weights; what else it keeps has the same name, up to the suffix."""
    return STATE / f"{records.stem(name, labels, draw)}.safetensors"


def on_trained_vae(digits: data.Digits) -> M1M2:
    """An untrained M2, smaller than the paper's, on an M1 trained for long."""
    m1 = trained("vae_nll", digits, None, 0)
    with evaluate.seeded(0, digits.x_train.device):
        active = evaluate.active_units(m1, data.binarize(digits.x_train))
    m2 = LikelyClasses(d_x=int(active.sum()), d_z=8, hidden=(300,), likelihood="gaussian", activation="relu")
    return M1M2(m1, m2, active)


def at_mean_image(model: VAE | M2, digits: data.Digits) -> VAE | M2:
    """The model, whose decoder now begins, up to the noise of its weights, with the mean image."""
    mean = (digits.x_train.float().mean(0).cpu() / 255).clamp(0.001, 0.999)
    with torch.no_grad():
        getattr(model.decoder, "rest", model.decoder)[-1].bias.copy_(mean.logit())
    return model


def without_labels(
    model: VAE | Regressor,
    digits: data.Digits,
    labels: None,
    draw: int,
    loss: Callable[..., Tensor] = vae_loss,
    given: str = "",
    **how,
) -> None:
    """Trains on the bits of all images; where pixels are `given`, to predict the others from them."""
    of_images = on_bits(loss, given)
    fit(model, lambda images: of_images(model, images), digits.x_train, seed=draw, **how)


def iwae_loss(model: VAE, x: Tensor, k: int = 50, n: int = 5) -> Tensor:
    """Minus the bound of k draws, with a gradient by n of them, which is the exact one on average.

    The gradient of the bound adds up those of the log weights, each by its share of the weights, so that draws picked
    by their shares need no factor. The encoder's is taken at fixed q, times the share once more: the same on average,
    and it scatters less. arXiv:1810.04152.
    """
    q = model.encode(x)
    at_fixed_q = Gaussian(q.mu.detach(), q.log_var.detach())
    with torch.no_grad():
        epsilon = torch.randn(k, *q.mu.shape, device=x.device)
        z = at_fixed_q.mu + at_fixed_q.sigma * epsilon
        log_w = torch.cat([log_weights(model, at_fixed_q, some, x) for some in z.split(10)])  # (K, B)
        bound = (log_w.logsumexp(0) - math.log(k)).mean()
        shares = log_w.softmax(0)
        picked = torch.multinomial(shares.nan_to_num(1 / k).T, n, replacement=True).T  # (n, B); fit tells of the nan
        share = shares.gather(0, picked)[..., None]
        epsilon = epsilon.gather(0, picked[..., None].expand(-1, -1, epsilon.shape[-1]))
    torch.clear_autocast_cache()  # an older torch would use the weights' copies, made without a gradient, again
    z = q.mu + q.sigma * epsilon
    z = z.detach() + share * (z - z.detach())  # the same numbers, with `share` times their gradient
    loss = -log_weights(model, at_fixed_q, z, x).mean()
    return loss - loss.detach() - bound


def log_weights(model: VAE, q: Gaussian, z: Tensor, x: Tensor) -> Tensor:
    """log p(x,z)/q(z|x) of draws z of shape (K, B, Z), (K, B)."""
    prior = Gaussian.standard(z.shape[-1], device=z.device)
    return model.decode(z).log_prob(x) + prior.log_prob(z) - q.log_prob(z)


def error(model: M2 | M1M2, digits: data.Digits) -> float:
    return 100 * evaluate.classification_error(model, test_bits(digits), digits.y_test)


def error_on_grey(model: M2 | M1M2, digits: data.Digits) -> float:
    """Of the images as they are: each pixel is the mean of the bits that are drawn of it in training."""
    return 100 * evaluate.classification_error(model, digits.x_test / 255, digits.y_test)


def test_elbo(model: VAE, digits: data.Digits) -> float:
    return evaluate.elbo(model, test_bits(digits)).mean().item()


def nll(model: VAE, digits: data.Digits) -> float:
    return -evaluate.log_evidence(model, test_bits(digits), n_samples=N_SAMPLES["evidence"]).mean().item()


def conditional_nll(model: VAE | Regressor, digits: data.Digits) -> float:
    """Of the other columns' bits, given the middle column's: exact for a regressor, else by draws of z."""
    with evaluate.seeded(0, digits.x_test.device):
        x, y = split_bits(digits.x_test, "column")
    if isinstance(model, Regressor):
        with torch.no_grad():
            return -model.log_likelihood(x, y).mean().item()
    return -evaluate.log_evidence(model, x, y, n_samples=N_SAMPLES["conditional"]).mean().item()


def test_bits(digits: data.Digits) -> Tensor:
    with evaluate.seeded(0, digits.x_test.device):
        return data.binarize(digits.x_test)


@dataclass(frozen=True)
class Row:
    """How a row's model is made, trained and measured on the test images; `labelled` rows see some of the labels."""

    make: Callable[[data.Digits], nn.Module]
    train: Callable[..., None]
    how: dict
    measure: Callable[[nn.Module, data.Digits], float] = error
    unit: str = "test error in per cent"
    labelled: bool = True
    keep: bool = False  # the trained weights, in STATE: other rows go on from them

    def settings(self) -> dict:
        """What a record says of the training: `how`, and what `train` is given besides; of a function, its name."""
        given = getattr(self.train, "keywords", {})
        return self.how | {name: getattr(value, "__name__", value) for name, value in given.items()}


M1M2_HOW = dict(epochs=120, batch_size=200, lr=3e-3, precision="fp32", faster={"columns": 4.0})
DOERSCH_NETS = dict(hidden=(1000, 500, 250), activation="relu")
M2_HOW = dict(epochs=8, batch_size=200, lr=1e-3, precision="bf16", faster={"columns": 10.0})
SHORT = dict(epochs=40, batch_size=500, precision="bf16")  # so that the ablation takes an afternoon on two CPU cores
ALONE = dict(epochs=1000, batch_size=100, precision="fp32", lr=1e-3)  # for 100 labels one step an epoch
ROWS = {}
for base, make, whole, alpha, short, alone in (
    ("m2", on_pixels, LikelyClasses, 1.0, M2_HOW | dict(epochs=6), "m2_classifier"),
    ("m1m2", on_features, M2, 0.1, SHORT, "m1_classifier"),
):
    both = partial(semi_supervised, alpha=alpha)
    ROWS |= {
        f"{base}_short": Row(make(whole), both, short),
        f"{base}_no_entropy": Row(make(NoEntropy), both, short),
        f"{base}_no_alpha": Row(make(whole), partial(semi_supervised, alpha=0.0), short),
        f"{base}_sampled_y": Row(make(SampledY), both, short),
        f"{base}_apart": Row(make(whole), partial(apart, alpha=alpha), short),
        alone: Row(make(M2), classifier_only, ALONE),
    }
M2_TRAINED = partial(on_drawn_bits, held=8, alpha=1.0, weight=20.0)
M1M2_TRAINED = partial(on_stored_features, views=6, alpha_per_label=0.001, weight=5.0)
ROWS["m2"] = Row(on_pixels(LikelyClasses), M2_TRAINED, M2_HOW, measure=error_on_grey)
ROWS["m1m2"] = Row(on_trained_vae, M1M2_TRAINED, M1M2_HOW, measure=error_on_grey, keep=True)
for precision in ("fp32", "bf16"):
    ROWS[f"m1_{precision}"] = Row(
        lambda digits: VAE(d_z=50, hidden=(500, 500)),
        without_labels,
        dict(epochs=15, precision=precision),
        measure=test_elbo,
        unit="test ELBO in nats",
        labelled=False,
    )
for name, make, loss in (
    ("doersch_cvae", lambda digits: VAE(d_x=756, d_z=30, d_y=28, **DOERSCH_NETS), vae_loss),
    ("doersch_regressor", lambda digits: Regressor(d_x=756, d_y=28, **DOERSCH_NETS), regressor_loss),
):
    ROWS[name] = Row(
        make,
        partial(without_labels, loss=loss, given="column"),
        dict(epochs=60, batch_size=100, lr=1e-3, precision="bf16"),
        measure=conditional_nll,
        unit="-log p(x|y) in nats",
        labelled=False,
    )
for name, make, loss, how in (
    ("vae_nll", lambda digits: at_mean_image(VAE(d_z=50, hidden=(500, 500)), digits), vae_loss, dict(epochs=250)),
    ("iwae50_nll", lambda digits: trained("vae_nll", digits, None, 0), iwae_loss, dict(epochs=45, lr=1e-3)),
):
    ROWS[name] = Row(
        make,
        partial(without_labels, loss=loss),
        how | dict(precision="bf16"),
        measure=nll,
        unit="-log p(x) in nats",
        labelled=False,
        keep=name == "vae_nll",
    )
DRAWS = {100: 5, 600: 3, 1000: 3, 3000: 3}
ABLATION = ("short", "no_entropy", "no_alpha", "sampled_y", "apart")
TABLES = {
    "table1": [(row, n, draw) for row in ("m1m2", "m2", "m1_classifier") for n in DRAWS for draw in range(DRAWS[n])],
    "ablation": [
        (row, 100, draw)
        for draw in range(3)
        for base, alone in (("m1m2", "m1_classifier"), ("m2", "m2_classifier"))
        for row in [f"{base}_{part}" for part in ABLATION] + [alone]
    ],
    "likelihood": [(row, None, 0) for row in ("vae_nll", "iwae50_nll", "doersch_cvae", "doersch_regressor")],
    "precision": [(row, None, draw) for draw in range(5) for row in ("m1_fp32", "m1_bf16")],
}


def command(name: str, labels: int | None, draw: int, device: str) -> list[str]:
    """The words behind `python` that make this run."""
    with_labels = [] if labels is None else ["--labels", str(labels)]
    return ["-m", "benchmarks.reproduce", name, *with_labels, "--draw", str(draw), "--device", device]


def result_path(name: str, labels: int | None, draw: int) -> Path:
    """Where a run's record is written."""
    return records.RESULTS / f"{records.stem(name, labels, draw)}.json"


def run(name: str, labels: int | None, draw: int, device: str) -> Path:
    """Make one run and write its record; the path of the record, or of the one that is there already."""
    path = result_path(name, labels, draw)
    if path.exists():
        return path
    row, start = ROWS[name], time.perf_counter()
    digits = data.mnist(device=pick_device(device))
    if not digits.is_full:
        raise SystemExit("the whole of MNIST is needed; set VAECORE_DATA to it, or connect for the download.")
    model = trained(name, digits, labels, draw)
    if int(os.environ.get("RANK", 0)) > 0:  # one of several processes; the first writes
        return path
    parts = sorted(STATE.glob(f"{path.stem}.*safetensors"))
    seconds = sum(sum(checkpoints.read(part)[1]["history"]["seconds"]) for part in parts)
    card = checkpoints.read(state(name, labels, draw))[1]  # it was trained by that commit, which need not be this one
    made_by = {key: card[key] for key in checkpoints.provenance()}
    value = row.measure(model, digits)
    record = dict(row=name, labels=labels, draw=draw, seed=draw, value=value, unit=row.unit)
    record |= dict(command=" ".join(["python", *command(name, labels, draw, device)]))
    record |= dict(device=str(digits.x_train.device), threads=torch.get_num_threads(), data=str(digits))
    record |= dict(seconds=round(seconds), settings=row.settings()) | made_by
    records.write(path, record)
    for part in parts:
        if not row.keep:
            part.unlink()
    print(f"{path.name}: {value:.2f} ({row.unit}), {time.perf_counter() - start:.0f} s", flush=True)
    return path


def run_all(jobs: list[tuple[str, int | None, int]], device: str, at_a_time: int) -> list[str]:
    """Make these runs, each in a process of its own; one that fails stops no other. The commands of those that did."""
    environment = os.environ | ({"OMP_NUM_THREADS": "1"} if at_a_time > 1 else {})

    def one(job: tuple[str, int | None, int]) -> str:
        words = command(*job, device)
        failed = subprocess.run([*PYTHON, *words], env=environment).returncode
        return " ".join(["python", *words]) if failed else ""

    with ThreadPoolExecutor(at_a_time) as pool:
        return [failed for failed in pool.map(one, jobs) if failed]


def summary() -> list[dict]:
    """One entry for each row and number of labels of which there are runs."""
    entries = []
    for name in ROWS:
        for labels in records.LABELS if ROWS[name].labelled else [None]:
            runs, result = records.runs(name, labels), records.result(name, labels)
            if result is None:
                continue
            published = PUBLISHED_NATS.get(name)
            if name in PUBLISHED:
                published = records.PUBLISHED[PUBLISHED[name]][records.LABELS.index(labels)]
            std = result.std if result.n > 1 else None  # JSON has no nan
            entry = dict(row=name, labels=labels, runs=result.n, mean=result.mean, std=std, published=published)
            entries.append(entry | dict(commits=sorted({r["commit"] for r in runs})))
    return entries


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("row", nargs="?", choices=[*ROWS, *TABLES], help="a row, or a table: all its missing runs")
    parser.add_argument("--labels", type=int, choices=records.LABELS, default=100)
    parser.add_argument("--draw", type=int, default=0, help="the number of the label draw, also the run's seed")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--jobs", type=int, default=1, metavar="K", help="make K of a table's runs at a time")
    parser.add_argument("--summary", action="store_true", help="print what the recorded runs came to")
    parser.add_argument("--json", action="store_true", help="the summary as JSON")
    args = parser.parse_args()
    if args.json and args.summary:
        json.dump(summary(), sys.stdout, indent=1)
        print()
    elif args.summary:
        for entry in summary():
            published = "" if entry["published"] is None else f"published {entry['published']}"
            labels = "" if entry["labels"] is None else f"N={entry['labels']}"
            print(f"{entry['row']:20} {labels:7} {records.cell(entry['row'], entry['labels']):24} {published}")
    elif args.row is None:
        parser.error("name a row or a table, or ask for --summary.")
    elif args.jobs < 1:
        parser.error(f"--jobs must be at least 1; got {args.jobs}.")
    elif args.row in TABLES:
        missing = [job for job in TABLES[args.row] if not result_path(*job).exists()]
        failed = run_all(missing, args.device, args.jobs)
        if failed:
            raise SystemExit("\n".join(["These runs failed; started again, they go on:", *failed]))
    else:
        run(args.row, args.labels if ROWS[args.row].labelled else None, args.draw, args.device)


if __name__ == "__main__":
    main()
