"""What is built in chapters 8 to 11, with the wrong answers that are known."""

import math
from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.distributions import Independent, Normal

from .base import Exercise, Finding, Wrong, a_type
from .chapters_5_to_7 import conditional_bound, conditional_nets, oracle_of_bound, wrong_conditional_bounds
from .shared import HALF, LOGARITHM, MINUS, WRONG_AXIS, draws, wrong_log_means, wrong_loops, wrong_sums

K = 10  # classes

# --- chapter 8 ------------------------------------------------------------------------------------------------------


def _labelled(seed: int) -> list[tuple]:
    normal = draws(seed)

    def one(d: int, z: int, classes: list[int], *high: float) -> tuple:
        b, nets = len(classes), conditional_nets(normal, d, z, K, high or (1, 1))
        return *nets, (normal(b, d) > 0).float(), torch.tensor(classes), 3 * normal(b, z)

    return [one(2, 1, [4]), one(7, 3, [0, 9, 3, 3, 7]), one(8, 2, [1, 0, 5], 3.5, 1.0), one(8, 2, [2, 8, 6], 0.05, 4.0)]


def _labelled_oracle(encoder: Callable, decoder: Callable, x: Tensor, y: Tensor, epsilon: Tensor) -> Tensor:
    return oracle_of_bound(encoder, decoder, x, torch.eye(K)[y], epsilon) - math.log(K)


def _of_classes(answer: Callable, log_p_y: float = -math.log(K), marks: Callable | None = None) -> Callable:
    """A bound of conditions in rows, as one of classes."""
    one_hot = marks or (lambda y: F.one_hot(y, K).float())
    return lambda encoder, decoder, x, y, epsilon: answer(encoder, decoder, x, one_hot(y), epsilon) + log_p_y


LOG_P_Y = "All ten classes are equally likely before x is seen: p(y) = 1/10."
LABELLED = Exercise(
    chapter=8,
    name="labelled_bound",
    tested="it bounds log p(x, y) with log p(y) in it, and agrees with torch.distributions, gradients too.",
    probes=_labelled,
    oracle=_labelled_oracle,
    shape="one bound for each picture, (B,)",
    gradients=("encoder", "decoder"),
    wrong=(
        *wrong_conditional_bounds(lambda *last, **parts: _of_classes(conditional_bound(*last, **parts)), "the class"),
        Wrong(
            _of_classes(conditional_bound(), 0.0),
            "It forgets log p(y), so it bounds log p(x|y) instead of log p(x, y).",
            LOG_P_Y,
        ),
        Wrong(
            _of_classes(conditional_bound(), math.log(K)),
            "It subtracts log p(y) where it should add it.",
            "The logarithm of a probability is below 0: a label costs nats.",
        ),
        Wrong(_of_classes(conditional_bound(), -2 * math.log(K)), "It counts log p(y) twice.", LOG_P_Y),
        Wrong(_of_classes(conditional_bound(), 1 / K), "It adds p(y), and its logarithm is needed.", LOG_P_Y),
        Wrong(
            _of_classes(conditional_bound(), -float(K)),
            "It subtracts the number of classes, and its logarithm is needed.",
            LOG_P_Y,
        ),
        Wrong(
            _of_classes(conditional_bound(), marks=lambda y: F.one_hot((y + 1) % K, K).float()),
            "Each class is marked one column too far to the right.",
            "Class 0 has the first of the ten columns.",
        ),
    ),
)


def labelled_bound_with(far: float, bias: Tensor) -> Callable:
    """The check's own bound B(x, y): smooth, another one for each class, and far from the first one's by `far`.

    It sees the order of columns, and says what it takes when it is given something else.
    """

    def labelled_bound(x: Tensor, y: Tensor, epsilon: Tensor) -> Tensor:
        if not isinstance(y, Tensor) or y.dtype != torch.int64 or y.ndim != 1:
            got = f"{y.dtype}, {tuple(y.shape)}" if isinstance(y, Tensor) else a_type(y)
            raise ValueError(f"labelled_bound takes classes y as int64, (B,), and got {got}")
        if not (len(x) == len(y) == len(epsilon)):
            sizes = f"{len(x)}, {len(y)} and {len(epsilon)}"
            raise ValueError(f"labelled_bound takes one row of x, y and epsilon for each picture, and got {sizes}")
        shift = torch.tensor([0.3, -0.5, 1.1, 0.2, -0.9])[y][:, None] + bias
        x, epsilon = (t * torch.linspace(1, 1.5, t.shape[1]) for t in (x, epsilon))
        return -((x - shift) ** 2).sum(-1) - 0.5 * ((epsilon + shift).cos() ** 2).sum(-1) - 3 - far * y

    labelled_bound.__qualname__ = "labelled_bound"
    vars(labelled_bound).update(bias=bias, with_bias=partial(labelled_bound_with, far))
    return labelled_bound


def _unlabelled(seed: int) -> list[tuple]:
    normal, near = draws(seed), labelled_bound_with(0.7, torch.zeros(()))

    def one(b: int, d: int, z: int, k: int) -> tuple:
        return near, normal(b, k).mul(1.5).log_softmax(-1), normal(b, d), normal(b, z)

    small = torch.tensor([[0.25, 0.75]]).log(), torch.tensor([[1.0]]), torch.tensor([[0.5]])
    sure = torch.tensor([[0.0, -6.0, -16.0, -16.0], [0.0, -11.0, -7.0, -17.0], [-6.0, 0.0, -18.0, -16.0]])
    far = labelled_bound_with(300.0, torch.zeros(())), sure.log_softmax(-1), normal(3, 2), normal(3, 2)
    return [(near, *small), one(5, 3, 2, 4), one(2, 4, 3, 5), far]


def _unlabelled_oracle(labelled_bound: Callable, log_q_y: Tensor, x: Tensor, epsilon: Tensor) -> Tensor:
    each = [labelled_bound(x, torch.tensor([k] * len(x)), epsilon) for k in range(log_q_y.shape[1])]
    q = log_q_y.exp()
    return torch.einsum("bk,kb->b", q, torch.stack(each)) + torch.special.entr(q).sum(1)


def _over_classes(last: Callable, noise: Callable = lambda epsilon: epsilon) -> Callable:
    """A bound from log q(y|x), (B, K), and B(x, y) of all classes, (B, K)."""

    def answer(labelled_bound, log_q_y, x, epsilon):
        classes = [torch.full((len(x),), k) for k in range(log_q_y.shape[1])]
        bounds = torch.stack([labelled_bound(x, y, noise(epsilon)) for y in classes], -1)
        return last(log_q_y, bounds)

    return answer


def _right(log_q: Tensor, bounds: Tensor) -> Tensor:
    return (log_q.exp() * (bounds - log_q)).sum(-1)


ENTROPY = "Without its entropy q(y|x) would put all its weight on one class."
UNLABELLED = Exercise(
    chapter=8,
    name="unlabelled_bound",
    tested="it is the exact sum over the classes plus the entropy of q(y|x), with one noise for all classes.",
    probes=_unlabelled,
    oracle=_unlabelled_oracle,
    shape="one bound for each picture, (B,)",
    gradients=("log_q_y", "labelled_bound"),
    normalised=("log_q_y",),
    wrong=(
        Wrong(
            _over_classes(lambda log_q, bounds: (log_q.exp() * bounds).sum(-1)),
            "It forgets the entropy of q(y|x).",
            ENTROPY,
        ),
        Wrong(
            _over_classes(lambda log_q, bounds: (log_q.exp() * (bounds + log_q)).sum(-1)),
            "It subtracts the entropy of q(y|x) where it should add it.",
            "Being unsure is worth something: which sign has log q(y|x)?",
        ),
        Wrong(
            _over_classes(lambda log_q, bounds: (log_q.exp() * bounds).sum(-1) - log_q.sum(-1)),
            "Its last term is the plain sum of -log q(y|x): the weights q(y|x) are missing there.",
            "An entropy is an average, too.",
        ),
        Wrong(
            _over_classes(lambda log_q, bounds: (log_q.exp() * bounds).sum(-1) + log_q.sum(-1)),
            "Its last term is the plain sum of log q(y|x), with the wrong sign and without weights.",
            "An entropy is an average of minus a logarithm.",
        ),
        Wrong(
            _over_classes(lambda log_q, bounds: (bounds - log_q).sum(-1)),
            "It counts all classes alike: the weights q(y|x) are missing.",
            "The bound is an average over draws of y from q(y|x).",
        ),
        Wrong(
            _over_classes(lambda log_q, bounds: (bounds - log_q).mean(-1)),
            "It takes the plain mean over the classes: the weights q(y|x) are missing.",
            "The bound is an average over draws of y from q(y|x).",
        ),
        Wrong(
            _over_classes(lambda log_q, bounds: (log_q * (bounds - log_q)).sum(-1)),
            "It weighs with log q(y|x) instead of with q(y|x).",
            "Weights add up to 1.",
        ),
        Wrong(
            _over_classes(lambda log_q, bounds: bounds.gather(-1, log_q.argmax(-1, keepdim=True))[:, 0]),
            "It takes the likeliest class alone.",
            "With few classes all can be added up, without any noise.",
        ),
        Wrong(
            _over_classes(lambda log_q, bounds: bounds.max(-1).values),
            "It takes the class whose bound is highest.",
            "The bound is an average over draws of y from q(y|x).",
        ),
        Wrong(
            _over_classes(lambda log_q, bounds: bounds.logsumexp(-1)),
            "It is the logsumexp of the bounds, which q(y|x) has no part in: nothing would teach the classifier.",
            "Write down the average over q(y|x) and its entropy.",
        ),
        Wrong(
            _over_classes(lambda log_q, bounds: (log_q + bounds).logsumexp(-1)),
            "It takes the logarithm of an average, and the bound is an average of logarithms.",
            "Jensen's inequality: on which side does the logarithm stand?",
        ),
        Wrong(
            _over_classes(lambda log_q, bounds: -_right(log_q, bounds)),
            "It has the sign of a loss: this is U(x), and the bound is -U(x).",
            MINUS,
        ),
        *wrong_sums(
            lambda last: _over_classes(lambda log_q, bounds: last(log_q.exp() * (bounds - log_q))),
            "classes",
            "Weights that add up to 1 make an average of a sum.",
        ),
        *wrong_loops(lambda last: _over_classes(lambda log_q, bounds: last(log_q.exp() * (bounds - log_q))), "classes"),
        Wrong(
            _over_classes(lambda log_q, bounds: (log_q.exp() * (bounds - 2 * log_q)).sum(-1)),
            "It counts the entropy of q(y|x) twice.",
            "Is it in the average, and added behind it as well?",
        ),
        Wrong(
            _over_classes(lambda log_q, bounds: _right(log_q, bounds) - math.log(log_q.shape[1])),
            "It adds log p(y) once more, and B(x, y) has it already.",
            "What does the labelled bound bound?",
        ),
        Wrong(
            _over_classes(_right, torch.randn_like),
            "It draws a noise for each class, and one epsilon is handed in for all of them.",
            "In the differences between classes, from which q(y|x) learns, a shared noise mostly cancels.",
        ),
        Wrong(
            _over_classes(_right, torch.zeros_like),
            "It does not use epsilon: each class is scored at the mean of q(z|x,y).",
            "Hand epsilon on to labelled_bound.",
        ),
        Wrong(
            _over_classes(lambda log_q, bounds: _right(log_q.detach(), bounds)),
            "Its numbers are right, but no gradient reaches q(y|x): the classifier would not learn.",
            "`.detach()` cuts the graph.",
        ),
        Wrong(
            _over_classes(lambda log_q, bounds: _right(log_q, bounds.detach())),
            "Its numbers are right, but no gradient reaches the bounds: encoder and decoder would not learn.",
            "`.detach()` cuts the graph.",
        ),
    ),
)

# --- chapter 9 ------------------------------------------------------------------------------------------------------


def _objectives(seed: int) -> list[tuple]:
    normal = draws(seed)
    return [
        (torch.tensor([-3.0]), torch.tensor([-1.0, -2.0]), torch.tensor([-0.5]), 2, 6, 0.1),
        (normal(4) + 5, normal(7) - 9, normal(4) - 3, 100, 900, 0.5),
        (normal(3) + 4, normal(2) + 5, normal(3) - 3, 30, 10, 2.0),
    ]


def _j(bounds_l: Tensor, bounds_u: Tensor, log_q: Tensor, n_labelled: int, n_unlabelled: int, alpha: float) -> Tensor:
    """One loss for each picture there is, then their mean: no weights, but repeats."""
    n, n_all = (n_labelled, n_unlabelled), n_labelled + n_unlabelled
    total = 0.0 * bounds_l[0]
    for bounds, of_kind in zip((bounds_l, bounds_u), n, strict=True):
        for one in bounds:
            total = total - one * (of_kind / len(bounds))
    for one in log_q:
        total = total - alpha * n_all / len(log_q) * one
    return total / n_all


def _objective(last: Callable) -> Callable:
    """From the means of the bounds and of log q, and all the rest."""
    return lambda b_l, b_u, log_q, n_l, n_u, alpha: last(b_l.mean(), b_u.mean(), log_q.mean(), n_l, n_u, alpha)


LARGER = "A batch's mean, times the number of such pictures, stands for their full sum."
OBJECTIVE = Exercise(
    chapter=9,
    name="objective",
    tested="each batch counts as many pictures as there are of its kind, and the gradients are right.",
    probes=_objectives,
    oracle=_j,
    shape="a single number",
    gradients=("bounds_l", "bounds_u", "log_q"),
    wrong=(
        Wrong(
            _objective(lambda b, u, q, n_l, n_u, a: (n_l * b + n_u * u) / (n_l + n_u) + a * q),
            "It has the sign of a bound, and this is a loss: lower is better.",
            "This is where the one minus sign stands.",
        ),
        Wrong(
            _objective(lambda b, u, q, n_l, n_u, a: -(n_l * b + n_u * u) / (n_l + n_u) + a * q),
            "It rewards the classifier for wrong answers: the sign of the alpha term is wrong.",
            "log q(y|x) should rise, and a loss should fall.",
        ),
        Wrong(
            _objective(lambda b, u, q, n_l, n_u, a: -(b + u) - a * q),
            "It counts both batches alike, as if there were as many pictures with labels as without.",
            LARGER,
        ),
        Wrong(
            _objective(lambda b, u, q, n_l, n_u, a: -(b + u) / 2 - a * q),
            "It takes the plain mean of the two batches, as if there were as many pictures with labels as without.",
            LARGER,
        ),
        Wrong(
            lambda b_l, b_u, log_q, n_l, n_u, a: -torch.cat([b_l, b_u]).mean() - a * log_q.mean(),
            "It averages over the two batches together, and their sizes say nothing about how many pictures there are.",
            LARGER,
        ),
        Wrong(
            _objective(lambda b, u, q, n_l, n_u, a: -(n_l * b + n_u * u) - a * (n_l + n_u) * q),
            "It is N times too large: the division by the number of pictures is missing.",
            "Nats per picture, so that a learning rate means the same for all data.",
        ),
        Wrong(
            _objective(lambda b, u, q, n_l, n_u, a: -(n_l * b + n_u * u) - a * q),
            "The bounds are not divided by the number of pictures, and next to them the alpha term counts for little.",
            "Nats per picture: divide the two sums by N.",
        ),
        Wrong(
            _objective(lambda b, u, q, n_l, n_u, a: -(n_l * b + n_u * u + a * n_l * q) / (n_l + n_u)),
            "Its alpha term is a sum over the labelled pictures divided by N, so few labels count for next to nothing.",
            "It is alpha times a mean over the labelled pictures.",
        ),
        Wrong(
            _objective(lambda b, u, q, n_l, n_u, a: -(n_l * b + n_u * u + a * q) / (n_l + n_u)),
            "It divides the alpha term by N as well.",
            "It is alpha times a mean over the labelled pictures.",
        ),
        Wrong(
            lambda b_l, b_u, log_q, n_l, n_u, a: -(b_l.sum() + b_u.sum()) - a * log_q.sum(),
            "It adds everything up, so a larger batch gives a larger loss.",
            LARGER,
        ),
        Wrong(
            _objective(lambda b, u, q, n_l, n_u, a: -(n_l * b + n_u * u) / (n_l + n_u)),
            "It forgets the alpha term: the classifier hears of the labels only through the bounds, that is never.",
            "B(x, y) has no gradient in q(y|x).",
        ),
        Wrong(
            _objective(lambda b, u, q, n_l, n_u, a: -(n_l * b + n_u * u) / (n_l + n_u) - q),
            "It does not use alpha.",
            "alpha weighs the last term.",
        ),
        Wrong(
            _objective(lambda b, u, q, n_l, n_u, a: -(n_u * b + n_l * u) / (n_l + n_u) - a * q),
            "The two numbers of pictures have changed places.",
            LARGER,
        ),
        Wrong(
            lambda b_l, b_u, log_q, n_l, n_u, a: -(b_l.sum() + b_u.sum()) / (n_l + n_u) - a * log_q.mean(),
            "It divides the sums of two batches by the number of all pictures.",
            LARGER,
        ),
        Wrong(
            lambda b_l, b_u, log_q, n_l, n_u, a: -(b_l.sum() + b_u.sum() + a * log_q.sum()) / (n_l + n_u),
            "It divides the sums of two batches by the number of all pictures, in the alpha term too.",
            LARGER,
        ),
        Wrong(
            _objective(lambda b, u, q, n_l, n_u, a: -(n_l * b + n_u * u) / (n_l + n_u) - a * (n_l + n_u) * q),
            "Its alpha term is N times too large, next to bounds that are divided by N.",
            "It is alpha times a mean over the labelled pictures.",
        ),
        Wrong(
            lambda b_l, b_u, log_q, n_l, n_u, a: -(n_l * b_l.sum() + n_u * b_u.sum()) / (n_l + n_u) - a * log_q.sum(),
            "It adds up each batch where it should average, so a larger batch gives a larger loss.",
            LARGER,
        ),
        Wrong(
            lambda b_l, b_u, log_q, n_l, n_u, a: -(n_l * b_l.mean() + n_u * b_u.mean()) / (n_l + n_u) - a * log_q.sum(),
            "Its alpha term is a sum over the labelled batch, and it should be a mean.",
            "It is alpha times a mean over the labelled pictures.",
        ),
        Wrong(
            _objective(lambda b, u, q, n_l, n_u, a: -a * (n_l * b + n_u * u) / (n_l + n_u) - q),
            "alpha weighs the bounds, and it should weigh the classifier's term.",
            "Which term do the labels teach q(y|x) through?",
        ),
        Wrong(
            _objective(lambda b, u, q, n_l, n_u, a: -u - a * q),
            "It leaves the labelled pictures' bounds out.",
            "The decoder may learn from pictures with a label as well.",
        ),
        Wrong(
            _objective(lambda b, u, q, n_l, n_u, a: -b - a * q),
            "It leaves the pictures without a label out.",
            "They are the point of it all.",
        ),
        Wrong(
            _objective(lambda b, u, q, n_l, n_u, a: -(n_l * b + n_u * u) / (n_l + n_u) - a * q.exp()),
            "Its alpha term has probabilities, and their logarithms are needed.",
            "log_q is a logarithm already.",
        ),
        Wrong(
            _objective(lambda b, u, q, n_l, n_u, a: -(n_l * b + n_u * u) / (n_l + n_u) - a * q.detach()),
            "Its number is right, but no gradient reaches log q(y|x): the classifier would not learn.",
            "`.detach()` cuts the graph.",
        ),
    ),
)


def _classes(seed: int) -> list[tuple]:
    generator = torch.Generator().manual_seed(seed)
    sizes = torch.tensor([30, 12, 20, 8, 15, 25, 10, 18, 9, 13])
    y = torch.arange(10).repeat_interleave(sizes)
    return [(y[torch.randperm(160, generator=generator)], 30, 3 + seed), (y, 20, 11)]


def _promises(y: Tensor, n_labelled: int, seed: int) -> Tensor:
    return torch.tensor([*8 * [1.0], 0.0, 0.0])


def _kept(answer: Callable, y: Tensor, n_labelled: int, seed: int) -> Tensor:
    """1 and how far the number of labels is off; then the share of label draws with equally many of each class; no row
    twice; no row on both sides; no row on neither; that come back with their seed; that differ from other seeds'; and
    of halves of a class with a row ever drawn.
    Then of those with the two sides exchanged, and of those that are each class's first rows.
    """

    def draw(seed: int, state: int = 0) -> tuple[Tensor, Tensor]:
        torch.default_generator.manual_seed(state)
        pair = answer(handed := y.clone(), n_labelled, seed)
        if not torch.equal(handed, y):
            raise Finding("in place", "It changes its argument y in place.", "Whoever calls it may need y again.")
        rows = isinstance(pair, tuple | list) and len(pair) == 2 and all(isinstance(part, Tensor) for part in pair)
        if not rows:
            hint = "Is the `return` missing?" if pair is None else "Rows with a label first, all others second."
            came = "None" if pair is None else a_type(pair)
            raise Finding("type", f"It returns {came}, and a pair of tensors is expected.", hint)
        for part in pair:
            if part.ndim != 1 or part.dtype != torch.int64:
                came = f"It returns {part.dtype} of shape {tuple(part.shape)}"
                said = f"{came}, and row numbers, int64 (n,), are expected."
                raise Finding("dtype", said, "`mask.nonzero()[:, 0]` makes row numbers of a mask.")
            if len(part) and not 0 <= int(part.min()) <= int(part.max()) < len(y):
                raise Finding("value", "It returns row numbers that y does not have.", "Rows count from 0.")
        return tuple(pair)  # type: ignore[return-value]

    seeds = range(seed, seed + 12)
    runs = [draw(s) for s in seeds]
    again = [draw(s, state=1) for s in seeds]
    per_class = n_labelled // int(y.max() + 1)
    all_rows = set(range(len(y)))
    first = set(_rows_of(y, lambda rows, n, generator: rows[:n], n_labelled, 0).tolist())

    drawn = set().union(*(labelled.tolist() for labelled, _ in runs))

    def share(marks: list) -> float:
        return sum(map(bool, marks)) / len(marks)

    counts = [y[labelled].bincount(minlength=int(y.max()) + 1) for labelled, _ in runs]
    parts = [(set(labelled.tolist()), set(rest.tolist())) for labelled, rest in runs]
    return torch.tensor(
        [
            1 + sum(abs(len(labelled) / n_labelled - 1) for labelled, _ in runs) / len(runs),
            share([(count == per_class).all() for count in counts]),
            share([len(set(labelled.tolist())) == len(labelled) for labelled, _ in runs]),
            share([not rows & others for rows, others in parts]),
            share([rows | others == all_rows for rows, others in parts]),
            share([set(a[0].tolist()) == set(b[0].tolist()) for a, b in zip(runs, again, strict=True)]),
            share([rows not in [before for before, _ in parts[:i]] for i, (rows, _) in enumerate(parts)]),
            share([drawn & set(half.tolist()) for c in y.unique() for half in (y == c).nonzero()[:, 0].chunk(2)]),
            share([len(rest) == n_labelled for _, rest in runs]),
            share([rows == first for rows, _ in parts]),
        ]
    )


BROKEN = (
    "Not every draw has n_labelled rows with a label.",
    "Not every draw has equally many of each class.",
    "Some rows are drawn twice.",
    "Some rows are in both parts.",
    "Some rows are in neither part.",
    "The same seed does not always give the same rows.",
    "Some different seeds give the same rows.",
    "Some rows are never drawn, whatever the seed.",
    "The two parts have changed places.",
    "It takes the first rows of each class.",
)


def _rows_of(y: Tensor, pick: Callable, n_labelled: int, seed: int) -> Tensor:
    """Row numbers picked class by class."""
    generator = torch.Generator().manual_seed(seed)
    per_class = n_labelled // int(y.max() + 1)
    rows = [(y == c).nonzero()[:, 0] for c in range(int(y.max()) + 1)]
    return torch.cat([pick(row, per_class, generator) for row in rows])


def _shuffled(rows: Tensor, n: int, generator: torch.Generator) -> Tensor:
    return rows[torch.randperm(len(rows), generator=generator)[:n]]


def _rest(y: Tensor, labelled: Tensor) -> Tensor:
    mask = torch.ones(len(y), dtype=torch.bool)
    mask[labelled] = False
    return mask.nonzero()[:, 0]


def _drawn(pick: Callable, rest: Callable = _rest, seed_of: Callable = lambda seed: seed) -> Callable:
    def answer(y, n_labelled, seed):
        labelled = _rows_of(y, pick, n_labelled, seed_of(seed))
        return labelled, rest(y, labelled)

    return answer


def _blind(y: Tensor, n_labelled: int, seed: int) -> tuple[Tensor, Tensor]:
    rows = torch.randperm(len(y), generator=torch.Generator().manual_seed(seed))
    return rows[:n_labelled], rows[n_labelled:]


LABEL_SPLIT = Exercise(
    chapter=9,
    name="label_split",
    tested="a dozen draws have equally many of each class, leave no row out, and come back with their seed.",
    probes=_classes,
    oracle=_promises,
    run=_kept,
    words=lambda i, value, wanted: BROKEN[i],
    tolerance=(0.01, 0.01),
    wrong=(
        Wrong(
            _blind,
            "It draws without looking at the classes, so some get more labels than others.",
            "Equally many of each class: draw class by class.",
        ),
        Wrong(
            _drawn(lambda rows, n, generator: rows[:n]),
            "It takes the first rows of each class, whatever the seed.",
            "`torch.randperm` shuffles; hand it a generator with the seed.",
        ),
        Wrong(
            _drawn(_shuffled, seed_of=lambda seed: 0),
            "It gives the same labels for every seed.",
            "The seed is the number of the draw: hand it to the generator.",
        ),
        Wrong(
            _drawn(lambda rows, n, generator: rows[torch.randperm(len(rows))[:n]]),
            "It does not use the seed: the same seed gives other labels the next time.",
            "A generator with `manual_seed(seed)` gives the same numbers every time.",
        ),
        Wrong(
            _drawn(_shuffled, rest=lambda y, labelled: torch.arange(len(y))),
            "The pictures with a label are among those without.",
            "The second part is what the first has left.",
        ),
        Wrong(
            _drawn(
                lambda rows, n, generator: _shuffled(rows, 2 * n, generator)[:n],
                rest=lambda y, labelled: _rest(y, labelled)[::2],
            ),
            "Some pictures are in neither part.",
            "The second part is all that the first has left.",
        ),
        Wrong(
            _drawn(lambda rows, n, generator: _shuffled(rows, 10 * n, generator)),
            "It draws n_labelled of each class, and n_labelled is the number of all labels.",
            "Divide by the number of classes.",
        ),
        Wrong(
            _drawn(lambda rows, n, generator: rows[torch.randint(len(rows), (n,), generator=generator)]),
            "Some rows are drawn twice.",
            "Draw without putting back, as `randperm` does.",
        ),
        Wrong(
            lambda y, n_labelled, seed: _drawn(_shuffled)(y, n_labelled, seed)[::-1],
            "The two parts have changed places.",
            "Rows with a label first, all others second.",
        ),
    ),
)

# --- chapter 10 -----------------------------------------------------------------------------------------------------


def _groups(seed: int) -> list[tuple]:
    normal = draws(seed)
    return [
        (torch.tensor([[-1.0], [-3.0], [-2.0], [-2.5]]), 2),
        (3 * normal(12, 5) - 4, 4),
        (5 * normal(6, 2) - 700, 3),
        (normal(5, 3), 1),
    ]


def _grouped(log_w: Tensor, k: int) -> Tensor:
    bounds = []
    for column in log_w.double().T:
        each = []
        for group in column.split(k):
            top = group[0]
            for weight in group[1:]:
                top = torch.logaddexp(top, weight)
            each.append(top - math.log(k))
        bounds.append(sum(each) / len(each))
    return torch.stack(bounds).to(log_w.dtype)  # type: ignore[arg-type]


def _in_groups(last: Callable) -> Callable:
    """From the log weights in groups, (S / k, k, B)."""
    return lambda log_w, k: last(log_w.reshape(-1, k, log_w.shape[1]), k)


IMPORTANCE_BOUND = Exercise(
    chapter=10,
    name="importance_bound",
    tested="it is the log of the mean weight of k draws, averaged over the groups, also where weights underflow.",
    probes=_groups,
    oracle=_grouped,
    shape="one bound for each picture, (B,)",
    gradients=("log_w",),
    wrong=(
        *wrong_log_means(lambda of: _in_groups(lambda w, k: of(w).mean(0)), "k"),
        Wrong(
            lambda log_w, k: log_w.logsumexp(0) - math.log(len(log_w)),
            "It takes the logarithm of the mean over all draws: k makes no difference.",
            "With S draws there are S / k groups of k; between groups, the bounds themselves are averaged.",
        ),
        Wrong(
            lambda log_w, k: log_w[:k].logsumexp(0) - math.log(k),
            "It uses the first k draws alone.",
            "With S draws there are S / k groups of k; average over them.",
        ),
        Wrong(
            _in_groups(lambda w, k: (w.logsumexp(1) - math.log(k)).sum(0)),
            "It adds the groups up where it should average them.",
            "Each group gives a bound by itself.",
        ),
        Wrong(
            lambda log_w, k: (log_w.reshape(k, -1, log_w.shape[1]).logsumexp(0) - math.log(k)).mean(0),
            "It groups draws that stand far apart, and k that follow one another make a group here.",
            "Which axis of the reshaped tensor runs fastest?",
        ),
        Wrong(
            _in_groups(lambda w, k: (w.logsumexp(1) - math.log(k)).mean()),
            "It averages over the pictures as well: one bound for each picture is asked for.",
            "The average over pictures is taken by whoever calls it.",
        ),
        Wrong(
            _in_groups(lambda w, k: (w.logsumexp(1) - math.log(k)).mean(1)),
            "It averages over the pictures, and the groups stay apart.",
            WRONG_AXIS,
        ),
        Wrong(
            _in_groups(lambda w, k: w.logsumexp(1) - math.log(k)),
            "It gives one bound for each group: their mean is missing.",
            "Each group gives a bound by itself; more groups make less noise.",
        ),
    ),
)


def _greys(seed: int) -> list[tuple]:
    generator = torch.Generator().manual_seed(seed)
    grey = torch.rand(4, 9, generator=generator)
    return [(torch.tensor([[0.25, 0.5]]),), (grey,), (torch.tensor([[0.0, 1.0, 0.1], [0.9, 1.0, 0.0]]),)]


def _entropy(grey: Tensor) -> Tensor:
    def one(p: float) -> float:
        return -sum(q * math.log(q) for q in (p, 1 - p) if q > 0)

    return torch.tensor([math.fsum(map(one, row)) for row in grey.double().tolist()])


def _bits(grey: Tensor) -> Tensor:
    """The entropy of each pixel."""
    return -(torch.xlogy(grey, grey) + torch.xlogy(1 - grey, 1 - grey))


BOTH_SIDES = "A bit has two outcomes, ink with probability g and paper with 1 - g."
BIT_ENTROPY = Exercise(
    chapter=10,
    name="bit_entropy",
    tested="it is the entropy of a picture's drawn bits, and 0 where every pixel is sure.",
    probes=_greys,
    oracle=_entropy,
    shape="one number for each picture, (B,)",
    wrong=(
        Wrong(
            lambda grey: -_bits(grey).sum(-1),
            "It has the wrong sign: the entropy of bits is never below 0.",
            "The logarithm of a probability is below 0.",
        ),
        Wrong(
            lambda grey: -torch.xlogy(grey, grey).sum(-1),
            "It counts the ink alone: the term of 1 - g is missing.",
            BOTH_SIDES,
        ),
        Wrong(
            lambda grey: -torch.xlogy(1 - grey, 1 - grey).sum(-1),
            "It counts the paper alone: the term of g is missing.",
            BOTH_SIDES,
        ),
        Wrong(
            lambda grey: _bits(grey).sum(-1) / math.log(2),
            "It is in bits, and the book counts in nats.",
            "Which logarithm has been taken?",
        ),
        Wrong(
            lambda grey: -(grey * grey.log() + (1 - grey) * (1 - grey).log()).sum(-1),
            "It gives nan where a pixel is 0 or 1: 0 times the logarithm of 0.",
            "What is sure has entropy 0; `torch.xlogy` knows.",
        ),
        *wrong_sums(lambda last: lambda grey: last(_bits(grey)), "pixels", "The entropies of independent bits add up."),
        Wrong(
            lambda grey: (grey * (1 - grey)).sum(-1),
            "It is the variance of the bits, not their entropy.",
            "An entropy is an average of minus a logarithm.",
        ),
        Wrong(
            lambda grey: -(torch.xlogy(grey, grey) + torch.xlogy(grey, 1 - grey)).sum(-1),
            "It weighs the logarithm of 1 - g with g.",
            BOTH_SIDES,
        ),
        Wrong(
            lambda grey: -((grey + 1e-2).log() * grey + (1 - grey + 1e-2).log() * (1 - grey)).sum(-1),
            "It adds a small number inside the logarithm, and it is not small enough.",
            "`torch.xlogy` needs no such number.",
        ),
    ),
)

# --- chapter 11 -----------------------------------------------------------------------------------------------------


def _photos(seed: int) -> list[tuple]:
    normal = draws(seed)
    return [
        (torch.tensor([[0.5, 0.0]]), torch.tensor(-1.0), torch.tensor([[1.0, 0.5]])),
        (normal(4, 6), torch.tensor(0.7), normal(4, 6)),
        (0.1 * normal(3, 5), torch.tensor(-4.0), 0.1 * normal(3, 5)),
        (normal(2, 4), torch.tensor(-6.0), normal(2, 4) + 2),
    ]


def _gaussian(mean: Tensor, log_var: Tensor, x: Tensor) -> Tensor:
    return Independent(Normal(mean, log_var.exp().sqrt().expand_as(mean)), 1).log_prob(x)


LOG_2PI = math.log(2 * math.pi)


def _density(pixel: Callable, last: Callable = lambda terms: terms.sum(-1)) -> Callable:
    """From the squared error of each pixel and log_var."""
    return lambda mean, log_var, x: last(pixel((x - mean) ** 2, log_var))


def _right_pixel(error: Tensor, log_var: Tensor) -> Tensor:
    return -0.5 * (LOG_2PI + log_var + error * torch.exp(-log_var))


EVERY_PIXEL = "Every pixel has its own factor 1 / (sigma sqrt(2 pi)), although all share one sigma."
GAUSSIAN = Exercise(
    chapter=11,
    name="gaussian_log_likelihood",
    tested="it agrees with torch.distributions, and so do its gradients in mean and log_var.",
    probes=_photos,
    oracle=_gaussian,
    shape="one number for each picture, (B,)",
    gradients=("mean", "log_var"),
    wrong=(
        Wrong(
            _density(lambda error, log_var: -0.5 * (log_var + error * torch.exp(-log_var))),
            "It forgets log 2 pi.",
            EVERY_PIXEL,
        ),
        Wrong(
            _density(lambda error, log_var: -0.5 * (math.log(6.28) + log_var + error * torch.exp(-log_var))),
            "It rounds pi to 3.14, and every pixel adds to the error.",
            "`math.pi` has all its digits.",
        ),
        Wrong(
            lambda mean, log_var, x: -0.5 * ((x - mean) ** 2 * torch.exp(-log_var)).sum(-1) - 0.5 * (LOG_2PI + log_var),
            "It counts log sigma and log 2 pi once, and every pixel has its own.",
            EVERY_PIXEL,
        ),
        Wrong(
            lambda mean, log_var, x: -0.5 * (LOG_2PI + (x - mean) ** 2 * torch.exp(-log_var)).sum(-1) - 0.5 * log_var,
            "It counts log sigma once, and every pixel has its own.",
            EVERY_PIXEL,
        ),
        Wrong(
            _density(lambda error, log_var: -0.5 * (LOG_2PI + error * torch.exp(-log_var))),
            "It forgets log sigma, so a wide sigma would cost nothing.",
            EVERY_PIXEL,
        ),
        Wrong(
            _density(lambda error, log_var: -0.5 * (LOG_2PI + 2 * log_var + error * torch.exp(-2 * log_var))),
            "It takes exp(log_var) for sigma.",
            LOGARITHM,
        ),
        Wrong(
            _density(lambda error, log_var: -0.5 * (LOG_2PI + log_var + error * torch.exp(-2 * log_var))),
            "It divides the squared error by the square of the variance.",
            LOGARITHM,
        ),
        Wrong(
            _density(lambda error, log_var: -0.5 * (LOG_2PI + log_var + error * torch.exp(-0.5 * log_var))),
            "It divides the squared error by sigma instead of by the variance.",
            "(x - mean) / sigma is squared as a whole.",
        ),
        Wrong(
            _density(lambda error, log_var: -0.5 * (LOG_2PI + log_var + error * torch.exp(log_var))),
            "It multiplies the squared error with the variance where it should divide.",
            "A wide sigma forgives a large error.",
        ),
        Wrong(
            _density(lambda error, log_var: -0.5 * (LOG_2PI + log_var) - error * torch.exp(-log_var)),
            "Its squared error has no factor 1/2.",
            HALF,
        ),
        Wrong(
            _density(lambda error, log_var: -0.5 * LOG_2PI - log_var - 0.5 * error * torch.exp(-log_var)),
            "It subtracts log sigma^2 where log sigma belongs.",
            "log sigma is half of log_var.",
        ),
        Wrong(
            _density(lambda error, log_var: -(LOG_2PI + log_var + error * torch.exp(-log_var))),
            "It is twice too much: the factor 1/2 is missing.",
            HALF,
        ),
        Wrong(
            _density(lambda error, log_var: -0.5 * (LOG_2PI - log_var + error * torch.exp(-log_var))),
            "The sign of log sigma is wrong.",
            "A density gets lower as it gets wider.",
        ),
        *wrong_sums(
            lambda last: _density(_right_pixel, last),
            "pixels",
            "Independent factors multiply, so their logarithms add up.",
        ),
        Wrong(
            _density(lambda error, log_var: -error + 0 * log_var),
            "It is minus the squared error alone: sigma is not used.",
            "A density has a height as well as a shape.",
        ),
        Wrong(
            _density(lambda error, log_var: -0.5 * error * torch.exp(-log_var)),
            "It is the exponent alone: the Gaussian's factor is missing.",
            EVERY_PIXEL,
        ),
    ),
)


def _drawings(seed: int) -> list[tuple]:
    generator = torch.Generator().manual_seed(seed)
    low, high = (torch.randint(*span, (3, 21), generator=generator) for span in ((0, 60), (170, 250)))
    ink = torch.rand(3, 21, generator=generator) < 0.25
    dark = torch.where(ink, low, high)
    light = torch.where(ink, high, low)
    small = torch.tensor(
        [[200, 210, 200, 50, 200], [10, 10, 160, 0, 10], [150, 250, 150, 120, 150], [100, 10, 100, 100, 130]]
    )
    blank = torch.full((1, 21), 200)
    return [(small.to(torch.uint8),), (dark.to(torch.uint8),), (torch.cat([light, dark[:1], blank]).to(torch.uint8),)]


def _cleaned(grey: Tensor) -> Tensor:
    rows = []
    for row in grey.tolist():
        paper = sorted(row)[(len(row) - 1) // 2]
        ink = max(min(row), max(row), key=lambda extreme: abs(extreme - paper))
        rows.append([min(1.0, max(0.0, (value - paper) / (ink - paper or 1))) for value in row])
    return torch.tensor(rows)


def _clean(grey: Tensor, paper: Callable, ink: Callable | None = None, clamp: bool = True) -> Tensor:
    """Paper to 0 and ink to 1, with this paper and ink."""
    x = grey.float()
    at = paper(x)
    low, high = _darkest(x), _lightest(x)
    end = ink(x, at) if ink else torch.where(at - low >= high - at, low, high)
    scaled = ((x - at) / (end - at)).nan_to_num(0)
    return scaled.clamp(0, 1) if clamp else scaled


def _darkest(x: Tensor, paper: Tensor | None = None) -> Tensor:
    return x.min(-1, keepdim=True).values


def _lightest(x: Tensor, paper: Tensor | None = None) -> Tensor:
    return x.max(-1, keepdim=True).values


def _median(x: Tensor) -> Tensor:
    return x.median(-1, keepdim=True).values


def _darker_half(x: Tensor, paper: Tensor) -> Tensor:
    return torch.where(paper > 128, _darkest(x), _lightest(x))


def _in_bytes(grey: Tensor) -> Tensor:
    paper, low, high = _median(grey), _darkest(grey), _lightest(grey)
    ink = torch.where(paper - low >= high - paper, low, high)
    return ((grey - paper) / (ink - paper)).clamp(0, 1).nan_to_num(0)


PAPER = "Most of a drawing is paper: its median is paper, whatever the ink."
PAPER_AND_INK = Exercise(
    chapter=11,
    name="paper_and_ink",
    tested="paper is 0 and ink is 1, for dark ink and for light ink, each picture by itself.",
    probes=_drawings,
    oracle=_cleaned,
    shape="one number for each pixel, (B, D)",
    wrong=(
        Wrong(
            lambda grey: grey.float() / 255,
            "It only divides by 255: dark ink on light paper stays the wrong way round.",
            "First find out which is paper.",
        ),
        Wrong(_in_bytes, "It works in bytes, where a difference below 0 starts again at 255.", "Make floats first."),
        Wrong(
            lambda grey: _clean(grey, _median, _darker_half),
            "It decides by the paper alone whether the ink is dark or light.",
            "Which of the two extremes is farther away from the paper?",
        ),
        Wrong(
            lambda grey: 1 - grey.float() / 255,
            "It turns every picture round, also one with light ink.",
            "First find out which is paper.",
        ),
        Wrong(
            lambda grey: _clean(grey, _lightest, _darkest),
            "It takes the lightest pixel for paper, also where the ink is light.",
            PAPER,
        ),
        Wrong(
            lambda grey: _clean(grey, _darkest, _lightest),
            "It takes the darkest pixel for paper, and in a scan that is the ink.",
            PAPER,
        ),
        Wrong(
            lambda grey: _clean(grey, _median, _darkest),
            "It takes the darkest pixel for ink, also where the ink is light.",
            "Ink is the extreme that lies farther from paper.",
        ),
        Wrong(
            lambda grey: _clean(grey, _median, _lightest),
            "It takes the lightest pixel for ink, also where the ink is dark.",
            "Ink is the extreme that lies farther from paper.",
        ),
        Wrong(
            lambda grey: _clean(grey, lambda x: x.mean(-1, keepdim=True)),
            "It takes the mean for paper, and the ink has pulled it away.",
            PAPER,
        ),
        Wrong(
            lambda grey: _clean(grey, lambda x: x.median().expand(len(x), 1)),
            "It takes one paper for all pictures of the batch.",
            "Each scan has its own light: work row by row.",
        ),
        Wrong(
            lambda grey: _clean(grey, _median, clamp=False),
            "Pixels beyond paper or ink get numbers outside [0, 1], which are no probabilities.",
            "Cut what is left over at 0 and at 1.",
        ),
        Wrong(
            lambda grey: (grey - grey.min()).float() / (grey.max() - grey.min()),
            "It stretches the batch from its darkest to its lightest pixel, and does not ask which is paper.",
            PAPER,
        ),
        Wrong(
            lambda grey: 1 - _clean(grey, _median),
            "Paper is 1 and ink is 0: the wrong way round.",
            "The decoder's logits are those of ink.",
        ),
        Wrong(
            lambda grey: 255 * _clean(grey, _median),
            "It gives numbers up to 255, and probabilities are asked for.",
            "Ink is 1.",
        ),
        Wrong(
            lambda grey: _clean(grey, _median).round(),
            "It rounds every pixel to paper or ink, and the grey rim between them is lost.",
            "Grey is a probability of ink; the bits are drawn later.",
        ),
        Wrong(
            lambda grey: ((grey - grey.median(-1, keepdim=True).values).float() / 255).clamp(0, 1),
            "It subtracts bytes, and a byte below 0 starts again at 255.",
            "Make floats of them before anything is subtracted.",
        ),
        Wrong(
            lambda grey: ((grey.float() - _median(grey.float())).abs() / 255).clamp(0, 1),
            "It divides by 255 instead of by the distance from paper to ink, so faint ink stays faint.",
            "The ink of each picture is to become 1.",
        ),
        Wrong(
            lambda grey: (
                (grey.float() - _median(grey.float())).abs()
                / (grey.float() - _median(grey.float())).abs().max(-1, keepdim=True).values
            ),
            "It takes the distance from paper on either side, so specks that are paler than paper become ink.",
            "What lies on the other side of paper than the ink is paper.",
        ),
    ),
)
EXERCISES = (LABELLED, UNLABELLED, OBJECTIVE, LABEL_SPLIT, IMPORTANCE_BOUND, BIT_ENTROPY, GAUSSIAN, PAPER_AND_INK)
