"""Figures and graphs: inline SVG, alt text, the theme's colours, ids that never collide."""

import base64
import io
import re
import xml.etree.ElementTree as ElementTree

import graphviz
import matplotlib.image
import numpy as np
import pytest
import torch

from vaecore import diagrams, figures

DOT = 'digraph { subgraph cluster_A { z -> x; } theta -> x [color="#0072B2"]; theta [label="θ"]; }'


def root(shown):
    return ElementTree.fromstring(shown._repr_html_())


def test_graph_is_inline_svg_that_follows_the_theme():
    picture = diagrams.graph(DOT, alt='Graph: "z" & theta point to x')
    svg = root(picture)
    assert svg.get("role") == "img" and svg.get("aria-label") == 'Graph: "z" & theta point to x'
    text = str(picture)
    assert {"z", "x", "θ"} <= {node.text for node in svg.iter() if node.tag.endswith("text")}
    assert "currentColor" in text and "var(--vae-encoder" in text
    assert not re.search(r'"(black|#000000|white|#ffffff)"|<title|<style|<!--', text)
    built = graphviz.Digraph()
    built.edge("a", "b")
    assert len([n for n in root(diagrams.graph(built, alt="a to b")).iter() if n.tag.endswith("text")]) == 2


def test_ids_do_not_collide_and_references_hold():
    pictures = [str(diagrams.graph(DOT, alt="a")) for _ in range(2)]
    pictures += [str(figures.digit_grid(torch.rand(4, 784), 2, alt="b")) for _ in range(2)]
    ids = [re.findall(r'\bid="([^"]+)"', text) for text in pictures]
    flat = [name for names in ids for name in names]
    assert len(flat) == len(set(flat))
    for names, text in zip(ids, pictures, strict=True):
        assert set(re.findall(r"url\(#([^)]+)\)", text)) <= set(names)
        assert set(re.findall(r'href="#([^"]+)"', text)) <= set(names)


def test_digit_grid_shows_the_very_pixels():
    images = torch.zeros(3, 784)
    images[1, 0], images[2] = 1.0, 0.5
    svg = str(figures.digit_grid(images, 2, alt="three pictures"))
    (data,) = re.findall(r"data:image/png;base64,([^\"]+)", svg)
    pixels = matplotlib.image.imread(io.BytesIO(base64.b64decode(data)))[..., 0]
    if pixels.shape != (56, 56):
        pytest.fail(f"the picture should hold each pixel once, 56 x 56; it has {pixels.shape}")
    pixels = pixels if pixels[0, 28] < 0.5 else pixels[::-1]  # SVG may keep its images upside down
    expected = torch.ones(56, 56)
    expected[0, 28], expected[28:, :28] = 0, 0.5
    torch.testing.assert_close(torch.tensor(pixels.copy()), expected, rtol=0, atol=0.03)


@pytest.mark.parametrize("limit, size", [(None, (5, 3)), (20.0, (4, 4))])
def test_names_of_classes_do_not_cover_each_other(limit, size):
    """Two classes at one place, a third next to them, a fourth far away; on the canvas."""
    z = torch.tensor([[0.0, 0.0], [0.0, 0.0], [0.0, 0.02], [15.0, 9.0]])
    figure, ax = figures.axes(*size)
    figures.latent_scatter(ax, z, torch.arange(4), limit=limit)
    figure.draw_without_rendering()
    names = {int(text.get_text()): text for text in ax.texts}
    discs = [name.get_bbox_patch().get_window_extent() for name in names.values()]
    centres = torch.tensor([[disc.x0 + disc.x1, disc.y0 + disc.y1] for disc in discs]) / 2
    assert torch.pdist(centres).min() > discs[0].width
    assert torch.pdist(centres[:3]).max() < 3 * discs[0].width  # not further than they must
    assert names[3].get_position() == pytest.approx((15, 9), abs=0.01)


def test_a_class_has_its_colour_whatever_other_classes_there_are():
    colours = []
    for labels in (torch.arange(10), torch.tensor([3, 7])):
        figure, ax = figures.axes()
        figures.latent_scatter(ax, torch.randn(len(labels), 2), labels)
        figure.draw_without_rendering()
        colours.append(ax.collections[0].get_facecolors())
    assert (colours[0][[3, 7]] == colours[1]).all() and len({tuple(colour) for colour in colours[0]}) == 10


def test_words_added_later_follow_the_theme_too():
    figure, ax = figures.axes()
    ax.plot([0, 1], [0, 1], label="a line")
    ax.legend()
    ax.text(0, 0, "a word")
    svg = str(figures.picture(figure, alt="a line"))
    words = re.findall(r"<text[^>]*>", svg)
    assert words and all("currentColor" in word for word in words)
    assert figures.INK not in svg


def test_a_table_holds_every_cell_in_its_place_as_text():
    """What a browser would read: no cell's text becomes a tag; what a row lacks is blank."""
    rows = {
        "a & b": {"x < y": -1234.6, "z": 0.126, "n": "<i>"},
        "<b>": {"z": np.float32(-0.5), "n": torch.tensor(1000), "sure": True},
    }
    lines = list(root(figures.Table("model", rows)).iter("tr"))
    assert [[cell.text or "" for cell in line] for line in lines] == [
        ["model", "x < y", "z", "n", "sure"],
        ["a & b", "−1,235", "0.13", "<i>", ""],
        ["<b>", "", "−0.50", "1000", "True"],
    ]
    assert [[cell.get("scope") for cell in line] for line in lines] == [["col"] * 5] + [["row"] + [None] * 4] * 2


def test_graph_without_any_graphviz(monkeypatch):
    monkeypatch.setattr(diagrams.shutil, "which", lambda name: None)
    with pytest.raises(FileNotFoundError, match="pip install graphviz-pure"):
        diagrams.graph(DOT, alt="a")
