"""A page's document tree as the cells of a notebook, to read or to work in."""

import re

import nbformat
from docutils import nodes
from notebook_markdown import folded, quoted
from words import _

FORM = {"cellView": "form", "jupyter": {"source_hidden": True}}  # folded: the former in Colab, the latter elsewhere
EXERCISES = ("exercise_node", "exercise_enumerable_node")
BOXES = ("admonition", "note", "tip", "hint", "important", "warning", *EXERCISES)
BUILD = "ex-build-"  # what the label of an exercise begins with in which a function is built; its name follows
CHECK = "from vaecore.exercises import check\n\ncheck({name})"
CHECK_OWN = (
    'from vaecore.exercises import check\n\ncheck(my_{name}, "{name}")'  # where the page calls a {name} of its own
)


def is_cell(node):
    return isinstance(node, nodes.container) and node.get("nb_element") == "cell_code"


def wrapping(box):
    """What makes markdown of a box's title and words: folded where the page folds it, else a quotation."""
    return folded if "dropdown" in box["classes"] else lambda title, text: quoted(f"**{title}**\n\n{text}")


class Notebook:
    """Gathers the cells of one page: words until a code cell comes, then that, then words again."""

    def __init__(self, words):
        self.words, self.cells, self.pending, self.cited = words, [], [], set()

    def say(self, text):
        self.pending += [text] if text else []

    def end_of_words(self):
        if self.pending:
            self.cells.append(nbformat.v4.new_markdown_cell("\n\n".join(self.pending)))
        self.pending = []

    def section(self, node, depth):
        for child in node.children:
            if isinstance(child, nodes.section):
                self.section(child, depth + 1)
            elif isinstance(child, nodes.title):
                self.say(f"{'#' * depth} {self.heading_number(node, depth)}{self.words.inline(child)}")
            else:
                self.block(child)

    def heading_number(self, section, depth):
        numbers = self.words.builder.secnumbers
        found = [numbers[name] for name in ("" if depth == 1 else f"#{i}" for i in section["ids"]) if name in numbers]
        return ".".join(map(str, found[0])) + ". " if found and found[0] else ""

    def block(self, node):
        kind = type(node).__name__
        if is_cell(node):
            self.code(node)
        elif kind == "predict":
            self.end_of_words()
            self.say(self.words.block(node))
            self.end_of_words()
        elif kind == "solution_node":
            title = self.words.inline(node.children[0]) if not node.get("title") else node["title"]
            self.box(node, lambda text, more: folded(title + (_(", continued") if more else ""), text), title)
        elif kind in BOXES:
            title, wrap = self.box_title(node), wrapping(node)
            self.box(node, lambda text, more: wrap(title + (_(", continued") if more else ""), text))
        else:
            self.say(self.words.block(node))

    def box_title(self, node):
        title = node.next_node(nodes.title)
        words = self.words.inline(title) if title is not None and title.parent is node else ""
        if type(node).__name__ == "exercise_enumerable_node":
            return f"{self.words.numbered('exercise', node)}{words}"
        return words or type(node).__name__.capitalize()

    def box(self, node, wrap, hide=""):
        """The stretches of words in a box, each wrapped; the code cells between them stand outside, for they must run.

        With `hide`, a title, these are folded, and so is what they put out.
        """
        stretch, n_stretches = [], 0

        def end_of_stretch():
            nonlocal n_stretches
            if text := "\n\n".join(stretch):
                self.say(wrap(text, n_stretches))
                n_stretches += 1
            stretch.clear()

        for child in self.leaves(node):
            if is_cell(child):
                end_of_stretch()
                self.code(child, hide)
            elif text := self.box_in_a_box(child) if type(child).__name__ in BOXES else self.words.block(child):
                stretch.append(text)
        end_of_stretch()

    def box_in_a_box(self, node):
        """Words alone: a cell in there would warn."""
        return wrapping(node)(self.box_title(node), self.words.blocks(self.leaves(node)))

    def leaves(self, node):
        for child in node.children:
            if isinstance(child, nodes.section):
                yield from self.leaves(child)
            elif not isinstance(child, nodes.title):
                yield child

    def code(self, node, hide=""):
        """A code cell, and below it the caption of its figure."""
        source = next(n for n in node.findall(nodes.container) if n.get("nb_element") == "cell_code_source")
        text, metadata = source.next_node(nodes.literal_block).astext(), {}
        tags = node.get("cell_metadata", {}).get("tags", [])
        if hide:
            text = f"# @title {_('{title}: its code').format(title=hide)}\n{text}"
            metadata = {**FORM, "collapsed": True, "jupyter": {**FORM["jupyter"], "outputs_hidden": True}}
        elif "hide-input" in tags or "hide-cell" in tags:
            text, metadata = f"# @title {_('The code of this cell, folded')}\n{text}", FORM
        self.end_of_words()
        self.cells.append(nbformat.v4.new_code_cell(text, metadata=metadata | ({"tags": tags} if tags else {})))
        for figure in node.findall(nodes.figure):
            caption = figure.next_node(nodes.caption)
            self.say(f"**{self.words.numbered('figure', figure)}.** {self.words.inline(caption)}")


class WorkNotebook(Notebook):
    """The same to work in: without solutions, and with cells below each exercise."""

    def block(self, node):
        kind = type(node).__name__
        if kind not in EXERCISES:
            if kind != "solution_node":
                super().block(node)
            return
        cells = [""]
        if node["label"].startswith(BUILD):
            node = node.deepcopy()  # the page keeps its own
            starters = [code for code in node.findall(nodes.literal_block) if code.get("language") == "python"]
            for starter in starters:
                starter.parent.remove(starter)
            name = node["label"].removeprefix(BUILD).replace("-", "_")
            start = "\n\n".join(starter.astext().rstrip() for starter in starters)
            before = "\n".join(cell.source for cell in self.cells if cell.cell_type == "code")
            if is_taken := re.search(rf"(?<![\w.]){name}\(", before):
                start = start.replace(f"def {name}(", f"def my_{name}(")
            cells = [start, (CHECK_OWN if is_taken else CHECK).format(name=name)]
        super().block(node)
        self.end_of_words()
        self.cells += map(nbformat.v4.new_code_cell, cells)
