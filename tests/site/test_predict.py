"""Questions before results: what `{predict}` makes of them, and how they answer, by keyboard and without scripts."""

import subprocess
import sys

import pytest
from axe_playwright_python.sync_playwright import Axe
from docutils import nodes
from playwright.sync_api import expect
from site_pages import ROOT

sys.path.append(str(ROOT / "book" / "_ext"))
import notebooks
import predict

CONFIG = f"""
import sys
sys.path.insert(0, {str(ROOT / "book" / "_ext")!r})
extensions = ["myst_parser", "predict"]
myst_enable_extensions = ["colon_fence", "dollarmath"]
mathjax_path = "none.js"
html_theme, html_static_path, html_css_files = "basic", [{str(ROOT / "book" / "_assets")!r}], ["vaebook.css"]
"""
CHOICE = """
:::{predict} Which term of $L$ falls first?
:answer: b
- a: the KL
- b: minus
  the $\\log p$
---
The KL starts
at $0$.
:::
"""
NUMBER = """
:::{predict} What is the slope in $\\mu$?
:answer: 2
:tolerance: 0.1
:unit: nats
It is *twice* the mean.
:::
"""


def build(folder, text):
    """Build one page; return what Sphinx says, and the folder of the pages."""
    (folder / "conf.py").write_text(CONFIG)
    (folder / "index.md").write_text(f"# A page\n{text}")
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", str(folder), str(folder / "html")]
    said = subprocess.run(command, capture_output=True, text=True)
    return said.stderr, folder / "html"


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """The address of a page with a question of either kind."""
    said, html = build(tmp_path_factory.mktemp("predict"), CHOICE + NUMBER)
    assert said == ""
    return (html / "index.html").as_uri()


@pytest.fixture
def page(browser, address):
    page = browser.new_page()
    page.goto(address)
    yield page
    page.close()


def form(page, n):
    return page.locator("form.vae-predict").nth(n)


def test_words_and_formulas_are_read_as_everywhere(page):
    choice = form(page, 0)
    assert choice.locator("legend .math").inner_text() == r"\(L\)"
    assert [" ".join(label.split()) for label in choice.locator("label").all_inner_texts()] == [
        "a the KL",
        r"b minus the \(\log p\)",
    ]
    assert choice.locator(".vae-predict-reason .math").text_content() == r"\(0\)"
    assert form(page, 1).locator("em").text_content() == "twice"


@pytest.mark.parametrize("down, verdict", [(0, "Not quite. The KL starts"), (1, "Yes. The KL starts")])
def test_a_choice_is_answered_by_keyboard(page, down, verdict):
    group = page.get_by_role("group", name="Which term of")
    group.get_by_role("radio").first.focus()
    page.keyboard.press("Space")
    for _ in range(down):
        page.keyboard.press("ArrowDown")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Check"
    said = group.get_by_role("status")
    expect(said).to_have_text("")
    page.keyboard.press("Enter")
    expect(said).to_contain_text(verdict)
    assert "?" not in page.url  # nothing is sent or stored
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("ArrowUp")  # another guess: the verdict on the last one goes
    expect(said.locator("b")).to_have_text("")
    expect(said.locator(".vae-predict-reason")).to_be_hidden()


@pytest.mark.parametrize(
    "guess, verdict", [("2", "Yes."), ("1.9", "Yes."), ("2.11", "Not quite."), ("-2", "Not quite.")]
)
def test_a_number_counts_within_its_tolerance(page, guess, verdict):
    group = page.get_by_role("group", name="What is the slope")
    group.get_by_role("spinbutton", name="Your guess").fill(guess)
    page.keyboard.press("Enter")
    expect(group.get_by_role("status")).to_have_text(f"{verdict} It is twice the mean.")


def test_an_empty_guess_gets_no_verdict(page):
    form(page, 0).get_by_role("button", name="Check").click()
    expect(form(page, 0).locator("output")).to_have_text("")
    assert form(page, 0).locator("input:invalid").count() == 2


def test_with_scripts_the_answer_shows_only_after_a_guess(page):
    expect(page.locator(".vae-predict details").first).to_be_hidden()
    expect(page.get_by_text("The KL starts")).to_be_hidden()


def test_without_scripts_the_answer_is_folded(browser, address):
    page = browser.new_page(java_script_enabled=False)
    page.goto(address)
    for n, answer in enumerate(("b. The KL starts", "2 nats. It is twice the mean.")):
        assert form(page, n).locator("input:visible, button:visible").count() == 0
        reason = form(page, n).locator("details > p")
        expect(reason).to_be_hidden()
        form(page, n).locator("summary").press("Enter")
        expect(reason).to_contain_text(answer)
        expect(reason).to_be_visible()
    expect(form(page, 0).locator("label").first).to_be_visible()
    page.close()


@pytest.mark.parametrize("guessed", [False, True])
def test_paper_has_question_options_and_answer(page, guessed):
    if guessed:
        form(page, 0).get_by_role("radio").first.check()
        form(page, 0).get_by_role("button").click()
    page.emulate_media(media="print")
    page.evaluate("document.querySelectorAll('details').forEach(box => box.open = true)")  # as vaebook.js does
    printed = " ".join(form(page, 0).inner_text().split())
    assert printed.startswith(r"Predict first Which term of \(L\) falls first? a the KL b minus the")
    assert printed.endswith(r"b. The KL starts at \(0\).")
    assert page.locator("form :is(input, button, summary):visible").count() == 0


def test_no_barrier_in_a_question(page):
    for n in (0, 1):
        form(page, n).locator("input").first.fill("2") if n else form(page, n).locator("input").first.check()
        form(page, n).get_by_role("button").click()
    found = Axe().run(page, context="form", options={"resultTypes": ["violations"]}).response["violations"]
    assert [(v["id"], [node["html"] for node in v["nodes"]]) for v in found] == []


@pytest.mark.parametrize(
    "old, new, fault",
    [
        (":answer: b", ":answer: c", "its answer is one of a, b, not 'c'"),
        ("- b: minus", "- c: minus", "its options are two to four"),
        ("- b: minus\n  the $\\log p$\n", "", "its options are two to four"),
        ("- a: the KL", "the KL", "an option is a line such as"),
        ("The KL starts\nat $0$.", "", "the reason is missing"),
        ("- a: the KL\n- b: minus\n  the $\\log p$\n---\n", "", "answer and tolerance are numbers"),
    ],
)
def test_a_question_that_cannot_be_answered_is_an_error(tmp_path, old, new, fault):
    assert old in CHOICE
    said, _ = build(tmp_path, CHOICE.replace(old, new))
    assert fault in said


def test_a_notebook_has_the_question_in_a_cell_and_its_answer_folded():
    node = predict.predict("", answer="b", unit="")
    node += predict.predict_question("", "", nodes.Text("Which?"))
    node += [predict.predict_option("", "", nodes.Text(text), letter=text[-1]) for text in ("term a", "term b")]
    node += predict.predict_reason("", "", nodes.Text("It costs "), nodes.math("", "x"))
    page = notebooks.Notebook(notebooks.Markdown(None, {}, str))
    page.say("Before.")
    page.block(node)
    page.say("After.")
    page.end_of_words()
    assert [cell.source for cell in page.cells] == [
        "Before.",
        "**Predict first.** Which?\n\n- a: term a\n- b: term b\n\n"
        "<details>\n<summary><b>Answer</b></summary>\n\n**b.** It costs $x$\n\n</details>",
        "After.",
    ]
