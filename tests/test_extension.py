"""What the Sphinx extension does to a page's text, piece by piece; test_site.py sees it whole."""

import base64
import importlib.util
import re

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


def test_japanese_quotations_are_marked():
    body = "<blockquote>\n<p>In English.</p></blockquote><blockquote>\n<div><p>これら2つを</p></div></blockquote>"
    marked = vaebook.quotes_in_their_language(body)
    assert marked.count('<blockquote lang="ja">') == 1 and "<blockquote>\n<p>In English" in marked
