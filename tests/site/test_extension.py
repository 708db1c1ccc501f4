"""What the Sphinx extension does to a page's text, piece by piece; test_site.py sees it whole."""

import base64
import importlib.util
import json
import re
from types import SimpleNamespace

import pytest
from conftest import ROOT

spec = importlib.util.spec_from_file_location("vaebook", ROOT / "book" / "_ext" / "vaebook.py")
vaebook = importlib.util.module_from_spec(spec)
spec.loader.exec_module(vaebook)

DIGITS = "MNIST: 60,000 training and 10,000 test digits"
CPU = {"cores": 2, "device": "cpu", "data": DIGITS, "python": "3.11.7", "torch": "2.15.0+cpu"}
PNG = base64.b64encode(b"\x89PNG digits" * 20).decode()


@pytest.mark.parametrize(
    "seconds, on, loads_digits, expected",
    [
        (41.3, CPU, True, f"This page ran in 41 s on 2 CPU cores; {DIGITS}; Python 3.11, torch 2.15.0."),
        (
            0.4,
            {**CPU, "cores": 1},
            False,
            "This page ran in less than a second on 1 CPU core; toy data of its own; Python 3.11, torch 2.15.0.",
        ),
        (
            200,
            {**CPU, "device": "NVIDIA H200"},
            True,
            f"This page ran in 3 minutes on NVIDIA H200; {DIGITS}; Python 3.11, torch 2.15.0.",
        ),
    ],
)
def test_how_a_page_ran(seconds, on, loads_digits, expected):
    assert vaebook.sentence(seconds, on, loads_digits) == expected


def test_pictures_inside_svg_become_files(tmp_path):
    broken = PNG[:40] + "\n" + PNG[40:]  # matplotlib breaks the lines
    body = (
        f'<svg><image xlink:href="data:image/png;base64,\n{broken}"/><image href="data:image/png;base64,{PNG}"/></svg>'
    )
    body += f'<img alt="a digit" src="data:image/png;base64,{PNG}">'
    moved = vaebook.pictures_to_files(body, tmp_path / "pictures", lambda name: f"_static/pictures/{name}")
    (file,) = (tmp_path / "pictures").iterdir()
    assert base64.b64encode(file.read_bytes()).decode() == PNG
    assert "base64" not in moved
    assert re.findall(r'(\w+)="_static/pictures/([^"]+)"', moved) == [
        ("href", file.name),
        ("href", file.name),
        ("src", file.name),
    ]


@pytest.mark.parametrize("inside, least", [("<text>z</text>", "624px"), ("<image/>", None)])
def test_only_pictures_with_words_keep_a_least_width(inside, least):
    body = f'<svg class="vae-picture" role="img" width="720pt">{inside}</svg><svg><text>2</text></svg>'
    found = re.search(r"--vae-least-width: (\w+)", vaebook.pictures_to_screens(body))
    assert (found and found[1]) == least


def test_formulas_keep_what_touches_them():
    math = '<span class="math notranslate nohighlight">\\(x\\)</span>'
    kept = vaebook.formulas_with_what_touches_them(f"<p>a {math}, ({math}) and {math} b、{math}の</p>")
    together = '<span class="vae-together">'
    assert kept == f"<p>a {together}{math},</span> {together}({math})</span> and {math} b、{math}の</p>"


def test_japanese_quotations_are_marked():
    body = "<blockquote>\n<p>In English.</p></blockquote><blockquote>\n<div><p>これら2つを</p></div></blockquote>"
    marked = vaebook.quotes_in_their_language(body)
    assert marked.count('<blockquote lang="ja">') == 1 and "<blockquote>\n<p>In English" in marked


def test_what_explorers_share_becomes_one_file_each(tmp_path):
    net = json.dumps({"layers": "</script> and \\ and 'quotes'"}).replace("<", r"\u003c")
    one = (
        '<div class="vae-explorer"><style class="vae-style">p { margin: 0 }</style>'
        '<script type="application/json" class="vae-state">{"z": [0]}</script>'
        f'<script type="application/json" class="vae-blob" data-id="abc">{net}</script>'
        '<div class="vae-static">a picture</div><script class="vae-module">bringAll();</script></div>'
    )
    body = vaebook.explorers_to_files(f"{one}<p>text</p>{one}", tmp_path, lambda name: f"_static/explorers/{name}")
    files = {path.suffix: path for path in tmp_path.iterdir() if path.name != "abc.js"}
    assert body.count("vae-state") == body.count("a picture") == 2 and "margin" not in body and "layers" not in body
    assert re.findall(r'<link rel="stylesheet" href="_static/explorers/([^"]+)"', body) == [files[".css"].name]
    assert re.findall(r'<script defer src="_static/explorers/([^"]+)"></script>', body) == [files[".js"].name]
    assert re.findall(r'data-id="abc" data-src="([^"]+)"></script>', body) == ["_static/explorers/abc.js"]
    assert files[".css"].read_text() == "p { margin: 0 }" and files[".js"].read_text() == "bringAll();"
    carried = (tmp_path / "abc.js").read_text().removeprefix('(globalThis.vaecoreBlobs ??= {})["abc"] = ')
    assert json.loads(carried.removesuffix(";\n")) == net


def test_widget_states_leave_the_page():
    state = SimpleNamespace(attributes={"type": "application/vnd.jupyter.widget-state+json"})
    assert vaebook.is_widget_state(state)
    assert not vaebook.is_widget_state(SimpleNamespace(attributes={"defer": ""}))
    assert not vaebook.is_widget_state("_static/doctools.js")
