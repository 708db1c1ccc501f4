"""`{predict}`: before a result, one question that a reader can answer by thinking.

    :::{predict} Which term falls first?
    :answer: b
    - a: the KL
    - b: minus the log-likelihood
    ---
    The reason, in one or two sentences.
    :::

A number is asked for by `:answer: 2`, `:tolerance: 0.1` and, where it has one, `:unit: nats`, without options; then all
below is the reason. Without scripts the answer is folded; with _assets/predict.js it comes after a guess.
"""

import re
from html import escape

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.util.docutils import SphinxDirective
from words import _

OPTION = re.compile(r"^- ([a-d]): +(.+)$")


class predict(nodes.General, nodes.Element):
    """A question, its options, and the reason; `answer` is a letter, or a number within `tolerance`."""


class predict_question(nodes.Part, nodes.TextElement):
    pass


class predict_option(nodes.Part, nodes.TextElement):
    """One of two to four; `letter` names it."""


class predict_reason(nodes.Part, nodes.TextElement):
    pass


def in_parts(lines):
    """Return the options, as pairs of letter and words, and the reason; ValueError where a line is neither."""
    if "---" not in lines:
        return [], " ".join(lines).strip()
    at = lines.index("---")
    options = []
    for line in filter(str.strip, lines[:at]):
        if found := OPTION.match(line):
            options.append(found.groups())
        elif options and line.startswith("  "):
            options[-1] = (options[-1][0], f"{options[-1][1]} {line.strip()}")
        else:
            raise ValueError(f"an option is a line such as `- a: the KL`, not {line!r}")
    return options, " ".join(lines[at + 1 :]).strip()


def fault(options, reason, answer, tolerance):
    """What is wrong with a question, or None."""
    letters = [letter for letter, _ in options]
    if not reason:
        return "the reason is missing"
    if not options:
        return None if number(answer) and tolerance is not None else "without options, answer and tolerance are numbers"
    if letters != list("abcd")[: len(letters)] or len(letters) < 2:
        return f"its options are two to four, a, b and so on, not {', '.join(letters)}"
    return None if answer in letters else f"its answer is one of {', '.join(letters)}, not {answer!r}"


def number(text):
    return re.fullmatch(r"-?\d+(\.\d+)?", text) is not None


class Predict(SphinxDirective):
    required_arguments, final_argument_whitespace, has_content = 1, True, True
    option_spec = {  # noqa: RUF012
        "answer": directives.unchanged_required,
        "tolerance": float,
        "unit": lambda text: directives.choice(text, ["nats"]),
    }

    def run(self):
        answer, tolerance = self.options.get("answer", ""), self.options.get("tolerance")
        try:
            options, reason = in_parts(list(self.content))
        except ValueError as error:
            raise self.error(f"predict: {error}") from None
        if found := fault(options, reason, answer, tolerance):
            raise self.error(f"predict: {found}")
        node = predict(answer=answer, unit=str(_("nats")) if "unit" in self.options else "")
        if not options:
            node["tolerance"] = tolerance
        self.set_source_info(node)
        node += self.words(predict_question, self.arguments[0])
        node += [self.words(predict_option, text, letter=letter) for letter, text in options]
        node += self.words(predict_reason, reason)
        return [node]

    def words(self, kind, text, **attributes):
        """A part of the question, its text read as a paragraph of the page would be."""
        inline, messages = self.parse_inline(text)
        part = kind(text, "", *inline, *messages, **attributes)
        self.set_source_info(part)
        return part


def visit_predict(self, node):
    tolerance = f' data-tolerance="{node["tolerance"]}"' if "tolerance" in node else ""
    self.body.append(
        f'<form class="vae-predict" autocomplete="off" data-answer="{node["answer"]}"{tolerance}><fieldset>\n'
    )


def depart_predict(self, node):
    self.body.append("</fieldset></form>\n")


def visit_question(self, node):
    self.body.append('<legend><span class="vae-predict-first">' + _("Predict first") + "</span> ")


def depart_question(self, node):
    self.body.append("</legend>\n")
    if "tolerance" in node.parent:
        unit = escape(node.parent["unit"])
        self.body.append(
            f"<label>{_('Your guess')} "
            f'<input type="number" name="guess" step="any" required="required" /> {unit}</label>\n'
        )


def visit_option(self, node):
    letter = node["letter"]
    self.body.append(
        f'<label><input type="radio" name="guess" value="{letter}" required="required" />'
        f' <span class="vae-predict-letter">{letter}</span> <span>'
    )


def depart_option(self, node):
    self.body.append("</span></label>\n")


def visit_reason(self, node):
    answer = escape(f"{node.parent['answer']} {node.parent['unit']}".strip())
    self.body.append(
        f'<button type="submit">{_("Check")}</button>\n<details><summary>{_("Answer")}</summary>'
        f'<p><b class="vae-predict-answer">{answer}.</b> <span class="vae-predict-reason">'
    )


def depart_reason(self, node):
    self.body.append('</span></p></details>\n<output role="status"><b></b> </output>\n')


def setup(app):
    app.add_node(predict, html=(visit_predict, depart_predict))
    app.add_node(predict_question, html=(visit_question, depart_question))
    app.add_node(predict_option, html=(visit_option, depart_option))
    app.add_node(predict_reason, html=(visit_reason, depart_reason))
    app.add_directive("predict", Predict)
    app.add_js_file("predict.js")
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
