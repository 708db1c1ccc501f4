"""Every built page and every explorer in Firefox and in WebKitGTK, wide from a server and narrow from a disk."""

import json
import re
import shutil

import pytest
from explorer_pages import DRAWN
from other_browsers import Firefox, WebKit, noting_server
from site_pages import NARROW, PAGES, READ, TEXTS, UNFOLD, WATCH, WIDE

from benchmarks.explorers import STATE, SURFACES

pytestmark = pytest.mark.slow
COMPLAINTS = """
    globalThis.complaints = [];
    const ofFile = e => `failed: ${e.src || e.href?.baseVal || e.href}`;
    addEventListener("error", event => complaints.push(event.message ?? ofFile(event.target)), true);
    addEventListener("unhandledrejection", event => complaints.push(String(event.reason)));
    console.error = (...words) => complaints.push(words.join(" "));
"""
LOOK = f"""async () => {{
    const all = selector => [...document.querySelectorAll(selector)], code = e => e.outerHTML.slice(0, 100);
    await window.MathJax?.startup?.promise;
    await settled();
    await ({READ})();
    ({UNFOLD})();
    for (const box of all(".vae-explorer")) {{
        box.scrollIntoView();
        await settled();
    }}
    const bad = {{
        asleep: all(".vae-explorer:not(.vae-alive), .vae-failed"),
        raw: all(".math").filter(e => !e.querySelector("mjx-container svg") || e.innerText.includes("\\\\")),
        unread: all("mjx-container [data-mml-node=merror], mjx-merror, mjx-container [fill=red]"),
        broken: all("img").filter(e => !e.naturalWidth),
        empty: all("figure svg, .vae-live").filter(e => e.checkVisibility() && !e.getBoundingClientRect().width),
    }};
    const found = Object.fromEntries(Object.entries(bad).map(([what, those]) => [what, those.map(code)]));
    const width = document.scrollingElement.scrollWidth;
    return {{ ...found, complaints, outside: width > innerWidth ? [width] : [],
              pictures: all("figure").length, finds: all("ul.search li a").length }};
}}"""
BRING = """async k => {
    globalThis.box = document.querySelectorAll(".vae-explorer")[k];
    box.scrollIntoView({ block: "center", behavior: "instant" });
    for (let n = 0; n < 600 && !box.matches(".vae-alive"); n++) await new Promise(requestAnimationFrame);
    return box.querySelector(".vae-live").ariaLabel;
}"""
PLACE = """async selector => {
    const control = [...box.querySelectorAll(selector)].find(e => shows(e) && !e.disabled);
    control?.scrollIntoView({ block: "center", behavior: "instant" });
    control?.focus?.();
    const { x, y, width, height } = control?.getBoundingClientRect() ?? {};
    return control ? [x, y, width, height] : null;
}"""
SEEN = f"""async () => {{
    for (let n = 0; n < 2; n++) await new Promise(requestAnimationFrame);
    return [({STATE})(box), ({DRAWN})(box)];
}}"""
STEPS = """async () => {
    const note = box.querySelector(".vae-learning .vae-note");
    for (let n = 0; n < 1200 && !/^[1-9]/.test(note.textContent); n++) await new Promise(requestAnimationFrame);
    return note.textContent;
}"""
KEYS = {"input[type=range]": "\ue010", "button": "\ue006"}  # End, Enter


@pytest.fixture(scope="module")
def pages(site, tmp_path_factory):
    """A copy of the pages, each with a script that keeps what goes wrong; its server; what that has refused."""
    folder = shutil.copytree(site, tmp_path_factory.mktemp("other") / "site")
    for page in folder.glob("*.html"):
        head, rest = page.read_text(encoding="utf-8").split("<head>", 1)
        page.write_text(f"{head}<head><script>{{{WATCH}{COMPLAINTS}}}</script>{rest}", encoding="utf-8")
    with noting_server(folder) as (where, refused):
        yield {"http": f"http://{where}/", "file": folder.as_uri() + "/"}, where, refused


@pytest.fixture(scope="module", params=[Firefox, WebKit], ids=lambda kind: kind.__name__)
def window(request, pages, tmp_path_factory):
    if missing := request.param.missing():
        pytest.skip(f"{missing} on PATH")
    window = request.param(tmp_path_factory.mktemp(request.param.__name__), proxy=pages[1])
    yield window
    window.close()


@pytest.mark.parametrize("way, width", [("http", WIDE), ("file", NARROW)])
@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_whole_and_asks_nobody_else(window, pages, name, way, width):
    addresses, _, refused = pages
    refused.clear()
    window.resize(width, 900)
    window.open(f"{addresses[way]}{name}.html" + ("?q=posterior" if name == "search" else ""))
    found = window.evaluate(LOOK)
    assert found.pop("pictures") >= TEXTS.get(name, "").count("caption: ")
    assert bool(found.pop("finds")) == (name == "search")
    found["asked"] = [*refused, *window.strangers]
    assert {what: those for what, those in found.items() if those} == {}


@pytest.mark.parametrize("name", [name for name, text in TEXTS.items() if "Explorer(" in text])
def test_explorers_follow_keys_and_hands(window, pages, name):
    window.resize(WIDE, 900)
    window.open(f"{pages[0]['file']}{name}.html")
    for number in range(window.evaluate("() => document.querySelectorAll('.vae-explorer').length")):
        title = window.evaluate(f"() => ({BRING})({number})")
        if title == "A VAE that learns":  # what it shows changes while it learns, and not with its sliders
            place(window, ".vae-play")
            window.act(key_source(KEYS["button"]))
            assert re.match("[1-9]", window.evaluate(STEPS))
            continue
        for selector, key in KEYS.items():
            if place(window, selector):
                assert moved(window, key_source(key)), (title, selector)
        for surface in window.evaluate(f"() => ({SURFACES})(box)"):
            for turn, kind in enumerate(window.pointers):
                down, drag = strokes(kind, *place(window, f".{surface}"), turn=turn)
                assert moved(window, down) and moved(window, drag), (title, surface, kind)
        if clicked := place(window, ".vae-clicked"):
            assert moved(window, pointer("mouse", [at(*clicked, 0.7, 0.3)], "pointerDown", "pointerUp")), title


def place(window, selector: str) -> list[float] | None:
    """Give the focus to a control in sight; return its place in the window."""
    return window.evaluate(f"() => ({PLACE})({json.dumps(selector)})")


def moved(window, source: dict) -> bool:
    """Act, and return whether the explorer's values and what it shows have both changed."""
    before = window.evaluate(SEEN)
    window.act(source)
    return all(a != b for a, b in zip(before, window.evaluate(SEEN), strict=True))


def key_source(key: str) -> dict:
    return dict(type="key", id="keys", actions=[dict(type=what, value=key) for what in ("keyDown", "keyUp")])


def at(left: float, top: float, width: float, height: float, x: float, y: float) -> dict:
    """Go to a point of a box, given by shares of its sides."""
    return dict(type="pointerMove", x=round(left + x * width), y=round(top + y * height))


def pointer(kind: str, moves: list[dict], *buttons: str) -> dict:
    actions = [*moves, *(dict(type=button, button=0) for button in buttons)]
    return dict(type="pointer", id=kind, parameters=dict(pointerType=kind), actions=actions)


def strokes(kind: str, *box: float, turn: int) -> tuple[dict, dict]:
    """Put a pointer down in a box; drag it on, elsewhere at every turn, and lift it."""
    x = 0.3 + 0.3 * turn
    down = pointer(kind, [at(*box, x, 0.3)], "pointerDown")
    return down, pointer(kind, [at(*box, x, 0.5), at(*box, x + 0.2, 0.8 - 0.2 * turn)], "pointerUp")
