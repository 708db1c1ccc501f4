"""What concerns the built site as a whole, or one part of a page: links, search, theme, titles, weights, the bundle."""

import re
import zipfile
from html.parser import HTMLParser
from urllib.parse import unquote, urldefrag

import pytest
from playwright.sync_api import expect
from site_pages import CONTRAST, IN_JAPANESE, NARROW, PAGES, TEXTS, set_theme
from test_site import barriers

from tools import bundle


def test_the_book_builds(cold_build):
    assert cold_build.returncode == 0, "the log ends:\n" + cold_build.stdout[-6000:]
    assert "Executed notebook" not in cold_build.stdout  # Jupyter Book found all chapters where tools.execute left them


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
    pages = {path.resolve(): Links(path.read_text()) for path in (*site.glob("*.html"), *site.glob("ja/*.html"))}
    names = {str(path.relative_to(site.resolve()).with_suffix("")) for path in pages}
    assert names == {*PAGES, *IN_JAPANESE}
    dead = []
    for path, links in pages.items():
        for href in links.hrefs:
            file, anchor = urldefrag(unquote(href))
            target = (path.parent / file.partition("?")[0]).resolve() if file else path
            if "://" in href or href.startswith(("data:", "mailto:")) or href == "#":
                continue
            if not target.exists() or (anchor and target in pages and anchor not in pages[target].ids):
                dead.append(f"{path.name}: {href}")
    assert dead == []


def test_pages_are_small_and_each_has_its_own_title_and_description(site):
    texts = {path.name: path.read_text() for path in site.glob("*.html")}
    assert {name: len(text) for name, text in texts.items() if len(text) > 400_000} == {}
    for part in (r"<title>(.*?)</title>", r'<meta name="description" content="(.*?)"'):
        found = [re.search(part, text, re.DOTALL).group(1) for text in texts.values()]
        assert all(found) and len(set(found)) == len(found)
    for name, text in TEXTS.items():
        if "{chapter-facts}" in text:
            assert 'class="chapter-facts">This page ran in ' in texts[f"{name}.html"]


def test_weights_are_fetched_once(browser, served):
    """By content: chapter 5 shows one net in several explorers, and the index shows it as well."""
    page = browser.new_page()
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(f"{served}05_look_inside.html")
    for box in page.locator(".vae-explorer").all():
        box.scroll_into_view_if_needed()
    page.wait_for_function("[...document.querySelectorAll('.vae-explorer')].every(e => e.matches('.vae-alive'))")
    weights = [url for url in asked if "/explorers/" in url]
    assert len(weights) == len(set(weights)) > 3
    flat = page.locator(".vae-explorer .vae-blob").first.get_attribute("data-src")
    page.goto(f"{served}index.html")
    assert flat in [e.get_attribute("data-src") for e in page.locator(".vae-explorer .vae-blob").all()]
    page.close()


def test_the_switch_changes_the_theme_and_the_three_colours_stand_out(browser, served):
    page, themes = browser.new_page(color_scheme="light"), set()
    page.goto(f"{served}index.html")
    for theme in ("light", "dark"):
        set_theme(page, theme)
        for name in ("encoder", "decoder", "prior"):
            page.evaluate(f"""() => document.body.insertAdjacentHTML(
                "beforeend", "<i class='probe' style='color: var(--vae-{name})'>{theme} {name}</i>")""")
        assert page.evaluate(CONTRAST, [".probe", "color"]) == []
        page.evaluate("document.querySelectorAll('.probe').forEach(e => e.remove())")
    for _ in range(3):  # light, dark, and as the system has it
        page.locator("button.theme-switch-button:visible").first.click()
        themes.add(page.locator("html").get_attribute("data-theme"))
    assert themes == {"light", "dark"}
    page.close()


N_FOLDED = """document.querySelectorAll(
    "article details:not([open]):not(.vae-live *, .vae-predict *), article .admonition.toggle-hidden").length"""


def test_no_barrier_in_what_is_folded(browser, served):
    """Of one chapter: folded cells and solutions look the same in all."""
    page = browser.new_page(viewport={"width": NARROW, "height": 900}, reduced_motion="reduce")
    page.goto(f"{served}04_m1.html")
    for theme in ("light", "dark"):
        set_theme(page, theme)
        assert barriers(page, "details, .toggle") == []
    page.close()


def test_one_button_opens_all_that_is_folded_and_closes_it(browser, address):
    """By keyboard; it says what it will do, also after a hand has opened a single block."""
    page = browser.new_page(viewport={"width": NARROW, "height": 900}, reduced_motion="reduce")
    page.goto(f"{address}08_m2.html")
    button = page.get_by_role("button", name="Open all folded blocks")
    n_folded = page.evaluate(N_FOLDED)
    button.focus()
    page.keyboard.press("Enter")
    assert n_folded >= 3 and page.evaluate(N_FOLDED) == 0
    assert page.locator("article .toggle-button[aria-expanded=false]").count() == 0
    close = page.get_by_role("button", name="Close all folded blocks")
    page.locator("article details > summary").first.click()
    expect(button).to_be_visible()  # it has this name again
    button.press("Enter")
    close.press("Enter")
    assert page.evaluate(N_FOLDED) == n_folded
    page.goto(f"{address}references.html")
    assert page.locator(".vae-folds").count() == 0  # nothing there is folded
    page.close()


def test_a_box_with_more_to_the_right_fades_until_one_is_there(browser, served):
    page = browser.new_page(viewport={"width": NARROW, "height": 900})
    page.goto(f"{served}04_m1.html")
    for kind in ("pre", "mjx-container"):
        expect(page.locator(f"{kind}.vae-more").first).to_have_css("mask-image", re.compile("gradient"))
    box = page.locator("pre.vae-more").first.element_handle()
    box.evaluate("e => e.scrollTo({ left: 1e4, behavior: 'instant' })")
    page.wait_for_function("e => !e.matches('.vae-more')", arg=box)
    page.close()


FINDS = [("ELBO", "2. "), ("semi-supervised labels", "8. "), ("分布", "The source"), ("サンプリング", "3. ")]


@pytest.mark.parametrize("words, chapter", FINDS)
def test_search_finds(browser, address, words, chapter):
    page = browser.new_page()
    page.goto(f"{address}search.html?q={words}")
    found = page.locator("ul.search li > a", has_text=re.compile(rf"^\s*{re.escape(chapter)}"))
    expect(found.first).to_be_visible(timeout=10_000)  # the finds are unfolded one after another
    page.close()


def test_the_bundle_is_complete(site, tmp_path):
    bundle.bundle(site, tmp_path / "book.zip")
    with zipfile.ZipFile(tmp_path / "book.zip") as packed:
        assert packed.testzip() is None
        sizes = {info.filename: info.file_size for info in packed.infolist() if not info.is_dir()}
    files = {f"{bundle.NAME}/{p.relative_to(site)}": p.stat().st_size for p in site.rglob("*") if p.is_file()}
    assert sizes == files and [path.name for path in tmp_path.iterdir()] == ["book.zip"]


def test_the_cheat_sheet_is_one_sheet_of_paper(browser, site):
    page = browser.new_page()
    page.goto((site / "cheat_sheet.html").as_uri())
    page.evaluate("() => window.MathJax?.startup?.promise")
    paper = page.pdf(format="A4", margin=dict.fromkeys(("top", "bottom", "left", "right"), "1cm"))
    page.close()
    assert len(re.findall(rb"/Type\s*/Page\b", paper)) == 1
