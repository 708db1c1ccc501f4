"""The book's Sphinx extension for notebooks: each page with cells also becomes OUT/notebooks/NAME.ipynb.

A page with exercises has two editions: that one, to read, and NAME_to_work.ipynb, without solutions, with cells to work
in. With SOLUTIONS=0 there is only the second.

A notebook stands alone: its first cell (tools/first_cell.py) carries the code (tools/code_wheel.py). Its cells come
from notebook_cells.py, their words from notebook_markdown.py; code cells are the page's own, without outputs. Two
settings of _config.yml are empty until the book is published: `html: baseurl`, where links lead and trained weights are
fetched from, and `repository: url`, from whose branch gh-pages Colab opens the notebook.
"""

import base64
import lzma
import re
import shutil
from pathlib import Path
from urllib.parse import urljoin

import nbformat
from docutils import nodes
from notebook_cells import EXERCISES, FORM, Notebook, WorkNotebook, is_cell
from notebook_markdown import Markdown
from solutions import left_out
from words import _

from tools.code_wheel import code_wheel, imports

ROOT = Path(__file__).resolve().parents[2]
PUBLISHED_BRANCH = "gh-pages"
METADATA = {
    "accelerator": "GPU",  # Colab's own words for: give this notebook a GPU
    "colab": {"gpuType": "T4", "provenance": []},
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


def references(doctree):
    """The works that the page cites, each in full, as the bibliography has them."""
    links = (node for node in doctree.findall(nodes.reference) if "bibtex-citation" in node.parent.get("classes", ()))
    cited = {link["reftitle"] for link in links}
    works = [re.sub(r"URL: (\S+)\.$", r"<\1>", work).replace("*", r"\*") for work in sorted(cited)]
    return "\n".join([f"## {_('References')}", "", *(f"- {work}" for work in works)]) if works else ""


def first_cell(weights, cells):
    packed = base64.b64encode(lzma.compress(code_wheel(ROOT), preset=9)).decode()
    imported = imports(ROOT, "\n".join(cell.source for cell in cells if cell.cell_type == "code"))
    call = f'bring(\n    weights="{weights}",\n    imported={imported},\n    packed="{packed}",\n)'
    source = (ROOT / "tools" / "first_cell.py").read_text(encoding="utf-8").partition("\n")[2]
    title = _("Set-up: run this cell first. It brings the book's code, and installs what is missing here.")
    return nbformat.v4.new_code_cell(f"# @title {title}\n{source}\n\n{call}", metadata=FORM)


def notebook(app, pagename, doctree, edition=Notebook):
    """The page as the text of an .ipynb file."""
    site = address(app)
    absolute = (lambda link: urljoin(f"{site}{pagename}.html", link) if link and link[0] != "#" else "") if site else ""
    words = Markdown(app.builder, app.config.mathjax3_config["tex"]["macros"], absolute or (lambda link: ""))
    page = edition(words)
    for section in doctree.children:
        if isinstance(section, nodes.section):
            page.section(section, 1)
    page.say(references(doctree))
    book = f"[{app.config.html_title}]({site})" if site else f"*{app.config.html_title}*"
    said = _("A page of {book}, by {author}. Text and figures: CC BY 4.0. Code: MIT.")
    page.say("---\n\n" + said.format(book=book, author=app.config.author))
    page.end_of_words()
    home = site.removesuffix("ja/")  # the weights lie there for all languages
    cells = [first_cell(f"{home}weights/" if home else "", page.cells), *page.cells]
    for number, cell in enumerate(cells):
        cell["id"] = f"cell-{number}"  # nbformat's own are drawn at random
    written = nbformat.v4.new_notebook(cells=cells, metadata=METADATA)
    nbformat.validate(written)
    return nbformat.writes(written) + "\n"


def address(app):
    """Where the book is published, ending in a slash; "" while `html: baseurl` is empty."""
    return app.config.html_baseurl.rstrip("/") + "/" if app.config.html_baseurl else ""


def colab(repository, language, pagename):
    """The address at which Colab opens the page's notebook; "" where the repository is none on GitHub."""
    found = re.fullmatch(r"https://github\.com/([\w.-]+)/([\w.-]+?)(\.git)?/?", repository or "")
    if not found:
        return ""
    folder = "notebooks" if language == "en" else f"{language}/notebooks"
    file = f"blob/{PUBLISHED_BRANCH}/{folder}/{pagename}.ipynb"
    return f"https://colab.research.google.com/github/{found[1]}/{found[2]}/{file}"


def editions(doctree):
    """Suffix of the file to edition, link and link to Colab."""
    if not any(type(node).__name__ in EXERCISES for node in doctree.findall(nodes.Element)):
        return {"": (Notebook, _("Download notebook"), _("Open in Colab"))}
    both = {
        "": (Notebook, _("Notebook to read"), _("In Colab, to read")),
        "_to_work": (WorkNotebook, _("Notebook to work"), _("In Colab, to work")),
    }
    return {"_to_work": both["_to_work"]} if left_out() else both


def finish_page(app, pagename, templatename, context, doctree):
    if doctree is None or not any(map(is_cell, doctree.findall(nodes.container))):
        return
    downloads, opens = [], []
    for suffix, (edition, download, open_it) in editions(doctree).items():
        name = f"{pagename}{suffix}"
        file = Path(app.outdir, "notebooks", f"{name}.ipynb")
        file.parent.mkdir(exist_ok=True)
        file.write_text(notebook(app, pagename, doctree, edition), encoding="utf-8")
        downloads.append(f'<a href="{context["pathto"](f"notebooks/{name}.ipynb", 1)}" download>{download}</a>')
        if url := colab(app.config.html_theme_options.get("repository_url"), app.config.language, name):
            opens.append(f'<a href="{url}">{open_it}</a>')
    links = f'<p class="vae-notebook">{" ".join(downloads + opens)}</p>'
    context["body"] = context["body"].replace("</h1>", f"</h1>\n{links}", 1)


def publish_weights(app, exception):
    if address(app) and exception is None and app.config.language == "en":
        shutil.copytree(ROOT / "vaecore" / "weights", Path(app.outdir, "weights"), dirs_exist_ok=True)


def setup(app):
    app.connect("html-page-context", finish_page, priority=910)  # after vaebook has finished the page
    app.connect("build-finished", publish_weights)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
