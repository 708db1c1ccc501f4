"""The pages in Japanese say all that the English ones say, and nothing in English. Each rule sees what breaks it."""

import json
import re
import sys

import pytest
from bs4 import BeautifulSoup
from docutils import nodes
from site_pages import ROOT, TEXTS, visit
from sphinx import addnodes

from tools import messages as ms

sys.path.append(str(ROOT / "book" / "_ext"))
import picture_words
import translation

CATALOGUES = {file.stem: file for file in sorted(ms.CATALOGUES.glob("*.po"))}
PAGES = [*TEXTS, "search", "genindex"]
RENEW = "run `make messages`, translate what it leaves empty or fuzzy, and see `python -m tools.messages check`"
IN_ENGLISH = (  # what stays English: code and what it prints, the reference's docstrings, works and their authors
    "script, style, pre, code, .cell_input, .output.stream, .output.text_plain, .citation, .bibtex-citation,"
    "span.math, div.math, .vae-code, [lang=en], .vae-static title"
)
SENTENCE = re.compile(r"\b[A-Za-z][a-z']+(?:,? [a-z']+){3}")


@pytest.fixture(scope="module")
def parser():
    return ms.markdown()


@pytest.fixture(scope="module")
def terms():
    return ms.glossary(ms.CATALOGUES)


@pytest.mark.parametrize("name", CATALOGUES)
def test_every_message_is_translated(name, parser, terms):
    assert CATALOGUES[name].read_bytes() == ms.written(ms.read(CATALOGUES[name])), RENEW
    assert ms.faults_of(CATALOGUES[name], parser, terms) == {}


def test_the_messages_are_those_of_the_pages(site):
    noted = site.parent / "messages"
    wanted = ms.wanted(noted, list(TEXTS)) | {"vaebook": ms.of_extensions()}
    assert set(CATALOGUES) == {*wanted, *ms.BY_HAND}
    for name, texts in wanted.items():
        kept = [str(message.id) for message in ms.read(CATALOGUES[name]) if message.id]
        assert kept == list(texts), f"{name}: {RENEW}"


OF_THE_THEME = {"Copy", "Copied", "clipboard", "Failed"}


def test_the_words_of_scripts_are_still_written_by_them():
    """A message is composed of parts, so we look for its words."""
    files = [*(ROOT / "vaecore" / "explorer").rglob("*.[jp][sy]"), *(ROOT / "book" / "_assets").glob("*.js")]
    written = " ".join(file.read_text() for file in [*files, ROOT / "vaecore" / "diagrams.py"])
    words = {w for m in ms.read(CATALOGUES["scripts"]) for w in re.findall("[A-Za-z]{4,}", str(m.id))}
    assert {word for word in words - OF_THE_THEME if word not in written} == set()


@pytest.mark.parametrize(
    "message, translation, fault",
    [
        ("Some words.", "", "not translated"),
        ("The $x$ of {ref}`one <a>`.", "{ref}`一 <a>` の $y$。", "lacks $x$"),
        ("See {ref}`one <a>`.", "{ref}`一 <b>` を見よ。", "lacks {ref}`a`"),
        ("It has 50 of them.", "たくさんある。", "lacks the number 50"),
        ("The **bound**.", "これは**「下界」**である。", "would see **"),
        ("1. One.", "1. ひとつ。", "would see no paragraph"),
        ("It learns.", "It learns by itself alone.", "is English"),
        (r"\sum_x x \text{ or}", r"\sum_x y \text{ または}", "outside of"),
    ],
)
def test_poor_translations_are_found(message, translation, fault, parser):
    assert fault in " ".join(ms.faults(message, translation, "a_page", parser))


def test_other_words_than_the_glossary_s_are_found():
    terms = {"posterior": "事後分布", "gap": "ギャップ"}
    assert ms.word_faults("The posterior.", "事後分布。", terms) == []
    assert len(ms.word_faults("The posterior.", "後の分布。", terms)) == 1
    assert len(ms.word_faults("The {term}`gap`.", "{term}`差 <gap>`。", terms)) == 1


def test_a_changed_sentence_asks_for_its_translation():
    old = ms.Catalog(charset="utf-8")
    for message in ("The encoder turns a picture into a Gaussian over latents.", "Gone.", "Kept."):
        old.add(message, "訳")
    changed = "The encoder turns each picture into a Gaussian over latents."
    new = ms.renewed(old, {changed: [], "Kept.": []})
    assert [(m.id, m.string, m.fuzzy) for m in new if m.id] == [(changed, "訳", True), ("Kept.", "訳", False)]


def test_words_of_pictures_keep_their_numbers_and_their_boxes():
    said = {"width #": "幅 #", "encoder": "エンコーダ", "A plot of # dots": "# 個の点の図"}
    table = picture_words.in_pictures("<th>width 64</th><th>log_<wbr/>var</th>", lambda m: said.get(m, m))
    assert table == "<th>幅 64</th><th>log_<wbr/>var</th>"
    word = '<text fill="currentColor" xml:space="preserve" font-size="14.00">encoder</text>'
    graph = f'<svg aria-label="A plot of 1,000 dots">{word}</svg>'
    drawn = picture_words.in_pictures(graph, lambda m: said.get(m, m))
    assert 'aria-label="1,000 個の点の図"' in drawn and 'font-size="10.' in drawn and ">エンコーダ</text>" in drawn


def test_labels_with_formulas_are_read_letter_by_letter():
    letters = [(0, "", "n"), (6, "", "o"), (12, "", "&#160;"), (18, "font-style: italic; ", "d")]
    spans = "".join(f'<tspan x="{x}" y="-1" style="{s}font-size: 10px">{text}</tspan>\n' for x, s, text in letters)
    seen = []
    translated = picture_words.in_pictures(f"<text>\n{spans}</text>", lambda m: seen.append(m) or "数 {1}")
    assert seen[0] == "no {1}" and re.sub("<[^>]*>", "", translated) == "数 d" and "italic" in translated


def test_spaces_that_only_markdown_needs_are_found():
    line = nodes.paragraph("", "", nodes.Text("は "), nodes.strong("", "下界"), nodes.Text(" が "), nodes.math("", "x"))
    line += [nodes.Text(" と "), addnodes.pending_xref("", nodes.literal("", "elbo"), reftype="eq")]
    assert [translation.neighbours(line[i]) for i in (0, 2, 4)] == [("", "下界"), ("下界", "x"), ("x", "式 (1)")]


def test_composed_words_of_scripts_are_said_part_by_part(browser):
    words = {"Digit at {1}": "数字: {1}", "z {1} is {2}": "z{1}は{2}", "minus {1}": "−{1}", "a {1}": "{1}"}
    page = browser.new_page()
    page.add_script_tag(content=f"var vaebookWords = {json.dumps(words)};")
    page.add_script_tag(path=ROOT / "book" / "_assets" / "words.js")
    said = page.evaluate("vaebookSay('Digit at z 4 is minus 0.1, z 2 is 1.0; a 3')")
    assert said == "数字: z4は−0.1、z2は1.0；3"
    page.close()


def test_an_update_writes_what_is_new_and_drops_what_has_gone(tmp_path):
    old = ms.Catalog(charset="utf-8")
    old.add("One.", "いち。")
    old.add("Gone.", "なし。")
    (tmp_path / "a.po").write_bytes(ms.written(old))
    (tmp_path / "a.json").write_text('{"a": ["One.", "Two."]}')
    for _ in range(2):
        ms.update(tmp_path, tmp_path, ["a"])
        assert [(m.id, m.string) for m in ms.read(tmp_path / "a.po") if m.id] == [("One.", "いち。"), ("Two.", "")]


def english(page: str) -> list[str]:
    """Return the sentences in English, seen or read out, of a page in Japanese."""
    soup = BeautifulSoup(page, "html.parser")
    for kept in soup.select(IN_ENGLISH):
        kept.decompose()
    said = [
        element.get(name, "") for name in ("aria-label", "title", "alt", "content") for element in soup.find_all(True)
    ]
    blocks = soup.select("h1, h2, h3, p, li, td, th, dt, figcaption, summary, text, legend, label, a, button")
    return [found[0] for text in [*said, *(b.get_text(" ") for b in blocks)] if (found := SENTENCE.search(str(text)))]


@pytest.mark.parametrize("name", [name for name in PAGES if name != "api"])  # that has docstrings, so code
def test_no_sentence_is_english(site, name):
    assert english((site / "ja" / f"{name}.html").read_text()) == []


def test_an_english_sentence_is_found():
    assert english("<p>The encoder turns it round.</p><pre>as it is in code</pre>") == ["The encoder turns it"]
    assert english('<svg aria-label="A digit that leans left"></svg>') != [] and english("<p>潜在変数 z</p>") == []


EXPLORED = ["05_look_inside", "07_completing_pictures"]  # with four kinds of explorers; the others are slow
WITH_EXPLORERS = [name for name, text in TEXTS.items() if re.search(r"^[^#\n]*\b\w+Explorer\(", text, re.MULTILINE)]
WRITTEN = """() => [...document.querySelectorAll(".vae-live")].flatMap(root => [root.innerText,
    ...[...root.querySelectorAll("[aria-label]")].map(e => e.getAttribute("aria-label"))])"""


@pytest.mark.parametrize(
    "name", [n if n in EXPLORED else pytest.param(n, marks=pytest.mark.slow) for n in WITH_EXPLORERS]
)
def test_explorers_speak_japanese(browser, served, name):
    page = visit(browser, served, f"ja/{name}", 1400).page
    for button in page.locator(".vae-live button:visible").all():
        if button.is_visible() and button.is_enabled():
            button.click()
    page.wait_for_timeout(600)  # longer than the pause before what is said to screen readers
    assert [found[0] for text in page.evaluate(WRITTEN) if (found := re.search(r"[A-Za-z]{3,} [a-z]{3,}", text))] == []
    page.close()


@pytest.mark.parametrize("words", ["尤度", "教師", "変分下界"])
def test_search_finds_japanese_words(browser, address, words):
    page = browser.new_page()
    page.goto(f"{address}ja/search.html?q={words}")
    page.locator("ul.search li > a", has_text=re.compile("用語集")).first.wait_for(timeout=10_000)
    page.close()


def test_a_link_leads_to_the_same_place_in_the_other_language(browser, address):
    page = browser.new_page()
    page.goto(f"{address}04_m1.html")
    page.evaluate("() => window.MathJax?.startup?.promise")
    page.locator("#the-decoder").evaluate("e => e.scrollIntoView()")
    for here in ("ja/04_m1.html", "04_m1.html"):
        box = page.locator("a.vae-language").bounding_box()
        page.mouse.click(box["x"] + 10, box["y"] + 10)  # a locator's click scrolls first
        page.wait_for_url(f"{address}{here}#the-decoder")
        page.wait_for_function("Math.abs(document.querySelector('#the-decoder').getBoundingClientRect().top) < 200")
    page.close()


def test_words_of_the_style_have_their_japanese():
    style = (ROOT / "book" / "_assets" / "vaebook.css").read_text()
    rules = re.findall(r'([^{}]*)\{[^{}]*content: *"([^"]*[A-Za-z]{3}[^"]*)"', style)
    assert rules and all(f":lang(ja) {selector.strip()}" in style for selector, _ in rules)
