"""What holds for every explorer: its nets compute as PyTorch's, damage is told in a sentence, every reader gets in."""

import base64
import json
import re

import pytest
import torch
from axe_playwright_python.sync_playwright import Axe
from explorer_pages import INKS, page_of
from torch import nn

from vaecore import evaluate, explorer, pretrained
from vaecore.explorer import base, blobs
from vaecore.m2 import M1M2, M2
from vaecore.vae import VAE, Regressor


def nets(model: nn.Module) -> dict[str, nn.Module]:
    """The MLPs of a model, by what they are."""
    if isinstance(model, M1M2):
        return nets(model.m1) | {f"m2 {name}": net for name, net in nets(model.m2).items()}
    if isinstance(model, Regressor):
        return {"regressor": model.net}
    assert isinstance(model, VAE | M2)
    return {name: net for name, net in model.named_children()}


def test_every_net_of_the_book_computes_the_same_in_the_page(browser, digits):
    """On 20 inputs each: pixels to 1e-3 where the weights are float16, to 0.02 where they are ten-bit numbers."""
    page = browser.new_page()
    page.set_content(page_of())
    page.add_script_tag(type="module", content=f"{base.JAVASCRIPT}\nglobalThis.page = {{ readNetwork, forward }};")
    page.wait_for_function("globalThis.page")
    kinds = set()
    for name in pretrained.RECIPES:
        for role, net in nets(pretrained.pretrained(name, digits)).items():
            blob, inputs = blobs.network_blob(net, role), inputs_of(net, digits)
            kind = json.loads(blob)["layers"][0]["weight"]["kind"]
            out = page.evaluate(
                """([blob, inputs]) => {
                    const net = page.readNetwork(JSON.parse(blob), "net");
                    return inputs.map(input => Array.from(page.forward(net, input)));
                }""",
                [blob, inputs.tolist()],
            )
            exact = run(net, inputs)
            probabilities = (torch.sigmoid(torch.tensor(out)) - torch.sigmoid(exact)).abs().max().item()
            assert probabilities < {"float16": 1e-3, "int10": 0.02}[kind], (name, role)
            kinds.add(kind)
    page.close()
    assert kinds == {"float16", "int10"}


def inputs_of(net: nn.Module, digits, n: int = 20) -> torch.Tensor:
    """Bits where the net takes pixels, noise where it takes latents; a one-hot class behind them where asked."""
    d_in = json.loads(blobs.network_blob(net))["n_in"]
    bits = (digits.x_test[:n] > 127).float()
    with evaluate.seeded(0):
        noise = torch.randn(n, d_in)
    if d_in < 784:
        one_hot = hasattr(net, "columns")
        return torch.cat([noise[:, :-10], torch.eye(10).repeat(n // 10, 1)], dim=1) if one_hot else noise
    return torch.cat([bits, torch.eye(10).repeat(n // 10, 1)], dim=1)[:, :d_in]


@torch.no_grad()
def run(net: nn.Module, inputs: torch.Tensor) -> torch.Tensor:
    if not hasattr(net, "columns"):
        return net(inputs)
    return net(inputs[:, :-10], inputs[:, -10:].argmax(-1))


def test_a_rounded_net_is_read_back_as_the_page_reads_it():
    """Both kinds of weights, with numbers of weights that are no multiple of four."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 7), nn.Softplus(), nn.Linear(7, 5))
    x = torch.randn(10, 3)
    for dtype, error in (("float16", 2e-3), ("int10", 1e-2)):
        assert (blobs.read_network(blobs.network_blob(net, dtype=dtype))(x) - net(x)).abs().max() < error


@pytest.mark.parametrize(
    "net, sentence",
    [
        (nn.Linear(2, 3), "must be an MLP, an nn.Sequential; got Linear"),
        (nn.Sequential(nn.Linear(2, 3), nn.GELU(), nn.Linear(3, 3)), "must be Linear layers with relu, softplus, tanh"),
        (nn.Sequential(nn.Conv2d(1, 1, 3)), "must be Linear layers"),
    ],
)
def test_only_mlps_are_packed(net, sentence):
    with pytest.raises(TypeError, match=sentence):
        blobs.network_blob(net, "decoder")


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), 1e6])
def test_weights_that_are_not_finite_are_refused(bad):
    net = nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 3))
    net[2].weight.data[1, 1] = bad
    with pytest.raises(ValueError, match="decoder has weights in layer 2 that are NaN or too large for float16"):
        blobs.network_blob(net, "decoder")


# --- in a page without a kernel ---------------------------------------------------------------------------------


def change_first_network(fragment: str, change) -> str:
    """The fragment with `change(blob)` done to its decoder."""

    def replace(match):
        blob = json.loads(match[2])
        return match[1] + json.dumps(change(blob) or blob) + match[3] if "layers" in blob else match[0]

    return re.sub(r'(<script[^>]*class="vae-blob"[^>]*>)(.*?)(</script>)', replace, fragment, flags=re.DOTALL)


def flip(blob: dict) -> None:
    weight = blob["layers"][1]["weight"]
    weight["bytes"] = ("A" if weight["bytes"][0] != "A" else "B") + weight["bytes"][1:]


def no_base64(blob: dict) -> None:
    blob["layers"][0]["bias"]["bytes"] = "%%%"


def not_a_number(blob: dict) -> None:
    bias = blob["layers"][0]["bias"]
    contents = b"\x00\x7e" + base64.b64decode(bias["bytes"])[2:]
    blob["layers"][0]["bias"] = blobs.part(torch.frombuffer(bytearray(contents), dtype=torch.float16).numpy())


def another_shape(blob: dict) -> None:
    blob["n_in"] = 3


def a_net_of_other_latents(blob: dict) -> dict:
    torch.manual_seed(0)
    return json.loads(blobs.network_blob(nn.Sequential(nn.Linear(3, 784))))


@pytest.mark.parametrize(
    "damage, sentence",
    [
        (flip, "The decoder of this explorer arrived damaged; load the page again."),
        (no_base64, "The decoder of this explorer arrived damaged; load the page again."),
        (not_a_number, "Layer 1 of the decoder holds weights that are no finite numbers."),
        (another_shape, "Layer 1 of the decoder has 512 weights; 3 inputs and 256 outputs need 768."),
        (a_net_of_other_latents, "The decoder takes 3 latents; this explorer has 2."),
    ],
)
def test_a_damaged_net_is_told_in_a_sentence_and_the_rest_lives(explorer_page, fragments, damage, sentence):
    page = explorer_page(change_first_network(fragments["latent"], damage), fragments["kernel's"])
    assert page.locator("[role=alert]").all_inner_texts() == [sentence]
    broken, whole = page.locator(".vae-explorer").all()
    assert broken.locator(".vae-static svg").is_visible() and broken.locator("input").count() == 0
    assert whole.locator("input[type=range]").first.is_visible() and not whole.locator(".vae-static svg").is_visible()


def test_a_net_that_does_not_come_is_told_in_a_sentence(explorer_page, fragments):
    away = re.sub(r'class="vae-blob" data-id="(\w+)">.*?</script>', r'class="vae-blob" data-id="\1" '
                  r'data-src="nowhere/\1.js"></script>', fragments["latent"], count=1, flags=re.DOTALL)  # fmt: skip
    page = explorer_page(away)
    said = page.locator("[role=alert]").inner_text()
    assert said == "The decoder of this explorer could not be loaded; load the page again."
    assert page.locator(".vae-static svg").is_visible()


@pytest.mark.parametrize("damaged", ["", "{", "{'z': [0, 0]}"])
def test_a_damaged_state_is_told_in_a_sentence_and_the_rest_lives(explorer_page, fragments, damaged):
    page = explorer_page(re.sub(r'(class="vae-state">).*?(?=</script>)', rf"\g<1>{damaged}", fragments["latent"],
                                flags=re.DOTALL), fragments["kernel's"])  # fmt: skip
    assert page.locator("[role=alert]").all_inner_texts() == ["This explorer arrived damaged; load the page again."]
    broken, whole = page.locator(".vae-explorer").all()
    assert broken.locator(".vae-static svg").is_visible() and broken.locator("input").count() == 0
    assert whole.locator("input[type=range]").first.is_visible() and not whole.locator(".vae-static svg").is_visible()


def test_what_an_explorer_prints_is_short(digits):
    shown = repr(explorer.DigitExplorer(pretrained.pretrained("m1-2d", digits), digits))
    assert re.fullmatch(r"DigitExplorer\(drawing='[\w+/]{56}\.\.\., epsilon=\[0\.0, 0\.0\]\)", shown)


@pytest.fixture
def every_kind(explorer_page, fragments):
    return lambda **options: explorer_page(*fragments.values(), **options)


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1200])
def test_no_barrier_that_axe_knows(every_kind, theme, width):
    page = every_kind(viewport={"width": width, "height": 900}, theme=theme)
    page.locator("details").evaluate_all("all => all.forEach(e => { e.open = true; })")
    found = Axe().run(page, options={"resultTypes": ["violations"]}).response["violations"]
    assert [(v["id"], v["nodes"][0]["html"]) for v in found] == []
    assert page.evaluate("document.scrollingElement.scrollWidth") <= width


def test_the_ink_follows_the_page(every_kind):
    """Else the test of the dark page would look at a light one."""
    inks = {}
    for theme in ("light", "dark"):
        boxes = every_kind(theme=theme).locator(".vae-live")
        inks[theme] = set(boxes.evaluate_all("all => all.map(e => getComputedStyle(e).color)"))
    assert inks == {theme: {text} for theme, text in INKS.items()}


SAYS_ITS_VALUE = """e => {
    const number = Number(e.value), words = Math.abs(number).toFixed(2);
    return e.ariaValueText === (number < 0 ? "minus " : "") + words;
}"""


def test_every_control_is_reached_and_moved_by_keyboard(every_kind):
    """Tab comes to every control; arrows move the sliders, and what they move is said by name and value."""
    page = every_kind()
    controls = page.locator(":is(button, select, input, summary):visible").all()
    assert len(controls) >= 30
    reached = []
    for _ in range(len(controls)):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("[...document.querySelectorAll('*')].indexOf(document.activeElement)"))
    assert reached == [c.evaluate("e => [...document.querySelectorAll('*')].indexOf(e)") for c in controls]
    for control in page.locator("input[type=range]:visible").all():
        control.focus()
        before = control.input_value()
        page.keyboard.press("ArrowRight" if float(before) < float(control.get_attribute("max")) else "ArrowLeft")
        assert control.input_value() != before
        assert control.evaluate("e => e.labels[0] && (e.ariaLabel || e.labels[0].innerText).length > 0")
        page.wait_for_function(SAYS_ITS_VALUE, arg=control.element_handle())
        page.keyboard.press("Home")
        page.wait_for_function(SAYS_ITS_VALUE, arg=control.element_handle())


def test_a_page_that_was_saved_alive_lives_again(explorer_page, fragments, tmp_path, browser):
    page = explorer_page(fragments["latent"])
    page.locator("input[type=range]").first.press("ArrowRight")
    saved = tmp_path / "saved.html"
    saved.write_text(page.content(), encoding="utf-8")
    again = browser.new_page()
    again.goto(saved.as_uri())
    again.wait_for_selector(".vae-alive .vae-live[data-ready]")
    assert again.locator(".vae-live").count() == 1
    again.locator("input[type=range]").first.press("ArrowRight")
    again.wait_for_function("document.querySelector('.vae-slider output').textContent === '0.01'")
    again.close()


def test_rounded_weights_are_told(explorer_page, fragments):
    page = explorer_page(fragments["latents"], fragments["latent"])
    notes = page.locator(".vae-live > .vae-note").all_inner_texts()
    assert len(notes) == 1 and "rounded to 10 bits" in notes[0]


def test_nothing_is_said_that_only_a_machine_would_say(every_kind):
    words = every_kind().locator(".vae-live").all_inner_texts()
    assert not [text for text in words if re.search(r"null|undefined|NaN|\[object", text)]
