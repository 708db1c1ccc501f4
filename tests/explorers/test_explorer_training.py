"""A VAE that learns in the page: its gradients and its steps are PyTorch's, and what a reader does reaches it."""

import dataclasses
import html
import re

import pytest
import torch
import traitlets
from explorer_pages import page_of, value

from benchmarks import learning
from vaecore import explorer
from vaecore.explorer.training import MISTAKES, N_PICTURES, SIDE, small

PLAY = ".vae-play"


@pytest.mark.parametrize("seed, mistake", [*((seed, "none") for seed in range(5)), *((5, name) for name in MISTAKES)])
def test_the_gradient_is_pytorchs_for_every_weight(page_functions, seed, mistake):
    bits, noise = learning.batches(1, seed)
    start, gradient, ((log_p, kl),), _ = learning.learn(page_functions, bits, noise, seed, beta=2, mistake=mistake)
    model = learning.vae_of(start)
    loss, terms = learning.loss_of(model, bits[0], noise[0], 2, mistake)
    loss.backward()
    exact = learning.in_pages_order([(m.weight.grad, m.bias.grad) for m in learning.linears(model)])
    torch.testing.assert_close(gradient, exact, rtol=1e-5, atol=1e-12)
    torch.testing.assert_close(torch.stack([log_p, kl]), terms.detach())


def test_the_gradient_is_the_slope_of_the_loss(page_functions):
    """Finite differences, without PyTorch."""
    slopes = """([sizes, pictures, noise]) => {
        const learner = js.newLearner(sizes, js.seededNoise(0).uniform), settings = { beta: 1, mistake: "none" };
        const batch = { pictures: pictures.map(x => Float64Array.from(x)), noise };
        const loss = () => { const { logP, kl } = js.lossGradient(learner, batch, settings); return kl - logP; };
        loss();
        const gradient = learner.gradient.slice(), found = [], step = 1e-6;
        for (let i = 0; i < learner.weights.length; i += 97) {
            const before = learner.weights[i];
            const [up, down] = [before + step, before - step].map(w => { learner.weights[i] = w; return loss(); });
            learner.weights[i] = before;
            found.push([gradient[i], (up - down) / (2 * step)]);
        }
        return found;
    }"""
    bits, noise = learning.batches(1)
    sizes = dict(dX=learning.D_X, width=learning.WIDTH, dZ=learning.D_Z)
    found = torch.tensor(page_functions.evaluate(slopes, [sizes, bits[0].tolist(), noise[0].tolist()]))
    assert len(found) > 50 and found.abs().max() > 0.1
    torch.testing.assert_close(found[:, 0], found[:, 1], rtol=1e-4, atol=1e-6)


def test_two_hundred_steps_end_where_pytorchs_do(page_functions):
    assert learning.loss_difference(page_functions) < 0.1
    bits, noise = learning.batches(200)
    _, _, terms, _ = learning.learn(page_functions, bits, noise, rate=0.003)
    assert terms[-1, 0] - terms[-1, 1] > terms[0, 0] - terms[0, 1] + 20  # it has learned


def test_noise_is_seeded_and_standard(page_functions):
    draw = "seed => { const noise = js.seededNoise(seed); return Array.from({ length: 20000 }, noise.gaussian); }"
    one, same, other = (torch.tensor(page_functions.evaluate(draw, seed)) for seed in (1, 1, 2))
    assert torch.equal(one, same) and not torch.equal(one, other)
    assert abs(one.mean()) < 0.03 and abs(one.std() - 1) < 0.02 and abs((one * other).mean()) < 0.03
    assert abs((one[1:] * one[:-1]).mean()) < 0.03


# --- in the page ------------------------------------------------------------------------------------------------


def count(page) -> int:
    return int(re.search(r"([\d,]+) steps", page.locator(".vae-learning").inner_text())[1].replace(",", ""))


def wait_for_steps(page, least: int) -> None:
    seen = "least => parseInt(document.querySelector('.vae-learning .vae-note').textContent.replace(',', '')) >= least"
    page.wait_for_function(seen, arg=least)


@pytest.fixture
def page(explorer_page, fragments):
    return explorer_page(fragments["training"])


def test_it_learns_when_asked_and_python_gets_the_weights(page, explorers):
    page.wait_for_timeout(300)
    assert count(page) == 0
    page.locator(PLAY).press("Enter")
    wait_for_steps(page, 120)
    page.locator(PLAY).press("Enter")
    page.wait_for_function("document.querySelector('[role=status]').textContent.startsWith('Stopped after')")
    stopped = count(page)
    page.wait_for_timeout(200)
    assert count(page) == stopped
    elbo = float(page.locator(".vae-total .vae-value").inner_text().replace("\u2212", "-"))
    made = explorers["training"]
    made.learned = value(page, "learned")
    model = made.model()
    bits = (small(digits_of(made)) > 127).float()
    with torch.no_grad():
        assert model.elbo(bits).mean().item() == pytest.approx(elbo, abs=8) and elbo < -30
        mu = model.encode(bits[:1]).mean
    shown = page.evaluate("document.querySelector('.vae-explorer').vaecore.get('learned').d_z")
    assert mu.shape == (1, shown)


def digits_of(made):
    """Of the size that `small` takes: each pixel of the page's pictures four times."""
    pictures = made.pictures[:500].view(-1, SIDE, 1, SIDE, 1)
    return pictures.expand(-1, SIDE, 2, SIDE, 2).reshape(-1, 4 * SIDE * SIDE)


def test_steps_passes_and_reset(page):
    page.get_by_text("one step", exact=True).click()
    wait_for_steps(page, 1)
    assert count(page) == 1
    page.get_by_text("one pass").click()
    wait_for_steps(page, 41)
    assert count(page) == 1 + N_PICTURES // 50
    page.get_by_label("number of latents").press("ArrowRight")
    assert page.get_by_text("The new sizes hold from the next reset.").is_visible()
    page.get_by_role("button", name="reset").click()
    page.wait_for_function("document.querySelector('.vae-learning .vae-note').textContent.startsWith('0 steps')")
    assert not page.get_by_text("The new sizes hold from the next reset.").is_visible()
    page.get_by_text("one step", exact=True).click()
    wait_for_steps(page, 1)
    page.wait_for_function("document.querySelector('.vae-explorer').vaecore.get('learned')?.d_z === 3")


def test_a_reset_before_the_step_is_painted(page):
    page.evaluate("() => { window.kept = []; window.requestAnimationFrame = paint => window.kept.push(paint); }")
    page.get_by_text("one step", exact=True).click()
    page.wait_for_function("window.kept.length > 0")
    page.evaluate("""() => {
        [...document.querySelectorAll("button")].find(b => b.textContent === "reset").click();
        window.requestAnimationFrame = paint => setTimeout(paint, 0);
        window.kept.forEach(paint => paint());
    }""")
    page.wait_for_function("document.querySelector('.vae-learning .vae-note').textContent.startsWith('0 steps')")
    assert page.locator(".vae-trouble").count() == 0


def test_a_loss_that_runs_away_is_said(page):
    page.get_by_label("mistake").select_option("KL added")
    assert "log_p + beta * kl" in page.locator(".vae-code").inner_text()
    page.locator(PLAY).click()
    page.get_by_text("the loss is no number any more").wait_for()
    assert page.locator(PLAY).inner_text() == "play"
    page.wait_for_function("document.querySelector('[role=status]').textContent.includes('no number any more')")
    assert "NaN" not in page.locator(".vae-live").inner_text() and value(page, "learned") is None


def test_a_term_lights_its_part_of_the_machine(page):
    machine = page.locator(".vae-machine svg")
    whole = machine.get_attribute("aria-label")
    page.get_by_text("KL").first.hover()
    assert "Lit: the encoder" in machine.get_attribute("aria-label")
    page.mouse.move(0, 0)
    assert machine.get_attribute("aria-label") == whole
    page.locator(".vae-sum .vae-of-p").focus()
    assert "the log-likelihood" in machine.get_attribute("aria-label").split("Lit:")[1]


def test_another_digit_is_followed(page):
    caption, plane = page.locator(".vae-learning .vae-digit-caption").first, page.locator(".vae-plane")
    at = page.locator(".vae-point").get_attribute("transform")
    page.get_by_role("button", name="next test digit").press("Enter")
    page.wait_for_function("at => document.querySelector('.vae-point').getAttribute('transform') !== at", arg=at)
    assert caption.inner_text().startswith("a test digit, a ")
    page.locator(PLAY).click()
    wait_for_steps(page, 200)
    page.locator(PLAY).click()
    first = page.locator(".vae-codes text").first
    box, frame = first.bounding_box(), plane.bounding_box()
    middle = dict(x=box["x"] + box["width"] / 2 - frame["x"], y=box["y"] + box["height"] / 2 - frame["y"])
    plane.click(position=middle)
    page.wait_for_function("d => document.querySelector('.vae-digit-caption').textContent.endsWith(d)",
                           arg=first.text_content())  # fmt: skip


def test_a_drawing_is_seen_and_added(page):
    page.get_by_text("your own drawings").click()
    page.locator(".vae-pad").scroll_into_view_if_needed()
    box = page.locator(".vae-pad").bounding_box()
    page.mouse.move(box["x"] + 30, box["y"] + 30)
    page.mouse.down()
    page.mouse.move(box["x"] + 90, box["y"] + 120, steps=5)
    page.mouse.up()
    assert page.locator(".vae-learning .vae-digit-caption").first.inner_text() == "your drawing"
    page.get_by_text("add it to the training digits").click()
    assert "1 of your drawings is among" in page.locator(".vae-source").inner_text()
    page.get_by_text("one pass").click()
    page.wait_for_function("document.querySelector('.vae-learning .vae-note').textContent.startsWith('41 steps')")
    page.get_by_role("button", name="reset").click()  # it stays among them
    page.wait_for_function("document.querySelector('.vae-learning .vae-note').textContent.startsWith('0 steps')")
    page.get_by_text("one pass").click()
    page.wait_for_function("document.querySelector('.vae-learning .vae-note').textContent.startsWith('41 steps')")


def test_it_stops_out_of_sight(page):
    page.evaluate("document.body.style.paddingBottom = '3000px'")
    page.locator(PLAY).click()
    wait_for_steps(page, 5)
    page.evaluate("scrollTo(0, 4000)")
    page.wait_for_function("document.querySelector('.vae-play').textContent === 'play'")


@pytest.mark.parametrize(
    "without", ["globalThis.Worker = undefined", "globalThis.URL.createObjectURL = () => 'data:,throw 1'"]
)
def test_without_a_worker_it_learns_in_the_page(browser, fragments, tmp_path, without):
    page = browser.new_page()
    page.add_init_script(without)
    (tmp_path / "page.html").write_text(page_of(fragments["training"]), encoding="utf-8")
    page.goto((tmp_path / "page.html").as_uri())
    page.locator(PLAY).click()
    wait_for_steps(page, 50)
    page.close()


def test_it_learns_in_a_frame_of_another_origin(browser, fragments):
    page = browser.new_page()
    inside = html.escape(page_of(fragments["training"]), quote=True)
    page.set_content(f'<iframe sandbox="allow-scripts" width="700" height="900" srcdoc="{inside}"></iframe>')
    frame = page.frame_locator("iframe")
    frame.locator(PLAY).click()
    frame.locator(".vae-learning .vae-note", has_text=re.compile(r"^\d{2,} steps")).first.wait_for()
    page.close()


def test_python_refuses_what_the_page_does_not_offer(digits, explorers):
    made = explorers["training"]
    for name, wrong in dict(width=65, d_z=1, beta=-1, rate=1, mistake="other").items():
        with pytest.raises(traitlets.TraitError, match=name):
            setattr(made, name, wrong)
    few = dataclasses.replace(digits, x_train=digits.x_train[:100], y_train=digits.y_train[:100])
    with pytest.raises(ValueError, match="2,000 training digits"):
        explorer.TrainingExplorer(few)
    made.learned = {}
    with pytest.raises(RuntimeError, match="press play"):
        made.model()
