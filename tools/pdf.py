"""The book as one PDF, from the built pages: `python -m tools.pdf PAGES FILE.pdf [--only NAME ...]`.

The pages become one HTML file, in the order of _toc.yml, which Chromium prints: it sets the math, the page numbers, the
running heads and the bookmarks. The table of contents needs the numbers of a first print, so it is printed twice.
"""

import argparse
import datetime
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import pikepdf
import yaml
from bs4 import BeautifulSoup, Tag
from playwright.sync_api import Browser, sync_playwright

from benchmarks import chromium
from tools import messages

ROOT = Path(__file__).parents[1]
N_ = str  # marks words for tools.messages
TITLE = N_("Variational Autoencoders, executed")
COLOPHON = N_(
    "The book is a set of notebooks. They were run, and this file was printed from their pages. What a page ran on, "
    "with which data, stands below its title. What moves on the screen stands still here. Text and pictures are under "
    "CC BY 4.0, the code under the MIT licence."
)
LEFT_OUT = ("api",)  # a reference of the package: to be searched, not read on paper
GONE = "script, .vae-live, .vae-asleep, .vae-style, a.headerlink, p.vae-notebook, p.vae-buttons, noscript, button"
IDS = ("for", "aria-labelledby", "aria-describedby", "aria-controls", "list")
READY = "() => window.MathJax.startup.promise.then(() => document.fonts.ready).then(() => true)"
CELL = re.compile(r"\(node(\d+)\)")


def order() -> list[str]:
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))
    return [toc["root"], *(chapter["file"] for part in toc["parts"] for chapter in part["chapters"])]


def language(pages: Path) -> str:
    """Return the language of the pages in a folder."""
    found = re.search(r'<html[^>]* lang="(\w+)"', next(pages.glob("*.html")).read_text(encoding="utf-8"))
    return found[1] if found else "en"


def article(page: Path, names: list[str]) -> tuple[Tag, str]:
    """What a page says, with ids of its own, its links turned to other pages of the same file; and its title."""
    name, soup = page.stem, BeautifulSoup(page.read_text(encoding="utf-8"), "html.parser")
    found = soup.select_one("article.bd-article")
    assert found is not None, page
    _ = messages.in_language(language(page.parent))
    for explorer in found.select(".vae-explorer"):
        note = soup.new_tag("p", attrs={"class": "vae-pdf-note"})
        note.string = _("On the screen this picture moves: {page}.").format(page=f"{name}.html")
        explorer.append(note)
    for gone in found.select(GONE):
        gone.decompose()
    for fold in found.select("details"):
        fold["open"] = ""
    for number in found.select("h1 .section-number"):
        number.string = number.get_text()
    heading = found.select_one("h1")
    assert heading is not None, page
    for element in found.find_all(True):
        rename(element, name, names)
    found["id"] = name
    return found, heading.get_text().strip()


def rename(element: Tag, page: str, names: list[str]) -> None:
    for key, value in list(element.attrs.items()):
        if key == "id":
            element[key] = f"{page}--{value}"
        elif key in IDS:
            element[key] = " ".join(f"{page}--{one}" for one in str(value).split())
        elif key in ("href", "xlink:href"):
            if target := linked(str(value), page, names):
                element[key] = target
            else:
                del element[key]  # a file beside the pages, as a notebook is
        elif isinstance(value, str) and "url(#" in value:
            element[key] = value.replace("url(#", f"url(#{page}--")


def linked(address: str, page: str, names: list[str]) -> str | None:
    if re.match(r"[a-z]+:", address) or address.startswith("_static/"):
        return address
    file, _, anchor = address.partition("#")
    name = file.removesuffix(".html") or page
    if name not in names:
        return None
    return f"#{name}--{anchor}" if anchor else f"#{name}"


def contents(articles: list[Tag], numbers: dict[str, int], title: str) -> str:
    rows = []
    for one in articles:
        for heading in one.select("h1, h2"):
            section = heading.find_parent("section")
            target = (section or one)["id"]
            text = words(heading)
            rows.append(
                f'<li class="vae-pdf-{heading.name}"><a href="#{target}"><span>{text}</span>'
                f"<span>{numbers.get(str(target), '')}</span></a></li>"
            )
    return f'<nav class="vae-pdf-contents"><h1>{title}</h1><ol>{"".join(rows)}</ol></nav>'


def styles(titles: dict[str, str]) -> str:
    """Named pages, so that each chapter has its own running head."""
    pages = "".join(
        f"@page {css(name)} {{ @top-left {{ content: {string(title)}; }} }} [id='{name}'] {{ page: {css(name)}; }}\n"
        for name, title in titles.items()
    )
    return f"<style>{SHEET}{pages}</style>"


def css(name: str) -> str:
    return f"page-{name}"


def string(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


SHEET = """
@page { size: A4; margin: 22mm 20mm 20mm 20mm;
  @bottom-center { content: counter(page); font: 9pt sans-serif; color: #444; }
  @top-left { font: 8.5pt sans-serif; color: #444; } }
@page :first { @bottom-center { content: ""; } }
:is(*, #a#b) { box-shadow: none !important; } /* Chromium makes a picture of each; #a#b outweighs the theme */
html, body { background: #fff; color: #222832; font-size: 13px; }
body { display: block; }
article.bd-article { break-before: page; max-width: none; padding: 0; }
.bd-article h1 { margin-top: 0; }
:is(h1, h2, h3, h4, .admonition-title) { break-after: avoid; }
:is(h1, h2) + section > :is(h2, h3) { break-before: avoid; }
p { orphans: 3; widows: 3; }
article > section > section:last-child > p:last-child { break-before: avoid; }
.vae-pdf-title { height: 240mm; display: flex; flex-direction: column; justify-content: center; }
.vae-pdf-title h1 { font-size: 2.6em; margin: 0 0 0.5em; }
.vae-pdf-contents, .vae-pdf-colophon { break-before: page; }
.vae-pdf-contents ol { list-style: none; padding: 0; }
.vae-pdf-contents a { display: flex; justify-content: space-between; gap: 1em; color: inherit; text-decoration: none; }
.vae-pdf-h1 { font-weight: 600; margin-top: 0.5em; }
.vae-pdf-h2 { padding-left: 1.5em; font-size: 0.9em; }
[id$="--cheat-sheet"] { font-size: 0.78em; line-height: 1.3; }
[id$="--cheat-sheet"] > :is(p, div) { margin-block: 0.4em; }
[id$="--cheat-sheet"] :is(td, th) { padding-block: 0.15em; }
.vae-pdf-note { font-size: 0.8em; color: #555; }
.vae-explorer > .vae-static { display: block !important; }
.vae-explorer { min-height: 0 !important; }
"""


def merged(pages: Path, names: list[str], facts: str, numbers: dict[str, int]) -> str:
    head = (pages / f"{names[0]}.html").read_text(encoding="utf-8").partition("<body")[0]
    keep = re.findall(r'<link[^>]*rel="stylesheet"[^>]*>', head)
    keep += re.findall(r"<script>window\.MathJax.*?</script>|<script[^>]*mathjax[^>]*></script>", head, re.DOTALL)
    found = {name: article(pages / f"{name}.html", names) for name in names}
    titles = {name: title for name, (_, title) in found.items()}
    articles = [one for one, _ in found.values()]
    body = "".join(f'<div class="bd-content"><div class="bd-article-container">{one}</div></div>' for one in articles)
    code = language(pages)
    _ = messages.in_language(code)
    title = f'<div class="vae-pdf-title"><h1>{_(TITLE)}</h1><p>{facts}</p></div>'
    ran_on = max((line.get_text() for one in articles for line in one.select("p.chapter-facts")), key=len)
    data = re.split("; |。", ran_on, maxsplit=1)[-1]  # behind how long the page took
    body += f'<div class="vae-pdf-colophon"><h1>{_("Colophon")}</h1><p>{_(COLOPHON)} {facts} {data}</p></div>'
    return (
        f'<!doctype html><html lang="{code}" data-theme="light" data-mode="light"><head><meta charset="utf-8">'
        f"<title>{_(TITLE)}</title>{''.join(keep)}{styles(titles)}</head>"
        f"<body>{title}{contents(articles, numbers, _('Contents'))}{body}</body></html>"
    )


def printed(browser: Browser, html: Path, pdf: Path) -> None:
    page = browser.new_page()
    page.set_default_timeout(600_000)
    page.goto(html.as_uri(), wait_until="load")
    page.wait_for_function(READY)
    page.pdf(path=pdf, prefer_css_page_size=True, print_background=True, outline=True, tagged=True)
    page.close()


def bookmarks(pdf: pikepdf.Pdf) -> list[pikepdf.Dictionary]:
    """All of them, in the order of the headings, of which Chromium makes them."""
    found, waiting = [], [pdf.Root.Outlines.First]
    while waiting:
        one = waiting.pop()
        found.append(one)
        waiting += [one[key] for key in ("/Next", "/First") if key in one]
    return found


def page_of(pdf: pikepdf.Pdf, bookmark: pikepdf.Dictionary) -> int:
    numbers = {page.objgen: number for number, page in enumerate(pdf.pages, start=1)}
    target = bookmark.get("/Dest") or bookmark.A.D
    return numbers[target[0].objgen]


def headings(html: str) -> list[Tag]:
    return BeautifulSoup(html, "html.parser").find_all(re.compile("^h[1-6]$"))


def words(heading: Tag) -> str:
    return re.sub(r"\s+", " ", heading.get_text()).strip()


def numbers_of(raw: Path, html: str) -> dict[str, int]:
    """The page on which each section begins."""
    found: dict[str, int] = {}
    with pikepdf.open(raw) as pdf:
        for heading, bookmark in zip(headings(html), bookmarks(pdf), strict=True):
            section = heading.find_parent(["section", "article"])
            if section is not None and section.get("id"):
                found.setdefault(str(section["id"]), page_of(pdf, bookmark))
    return found


def number_cells(made: pikepdf.Pdf) -> None:
    """Name the heads of tables from 0 on, in the same order; Chromium counts on from what it has shown before."""
    named = [one for one in made.objects if isinstance(one, pikepdf.Dictionary) and CELL.search(text_of(one))]
    names = sorted({name for one in named for name in CELL.findall(text_of(one))})
    new = {f"node{name}": f"node{number:08}" for number, name in enumerate(names)}
    for one in named:
        rename_strings(one, new)


def text_of(one: pikepdf.Object) -> str:
    return one.unparse(resolved=True).decode("latin-1")


def rename_strings(holder: pikepdf.Dictionary | pikepdf.Array, new: dict[str, str]) -> None:
    """In an object and in what lies inside it, not in others that it refers to."""
    for key, value in list(holder.items() if isinstance(holder, pikepdf.Dictionary) else enumerate(holder)):
        if isinstance(value, pikepdf.String) and str(value) in new:
            holder[key] = pikepdf.String(new[str(value)])
        elif isinstance(value, pikepdf.Dictionary | pikepdf.Array) and not value.is_indirect:
            rename_strings(value, new)


def finished(raw: Path, html: str, pdf: Path, when: datetime.datetime, title: str) -> None:
    """Small, and the same bytes for the same pages: no date or identifier changes from run to run."""
    date = f"D:{when:%Y%m%d%H%M%S}+00'00'"
    pikepdf.settings.set_flate_compression_level(9)
    with pikepdf.open(raw) as made:
        for heading, bookmark in zip(headings(html), bookmarks(made), strict=True):
            bookmark.Title = words(heading)  # Chromium says the words of a heading of several lines twice
        for key, value in {
            "Title": title,
            "Author": "The vaecore authors",
            "CreationDate": date,
            "ModDate": date,
        }.items():
            made.docinfo[f"/{key}"] = value
        number_cells(made)
        made.save(
            pdf,
            object_stream_mode=pikepdf.ObjectStreamMode.generate,
            recompress_flate=True,
            deterministic_id=True,
        )


def commit() -> tuple[str, datetime.datetime]:
    run = subprocess.run(["git", "log", "-1", "--format=%h %ct"], cwd=ROOT, capture_output=True, text=True)
    name, seconds = run.stdout.split() if run.returncode == 0 else ("unknown", "0")
    return name, datetime.datetime.fromtimestamp(int(seconds), datetime.UTC)


def make(browser: Browser, pages: Path, pdf: Path, only: list[str] | None = None) -> None:
    names = only or [name for name in order() if name not in LEFT_OUT]
    pages, pdf = pages.absolute(), pdf.absolute()
    name, when = commit()
    _ = messages.in_language(language(pages))
    facts = _("Made of commit {name}, {date}. Every number and every picture comes from code that ran.")
    facts = facts.format(name=name, date=when.strftime(_("%d %B %Y")))
    pdf.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        html, raw = Path(folder, "book.html"), Path(folder, "raw.pdf")
        for beside in pages.iterdir():
            if beside.is_dir():
                (html.parent / beside.name).symlink_to(beside)
        numbers: dict[str, int] = {}
        for _print in range(2):
            text = merged(pages, names, facts, numbers)
            html.write_text(text, encoding="utf-8")
            printed(browser, html, raw)
            numbers = numbers_of(raw, text)
        finished(raw, text, pdf, when, _(TITLE))


def offer(pages: Path, pdf: Path) -> None:
    """Put the file beside the pages, and a button for it on the first one; the next build drops both."""
    shutil.copy(pdf, pages / pdf.name)
    index = pages / f"{order()[0]}.html"
    soup = BeautifulSoup(index.read_text(encoding="utf-8"), "html.parser")
    buttons = soup.select_one("p.vae-buttons")
    assert buttons is not None, index
    if not buttons.select_one(f'a[href="{pdf.name}"]'):
        button = soup.new_tag("a", attrs={"href": pdf.name})
        button.string = "PDF"
        buttons.append(button)
        index.write_text(str(soup), encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("pages", type=Path)
    parser.add_argument("pdf", type=Path)
    parser.add_argument("--only", nargs="+", metavar="NAME", help="these pages")
    args = parser.parse_args()
    with sync_playwright() as playwright:
        browser = chromium.launch(playwright)
        make(browser, args.pages, args.pdf, args.only)
        browser.close()
    if args.only is None:
        offer(args.pages, args.pdf)
    with pikepdf.open(args.pdf) as pdf:
        print(f"{args.pdf}: {len(pdf.pages)} pages, {args.pdf.stat().st_size / 1e6:.1f} MB.")


if __name__ == "__main__":
    main()
