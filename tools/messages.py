"""The translations: `python -m tools.messages update` brings the .po files up to date with the pages built last.

`python -m tools.messages check [PAGE ...]` says what is wrong with them; it takes seconds and needs no build.
"""

import argparse
import ast
import io
import json
import re
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from babel.messages.catalog import Catalog
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po
from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from myst_parser.config.main import MdParserConfig
from myst_parser.parsers.mdit import create_md_parser

ROOT = Path(__file__).resolve().parents[1]
CATALOGUES = ROOT / "book" / "locales" / "ja" / "LC_MESSAGES"
HEADER = 'msgid ""\nmsgstr ""\n"Language: ja\\n"\n"Content-Type: text/plain; charset=UTF-8\\n"\n\n'
NO_PAGE = {"figures", "scripts", "vaebook", "sphinx", "exercise"}  # catalogues of plain words, not of markdown
SHORT = 40  # characters of a message; shorter ones that resemble each other say different things
BY_HAND = {"scripts", "sphinx", "exercise"}  # those that no build notes
PLACES = re.compile(r"#|\{\w+\}")
TOKENS = re.compile(r"\{[\w:+-]+\}`[^`]*`|\$[^$]+\$|`+[^`]+`+|\]\([^)]*\)|https?://[\w./?#=&%-]+")
NO_PARAGRAPH = "no paragraph"
LEFT_OVER = re.compile(r"\*+|`+|\$|\{[a-z:]+\}")
TERM = re.compile(r"\{term\}`(?:([^`<]*?) *<)?([^`>]*)>?`")
DIGITS = re.compile(r"\d[\d,.]*\d|\d")
ENGLISH = re.compile(r"[A-Za-z][a-z']+(?:[ ,;]+[a-z']+){3}")
JAPANESE = re.compile(r"[\u3040-\u30ff\u3400-\u9fff]")


def read(file: Path) -> Catalog:
    with file.open("rb") as opened:
        return read_po(opened, locale="ja", charset="utf-8")


def written(catalogue: Catalog) -> bytes:
    """Return the text of a .po file without dates, lines of sources and breaks in lines, so that diffs stay small."""
    for message in catalogue:
        message.flags &= {"fuzzy"}  # Babel takes roles for formats of Python
    out = io.BytesIO()
    write_po(out, catalogue, width=0, no_location=True, omit_header=True, ignore_obsolete=True, include_previous=True)
    return HEADER.encode() + out.getvalue()


def renewed(old: Catalog, messages: dict[str, list[str]]) -> Catalog:
    """Return the messages with the translations of the old catalogue; those of similar messages are marked fuzzy.

    Each message has a list of pages; the file names them where a message may be of any.
    """
    new = Catalog(charset="utf-8")
    for message in messages:
        new.add(message)
    old.update(new)
    ordered = Catalog(charset="utf-8")
    for message, pages in messages.items():
        kept = old[message]
        is_guess = kept.fuzzy and len(message) < SHORT
        added = ordered.add(message, "" if is_guess else kept.string, auto_comments=[", ".join(pages)] * bool(pages))
        if kept.fuzzy and not is_guess:
            added.previous_id = kept.previous_id
        added.flags = set(kept.flags) if added.string else set()
    return ordered


def states(catalogue: Catalog) -> list[tuple]:
    return [(message.id, message.string, message.fuzzy, message.auto_comments) for message in catalogue if message.id]


def wanted(noted: Path, pages: list[str]) -> dict[str, dict[str, list[str]]]:
    """Return the messages of each catalogue, as the build has noted them page by page, each with its other pages."""
    found: dict[str, dict[str, list[str]]] = {}
    for page in pages:
        for name, messages in json.loads(noted.joinpath(f"{page}.json").read_text(encoding="utf-8")).items():
            for message in messages:
                found.setdefault(name, {}).setdefault(message, []).extend([page] * (name != page))
    return found


def in_language(language: str) -> Callable[[str], str]:
    """Return a function that says the fixed words of tools in a language."""
    if language == "en":
        return lambda words: words
    said = read(CATALOGUES / "vaebook.po")
    return lambda words: str(said[words].string) if words in said and said[words].string else words


def of_extensions() -> dict[str, list[str]]:
    """Return the fixed words of the book's extensions, and of the PDF."""
    files = [*sorted((ROOT / "book" / "_ext").glob("*.py")), ROOT / "tools" / "pdf.py"]
    calls = (node for file in files for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))))
    said = (
        node.args[0] for node in calls if isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("_", "N_")
    )
    return {words.value: [] for words in said if isinstance(words, ast.Constant)}  # Babel does not look into f-strings


def update(noted: Path, folder: Path, pages: list[str]) -> None:
    """Bring the .po files up to date with what the build has noted; drop those of pages that have gone."""
    catalogues = wanted(noted, pages) | {"vaebook": of_extensions()}
    for file in folder.glob("*.po"):
        if file.stem not in {*catalogues, *BY_HAND}:
            file.unlink()
    for name, messages in catalogues.items():
        file = folder / f"{name}.po"
        old = read(file) if file.exists() else Catalog(charset="utf-8")
        before = states(old)
        new = renewed(old, messages)
        if states(new) != before:  # else the old English of fuzzy messages, which Babel does not read, would go
            file.write_bytes(written(new))


def write_compiled(folder: Path, target: Path) -> None:
    """Write the .mo file of each .po file, of the translations that are there and not fuzzy."""
    target.mkdir(parents=True)
    for file in sorted(folder.glob("*.po")):
        with target.joinpath(f"{file.stem}.mo").open("wb") as opened:
            write_mo(opened, read(file))


def tokens(text: str) -> Counter:
    """Return what a translation keeps as it is: math, code, addresses, and roles with their targets."""
    found = Counter()
    for token in TOKENS.findall(text):
        if role := re.match(r"(\{[^}]*\})`(?:[^`<]*<)?([^`>]*)>?`$", token):
            token = f"{role[1]}`{role[2]}`"
        elif token[0] == "$":
            token = re.sub(r"\\text\{[^}]*\}", r"\\text{}", token)
        found[token] += 1
    return found


def plain(text: str) -> str:
    return TOKENS.sub(" ", text)


def markdown() -> MarkdownIt:
    return create_md_parser(MdParserConfig(enable_extensions={"dollarmath", "deflist", "colon_fence"}), RendererHTML)


def left_over(text: str, parser: MarkdownIt) -> Counter:
    """Return the marks of markdown that would be seen by the reader, since they mark nothing."""
    blocks = parser.parse(text)
    if [block.type for block in blocks] != ["paragraph_open", "inline", "paragraph_close"]:
        return Counter({NO_PARAGRAPH: 1})
    return Counter(m for t in blocks[1].children or [] if t.type == "text" for m in LEFT_OVER.findall(t.content))


def glossary(folder: Path) -> dict[str, str]:
    """Return the Japanese word of each term of the glossary, which has it as 尤度（likelihood）; longer terms first."""
    found = {"maximum likelihood": "最尤"}
    for message in read(folder / "glossary.po"):
        if entry := re.fullmatch(r"(.+?)（(.+)）", str(message.string)):
            found |= {str(message.id): entry[1]} if entry[2] == message.id else {}
    return dict(sorted(found.items(), key=lambda item: -len(item[0])))


def word_faults(message: str, translation: str, terms: dict[str, str]) -> list[str]:
    """Return the terms that are translated otherwise than in the glossary: those in roles, and long ones in prose."""
    found = [
        f"{term} is {terms[term]} in the glossary, not {words or term}"
        for words, term in TERM.findall(translation)
        if term in terms and terms[term] not in words
    ]
    if JAPANESE.search(message) or message[0] == '"' or translation == message:  # the source's own sentence, spellings
        return found
    prose = plain(message).lower()
    for term, japanese in terms.items():
        said = re.compile(rf"\b{re.escape(term.lower())}s?\b")
        if (" " in term or len(term) > 8) and said.search(prose):
            prose = said.sub(" ", prose)
            found += [] if japanese in translation else [f"{term} is {japanese} in the glossary"]
    return found


def faults(message: str, translation: str, page: str, parser: MarkdownIt) -> list[str]:
    """Return what is wrong with one translation."""
    if not translation:
        return ["not translated"]
    if page in NO_PAGE:
        places = [Counter(PLACES.findall(text)) for text in (message, translation)]
        return [] if places[0] == places[1] else [f"has not the places of the English: {dict(places[0])}"]
    if "\\" in message and not TOKENS.search(message):  # displayed math
        bare = [re.sub(r"\\text\{[^}]*\}", "", text) for text in (message, translation)]
        return [] if bare[0] == bare[1] else ["the formula differs outside of \\text{}"]
    ours, theirs = tokens(translation), tokens(message)
    found = [f"lacks {token}" for token in (theirs - ours)] + [f"has {token} too much" for token in (ours - theirs)]
    digits = Counter(DIGITS.findall(plain(message))) - Counter(DIGITS.findall(plain(translation)))
    found += [f"lacks the number {number}" for number in digits]
    marks, of_message = left_over(translation, parser), left_over(message, parser)
    of_message.pop(NO_PARAGRAPH, None)  # "1. One" in a table is one, but Sphinx takes no translation that is none
    found += [f"a reader would see {mark}" for mark in marks - of_message]
    if "\n" in translation:
        found.append("has a line break")
    if english := ENGLISH.search(plain(translation)):
        found.append(f"is English: {english[0]}")
    return found


def faults_of(file: Path, parser: MarkdownIt, terms: dict[str, str]) -> dict[str, list[str]]:
    """Return what is wrong with each message of a .po file that is at fault."""
    found = {}
    for message in read(file):
        text, translation = str(message.id), str(message.string)
        wrong = faults(text, translation, file.stem, parser) if text else []
        if translation and text and file.stem not in NO_PAGE:
            wrong += word_faults(text, translation, terms)
        if wrong or message.fuzzy:
            found[text] = wrong + ["is fuzzy"] * message.fuzzy
    return found


def check(folder: Path, pages: list[str]) -> int:
    """Print what is wrong, of some pages or all; return how many messages are at fault."""
    parser, terms, n_faulty = markdown(), glossary(folder), 0
    for file in [folder / f"{page}.po" for page in pages] or sorted(folder.glob("*.po")):
        found = faults_of(file, parser, terms)
        for message, wrong in found.items():
            if wrong != ["not translated"]:
                print(f"{file.name}: {message[:90]}\n    " + "\n    ".join(wrong))
        n = sum(bool(message.id) for message in read(file))
        empty = sum(wrong == ["not translated"] for wrong in found.values())
        print(f"{file.name}: {n - empty} of {n} messages translated")
        n_faulty += len(found)
    return n_faulty


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("command", choices=["update", "check"])
    parser.add_argument("pages", nargs="*", help="check only these, such as 02_kl")
    options = parser.parse_args()
    if options.command == "check":
        return min(1, check(CATALOGUES, options.pages))
    pages = sorted(page.stem for page in (ROOT / "book").glob("*.md"))
    update(ROOT / "_build" / "messages", CATALOGUES, pages)
    return 0


if __name__ == "__main__":
    sys.exit(main())
