"""The book's graphs: Graphviz's dot language in, inline SVG out, on a machine with no Graphviz as well."""

import re
import shutil
import subprocess
from importlib import metadata

import graphviz

from .figures import DECODER, ENCODER, INK, PRIOR, THEME_COLOURS, Picture

__all__ = ["DECODER", "ENCODER", "PRIOR", "graph"]


def graph(source: "str | graphviz.Digraph | graphviz.Graph | graphviz.Source", alt: str) -> Picture:
    """A dot source as a Picture: no background, black ink that follows the page's theme.

    Raises ValueError for a source that is not valid dot, FileNotFoundError where there is no Graphviz.
    """
    text = source if isinstance(source, str) else source.source
    command = [_dot(), "-Tsvg", "-Gbgcolor=transparent"]
    run = subprocess.run(command, input=text, capture_output=True, text=True, encoding="utf-8")
    if run.returncode != 0 or "<svg" not in run.stdout:
        reason = (run.stderr.strip().splitlines() or ["no reason given"])[0]
        raise ValueError(f"source is not a graph that dot can draw: {reason}")
    svg = re.sub(r'(fill|stroke)="(black|#000000)"', rf'\1="{INK}"', run.stdout)
    # text has no fill attribute of its own, so it would be black
    svg = re.sub(r"<text (?![^>]*fill=)", f'<text fill="{INK}" ', svg)
    for colour, variable in THEME_COLOURS.items():
        svg = re.sub(re.escape(colour), variable, svg, flags=re.I)
    return Picture(svg, alt)


def _dot() -> str:
    """The program that draws: graphviz-pure, which draws alike on every platform; else dot."""
    try:  # pip may have put it where PATH does not lead
        installed = [file.locate() for file in metadata.files("graphviz-pure") or () if file.stem == "graphviz-pure"]
    except metadata.PackageNotFoundError:
        installed = []
    for name in (*installed, "graphviz-pure", "dot"):
        if found := shutil.which(str(name)):
            return found
    raise FileNotFoundError("Graphviz was not found; install it with `pip install graphviz-pure`.")
