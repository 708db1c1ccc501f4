"""What is built in chapters 5 to 7, with the wrong answers that are known."""

import copy
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.distributions import Bernoulli, Independent

from .base import Exercise, Wrong, a_type
from .shared import (
    BERNOULLI,
    PIXELS,
    REDUCTION,
    bound,
    draws,
    elbo_by_distributions,
    log_p_minus_kl,
    log_p_terms,
    wrong_batches,
    wrong_draws,
    wrong_scores,
    wrong_sums,
    wrong_terms,
    wrong_when_sure,
)

# --- chapter 5 ------------------------------------------------------------------------------------------------------


def _means(seed: int) -> list[tuple]:
    normal = draws(seed)
    spread = torch.tensor([1.0, 0.05, 0.3, 0.02, 0.5, 0.001, 0.06])
    shift = torch.tensor([0.0, 0.0, 0.5, 1.0, 0.005, -0.3, 0.3])
    more = normal(11, 7)
    return [
        (torch.tensor([[1.0, 0.5], [-1.0, 0.5]]), 0.01),
        ((more - more.mean(0)) / more.std(0) * spread + shift, 0.01),
        (normal(30, 4) * torch.tensor([0.1, 0.9, 2.0, 0.4]), 0.25),
        (normal(41, 5) * torch.tensor([0.3, 1.0, 4.0, 0.1, 9.0]) + torch.tensor([0.0, 6.0, 0.0, 0.0, 1.0]), 5.0),
    ]


def _active(means: Tensor, threshold: float) -> Tensor:
    columns = means.double().T.tolist()
    middles = [sum(column) / len(column) for column in columns]
    spreads = [
        sum((a - m) ** 2 for a in column) / (len(column) - 1) for column, m in zip(columns, middles, strict=True)
    ]
    return torch.tensor([variance > threshold for variance in spreads])


ACTIVE_UNITS = Exercise(
    chapter=5,
    name="active_units",
    tested="a latent is active where the variance of q's mean over the pictures is above the threshold.",
    probes=_means,
    oracle=_active,
    shape="one bool for each latent, (Z,)",
    wrong=(
        Wrong(
            lambda means, threshold: means.std(0) > threshold,
            "It compares the standard deviation with the threshold, which is one for the variance.",
            "At a threshold of 0.01 that is a factor of 10.",
        ),
        Wrong(
            lambda means, threshold: means.mean(0).abs() > threshold,
            "It asks whether the average mean is far from 0, and an idle latent may have any mean.",
            "What does a latent do that tells one picture from another?",
        ),
        Wrong(
            lambda means, threshold: means.abs().mean(0) > threshold,
            "It averages the size of the means, so a latent that is always 1 passes for active.",
            "A variance is measured from the mean.",
        ),
        Wrong(
            lambda means, threshold: (means**2).mean(0) > threshold,
            "It takes the mean square, so a latent that is always 1 passes for active.",
            "A variance is measured from the mean.",
        ),
        Wrong(
            lambda means, threshold: means.var(0) < threshold,
            "It is upside down: these are the idle ones.",
            "An idle latent has the same mean for every picture.",
        ),
        Wrong(
            lambda means, threshold: means.var(1) > threshold,
            "It takes the variance over the latents of a picture, and each latent's over the pictures is asked for.",
            "The result has one entry for each column.",
        ),
        Wrong(
            lambda means, threshold: means.var() > threshold,
            "It takes one variance of all numbers together.",
            "The result has one entry for each column.",
        ),
        Wrong(
            lambda means, threshold: means.var(0),
            "It returns the variances themselves, and whether each is above the threshold is asked for.",
            "Compare them; the result is a tensor of bools.",
        ),
        Wrong(
            lambda means, threshold: (means.var(0) > threshold).nonzero()[:, 0],
            "It returns the numbers of the active latents, and a bool for each latent is asked for.",
            "A comparison gives bools by itself.",
        ),
        Wrong(
            lambda means, threshold: (means.var(0) > threshold).float(),
            "It returns 0s and 1s as floats, and bools are asked for.",
            "A comparison gives bools by itself.",
        ),
        Wrong(
            lambda means, threshold: (means.var(0) > threshold).sum(),
            "It counts the active latents, and a bool for each latent is asked for.",
            "Whoever calls it can add them up.",
        ),
        Wrong(
            lambda means, threshold: (means.abs() > threshold).any(0),
            "It asks whether any single mean is far from 0.",
            "What does a latent do that tells one picture from another?",
        ),
        Wrong(
            lambda means, threshold: means.var(0) > 0,
            "It does not use the threshold.",
            "An idle latent still wavers a little.",
        ),
    ),
)


def _walks(seed: int) -> list[tuple]:
    normal = draws(seed)
    return [
        (torch.tensor([0.0, 2.0]), torch.tensor([1.0, -2.0]), 3),
        (normal(5), normal(5), 4),
        (normal(3), normal(3), 2),
        (normal(1), normal(1), 7),
    ]


def _walk(start: Tensor, end: Tensor, n: int) -> Tensor:
    return torch.stack([(start * (n - 1 - i) + end * i) / (n - 1) for i in range(n)])


def _along(share: Callable[[int], Tensor]) -> Callable:
    """A walk with these shares of the way."""
    return lambda start, end, n: start + share(n)[:, None] * (end - start)


BOTH_ENDS = "With three steps the shares of the way are 0, 1/2 and 1."
WALK = Exercise(
    chapter=5,
    name="walk",
    tested="it goes in equal steps from the first code to the second, both included.",
    probes=_walks,
    oracle=_walk,
    shape="one code for each step, (n, Z)",
    gradients=("start", "end"),
    wrong=(
        Wrong(_along(lambda n: torch.arange(n) / n), "It stops one step before the end.", BOTH_ENDS),
        Wrong(_along(lambda n: torch.arange(1, n + 1) / n), "It leaves the start out.", BOTH_ENDS),
        Wrong(_along(lambda n: torch.arange(1, n + 1) / (n + 1)), "It leaves both ends out.", BOTH_ENDS),
        Wrong(
            _along(lambda n: torch.linspace(1, 0, n)),
            "It walks backwards, from the end to the start.",
            "What is the share of the end in the first code?",
        ),
        Wrong(
            _along(lambda n: torch.linspace(0, 1, n + 1)),
            "It takes n steps, which are n + 1 codes.",
            "Count the posts of the fence, not the gaps.",
        ),
        Wrong(
            lambda start, end, n: _along(lambda n: torch.linspace(0, 1, n))(start, end, n).T,
            "Its rows are latents and its columns steps.",
            "The decoder takes rows of codes, (n, Z).",
        ),
        Wrong(
            lambda start, end, n: torch.linspace(0, 1, n)[:, None] * (end - start),
            "It starts at 0: the start has not been added.",
            "These are the distances from the start.",
        ),
        Wrong(
            lambda start, end, n: start + torch.linspace(0, 1, n)[:, None] * end,
            "It adds shares of the end to the whole start.",
            "As the one comes in, the other must go out.",
        ),
        Wrong(
            lambda start, end, n: ((start + end) / 2).expand(n, -1),
            "All its codes are the one halfway.",
            "The share of the end grows from 0 to 1.",
        ),
        Wrong(
            _along(lambda n: (torch.arange(n) >= n / 2).float()),
            "It jumps: no code lies between the two ends.",
            "The share of the end grows from 0 to 1 in equal steps.",
        ),
    ),
)

# --- chapter 6 ------------------------------------------------------------------------------------------------------


def _with_classes(seed: int) -> list[tuple]:
    normal = draws(seed)
    return [
        (torch.tensor([[0.5], [0.25]]), torch.tensor([2, 0]), 3),
        (normal(6, 4), torch.tensor([1, 0, 4, 2, 2, 3]), 5),
        (normal(1, 2), torch.tensor([7]), 10),
        (normal(3, 2), torch.tensor([0, 1, 0]), 4),
    ]


def _joined(x: Tensor, y: Tensor, n_classes: int) -> Tensor:
    classes = [[float(k == c) for k in range(n_classes)] for c in y.tolist()]
    return torch.tensor([[*row, *marks] for row, marks in zip(x.tolist(), classes, strict=True)])


JOIN = Exercise(
    chapter=6,
    name="join",
    tested="behind each row stand as many columns as there are classes, with a single 1 in that of its class.",
    probes=_with_classes,
    oracle=_joined,
    shape="(B, D + K)",
    wrong=(
        Wrong(
            lambda x, y, n_classes: torch.cat([x, y[:, None].to(x)], -1),
            "It appends the class's number as one column, as if class 4 were twice class 2.",
            "Give each class a column of its own.",
        ),
        Wrong(
            lambda x, y, n_classes: torch.cat([x, y[:, None].to(x) / n_classes], -1),
            "It appends the class's number, scaled, as one column, as if classes had an order.",
            "Give each class a column of its own.",
        ),
        Wrong(
            lambda x, y, n_classes: torch.cat([F.one_hot(y, n_classes).to(x), x], -1),
            "The class stands before x, and behind it is asked for.",
            "In which order does `torch.cat` put its list?",
        ),
        Wrong(
            lambda x, y, n_classes: torch.cat([x, F.one_hot(y).to(x)], -1),
            "It makes as many columns as there are classes in this batch.",
            "A batch without the last class must have the same width.",
        ),
        Wrong(
            lambda x, y, n_classes: torch.cat([x, F.one_hot(n_classes - 1 - y, n_classes).to(x)], -1),
            "It counts the classes from the end.",
            "Class 0 has the first of the new columns.",
        ),
        Wrong(
            lambda x, y, n_classes: torch.cat([x, F.one_hot((y + 1) % n_classes, n_classes).to(x)], -1),
            "Each 1 stands one column too far to the right.",
            "Class 0 has the first of the new columns.",
        ),
        Wrong(
            lambda x, y, n_classes: torch.cat([x, F.one_hot((y - 1) % n_classes, n_classes).to(x)], -1),
            "Each 1 stands one column too far to the left: the classes count from 0.",
            "Class 0 has the first of the new columns.",
        ),
        Wrong(
            lambda x, y, n_classes: F.pad(x, (0, n_classes)).scatter(1, x.shape[1] + y[:, None] - 1, 1.0),
            "Each 1 stands one column too far to the left, that of class 0 in x itself.",
            "Class 0 has the first of the new columns.",
        ),
        Wrong(
            lambda x, y, n_classes: F.pad(x, (0, n_classes)).scatter(1, y[:, None], 1.0),
            "It writes each 1 into x: the new columns begin behind x.",
            "How many columns come before the first of the new ones?",
        ),
        Wrong(
            lambda x, y, n_classes: torch.cat([x, 1 - F.one_hot(y, n_classes).to(x)], -1),
            "Its 0s and 1s are the wrong way round.",
            "One-hot: one column is hot.",
        ),
        Wrong(
            lambda x, y, n_classes: F.one_hot(y, n_classes).to(x),
            "It returns the classes alone: x is missing.",
            "`torch.cat` puts the two side by side.",
        ),
        Wrong(
            lambda x, y, n_classes: torch.cat([x, torch.zeros(len(x), n_classes)], -1),
            "Its new columns are all 0: no class is marked.",
            "`F.one_hot` makes the marks.",
        ),
        Wrong(
            lambda x, y, n_classes: torch.cat([x, x.new_ones(len(x), n_classes)], -1),
            "Its new columns are all 1: every class is marked.",
            "`F.one_hot` makes the marks.",
        ),
    ),
)


class Net:
    """A fixed, smooth net of rows, of numbers up to 2 * high, which says what it takes when given something else."""

    def __init__(self, name: str, takes: str, d_in: int, d_out: int, normal: Callable, wide: float = 1.0, high=1.0):
        self.name, self.takes, self.high = name, takes, high
        self.weight, self.bias = normal(d_in, d_out) * wide, normal(d_out)

    def with_bias(self, bias: Tensor) -> "Net":
        other = copy.copy(self)
        other.bias = bias
        return other

    def __call__(self, *inputs: Tensor) -> Tensor:
        if len(inputs) != 1:
            raise ValueError(f"the {self.name} takes one argument, {self.takes}, and got {len(inputs)}")
        (rows,) = inputs
        if not isinstance(rows, Tensor) or rows.shape[-1:] != self.weight.shape[:1]:
            got = f"shape {tuple(rows.shape)}" if isinstance(rows, Tensor) else a_type(rows)
            raise ValueError(f"the {self.name} takes {self.takes}, rows of {len(self.weight)} numbers, and got {got}")
        if rows.dtype != self.weight.dtype:  # as a layer of torch does
            raise ValueError(f"the {self.name} takes {self.weight.dtype}, and got {rows.dtype}")
        return 2 * self.high * torch.tanh(rows @ self.weight / 2 + self.bias)


def conditional_nets(normal: Callable, d: int, z: int, y: int, high: tuple[float, ...] = (1, 1)) -> tuple[Net, Net]:
    """An encoder of x with y behind it, and a decoder of z with y behind it."""
    encoder = Net("encoder", "x with y behind it", d + y, 2 * z, normal, high=high[0])
    return encoder, Net("decoder", "z with y behind it", z + y, d, normal, 2.0, high[1])


def _conditional(seed: int) -> list[tuple]:
    normal = draws(seed)

    def one(b: int, d: int, z: int, k: int, *high: float) -> tuple:  # nets as high as this show what is clamped
        y = normal(b, k) if high else F.one_hot(torch.arange(b) % k, k).float()
        return *conditional_nets(normal, d, z, k, high or (1, 1)), (normal(b, d) > 0).float(), y, 3 * normal(b, z)

    return [one(1, 2, 1, 2), one(5, 7, 3, 4), one(3, 8, 2, 3, 3.5, 1.0), one(3, 8, 2, 3, 0.05, 4.0)]


def oracle_of_bound(encoder: Callable, decoder: Callable, x: Tensor, y: Tensor, epsilon: Tensor) -> Tensor:
    """log p(x|y,z) - KL(q(z|x,y) || N(0, I)) by torch.distributions, y in rows."""
    mu, log_var = encoder(torch.hstack((x, y))).tensor_split(2, dim=1)
    z = mu + log_var.exp().sqrt() * epsilon
    return elbo_by_distributions(mu, log_var, decoder(torch.hstack((z, y))), x)


def conditional_bound(
    last: Callable = log_p_minus_kl,
    *,
    encoded: Callable = lambda x, y: torch.cat([x, y], -1),
    decoded: Callable = lambda z, y: torch.cat([z, y], -1),
    **parts: Callable,
) -> Callable:
    """A bound of x given y, in rows, with one or the other part replaced by a wrong one."""

    def answer(encoder, decoder, x, y, epsilon):
        return bound(last, **parts)(
            lambda x: encoder(encoded(x, y)).chunk(2, dim=-1),
            lambda z: decoder(decoded(z, y)),
            x,
            lambda mu: epsilon,
        )

    return answer


def wrong_conditional_bounds(made: Callable, y: str) -> tuple[Wrong, ...]:
    """Wrong bounds of x given y, which the sentences call so; made(encoded=f) is right but for what it encodes."""
    order = "The order of columns must be that in which the net was trained."
    return (
        *wrong_draws(made),
        Wrong(
            made(draw=lambda mu, log_var, epsilon: mu + torch.exp(0.5 * log_var) * torch.randn_like(mu)),
            "It draws its own noise, and epsilon is handed in.",
            "With the same epsilon, the same result.",
        ),
        Wrong(
            made(parts=lambda mu, log_var: (torch.cat([mu, log_var], -1)[:, i::2] for i in (0, 1))),
            "It takes every other number of the encoder's output for mu, and mu is the first half.",
            "`chunk(2, dim=-1)` cuts in the middle.",
        ),
        Wrong(
            made(drawn=lambda mu, log_var, z: 0.5 * (z**2 - (z - mu) ** 2 * torch.exp(-log_var) - log_var)),
            "It estimates the KL from one draw of z, and the closed form is asked for.",
            "The KL of two Gaussians is a formula of mu and log_var: no noise is left in it.",
        ),
        Wrong(
            made(parts=lambda mu, log_var: (log_var, mu)),
            "It takes the first half of the encoder's output for log_var, and it is mu.",
            "The encoder puts out mu first, then log_var.",
        ),
        *wrong_terms(made),
        *wrong_batches(made),
        *wrong_scores(made),
        Wrong(
            made(encoded=lambda x, y: torch.cat([y, x], -1)),
            f"The encoder gets {y} before x, and it takes x first.",
            order,
        ),
        Wrong(
            made(decoded=lambda z, y: torch.cat([y, z], -1)),
            f"The decoder gets {y} before z, and it takes z first.",
            order,
        ),
        Wrong(
            made(encoded=lambda x, y: torch.cat([y, x], -1), decoded=lambda z, y: torch.cat([y, z], -1)),
            f"Both nets get {y} first, and they take it last.",
            order,
        ),
        Wrong(
            made(encoded=lambda x, y: torch.cat([x, 0 * y], -1)),
            f"The encoder gets zeros instead of {y}.",
            "q(z|x,y): what may the encoder know?",
        ),
        Wrong(
            made(decoded=lambda z, y: torch.cat([z, 0 * y], -1)),
            f"The decoder gets zeros instead of {y}.",
            "p(x|y,z): what is the picture made of?",
        ),
    )


CVAE_BOUND = Exercise(
    chapter=6,
    name="cvae_bound",
    tested="both nets see y, and the bound agrees with torch.distributions, gradients too.",
    probes=_conditional,
    oracle=oracle_of_bound,
    shape="one bound for each picture, (B,)",
    gradients=("encoder", "decoder"),
    wrong=(
        *wrong_conditional_bounds(conditional_bound, "y"),
        Wrong(
            lambda encoder, decoder, x, y, epsilon: (
                conditional_bound()(encoder, decoder, x, y, epsilon) - torch.tensor(float(y.shape[1])).log()
            ),
            "It adds log p(y), as M2 does; here y is given, and p(x|y) is bounded.",
            "Nothing is paid for what is handed in.",
        ),
    ),
)

# --- chapter 7 ------------------------------------------------------------------------------------------------------


def _left(height: int, width: int) -> Tensor:
    return torch.tensor([column < width // 2 for _ in range(height) for column in range(width)])


LEFT_MASK = Exercise(
    chapter=7,
    name="left_mask",
    tested="it marks the left half of the columns, in pictures that are flattened row by row.",
    probes=lambda seed: [(2, 4), (6, 4), (3, 5), (28, 28), (5, 2 + seed % 3)],
    oracle=_left,
    shape="one bool for each pixel, (height * width,)",
    wrong=(
        Wrong(
            lambda height, width: torch.arange(height * width) < height * width // 2,
            "It marks the first half of the row of pixels, which is the upper half of the picture.",
            "Pixels are counted row by row: where in its row does each stand?",
        ),
        Wrong(
            lambda height, width: (torch.arange(height) < height // 2).repeat_interleave(width),
            "It marks the upper half of the rows.",
            "Left and right is a matter of columns.",
        ),
        Wrong(
            lambda height, width: torch.arange(height * width) // width < width // 2,
            "It marks whole rows: a pixel's number divided by the width is its row.",
            "What is left over after that division?",
        ),
        Wrong(lambda height, width: ~_left(height, width), "It marks the right half.", "Column 0 is on the left."),
        Wrong(
            lambda height, width: (torch.arange(width) < width // 2).repeat_interleave(height),
            "It counts the pixels column by column, and pictures are flattened row by row.",
            "The second pixel is the right neighbour of the first.",
        ),
        Wrong(
            lambda height, width: torch.arange(height * width) % width < (width + 1) // 2,
            "Where the width is odd, it marks the middle column as well.",
            "Half of 5 columns, rounded down, is 2.",
        ),
        Wrong(
            lambda height, width: torch.arange(height * width) % width <= width // 2,
            "It marks one column too many.",
            "Columns count from 0.",
        ),
        Wrong(
            lambda height, width: _left(height, width).view(height, width),
            "It has the picture's shape, and one row of pixels is asked for.",
            "The pictures in this book are rows, (B, 784).",
        ),
        Wrong(
            lambda height, width: _left(height, width).float(),
            "It gives floats, and bools are asked for.",
            "Only a mask of bools picks columns, as in `x[:, mask]`.",
        ),
        Wrong(
            lambda height, width: _left(height, width).nonzero()[:, 0],
            "It gives the numbers of the pixels, and a bool for each pixel is asked for.",
            "A comparison gives bools by itself.",
        ),
        Wrong(
            lambda height, width: torch.arange(height * width) % 2 == 0,
            "It marks every other pixel.",
            "Where in its row does each pixel stand?",
        ),
        Wrong(
            lambda height, width: torch.arange(height * width) % height < height // 2,
            "It takes the height for the length of a row.",
            "How many pixels come before the next row begins?",
        ),
    ),
)


def _masked(seed: int) -> list[tuple]:
    normal = draws(seed)
    return [
        (torch.tensor([[1.0, 2.0, 3.0]]), torch.tensor([True, False, False])),
        (normal(4, 6), torch.tensor([False, True, False, False, True, True])),
        (normal(3, 3), torch.tensor([False, True, True])),
    ]


def _split(x: Tensor, given: Tensor) -> tuple[Tensor, Tensor]:
    marks = given.tolist()
    return tuple(  # type: ignore[return-value]
        torch.tensor([[a for a, mark in zip(row, marks, strict=True) if mark is side] for row in x.tolist()])
        for side in (False, True)
    )


SPLIT = Exercise(
    chapter=7,
    name="split",
    tested="the pixels to predict come first, those given second, and together they are all.",
    probes=_masked,
    oracle=_split,
    wrong=(
        Wrong(
            lambda x, given: (x[:, given], x[:, ~given]),
            "The two have changed places: what is to be predicted comes first.",
            "The CVAE's call is `elbo(x, y)`, and y is what is given.",
        ),
        Wrong(
            lambda x, given: (x * ~given, x * given),
            "It writes zeros where it should leave pixels out, so the net would be scored on pixels that it is given.",
            "A mask of bools picks columns.",
        ),
        Wrong(
            lambda x, given: (x, x[:, given]),
            "All pixels are to be predicted, those given among them.",
            "What is given need not be predicted, or its log-likelihood would count too.",
        ),
        Wrong(
            lambda x, given: (x[:, ~given], x),
            "All pixels are given, those to be predicted among them.",
            "Then the net could copy them.",
        ),
        Wrong(lambda x, given: (x[:, given], x[:, given]), "Both are the pixels given.", "`~` turns a mask round."),
        Wrong(
            lambda x, given: (x[:, ~given], x[:, ~given]),
            "Both are the pixels to predict.",
            "`~` turns a mask round.",
        ),
        Wrong(
            lambda x, given: (x[:, : (~given).sum()], x[:, (~given).sum() :]),
            "It cuts each row in two at one place, and the pixels given may stand anywhere.",
            "The mask says of each pixel where it belongs.",
        ),
        Wrong(
            lambda x, given: (x[:, given.sum() :], x[:, : given.sum()]),
            "It takes the first pixels for those given, and the mask says where they stand.",
            "The mask says of each pixel where it belongs.",
        ),
        Wrong(
            lambda x, given: (x.T[~given], x.T[given]),
            "Its rows are pixels and its columns pictures.",
            "A picture stays a row.",
        ),
        Wrong(
            lambda x, given: (x[:, ~given].flatten(), x[:, given].flatten()),
            "All pictures have run together into one row.",
            "A picture stays a row: index the columns alone.",
        ),
    ),
)


def _regressions(seed: int) -> list[tuple]:
    normal = draws(seed)

    def one(b: int, d: int, y: int, wide: float) -> tuple:
        net = Net("regressor", "y, the pixels given", y, d, normal, high=wide)
        return net, (normal(b, d) > 0).float(), (normal(b, y) > 0).float()

    return [one(1, 2, 1, 1.0), one(5, 7, 3, 1.0), one(2, 6, 4, 60.0)]


def _regressed(net: Callable, x: Tensor, y: Tensor) -> Tensor:
    return Independent(Bernoulli(logits=net(y)), 1).log_prob(x)


def _log_p_of(last: Callable = lambda log_p: log_p.sum(-1), score: Callable = log_p_terms) -> Callable:
    """A log-likelihood with one of its parts replaced by a wrong one."""
    return lambda net, x, y: last(score(net(y), x))


REGRESSOR = Exercise(
    chapter=7,
    name="regressor_log_likelihood",
    tested="it agrees with torch.distributions, also where the net is very sure and wrong.",
    probes=_regressions,
    oracle=_regressed,
    shape="one number for each picture, (B,)",
    gradients=("net",),
    wrong=(
        *wrong_sums(_log_p_of, "pixels", PIXELS),
        *wrong_scores(_log_p_of),
        *wrong_when_sure(_log_p_of),
        Wrong(
            _log_p_of(lambda log_p: -log_p.sum(-1)),
            "It has the sign of a loss: this is the cross-entropy, minus the log-likelihood.",
            BERNOULLI,
        ),
        Wrong(
            _log_p_of(lambda log_p: log_p.mean()),
            "It averages over pixels and pictures alike, as a cross-entropy does by default.",
            REDUCTION,
        ),
        Wrong(
            _log_p_of(lambda log_p: log_p.exp().prod(-1)),
            "It returns the probability, and its logarithm is asked for.",
            "Products of 784 probabilities underflow; sums of logarithms do not.",
        ),
        Wrong(
            _log_p_of(lambda log_p: log_p.exp().prod(-1).log()),
            "It multiplies probabilities and takes the logarithm at the end: where the net is very sure, that is -inf.",
            "Products underflow; add up logarithms.",
        ),
    ),
)
EXERCISES = (ACTIVE_UNITS, WALK, JOIN, CVAE_BOUND, LEFT_MASK, SPLIT, REGRESSOR)
