"""What the tests of the built pages share: which pages there are, how they are opened, and what is read from them."""

from pathlib import Path

TEXTS = {path.stem: path.read_text() for path in sorted((Path(__file__).parents[1] / "book").glob("*.md"))}
PAGES = [*TEXTS, "search", "genindex"]
WIDE, NARROW = 1400, 390
UNFOLD = """() => {
    document.querySelectorAll("details").forEach(d => d.open = true);
    document.querySelectorAll(".toggle-hidden").forEach(d => d.classList.remove("toggle-hidden"));
    document.querySelector("footer").scrollIntoView();
}"""
CONTRAST = """([selector, property]) => {
    const rgb = text => text.match(/[\\d.]+/g).map(Number);
    const light = c => rgb(c).slice(0, 3).map(v => v / 255)
        .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
        .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
    const ratio = (a, b) => (Math.max(light(a), light(b)) + 0.05) / (Math.min(light(a), light(b)) + 0.05);
    const page = getComputedStyle(document.body).backgroundColor;
    const onItsOwnPaper = e => e.closest("g[id*='text_']")?.querySelector("path[style*='fill: #ffffff']");
    return [...document.querySelectorAll(selector)].filter(e => !onItsOwnPaper(e))
        .map(e => [e.textContent.trim(), ratio(getComputedStyle(e)[property], page)]);
}"""


def page_url(address: str, name: str) -> str:
    """Where a page is found; the search with something found, for it is empty otherwise."""
    return f"{address}{name}.html" + ("?q=posterior" if name == "search" else "")


def set_theme(page, theme: str) -> None:
    page.emulate_media(color_scheme=theme)
    page.wait_for_function("theme => document.documentElement.dataset.theme === theme", arg=theme)
