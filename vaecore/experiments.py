"""Every experiment of the book in one table: models whose weights are bundled, and rows of the papers' tables."""

import hashlib
import inspect
import json
from dataclasses import asdict, dataclass, replace
from typing import Any

from .m2 import M2
from .vae import VAE, Regressor

CLASSES = dict(VAE=VAE, Regressor=Regressor, M2=M2, M1M2=M2)  # whose sizes an experiment gives


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """Everything that decides a result. What is None is not used.

    The keys of other experiments do not change when a new setting is added here with None as its default.
    """

    name: str
    model: str  #: "VAE", "Regressor", "M2", or "M1M2", of which the M2 is trained
    sizes: dict  #: what the model's class is given; of an M1M2, its M2
    init: str | None = None  #: the experiment whose weights it starts from; see objectives.build
    mean_image: bool | None = None  #: the decoder's last bias starts as the mean image

    objective: str = "vae"  #: "vae", "autoencoder", "regressor", "iwae", "classifier", "semi_supervised", "in_turn"
    given: str | None = None  #: the pixels that a conditional model is given, as in splits.pixel_split
    k: int | None = None  #: draws of the importance-weighted bound
    n: int | None = None  #: draws of those k that carry its gradient
    bound: str | None = None  #: the bound without labels: "drawn_classes", "without_entropy", "sampled_class"
    labelled_batch: int | None = None  #: labelled images in each step, at most
    alpha: float | None = None  #: weight of the classification term
    alpha_per_label: float | None = None  #: the same, for each label
    equal_shares: float | None = None  #: weight of the class imbalance
    grey: bool | None = None  #: M2 learns from grey images, or features of them, not bits; on pixels q(y|x) sees bits

    epochs: int
    batch_size: int = 128
    lr: float = 2e-3
    schedule: str = "cosine"
    precision: str = "fp32"
    faster: dict | None = None  #: multiples of lr, as in train.fit
    rising: dict | None = None  #: how they rise, as in train.fit

    measure: str  #: see runs.MEASURES
    data: str = "MNIST"
    labels: int | None = None  #: how many of the training images have labels
    draw: int = 0  #: the number of the label draw, and the seed

    def at(self, labels: int | None = None, draw: int = 0) -> "Experiment":
        """The same with another draw and, if it uses labels without a fixed number, that many."""
        labels = labels if self.is_labelled and self.labels is None else self.labels
        return replace(self, labels=None if labels is None else int(labels), draw=int(draw))

    @property
    def is_labelled(self) -> bool:
        return self.objective in ("classifier", "semi_supervised", "in_turn")

    def start(self) -> "Experiment | None":
        """The experiment it starts from, with this one's sizes where all weights are taken over.

        With this one's labels and draw, too, if its number of labels is not fixed.
        """
        if self.init is None:
            return None
        first = replace(EXPERIMENTS[self.init], data=self.data)
        if self.model != "M1M2":  # which takes over its M1 alone
            first = replace(first, sizes=self.sizes)
        return first.at(self.labels, self.draw) if first.is_labelled and first.labels is None else first

    def settings(self) -> dict:
        """All that is used, as JSON has it, with the sizes that the model's class has by default.

        Not with those arguments that can only be named: no experiment here has them.
        """
        parameters = inspect.signature(CLASSES[self.model]).parameters.values()
        defaults = {p.name: p.default for p in parameters if p.default is not p.empty and p.kind is not p.KEYWORD_ONLY}
        if self.model == "M1M2":
            del defaults["d_x"]  # the number of active latents
        whole = json.loads(json.dumps(asdict(self) | dict(sizes=defaults | self.sizes)))
        return {name: value for name, value in whole.items() if value is not None}

    def key(self) -> str:
        """A hash of the settings, and of those of the experiment it starts from."""
        start = self.start()
        text = json.dumps([self.settings(), start.key() if start else ""], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def stem(self) -> str:
        """The name of its files, with the key at the end."""
        labels = "" if self.labels is None else f"-{self.labels}"
        return f"{self.name}{labels}-{self.draw}-{self.key()}"


Part = dict[str, Any]  # settings that several experiments share

M1: Part = dict(model="VAE", sizes=dict(d_z=50, hidden=(500, 500)))
VAE_2D: Part = dict(model="VAE", sizes=dict(d_z=2, hidden=(256, 256)))
PIXELS: Part = dict(model="M2", sizes=dict(d_z=20, hidden=(500,), activation="relu"), mean_image=True)
FEATURES: Part = dict(model="M1M2", sizes=dict(d_z=50, hidden=(300,), likelihood="gaussian"))
STACK: Part = dict(model="M1M2", init="m1m2-book")  # of which the M1 is taken over
STACK |= dict(sizes=dict(d_z=8, hidden=(300,), likelihood="gaussian", activation="relu"))
NETS: Part = dict(hidden=(200, 200))
DOERSCH_NETS: Part = dict(d_x=756, d_y=28, hidden=(1000, 500, 250), activation="relu")

# so many labels that y and z show what they stand for
MANY_LABELS: Part = dict(alpha=10.0, labels=10_000, epochs=60, batch_size=500, precision="bf16")
DOERSCH_HOW: Part = dict(epochs=60, batch_size=100, lr=1e-3, precision="bf16")

SEMI: Part = dict(objective="semi_supervised", labelled_batch=100)
IN_TURN: Part = dict(objective="in_turn", labelled_batch=100)
REGRESSOR: Part = dict(objective="regressor")
LOSS: Part = dict(measure="test loss")
LOG_X: Part = dict(measure="-log p(x) by 5000 draws")
LOG_X_Y: Part = dict(measure="-log p(x|y) by 500 draws")
ELBO: Part = dict(measure="test ELBO")

ERROR: Part = dict(measure="test error")
ALONE: Part = ERROR | dict(objective="classifier", batch_size=100, lr=1e-3)  # for 100 labels one step an epoch
# q(y|x) hears from the pictures late: at first M2 would lead it away from what the labels have taught it
M2_ROW: Part = PIXELS | ERROR | dict(init="m2_classifier", grey=True, batch_size=200, lr=1e-3, schedule="constant")
M2_ROW |= dict(faster={"classifier": 5.0}, rising={"classifier": 2.0}, precision="bf16")
# the best of benchmarks.tried
M2_BEST: Part = M2_ROW | dict(sizes=PIXELS["sizes"] | dict(d_z=50), lr=2e-3, schedule="cooldown")
M2_BEST |= dict(faster={"classifier": 5.0, "columns": 4.0})
STACK_ROW: Part = STACK | ERROR | dict(grey=True, batch_size=200, lr=3e-3, faster={"columns": 4.0})
STACK_WIDE: Part = STACK_ROW | dict(sizes=STACK["sizes"] | dict(hidden=(500,)))

# fmt: off
TABLE = (
    # the models whose weights are bundled
    Experiment(name="m1-2d", **VAE_2D, epochs=60, **LOSS),
    Experiment(name="autoencoder-2d", **VAE_2D, objective="autoencoder", epochs=60, **LOSS),
    Experiment(name="cvae-column", model="VAE", sizes=dict(d_x=756, d_z=20, d_y=28, **NETS),
               given="column", epochs=60, **LOSS),
    Experiment(name="cvae-left", model="VAE", sizes=dict(d_x=392, d_z=20, d_y=392, **NETS),
               given="left", epochs=60, **LOSS),
    Experiment(name="cvae-upper-left", model="VAE", sizes=dict(d_x=588, d_z=20, d_y=196, **NETS),
               given="upper left", epochs=60, **LOSS),
    Experiment(name="regressor-column", model="Regressor", sizes=dict(d_x=756, d_y=28, **NETS),
               **REGRESSOR, given="column", epochs=60, **LOSS),
    Experiment(name="regressor-left", model="Regressor", sizes=dict(d_x=392, d_y=392, **NETS),
               **REGRESSOR, given="left", epochs=60, **LOSS),
    Experiment(name="regressor-upper-left", model="Regressor", sizes=dict(d_x=588, d_y=196, **NETS),
               **REGRESSOR, given="upper left", epochs=60, **LOSS),
    Experiment(name="m2-book", model="M2", sizes=dict(d_z=10, hidden=(256,)), **SEMI, **MANY_LABELS, **LOSS),
    Experiment(name="m2-2d", model="M2", sizes=dict(d_z=2, hidden=(256,)), **SEMI, **MANY_LABELS, **LOSS),
    Experiment(name="m1m2-book", **FEATURES, init="m1-book", **SEMI, alpha=0.1, labels=100,
               epochs=200, batch_size=500, precision="bf16", **LOSS),
    Experiment(name="m1-book", **M1, epochs=75, precision="bf16", **LOSS),  # bundled as the M1 of m1m2-book

    # table 1 of arXiv:1406.5298
    Experiment(name="m2", **M2_BEST, **SEMI, alpha=1.0, bound="drawn_classes", epochs=60),
    Experiment(name="m1m2", **STACK_WIDE, **SEMI, alpha_per_label=0.001, equal_shares=5.0, bound="drawn_classes",
               epochs=80),
    Experiment(name="m2_classifier", **PIXELS, **ALONE, epochs=300),
    Experiment(name="m1_classifier", **STACK, **ALONE, grey=True, epochs=1000),

    # what each term of M2's objective does, on pixels and on the features of an M1
    Experiment(name="m2_short", **M2_ROW, **SEMI, alpha=1.0, epochs=30),
    Experiment(name="m2_no_entropy", **M2_ROW, **SEMI, alpha=1.0, bound="without_entropy", epochs=30),
    Experiment(name="m2_no_alpha", **M2_ROW, **SEMI, alpha=0.0, epochs=30),
    Experiment(name="m2_sampled_y", **M2_ROW, **SEMI, alpha=1.0, bound="sampled_class", epochs=30),
    Experiment(name="m2_in_turn", **M2_ROW, **IN_TURN, alpha=1.0, epochs=60),
    Experiment(name="m1m2_short", **STACK_ROW, **SEMI, alpha=0.1, epochs=40),
    Experiment(name="m1m2_no_entropy", **STACK_ROW, **SEMI, alpha=0.1, bound="without_entropy", epochs=40),
    Experiment(name="m1m2_no_alpha", **STACK_ROW, **SEMI, alpha=0.0, epochs=40),
    Experiment(name="m1m2_sampled_y", **STACK_ROW, **SEMI, alpha=0.1, bound="sampled_class", epochs=40),
    Experiment(name="m1m2_in_turn", **STACK_ROW, **IN_TURN, alpha=0.1, epochs=80),

    # likelihoods: arXiv:1509.00519, arXiv:1606.05908
    Experiment(name="vae_nll", **M1, mean_image=True, epochs=250, precision="bf16", **LOG_X),
    Experiment(name="iwae50_nll", **M1, init="vae_nll", objective="iwae", k=50, n=5,
               epochs=45, lr=1e-3, precision="bf16", **LOG_X),
    Experiment(name="doersch_cvae", model="VAE", sizes=dict(d_z=30, **DOERSCH_NETS), given="column",
               **DOERSCH_HOW, **LOG_X_Y),
    Experiment(name="doersch_regressor", model="Regressor", sizes=DOERSCH_NETS, **REGRESSOR, given="column",
               **DOERSCH_HOW, **LOG_X_Y),

    # does the rounding of bf16 hurt?
    Experiment(name="m1_fp32", **M1, epochs=15, **ELBO),
    Experiment(name="m1_bf16", **M1, epochs=15, precision="bf16", **ELBO),
)
# fmt: on
EXPERIMENTS = {experiment.name: experiment for experiment in TABLE}
OF_THE_BOOK = tuple(
    experiment.name for experiment in TABLE if experiment.measure == "test loss" and experiment.name != "m1-book"
)

DRAWS = {100: 5, 600: 3, 1000: 3, 3000: 3}  # how many draws of so many labels
ABLATION = ("short", "no_entropy", "no_alpha", "sampled_y", "in_turn", "classifier")
TABLES = {  # the rows of each of the book's tables, with the numbers of labels and of draws
    "table1": [
        (name, n, draws) for name in ("m1m2", "m2", "m1_classifier", "m2_classifier") for n, draws in DRAWS.items()
    ],
    "ablation": [(f"m2_{part}", 100, 3) for part in ABLATION]
    + [(f"m1m2_{part}" if part != "classifier" else "m1_classifier", 100, 3) for part in ABLATION],
    "likelihood": [(name, None, 1) for name in ("vae_nll", "iwae50_nll", "doersch_cvae", "doersch_regressor")],
    "precision": [("m1_fp32", None, 5), ("m1_bf16", None, 5)],
}


def runs_of(table: str) -> list[Experiment]:
    """Every run of a table of the book."""
    return [EXPERIMENTS[name].at(labels, draw) for name, labels, draws in TABLES[table] for draw in range(draws)]
