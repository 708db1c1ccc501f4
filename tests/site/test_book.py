"""The book's sources keep its rules. Every rule is also shown a text that breaks it."""

import ast
import functools
import re
from pathlib import Path

import manuscript as ms
import pytest

from vaecore import data

ROOT = Path(__file__).parents[2]
PAGES = {path.stem: path.read_text() for path in sorted((ROOT / "book").glob("*.md"))}
CHAPTERS = sorted(name for name in PAGES if re.match(r"\d\d_", name))
SOURCES = {
    str(path.relative_to(ROOT / "vaecore").with_suffix("")): path.read_text()
    for path in sorted((ROOT / "vaecore").glob("**/*.py"))
    if path.stem not in ("__init__", "make")
}


@functools.cache
def names_of_tests() -> set[str]:
    trees = [ast.parse(path.read_text()) for path in (ROOT / "tests").rglob("test_*.py")]
    return {node.name for tree in trees for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


def test_toc_and_files_agree():
    assert sorted(re.findall(r"(?:root|file): (\S+)", (ROOT / "_toc.yml").read_text())) == sorted(PAGES)


@pytest.mark.parametrize("page", PAGES)
def test_pages_keep_the_rules(page):
    """Short cells and lines; no typed measurement; every equation tested or excused."""
    text = PAGES[page]
    assert ms.long_cells(text) == ms.long_lines(text) == ms.measured_numbers(text) == []
    assert ms.equation_faults(text, names_of_tests()) == []
    if page in CHAPTERS:
        assert ms.furniture_faults(text) == ms.exercise_faults(text) == ms.predict_faults(text) == []


def test_labels_of_equations_are_unique():
    labels = [label for text in PAGES.values() for label in ms.equations(text)]
    assert sorted(labels) == sorted(set(labels))


def test_equations_named_in_docstrings_exist():
    named = {label: module for module, source in SOURCES.items() for label in ms.equations_named(source)}
    labels = {label for text in PAGES.values() for label in ms.equations(text)}
    assert {label: module for label, module in named.items() if label not in labels} == {}


def test_slips_are_listed_once_and_mistakes_name_them():
    listed = ms.listed_slips(PAGES["errata"])
    assert listed == list(range(1, len(listed) + 1))
    found = {page: ms.mistakes(text) for page, text in PAGES.items()}
    assert not [fault for _, faults in found.values() for fault in faults]
    assert set().union(*(ms.linked_slips(text) for text in PAGES.values())) <= set(listed)


def test_the_ten_minute_file_is_the_cells_of_its_page(tmp_path, monkeypatch):
    """It has at most 45 lines and runs as it stands; here with few digits and steps, so that it is quick."""
    (file,) = (block.body for block in ms.blocks(PAGES["ten_minutes"]) if block.kind == "code-block")
    cells = [cell for cell in ms.cells(PAGES["ten_minutes"]) if "the-file" in cell.options.get("tags", ())]
    assert ast.dump(ast.parse(file)) == ast.dump(ast.parse("\n".join(cell.body for cell in cells)))
    assert len(file.split("\n")) <= 45
    digits = data.mnist(root=data.BUNDLED)
    monkeypatch.setattr(data, "mnist", lambda: digits)
    monkeypatch.chdir(tmp_path)
    exec(file.replace("range(4000)", "range(10)"), {})
    assert (tmp_path / "out.png").exists()


# From here on: each rule sees a text that breaks it.

MISTAKE = (
    "::::{{admonition}} {}\n:class: mistake\n{}\n\n:::{{admonition}} In the source\n:class: dropdown\n{}\n:::\n::::\n"
)
CELL = '```{{code-cell}} ipython3\n---\nmystnb:\n  figure: {{name: fig-a, caption: "{}"}}\n---\n{}\n```\n'


def cell(code, caption="Dots lie on a line."):
    return CELL.format(caption, code)


def test_a_text_that_keeps_all_rules_passes():
    text = (
        cell("f(x)")
        + MISTAKE.format("A common mistake", "No.", "{ref}`slip-8`")
        + "```{math}\n:label: a-b\nx\n```\nIn Python 3.11, 60,000 digits, arXiv:1406.5298, `0.5 s`, $z = 0.5$.\n"
        "The paper reports 86.76 nats {cite}`burda2016`.\n\n% typed: a setting\nWe take 0.002.\n"
    )
    assert not ms.long_cells(text) + ms.measured_numbers(text)
    assert not ms.equation_faults(text, {"test_a_b"})
    assert ms.mistakes(text) == ({8}, [])


@pytest.mark.parametrize("length, fault", [(26, "26 lines"), (13, "half of the cells")])
def test_long_cells_are_found(length, fault):
    assert fault in ms.long_cells(cell("\n".join(["x = 1"] * length)))[0]


def test_long_lines_are_found():
    (fault,) = ms.long_lines(cell("x = 1\n" + "y" * 77))
    assert "77 characters" in fault and ms.long_lines(cell("y" * 76) + "\n" + "z" * 100) == []


@pytest.mark.parametrize(
    "text",
    [
        "The test ELBO is -98.7 nats.",
        "The test ELBO is $-98$ nats.",
        "It trains for 90 s on a laptop.",
        "It trains for ninety seconds.",
        "We see a KL of 24.28.",
        "About 12 % of the units stay unused.",
        "- one\n- it is 3 times 0.4 wide",
        ":::{note}\nThis takes 5 minutes.\n:::",
        "| method | ELBO |\n|---|---|\n| ours | 98.1 |",
        "The paper says 86.76 nats {cite}`burda2016`. Ours says 85.1 nats.",
        "% typed:\nWe see 24.28.",
        cell("x", caption="The ELBO reaches -98.7 nats."),
    ],
)
def test_measured_numbers_are_found(text):
    assert len(ms.measured_numbers(text)) == 1


@pytest.mark.parametrize(
    "text, fault",
    [
        ("```{math}\nx\n```", "needs a label"),
        ("```{math}\n:label: Kl_closed\nx\n```", "needs a label"),
        ("```{math}\n:label: unknown\nx\n```", "neither test_unknown nor"),
        ("% unchecked: obvious\n```{math}\n:label: a\nx\n```", "no allowed reason"),
        ("% unchecked: step from known to unknown\n```{math}\n:label: a\nx\n```", "unknown has no test"),
        (":::{note}\n```{math}\n:label: unknown\nx\n```\n:::", "neither test_unknown nor"),
        ("so $$x = 1$$ holds", "$$"),
    ],
)
def test_unchecked_equations_are_found(text, fault):
    assert fault in " ".join(ms.equation_faults(text, {"test_known"}))


def test_what_is_named_elsewhere_is_read():
    source = '"""Adds up, as in Eq. elbo-sum."""\ndef f():\n    """Eq. kl-closed, and more."""\n'
    assert ms.equations_named(source) == ["elbo-sum", "kl-closed"]
    assert ms.linked_slips("{ref}`slip-3`, [four](#slip-4), {ref}`five <slip-5>`; 6 comes later") == {3, 4, 5}
    assert ms.listed_slips("(slip-1)=\n- A\n\n(slip-3)=\n- B") == [1, 3]
    assert ms.furniture_faults("# Title\n\nText.") == ["no {chapter-facts} line", "no Next line"]


@pytest.mark.parametrize(
    "title, said, hidden, fault",
    [
        ("Erratum 8", "No.", "{ref}`slip-8`", "title"),
        ("A common mistake", "No, {ref}`slip-8`.", "> 文", "behind a fold"),
    ],
)
def test_poor_boxes_of_mistakes_are_found(title, said, hidden, fault):
    _, faults = ms.mistakes(MISTAKE.format(title, said, hidden))
    assert len(faults) == 1 and fault in faults[0]


def test_more_than_two_mistakes_a_page_are_found():
    faults = ms.mistakes(3 * MISTAKE.format("A common mistake", "No.", "> 文"))[1]
    assert faults == ["3 boxes of mistakes, two at most"]


@pytest.mark.parametrize(
    "fold, code, fault",
    [("dropdown", "text", "no solution with a code cell"), ("", "```{code-cell} ipython3\n1\n```", "not folded")],
)
def test_poor_exercises_are_found(fold, code, fault):
    exercise = "```{exercise-start}\n:label: a\n```\nWhy?\n```{exercise-end}\n```\n"
    solution = f"```{{solution-start}} a\n:class: {fold}\n```\n{code}\n```{{solution-end}}\n```\n"
    faults = ms.exercise_faults(exercise + solution)
    assert fault in " ".join(faults) and "1 exercises, 3 at least" in faults


ASKS = "\n:::{predict} Which falls?\n:answer: b\n- a: the KL\n- b: the rest\n---\nIt costs.\n:::\n\n"
COUNTS = "\n:::{predict} How many?\n:answer: 2\n:tolerance: 0\n:unit: draws\nOne each.\n:::\n\n"
KEEP = "## What to keep\n"


def test_questions_that_keep_all_rules_pass():
    assert ms.predict_faults(f"{ASKS}So:\n\n{cell('f(x)')}{COUNTS}{cell('g(x)')}\n{KEEP}") == []


@pytest.mark.parametrize(
    "text, fault",
    [
        (cell("x"), "0 questions"),
        (4 * (ASKS + cell("x")), "4 questions"),
        (ASKS.replace(":answer: b", ":answer: c") + cell("x"), "none of"),
        (ASKS + ":::{note}\nNo.\n:::\n" + cell("x"), "no cell follows"),
        (f"{cell('x')}\n{KEEP}{ASKS}{cell('y')}", "no cell follows"),
        (ASKS.replace("Which", 20 * "why ") + cell("x"), "20 words"),
        (ASKS.replace("It costs.", 31 * "why ") + cell("x"), "30 for the reason"),
        (COUNTS.replace(":answer: 2", ":answer: 98.7") + cell("x"), "looks measured"),
    ],
)
def test_poor_questions_are_found(text, fault):
    assert fault in " ".join(ms.predict_faults(text if KEEP in text else f"{text}\n{KEEP}"))
