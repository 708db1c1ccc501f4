"""The book in Japanese: what there is to translate, and the translations in their places.

Sphinx translates the messages of a page itself, from locales/ja/LC_MESSAGES/PAGE.po. Here is the rest: the build in
English notes each page's messages, and the words of its pictures and tables, in OUT/../messages (tools/messages.py
brings the .po files up to date with them); and what Sphinx's transform cannot do is done: displayed equations with
words in them, titles of exercises, captions of the table of contents, the words of pictures and tables.
"""

import gettext
import html
import json
import re
from pathlib import Path

from docutils import nodes
from sphinx import addnodes
from sphinx.transforms import SphinxTransform
from sphinx.util.nodes import extract_messages
from sphinx_exercise.nodes import exercise_enumerable_node, exercise_node, exercise_subtitle

FIGURES = "figures"  # the catalogue of the words in pictures and tables that cells print
WORDS_IN_MATH = re.compile(r"\\text\{[^}]*[A-Za-z]")
NUMBER = re.compile(r"(?<![\w.])[−-]?\d[\d,]*(?:\.\d+)?")  # those of runs change; a message has # for each
SHOWN = re.compile(
    r'<(?P<tag>script|style)\b.*?</(?P=tag)>|aria-label="(?P<label>[^"]*)"|(?<=>)(?P<text>(?:[^<>]|<wbr/>)+)(?=<)',
    re.DOTALL,
)
WORD = re.compile(r"[A-Za-z]{2}")


def catalogue(app, name):
    """Return a function from message to translation, or to the message itself where there is none."""
    folder = Path(app.srcdir, app.config.locale_dirs[0])
    return gettext.translation(name, folder, [app.config.language], fallback=True).gettext


def with_numbers(words, translation):
    """Return the translation, each # of which becomes the number that stands in its place in the English words."""
    numbers = iter(NUMBER.findall(words))
    return re.sub("#", lambda found: next(numbers, "#"), translation)


def in_pictures(fragment, say):
    """Return the HTML with what `say` makes of each message in it, seen or read out; numbers stand as # in them."""

    def translate(found):
        kind = "label" if found["label"] else "text"
        words = " ".join(html.unescape((found[kind] or "").replace("<wbr/>", "")).split())
        if not WORD.search(words):
            return found[0]
        message = NUMBER.sub("#", words)
        translated = say(message)
        if translated == message:
            return found[0]
        said = html.escape(with_numbers(words, translated))
        return f'aria-label="{said}"' if kind == "label" else said

    return SHOWN.sub(translate, fragment)


class Notes(dict):
    """The messages of each page, in their order, as build.py keeps them for tools/messages.py."""

    def note(self, page, message):
        found = self.setdefault(page, [])
        if message not in found:
            found.append(message)


class Messages(SphinxTransform):
    """Runs right before Sphinx's Locale (priority 20), and sees what that will see."""

    default_priority = 19

    def apply(self):
        page, notes = self.env.docname, self.app.vaebook_notes
        say = catalogue(self.app, page)
        for title in self.document.findall(exercise_subtitle):
            title.rawsource = title.rawsource or title.astext()
            title.source, title.line = self.document["source"], 0
        for block in self.document.findall(nodes.math_block):
            block["translatable"] = False  # Locale would take it for a paragraph
            if WORDS_IN_MATH.search(block.astext()):
                notes.note(page, block.astext())
                block.children = [nodes.Text(say(block.astext()))]
        for node, message in extract_messages(self.document):
            if "docstring of" in (node.source or ""):  # code, and stays English
                node["translatable"] = False
            elif re.search(r"[A-Za-z]", re.sub(r"`[^`]*`(?<!\}`)|\$[^$]*\$", "", message)):
                notes.note(page, message)
        found = catalogue(self.app, FIGURES)

        def words(message):
            notes.note(FIGURES, message)
            return found(message)

        for output in self.document.findall(nodes.raw):
            if "html" in output.get("format", "").split():
                output.children = [nodes.Text(in_pictures(output.astext(), words))]


class AfterLocale(SphinxTransform):
    """sphinx_exercise keeps a copy of each exercise for its solution's title; it is to be the translated one."""

    default_priority = 21

    def apply(self):
        for node in self.document.findall(lambda n: isinstance(n, exercise_node | exercise_enumerable_node)):
            self.env.sphinx_exercise_registry[node["label"]]["node"] = node.deepcopy()


class Captions(SphinxTransform):
    """The captions of the table of contents, which come after Locale (sphinx_external_toc, priority 100)."""

    default_priority = 101

    def apply(self):
        say = catalogue(self.app, self.env.docname)
        for toctree in self.document.findall(addnodes.toctree):
            toctree.preserve_original_messages()
            for message in toctree.extract_original_messages():
                self.app.vaebook_notes.note(self.env.docname, message)
                toctree.apply_translated_message(message, say(message))


def prepare(app):
    app.vaebook_notes = Notes()


def write_notes(app, exception):
    if exception is None and app.config.language == "en":
        folder = Path(app.outdir).parent / "messages"
        folder.mkdir(exist_ok=True)
        for page, messages in app.vaebook_notes.items():
            text = json.dumps(messages, ensure_ascii=False, indent=1)
            folder.joinpath(f"{page}.json").write_text(text + "\n", encoding="utf-8")


def setup(app):
    app.add_transform(Messages)
    app.add_transform(AfterLocale)
    app.add_transform(Captions)
    app.connect("builder-inited", prepare)
    app.connect("build-finished", write_notes)
    return {"version": "1", "parallel_read_safe": False, "parallel_write_safe": True}
