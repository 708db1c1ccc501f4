"""The pages that serve the chapters: every word has one spelling and an entry, every public name a place."""

import ast
import re
from pathlib import Path

import manuscript as ms
import pytest

ROOT = Path(__file__).parents[2]
PAGES = {path.stem: path.read_text() for path in sorted((ROOT / "book").glob("*.md"))}
SOURCES = {path.stem: path.read_text() for path in sorted((ROOT / "vaecore").rglob("*.py")) if path.stem != "make"}
README = (ROOT / "README.md").read_text()


def entries(glossary: str) -> list[list[str]]:
    """The terms of each entry: several where they share an explanation."""
    (block,) = (block for block in ms.blocks(glossary) if block.kind == "glossary")
    return [re.findall(r"^\S.*$", part, re.MULTILINE) for part in re.split(r"\n\n", block.body.strip())]


def other_spellings(glossary: str) -> list[str]:
    """The right column of the glossary's table."""
    rows = re.findall(r"^\| [^|]+ \| ([^|]+) \|$", glossary.split("(glossary-spelling)=")[1], re.MULTILINE)
    return [word for row in rows[1:] for word in row.split(", ")]


def prose(text: str) -> str:
    """A page without code, math, links' targets and what may be a quotation (in quotation marks or italics)."""
    text_only = "\n".join(b.body for b in ms.blocks(text) if b.kind not in {"code-cell", "code-block", "math"})
    quotation = r'"[^"]*"|「[^」]*」|(?<!\*)\*[^*\n]+\*(?!\*)'
    return re.sub(rf"^> .*$|`[^`]*`|\$[^$]+\$|\]\([^)]*\)|^\|.*\|$|{quotation}", " ", text_only, flags=re.MULTILINE)


def spelling_faults(text: str, others: list[str]) -> list[str]:
    return re.findall("|".join(rf"\b{re.escape(word)}\b" for word in others), text, re.IGNORECASE)


def docstrings_of(source: str) -> str:
    nodes = [n for n in ast.walk(ast.parse(source)) if isinstance(n, ast.Module | ast.FunctionDef | ast.ClassDef)]
    return "\n".join(ast.get_docstring(node) or "" for node in nodes)


def test_the_glossary_is_in_order():
    first = [terms[0].lower() for terms in entries(PAGES["glossary"])]
    assert len(first) > 30 and first == sorted(first)


def test_words_are_spelt_as_in_the_glossary():
    texts = PAGES | {"README": README} | {name: docstrings_of(source) for name, source in SOURCES.items()}
    others = other_spellings(PAGES["glossary"])
    assert {name: found for name, text in texts.items() if (found := spelling_faults(prose(text), others))} == {}


def test_every_module_has_its_place_in_the_reference():
    shown = set(re.findall(r"automodule:: vaecore\.(\w+)", PAGES["api"]))
    modules = {
        path.stem for path in (ROOT / "vaecore").iterdir() if path.suffix == ".py" or (path / "base.py").exists()
    }
    assert shown == modules - {"__init__"}


def test_every_equation_that_a_docstring_names_is_a_link(site):
    page = (site / "api.html").read_text()
    named = {label for source in SOURCES.values() for label in ms.equations_named(source)}
    assert {label for label in named if f"#equation-{label}" not in page} == set()
    assert "<dl>" not in page and 'class="sig-line"' in page  # a list without terms is a barrier
    assert re.search(r'id="vaecore\.vae\.VAE\.elbo"', page) and not re.search(r'id="vaecore\.[\w.]*\._', page)


# From here on: each rule sees a text that breaks it.

GLOSSARY = "```{glossary}\nELBO\nevidence lower bound\n  A number.\n\nnat\n  A unit.\n```\n(glossary-spelling)=\n"
TABLE = "| Here | Elsewhere also |\n|---|---|\n| autoencoder | auto-encoder, auto encoder |\n"


def test_entries_and_spellings_are_read():
    assert entries(GLOSSARY) == [["ELBO", "evidence lower bound"], ["nat"]]
    assert other_spellings(GLOSSARY + TABLE) == ["auto-encoder", "auto encoder"]


@pytest.mark.parametrize("text, n", [("An Auto-encoder.", 1), ('The "auto-encoder" of old.', 0), ("`auto-encoder`", 0)])
def test_other_spellings_are_found(text, n):
    assert len(spelling_faults(prose(text), ["auto-encoder"])) == n
