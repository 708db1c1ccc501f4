"""The book's Sphinx extension: pages that need no network, fit every screen, and say how they were run."""

import base64
import hashlib
import html
import json
import os
import re
import shutil
from importlib.metadata import files
from pathlib import Path

from docutils import nodes
from sphinx.search.en import SearchEnglish
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective
from words import _, numberless, with_numbers

logger = logging.getLogger(__name__)
ASSETS = Path(__file__).resolve().parents[1] / "_assets"
MATHJAX = "tex-svg-full.js"  # one file, with its fonts inside
EMBEDDED = re.compile(r'(?:xlink:)?href="data:image/png;base64,([A-Za-z0-9+/=\s]+)"|'
                      r'src="data:image/png;base64,([A-Za-z0-9+/=\s]+)"')  # fmt: skip
PICTURE = re.compile(r'<svg class="vae-picture"([^>]*?\bwidth="([\d.]+)(pt|px|)".*?</svg>)', re.DOTALL)
REWRITTEN = (  # what other extensions write: axe finds fault with the first three, a reader with the others
    (re.compile(r' id="(?:exercise|solution)-content"'), ""),  # the same id in each exercise
    (re.compile(r' role="doc-biblioentry"'), ' role="listitem"'),  # a deprecated role, and no child of a list
    (re.compile(r"<th[^>]*>(?:<p></p>)?</th>"), "<td></td>"),  # the corner of a table is no header
    (re.compile(r"(Solution to|解答)(<a [^>]*>) "), r"\1 \2"),  # the space was underlined
    # in the signatures of the reference: a ninth of that page
    (re.compile(r'<span class="([npow])"><span class="pre">([^<]*)</span></span>'), r'<span class="\1">\2</span>'),
)
JAPANESE_PAIR = re.compile(r"(?=([\u3040-\u30ff\u3400-\u9fff々]{2}))")  # one at each letter that another follows
JAPANESE_QUOTE = re.compile(r"<blockquote>(?=(?:(?!</blockquote>).)*[\u3040-\u30ff])", re.DOTALL)
TOUCHING = r"([^\s<>\u3000-\uffef]{0,20})"  # not Japanese, which has no spaces: its lines break anywhere
FORMULA = re.compile(rf'{TOUCHING}<span class="math [^>]*>[^<]*</span>{TOUCHING}')
ASSET = re.compile(r'<(style|script)([^>]*) class="vae-(style|blob|module)"( data-id="(\w+)")?>(.*?)</\1>', re.DOTALL)
TEXT = re.compile(r"<text\b.*?</text>", re.DOTALL)
FONT_SIZE = re.compile(r"""\bfont(?:-size)?(?:: ?|=")(?:[a-z]+ )*([\d.]+)""")
LEAST_TEXT = 9  # CSS pixels: a picture shrinks no further than until its smallest words have this size; its box scrolls


class chapter_facts(nodes.General, nodes.Element):
    """Stands where the facts come, until the chapter has run."""


class ChapterFacts(SphinxDirective):
    """`{chapter-facts}`: how long the page ran, and on what."""

    def run(self):
        node = chapter_facts()
        self.set_source_info(node)
        return [node]


class FillChapterFacts(SphinxPostTransform):
    default_priority = 5

    def run(self, **kwargs):
        for node in list(self.document.findall(chapter_facts)):
            record = getattr(self.env, "nb_metadata", {}).get(self.env.docname, {}).get("exec_data")
            if not record or record["runtime"] is None:
                logger.warning("chapter-facts stands in a page without executed cells", location=node)
                node.parent.remove(node)
                continue
            loads_digits = "mnist(" in Path(self.env.doc2path(self.env.docname)).read_text(encoding="utf-8")
            facts = sentence(record["runtime"], machine(), loads_digits)
            node.replace_self(nodes.paragraph("", facts, classes=["chapter-facts"]))


def descriptions():
    """What `vaecore.data` says of the digits, as messages."""
    return _("MNIST: # training and # test digits"), _(
        "MNIST: # training and # test digits of the # bundled with vaecore"
    )


def machine():
    """The machine the chapters ran on, as build.py noted it; it drops old executions when this changes."""
    if "VAEBOOK_MACHINE" not in os.environ:
        raise RuntimeError("build the book with `make book`: it notes what the chapters run on.")
    return json.loads(os.environ["VAEBOOK_MACHINE"])


def sentence(seconds, on, loads_digits):
    """One line such as: This page ran in 41 s on 2 CPU cores; toy data of its own; Python 3.11, torch 2.15.0."""
    took = _("less than a second") if seconds < 1 else _("{n} s").format(n=f"{seconds:.0f}")
    if seconds >= 120:
        took = _("{n} minutes").format(n=f"{seconds / 60:.0f}")
    cores = (_("{n} CPU core") if on["cores"] == 1 else _("{n} CPU cores")).format(n=on["cores"])
    device = {"cpu": cores, "mps": _("the GPU of a Mac")}.get(on["device"], on["device"])
    data = with_numbers(on["data"], _(numberless(on["data"]))) if loads_digits else _("toy data of its own")
    versions = dict(python=".".join(on["python"].split(".")[:2]), torch=on["torch"].split("+")[0])
    return _("This page ran in {took} on {device}; {data}; Python {python}, torch {torch}.").format(
        took=took, device=device, data=data, **versions
    )


def pictures_to_files(body, folder, link):
    """Moves PNGs out of inline SVG into files named by content, so that pages stay small."""

    def move(match):
        content = base64.b64decode(match.group(1) or match.group(2))
        name = hashlib.sha256(content).hexdigest()[:20] + ".png"
        folder.mkdir(parents=True, exist_ok=True)
        folder.joinpath(name).write_bytes(content)
        return f'{"href" if match.group(1) else "src"}="{link(name)}"'

    return EMBEDDED.sub(move, body)


def explorers_to_files(body, folder, link):
    """Moves the style, the script and the nets of explorers into files of their own, each one fetched once.

    All but the style become classic scripts, which load from file:// too, where a page may not fetch anything else.
    """
    here = set()

    def move(match):
        _, attributes, kind, _, name, content = match.groups()
        name = name or hashlib.sha256(content.encode()).hexdigest()[:20]
        file = f"{name}.css" if kind == "style" else f"{name}.js"
        if kind == "blob":
            content = f"(globalThis.vaecoreBlobs ??= {{}})[{json.dumps(name)}] = {json.dumps(content)};\n"
        folder.mkdir(parents=True, exist_ok=True)
        folder.joinpath(file).write_text(content, encoding="utf-8")
        if name in here:
            return ""
        here.add(name)
        if kind == "style":
            return f'<link rel="stylesheet" href="{link(file)}" />'
        if kind == "module":
            return f'<script defer src="{link(file)}"></script>'
        return f'<script{attributes} class="vae-blob" data-id="{name}" data-src="{link(file)}"></script>'

    return ASSET.sub(move, body)


def pictures_to_screens(body):
    """Gives every picture with words in it the width below which it does not shrink."""

    def limit(match):
        rest, width, _ = match.groups()
        words = [max(map(float, sizes)) for text in TEXT.findall(rest) if (sizes := FONT_SIZE.findall(text))]
        pixels = float(width) * LEAST_TEXT / min(words) if words else 0  # indices and exponents may be smaller
        least = f' style="--vae-least-width: {pixels:.0f}px"' if words else ""
        return f'<svg class="vae-picture"{least}{rest}'

    return PICTURE.sub(limit, body)


def quotes_in_their_language(body):
    """Marks quotations from the Japanese source as Japanese, for fonts and for screen readers."""
    return JAPANESE_QUOTE.sub('<blockquote lang="ja">', body)


def formulas_with_what_touches_them(body):
    """Keeps brackets and stops on the line of their formula; browsers break lines there."""

    def keep(match):
        return f'<span class="vae-together">{match[0]}</span>' if match[1] or match[2] else match[0]

    return FORMULA.sub(keep, body)


def without_slips(body):
    """Mends roles, ids and table corners, for screen readers, and the links to exercises."""
    for pattern, mended in REWRITTEN:
        body = pattern.sub(mended, body)
    return body


def first_paragraph(doctree):
    """What the page promises, or else its opening words, for search engines and link previews."""
    for paragraph in doctree.findall(nodes.paragraph):
        text = " ".join(paragraph.astext().split())
        own = "chapter-facts" not in paragraph["classes"] and not text.startswith(_("Before:"))
        if own and isinstance(paragraph.parent, nodes.section):
            text = re.sub("^" + _("After:"), _("After this page"), text)
            return text if len(text) <= 160 else text[:160].rsplit(" ", 1)[0] + " ..."
    return None


def is_widget_state(script):
    """Whether myst-nb wrote here what the kernel's widgets were: no widget is left to read it, and it is large."""
    return getattr(script, "attributes", {}).get("type") == "application/vnd.jupyter.widget-state+json"


def finish_page(app, pagename, templatename, context, doctree):
    """Everything that happens to a page's HTML right before it is written."""
    pathto = context["pathto"]
    context["script_files"] = [script for script in context["script_files"] if not is_widget_state(script)]
    if context.get("body"):
        static = Path(app.outdir, "_static")
        body = explorers_to_files(
            context["body"], static / "explorers", lambda name: pathto(f"_static/explorers/{name}", 1)
        )
        body = pictures_to_files(body, static / "pictures", lambda name: pathto(f"_static/pictures/{name}", 1))
        body = formulas_with_what_touches_them(quotes_in_their_language(pictures_to_screens(body)))
        context["body"] = without_slips(body)
    description = first_paragraph(doctree) if doctree is not None else None
    titles = {"search": _("Search"), "genindex": _("Index of all names")}  # pages that bring none
    description = description or f"{context.get('title') or titles[pagename]}: {app.config.html_title}"
    context.setdefault("pagetitle", titles.get(pagename))  # the heading on paper
    tag = f'<meta name="description" content="{html.escape(description)}" />'
    context["metatags"] = context.get("metatags", "") + tag


class Search(SearchEnglish):
    """Finds Japanese words, between which there are no spaces, as well as English ones.

    In the page, Sphinx's search looks for a word of three letters or more within those of the index, if the index does
    not have it alone; a shorter one it looks up. So a stretch of Japanese stands there with a mark, and in pairs.
    """

    def split(self, input):
        words = super().split(input)
        return [f"・{word}" if JAPANESE_PAIR.search(word) else word for word in words] + JAPANESE_PAIR.findall(input)

    def word_filter(self, word):  # Sphinx's own drops pairs of hiragana
        return word not in self.stopwords


class JapaneseSearch(Search):
    lang = "ja"
    language_name = "Japanese"


def bring_mathjax(app):
    """Copies MathJax from its pip package: pages must not fetch it from a CDN."""
    source = next(f for f in files("sphinx-mathjax-offline") if f.name == MATHJAX).locate()
    target = Path(app.outdir, "_static", "mathjax", MATHJAX)
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)


def bring_assets(app, config):
    config.html_static_path = [*config.html_static_path, str(ASSETS)]
    config.templates_path = [str(Path(__file__).with_name("templates")), *config.templates_path]
    config.html_favicon = str(ASSETS / "favicon.svg")


def setup(app):
    app.add_config_value("comments_config", {}, "html")  # Jupyter Book sets it, sphinx_comments is not there to know it
    app.add_node(chapter_facts)
    app.add_directive("chapter-facts", ChapterFacts)
    app.add_post_transform(FillChapterFacts)
    for language in (Search, JapaneseSearch):
        app.add_search_language(language)
    app.add_css_file("vaebook.css")
    app.add_js_file("vaebook.js")
    app.connect("config-inited", bring_assets)
    app.connect("builder-inited", bring_mathjax)
    app.connect("html-page-context", finish_page, priority=900)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
