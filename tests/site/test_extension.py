"""What the Sphinx extensions do to a page's text, piece by piece; test_site.py sees the whole."""

import sys

import nbformat
import pytest
from docutils import nodes
from site_pages import ROOT
from sphinx_exercise.nodes import exercise_node, solution_node

sys.path.append(str(ROOT / "book" / "_ext"))
import docstrings
import notebooks
import vaebook

DIGITS = "MNIST: 60,000 training and 10,000 test digits"
CPU = {"cores": 2, "device": "cpu", "data": DIGITS, "python": "3.11.7", "torch": "2.15.0+cpu"}


@pytest.mark.parametrize(
    "seconds, on, loads_digits, expected",
    [
        (41.3, {}, True, f"41 s on 2 CPU cores; {DIGITS}"),
        (0.4, {"cores": 1}, False, "less than a second on 1 CPU core; toy data of its own"),
        (200, {"device": "NVIDIA H200"}, True, f"3 minutes on NVIDIA H200; {DIGITS}"),
    ],
)
def test_how_a_page_ran(seconds, on, loads_digits, expected):
    assert vaebook.sentence(seconds, CPU | on, loads_digits) == (
        f"This page ran in {expected}; Python 3.11, torch 2.15.0."
    )


def test_formulas_keep_what_touches_them():
    math = '<span class="math notranslate nohighlight">\\(x\\)</span>'
    marked = vaebook.formulas_with_what_touches_them(f"<p>a {math}, ({math}) and {math} b、{math}の</p>")
    together = '<span class="vae-together">'
    assert marked == f"<p>a {together}{math},</span> {together}({math})</span> and {math} b、{math}の</p>"


def test_japanese_quotations_are_marked():
    body = "<blockquote>\n<p>In English.</p></blockquote><blockquote>\n<div><p>これら2つを</p></div></blockquote>"
    marked = vaebook.quotes_in_their_language(body)
    assert marked.count('<blockquote lang="ja">') == 1 and "<blockquote>\n<p>In English" in marked


def test_docstrings_become_what_sphinx_reads():
    assert docstrings.as_rest("log p(x|z), `d_y` > 0. Eq. elbo; arXiv:1406.5298.") == (
        r"log p(x\|z), ``d_y`` > 0. Eq. :eq:`elbo`; `arXiv:1406.5298 <https://arxiv.org/abs/1406.5298>`__."
    )


def test_a_box_in_a_box_stays_in_it_and_stays_folded():
    """As a notebook's markdown: the sentence of the source in a common mistake."""
    title, inner = nodes.title("", "In the source"), nodes.paragraph("", "No.")
    source = nodes.admonition("", title, nodes.block_quote("", inner), classes=["dropdown"])
    mistake = nodes.admonition("", nodes.title("", "A common mistake"), nodes.paragraph("", "Yes."), source)
    page = notebooks.Notebook(notebooks.Markdown(None, {}, str))
    page.block(mistake)
    folded = "> <details>\n> <summary><b>In the source</b></summary>\n>\n> > No.\n>\n> </details>"
    assert page.pending == [f"> **A common mistake**\n>\n> Yes.\n>\n{folded}"]


def test_a_picture_shrinks_until_its_words_would_get_too_small():
    """Of each text its largest letters count: indices are smaller. A picture without words may shrink as it likes."""
    large = '<text style="font: 10px sans"><tspan style="font: 7px sans">2</tspan></text>'
    for texts, least in ((large, "180px"), (f'{large}<text font-size="6.00">x</text>', "300px")):
        picture = f'<svg class="vae-picture" width="200pt">{texts}</svg>'
        assert f'<svg class="vae-picture" style="--vae-least-width: {least}" ' in vaebook.pictures_to_screens(picture)
    assert "style" not in vaebook.pictures_to_screens('<svg class="vae-picture" width="200pt"><path/></svg>')


STARTER = "def kl_sum(q, p):\n    ..."


def with_exercises():
    """A page as a section: one function to build, one question, and the solution of each."""
    section = nodes.section()
    for label, task in (("ex-build-kl-sum", "Build: add up"), ("ex-why", "Why?")):
        code = nodes.literal_block(STARTER, STARTER, language="python")
        more = [nodes.paragraph("", "The task."), code]
        section += exercise_node("", nodes.title("", task), nodes.section("", *more), label=label)
        section += solution_node("", nodes.title("", "Solution"), nodes.paragraph("", "Add up."))
    return section


def cells_of(edition):
    page, section = edition(notebooks.Markdown(None, {}, str)), with_exercises()
    page.section(section, 1)
    assert section.astext() == with_exercises().astext()  # the other edition is made of it too
    page.end_of_words()
    return [(cell.cell_type, cell.source) for cell in page.cells]


def test_the_edition_to_read_has_task_starter_and_solution_in_its_words():
    ((kind, said),) = cells_of(notebooks.Notebook)
    assert kind == "markdown" and said.count("def kl_sum") == 2 and said.count("Add up.") == 2


def test_the_edition_to_work_has_starter_and_check_and_no_solution():
    """A question that is no function to build gets an empty cell, and keeps its code in its words."""
    build, starter, check, why, empty = cells_of(notebooks.WorkNotebook)
    assert build == ("markdown", "> **Build: add up**\n>\n> The task.")
    assert starter == ("code", STARTER)
    assert check == ("code", "from vaecore.exercises import check\n\ncheck(kl_sum)")
    assert why[0] == "markdown" and "The task." in why[1] and "def kl_sum" in why[1] and "Add up." not in why[1]
    assert empty == ("code", "")


def test_a_starter_leaves_a_function_alone_that_the_page_calls():
    page = notebooks.WorkNotebook(notebooks.Markdown(None, {}, str))
    page.cells.append(nbformat.v4.new_code_cell("total = kl_sum(q, p)"))
    page.section(with_exercises(), 1)
    starter, check = [cell.source for cell in page.cells if cell.cell_type == "code"][1:3]
    assert starter.startswith("def my_kl_sum(") and check.endswith('check(my_kl_sum, "kl_sum")')


def test_a_page_offers_the_editions_that_it_has(monkeypatch):
    """One where there are no exercises; only the one to work in where solutions are left out."""
    names = {"": ["Notebook to read", "In Colab, to read"], "_to_work": ["Notebook to work", "In Colab, to work"]}
    assert {suffix: words for suffix, (_, *words) in notebooks.editions(with_exercises()).items()} == names
    assert list(notebooks.editions(nodes.section())) == [""]
    monkeypatch.setenv("VAEBOOK_SOLUTIONS", "0")
    assert list(notebooks.editions(with_exercises())) == ["_to_work"]
