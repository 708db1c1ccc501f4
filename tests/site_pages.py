"""What the tests of the site share: the build, which pages there are, how they are opened and read."""

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

ROOT = Path(__file__).parents[1]
DRIVER = [sys.executable, "-m", "tools.build"]
TEXTS = {path.stem: path.read_text() for path in sorted((ROOT / "book").glob("*.md"))}
PAGES = [*TEXTS, "search", "genindex"]
IN_JAPANESE = [f"ja/{name}" for name in PAGES]
WIDE, NARROW = 1400, 390
WATCH = """
    globalThis.shows = e => e.checkVisibility({ visibilityProperty: true, opacityProperty: true })
        && e.getBoundingClientRect().height > 0;
    globalThis.shifts = [];
    const about = node => (node?.parentElement ?? node)?.outerHTML.slice(0, 100);
    new PerformanceObserver(list => list.getEntries().filter(e => !e.hadRecentInput).forEach(e => shifts.push({
        start: e.startTime, value: e.value, moved: e.sources.map(source => about(source.node)),
    }))).observe({ type: "layout-shift", buffered: true });
    globalThis.settled = async () => {  // all in sight is alive; after ten seconds it is taken as it is
        const inSight = e => e.getBoundingClientRect().bottom > 0 && e.getBoundingClientRect().top < innerHeight;
        const found = ".vae-quotes ul.search p.context, html:not(.vae-quotes) ul.search li";
        const late = () => [...document.querySelectorAll(".vae-explorer:not(.vae-alive)")].some(inSight)
            || document.querySelector("#search-results") && !document.querySelector(found);
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
        .map(e => [e.textContent.trim(), ratio(getComputedStyle(e)[property], page)])
        .filter(([, contrast]) => contrast < 4.5);
}"""


def source_of(name: str) -> str:
    """Return the text of a page in either language; empty for those that have none."""
    return TEXTS.get(name.removeprefix("ja/"), "")


def run_driver(*arguments: object, root: Path = ROOT) -> subprocess.CompletedProcess:
    """Run the build; with another `root`, that of a copy of the project."""
    command = [*DRIVER, *map(str, arguments)]
    return subprocess.run(command, cwd=root, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def visit(browser, address: str, name: str, width: int) -> SimpleNamespace:
    """Open a page as a first-time reader does, scroll to its end, unfold it; note its requests and complaints."""
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme="light", reduced_motion="reduce")
    found = SimpleNamespace(name=name, page=page, address=address, requests=[], complaints=[])
    page.on("request", lambda asked: found.requests.append(asked.url))
    page.on("requestfailed", lambda asked: found.complaints.append(f"failed: {asked.url}"))
    page.on("pageerror", lambda error: found.complaints.append(str(error)))
    page.on("console", lambda said: found.complaints.append(said.text) if said.type == "error" else None)
    page.add_init_script(WATCH)
    page.goto(f"{address}{name}.html" + ("?q=posterior" if name.endswith("search") else ""))  # an empty search is empty
    page.evaluate("() => window.MathJax?.startup?.promise")
    page.evaluate("settled()")
    if name.endswith("search"):
        page.wait_for_load_state("networkidle")  # it fetches a few words of each page that it found
    found.first = set(found.requests)
    page.evaluate(READ)
    found.shifts = page.evaluate("shifts")
    page.evaluate(UNFOLD)
    return found


def set_theme(page, theme: str) -> None:
    page.emulate_media(color_scheme=theme)
    page.wait_for_function("theme => document.documentElement.dataset.theme === theme", arg=theme)
