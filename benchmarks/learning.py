"""The VAE that learns in the page, against PyTorch, and how fast it is: `python -m benchmarks.explorers --training`."""

from pathlib import Path

import torch
import torch.nn.functional as F
from playwright.sync_api import Browser, Page
from torch import Tensor, nn

from vaecore.explorer.base import JAVASCRIPT
from vaecore.explorer.training import SIDE
from vaecore.vae import VAE

D_X, WIDTH, D_Z, BATCH = SIDE * SIDE, 16, 3, 20  # of the small one that is compared with PyTorch's
EXPORTS = "newLearner, seededNoise, lossGradient, adamStep"
LEARN = """([sizes, seed, pictures, noise, settings]) => {
    const learner = js.newLearner(sizes, js.seededNoise(seed).uniform), start = Array.from(learner.weights);
    const rows = all => all.map(row => Float64Array.from(row)), terms = [];
    for (let k = 0; k < pictures.length; k++) {
        const step = js.lossGradient(learner, { pictures: rows(pictures[k]), noise: rows(noise[k]) }, settings);
        terms.push([step.logP, step.kl]);
        if (settings.rate) js.adamStep(learner, settings.rate);
    }
    return [start, Array.from(learner.gradient), terms, Array.from(learner.weights)];
}"""
FIND = """[...document.querySelectorAll(".vae-explorer")]
    .find(box => JSON.parse(box.querySelector(".vae-state").textContent).kind === "training")"""
# counts the frames in which something new was painted, and the pictures seen, from one painted frame to another
RATES = """async ([box, seconds]) => {
    const note = box.querySelector(".vae-learning .vae-note"), frame = () => new Promise(requestAnimationFrame);
    const pictures = () => Number(note.textContent.match(/([\\d,]+) pictures/)[1].replaceAll(",", ""));
    const changed = async before => { while (note.textContent === before) await frame(); return note.textContent; };
    let text = await changed(note.textContent), frames = 0;
    const start = performance.now(), seen = pictures();
    while (performance.now() - start < 1000 * seconds) {
        text = await changed(text);
        frames++;
    }
    const took = (performance.now() - start) / 1000;
    return { pictures_per_second: Math.round((pictures() - seen) / took), frames_per_second: frames / took };
}"""


def measure(browser: Browser, site: Path, seconds: float = 10) -> dict:
    """Of the first page of the built book that has one; ValueError where none has."""
    pages = [path for path in sorted(site.glob("*.html")) if '"kind": "training"' in path.read_text(encoding="utf-8")]
    if not pages:
        raise ValueError(
            f"site must be a folder of pages with a VAE that learns; {site} has none. `make book` builds it."
        )
    page = browser.new_page(viewport=dict(width=1280, height=1600))
    page.goto(pages[0].as_uri())
    page.add_script_tag(content=f"globalThis.js = (() => {{ {JAVASCRIPT}\nreturn {{ {EXPORTS} }}; }})();")
    found = dict(gradient_error=gradient_error(page), loss_difference=loss_difference(page))
    box = page.evaluate_handle(FIND).as_element()
    assert box is not None
    box.scroll_into_view_if_needed()
    box.wait_for_selector(".vae-play").click()
    page.wait_for_timeout(2000)
    found |= page.evaluate(RATES, [box, seconds])
    page.close()
    return found


def batches(n: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Bits, mostly paper, (n, B, D), and noise, (n, B, Z), in float64."""
    draw = torch.Generator().manual_seed(seed)
    bits = (torch.rand(n, BATCH, D_X, generator=draw) < 0.2).double()
    return bits, torch.randn(n, BATCH, D_Z, generator=draw, dtype=torch.float64)


def learn(page: Page, bits: Tensor, noise: Tensor, seed: int = 0, **settings) -> list[Tensor]:
    """What the page makes of these: its first weights, the last gradient, the terms of each batch, the last weights."""
    settings = dict(beta=1, rate=0, mistake="none") | settings
    sizes = dict(dX=D_X, width=WIDTH, dZ=D_Z)
    found = page.evaluate(LEARN, [sizes, seed, bits.tolist(), noise.tolist(), settings])
    return [torch.tensor(part, dtype=torch.float64) for part in found]


def linears(model: VAE) -> list[nn.Linear]:
    return [module for module in model.modules() if isinstance(module, nn.Linear)]


def in_pages_order(parts: list[tuple[Tensor, Tensor]]) -> Tensor:
    """Weights (O, I) and biases (O,) of each layer as the page has them, in one row."""
    return torch.cat([part for weight, bias in parts for part in (weight.T.reshape(-1), bias)])


def vae_of(weights: Tensor) -> VAE:
    """PyTorch's VAE with the page's weights, in float64."""
    model, at = VAE(D_X, D_Z, (WIDTH,), activation="relu").double(), 0
    for linear in linears(model):
        n_in, n_out = linear.in_features, linear.out_features
        linear.weight.data = weights[at : (at := at + n_in * n_out)].view(n_in, n_out).T.clone()
        linear.bias.data = weights[at : (at := at + n_out)].clone()
    return model


def loss_of(model: VAE, x: Tensor, epsilon: Tensor, beta: float = 1, mistake: str = "none") -> tuple[Tensor, Tensor]:
    """The loss as a reader writes it in PyTorch, mistakes included; and log p(x|z) and the KL."""
    mu, log_var = model.encoder(x).chunk(2, dim=1)
    sigma = log_var.exp() if mistake == "exp(log_var)" else torch.exp(log_var / 2)
    z = mu if mistake == "no noise" else mu + sigma * epsilon
    bce = F.binary_cross_entropy_with_logits(model.decoder(z), x, reduction="none")
    kl = 0.5 * (mu**2 + log_var.exp() - 1 - log_var).sum(1)
    log_p = -bce.mean(1) if mistake == "mean" else -bce.sum(1)
    loss = {"no KL": -log_p, "KL added": -(log_p + beta * kl)}.get(mistake, beta * kl - log_p)
    return loss.mean(), torch.stack([-bce.sum(1).mean(), kl.mean()])


def gradient_error(page: Page) -> float:
    """The largest relative error of a weight's slope, over five seeds; slopes of 0 must be 0."""
    worst = 0.0
    for seed in range(5):
        bits, noise = batches(1, seed)
        start, gradient, _, _ = learn(page, bits, noise, seed)
        model = vae_of(start)
        loss_of(model, bits[0], noise[0])[0].backward()
        exact = in_pages_order([(m.weight.grad, m.bias.grad) for m in linears(model)])  # type: ignore[misc]
        error = (gradient - exact).abs() / exact.abs().clamp_min(1e-12)
        worst = max(worst, error.max().item())
    return worst


def loss_difference(page: Page, steps: int = 200, rate: float = 0.003) -> float:
    """In nats, after a run of both from the same weights on the same pictures with the same noise."""
    bits, noise = batches(steps)
    start, _, terms, _ = learn(page, bits, noise, rate=rate)
    model = vae_of(start)
    adam = torch.optim.Adam(model.parameters(), lr=rate)
    loss = torch.zeros(())
    for x, epsilon in zip(bits, noise, strict=True):
        loss = loss_of(model, x, epsilon)[0]
        adam.zero_grad()
        loss.backward()
        adam.step()
    return abs((terms[-1, 1] - terms[-1, 0] - loss).item())
