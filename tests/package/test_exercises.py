"""`check` says right of what is right, and of everything else what is wrong with it."""

import functools
import inspect
import json
import os
import re
import subprocess
import sys
import warnings

import answer_mutants
import pytest
import right_answers
import torch
import torch.nn.functional as F

from vaecore import data
from vaecore.exercises import EXERCISES, base, check, whole_vae
from vaecore.exercises.base import Finding, Outcome, ask

FRESH = 7  # a seed of probes that check never uses
SLOW = {"build_vae": 10}  # mutants of a whole model, each of which is trained


@pytest.mark.parametrize("name", EXERCISES)
def test_each_known_wrong_answer_gets_its_own_sentence(name):
    wrong = EXERCISES[name].wrong
    sentences = [one.sentence for one in wrong]
    said = [check(one.answer, name) for one in wrong]
    assert [verdict.sentence for verdict in said] == sentences and not any(said)
    assert len(set(sentences)) == len(sentences)
    assert all(verdict.hint and one.hint for verdict, one in zip(said, wrong, strict=True))


@pytest.mark.parametrize("name", EXERCISES)
def test_right_answers_are_right_however_they_are_written(name):
    ways = [answer for way, answer in vars(right_answers).items() if re.fullmatch(rf"{name}_\d", way)]
    verdicts = [check(answer, name) for answer in ways]
    assert len(ways) >= 3 and all(verdicts), verdicts
    assert repr(verdicts[0]) == f"Right: {EXERCISES[name].tested}"
    exercise = EXERCISES[name]
    if exercise.gradients:  # the oracle has them too, or they would not be tested
        for probe in exercise.probes(FRESH):
            assert all(slope is not None for slope in base.expected(exercise, probe)[1].slopes.values())


def outcomes(exercise, answer) -> list[Outcome]:
    """What an answer does with fresh probes."""
    probes, likes, _ = base.references(exercise, FRESH)
    return [ask(exercise, answer, probe, like) for probe, like in zip(probes, likes, strict=True)]


@functools.cache
def said_of(exercise, answer) -> list[Outcome] | str:
    """The same, or the kind of finding or error that it ends with."""
    try:
        return outcomes(exercise, answer)
    except Finding as finding:
        return finding.kind
    except Exception as error:
        return type(error).__name__


def ratios(mine, right) -> tuple[torch.Tensor, torch.Tensor]:
    return tuple(torch.cat([v.double().flatten() for one in all_of for v in one.values]) for all_of in (mine, right))


def is_true(exercise, answer, verdict, right) -> bool:
    """Whether a verdict on an answer holds on probes that check has not seen.

    A known mistake is true if there, too, the answer gives what the known wrong answer gives; a general finding, if
    what it says can be seen there by another way than check's.
    """
    mine = said_of(exercise, answer)
    if verdict.kind == "known":
        (wrong,) = [one for one in exercise.wrong if one.sentence == verdict.sentence]
        theirs = said_of(exercise, wrong.answer)
        if isinstance(mine, str) or isinstance(theirs, str):
            return mine == theirs
        return base.apart(mine, theirs, exercise.tolerance) <= 1
    if isinstance(mine, str):  # it stops in the same way there
        return verdict.kind in (mine, "error", "in place")
    values = [(a, b) for x, y in zip(mine, right, strict=True) for a, b in zip(x.values, y.values, strict=True)]
    if verdict.kind in ("shape", "dtype"):
        return any(getattr(a, verdict.kind) != getattr(b, verdict.kind) for a, b in values)
    if verdict.kind == "nan":
        asked = zip(*base.references(exercise, 0)[:2], strict=True)
        return any(not value.isfinite().all() for pair in asked for value in ask(exercise, answer, *pair).values)
    if verdict.kind == "in place":
        return any(one.changed for one in mine)
    if verdict.kind == "gradient":
        slopes = [(x.slopes[n], y.slopes[n]) for x, y in zip(mine, right, strict=True) for n in y.slopes]
        return any(base.distance(a, b, exercise.tolerance) > 1 for a, b in slopes)
    probe = exercise.probes(FRESH)[1]
    if verdict.kind == "mixed":  # a row by itself
        one = right[1].values[0]
        alone = [a[:1] if isinstance(a, torch.Tensor) and a.shape[:1] == one.shape[:1] else a for a in probe]
        return base.distance(answer(*alone), mine[1].values[0][:1], exercise.tolerance) > 1
    if verdict.kind == "unused":
        name = verdict.sentence.split()[-1].rstrip(".")
        changed = [base._changed(a) if n == name else a for n, a in zip(exercise.arguments, probe, strict=True)]
        return torch.allclose(answer(*changed), mine[1].values[0], equal_nan=True)
    if verdict.kind == "end":
        far = [[base.distance(*rows, exercise.tolerance) > 1 for rows in zip(*pair, strict=True)] for pair in values]
        place = -1 if "last" in verdict.sentence else 0
        return all(sum(wrong) == 1 and wrong[place] for wrong in far if len(wrong) > 1)
    if verdict.kind == "random":
        return not all(torch.equal(answer(*p), answer(*p)) for p in exercise.probes(FRESH))
    a, b = ratios(mine, right)
    number = [float(n) for n in re.findall(r"[\d.]+(?:e[+-]?\d+)?", verdict.sentence.split("too")[0].rstrip("."))]
    if verdict.kind == "near":
        return torch.allclose(a, b, rtol=2e-2, atol=1e-2)
    if verdict.kind == "zero":
        return torch.allclose(a, torch.zeros_like(a), atol=1e-3)
    if verdict.kind == "sign":
        return torch.allclose(a, -b, rtol=1e-3, atol=1e-3)
    if verdict.kind == "factor":
        return torch.allclose(a.abs(), number[0] * b.abs(), rtol=2e-2, atol=1e-3)
    if verdict.kind == "offset":
        return torch.allclose((a - b).abs(), torch.full_like(a, number[0]), rtol=2e-2, atol=1e-3)
    if verdict.kind in ("log", "exp"):
        return torch.allclose(a, getattr(b, verdict.kind)(), rtol=1e-3, atol=1e-3)
    if verdict.kind == "type":
        return True  # its own result says so
    assert verdict.kind == "value", verdict
    return base.apart(mine, right, exercise.tolerance) > 1


@pytest.mark.parametrize("name", EXERCISES)
def test_mutants_of_a_right_answer_are_found_and_truly_described(name, record_property):
    """Fifty of each: none that does anything else passes; four fifths at least hear what is true of them."""
    exercise = EXERCISES[name]
    right = outcomes(exercise, getattr(right_answers, f"{name}_1"))
    passed, false, told, n = [], [], {}, 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for mutant in answer_mutants.of(name, SLOW.get(name, 50)):
            verdict = mutant.verdict
            if verdict:
                mine = said_of(exercise, mutant)
                if isinstance(mine, str) or base.apart(mine, right, exercise.tolerance) > 1:
                    passed.append(mutant.source)
                continue
            n += 1
            told[verdict.kind] = told.get(verdict.kind, 0) + 1
            if not is_true(exercise, mutant, verdict, right):
                false.append((verdict, mutant.source))
    record_property("told", told)
    assert passed == []
    assert len(false) <= 0.2 * n, false


def kl(mu, log_var):
    return 0.5 * (mu**2 + log_var.exp() - 1 - log_var).sum(-1)


def in_place(mu, log_var):
    mu *= 0.5
    return kl(2 * mu, log_var)


def in_place_only_of_data(mu, log_var):
    result = kl(mu, log_var)
    mu.data += 1
    return result


def raises(mu, log_var):
    raise ValueError("no such thing\nsecond line")


def on_another_device(mu, log_var):
    return torch.zeros(len(mu), device="cpu") + kl(mu, log_var)


def leaves_the_last_row_out(mu, log_var):
    return torch.cat([kl(mu, log_var)[:-1], torch.zeros(1)])


def noisy(mu, log_var):
    return kl(mu, log_var) + torch.randn(len(mu))


@pytest.mark.parametrize(
    "answer, kind, said",
    [
        (raises, "error", "(ValueError: no such thing)"),
        (lambda mu, log_var: F.one_hot(10, mu), "error", "inside it is called wrongly (TypeError: one_hot"),
        (lambda mu, log_var: torch.cat(mu, log_var), "error", "calls `cat` wrongly"),
        (lambda mu, log_var: torch.distributions.Bernoulli(probs=5 * mu), "error", "as probabilities"),
        (lambda mu, log_var: log_variance, "error", "(NameError: name 'log_variance' is not defined)"),
        (lambda mu, log_var: 0 * kl(mu, log_var), "zero", "numbers are about 0."),
        (lambda mu, log_var: (kl(mu, log_var) * 100).round() / 100, "near", "come near, and are wrong by up to 0.004"),
        (lambda mu, log_var: 1.0005 * kl(mu, log_var), "near", "come near"),
        (lambda mu, log_var: sum(0.5 * mu[:, k] ** 2 for k in range(10)), "error", "counts further than there is"),
        (lambda mu, log_var: [a for a, b in [mu.chunk(2)]], "error", "fewer parts than it unpacks"),
        (leaves_the_last_row_out, "end", "only the last entry is wrong"),
        (lambda mu: mu, "error", "cannot be called as the exercise says"),
        (lambda mu, log_var: 1 / 0, "error", "ZeroDivisionError: division by zero"),
        (lambda mu, log_var: torch.distributions.Normal(mu, log_var), "error", "a scale that is not above 0"),
        (lambda mu, log_var: mu.numpy(), "error", "leaves torch for numpy"),
        (lambda mu, log_var: mu if mu > 0 else log_var, "error", "a yes-or-no question"),
        (lambda mu, log_var: None, "type", "returns None"),
        (lambda mu, log_var: kl(mu, log_var).detach().numpy(), "type", "an ndarray, and a tensor is expected"),
        (lambda mu, log_var: kl(mu, log_var).tolist(), "type", "a list"),
        (lambda mu, log_var: (kl(mu, log_var), 0), "type", "a tuple"),
        (
            lambda mu, log_var: kl(mu, log_var)[:, None],
            "shape",
            "(1, 1), and (1,), one number for each picture, (B,), is",
        ),
        (lambda mu, log_var: kl(mu, log_var).double(), "dtype", "torch.float64, and torch.float32"),
        (lambda mu, log_var: kl(mu, log_var) / 0, "nan", "gives inf where a number is expected"),
        (lambda mu, log_var: 3 * kl(mu, log_var), "factor", "3 times what they should be"),
        (lambda mu, log_var: kl(mu, log_var) + 2, "offset", "2 too high"),
        (lambda mu, log_var: kl(mu, 0.7 * log_var), "value", "With mu = [[1, 0.5]], log_var = [[0.5, -1]] it gives ["),
        (lambda mu, log_var: kl(mu, log_var) * kl(mu, log_var).sum(), "mixed", "with the other rows"),
        (lambda mu, log_var: 1.1 * log_var.sum(-1), "unused", "does not change with mu"),
        (lambda mu, log_var: kl(mu, log_var.detach()), "gradient", "no gradient reaches log_var"),
        (in_place, "in place", "changes its argument mu in place"),
        (in_place_only_of_data, "in place", "changes its argument mu in place"),
        (noisy, "random", "Two calls"),
    ],
)
def test_what_can_be_wrong_with_any_function_is_said(answer, kind, said):
    verdict = check(answer, "kl")
    assert not verdict and verdict.kind == kind and said in verdict.sentence
    first, hint = repr(verdict).split("\n")
    assert first == f"Not yet. {verdict.sentence}" and hint == f"Hint: {verdict.hint}" and verdict.hint


SOURCES = [  # of right answers: exercise, way, what is replaced in it, and by what
    ("gap", 1, "(q * (log_q - log_posterior)).sum(1) * step", "torch.trapezoid(q * (log_q - log_posterior), dx=step)"),
    ("gap", 1, "q = log_q.exp()", "q = log_q.softmax(1) / step"),
    ("cvae_bound", 1, "    mu,", "    x = x.detach()\n    mu,"),
    ("cvae_bound", 1, "    mu,", "    x = (x > 0.5).float()\n    mu,"),
    ("labelled_bound", 1, "    mu,", "    x = x.data\n    mu,"),
    ("regressor_log_likelihood", 1, "net(y)", "net(y.detach())"),
    ("unlabelled_bound", 3, "zeros =", "log_q_y = log_q_y.log_softmax(-1)\n    zeros ="),
    ("unlabelled_bound", 3, "entropy = ", "entropy = td.Categorical(logits=log_q_y).entropy()  # "),
    ("unlabelled_bound", 2, "q = torch.exp(log_q_y)", "q = log_q_y.softmax(-1)"),
]
PASSED = [  # the same of wrong answers that once passed
    ("kl", 1, "    return", "    log_var = log_var.clamp(-10, 10)\n    return"),
    ("kl", 1, "    return", "    mu = mu.clamp(-5, 5)\n    return"),
    ("cvae_bound", 1, "    mu,", "    y = F.one_hot(y.argmax(-1), y.shape[1]).float()\n    mu,"),
    ("cvae_bound", 1, "    mu,", "    y = y.double()\n    mu,"),
    ("cvae_bound", 1, "    z =", "    log_var = log_var.clamp(-5, 5)\n    z ="),
    ("cvae_bound", 1, "* epsilon", "* epsilon.clamp(-2, 2)"),
    ("cvae_bound", 1, "    bce", "    logits = logits.clamp(-5, 5)\n    bce"),
    ("cvae_bound", 1, "- kl.sum(-1)", "- kl.clamp(min=0.1).sum(-1)"),
    ("labelled_bound", 1, "10).float()", "10).double()"),
    ("unlabelled_bound", 1, "y, epsilon)", "y, epsilon.roll(k, -1))"),
    ("unlabelled_bound", 1, "y, epsilon)", "y, epsilon.flip(-1) if k % 2 else epsilon)"),
    ("unlabelled_bound", 1, "    total = torch", "    log_q_y = log_q_y.clamp(min=-10)\n    total = torch"),
    ("unlabelled_bound", 2, "q = torch.exp(log_q_y)", "q = torch.exp(log_q_y).clamp(min=1e-3)"),
]
SAID = [  # of wrong answers: the same, and what is said of them
    ("cvae_bound", 1, "torch.cat([x, y], -1)", "x, y", "the encoder takes one argument, x with y behind it, and got 2"),
    (
        "cvae_bound",
        1,
        "encoder(torch.cat([x, y], -1))",
        "encoder(torch.cat([x, y], -1)).detach()",
        "weights of encoder.",
    ),
    ("labelled_bound", 1, " - kl.sum(-1)", "", "The KL is missing."),
    ("labelled_bound", 1, "-bce.sum(-1) + ", "", "The log-likelihood of x is missing."),
    ("unlabelled_bound", 1, "full((len(x),), k)", "full((len(x),))", "inside it is called wrongly (TypeError: full()"),
]


@pytest.mark.parametrize(
    "name, way, old, new, said",
    [(*one, "Right: ") for one in SOURCES] + [(*one, "Not yet. ") for one in PASSED] + SAID,
)
def test_what_readers_have_handed_in_hears_the_truth(name, way, old, new, said):
    source = inspect.getsource(getattr(right_answers, f"{name}_{way}"))
    assert old in source
    assert said in repr(check(answer_mutants.load(f"{name}_{way}", source.replace(old, new, 1)), name))


def test_a_result_on_the_wrong_device_is_said(monkeypatch):
    monkeypatch.setattr(base, "OTHER_DEVICE", "meta")  # the only second device that every machine has
    assert check(on_another_device, "kl").kind == "device"
    for name in EXERCISES.keys() - SLOW.keys() - {"split", "label_split"}:  # "meta" knows no sizes that hang on data
        assert check(getattr(right_answers, f"{name}_1"), name), name  # the book's own solutions run everywhere


def test_check_knows_the_exercise_by_its_name_and_says_what_it_knows():
    assert check(kl) and check(lambda mu, log_var: kl(mu, log_var), "kl")
    unknown = check(lambda mu: mu)
    assert not unknown and unknown.sentence == "The function has no name of its own."
    assert check(in_place).sentence == "No exercise is called 'in_place'." and "`kl`" not in check(in_place).hint
    assert "`kl`" in check(kl, "KL_").hint or "`kl`" in check(kl, "kll").hint
    assert check(3.0).kind == "type" and check(torch.ones(3)).kind == "type"


def vae(**methods):
    """`build_vae` of the right answer with some methods replaced."""
    return lambda: type("Net", (type(right_answers.build_vae_1()),), methods)()


def elbo(draw=lambda mu, sigma: mu + sigma * torch.randn_like(mu), kl=kl, target=lambda x: x, change=lambda b: b):
    def method(self, x):
        mu, log_var = self.encode(x)
        logits = self.decode(draw(mu, torch.exp(0.5 * log_var)))
        return change(-F.binary_cross_entropy_with_logits(logits, target(x), reduction="none").sum(1) - kl(mu, log_var))

    return vae(elbo=method)


gaussian = right_answers.gaussian_log_likelihood_2


def training_step(loss_of):
    def step(elbo, optimizer, x):
        return right_answers.training_step_1(lambda x: -loss_of(elbo(x))[None], optimizer, x)

    return step


def rsample(noise):
    return lambda mu, log_var: mu + torch.exp(0.5 * log_var) * noise(torch.randn_like(mu))


@pytest.mark.parametrize(
    "name, answer, said",
    [
        ("build_vae", elbo(lambda mu, sigma: (mu + sigma * torch.randn_like(mu)).detach()), "not the gradient"),
        ("build_vae", elbo(torch.normal), "not the gradient"),
        ("build_vae", elbo(lambda mu, sigma: mu + sigma.detach() * torch.randn_like(mu)), "not the gradient"),
        ("build_vae", elbo(kl=lambda mu, log_var: kl(mu, log_var).detach()), "not the gradient"),
        ("build_vae", elbo(kl=lambda mu, log_var: kl(mu, log_var).mean()), "with the same z"),
        ("build_vae", elbo(kl=lambda mu, log_var: kl(mu[:, :-1], log_var[:, :-1])), "with the same z"),
        ("build_vae", elbo(kl=lambda mu, log_var: kl(mu, log_var).clamp(min=5)), "with the same z"),
        ("build_vae", elbo(target=lambda x: x.roll(1, 0)), "with the same z"),
        ("build_vae", elbo(change=lambda b: b + 5), "with the same z"),
        ("build_vae", elbo(change=lambda b: 1.01 * b), "with the same z"),
        ("build_vae", elbo(lambda mu, sigma: mu + torch.randn_like(mu) / sigma), "standard deviation"),
        ("build_vae", elbo(lambda mu, sigma: mu + sigma * torch.rand_like(mu)), "mean 0.50"),
        ("build_vae", elbo(lambda mu, sigma: mu + sigma * torch.randn(len(mu), 1)), "several latents together"),
        (
            "build_vae",
            elbo(lambda mu, sigma: mu + sigma * torch.randn(mu.shape, generator=torch.Generator().manual_seed(3))),
            "same noise",
        ),
        ("build_vae", vae(encode=lambda self, x: self.encoder(x.roll(1, 0)).chunk(2, 1)), "others of its batch"),
        ("build_vae", vae(generate=lambda self, n: self.decode(3 * torch.randn(n, 10)).sigmoid()), "deviation 3"),
        ("build_vae", vae(generate=lambda self, n: self.decode(torch.randn(n, 10)).softmax(1)), "other pictures"),
        ("build_vae", vae(generate=lambda self, n: torch.rand(n, 784)), "other pictures"),
        ("rsample", rsample(lambda e: torch.randn(e.shape, generator=torch.Generator().manual_seed(3))), "is fixed"),
        ("rsample", rsample(lambda e: torch.cat([e[:-1], 0 * e[-1:]])), "A row has more or less noise"),
        ("rsample", rsample(lambda e: torch.cat([e[::2], e[::2]])), "two rows"),
        ("rsample", rsample(lambda e: torch.cat([e[::2], -e[::2]])), "two rows"),
        ("rsample", rsample(lambda e: (e - e.mean(0)) / e.std(0)), "not independent"),
        ("rsample", lambda mu, log_var: torch.randn_like(mu).requires_grad_() + mu.detach(), "standard deviation"),
        ("score_terms", lambda g, mu, sigma, e: g((mu + sigma * e).clamp(-1, 3)) * e / sigma, "it gives"),
        ("score_terms", lambda g, mu, sigma, e: g((mu + sigma * e).abs()) * e / sigma, "it gives"),
        ("training_step", training_step(lambda elbo: elbo.mean().abs()), "the loss that it returns"),
        ("objective", lambda b, u, q, n, m, a: (n * b.mean().abs() + m * u.mean().abs()) / (n + m) - a * q.mean(), ""),
        ("label_split", lambda y, n, seed: None, "returns None"),
        ("label_split", lambda y, n, seed: right_answers.label_split_1(y.zero_(), n, seed), "argument y in place"),
        ("label_split", lambda y, n, seed: right_answers.label_split_1(y, n, seed // 2), "different seeds"),
        (
            "label_split",
            lambda y, n, seed: right_answers.label_split_1(y, n + 10, seed),
            "Not every draw has n_labelled",
        ),
        ("gaussian_log_likelihood", lambda m, v, x: gaussian(m, v.clamp(min=-4), x), "it gives"),
        ("gaussian_log_likelihood", lambda m, v, x: gaussian(m, v, x).exp().log(), "gives inf"),
        ("gaussian_log_likelihood", lambda m, v, x: gaussian(m, (v.exp() + 1e-6).log(), x), "come near"),
    ],
)
def test_answers_that_readers_gave_are_wrong_for_what_is_wrong_with_them(name, answer, said):
    verdict = check(answer, name)
    assert not verdict and said in verdict.sentence, verdict


def test_digits_are_those_of_the_notebook_and_what_hides_them_is_no_mistake(monkeypatch, tmp_path):
    monkeypatch.setattr(data, "BUNDLED", tmp_path / "none")  # as in the wheel that a notebook carries
    base.references.cache_clear()
    whole_vae._digits.cache_clear()
    if "VAECORE_DATA" in os.environ:
        assert len(whole_vae._digits(0)) == 400
        whole_vae._digits.cache_clear()
    monkeypatch.setenv("VAECORE_DATA", str(tmp_path))
    with pytest.raises(FileNotFoundError, match="MNIST"):
        check(right_answers.build_vae_1, "build_vae")


def test_check_leaves_random_numbers_and_the_reader_s_module_alone():
    torch.manual_seed(5)
    due = torch.rand(3)
    torch.manual_seed(5)
    assert check(right_answers.label_split_3, "label_split") and check(right_answers.rsample_1, "rsample")
    assert torch.equal(torch.rand(3), due)


def test_what_a_chapter_has_set_makes_no_difference():
    base.references.cache_clear()
    torch.set_default_dtype(torch.float64)
    try:
        with torch.no_grad():
            verdicts = [check(getattr(right_answers, f"{name}_1"), name) for name in ("gap", "kl", "join", "walk")]
            assert torch.ones(1).dtype == torch.float64 and not torch.is_grad_enabled()
    finally:
        torch.set_default_dtype(torch.float32)
    assert all(verdicts), verdicts


def test_each_chapter_has_two_exercises_and_they_are_listed():
    found = subprocess.run(
        [sys.executable, "-m", "vaecore.exercises", "--list", "--json"], capture_output=True, text=True, check=True
    )
    rows = json.loads(found.stdout)
    assert [row["name"] for row in rows] == list(EXERCISES)
    chapters = [row["chapter"] for row in rows]
    assert all(chapters.count(chapter) >= 2 for chapter in range(1, 12)) and chapters == sorted(chapters)
    assert all(row["known_wrong_answers"] == len(EXERCISES[row["name"]].wrong) >= 9 for row in rows)


def test_the_list_is_a_table_without_json(capsys, monkeypatch):
    from vaecore.exercises import __main__ as door

    monkeypatch.setattr(sys, "argv", ["exercises", "--list"])
    door.main()
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1 + len(EXERCISES) and lines[0].split() == ["chapter", "name", "known", "wrong", "answers"]
