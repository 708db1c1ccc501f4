"""The book's Sphinx extension for notebooks: each page with cells also becomes OUT/notebooks/NAME.ipynb.

A notebook stands alone: its first cell (tools/first_cell.py) carries the code (tools/code_wheel.py). The words come
from notebook_markdown.py; the code cells are the page's own, without outputs. Two settings of _config.yml are empty
until the book is published: `html: baseurl`, where links lead and trained weights are fetched from, and
`repository: url`, from whose branch gh-pages Colab opens the notebook.
"""

import base64
import re
import shutil
from pathlib import Path
from urllib.parse import urljoin

import nbformat
from docutils import nodes
from notebook_markdown import Markdown, folded, quoted

from tools.code_wheel import code_wheel, imports

ROOT = Path(__file__).resolve().parents[2]
PUBLISHED_BRANCH = "gh-pages"
METADATA = {
    "accelerator": "GPU",  # Colab's own words for: give this notebook a GPU
    "colab": {"gpuType": "T4", "provenance": []},
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}
FORM = {"cellView": "form", "jupyter": {"source_hidden": True}}  # folded: the former in Colab, the latter elsewhere
BOXES = ("admonition", "note", "tip", "hint", "important", "warning", "exercise_node", "exercise_enumerable_node")


def is_cell(node):
    return isinstance(node, nodes.container) and node.get("nb_element") == "cell_code"


def wrapping(box):
    """What makes markdown of a box's title and words: folded where the page folds it, else a quotation."""
    return folded if "dropdown" in box["classes"] else lambda title, text: quoted(f"**{title}**\n\n{text}")


class Notebook:
    """Gathers the cells of one page: words until a code cell comes, then that, then words again."""

    def __init__(self, words):
        self.words, self.cells, self.pending, self.cited = words, [], [], set()

    def say(self, text):
        self.pending += [text] if text else []

    def end_of_words(self):
        if self.pending:
            self.cells.append(nbformat.v4.new_markdown_cell("\n\n".join(self.pending)))
        self.pending = []

    def section(self, node, depth):
        for child in node.children:
            if isinstance(child, nodes.section):
                self.section(child, depth + 1)
            elif isinstance(child, nodes.title):
                self.say(f"{'#' * depth} {self.heading_number(node, depth)}{self.words.inline(child)}")
            else:
                self.block(child)

    def heading_number(self, section, depth):
        numbers = self.words.builder.secnumbers
        found = [numbers[name] for name in ("" if depth == 1 else f"#{i}" for i in section["ids"]) if name in numbers]
        return ".".join(map(str, found[0])) + ". " if found and found[0] else ""

    def block(self, node):
        kind = type(node).__name__
        if is_cell(node):
            self.code(node)
        elif kind == "predict":
            self.end_of_words()
            self.say(self.words.block(node))
            self.end_of_words()
        elif kind == "solution_node":
            title = self.words.inline(node.children[0]) if not node.get("title") else node["title"]
            self.box(node, lambda text, more: folded(title + (", continued" if more else ""), text), title)
        elif kind in BOXES:
            title, wrap = self.box_title(node), wrapping(node)
            self.box(node, lambda text, more: wrap(title + (", continued" if more else ""), text))
        else:
            self.say(self.words.block(node))

    def box_title(self, node):
        title = node.next_node(nodes.title)
        words = self.words.inline(title) if title is not None and title.parent is node else ""
        if type(node).__name__ == "exercise_enumerable_node":
            return f"{self.words.numbered('exercise', node)}{words}"
        return words or type(node).__name__.capitalize()

    def box(self, node, wrap, hide=""):
        """The stretches of words in a box, each wrapped; the code cells between them stand outside, for they must run.

        With `hide`, a title, these are folded, and so is what they put out.
        """
        stretch, n_stretches = [], 0

        def end_of_stretch():
            nonlocal n_stretches
            if text := "\n\n".join(stretch):
                self.say(wrap(text, n_stretches))
                n_stretches += 1
            stretch.clear()

        for child in self.leaves(node):
            if is_cell(child):
                end_of_stretch()
                self.code(child, hide)
            elif text := self.box_in_a_box(child) if type(child).__name__ in BOXES else self.words.block(child):
                stretch.append(text)
        end_of_stretch()

    def box_in_a_box(self, node):
        """Words alone: a cell in there would warn."""
        return wrapping(node)(self.box_title(node), self.words.blocks(self.leaves(node)))

    def leaves(self, node):
        for child in node.children:
            if isinstance(child, nodes.section):
                yield from self.leaves(child)
            elif not isinstance(child, nodes.title):
                yield child

    def code(self, node, hide=""):
        """A code cell, and below it the caption of its figure."""
        source = next(n for n in node.findall(nodes.container) if n.get("nb_element") == "cell_code_source")
        text, metadata = source.next_node(nodes.literal_block).astext(), {}
        tags = node.get("cell_metadata", {}).get("tags", [])
        if hide:
            text = f"# @title {hide}: its code\n{text}"
            metadata = {**FORM, "collapsed": True, "jupyter": {**FORM["jupyter"], "outputs_hidden": True}}
        elif "hide-input" in tags or "hide-cell" in tags:
            text, metadata = f"# @title The code of this cell, folded\n{text}", FORM
        self.end_of_words()
        self.cells.append(nbformat.v4.new_code_cell(text, metadata=metadata | ({"tags": tags} if tags else {})))
        for figure in node.findall(nodes.figure):
            caption = figure.next_node(nodes.caption)
            self.say(f"**{self.words.numbered('figure', figure)}.** {self.words.inline(caption)}")


def references(doctree):
    """The works that the page cites, each in full, as the bibliography has them."""
    links = (node for node in doctree.findall(nodes.reference) if "bibtex-citation" in node.parent.get("classes", ()))
    cited = {link["reftitle"] for link in links}
    works = [re.sub(r"URL: (\S+)\.$", r"<\1>", work).replace("*", r"\*") for work in sorted(cited)]
    return "\n".join(["## References", "", *(f"- {work}" for work in works)]) if works else ""


def first_cell(weights, cells):
    packed = base64.b64encode(code_wheel(ROOT)).decode()
    imported = imports(ROOT, "\n".join(cell.source for cell in cells if cell.cell_type == "code"))
    call = f'bring(\n    weights="{weights}",\n    imported={imported},\n    packed="{packed}",\n)'
    source = (ROOT / "tools" / "first_cell.py").read_text(encoding="utf-8")
    return nbformat.v4.new_code_cell(f"{source}\n\n{call}", metadata=FORM)


def notebook(app, pagename, doctree):
    """The page as the text of an .ipynb file."""
    site = address(app)
    absolute = (lambda link: urljoin(f"{site}{pagename}.html", link) if link and link[0] != "#" else "") if site else ""
    words = Markdown(app.builder, app.config.mathjax3_config["tex"]["macros"], absolute or (lambda link: ""))
    page = Notebook(words)
    for section in doctree.children:
        if isinstance(section, nodes.section):
            page.section(section, 1)
    page.say(references(doctree))
    book = f"[{app.config.html_title}]({site})" if site else f"*{app.config.html_title}*"
    page.say(f"---\n\nA page of {book}, by {app.config.author}. Text and figures: CC BY 4.0. Code: MIT.")
    page.end_of_words()
    cells = [first_cell(f"{site}weights/" if site else "", page.cells), *page.cells]
    for number, cell in enumerate(cells):
        cell["id"] = f"cell-{number}"  # nbformat's own are drawn at random
    written = nbformat.v4.new_notebook(cells=cells, metadata=METADATA)
    nbformat.validate(written)
    return nbformat.writes(written) + "\n"


def address(app):
    """Where the book is published, ending in a slash; "" while `html: baseurl` is empty."""
    return app.config.html_baseurl.rstrip("/") + "/" if app.config.html_baseurl else ""


def colab(repository, pagename):
    """The address at which Colab opens the page's notebook; "" where the repository is none on GitHub."""
    found = re.fullmatch(r"https://github\.com/([\w.-]+)/([\w.-]+?)(\.git)?/?", repository or "")
    if not found:
        return ""
    file = f"blob/{PUBLISHED_BRANCH}/notebooks/{pagename}.ipynb"
    return f"https://colab.research.google.com/github/{found[1]}/{found[2]}/{file}"


def finish_page(app, pagename, templatename, context, doctree):
    if doctree is None or not any(map(is_cell, doctree.findall(nodes.container))):
        return
    file = Path(app.outdir, "notebooks", f"{pagename}.ipynb")
    file.parent.mkdir(exist_ok=True)
    file.write_text(notebook(app, pagename, doctree), encoding="utf-8")
    links = f'<a href="{context["pathto"](f"notebooks/{pagename}.ipynb", 1)}" download>Download notebook</a>'
    if url := colab(app.config.html_theme_options.get("repository_url"), pagename):
        links += f' <a href="{url}">Open in Colab</a>'
    context["body"] = context["body"].replace("</h1>", f'</h1>\n<p class="vae-notebook">{links}</p>', 1)


def publish_weights(app, exception):
    if address(app) and exception is None:
        shutil.copytree(ROOT / "vaecore" / "weights", Path(app.outdir, "weights"), dirs_exist_ok=True)


def setup(app):
    app.connect("html-page-context", finish_page, priority=910)  # after vaebook has finished the page
    app.connect("build-finished", publish_weights)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
