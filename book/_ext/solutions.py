"""Leaves the solutions out of the pages, for a class: `make book SOLUTIONS=0`.

Their cells run all the same, so that both editions share what has been executed.
"""

import os

from docutils import nodes
from sphinx.transforms import SphinxTransform
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx_exercise.nodes import solution_node


def left_out():
    return os.environ.get("VAEBOOK_SOLUTIONS") == "0"


class RemoveSolutions(SphinxTransform):
    """Takes them out as soon as sphinx_exercise (priority 10) has gathered each of them in one node."""

    default_priority = 11

    def apply(self):
        if not left_out():
            return
        gone = self.env.vaebook_gone.setdefault(self.env.docname, set())
        for solution in list(self.document.findall(solution_node)):
            gone.update(name for node in solution.findall(nodes.Element) for name in node["ids"])
            solution.parent.remove(solution)


class UnlinkSolutions(SphinxPostTransform):
    """Turns links to what has gone, an equation for instance, into plain words."""

    default_priority = 30  # links have been resolved at 10

    def run(self, **kwargs):
        for link in list(self.document.findall(nodes.reference)):
            page, _, name = link.get("refuri", "#" + link.get("refid", "")).partition("#")
            if name in self.env.vaebook_gone.get(page.removesuffix(".html") or self.env.docname, ()):
                link.replace_self(link.children)


def prepare(app):
    app.env.vaebook_gone = {}


def keep_sources_back(app, config):
    if left_out():
        config.html_copy_source = False
        config.html_theme_options["use_download_button"] = False


def setup(app):
    app.add_transform(RemoveSolutions)
    app.add_post_transform(UnlinkSolutions)
    app.connect("builder-inited", prepare)
    app.connect("config-inited", keep_sources_back)
    return {"version": "1", "parallel_read_safe": False, "parallel_write_safe": True}
