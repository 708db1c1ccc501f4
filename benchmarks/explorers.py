"""How fast the explorers of the built book are: `python -m benchmarks.explorers [--site FOLDER] [--json FILE]`.

Opens the pages in a headless Chromium, from the disk and with no network, on two cores where the system can hold a
program to them, and measures for each explorer: the time from scrolling to it until it is alive, or from the page's
start where it comes to life without scrolling; the time from a key or a mouse move until the frame that answers it has
been painted, for its first slider, its first button, and every surface for a finger; and for each net one forward
pass, and its size. Writes a record with the machine's description. With `--training` only the VAE that learns in the
page: its largest relative error of a gradient and its loss after 200 steps, both against PyTorch's, and its speed.
"""

import argparse
import gzip
import json
import math
import os
import platform
import random
import re
import statistics
import sys
import time
from collections.abc import Iterable
from pathlib import Path

from playwright.sync_api import Browser, Locator, Page, sync_playwright

from vaecore import checkpoints, records
from vaecore.explorer.base import JAVASCRIPT

from . import chromium, learning

ROOT = Path(__file__).parents[1]
SITE = ROOT / "_build" / "html"
RECORD = Path(__file__).with_suffix(".json")  # not in results/: chapters would run again for it
TIMES = dict(alive_ms=1000, painted_p95_ms=34, forward_ms=5)  # the most that each may take; 34 ms are two frames
SIZES = dict(html_kb=400, gzip_kb=1000)
CORES = 2
EXPLORER = '<div class="vae-explorer">'

WATCH = """type => {
    globalThis.watching?.abort();  // of the control before
    const { signal } = globalThis.watching = new AbortController();
    const times = globalThis.paintTimes = [], { port1, port2 } = new MessageChannel(), waiting = [];
    port1.onmessage = () => times.push(performance.now() - waiting.shift());
    addEventListener(type, event => requestAnimationFrame(() => {  // explorers draw in the frame after an input;
        waiting.push(event.timeStamp);
        port2.postMessage(0);  // a message that is sent in a frame comes when that frame has been painted
    }), { capture: true, signal });
}"""
NOTE_WHEN_ALIVE = """globalThis.aliveAt = new WeakMap();  // of each explorer: the frame after it came to life
new MutationObserver(changes => changes.forEach(({ target }) => {
    if (!target.matches(".vae-explorer.vae-alive") || aliveAt.has(target)) return;
    aliveAt.set(target, null);
    requestAnimationFrame(() => aliveAt.set(target, performance.now()));
})).observe(document, { subtree: true, attributeFilter: ["class"] });"""
# explorers begin one viewport before they are seen: those of the first two begin while the page loads
COME_ALIVE = """async box => {
    const frame = () => new Promise(requestAnimationFrame), now = performance.now();
    const early = box.getBoundingClientRect().top < 2 * innerHeight || box.matches(".vae-alive");
    box.scrollIntoView({ block: "center", behavior: "instant" });
    while (!aliveAt.get(box) && performance.now() - now < 30000) await frame();
    if (!box.matches(".vae-alive:not(.vae-failed)")) return null;
    return { from: early ? "load" : "scroll", ms: aliveAt.get(box) - (early ? 0 : now) };
}"""
# what a finger can draw or drag on keeps the page from scrolling
SURFACES = """box => [...box.querySelectorAll("svg, canvas")]
    .filter(e => e.checkVisibility() && getComputedStyle(e).touchAction === "none")
    .map(e => e.classList[0])"""
STATE = "box => JSON.stringify(box.vaecore.model.values)"
BLOBS = """box => Object.entries(box.vaecore.settings.blobs).map(([role, id]) => {
    const place = [...document.querySelectorAll(".vae-blob")].find(e => e.dataset.id === id);
    return { role, id, src: place.dataset.src ?? null, text: place.textContent };
})"""
FORWARD = """blob => {
    const net = measured.readNetwork(JSON.parse(blob), "net"), times = [];
    const input = Float32Array.from({ length: net.nIn }, Math.random);
    for (let batch = 0; batch < 40; batch++) {  // ten passes at once: the clock has steps of 0.1 ms
        const start = performance.now();
        for (let i = 0; i < 10; i++) measured.forward(net, input);
        if (batch >= 10) times.push((performance.now() - start) / 10);
    }
    return times;
}"""


def measure(browser: Browser, site: Path, n_inputs: int = 100) -> dict:
    """Sizes of pages, times of explorers (milliseconds), sizes and times of nets; ValueError where no page has any."""
    counts = {path: path.read_text(encoding="utf-8").count(EXPLORER) for path in sorted(site.glob("*.html"))}
    if not any(counts.values()):
        raise ValueError(f"site must be a folder of pages with explorers; {site} has none. `make book` builds it.")
    pages, explorers, blobs = {}, [], {}
    for path, count in counts.items():
        if count:
            pages[path.stem] = dict(html_kb=round(path.stat().st_size / 1000, 1))
        for number in range(count):  # each in a page of its own: nothing is there from the explorer before
            page = browser.new_page(viewport=dict(width=1200, height=900))
            page.add_init_script(NOTE_WHEN_ALIVE)
            page.goto(path.as_uri())
            page.evaluate("() => window.MathJax?.startup?.promise")
            box = page.locator(".vae-explorer").nth(number)
            explorers.append(dict(page=path.stem, number=number + 1) | of_explorer(page, box, n_inputs))
            for blob in box.evaluate(BLOBS):
                if blob["src"]:
                    blob["text"] = (path.parent / blob["src"]).read_text(encoding="utf-8")
                blobs.setdefault(blob["id"], blob | dict(page=path.stem))
            page.close()
    return dict(pages=pages, explorers=explorers, networks=of_networks(browser, blobs.values()))


def of_explorer(page: Page, box: Locator, n_inputs: int) -> dict:
    """How long one explorer takes to come alive, and to answer each kind of input that it has."""
    alive = box.evaluate(COME_ALIVE)
    name = box.locator(".vae-live").get_attribute("aria-label")
    if alive is None:
        raise ValueError(f"{name} on {page.url} does not come alive; it says: {box.locator('.vae-live').inner_text()}")
    page.wait_for_timeout(500)  # what it paints by and by, such as a decoded plane
    controls = [
        ("slider", box.locator("input[type=range]:visible:enabled"), "keydown", focus, press_arrow),
        ("button", box.locator("button:visible:enabled"), "keydown", focus, press_enter),
    ]
    for surface in box.evaluate(SURFACES):
        controls.append((surface.removeprefix("vae-"), box.locator(f".{surface}"), "pointermove", touch, drag))
    painted = {}
    for kind, control, event, begin, go in controls:
        if control.count():
            times = answers(page, box, control.first, event, begin, go, n_inputs)
            if not times:
                raise ValueError(f"the {kind} of {name} on {page.url} changes nothing.")
            painted[kind] = percentiles(times)
    return dict(name=name, alive_ms=round(alive["ms"], 1), alive_from=alive["from"], painted=painted)


def answers(page: Page, box: Locator, control: Locator, event: str, begin, go, n_inputs: int) -> list[float]:
    """Milliseconds from each of n inputs to the painted frame; empty where none of them changes the explorer."""
    control.scroll_into_view_if_needed()
    start, states = begin(page, control), {box.evaluate(STATE)}
    page.evaluate(WATCH, event)
    for at in range(n_inputs):
        go(page, start, at)
        page.wait_for_function("n => paintTimes.length > n", arg=at, polling=5)
        page.wait_for_timeout(random.uniform(0, 30))  # so that inputs meet frames at any moment
        states.add(box.evaluate(STATE))
    page.mouse.up()
    states.add(box.evaluate(STATE))
    return page.evaluate("paintTimes") if len(states) > 1 else []


def focus(page: Page, control: Locator) -> None:
    control.focus()


def press_enter(page: Page, _: None, at: int) -> None:
    page.keyboard.press("Enter")


def press_arrow(page: Page, _: None, at: int) -> None:
    page.keyboard.press("ArrowLeft" if at % 2 else "ArrowRight")


def touch(page: Page, pad: Locator) -> dict:
    box = pad.bounding_box()
    page.mouse.move(box["x"] + 0.8 * box["width"], box["y"] + 0.5 * box["height"])
    page.mouse.down()
    page.wait_for_timeout(100)
    return box


def drag(page: Page, box: dict, at: int) -> None:
    """Round the middle of the pad."""
    angle = 2 * math.pi * (at + 1) / 40
    across, down = 0.5 + 0.3 * math.cos(angle), 0.5 + 0.3 * math.sin(angle)
    page.mouse.move(box["x"] + across * box["width"], box["y"] + down * box["height"])


def percentiles(times: list[float]) -> dict:
    cuts = statistics.quantiles(times, n=20, method="inclusive")
    return dict(p50_ms=round(cuts[9], 1), p95_ms=round(cuts[18], 1), inputs=len(times))


def of_networks(browser: Browser, blobs: Iterable[dict]) -> list[dict]:
    """Of each net that the pages show: its size on the wire, and the time of a forward pass."""
    page = browser.new_page()
    page.add_script_tag(type="module", content=f"{JAVASCRIPT}\nglobalThis.measured = {{ readNetwork, forward }};")
    page.wait_for_function("globalThis.measured")
    networks = []
    for blob in blobs:
        packed = re.search(r"= (\".*\");\s*$", blob["text"])  # a script that hands the text over as a string
        text = json.loads(packed[1]) if packed else blob["text"]
        if "layers" not in json.loads(text):
            continue  # images
        size = len(gzip.compress(blob["text"].encode(), mtime=0)) / 1000
        forward = statistics.median(page.evaluate(FORWARD, text))
        facts = dict(id=blob["id"], role=blob["role"], page=blob["page"])
        networks.append(facts | dict(gzip_kb=round(size, 1), forward_ms=round(forward, 3)))
    page.close()
    return networks


def faults(found: dict, slack: float = 1) -> list[str]:
    """A sentence for everything that is over its bar; times may be `slack` times as long."""
    rows = [(f"the HTML of {name}", page, "html_kb") for name, page in found["pages"].items()]
    for one in found["explorers"]:
        name = f"{one['name']} {one['number']} on {one['page']}"
        rows.append((f"coming alive of {name}", one, "alive_ms"))
        for kind, times in one["painted"].items():
            rows.append((f"the {kind} of {name}", dict(painted_p95_ms=times["p95_ms"]), "painted_p95_ms"))
    for net in found["networks"]:
        rows += [(f"the {net['role']} {net['id']} of {net['page']}", net, bar) for bar in ("gzip_kb", "forward_ms")]
    bars = SIZES | {bar: slack * most for bar, most in TIMES.items()}
    return [
        f"{what}: {values[bar]:g} {bar.rsplit('_', 1)[1]}, and {bars[bar]:g} are the most."
        for what, values, bar in rows
        if values[bar] > bars[bar]
    ]


def cores() -> int:
    """On how many this program and its browser may run."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def machine(browser: Browser) -> dict:
    names = re.findall(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text()) if sys.platform == "linux" else []
    processor = names[0] if names else platform.processor() or platform.machine()
    return dict(system=platform.platform(), processor=processor, cores=cores(), chromium=browser.version)


def table(found: dict) -> str:
    kinds = list(dict.fromkeys(kind for one in found["explorers"] for kind in one["painted"]))
    lines = [f"{'explorer':36}{'alive':>9} {'from':7}" + "".join(f"{kind + ' p50':>12}{'p95':>7}" for kind in kinds)]
    for one in found["explorers"]:
        cells = [f"{one['page']} {one['number']}: {one['name']}"[:35].ljust(36)]
        cells += [f"{one['alive_ms']:9.0f} {one['alive_from']:7}"]
        for kind in kinds:
            times = one["painted"].get(kind)
            cells += [f"{times['p50_ms']:12.1f}{times['p95_ms']:7.1f}" if times else " " * 19]
        lines.append("".join(cells).rstrip())
    lines[0] += "  (ms)"
    lines.append(f"\n{'net':36}{'gzip kB':>9}{'forward ms':>12}")
    for net in found["networks"]:
        lines.append(f"{net['page'] + ': ' + net['role']:36}{net['gzip_kb']:9.0f}{net['forward_ms']:12.3f}")
    lines.append(f"\n{'page':36}{'HTML kB':>9}")
    lines += [f"{name:36}{page['html_kb']:9.0f}" for name, page in found["pages"].items()]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--site", type=Path, default=SITE, help="the folder of the built pages")
    parser.add_argument("--json", type=Path, help=f"where the record goes; {RECORD.name} unless --training is given")
    parser.add_argument("--training", action="store_true", help="measure the VAE that learns in the page, and no other")
    args = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):  # what is started from now on, as the browser, keeps to the same cores
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:CORES])
    made_by, start = checkpoints.provenance(), time.perf_counter()
    with sync_playwright() as playwright:
        browser = chromium.launch(playwright)
        try:
            found = (learning.measure if args.training else measure)(browser, args.site.absolute())
        except ValueError as error:
            sys.exit(f"explorers: {error}")
        if args.training:
            browser.close()
            print(json.dumps(found, indent=1))
            if args.json:
                records.write(args.json, found)
            return
        record = dict(machine=machine(browser), bars=TIMES | SIZES) | found | made_by
        browser.close()
    record |= dict(command="python -m benchmarks.explorers", seconds=round(time.perf_counter() - start))
    records.write(args.json or RECORD, record)
    print(table(found))
    sys.exit("\n".join(faults(found)) or None)


if __name__ == "__main__":
    main()
