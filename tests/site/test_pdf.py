"""The book as one PDF: one chapter at every change, the whole of it among the slow tests."""

import shutil

import pikepdf
import pytest
from bs4 import BeautifulSoup

from tools import messages
from tools import pdf as printer

A4 = (595, 842)  # points
NAME = "02_kl"
# what reaches beyond the paper's edge, or is hidden in a box that would scroll
CUT_OFF = """() => {
    const right = document.querySelector("article").getBoundingClientRect().right + 1;
    return [...document.querySelectorAll("article :is(pre, table, mjx-container, svg, img, p)")]
        .filter(e => e.checkVisibility() && (e.getBoundingClientRect().right > right
                     || e.scrollWidth > e.clientWidth + 1 && getComputedStyle(e).overflowX !== "visible"))
        .map(e => e.outerHTML.slice(0, 120));
}"""


@pytest.fixture(scope="module")
def chapter(browser, site, tmp_path_factory):
    file = tmp_path_factory.mktemp("pdf") / "book.pdf"
    printer.make(browser, site, file, [NAME, "references"])
    return file


@pytest.fixture(scope="module")
def japanese(browser, site, tmp_path_factory):
    file = tmp_path_factory.mktemp("pdf") / "book-ja.pdf"
    printer.make(browser, site / "ja", file, [NAME, "references"])
    return file


@pytest.mark.parametrize("language", ["en", "ja"])
def test_a_chapter_has_bookmarks_links_fonts_and_paper(request, site, language):
    pages, say = site if language == "en" else site / "ja", messages.in_language(language)
    with pikepdf.open(request.getfixturevalue("chapter" if language == "en" else "japanese")) as pdf:
        marks = [str(one.Title) for one in printer.bookmarks(pdf)]
        assert marks[:2] == [say(printer.TITLE), say("Contents")] and marks[-1] == say("Colophon")
        sections = [
            printer.words(heading) for heading in printer.article(pages / f"{NAME}.html", [NAME])[0].select("h1, h2")
        ]
        assert len(sections) > 8 and [one for one in marks if one in sections] == sections
        assert all(tuple(round(float(v)) for v in page.mediabox[2:]) == A4 for page in pdf.pages)
        check_links(pdf)
        check_fonts(pdf)
        assert pdf.Root.MarkInfo.Marked and pdf.Root.get("/Lang") == language


def check_links(pdf) -> None:
    """Every link inside the document has a place there; the contents has one for every section."""
    places = {str(name) for name, _ in pdf.Root.Dests.items()}
    links = [a for page in pdf.pages for a in page.get("/Annots", []) if a.get("/Subtype") == "/Link"]
    inside = [str(a.get("/Dest") or a.A.get("/D")) for a in links if "/URI" not in a.get("/A", {})]
    assert len(inside) > 20 and {f"/{name.lstrip('/')}" for name in inside} <= places
    outside = {str(a.A.URI) for a in links if "/URI" in a.get("/A", {})}
    assert all(address.startswith("http") for address in outside)


def check_fonts(pdf) -> None:
    fonts = [font for page in pdf.pages for font in page.Resources.get("/Font", {}).values()]
    assert len(fonts) > 10
    for font in fonts:
        described = font.get("/DescendantFonts", [font])[0].get("/FontDescriptor")
        is_drawn = font.Subtype == "/Type3"  # its letters are in the font itself
        assert is_drawn or any(f"/FontFile{kind}" in described for kind in ("", "2", "3")), font.get("/BaseFont")


def test_nothing_is_cut_off(browser, site, tmp_path):
    """As it is laid out for the paper's width."""
    for beside in site.iterdir():
        if beside.is_dir():
            (tmp_path / beside.name).symlink_to(beside)
    names = [name for name in printer.order() if name not in printer.LEFT_OUT]
    (tmp_path / "book.html").write_text(printer.merged(site, names, "", {}), encoding="utf-8")
    page = browser.new_page(viewport=dict(width=643, height=900))  # 170 mm
    page.emulate_media(media="print")
    page.goto((tmp_path / "book.html").as_uri())
    page.wait_for_function(printer.READY, timeout=300_000)
    assert page.evaluate(CUT_OFF) == []
    page.add_style_tag(content="pre { white-space: pre !important; }")
    assert page.evaluate(CUT_OFF) != []  # so that it can fail
    page.close()


def test_two_runs_give_the_same_bytes(browser, chapter, site, tmp_path):
    with pikepdf.open(chapter) as pdf:  # Chromium's own would go on from those of the pages that it showed before
        names = {name for one in pdf.objects for name in printer.CELL.findall(printer.text_of(one))}
    assert names == {f"{number:08}" for number in range(len(names))} and len(names) > 20
    printer.make(browser, site, tmp_path / "again.pdf", [NAME, "references"])
    assert (tmp_path / "again.pdf").read_bytes() == chapter.read_bytes()


def test_the_first_page_offers_it_once(site, tmp_path):
    file, pages = tmp_path / "book.pdf", tmp_path / "pages"
    file.write_bytes(b"%PDF")
    pages.mkdir()
    shutil.copy(site / "index.html", pages)
    for _ in range(2):
        printer.offer(pages, file)
    buttons = BeautifulSoup((pages / "index.html").read_text(), "html.parser").select("p.vae-buttons > a")
    assert [button.get_text() for button in buttons].count("PDF") == 1 and buttons[-1]["href"] == "book.pdf"
    assert (pages / "book.pdf").read_bytes() == b"%PDF"


@pytest.mark.slow
def test_the_whole_book_is_one_small_file(browser, site, tmp_path):
    printer.make(browser, site, tmp_path / "book.pdf")
    assert (tmp_path / "book.pdf").stat().st_size < 15e6
    with pikepdf.open(tmp_path / "book.pdf") as pdf:
        check_links(pdf)
        check_fonts(pdf)
