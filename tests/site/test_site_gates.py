"""What every built page keeps to: no barrier, nothing that jumps, little to load, and paper as good as a screen."""

import functools
import gzip
import re
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import unquote, urlsplit

import pytest
from axe_playwright_python.sync_playwright import Axe
from site_pages import CONTRAST, NARROW, PAGES, UNFOLD, WIDE, page_url, set_theme

PAPER = 718  # of a sheet of A4 between its margins, in CSS pixels
WATCH = """
    globalThis.shows = e => e.checkVisibility({ visibilityProperty: true, opacityProperty: true })
        && e.getBoundingClientRect().height > 0;
    globalThis.shifts = [];
    const about = node => (node?.parentElement ?? node)?.outerHTML.slice(0, 100);
    new PerformanceObserver(list => list.getEntries().filter(e => !e.hadRecentInput).forEach(e => shifts.push({
        start: e.startTime, value: e.value, moved: e.sources.map(source => about(source.node)),
    }))).observe({ type: "layout-shift", buffered: true });
    globalThis.settled = async () => {  // what is in sight has come to life; after ten seconds it is taken as it is
        const inSight = e => e.getBoundingClientRect().bottom > 0 && e.getBoundingClientRect().top < innerHeight;
        const late = () => [...document.querySelectorAll(".vae-explorer:not(.vae-alive)")].some(inSight)
            || document.querySelector("#search-results") && !document.querySelector("ul.search p.context");
        for (let n = 0; n < 2 || late() && n < 600; n++) await new Promise(requestAnimationFrame);
    };
"""
READ = """async () => {
    const page = document.scrollingElement;
    while (page.scrollTop + innerHeight < page.scrollHeight - 1) {
        page.scrollBy({ top: 0.8 * innerHeight, behavior: "instant" });
        await settled();
    }
}"""
PRINTED = """selector => [...document.querySelectorAll(selector)]
    .filter(e => shows(e) && !e.closest("#jb-print-toc"))
    .map(e => e.outerHTML.slice(0, 100))"""
FOLDED = """() => [...document.querySelectorAll("details > *, .admonition > *")]
    .filter(e => !e.matches("summary") && !e.closest(".vae-live"))
    .filter(e => !shows(e) || getComputedStyle(e).animationName !== "none"  // a printer does not wait
        || parseFloat(getComputedStyle(e).transitionDuration) > 0)
    .map(e => e.outerHTML.slice(0, 100))"""
CUT_OFF = """() => [...document.querySelectorAll("article *")]
    .filter(e => e.checkVisibility() && !e.closest("span.math, mjx-assistive-mml"))
    .filter(e => e.scrollWidth > e.clientWidth + 1 && getComputedStyle(e).overflowX !== "visible"
        || e.scrollHeight > e.clientHeight + 1 && getComputedStyle(e).overflowY !== "visible"
        || e.getBoundingClientRect().right > innerWidth)
    .map(e => e.outerHTML.slice(0, 100))"""
WITHOUT_PICTURE = """() => [...document.querySelectorAll(".vae-explorer")]
    .filter(e => ![...e.querySelectorAll(".vae-static svg")].some(shows)).map(e => e.outerHTML.slice(0, 100))"""

THIN = """() => {  // the strokes of formulas, and in a listing all but the first word of each colour
    document.querySelectorAll("mjx-container > *").forEach(e => e.replaceChildren());
    for (const box of document.querySelectorAll("pre")) {
        const seen = new Set();
        for (const word of box.querySelectorAll("span[class]")) {
            if (seen.has(word.className)) word.replaceWith(word.textContent);
            seen.add(word.className);
        }
    }
}"""
OF_COLOUR = ("color-contrast", "link-in-text-block")  # the rules whose answer a theme can change


@pytest.fixture(scope="module", params=PAGES)
def copies(request, browser, served):
    """One page at two widths, each as a reader has it who comes for the first time and scrolls to its end."""
    found = {}
    for width in (NARROW, WIDE):
        page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme="light", reduced_motion="reduce")
        asked = []
        page.on("request", lambda request, asked=asked: asked.append(request.url))
        page.add_init_script(WATCH)
        page.goto(page_url(served, request.param))
        page.evaluate("() => window.MathJax?.startup?.promise")
        page.evaluate("settled()")
        if request.param == "search":
            page.wait_for_load_state("networkidle")  # it fetches a few words of each page that it found
        first = {url for url in asked if url.startswith(served)}
        page.evaluate(READ)
        found[width] = SimpleNamespace(page=page, first=first, shifts=page.evaluate("shifts"))
    yield found
    for copy in found.values():
        copy.page.close()


def test_every_page_is_looked_at(site):
    assert {path.stem for path in site.glob("*.html")} == set(PAGES)


@pytest.mark.parametrize("width", [NARROW, WIDE])
def test_nothing_jumps(copies, width):
    """Cumulative layout shift: the worst run of shifts, each within a second of the last and five of the first."""
    worst = total = 0.0
    start = last = float("-inf")
    for shift in copies[width].shifts:
        now = shift["start"]
        if now - last > 1000 or now - start > 5000:
            total, start = 0.0, now
        total, last = total + shift["value"], now
        worst = max(worst, total)
    assert worst < 0.1, sorted(copies[width].shifts, key=lambda shift: -shift["value"])[:3]


@functools.cache
def packed_size(file: Path) -> int:
    return len(gzip.compress(file.read_bytes(), 6))


@pytest.mark.parametrize("width", [NARROW, WIDE])
def test_the_first_load_is_light(copies, site, width):
    sizes = {path: packed_size(site / path) for path in {unquote(urlsplit(u).path[1:]) for u in copies[width].first}}
    assert len(sizes) > 5
    assert sum(sizes.values()) < 3_000_000, sorted(sizes.items(), key=lambda item: -item[1])[:5]


def test_no_id_stands_twice(copies):
    ids = copies[WIDE].page.evaluate("[...document.querySelectorAll('[id]')].map(e => e.id)")
    assert sorted({name for name in ids if ids.count(name) > 1}) == []


@pytest.fixture
def paper(copies):
    """A page printed from the dark theme onto A4."""
    page = copies[WIDE].page
    set_theme(page, "dark")
    page.set_viewport_size({"width": PAPER, "height": 1000})
    page.emulate_media(media="print")
    yield page
    page.emulate_media(media="screen")
    page.wait_for_function("document.documentElement.dataset.theme === 'dark'")
    page.set_viewport_size({"width": WIDE, "height": 900})


def test_paper_is_white_and_ink_dark(paper):
    paper.wait_for_function("document.documentElement.dataset.theme === 'light'")
    assert paper.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    for ink in (["article :is(h1, h2, h3, p, li, td, th, pre, span)", "color"], ["svg.vae-picture text", "fill"]):
        assert [word for word in paper.evaluate(CONTRAST, ink) if word[1] < 4.5] == []


def test_paper_shows_all_that_can_be_read_and_nothing_to_press(paper):
    paper.wait_for_function("!document.querySelector('details:not([open])')")
    assert paper.locator("main h1:visible").count() == 1
    assert paper.evaluate(FOLDED) == []
    assert paper.evaluate(CUT_OFF) == []
    live = "button, input, select, summary, nav, header, dialog, .bd-sidebar, .vae-live, .vae-notebook"
    assert paper.evaluate(PRINTED, live) == []
    assert paper.evaluate(WITHOUT_PICTURE) == []


def test_after_printing_it_is_folded_and_dark_again(paper):
    paper.wait_for_function("document.documentElement.dataset.theme === 'light'")
    paper.emulate_media(media="screen")
    paper.wait_for_function("document.documentElement.dataset.theme === 'dark'")
    assert paper.locator("details[open]").count() == 0


def barriers(page, context: str | None = None, rules: tuple[str, ...] = ()) -> list:
    """What axe finds against a page or a part of it, whatever its weight."""
    options = {"resultTypes": ["violations"]} | ({"runOnly": list(rules)} if rules else {})
    found = Axe().run(page, context=context, options=options).response["violations"]
    return [(v["id"], v["impact"], len(v["nodes"]), [node["html"][:100] for node in v["nodes"]][:3]) for v in found]


@pytest.mark.parametrize("width", [pytest.param(NARROW, marks=pytest.mark.slow), WIDE])
def test_no_barrier(copies, width):
    """In both themes. This comes last of a page: what axe has no rule for, or sees often enough, is taken out."""
    page = copies[width].page
    set_theme(page, "light")
    page.evaluate(UNFOLD)
    page.wait_for_timeout(400)  # the theme looks for boxes that scroll 300 ms after a change of sizes
    page.evaluate(THIN)
    assert barriers(page) == []
    set_theme(page, "dark")
    assert barriers(page, rules=OF_COLOUR) == []


def test_no_barrier_in_what_is_folded(browser, served):
    """Of one chapter: folded cells and solutions look the same in all."""
    page = browser.new_page(viewport={"width": NARROW, "height": 900}, reduced_motion="reduce")
    page.goto(page_url(served, "04_m1"))
    for theme in ("light", "dark"):
        set_theme(page, theme)
        assert barriers(page, "details, .toggle") == []
    page.close()


@pytest.mark.parametrize("part", [r"<title>(.*?)</title>", r'<meta name="description" content="(.*?)"'])
def test_each_page_has_its_own(site, part):
    found = [re.search(part, path.read_text(), re.DOTALL).group(1) for path in sorted(site.glob("*.html"))]
    assert all(found) and len(set(found)) == len(found) == len(PAGES)
