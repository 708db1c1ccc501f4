"""The built pages as readers meet them: from a server and from a disk, light and dark, wide and narrow."""

import re
from html.parser import HTMLParser
from types import SimpleNamespace
from urllib.parse import unquote, urldefrag

import manuscript as ms
import pytest
from playwright.sync_api import expect
from site_pages import CONTRAST, NARROW, PAGES, TEXTS, UNFOLD, WIDE, page_url, set_theme


def test_the_book_builds(cold_build):
    assert cold_build.returncode == 0, "the log ends:\n" + cold_build.stdout[-6000:]


@pytest.fixture(scope="module", params=PAGES)
def visit(request, browser, address):
    """One page, opened, unfolded and read to its end, with all that it asked for and complained of."""
    page = browser.new_page(viewport={"width": WIDE, "height": 900}, color_scheme="light", reduced_motion="reduce")
    seen = SimpleNamespace(name=request.param, page=page, address=address, requests=[], complaints=[])
    page.on("request", lambda asked: seen.requests.append(asked.url))
    page.on("requestfailed", lambda asked: seen.complaints.append(f"failed: {asked.url}"))
    page.on("pageerror", lambda error: seen.complaints.append(str(error)))
    page.on("console", lambda said: seen.complaints.append(said.text) if said.type == "error" else None)
    page.goto(page_url(address, request.param))
    page.evaluate("() => window.MathJax?.startup?.promise")
    page.evaluate(UNFOLD)
    page.wait_for_timeout(100)
    yield seen
    page.close()


def count(visit, selector: str) -> int:
    return visit.page.locator(selector).count()


def test_explorers_live(visit):
    """First, so that the tests after it see what the explorers ask for and complain of as well."""
    promised = len(re.findall(r"^[^#\n]*\b\w+Explorer\(", TEXTS.get(visit.name, ""), re.MULTILINE))
    for box in visit.page.locator(".vae-explorer").all():
        box.scroll_into_view_if_needed()
    alive = ".vae-alive:not(.vae-failed)"
    visit.page.wait_for_function(f"n => document.querySelectorAll('{alive}').length >= n", arg=promised)
    assert count(visit, alive) >= promised


def test_nothing_leaves_the_machine(visit):
    assert [url for url in visit.requests if not url.startswith((visit.address, "data:", "blob:"))] == []


def test_the_page_does_not_complain(visit):
    assert visit.complaints == []


def test_math_is_rendered(visit):
    assert count(visit, "mjx-container") >= count(visit, ".math")
    # what MathJax cannot read it marks as an error, and a name that it does not know it writes in red
    assert count(visit, "mjx-container [data-mml-node=merror], mjx-merror, mjx-container [fill=red]") == 0
    if visit.name in TEXTS and ms.equations(TEXTS[visit.name]):
        assert count(visit, "mjx-container[display=true]") >= len(ms.equations(TEXTS[visit.name]))


def test_every_figure_is_inline_svg_with_words(visit):
    cells = ms.cells(TEXTS.get(visit.name, ""))
    promised = sum("figure" in (cell.options.get("mystnb") or {}) for cell in cells)
    assert count(visit, "article figure svg[role=img][aria-label]") >= promised
    assert count(visit, "article figure") == promised
    assert count(visit, "article object, article embed") == 0
    for image in visit.page.locator("img").all():
        alt = image.get_attribute("alt") or ""
        assert len(alt.split()) > 2 and "/" not in alt and ".png" not in alt


def test_cells_leave_no_warnings_behind(visit):
    assert visit.page.locator(".output.stderr, .output.traceback").all_inner_texts() == []


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [WIDE, NARROW])
def test_no_sideways_scrolling(visit, theme, width):
    set_theme(visit.page, theme)
    visit.page.set_viewport_size({"width": width, "height": 900})
    needed = visit.page.evaluate("document.scrollingElement.scrollWidth")
    assert needed <= width, wide_elements(visit.page, width)


def test_no_box_hides_its_end(visit):
    """A box that neither scrolls nor shows what sticks out of it, such as the theme's around formulas."""
    visit.page.set_viewport_size({"width": NARROW, "height": 900})
    hidden = """() => [...document.querySelectorAll("main *")]
        .filter(e => e.scrollWidth > e.clientWidth + 1 && /hidden|clip/.test(getComputedStyle(e).overflowX))
        .filter(e => e.clientWidth > 1 && e.checkVisibility() && !e.closest("span.math, mjx-assistive-mml"))
        .map(e => e.outerHTML.slice(0, 120))"""
    assert visit.page.evaluate(hidden) == []
    right = "e => e.getBoundingClientRect().right"
    formulas = f"all => all.filter(e => ({right})(e) > ({right})(e.closest('span.math')) + 1).map(e => e.outerHTML)"
    assert visit.page.locator("main span.math svg").evaluate_all(formulas) == []


def wide_elements(page, width: int) -> list[str]:
    """Which elements stick out, for the message."""
    found = """width => [...document.querySelectorAll("article *")]
        .filter(e => e.getBoundingClientRect().right > width).map(e => e.outerHTML.slice(0, 120)).slice(0, 5)"""
    return page.evaluate(found, width)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_words_in_pictures_can_be_read(visit, theme):
    set_theme(visit.page, theme)
    assert [word for word in visit.page.evaluate(CONTRAST, ["svg.vae-picture text", "fill"]) if word[1] < 4.5] == []


def test_pictures_have_no_box_in_the_dark(visit):
    set_theme(visit.page, "dark")
    look = "boxes => boxes.map(e => getComputedStyle(e).{}).filter(c => !['rgba(0, 0, 0, 0)', 'none'].includes(c))"
    boxes = visit.page.locator("article .cell_output .text_html:has(svg.vae-picture)")
    assert boxes.evaluate_all(look.format("backgroundColor")) == []
    papers = visit.page.locator(
        "svg.vae-picture > g.graph > polygon[stroke=none], svg.vae-picture > g.graph > polygon[stroke=transparent]"
    )
    assert papers.evaluate_all(look.format("fill")) == []


def test_page_head(visit):
    assert visit.page.locator("html").get_attribute("lang") == "en"
    assert count(visit, "link[rel~=icon]") == 1
    assert len(visit.page.locator("meta[name=description]").get_attribute("content")) > 20
    assert count(visit, "main h1:visible") == 1


def test_weights_are_fetched_once(browser, served):
    """By content: chapter 4 shows one net in several explorers, and the index shows it as well."""
    page = browser.new_page()
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(f"{served}04_m1.html")
    for box in page.locator(".vae-explorer").all():
        box.scroll_into_view_if_needed()
    page.wait_for_function("[...document.querySelectorAll('.vae-explorer')].every(e => e.matches('.vae-alive'))")
    weights = [url for url in asked if "/explorers/" in url]
    assert len(weights) == len(set(weights)) > 3
    flat = page.locator(".vae-explorer .vae-blob").first.get_attribute("data-src")
    page.goto(f"{served}index.html")
    assert flat in [e.get_attribute("data-src") for e in page.locator(".vae-explorer .vae-blob").all()]
    page.close()


@pytest.fixture
def index(browser, served):
    page = browser.new_page(color_scheme="light", viewport={"width": WIDE, "height": 900})
    page.goto(f"{served}index.html")
    yield page
    page.close()


def test_the_three_colours_stand_out(index):
    for theme in ("light", "dark"):
        set_theme(index, theme)
        for name in ("encoder", "decoder", "prior"):
            index.evaluate(f"""() => document.body.insertAdjacentHTML(
                "beforeend", "<i class='probe' style='color: var(--vae-{name})'>{theme} {name}</i>")""")
        assert [c for c in index.evaluate(CONTRAST, [".probe", "color"]) if c[1] < 4.5] == []
        index.evaluate("document.querySelectorAll('.probe').forEach(e => e.remove())")


def test_the_switch_changes_the_theme(index):
    seen = set()
    for _ in range(3):  # light, dark, and as the system has it
        index.locator("button.theme-switch-button:visible").first.click()
        seen.add(index.locator("html").get_attribute("data-theme"))
    assert seen == {"light", "dark"}


@pytest.mark.parametrize(
    "words, chapter",
    [("reparameterization", "3. "), ("ELBO", "2. "), ("Kullback", "2. "), ("semi-supervised labels", "7. ")],
)
def test_search_finds(browser, address, words, chapter):
    page = browser.new_page()
    page.goto(f"{address}search.html?q={words}")
    found = page.locator("ul.search li > a", has_text=re.compile(rf"^\s*{re.escape(chapter)}"))
    expect(found.first).to_be_visible(timeout=10_000)  # the finds are unfolded one after another
    page.close()


class Links(HTMLParser):
    def __init__(self, html: str):
        super().__init__()
        self.hrefs, self.ids = [], set()
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        for name, value in attrs:
            if name in ("href", "src", "xlink:href") and tag != "use":
                self.hrefs.append(value or "")
            elif name == "id":
                self.ids.add(value)


def test_links_inside_the_book_lead_somewhere(site):
    pages = {path: Links(path.read_text()) for path in site.glob("*.html")}
    dead = []
    for path, links in pages.items():
        for href in links.hrefs:
            file, anchor = urldefrag(unquote(href))
            target = path.parent / file.partition("?")[0] if file else path
            if "://" in href or href.startswith(("data:", "mailto:")) or href == "#":
                continue
            if not target.exists() or (anchor and target in pages and anchor not in pages[target].ids):
                dead.append(f"{path.name}: {href}")
    assert dead == []


def test_pages_stay_small(site):
    assert {path.name: path.stat().st_size for path in site.glob("*.html") if path.stat().st_size > 400_000} == {}


def test_how_each_chapter_ran_is_said(site):
    for name, text in TEXTS.items():
        if "{chapter-facts}" in text:
            assert 'class="chapter-facts">This page ran in ' in (site / f"{name}.html").read_text()
