"""Says the parts of a finished page in markdown that Colab, Kaggle, VS Code and JupyterLab all show.

It reads the document tree of the HTML build, in which every number, reference and citation is already resolved. We
tried sphinx-tojupyter first: it wants a second build with a configuration of its own, turns admonitions into headings,
loses captions and directives, and repeats words. To mend that takes more code than this file has.
"""

import re
import textwrap

from docutils import nodes
from sphinx.util import logging
from sphinx.util.math import get_node_equation_number
from words import _

logger = logging.getLogger(__name__)
NOTHING = {"comment", "target", "toctree", "label"}
AT_THE_START = re.compile(r"^(\d+)([.)])(?=\s)|^([-+#>])(?=\s|$)", re.MULTILINE)


def fenced(code, language):
    return f"```{language}\n{code}\n```"


def one_line_math(text):
    """Displayed math on one line: in quotes and lists the marks that start further lines would be read as math."""
    return re.sub(r"\$\$\n(.*?)\n\$\$", lambda m: f"$${' '.join(m[1].split())}$$", text, flags=re.DOTALL)


def quoted(text):
    return "\n".join(f"> {line}".rstrip() for line in one_line_math(text).split("\n"))


def folded(summary, text):
    return f"<details>\n<summary><b>{summary}</b></summary>\n\n{text}\n\n</details>"


class Markdown:
    """The words of one page; `macros` are the book's TeX macros, `absolute` makes an address of a link to a page.

    `absolute` returns "" where the book has no address yet; the link is then left out and its words stay.
    """

    def __init__(self, builder, macros, absolute):
        self.builder, self.absolute, self.in_table = builder, absolute, False
        if unfit := [name for name, value in macros.items() if not isinstance(value, str)]:
            raise ValueError(f"notebooks can only spell out TeX macros without arguments, not {', '.join(unfit)}")
        self.macros = macros

    def number(self, kind, node):
        """Such as (2, 1) for the first figure of chapter 2; empty where the book does not count."""
        numbers = self.builder.fignumbers.get(kind, {})
        return next((numbers[name] for name in node["ids"] if name in numbers), ())

    def numbered(self, kind, node):
        """Such as "Fig. 2.1"."""
        label = self.builder.config.numfig_format[kind]
        return label.replace("%s", ".".join(map(str, self.number(kind, node))))

    def tex(self, source):
        for name, value in self.macros.items():
            source = re.sub(rf"\\{name}(?![A-Za-z])", lambda m, value=value: value, source)
        source = source.replace("<", r"\lt ")  # else read as the start of an HTML tag
        if self.in_table:
            source = source.replace(r"\|", r"\Vert ").replace("|", r"\vert ")
        return source.strip()

    # Inside a line.

    def inline(self, node):
        return "".join(self.word(child) for child in node.children)

    def word(self, node):
        kind = type(node).__name__
        say = getattr(self, f"word_{kind}", None)
        return say(node) if say else "" if kind in NOTHING else self.unknown(node)

    def word_Text(self, node):
        text = re.sub(r"\s+", " ", node.astext())
        text = re.sub(r"([\\*`$])", r"\\\1", text).replace("<", "&lt;")
        text = re.sub(r"(?<!\w)_|_(?!\w)", r"\\_", text)
        return text.replace("|", r"\|") if self.in_table else text

    def word_emphasis(self, node):
        return f"*{self.inline(node)}*"

    def word_strong(self, node):
        return f"**{self.inline(node)}**"

    def word_literal(self, node):
        code = node.astext()
        code = f"`` {code} ``" if "`" in code else f"`{code}`"
        return code.replace("|", r"\|") if self.in_table else code

    def word_math(self, node):
        return f"${' '.join(self.tex(node.astext()).split())}$"

    def word_inline(self, node):
        return self.inline(node)

    def word_reference(self, node):
        words, address = self.inline(node), node.get("refuri", "")
        if node.get("internal") or not re.match(r"https?:|mailto:", address):
            address = self.absolute(address)
        if address:
            return f"[{words}]({address})"
        is_title = any("doc" in inner.get("classes", ()) for inner in node.children if isinstance(inner, nodes.inline))
        return f"*{words}*" if is_title else words

    word_number_reference = word_reference

    # Paragraphs and what is as tall.

    def blocks(self, children):
        said = (self.block(child) for child in children)
        return "\n\n".join(text for text in said if text)

    def block(self, node):
        kind = type(node).__name__
        say = getattr(self, f"block_{kind}", None)
        return say(node) if say else "" if kind in NOTHING else self.unknown(node)

    def block_paragraph(self, node):
        if {"chapter-facts", "vae-buttons"} & {*node["classes"]}:
            return ""
        return AT_THE_START.sub(lambda m: f"{m[1]}\\{m[2]}" if m[1] else f"\\{m[3]}", self.inline(node))

    def block_section(self, node):  # those of exercises and solutions, which have no title
        return self.blocks(node.children)

    def block_compound(self, node):
        return self.blocks(node.children)

    def block_math_block(self, node):
        source = "\n".join(line for line in self.tex(node.astext()).split("\n") if line.strip())
        if r"\\" in source and r"\begin{" not in source:
            source = f"\\begin{{aligned}}\n{source}\n\\end{{aligned}}"
        number = get_node_equation_number(self, node) if node.get("number") else ""
        return f"$$\n{source}\n" + (f"\\tag{{{number}}}\n$$" if number else "$$")

    def block_literal_block(self, node):
        return fenced(node.astext(), node.get("language", ""))

    def block_block_quote(self, node):
        return quoted(self.blocks(node.children))

    def block_bullet_list(self, node):
        return self.items(node, lambda i: "- ")

    def block_enumerated_list(self, node):
        return self.items(node, lambda i: f"{node.get('start', 1) + i}. ")

    def items(self, node, mark):
        said = []
        for i, item in enumerate(node.children):
            text = textwrap.indent(one_line_math(self.blocks(item.children)), " " * len(mark(i)))
            said.append(mark(i) + text.lstrip(" "))
        return "\n".join(said)

    def block_predict(self, node):
        """A question, and its answer folded."""
        question, *options, reason = (self.inline(part) for part in node.children)
        letters = [part["letter"] for part in node.children[1:-1]]
        listed = "\n".join(f"- {letter}: {text}" for letter, text in zip(letters, options, strict=True))
        answer = f"{node['answer']} {node['unit']}".strip()
        said = [f"**{_('Predict first')}.** {question}", listed, folded(_("Answer"), f"**{answer}.** {reason}")]
        return "\n\n".join(filter(None, said))

    def block_table(self, node):
        self.in_table = True
        rows = [[self.inline_blocks(entry) for entry in row.children] for row in node.findall(nodes.row)]
        self.in_table = False
        lines = [f"| {' | '.join(row)} |" for row in rows]
        title = [self.inline(child) + "\n\n" for child in node.children if isinstance(child, nodes.title)]
        return "".join(title) + "\n".join([lines[0], "|" + "---|" * len(rows[0]), *lines[1:]])

    def inline_blocks(self, entry):
        return "<br>".join(self.inline(paragraph) for paragraph in entry.children)

    def block_transition(self, node):
        return "---"

    def unknown(self, node):
        """A warning, which fails the build: better than a notebook that lacks a paragraph."""
        logger.warning(f"notebooks: no markdown is known for <{type(node).__name__}>", location=node)
        return node.astext()
