"""The explorers alone in a page: framed as in Colab, from a disk, with no script, in print; who gets which form."""

import base64
import html
import sys
import types
from xml.etree import ElementTree

import pytest
from explorer_pages import MAKERS, ink, page_of, two_frames

from vaecore import explorer

WIDGET = "application/vnd.jupyter.widget-view+json"
SAYS = {  # without a script
    "latent": "eleven points of the plane of two latents",
    "latents": "along each row one latent goes from -3 to 3",
    "kernel's": "eleven points of the plane of two latents",
    "digit": "its reconstruction from q's mean",
    "gap": "leaves a gap of 0.00 nats to the posterior",
    "classes": "one z as each of 10 classes",
    "analogies": "the digit's style as each of 10 classes",
    "completion": "one column is given, in green",
}
# what the decoders have made, or the curves where there are none; not what is painted by and by
DRAWN = """root => {
    const digits = [...root.querySelectorAll("canvas.vae-digit")].map(canvas => canvas.toDataURL());
    return (digits.length ? digits : [...root.querySelectorAll("path")].map(path => path.getAttribute("d"))).join(" ");
}"""


@pytest.fixture(scope="module")
def made(digits):
    return MAKERS["latent"](digits)


@pytest.fixture
def page(browser, request):
    """A page that asks for nothing: any request is kept, and refused."""
    context = browser.new_context(viewport=dict(width=800, height=900), **getattr(request, "param", {}))
    page = context.new_page()
    page.asked, page.said = [], []
    page.route("http*://**", lambda route: (page.asked.append(route.request.url), route.abort()))
    page.on("console", lambda message: message.type == "error" and page.said.append(message.text))
    page.on("pageerror", lambda error: page.said.append(str(error)))
    yield page
    context.close()


def test_from_a_disk(page, made, decoded, tmp_path):
    """The slider moves by keys, and the digit is what PyTorch decodes."""
    (tmp_path / "page.html").write_text(page_of(made.fragment()), encoding="utf-8")
    page.goto((tmp_path / "page.html").as_uri())
    page.locator(".vae-live[data-ready]").wait_for()
    (before,) = ink(page, "canvas.vae-digit")
    page.locator(".vae-sliders input").first.press("End")
    page.locator(".vae-value").first.get_by_text("3.00").wait_for()
    (after,) = ink(page, "canvas.vae-digit")
    assert (after - decoded(3.0, 0.0)).abs().max() < 0.005
    assert (after - before).abs().max() > 0.3
    assert not page.locator(".vae-static").is_visible()
    assert page.asked == [] and page.said == []


@pytest.mark.parametrize("kind", MAKERS)
def test_in_a_frame_without_network(page, fragments, kind):
    """Colab puts every output into a frame of its own, of another origin. A key on a slider changes what is drawn."""
    inside = html.escape(page_of(fragments[kind]), quote=True)
    page.set_content(f'<iframe sandbox="allow-scripts" width="700" height="800" srcdoc="{inside}"></iframe>')
    frame = page.frame_locator("iframe")
    live = frame.locator(".vae-live[data-ready]")
    live.wait_for()
    before = live.evaluate(DRAWN)
    assert before
    live.locator("input[type=range]").first.press("End")
    two_frames(page)
    assert live.evaluate(DRAWN) != before
    assert frame.locator(".vae-trouble").count() == 0 and not frame.locator(".vae-static").is_visible()
    assert page.asked == [] and page.said == []


@pytest.mark.parametrize("page", [dict(java_script_enabled=False)], indirect=True)
@pytest.mark.parametrize("kind", MAKERS)
def test_without_scripts_the_picture_stands_there(page, fragments, kind):
    page.set_content(page_of(fragments[kind]))
    picture = page.locator(".vae-static svg[role=img]")
    assert picture.is_visible() and picture.bounding_box()["width"] > 200
    assert SAYS[kind] in picture.get_attribute("aria-label")
    assert page.locator("input, button, select").count() == 0
    assert "vae-" not in page.locator("body").inner_text()  # no style or data in sight


@pytest.mark.parametrize("kind", MAKERS)
def test_print_has_the_picture(page, fragments, kind):
    page.set_content(page_of(fragments[kind]))
    page.locator(".vae-alive").wait_for()
    assert page.locator(".vae-live").is_visible() and not page.locator(".vae-static").is_visible()
    page.emulate_media(media="print")
    assert page.locator(".vae-static svg").is_visible() and not page.locator(".vae-live").is_visible()


# --- who gets which form ----------------------------------------------------------------------------------------


@pytest.fixture
def colab(monkeypatch):
    """As much of Colab as Python can tell; how often its manager of custom widgets was turned on."""
    calls = []
    output = types.ModuleType("google.colab.output")
    output.enable_custom_widget_manager = lambda: calls.append("on")
    output._widgets = types.SimpleNamespace(_installed_url="https://example.org/manager.js")
    package = types.ModuleType("google.colab")
    package.output = output
    monkeypatch.setitem(sys.modules, "google.colab", package)
    monkeypatch.setitem(sys.modules, "google.colab.output", output)
    return calls


def shown(made) -> dict:
    """The mimebundle, without its metadata."""
    bundle = made._repr_mimebundle_()
    return bundle[0] if isinstance(bundle, tuple) else bundle


def test_colab_gets_html_and_on_request_the_widget(colab, monkeypatch, flat, digits):
    monkeypatch.delenv("VAECORE_BUILD", raising=False)
    alone = shown(explorer.LatentExplorer(flat, digits))
    assert set(alone) == {"text/html", "text/plain"} and 'class="vae-explorer"' in alone["text/html"]
    assert WIDGET in shown(explorer.LatentExplorer(flat, digits, live=True))


def test_a_notebook_gets_the_widget_and_on_request_html(monkeypatch, flat, digits):
    monkeypatch.delenv("VAECORE_BUILD", raising=False)
    assert WIDGET in shown(explorer.LatentExplorer(flat, digits))
    assert WIDGET not in shown(explorer.LatentExplorer(flat, digits, live=False))


def test_the_book_gets_html(monkeypatch, flat, digits):
    monkeypatch.setenv("VAECORE_BUILD", "1")
    assert WIDGET not in shown(explorer.LatentExplorer(flat, digits))


def test_a_saved_notebook_keeps_a_picture_and_words(page, monkeypatch, made):
    """A host without a kernel knows nothing of the widget: it has the picture, a whole one, and a line of text."""
    monkeypatch.delenv("VAECORE_BUILD", raising=False)
    saved = shown(made)
    assert saved["text/plain"] == "LatentExplorer(z=[0.0, 0.0])"
    assert ElementTree.fromstring(saved["image/svg+xml"]).tag == "{http://www.w3.org/2000/svg}svg"
    data = base64.b64encode(saved["image/svg+xml"].encode()).decode()
    page.set_content(page_of(f'<img src="data:image/svg+xml;base64,{data}" alt="">'))
    page.wait_for_function("() => document.querySelector('img').complete")
    assert page.evaluate("() => document.querySelector('img').naturalWidth") > 200
