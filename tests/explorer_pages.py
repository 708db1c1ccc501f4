"""Explorers for the tests, one of each kind, with the book's models or small ones; their pages, and what these show."""

import base64
from pathlib import Path

import torch
from torch.distributions import Normal

from vaecore import explorer
from vaecore.m2 import M2
from vaecore.runs import pretrained
from vaecore.splits import pixel_split
from vaecore.vae import VAE, Regressor

ROOT = Path(__file__).parents[1]
MODULES = ROOT / "vaecore" / "explorer" / "js"
BOOK = (ROOT / "book" / "_assets" / "vaebook.css").read_text(encoding="utf-8")
INKS = dict(light="rgb(34, 40, 50)", dark="rgb(206, 214, 221)")  # of the page's text
GROUNDS = dict(light="#ffffff", dark="#121212")
PAGE = (
    '<!doctype html><html lang="en" data-theme="{theme}"><meta charset="utf-8">'
    '<meta name="viewport" content="width=device-width"><title>Explorers</title>'
    "<style>{style} html {{ color-scheme: {theme}; }} body {{ background: {ground}; color: {ink}; }}</style>"
    "<body><main><h1>Explorers</h1>{body}</main>"
)
GRID = torch.linspace(-12, 12, 481, dtype=torch.float64)  # of the gap viewer
ROUNDED = 1e-3 + 0.5 / 255  # how far a pixel may be from PyTorch's: weights of float16, and whole grey levels
VIEW = "document.querySelector('.vae-explorer').vaecore"
CHANGE = f"([name, value]) => {VIEW}.set(name, value)"
START = f"""() => {{
    const {{ kind, settings, ...values }} = {VIEW}.model.values;
    return structuredClone(values);
}}"""
RESET = f"""values => new Promise(done => {{
    document.activeElement.blur();
    scrollTo(0, 0);
    {VIEW}.set(values);
    requestAnimationFrame(() => requestAnimationFrame(done));
}})"""
ALL_ALIVE = "[...document.querySelectorAll('.vae-explorer')].every(e => e.matches('.vae-alive'))"
CANVASES = """selector => [...document.querySelectorAll(selector)].map(c =>
    Array.from(c.getContext("2d").getImageData(0, 0, 28, 28).data))"""
# what the decoders have made, or the curves where there are none; not what is painted by and by
DRAWN = """root => {
    const digits = [...root.querySelectorAll("canvas.vae-digit")].map(canvas => canvas.toDataURL());
    return (digits.length ? digits : [...root.querySelectorAll("path")].map(path => path.getAttribute("d"))).join(" ");
}"""


def page_of(*fragments: str, theme: str = "light") -> str:
    """A page with the book's colours, as its reader has chosen them."""
    body = "<hr>".join(fragments)
    return PAGE.format(theme=theme, style=BOOK, ground=GROUNDS[theme], ink=INKS[theme], body=body)


def open_page(page, path: Path, *fragments: str, theme: str = "light"):
    """Open fragments as one file of a disk, scroll through it, and wait until all of them have come to life."""
    path.write_text(page_of(*fragments, theme=theme), encoding="utf-8")
    page.goto(path.as_uri())
    for box in page.locator(".vae-explorer").all():
        box.scroll_into_view_if_needed()
    page.wait_for_function(ALL_ALIVE)
    return page


def _of(kind, name: str):
    return lambda digits: kind(pretrained(name, digits), digits)


def _decoded_by_python(digits):
    flat = pretrained("m1-2d", digits)
    return explorer.LatentExplorer(decode=lambda z: flat.decode(z).mean, d_z=2)


LINE, BENT = "x = z + noise", "x = z² + noise"  # the second has a posterior of two bumps


def log_normal(z: torch.Tensor, mu: float = 0.0, sigma: float = 1.0) -> torch.Tensor:
    return Normal(mu, sigma).log_prob(z)


def log_joint(z: torch.Tensor, name: str) -> torch.Tensor:
    """log p(x, z) of x = 2, seen with noise of standard deviation 0.5."""
    return log_normal(z) + log_normal(torch.tensor(2.0).to(z), z if name == LINE else z**2, 0.5)


def _completion(digits):
    models = {given: pretrained(f"cvae-{given}", digits) for given in ("column", "left")}
    regressors = {"left": pretrained("regressor-left", digits)}
    return explorer.CompletionExplorer(models, digits, regressors=regressors)


def _betas(digits):
    models = {0.5: small_vae(), 1: pretrained("m1-2d", digits), 4: small_vae()}
    for parameter in models[4].parameters():
        parameter.data *= 4
    return explorer.BetaExplorer(models, digits)


MAKERS = {
    "latent": _of(explorer.LatentExplorer, "m1-2d"),
    "latents": lambda digits: explorer.LatentExplorer(pretrained("m1m2-book", digits).m1, digits),
    "kernel's": _decoded_by_python,
    "digit": _of(explorer.DigitExplorer, "m1-2d"),
    "gap": lambda digits: explorer.GapExplorer(GRID, {name: log_joint(GRID, name) for name in (LINE, BENT)}),
    "classes": _of(explorer.ClassesExplorer, "m2-book"),
    "analogies": _of(explorer.AnalogiesExplorer, "m2-book"),
    "completion": _completion,
    "beta": _betas,
    "training": lambda digits: explorer.TrainingExplorer(digits),
}


def small_vae(d_z: int = 2, **sizes) -> VAE:
    torch.manual_seed(0)
    return VAE(d_z=d_z, hidden=(8,), **sizes)


def small_m2(**sizes) -> M2:
    torch.manual_seed(0)
    return M2(**(dict(d_z=3, hidden=(8,)) | sizes))


def _small_completer(digits) -> explorer.CompletionExplorer:
    d_y, d_x = map(len, pixel_split("left"))
    models = {"left": small_vae(3, d_x=d_x, d_y=d_y)}
    regressors = {"left": Regressor(d_x, d_y, hidden=(8,))}
    return explorer.CompletionExplorer(models, digits, regressors=regressors)


SMALL = {
    "latent": lambda digits: explorer.LatentExplorer(small_vae(), digits),
    "digit": lambda digits: explorer.DigitExplorer(small_vae(), digits),
    "classes": lambda digits: explorer.ClassesExplorer(small_m2(), digits),
    "analogies": lambda digits: explorer.AnalogiesExplorer(small_m2(), digits),
    "completion": _small_completer,
    "beta": lambda digits: explorer.BetaExplorer({1: small_vae(), 4: small_vae()}, digits),
}


def change(page, **values) -> None:
    """Set values as a hand does, one after the other, and wait until they are painted."""
    for pair in values.items():
        page.evaluate(CHANGE, list(pair))
    two_frames(page)


def value(page, name: str):
    return page.evaluate(f"{VIEW}.get('{name}')")


def image_of(page) -> torch.Tensor:
    """The drawing on the page's pad, uint8 (784,)."""
    return torch.tensor(list(base64.b64decode(value(page, "drawing"))), dtype=torch.uint8)


def two_frames(page) -> None:
    page.evaluate("() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")


def colours(page, selector: str) -> torch.Tensor:
    """Of the digits on the canvases, (N, 784, 3), from 0 to 1, once all is painted."""
    two_frames(page)
    return torch.tensor(page.evaluate(CANVASES, selector)).reshape(-1, 784, 4)[..., :3] / 255


def ink(page, selector: str) -> torch.Tensor:
    """Of grey digits, (N, 784): 1 where it is black."""
    return 1 - colours(page, selector)[..., 0]
