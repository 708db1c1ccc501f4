"""Explorers without a kernel: from a disk, in a frame, without a script, in print, damaged; for every reader."""

import html
import json
import re
import sys
import types
from xml.etree import ElementTree

import pytest
from axe_playwright_python.sync_playwright import Axe
from explorer_pages import DRAWN, INKS, ink, open_page, page_of, two_frames
from torch import nn

from vaecore.explorer import blobs

WIDGET = "application/vnd.jupyter.widget-view+json"


@pytest.fixture
def page(browser, request):
    """A page that asks for nothing: any request is kept, and refused."""
    context = browser.new_context(viewport=dict(width=800, height=900), **getattr(request, "param", {}))
    page = context.new_page()
    page.requests, page.errors = [], []
    page.route("http*://**", lambda route: (page.requests.append(route.request.url), route.abort()))
    page.on("console", lambda message: message.type == "error" and page.errors.append(message.text))
    page.on("pageerror", lambda error: page.errors.append(str(error)))
    yield page
    context.close()


@pytest.mark.parametrize("kind", ["latents", "digit", "gap"])
def test_in_a_frame_without_network_and_in_print(page, fragments, kind):
    """Colab puts every output into a frame of its own, of another origin. A key on a slider changes what is drawn."""
    inside = html.escape(page_of(fragments[kind]), quote=True)
    page.set_content(f'<iframe sandbox="allow-scripts" width="700" height="800" srcdoc="{inside}"></iframe>')
    frame = page.frame_locator("iframe")
    live, picture = frame.locator(".vae-live[data-ready]"), frame.locator(".vae-static svg")
    live.wait_for()
    before = live.evaluate(DRAWN)
    live.locator("input[type=range]").first.press("End")
    two_frames(page)
    assert before and live.evaluate(DRAWN) != before
    assert not re.search(r"null|undefined|NaN|\[object", live.inner_text())
    assert frame.locator(".vae-trouble").count() == 0 and not picture.is_visible()
    assert page.requests == [] and page.errors == []
    page.emulate_media(media="print")
    assert picture.is_visible() and not live.is_visible()


@pytest.mark.parametrize("page", [dict(java_script_enabled=False)], indirect=True)
def test_without_scripts_the_pictures_stand_there(page, fragments):
    page.set_content(page_of(*fragments.values()))
    for picture in page.locator(".vae-static svg[role=img]").all():
        assert picture.is_visible() and picture.bounding_box()["width"] > 200
        assert len(picture.get_attribute("aria-label")) > 70
    assert page.locator("input, button, select").count() == 0
    assert "vae-" not in page.locator("body").inner_text()  # no style or data in sight


def test_a_page_that_was_saved_alive_lives_again(explorer_page, fragments, decoded):
    page = explorer_page(fragments["latent"])
    page.locator(".vae-sliders input").first.press("End")
    again = explorer_page(re.search(r'<div class="vae-explorer.*(?=</main>)', page.content(), re.DOTALL)[0])
    assert again.locator(".vae-live").count() == 1
    again.locator(".vae-sliders input").first.press("End")
    again.locator(".vae-value").first.get_by_text("3.00").wait_for()
    assert (ink(again, "canvas.vae-digit")[0] - decoded(3.0, 0.0)).abs().max() < 0.005


# --- who gets which form ----------------------------------------------------------------------------------------


def forms(made) -> dict:
    """The mimebundle, without its metadata."""
    bundle = made._repr_mimebundle_()
    return bundle[0] if isinstance(bundle, tuple) else bundle


@pytest.mark.parametrize("host, live, is_widget", [("", None, True), ("", False, False), ("book", None, False),
                                                   ("book", True, True), ("colab", None, False)])  # fmt: skip
def test_a_live_kernel_gets_the_widget_and_others_html(monkeypatch, explorers, host, live, is_widget):
    monkeypatch.delenv("VAECORE_BUILD", raising=False)
    if host == "book":
        monkeypatch.setenv("VAECORE_BUILD", "1")
    if host == "colab":
        monkeypatch.setitem(sys.modules, "google.colab", types.ModuleType("google.colab"))
    monkeypatch.setattr(explorers["latent"], "live", live)
    found = forms(explorers["latent"])
    assert (WIDGET in found) == is_widget
    assert ('class="vae-explorer"' in found.get("text/html", "")) != is_widget


def test_a_saved_notebook_keeps_a_picture_and_words(monkeypatch, explorers):
    """A host without a kernel knows nothing of the widget."""
    monkeypatch.delenv("VAECORE_BUILD", raising=False)
    saved = forms(explorers["latent"])
    assert saved["text/plain"] == "LatentExplorer(z=[0.0, 0.0])"
    assert ElementTree.fromstring(saved["image/svg+xml"]).tag == "{http://www.w3.org/2000/svg}svg"


# --- damage: a sentence, and the rest lives -----------------------------------------------------------------------


def flip(blob: dict) -> None:
    weight = blob["layers"][1]["weight"]
    weight["bytes"] = ("A" if weight["bytes"][0] != "A" else "B") + weight["bytes"][1:]


def other_latents(blob: dict) -> None:
    blob |= json.loads(blobs.network_blob(nn.Sequential(nn.Linear(3, 784))))


def test_damage_is_reported_and_the_rest_lives(explorer_page, fragments):
    """Nets that are damaged or do not fit, one that does not arrive, a damaged state; and one whole explorer."""
    whole, pages = fragments["latent"], []
    for damage in (flip, other_latents):

        def damaged(match, damage=damage) -> str:
            blob = json.loads(match[2])
            if "layers" in blob:
                damage(blob)
            return match[1] + json.dumps(blob) + match[3]

        page = re.sub(r'(<script[^>]*class="vae-blob"[^>]*>)(.*?)(</script>)', damaged, whole, flags=re.DOTALL)
        name = re.search(r'"decoder": "(\w+)"', whole)[1]
        pages.append(page.replace(name, damage.__name__))  # explorers of one page share nets by their names
    away = r'class="vae-blob" data-id="away" data-src="nowhere/away.js"></script>'
    pages.append(
        re.sub(r'class="vae-blob" data-id="(\w+)">.*?</script>', away, whole, flags=re.DOTALL).replace(name, "away")
    )
    pages.append(re.sub(r'(class="vae-state">).*?(?=</script>)', r"\1{", whole, flags=re.DOTALL))
    page = explorer_page(*pages, fragments["kernel's"])
    reported(page, ["damaged", "3 latents", "could not be loaded", "damaged"])
    alive = page.locator(".vae-explorer").last
    assert alive.locator("input[type=range]").first.is_visible() and not alive.locator(".vae-static").is_visible()


def reported(page, words: list[str]) -> None:
    """The first explorers each say what is wrong in one sentence with this word, over their pictures."""
    for box, word in zip(page.locator(".vae-explorer").all(), words, strict=False):
        said = box.locator("[role=alert]").inner_text()
        assert word in said and "\n" not in said and said.endswith(".")
        assert box.locator(".vae-static svg").is_visible() and box.locator("input").count() == 0


# --- every reader gets in -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def every_kind(browser, fragments, tmp_path_factory):
    """All kinds in one dark and narrow page."""
    page = browser.new_page(viewport=dict(width=390, height=900))
    yield open_page(page, tmp_path_factory.mktemp("page") / "every.html", *fragments.values(), theme="dark")
    page.close()


def test_no_barrier_that_axe_knows(every_kind):
    inks = every_kind.locator(".vae-live").evaluate_all("all => all.map(e => getComputedStyle(e).color)")
    assert set(inks) == {INKS["dark"]}
    every_kind.locator("details").evaluate_all("all => all.forEach(e => { e.open = true; })")
    found = Axe().run(every_kind, options={"resultTypes": ["violations"]}).response["violations"]
    assert [(v["id"], v["nodes"][0]["html"]) for v in found] == []
    assert every_kind.evaluate("document.scrollingElement.scrollWidth") <= 390
    every_kind.locator("details").evaluate_all("all => all.forEach(e => { e.open = false; })")


def test_no_outline_sticks_out(every_kind):
    """The book's pages cut off what does."""
    outside = """() => [...document.querySelectorAll(".vae-live *:not(:focus)")].map(e => [e, getComputedStyle(e)])
        .filter(([, s]) => s.outlineStyle !== "none" && parseFloat(s.outlineWidth) > -parseFloat(s.outlineOffset))
        .map(([e]) => e.outerHTML.slice(0, 100))"""
    assert every_kind.evaluate(outside) == []


SAYS_ITS_VALUE = """e => {
    if (e.step === "1") return /^[0-9.]+$/.test(e.ariaValueText);  // it chooses among numbers
    const number = Number(e.value), words = Math.abs(number).toFixed(2);
    return e.ariaValueText === (number < 0 ? "minus " : "") + words;
}"""


def test_every_control_is_reached_and_moved_by_keyboard(every_kind):
    """Tab comes to every control; arrows move the sliders, and what they move is said by name and value."""
    page = every_kind
    controls = page.locator(":is(button, select, input, summary, [tabindex='0']):visible").all()
    assert len(controls) >= 30
    index = "[...document.querySelectorAll('*')].indexOf"
    reached = []
    for _ in controls:
        page.keyboard.press("Tab")
        reached.append(page.evaluate(f"{index}(document.activeElement)"))
    assert reached == [control.evaluate(f"e => {index}(e)") for control in controls]
    for control in page.locator("input[type=range]:visible").all():
        control.focus()
        before = control.input_value()
        page.keyboard.press("ArrowRight" if float(before) < float(control.get_attribute("max")) else "ArrowLeft")
        assert control.input_value() != before
        assert control.evaluate("e => e.labels[0] && (e.ariaLabel || e.labels[0].innerText).length > 0")
        page.keyboard.press("Home")
        page.wait_for_function(SAYS_ITS_VALUE, arg=control.element_handle())


BAD_VALUES = [  # in the order of the kinds
    ("z", [0, None]), ("z", [1]), ("z", [1, 2, 3]), ("drawing", "AAAA"),
    ("mu", "left"), ("z", [0.5, 0.5]), ("z", [0.5, 0.5]), ("given", "right"), ("beta", 3), ("width", 65),
]  # fmt: skip


def test_a_bad_value_in_the_page_is_reported(every_kind):
    for box, (name, value) in zip(every_kind.locator(".vae-explorer").all(), BAD_VALUES, strict=True):
        box.evaluate("(e, [name, value]) => e.vaecore.set(name, value)", [name, value])
        box.locator("[role=alert]").wait_for()
    reported(every_kind, [name for name, _ in BAD_VALUES])


def test_what_a_slider_changed_is_said_once_the_hand_rests(shared_page):
    page = shared_page("latent")
    page.locator("input[type=range]").first.press("ArrowRight")
    page.wait_for_function("document.querySelector('[role=status]').textContent.startsWith('z = (0.01, 0.00)')")
    assert re.search(r"the nearest test digit shown is a \d$", page.locator("[role=status]").inner_text())
    assert page.locator("canvas.vae-digit").get_attribute("aria-label").startswith("Decoded digit at z = (0.01")
