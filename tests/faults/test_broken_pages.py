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
        told: shown(".vae-asleep, .vae-trouble").map(x => x.innerText),
        pictures: shown(".vae-static svg[role=img]").length,
    };
})"""


def right(explorer: dict) -> bool:
    """Alive, or a picture with one sentence below it."""
    if explorer["alive"]:
        return explorer["told"] == []
    return explorer["pictures"] == 1 and [said.strip()[-1:] for said in explorer["told"]] == ["."]


def read(page, address: str) -> tuple[set[str], list[dict]]:
    """The words that a reader of the page sees, and how each explorer does."""
    page.goto(address)
    page.evaluate(UNFOLD)
    for box in page.locator(".vae-explorer").all():
        box.evaluate("box => box.scrollIntoView()")
    deadline = time.monotonic() + 15
    while not all(map(right, explorers := page.evaluate(EXPLORERS))) and time.monotonic() < deadline:
        page.wait_for_timeout(50)
    page.evaluate("() => document.getAnimations().forEach(a => a.finish())")  # what unfolds fades in
    return set(page.evaluate(READS)), explorers


def faults_of(whole: set[str], found: tuple[set[str], list[dict]]) -> list[str]:
    words, explorers = found
    return sorted(f"not to be read: {text[:80]}" for text in whole - words) + [
        f"an explorer: {explorer}" for explorer in explorers if not right(explorer)
    ]


def troubles(name: str, browser, site, served, tally, shared: bool) -> dict[str, list[str]]:
    """What no longer reads, by what was taken from the page."""
    address, asked, trouble = f"{served}{name}.html", set(), {}
    page = browser.new_page()
    page.on("request", lambda request: asked.add(request.url.split("?")[0].removeprefix(served)))
    whole, explorers = read(page, address)
    assert len(whole) > 5 and all(explorer["alive"] for explorer in explorers)
    for victim in sorted(asked - {f"{name}.html"}):
        for fault in FAULTS if shared or victim.startswith(OWN) else ():
            answer = FAULTS[fault]((site / victim).read_bytes())
            page.route(f"**/{victim}*", lambda route, _, answer=answer: route.fulfill(**answer))
            trouble[f"{victim}, {fault}"] = faults_of(whole, read(page, address))
            page.unroute_all()
    page.close()
    for what, options in (("storage off", {}), ("scripts off", dict(java_script_enabled=False))):
        page = browser.new_page(**options)
        page.add_init_script(NO_STORAGE)
        trouble[what] = faults_of(whole, read(page, address))
        page.close()
    tally("broken pages", len(trouble), sum(not found for found in trouble.values()))
    return {what: found for what, found in trouble.items() if found}


def test_a_page_that_lost_a_part_still_reads(browser, site, served, tally):
    assert troubles("02_kl", browser, site, served, tally, shared=False) == {}


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in PAGES if name != "search"])
def test_pages_that_lost_a_part_still_read(name, browser, site, served, tally):
    assert troubles(name, browser, site, served, tally, shared=name == "02_kl") == {}


def answer_of(page, address: str) -> str:
    """What the search has found, or says of itself."""
    page.goto(address)
    answer = page.locator("#search-results li a, #search-results:not(:has(ul)):not(:empty), noscript p:last-child")
    answer.first.wait_for(timeout=10_000)
    return answer.first.text_content().strip()


def test_a_search_that_lost_a_part_says_so(browser, site, served, tally):
    address, asked, answers = f"{served}search.html?q=entropy", set(), {}
    page = browser.new_page()
    page.on("request", lambda request: asked.add(request.url.split("?")[0].removeprefix(served)))
    whole = answer_of(page, address)
    assert "search does not work" not in whole
    for victim in sorted(name for name in asked if name.endswith(".js")):
        for fault, damaged in FAULTS.items():
            answer = damaged((site / victim).read_bytes())
            page.route(f"**/{victim}*", lambda route, _, answer=answer: route.fulfill(**answer))
            answers[f"{victim}, {fault}"] = answer_of(page, address)
            page.unroute_all()
    page.close()
    told = "The search does not work here: a file that it needs is missing or damaged."
    fatal = ("searchindex.js", "_static/searchtools.js", "_static/language_data.js")
    wrong = {
        what: said
        for what, said in answers.items()
        if said not in ((told,) if what.startswith(fatal) else (whole, told))
    }
    for what, options, expected in (
        ("storage off", {}, whole),
        (
            "scripts off",
            dict(java_script_enabled=False),
            "Please activate JavaScript to enable the search functionality.",
        ),
    ):
        page = browser.new_page(**options)
        page.add_init_script(NO_STORAGE)
        answers[what] = answer_of(page, address)
        wrong |= {what: answers[what]} if answers[what] != expected else {}
        page.close()
    tally("broken pages", len(answers), len(answers) - len(wrong))
    assert len(answers) > 3 * len(fatal) and wrong == {}
