"""Pictures for the book, inline SVG that follows the page's theme and always carries its alt text; and tables."""

import html
import io
import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib.style
import numpy as np
import torch
from cycler import cycler
from jaxtyping import Float, Int64, Shaped
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Text
from torch import Tensor

from .checks import check_classes, check_unit_interval, warn_of_few_greys

ENCODER, DECODER, PRIOR = "#0072b2", "#b84a00", "#666666"  # one meaning per colour, everywhere
UNLIT = "#767676"  # of a part that is not spoken of; it can still be read
INK = "#010203"  # stands for the page's text colour; no other thing may have it
THEME_COLOURS = {
    INK: "currentColor",
    ENCODER: f"var(--vae-encoder, {ENCODER})",
    DECODER: f"var(--vae-decoder, {DECODER})",
    PRIOR: f"var(--vae-prior, {PRIOR})",
    UNLIT: f"var(--vae-unlit, {UNLIT})",
}
OUR_OWN: Any = {
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 10,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.prop_cycle": cycler(color=[ENCODER, DECODER, PRIOR]),
}
STYLE: Any = ["default", OUR_OWN]  # whatever style the reader has chosen for other figures
DASHES = ("-", "--", ":", "-.")
_numbers = itertools.count(1)


class Picture:
    """Inline SVG with its alt text; a notebook shows it, `str(picture)` is the HTML.

    Raises ValueError for an empty alt text.
    """

    def __init__(self, svg: str, alt: str) -> None:
        if not alt.strip():
            raise ValueError("alt must say in words what the picture shows; got an empty text.")
        if "<svg" not in svg:
            raise ValueError("svg must be the text of an SVG, with its element <svg>; got another text.")
        self.alt = " ".join(alt.split())
        svg = svg[svg.index("<svg") :]
        # a <style> in an inline SVG would apply to the whole page
        svg = re.sub(r"<(title|metadata|style)\b.*?</\1>|<!--.*?-->", "", svg, flags=re.S)
        # several pictures share one page, so their ids must not collide
        self._svg = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>p{next(_numbers)}-", svg)

    def _repr_html_(self) -> str:
        label = html.escape(self.alt, quote=True)
        return self._svg.replace("<svg", f'<svg class="vae-picture" role="img" aria-label="{label}"', 1)

    __str__ = _repr_html_

    def __repr__(self) -> str:
        return f"Picture: {self.alt}"


@dataclass(frozen=True)
class Table:
    """Rows by their names, each a dict of cells by their columns; `corner` says what the names are of.

    A notebook shows it as HTML. A row may lack cells. Floats have two decimals, above 999 none; the rest is plain text.
    """

    corner: str
    rows: dict[object, dict]

    def _repr_html_(self) -> str:
        columns = list(dict.fromkeys(itertools.chain.from_iterable(self.rows.values())))
        head = "".join(f'<th scope="col">{_cell(name)}</th>' for name in (self.corner, *columns))
        body = ""
        for name, row in self.rows.items():
            cells = "".join(f"<td>{_cell(row.get(column, ''))}</td>" for column in columns)
            body += f'<tr><th scope="row" style="text-align: left">{_cell(name)}</th>{cells}</tr>'
        return f'<table class="table"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'


def _cell(content: object) -> str:
    if isinstance(content, Tensor | np.generic) and content.ndim == 0:
        content = content.item()
    if isinstance(content, float):
        content = f"{content:,.{0 if abs(content) > 999 else 2}f}".replace("-", "−")
    return html.escape(str(content)).replace(" ± ", "&nbsp;±&nbsp;").replace("_", "_<wbr/>")  # names may break


def axes(width: float = 5.0, height: float = 3.0, n_columns: int = 1, n_rows: int = 1, **kwargs) -> tuple[Figure, Any]:
    """A figure and its axes in the book's style (inches); `kwargs` go to Figure.subplots."""
    with matplotlib.style.context(STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        return figure, figure.subplots(n_rows, n_columns, **kwargs)


def picture(figure: Figure, alt: str) -> Picture:
    """The matplotlib figure as a Picture whose ink and three main colours follow the page's theme."""
    of_reader = matplotlib.rcParams["text.color"]
    for text in figure.findobj(Text):  # those added after `axes` have the colour of the reader's own style, or black
        if text.get_color() in (of_reader, "black"):
            text.set_color(INK)
    for line in figure.findobj(Line2D):  # clouds of dots would make the page heavy
        if np.size(line.get_xdata()) > 500 and line.get_linestyle() == "None":
            line.set_rasterized(True)
    for ax in figure.axes:
        if legend := ax.get_legend():
            legend.set_frame_on(False)
    buffer = io.StringIO()
    with matplotlib.style.context(STYLE):
        figure.savefig(buffer, format="svg", dpi=144)
    # a hundredth of a point is finer than any screen
    svg = re.sub(r' d="[^"]*"', lambda path: re.sub(r"(\.\d\d)\d+", r"\1", path[0]), buffer.getvalue())
    for colour, variable in THEME_COLOURS.items():
        svg = svg.replace(colour, variable)
    return Picture(svg, alt)


def digit_grid(
    images: Shaped[Tensor, "N D"], n_columns: int, alt: str, shape: tuple[int, ...] = (28, 28), size: float = 0.45
) -> Picture:
    """Images in [0, 1] or uint8, row by row in n_columns columns; `size` is inches an image, (H, W) or (3, H, W)."""
    figure = Figure(figsize=(size * n_columns, size * -(-len(images) // n_columns)))
    ax = figure.add_axes((0, 0, 1, 1))
    show_digits(ax, images, n_columns, shape)
    return picture(figure, alt)


def show_digits(
    ax: Axes, images: Shaped[Tensor, "N D"], n_columns: int, shape: tuple[int, ...] = (28, 28), extent=None
) -> None:
    """Draw images in [0, 1] or uint8 into the axes, row by row: grey ones as dark ink on white paper."""
    *colours, height, width = shape
    pixels = _drawable(images).numpy().reshape(len(images), *(colours or [1]), height, width)
    blank = np.full((-len(pixels) % n_columns, *pixels.shape[1:]), bool(colours), dtype=pixels.dtype)
    rows = np.concatenate([pixels, blank]).reshape(-1, n_columns, *pixels.shape[1:])
    rows = rows.transpose(0, 3, 1, 4, 2).reshape(-1, n_columns * width, pixels.shape[1])  # colours last
    ax.imshow(
        rows.squeeze(-1) if not colours else rows,
        cmap="gray_r",
        vmin=0,
        vmax=1,
        interpolation="none",
        origin="upper",
        extent=extent,
    )
    if extent is None:
        ax.axis("off")


def _drawable(images: Tensor) -> Tensor:
    """Images in [0, 1], bools or uint8 as floats on the CPU."""
    images = images.detach().cpu()
    if images.dtype == torch.uint8:
        warn_of_few_greys(images, "images")
        images = images / 255
    images = images.float()
    check_unit_interval(images, "images")
    return images


def latent_scatter(ax: Axes, z: Float[Tensor, "N 2"], labels: Int64[Tensor, "N"], limit: float | None = None) -> None:
    """Codes z as dots coloured by class, each class named at its median point or next to it."""
    limit = None if limit is None else float(limit)
    if not z.isfinite().all():
        raise ValueError("z must be finite codes; got nan or infinity.")
    check_classes(labels.cpu(), 10, "labels")  # as many as tab10 has colours
    codes, classes = z.detach().cpu().numpy(), labels.cpu().numpy()
    dots: Any = dict(s=2, linewidths=0, alpha=0.6, rasterized=True)
    ax.scatter(codes[:, 0], codes[:, 1], c=classes, cmap="tab10", vmin=0, vmax=9, **dots)
    names = np.unique(classes)
    places = np.stack([np.median(codes[classes == name], axis=0) for name in names])
    span = np.ptp(codes, axis=0).max() if limit is None else 2 * limit
    for name, place in zip(names, _spread_out(places, span / 12), strict=True):
        ax.text(
            place[0],
            place[1],
            str(name),
            ha="center",
            va="center",
            weight="bold",
            color="#000000",
            bbox=dict(boxstyle="circle,pad=0.2", facecolor="white", edgecolor="none", alpha=0.85),
        )
    if limit is not None:
        ax.set(xlim=(-limit, limit), ylim=(-limit, limit))
    ax.set(xlabel="$z_1$", ylabel="$z_2$", aspect="equal")


def _spread_out(places: np.ndarray, least: float) -> np.ndarray:
    """The places, (C, 2), moved away from each other until any two are `least` apart, or nearly so."""
    angles = np.arange(len(places))
    places = places + 1e-3 * least * np.stack([np.cos(angles), np.sin(angles)], axis=-1)  # no two are quite the same
    for _ in range(200):
        away = places[:, None] - places
        distance = np.linalg.norm(away, axis=-1, keepdims=True)
        lack = np.maximum(least - distance, 0)
        places = places + (away / np.maximum(distance, 1e-9) * lack).sum(1) / 4
    return places


def curves(x: Sequence[float], lines: dict[str, Sequence[float]], xlabel: str, ylabel: str, alt: str) -> Picture:
    """Named lines over a common x, distinguished by their dashes."""
    figure, ax = axes()
    if len(lines) > len(DASHES):
        raise ValueError(f"lines must be {len(DASHES)} at most, so that each has its own dashes; got {len(lines)}.")
    for (name, y), style in zip(lines.items(), DASHES, strict=False):
        ax.plot(x, y, style, label=name, color=INK)
    ax.set(xlabel=xlabel, ylabel=ylabel)
    if len(lines) > 1:
        ax.legend()
    return picture(figure, alt)
