"""Lets Sphinx read docstrings that are written for people: plain text, `code`, Eq. labels, arXiv numbers."""

import re

from sphinx.util import inspect

MARKUP = re.compile(r"(?P<code>`[^`]+`)|\bEq\. (?P<label>[a-z][a-z0-9-]*)|\barXiv:(?P<paper>\d{4}\.\d{4,5})")
SPECIAL = re.compile(r"([\\*|_])")  # what Sphinx would take for a mark
PARAMETERS = re.compile(r'<dl>\s*((?:<dd><em class="sig-param">.*?</dd>\s*)+)</dl>', re.DOTALL)
PLACE = re.compile(r"~(?:\w+\.)+")  # where a type comes from; the name is enough
FUNCTION = re.compile(r"<function ([\w.]+)>")  # a default, which Sphinx could not parse


def as_rest(text):
    """A docstring's line for Sphinx: code as code, equations and papers as links, all else as it stands."""
    parts, at = [], 0
    for found in MARKUP.finditer(text):
        parts.append(SPECIAL.sub(r"\\\1", text[at : found.start()]))
        if found["code"]:
            parts.append(f"`{found['code']}`")
        elif found["label"]:
            parts.append(f"Eq. :eq:`{found['label']}`")
        else:
            parts.append(f"`arXiv:{found['paper']} <https://arxiv.org/abs/{found['paper']}>`__")
        at = found.end()
    return "".join(parts) + SPECIAL.sub(r"\\\1", text[at:])


def read_docstring(app, what, name, obj, options, lines):
    lines[:] = [as_rest(line) for line in lines]


def read_signature(app, what, name, obj, options, signature, returns):
    if what == "class" and "*args" in (signature or ""):  # a widget's __new__ takes anything; its __init__ is meant
        own = inspect.signature(obj.__init__, bound_method=True)
        signature = inspect.stringify_signature(own, show_return_annotation=False, unqualified_typehints=True)
    return FUNCTION.sub(r"\1", PLACE.sub("", signature or "")), returns


def plain_parameters(found):
    """Sphinx makes a definition list of a long signature's parameters, in which nothing is defined."""
    return found[1].replace("<dd>", '<span class="sig-line">').replace("</dd>", "</span>")


def finish_page(app, pagename, templatename, context, doctree):
    if context.get("body"):
        context["body"] = PARAMETERS.sub(plain_parameters, context["body"])


def setup(app):
    app.connect("autodoc-process-docstring", read_docstring)
    app.connect("autodoc-process-signature", read_signature)
    app.connect("html-page-context", finish_page)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
