"""A page that lost a part: the rest still reads, and an explorer that stays a picture says what is missing."""

import time

import pytest
from site_pages import PAGES, UNFOLD

FAULTS = {
    "missing": lambda content: dict(status=404, body=""),
    "cut short": lambda content: dict(body=content[: len(content) // 2]),
    "garbage": lambda content: dict(body=bytes(reversed(content))),
}
OWN = ("_static/explorers/", "_static/pictures/")  # of one page; what all pages share is broken on one of them
NO_STORAGE = """Object.defineProperty(window, "localStorage", {
    configurable: true, get() { throw new DOMException("storage is off", "SecurityError"); } });"""
WITHOUT = {"storage off": {}, "scripts off": dict(java_script_enabled=False)}
READS = """() => {
    const words = block => {
        const copy = block.cloneNode(true);
        copy.querySelectorAll(".math, mjx-container, .vae-explorer, button").forEach(e => e.remove());
        return copy.textContent.replace(/\\s+/g, " ").trim();
    };
    const blocks = document.querySelectorAll("article :is(h1, h2, h3, p, li, td, th, pre, svg[role=img])");
    return [...blocks].filter(e => !e.closest(".vae-explorer, mjx-container, .math"))
        .filter(e => e.checkVisibility({ visibilityProperty: true, opacityProperty: true }))
        .map(e => e.getAttribute("aria-label") ?? words(e));
}"""
EXPLORERS = """() => [...document.querySelectorAll(".vae-explorer")].map(e => {
    const shown = s => [...e.querySelectorAll(s)].filter(x => x.checkVisibility({ visibilityProperty: true }));
    return {
        alive: e.matches(".vae-alive:not(.vae-failed)") && shown(".vae-live input").length > 0,
        sentences: shown(".vae-asleep, .vae-trouble").map(x => x.innerText.trim()),
        pictures: shown(".vae-static svg[role=img]").length,
    };
})"""


def is_right(explorer: dict) -> bool:
    """Return whether the explorer is alive, or a picture with one sentence below it."""
    if explorer["alive"]:
        return explorer["sentences"] == []
    return explorer["pictures"] == 1 and [sentence[-1:] for sentence in explorer["sentences"]] == ["."]


def read(page, address: str) -> tuple[set[str], list[dict]]:
    """Return the words that a reader of the page sees, and how each explorer does."""
    page.goto(address)
    page.evaluate(UNFOLD)
    for box in page.locator(".vae-explorer").all():
        box.evaluate("box => box.scrollIntoView()")
    deadline = time.monotonic() + 15
    while not all(map(is_right, explorers := page.evaluate(EXPLORERS))) and time.monotonic() < deadline:
        page.wait_for_timeout(50)
    page.evaluate("() => document.getAnimations().forEach(a => a.finish())")  # what unfolds fades in
    return set(page.evaluate(READS)), explorers


def answer_of(page, address: str) -> str:
    """Return what the search has found, or says of itself."""
    page.goto(address)
    answer = page.locator("#search-results li a, #search-results:not(:has(ul)):not(:empty), noscript p:last-child")
    answer.first.wait_for(timeout=10_000)
    return answer.first.text_content().strip()


def broken(browser, site, served, path: str, look, victims) -> tuple:
    """Return what `look` sees of the whole page, and, by fault, of the page with each of its files damaged in turn."""
    address, asked, damage = f"{served}{path}", set(), {}
    page = browser.new_page()
    page.on("request", lambda request: asked.add(request.url.split("?")[0].removeprefix(served)))
    whole = look(page, address)
    for victim in sorted(name for name in asked - {path} if victims(name)):
        for fault, damaged in FAULTS.items():
            answer = damaged((site / victim).read_bytes())
            page.route(f"**/{victim}*", lambda route, _, answer=answer: route.fulfill(**answer))
            damage[f"{victim}, {fault}"] = look(page, address)
            page.unroute_all()
    page.close()
    for what, options in WITHOUT.items():
        page = browser.new_page(**options)
        page.add_init_script(NO_STORAGE)
        damage[what] = look(page, address)
        page.close()
    return whole, damage


QUICK, SHARED = "index", "02_kl"


@pytest.mark.parametrize(
    "name", [n if n == QUICK else pytest.param(n, marks=pytest.mark.slow) for n in PAGES if n != "search"]
)
def test_a_page_that_lost_a_part_still_reads(name, browser, site, served, tally):
    def victims(file):
        return name == SHARED or file.startswith(OWN)

    (words, explorers), damage = broken(browser, site, served, f"{name}.html", read, victims)
    assert len(words) > 5 and all(explorer["alive"] for explorer in explorers)
    faults = {
        fault: sorted(words - found) + [explorer for explorer in after if not is_right(explorer)]
        for fault, (found, after) in damage.items()
    }
    tally("broken pages", len(damage), sum(not found for found in faults.values()))
    assert {fault: found for fault, found in faults.items() if found} == {}


@pytest.mark.slow
def test_a_search_that_lost_a_part_says_so(browser, site, served, tally):
    path = "search.html?q=entropy"
    whole, damage = broken(browser, site, served, path, answer_of, lambda file: file.endswith(".js"))
    sorry = "The search does not work here: a file that it needs is missing or damaged."
    fatal = ("searchindex.js", "_static/searchtools.js", "_static/language_data.js")
    off = "Please activate JavaScript to enable the search functionality."
    wrong = {}
    for fault, said in damage.items():
        allowed = (sorry,) if fault.startswith(fatal) else (off,) if fault == "scripts off" else (whole, sorry)
        wrong |= {fault: said} if said not in allowed else {}
    tally("broken pages", len(damage), len(damage) - len(wrong))
    assert whole != sorry and len(damage) > 3 * len(fatal) and wrong == {}
