"""What the Sphinx extensions do to a page's text, piece by piece; test_site.py sees the whole."""

import base64
import json
import re
import sys

import pytest
from conftest import ROOT

sys.path.append(str(ROOT / "book" / "_ext"))
import docstrings
import vaebook

DIGITS = "MNIST: 60,000 training and 10,000 test digits"
CPU = {"cores": 2, "device": "cpu", "data": DIGITS, "python": "3.11.7", "torch": "2.15.0+cpu"}
PNG = base64.b64encode(b"\x89PNG digits" * 20).decode()


@pytest.mark.parametrize(
    "seconds, on, loads_digits, expected",
    [
        (41.3, {}, True, f"41 s on 2 CPU cores; {DIGITS}"),
        (0.4, {"cores": 1}, False, "less than a second on 1 CPU core; toy data of its own"),
        (200, {"device": "NVIDIA H200"}, True, f"3 minutes on NVIDIA H200; {DIGITS}"),
    ],
)
def test_how_a_page_ran(seconds, on, loads_digits, expected):
    assert vaebook.sentence(seconds, CPU | on, loads_digits) == (
        f"This page ran in {expected}; Python 3.11, torch 2.15.0."
    )


def test_pictures_inside_svg_become_files(tmp_path):
    broken = PNG[:40] + "\n" + PNG[40:]  # matplotlib breaks the lines
    body = f'<svg><image xlink:href="data:image/png;base64,\n{broken}"/></svg><img src="data:image/png;base64,{PNG}">'
    moved = vaebook.pictures_to_files(body, tmp_path / "pictures", lambda name: f"_static/pictures/{name}")
    (file,) = (tmp_path / "pictures").iterdir()
    assert base64.b64encode(file.read_bytes()).decode() == PNG and "base64" not in moved
    found = re.findall(r'(\w+)="_static/pictures/([^"]+)"', moved)
    assert found == [("href", file.name), ("src", file.name)]


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
        f'<script type="application/json" class="vae-blob" data-id="abc">{net}</script>'
        '<div class="vae-static">a picture</div><script class="vae-module">bringAll();</script></div>'
    )
    body = vaebook.explorers_to_files(f"{one}<p>text</p>{one}", tmp_path, lambda name: f"_static/explorers/{name}")
    files = {path.suffix: path for path in tmp_path.iterdir() if path.name != "abc.js"}
    assert body.count("a picture") == 2 and "margin" not in body and "layers" not in body
    assert body.count(f'<link rel="stylesheet" href="_static/explorers/{files[".css"].name}"') == 1
    assert body.count(f'<script defer src="_static/explorers/{files[".js"].name}"></script>') == 1
    assert re.findall(r'data-id="abc" data-src="([^"]+)"></script>', body) == ["_static/explorers/abc.js"]
    assert files[".css"].read_text() == "p { margin: 0 }" and files[".js"].read_text() == "bringAll();"
    written = (tmp_path / "abc.js").read_text().removeprefix('(globalThis.vaecoreBlobs ??= {})["abc"] = ')
    assert json.loads(written.removesuffix(";\n")) == net


def test_docstrings_become_what_sphinx_reads():
    assert docstrings.as_rest("log p(x|z), `d_y` > 0. Eq. elbo; arXiv:1406.5298.") == (
        r"log p(x\|z), ``d_y`` > 0. Eq. :eq:`elbo`; `arXiv:1406.5298 <https://arxiv.org/abs/1406.5298>`__."
    )
