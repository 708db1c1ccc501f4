"""Every built page as readers meet it: wide from a server, narrow from a disk; on a screen and on paper."""

import gzip
import re
from urllib.parse import unquote

import manuscript as ms
import pytest
from axe_playwright_python.sync_playwright import Axe
from site_pages import CONTRAST, IN_JAPANESE, NARROW, PAGES, UNFOLD, WIDE, set_theme, source_of, visit

FEW = (  # pages on which what takes long is tried at every change
    "02_kl", "05_look_inside", "references", "ja/02_kl", "ja/05_look_inside", "ja/search",
)  # fmt: skip
LAPTOP = {"width": 1280, "height": 800}
PAPER = 718  # of a sheet of A4 between its margins, in CSS pixels
BOXLESS = "boxes => boxes.map(e => getComputedStyle(e).{}).filter(c => !['rgba(0, 0, 0, 0)', 'none'].includes(c))"
PICTURES = """() => [...document.querySelectorAll("article figure svg[role=img]:not(mjx-container *)")].map(e =>
    [e.getAttribute("aria-label") ?? "", e.closest("figure").querySelector("figcaption")?.innerText ?? ""])"""
BEYOND = """() => [...document.querySelectorAll("svg.vae-picture text")]  // words that their picture cuts off
    .filter(e => e.checkVisibility() && e.getBoundingClientRect().width)
    .filter(e => e.getBoundingClientRect().right > e.closest("svg.vae-picture").getBoundingClientRect().right + 15
              || e.getBoundingClientRect().left < e.closest("svg.vae-picture").getBoundingClientRect().left - 15)
    .map(e => e.textContent.trim())"""
WIDE_ELEMENTS = """width => [...document.querySelectorAll("article *")]
    .filter(e => e.getBoundingClientRect().right > width).map(e => e.outerHTML.slice(0, 120)).slice(0, 5)"""
HIDDEN = """() => [...document.querySelectorAll("main *")]  // boxes that neither scroll nor show what sticks out
    .filter(e => e.scrollWidth > e.clientWidth + 1 && /hidden|clip/.test(getComputedStyle(e).overflowX))
    .filter(e => e.clientWidth > 1 && e.checkVisibility() && !e.closest("span.math, mjx-assistive-mml"))
    .map(e => e.outerHTML.slice(0, 120))"""
LONG_FORMULAS = """() => [...document.querySelectorAll("main span.math svg")]
    .filter(e => e.getBoundingClientRect().right > e.closest("span.math").getBoundingClientRect().right + 1)
    .map(e => e.outerHTML.slice(0, 120))"""
SCROLLING_CODE = """() => [...document.querySelectorAll(".cell_input pre")]
    .filter(e => e.checkVisibility() && e.scrollWidth > e.clientWidth)
    .map(e => e.textContent.split("\\n").reduce((a, b) => b.length > a.length ? b : a))"""
PRINTED = """selector => [...document.querySelectorAll(selector)]
    .filter(e => shows(e) && !e.closest("#jb-print-toc")).map(e => e.outerHTML.slice(0, 100))"""
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


def slow_but_on(few, params):
    """Mark the parameters of all other pages as slow."""
    return [p if name in few else pytest.param(p, marks=pytest.mark.slow) for p in params for name in [p[0]]]


VISITS = [(name, WIDE) for name in PAGES] + slow_but_on(FEW, [(name, NARROW) for name in PAGES])
VISITS += slow_but_on(FEW, [(name, width) for name in IN_JAPANESE for width in (WIDE, NARROW)])


@pytest.fixture(scope="module", params=VISITS, ids=lambda p: f"{p[0]}-{p[1]}")
def seen(request, browser, site, served):
    """One page, opened, read to its end and unfolded, with all that it asked for and complained of."""
    name, width = request.param
    from_disk = width == NARROW and not name.endswith("search")  # there its finds lack the words around them
    found = visit(browser, site.as_uri() + "/" if from_disk else served, name, width)
    found.width = width
    yield found
    found.page.close()


def count(seen, selector: str) -> int:
    return seen.page.locator(selector).count()


def test_the_page_is_whole_and_asks_nobody_else(seen):
    """Explorers live, math is rendered, the console is clean, and every request goes to the book itself."""
    text, alive = source_of(seen.name), ".vae-explorer.vae-alive:not(.vae-failed)"
    promised = len(re.findall(r"^[^#\n]*\b\w+Explorer\(", text, re.MULTILINE))
    for box in seen.page.locator(".vae-explorer").all():  # also those that were folded
        box.scroll_into_view_if_needed()
    seen.page.wait_for_function(f"n => document.querySelectorAll('{alive}').length >= n", arg=promised)
    assert count(seen, "mjx-container") >= count(seen, ".math")
    assert count(seen, "mjx-container[display=true]") >= len(ms.equations(text)) if text else True
    # what MathJax cannot read it marks as an error, and a name that it does not know it writes in red
    assert count(seen, "mjx-container [data-mml-node=merror], mjx-merror, mjx-container [fill=red]") == 0
    assert seen.page.locator(".output.stderr, .output.traceback").all_inner_texts() == []
    assert seen.complaints == []
    assert [url for url in seen.requests if not url.startswith((seen.address, "data:", "blob:"))] == []


def n_words(text: str) -> int:
    """Return the number of words; of Japanese, that of its letters."""
    return len(re.findall(r"[\u3040-\u9fff]|[^\s\u3040-\u9fff]+", text))


def picture_faults(alt: str, caption: str) -> list[str]:
    """Return what is wrong with a picture's alt text and caption."""
    faults = [] if caption else ["no caption"]
    faults += ["not in words"] * (n_words(alt) < 3 or bool(re.search(r"\.(png|svg|jpe?g|gif|webp)\b", alt)))
    words, repeated = (re.sub(r"\W+", " ", text).strip().lower() for text in (alt, caption))
    return faults + ["repeats the caption"] * bool(words and repeated.endswith(words))


@pytest.mark.parametrize(
    "alt, caption, fault",
    [
        ("An arrow.", "Fig. 1 A graph", "not in words"),
        ("out of the/figures/grid.png folder", "Fig. 1 A grid", "not in words"),
        ("Dots lie  on a line", "Fig. 1 Dots lie on a line.", "repeats the caption"),
        ("Three dots and an arrow", "", "no caption"),
    ],
)
def test_poor_pictures_are_found(alt, caption, fault):
    assert picture_faults(alt, caption) == [fault] and picture_faults("Three dots and an arrow", "A graph.") == []


def test_every_picture_is_inline_svg_with_words(seen):
    cells, pictures = ms.cells(source_of(seen.name)), seen.page.evaluate(PICTURES)
    promised = sum("figure" in (cell.options.get("mystnb") or {}) for cell in cells)
    assert len(pictures) >= promised == count(seen, "article figure")
    assert [(alt, faults) for alt, caption in pictures if (faults := picture_faults(alt, caption))] == []
    assert count(seen, "article object, article embed") == 0
    alts = seen.page.locator("img").evaluate_all("all => all.map(e => e.alt)")
    assert [alt for alt in alts if n_words(alt) < 3 or "/" in alt or ".png" in alt] == []


def test_the_head_is_complete_and_ids_are_unique(seen):
    assert seen.page.locator("html").get_attribute("lang") == ("ja" if seen.name in IN_JAPANESE else "en")
    assert count(seen, "link[rel~=icon]") == count(seen, "main h1:visible") == 1
    assert n_words(seen.page.locator("meta[name=description]").get_attribute("content")) > 3
    ids = seen.page.evaluate("[...document.querySelectorAll('[id]')].map(e => e.id)")
    assert sorted({name for name in ids if ids.count(name) > 1}) == []


def test_nothing_jumps(seen):
    """Cumulative layout shift: the worst run of shifts, each within a second of the last and five of the first."""
    worst = total = 0.0
    start = last = float("-inf")
    for shift in seen.shifts:
        now = shift["start"]
        if now - last > 1000 or now - start > 5000:
            total, start = 0.0, now
        total, last = total + shift["value"], now
        worst = max(worst, total)
    assert worst < 0.1, sorted(seen.shifts, key=lambda shift: -shift["value"])[:3]


def test_the_first_load_is_light(seen, site):
    paths = {unquote(url.removeprefix(seen.address).partition("?")[0]) for url in seen.first if ":" in url[:6]}
    sizes = {path: len(gzip.compress((site / path).read_bytes(), 1)) for path in paths if (site / path).is_file()}
    assert len(sizes) > 5
    assert sum(sizes.values()) < 3_200_000, sorted(sizes.items(), key=lambda item: -item[1])[:5]


def test_words_in_pictures_can_be_read_in_both_themes(seen):
    for theme in ("light", "dark"):
        set_theme(seen.page, theme)
        assert seen.page.evaluate(CONTRAST, ["svg.vae-picture text", "fill"]) == [], theme
    assert seen.page.evaluate(BEYOND) == []
    boxes = seen.page.locator("article .cell_output .text_html:has(svg.vae-picture)")
    assert boxes.evaluate_all(BOXLESS.format("backgroundColor")) == []
    papers = ", ".join(f"svg.vae-picture > g.graph > polygon[stroke={c}]" for c in ("none", "transparent"))
    assert seen.page.locator(papers).evaluate_all(BOXLESS.format("fill")) == []


@pytest.mark.parametrize("width", [WIDE, NARROW])
def test_nothing_sticks_out(seen, width):
    seen.page.set_viewport_size({"width": width, "height": 900})
    needed = seen.page.evaluate("document.scrollingElement.scrollWidth")
    assert needed <= width, seen.page.evaluate(WIDE_ELEMENTS, width)
    assert seen.page.evaluate(HIDDEN) == []
    assert seen.page.evaluate(LONG_FORMULAS) == []


def test_code_fits_its_cell_on_a_laptop(seen):
    seen.page.set_viewport_size(LAPTOP)
    assert seen.page.evaluate(SCROLLING_CODE) == []


def test_paper_is_as_good_as_a_screen(seen):
    """Printed from the dark theme onto A4; then the screen is dark and folded again."""
    page = seen.page
    page.evaluate("document.querySelectorAll('details').forEach(d => d.open = false)")
    set_theme(page, "dark")
    page.set_viewport_size({"width": PAPER, "height": 1000})
    page.emulate_media(media="print")
    page.wait_for_function("document.documentElement.dataset.theme === 'light'")
    page.wait_for_function("!document.querySelector('details:not([open])')")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    for ink in (["article :is(h1, h2, h3, p, li, td, th, pre, span)", "color"], ["svg.vae-picture text", "fill"]):
        assert page.evaluate(CONTRAST, ink) == []
    assert count(seen, "main h1:visible") == 1
    assert page.evaluate(FOLDED) == page.evaluate(CUT_OFF) == []
    live = "button, input, select, summary, nav, header, dialog, .bd-sidebar, .vae-live, .vae-notebook"
    assert page.evaluate(PRINTED, live) == page.evaluate(WITHOUT_PICTURE) == []
    page.emulate_media(media="screen")
    page.wait_for_function("document.documentElement.dataset.theme === 'dark'")
    assert count(seen, "details[open]") == 0


def barriers(page, context: str | None = None, rules: tuple[str, ...] = ()) -> list:
    """Return what axe finds against a page or a part of it, whatever its weight."""
    options = {"resultTypes": ["violations"]} | ({"runOnly": list(rules)} if rules else {})
    found = Axe().run(page, context=context, options=options).response["violations"]
    return [(v["id"], v["impact"], len(v["nodes"]), [node["html"][:100] for node in v["nodes"]][:3]) for v in found]


def test_no_barrier(seen):
    """Last of a page, for what axe has no rule for, or sees often enough, is taken out first."""
    seen.page.emulate_media(media="screen")
    set_theme(seen.page, "light")
    seen.page.set_viewport_size({"width": seen.width, "height": 900})
    seen.page.evaluate(UNFOLD)
    seen.page.wait_for_timeout(400)  # the theme looks for boxes that scroll 300 ms after a change of sizes
    seen.page.evaluate(THIN)
    assert barriers(seen.page) == []
    if seen.name in FEW or seen.width == NARROW:
        set_theme(seen.page, "dark")
        assert barriers(seen.page, rules=OF_COLOUR) == []
