"""The notebooks that `make book` writes hold the whole page, in words that Colab and its like can show."""

import ast
import re

import manuscript as ms
import nbformat
import pytest
from site_pages import ROOT

PAGES = {path.stem: path.read_text() for path in sorted((ROOT / "book").glob("*.md"))}
PAGES = {name: text for name, text in PAGES.items() if ms.cells(text)}
WITH_EXERCISES = {name: text for name, text in PAGES.items() if re.search(r"^`{3,}\{exercise", text, re.MULTILINE)}
SOLUTION = re.compile(r"(?ms)^`{3,}\{solution-start\}.*?^`{3,}\{solution-end\}\n`{3,}$")
RAW = [
    r"\{[\w:.-]+\}`",  # roles
    r"^\s*(:{3,}|`{3,}\{)",  # directives
    r"^\s*:\w+:",  # their options
    r"^\([\w-]+\)=",  # targets
    r"^%",  # comments
    r"\\(E|R|KL|Normal)(?![A-Za-z])",  # the book's macros
    r"This page ran",
    r"\]\((?!https?://)",  # links that lead nowhere from here
    r"<(div|a|span|img)\b",
]


@pytest.fixture(params=PAGES)
def page(request, site):
    """A page's name, its source, and its notebook."""
    file = site / "notebooks" / f"{request.param}.ipynb"
    return request.param, PAGES[request.param], nbformat.read(file, as_version=nbformat.NO_CONVERT)


def code(notebook):
    """The page's own code cells: all but the first."""
    return [cell for cell in notebook.cells[1:] if cell.cell_type == "code"]


def words(notebook):
    return "\n\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")


def without_title(source):
    return re.sub(r"\A# @title .*\n", "", source)


def test_each_page_with_cells_offers_its_notebook(site):
    both = {f"{name}_to_work.ipynb" for name in WITH_EXERCISES} | {f"{name}.ipynb" for name in PAGES}
    assert {path.name for path in (site / "notebooks").iterdir()} == both
    for name in PAGES:
        html = (site / f"{name}.html").read_text()
        read, work = (
            f'<a href="notebooks/{name}.ipynb" download>',
            f'<a href="notebooks/{name}_to_work.ipynb" download>',
        )
        offered = f"{read}Notebook to read</a> {work}Notebook to work</a>"
        assert (offered if name in WITH_EXERCISES else f"{read}Download notebook</a>") in html
        assert "colab.research" not in html  # while no repository is named


def test_the_notebook_is_valid_and_has_all_cells_in_their_order(page):
    _, text, notebook = page
    nbformat.validate(notebook)
    assert notebook.metadata.kernelspec.name == "python3" and notebook.metadata.accelerator == "GPU"
    first, *_ = notebook.cells
    assert first.source.startswith("# @title Set-up") and first.metadata.cellView == "form"
    assert all(cell.outputs == [] and cell.execution_count is None for cell in [first, *code(notebook)])
    assert [without_title(cell.source) for cell in code(notebook)] == [cell.body.rstrip() for cell in ms.cells(text)]
    folded = [cell.metadata.get("cellView") == "form" for cell in code(notebook)]
    hidden = ["hide-input" in cell.options.get("tags", []) for cell in ms.cells(text)]
    assert all(fold for fold, hide in zip(folded, hidden, strict=True) if hide)


def raw(text):
    """Return what of the text is no plain markdown, line by line."""
    prose = re.sub(r"`[^`\n]*`", "``", re.sub(r"(?ms)^( *)```\w*$.*?^\1```$", "", text))
    return [line for line in prose.split("\n") if any(re.search(pattern, line) for pattern in RAW)]


def unbalanced(text):
    """Return the paragraphs and displayed equations whose dollars, braces or environments do not pair."""
    prose = re.sub(r"(?ms)^( *)```.*?^\1```|`[^`\n]*`|\\\$", "", text)
    faults = ["$$"] if prose.count("$$") % 2 else []
    inline = re.sub(r"\$\$(.*?)\$\$", "", prose, flags=re.DOTALL)
    faults += [line for line in inline.split("\n") if line.count("$") % 2]
    for math in re.findall(r"\$\$(.*?)\$\$", prose, re.DOTALL) + re.findall(r"\$([^$\n]+)\$", inline):
        names = re.findall(r"\\begin\{(\w+\*?)\}", math), re.findall(r"\\end\{(\w+\*?)\}", math)
        bare = math.replace(r"\{", "").replace(r"\}", "")
        paired = sorted(names[0]) == sorted(names[1]) and math.count(r"\left") == math.count(r"\right")
        if not paired or bare.count("{") != bare.count("}") or "<" in math or "\n\n" in math:
            faults.append(math)
    return faults


def test_the_words_are_plain_markdown_and_equations_numbered(page):
    _, text, notebook = page
    assert raw(words(notebook)) == unbalanced(words(notebook)) == []
    tags = re.findall(r"\\tag\{([\d.]+)\}", words(notebook))
    assert len(tags) == len(set(tags)) == len(ms.equations(text)) == words(notebook).count("$$") / 2


@pytest.mark.parametrize("text", ["see {eq}`elbo`", ":::{note}", "(slip-1)=", "$\\KL(q)$", "[two](02_kl.html)"])
@pytest.mark.parametrize("math", ["a $x and b", "$$\nx\n", r"$$\begin{aligned}x$$", "$x_{1$", "$a<b$", r"$\left(x$"])
def test_raw_words_and_unbalanced_math_are_found(text, math):
    assert raw(f"Good.\n{text}\n") and unbalanced(f"$a$ is good.\n\n{math}\n")


def test_captions_stand_below_their_cells(page):
    _, text, notebook = page
    for cell in ms.cells(text):
        caption = (cell.options.get("mystnb") or {}).get("figure", {}).get("caption")
        if caption:
            at = [without_title(c.source) for c in notebook.cells].index(cell.body.rstrip())
            assert re.match(r"\*\*Fig\. [\d.]+\*\* ", notebook.cells[at + 1].source)
            assert first_words(notebook.cells[at + 1].source.split("** ")[1]) == first_words(caption)


def first_words(caption):
    return re.findall(r"[A-Za-z]+", re.sub(r"\$[^$]*\$|\{\w+\}`[^`]*`|\W[\"'’]", "", caption))[:3]


def test_solutions_are_folded(page):
    _, text, notebook = page
    n_solutions = len(re.findall(r"^`{3,}\{solution-start\}", text, re.MULTILINE))
    said = words(notebook)
    assert said.count("<details>") == said.count("</details>") == said.count("<summary>") >= n_solutions
    assert len(set(re.findall(r"<summary><b>(Solution to Exercise [\d.]+)", said))) == n_solutions
    outside = {cell.body.rstrip() for cell in ms.cells(SOLUTION.sub("", text))}
    for cell in code(notebook):
        if without_title(cell.source) not in outside:
            assert cell.metadata.jupyter.source_hidden and cell.metadata.jupyter.outputs_hidden


def to_fill_in(exercise, before):
    """The cells that the edition to work has below an exercise, a block of the source, and below these cells."""
    label = exercise.options["label"]
    if not label.startswith("ex-build-"):
        return [""]
    starters = re.findall(r"(?ms)^```python\n(.*?)\n```$", exercise.body)
    name = label.removeprefix("ex-build-").replace("-", "_")
    start, what = "\n\n".join(starters), name
    if re.search(rf"(?<![\w.]){name}\(", "\n".join(before)):  # the page calls a function of that name
        start, what = start.replace(f"def {name}(", f"def my_{name}("), f'my_{name}, "{name}"'
    return [start, f"from vaecore.exercises import check\n\ncheck({what})"]


@pytest.mark.parametrize("name", WITH_EXERCISES)
def test_the_edition_to_work_has_cells_to_fill_in_and_no_solution(name, site):
    notebook = nbformat.read(site / "notebooks" / f"{name}_to_work.ipynb", as_version=nbformat.NO_CONVERT)
    nbformat.validate(notebook)
    expected = []
    for block in ms.blocks(SOLUTION.sub("", WITH_EXERCISES[name])):
        expected += [block.body.rstrip()] if block.kind == "code-cell" else []
        expected += to_fill_in(block, expected) if block.kind == "exercise" else []
    assert [without_title(cell.source) for cell in code(notebook)] == expected
    assert "Solution to" not in words(notebook) and raw(words(notebook)) == unbalanced(words(notebook)) == []


def used_and_made(cells):
    """The names that cells read, and those that they bind."""
    trees = [ast.parse(re.sub(r"(?m)^%.*$", "", cell.body)) for cell in cells]
    found = [node for tree in trees for node in ast.walk(tree)]
    names = [node for node in found if isinstance(node, ast.Name)]
    used = {node.id for node in names if isinstance(node.ctx, ast.Load)}
    made = {node.id for node in names if isinstance(node.ctx, ast.Store)}
    made |= {node.name for node in found if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    made |= {(node.asname or node.name).split(".")[0] for node in found if isinstance(node, ast.alias)}
    return used, made | {node.arg for node in found if isinstance(node, ast.arg)}


def needed_from_solutions(text):
    outside, all_cells = ms.cells(SOLUTION.sub("", text)), ms.cells(text)
    return used_and_made(outside)[0] & used_and_made(all_cells)[1] - used_and_made(outside)[1]


@pytest.mark.parametrize("name", WITH_EXERCISES)
def test_no_cell_needs_what_only_a_solution_makes(name):
    """Else the edition to work would not run."""
    assert needed_from_solutions(WITH_EXERCISES[name]) == set()


def test_a_cell_that_needs_a_solution_is_found():
    cell = "```{code-cell} ipython3\n%s\n```\n"
    solution = "```{solution-start} a\n```\n" + cell % "gap = 1" + "```{solution-end}\n```\n"
    assert needed_from_solutions(solution + cell % "print(gap)") == {"gap"}
