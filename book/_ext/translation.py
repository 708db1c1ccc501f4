"""The book in Japanese: what there is to translate, and the translations in their places.

Sphinx translates the messages of a page itself, from locales/ja/LC_MESSAGES/PAGE.po. Here is the rest: the build in
English notes each page's messages, and the words of its pictures and tables, in OUT/../messages (tools/messages.py
brings the .po files up to date with them); and what Sphinx's transform cannot do is done: displayed equations with
words in them, titles of exercises, captions of the table of contents, the words of pictures and tables.
"""

import gettext
import html
import json
import os
import re
from pathlib import Path

from docutils import nodes
from picture_words import in_pictures
from solutions import left_out
from sphinx import addnodes
from sphinx.locale import translators
from sphinx.transforms import SphinxTransform
from sphinx.util.nodes import extract_messages
from sphinx_exercise.nodes import exercise_enumerable_node, exercise_node, exercise_subtitle
from words import _

SCRIPTS = "scripts"  # the catalogue of the words that scripts write, in explorers above all (_assets/words.js)
FIGURES = "figures"  # the catalogue of the words in pictures and tables that cells print
WORDS_IN_MATH = re.compile(r"\\text\{(?!(?:loss|data|ELBO)\})[^}]*[A-Za-z]")
NO_WORDS = re.compile(r"(?:\{py:\w+\}|(?<!\}))`[^`]*`|\$[^$]*\$|^vaecore[.\w]+$")  # code and math
JAPANESE = r"[\u3000-\u30ff\u3400-\u9fff\uff00-\uffef]"
JAPANESE_START, JAPANESE_END = re.compile(JAPANESE), re.compile(f"{JAPANESE}$")
JAPANESE_SPACE_START, JAPANESE_SPACE_END = re.compile(f" {JAPANESE}"), re.compile(f"{JAPANESE} $")


def catalogue(app, name, whole=False):
    """Return a function from message to translation, or to the message itself where there is none; or the whole."""
    folder = Path(app.srcdir, app.config.locale_dirs[0])
    found = gettext.translation(name, folder, [app.config.language], fallback=True)
    return (
        {message: said for message, said in vars(found).get("_catalog", {}).items() if message}
        if whole
        else found.gettext
    )


def is_head(node):
    """Whether it is one of the settings above the page's title."""
    return isinstance(node.parent, nodes.field | nodes.field_body)


class Notes(dict):
    """The messages of each page by their catalogue, in their order, for tools/messages.py."""

    def note(self, page, catalogue, message):
        found = self.setdefault(page, {}).setdefault(catalogue, [])
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
            title.parent["translatable"] = False  # "Exercise" and the title in one
        for block in self.document.findall(nodes.math_block):
            block["translatable"] = WORDS_IN_MATH.search(block.astext()) is not None
        for node, message in extract_messages(self.document):
            if "docstring of" in (node.source or ""):  # code, and stays English
                node["translatable"] = False
            elif isinstance(node, nodes.math_block):
                notes.note(page, page, message)
                node[:] = [nodes.Text(say(message))]
                node["translatable"] = False  # Locale would take it for a paragraph
            elif re.search(r"[A-Za-z]", NO_WORDS.sub("", message)) and not is_head(node):
                notes.note(page, page, message)
        found = catalogue(self.app, FIGURES)

        def words(message):
            notes.note(page, FIGURES, message)
            return found(message)

        for output in self.document.findall(nodes.raw):
            if "html" in output.get("format", "").split():
                output[:] = [nodes.Text(in_pictures(output.astext(), words))]


class AfterLocale(SphinxTransform):
    """Takes the spaces out that stand between Japanese letters only because markdown wants them around its marks.

    sphinx_exercise keeps a copy of each exercise for its solution's title; it is to be the translated one.
    """

    default_priority = 21

    def apply(self):
        for text in list(self.document.findall(nodes.Text)) if self.config.language == "ja" else []:
            before, after = neighbours(text)
            words = str(text)
            if JAPANESE_END.search(before) and JAPANESE_SPACE_START.match(words):
                words = words[1:]
            if JAPANESE_SPACE_END.search(words) and JAPANESE_START.match(after):
                words = words[:-1]
            if words != text:
                text.parent.replace(text, nodes.Text(words))
        for node in self.document.findall(lambda n: isinstance(n, exercise_node | exercise_enumerable_node)):
            self.env.sphinx_exercise_registry[node["label"]]["node"] = node.deepcopy()


def neighbours(text):
    """Return the words right before and right after a text in its line."""
    line = text.parent.children
    at = next(i for i, node in enumerate(line) if node is text)
    return tuple(shown(line[i]) if 0 <= i < len(line) else "" for i in (at - 1, at + 1))


def shown(node):
    """Return the words of a node; a reference to an equation or a figure does not have its own yet."""
    if isinstance(node, addnodes.pending_xref) and not node.get("refexplicit"):
        return {"eq": "式 (1)", "numref": "図 1"}.get(node["reftype"], node.astext())
    return node.astext()


class Captions(SphinxTransform):
    """The captions of the table of contents, which come after Locale (sphinx_external_toc, priority 100)."""

    default_priority = 101

    def apply(self):
        say = catalogue(self.app, self.env.docname)
        for toctree in self.document.findall(addnodes.toctree):
            toctree.preserve_original_messages()
            for message in toctree.extract_original_messages():
                self.app.vaebook_notes.note(self.env.docname, self.env.docname, message)
                toctree.apply_translated_message(message, say(message))


def link_languages(app, pagename, templatename, context, doctree):
    """Links to the same page in the other language, for readers and for search engines."""
    if os.environ.get("VAEBOOK_LANGUAGES") != "en ja":
        return
    file, here = f"{pagename}{app.builder.link_suffix}", app.config.language
    home = app.config.html_baseurl.rstrip("/").removesuffix("/ja") or ("." if here == "en" else "..")
    alternates = {"en": f"{home}/{file}", "ja": f"{home}/ja/{file}"}
    context["metatags"] = context.get("metatags", "") + "".join(
        f'<link rel="alternate" hreflang="{code}" href="{html.escape(address)}" />'
        for code, address in alternates.items()
    )
    code, name, folder = ("ja", "日本語", "ja/") if here == "en" else ("en", "English", "../")
    context["other_language"] = {"code": code, "name": name, "link": context["pathto"](folder + file, 1)}


def theme_words():
    """What the theme says in English whatever the language of the book is."""
    return {
        'aria-label="Main"': _("Main"),
        'aria-label="Page"': _("Page"),
        'title="Toggle primary sidebar"': _("Toggle primary sidebar"),
        'title="Toggle secondary sidebar"': _("Toggle secondary sidebar"),
    }


def say_the_rest(app, exception):
    if exception is None and app.config.language != "en" and "html" in app.builder.format:
        for file in Path(app.outdir).glob("*.html"):
            page = file.read_text(encoding="utf-8")
            for words, said in theme_words().items():
                page = page.replace(words, f'{words.partition("=")[0]}="{html.escape(said)}"')
            file.write_text(page, encoding="utf-8")


def prepare(app):
    app.vaebook_notes = Notes()
    if app.config.language != "en" and "html" in app.builder.format:
        words = catalogue(app, SCRIPTS, whole=True)
        pictures = catalogue(app, FIGURES, whole=True)  # explorers show the machine too
        words |= {message: said for message, said in pictures.items() if message.startswith("Graph of the machine")}
        file = Path(app.outdir, "_static", "words-of-scripts.js")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"var vaebookWords = {json.dumps(words, ensure_ascii=False)};\n", encoding="utf-8")
        app.add_js_file(file.name, priority=300)
        app.add_js_file("words.js", priority=300)


def write_notes(app, exception):
    if exception is None and app.config.language == "en" and not left_out():
        folder = Path(app.outdir).parent / "messages"
        folder.mkdir(exist_ok=True)
        for page, messages in app.vaebook_notes.items():
            text = json.dumps(messages, ensure_ascii=False, indent=1)
            folder.joinpath(f"{page}.json").write_text(text + "\n", encoding="utf-8")


def setup(app):
    translators.pop(("general", "exercise"), None)  # sphinx_exercise's own Japanese word for an exercise is another one
    for name in ("vaebook", "exercise"):
        app.add_message_catalog(name, str(Path(app.srcdir, app.config.locale_dirs[0])))
    app.add_transform(Messages)
    app.add_transform(AfterLocale)
    app.add_transform(Captions)
    app.connect("builder-inited", prepare)
    app.connect("html-page-context", link_languages, priority=400)  # before the theme drops templates that say nothing
    app.connect("build-finished", write_notes)
    app.connect("build-finished", say_the_rest)
    return {"version": "1", "parallel_read_safe": False, "parallel_write_safe": True}
