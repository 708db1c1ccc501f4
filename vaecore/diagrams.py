"""The book's graphs: Graphviz's dot language in, inline SVG out, on a machine with no Graphviz as well."""

import re
import shutil
import subprocess
from importlib import metadata

import graphviz

from .figures import DECODER, ENCODER, INK, PRIOR, THEME_COLOURS, UNLIT, Picture

__all__ = ["DECODER", "ENCODER", "PRIOR", "graph", "machine"]


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


PARTS = {  # the nodes of the machine that belong to each of its parts, and the words of its picture
    "bits": ("x", "the bits x"),
    "encoder": ("Q mu sigma", "the encoder, which puts out mu and sigma"),
    "sample": ("eps z", "the sample z = mu + sigma epsilon"),
    "decoder": ("R pi", "the decoder, which puts out pi"),
    "log-likelihood": ("x2 rec", "the log-likelihood log p(x|z)"),
    "kl": ("kl", "the KL"),
    "condition": ("y y2", "the condition y, with its arrows into both nets"),
}


def machine(lit: tuple[str, ...] = (), condition: bool = False) -> Picture:
    """The whole VAE in training, from x to the two terms of the ELBO, as a Picture with its own alt text.

    `lit` names the parts that stand out, of "bits", "encoder", "sample", "decoder", "log-likelihood", "kl" and
    "condition"; without any, all do. With `condition`, y enters both nets.
    """
    if unknown := set(lit) - set(PARTS):
        raise ValueError(f"lit must name parts out of {', '.join(PARTS)}; got {', '.join(sorted(unknown))}.")
    bright = {node for part in lit or PARTS for node in PARTS[part][0].split()}

    def colour(node: str, own: str = INK) -> str:
        return own if node in bright else UNLIT

    def node(name: str, label: str, own: str = INK, more: str = "shape=plaintext width=0.3") -> str:
        shade = colour(name, own)
        width = 2.5 if name in bright and lit else 1
        return f'{name} [label="{label}" {more} color="{shade}" fontcolor="{shade}" penwidth={width}];'

    def edge(start: str, end: str, more: str = "") -> str:
        shade = INK if {start, end} <= bright else UNLIT
        return f'{start} -> {end} [color="{shade}" {more}];'

    box, term = "shape=rect", "shape=rect style=rounded"
    nodes = [node("x", "x"), node("Q", "encoder", ENCODER, box), node("mu", "μ"), node("sigma", "σ")]
    nodes += [node("eps", "ε ~ N(0, I)", PRIOR), node("z", "z = μ + σ ε", more="shape=ellipse")]
    nodes += [node("R", "decoder", DECODER, box), node("pi", "π"), node("x2", "x")]
    nodes += [node("rec", "log p(x|z,y)" if condition else "log p(x|z)", more=term), node("kl", "KL(q‖p)", more=term)]
    pairs = "x-Q Q-mu Q-sigma mu-z sigma-z eps-z z-R R-pi"
    edges = [edge(*pair.split("-")) for pair in pairs.split()]
    edges += [edge(*pair.split("-"), more="style=dashed") for pair in ["pi-rec", "x2-rec", "mu-kl", "sigma-kl"]]
    if condition:
        nodes += [node("y", "y"), node("y2", "y")]  # twice, as x is, so that no arrow has to cross the picture
        shade = colour("y")
        edges += [f'y -> Q [color="{shade}"];', f'y2 -> R [color="{shade}"];', "{rank=same; z; y2; kl}"]
    what = "x goes through the encoder to mu and sigma; with noise epsilon they make z, which the decoder turns into pi"
    what += "; pi and x give the log-likelihood, mu and sigma the KL" + "; y enters both nets" * condition
    shown = f" Lit: {', '.join(PARTS[part][1] for part in lit)}." if lit else ""
    head = (
        'rankdir=LR; nodesep=0.25; ranksep=0.25; edge [arrowsize=0.7]; node [fontname="sans-serif" margin="0.14,0.04"];'
    )
    return graph(f"digraph {{ {head} {' '.join(nodes)} {' '.join(edges)} }}", f"Graph of the machine: {what}.{shown}")
