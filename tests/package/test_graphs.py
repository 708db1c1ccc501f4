"""The CVAE's three graphs have the shape of the source's dot texts: Graphviz itself reads both, and we compare."""

import ast
import json
import subprocess
from collections import Counter
from pathlib import Path

import manuscript as ms
import pytest

from vaecore import diagrams

CHAPTER = Path(__file__).parents[2] / "book" / "06_cvae.md"
OUR_WORDS = {  # the book's one alphabet, where the source has Q, R, and Pr for what Q approximates
    "N(0, 1)": "N(0, I)",
    "Pr(z|x,y)": "q(z|x,y)",
    "x'": "p(x|z,y)",
    "Encoder (Q)": "encoder",
    "Decoder (R)": "decoder",
    "(testing mode)": "new digits",
}
SOURCE = {  # as printed in the study note, each with its counterpart in the chapter
    "fig-cvae-model": """digraph {
    rankdir=TB;
    bgcolor=transparent;
    subgraph cluster_A {
        N -> z [style=dotted];
        {z y} -> x;
        N [label="N(0, 1)" shape=plaintext];
    }
    theta -> x;
    theta [label="θ"];
}""",
    "fig-cvae-training": """digraph CVAE {
    rankdir=LR;
    bgcolor=transparent;
    subgraph cluster_CVAE {
        graph [label="CVAE"];
        {x y} -> Encoder -> Pr;
        Pr [label="Pr(z|x,y)"];
        Pr -> z [style=dotted];
        {z "y'"} -> Decoder -> "x'";
        Encoder [shape=rect label="Encoder (Q)"];
        Decoder [shape=rect label="Decoder (R)"];
        {rank=same x y}
        {rank=same z "y'"}
        "y'" [label=y];
    }
}""",
    "fig-cvae-testing": """digraph CVAE {
    rankdir=LR;
    bgcolor=transparent;
    subgraph cluster_test {
        graph [label="(testing mode)"];
        Normal -> z [style=dotted];
        {z y} -> Decoder_t -> "x'";
        Decoder_t [shape=rect label="Decoder (R)"];
        Normal [label="N(0, 1)"];
    }
}""",
}


def read(dot: str) -> dict:
    """What a dot text says, colours apart: direction, nodes, edges with their styles, clusters, ranks."""
    command = [diagrams._dot(), "-Tdot_json"]
    run = subprocess.run(command, input=dot, capture_output=True, text=True, encoding="utf-8", check=True)
    graph = json.loads(run.stdout)
    things = graph.get("objects", [])
    names = {thing["_gvid"]: thing["name"] for thing in things}
    nodes = [thing for thing in things if "nodes" not in thing and "subgraphs" not in thing]
    parts = [thing for thing in things if thing not in nodes]

    def members(part: dict) -> frozenset[str]:
        return frozenset(names[number] for number in part.get("nodes", []))

    return {
        "rankdir": graph.get("rankdir"),
        "nodes": {n["name"]: (n["label"].replace(r"\N", n["name"]), n.get("shape", "ellipse")) for n in nodes},
        "edges": Counter(
            (names[e["tail"]], names[e["head"]], e.get("style", "solid"), e.get("label", ""))
            for e in graph.get("edges", [])
        ),
        "clusters": {p["name"]: (p.get("label", ""), members(p)) for p in parts if p["name"].startswith("cluster")},
        "ranks": Counter((p["rank"], members(p)) for p in parts if "rank" in p),
    }


def graphs(text: str) -> dict[str, str]:
    """The dot texts of a chapter by the names of their figures."""
    found = {}
    for cell in ms.cells(text):
        name = ((cell.options.get("mystnb") or {}).get("figure") or {}).get("name")
        for call in (node for node in ast.walk(ast.parse(cell.body)) if isinstance(node, ast.Call)):
            if getattr(call.func, "attr", "") == "graph":
                found[name] = ast.literal_eval(call.args[0])
    return found


def test_the_chapter_holds_the_three_graphs():
    assert set(graphs(CHAPTER.read_text(encoding="utf-8"))) == set(SOURCE)


def in_our_words(said: dict) -> dict:
    nodes = {name: (OUR_WORDS.get(label, label), shape) for name, (label, shape) in said["nodes"].items()}
    clusters = {name: (OUR_WORDS.get(label, label), members) for name, (label, members) in said["clusters"].items()}
    return said | dict(nodes=nodes, clusters=clusters)


@pytest.mark.parametrize("name", SOURCE)
def test_a_graph_says_what_the_source_says(name):
    assert read(graphs(CHAPTER.read_text(encoding="utf-8"))[name]) == in_our_words(read(SOURCE[name]))


@pytest.mark.parametrize("name", SOURCE)
def test_a_graph_is_drawn_whole(name):
    dot = graphs(CHAPTER.read_text(encoding="utf-8"))[name]
    said, svg = read(dot), str(diagrams.graph(dot, alt="One of the three graphs."))
    drawn = [svg.count(f'class="{kind}"') for kind in ("node", "edge", "cluster")]
    assert drawn == [len(said["nodes"]), said["edges"].total(), len(said["clusters"])]
    assert svg.count("stroke-dasharray") == 1  # the draw of z


def test_the_reading_of_a_graph_is_complete():
    """By hand from the source's first graph, so that a reader that overlooks something is noticed."""
    of_each = dict(N=("N(0, 1)", "plaintext"), theta=("θ", "ellipse")) | {name: (name, "ellipse") for name in "xyz"}
    edges = [("z", "x", "solid", ""), ("y", "x", "solid", ""), ("theta", "x", "solid", ""), ("N", "z", "dotted", "")]
    expected = dict(rankdir="TB", nodes=of_each, edges=Counter(edges), ranks=Counter())
    assert read(SOURCE["fig-cvae-model"]) == expected | dict(clusters={"cluster_A": ("", frozenset("Nxyz"))})


def test_a_machine_lights_the_parts_it_is_asked_for():
    plain, lit = diagrams.machine(), diagrams.machine(("encoder", "condition"), condition=True)
    assert diagrams.UNLIT not in str(plain) and "Lit" not in plain.alt
    assert f'stroke="var(--vae-unlit, {diagrams.UNLIT})"' in str(lit) and "Lit: the encoder" in lit.alt
    assert ">y<" in str(lit) and ">y<" not in str(plain)
    with pytest.raises(ValueError, match="lit"):
        diagrams.machine(("engine",))
