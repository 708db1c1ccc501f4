"""What all explorers share: the same module of JavaScript as a widget of a live kernel, and alone in a page of HTML."""

import json
import math
import os
import sys
from pathlib import Path

import anywidget
import torch
import traitlets

from ..figures import Picture
from .blobs import blob_id

FOLDER = Path(__file__).parent
SHARED = ("network", "host", "controls", "digits", "sheet")
SCRIPTS = (*SHARED, "latent", "digit", "classes", "analogies", "completion", "gap")
JAVASCRIPT = "\n".join((FOLDER / "js" / f"{name}.js").read_text(encoding="utf-8") for name in SCRIPTS)
STYLE = (FOLDER / "explorer.css").read_text(encoding="utf-8")
ALONE = f'"use strict";(() => {{\n{JAVASCRIPT}\nbringAll();\n}})();'  # in a page; runs from file:// too


class Explorer(anywidget.AnyWidget):
    """An ipywidget whose picture is computed in the browser; its values are traits that Python reads, sets and links.

    Where no kernel will answer (in the built book, and in Colab's frames) it shows itself as HTML that needs none;
    `live=True` asks for the widget all the same, `live=False` for the HTML. In Colab `live=True` needs its manager of
    custom widgets, which Colab loads from the network: anywidget turns it on; where the widget does not show, do so by
    `google.colab.output.enable_custom_widget_manager()`. A kind names its function in js/ in `kind`, and tags the
    traits that make up its state with value=True.
    """

    _esm = f"{JAVASCRIPT}\nexport default {{ render }};"
    _css = STYLE
    _ipython_display_ = None  # ipywidgets 7 has one, which IPython would ask before `_repr_mimebundle_`
    kind = traitlets.Unicode().tag(sync=True)
    settings = traitlets.Dict().tag(sync=True)
    blobs = traitlets.Dict().tag(sync=True)

    def __init__(self, name: str, settings: dict, blobs: dict[str, str], live: bool | None = None, **values) -> None:
        ids = {role: blob_id(blob) for role, blob in blobs.items()}
        self.live = live
        contents = {ids[role]: blob for role, blob in blobs.items()}
        super().__init__(settings=dict(name=name, blobs=ids, **settings), blobs=contents, **values)

    def static(self) -> Picture:
        """What stands in the page where no script runs, and in print."""
        raise NotImplementedError

    def fragment(self) -> str:
        """HTML that stands alone: the values of this moment, the nets, the script, and a picture where none runs."""
        values = {name: getattr(self, name) for name in self.traits(value=True)}
        state = dict(kind=self.kind, settings=self.settings, **values)
        blobs = (
            f'<script type="application/json" class="vae-blob" data-id="{name}">{_inside(blob)}</script>'
            for name, blob in self.blobs.items()
        )
        return (
            '<div class="vae-explorer">'
            f'<style class="vae-style">{STYLE}</style>'
            f'<script type="application/json" class="vae-state">{_inside(json.dumps(state))}</script>'
            f"{''.join(blobs)}"
            f'<div class="vae-static">{self.static()}</div>'
            f'<script class="vae-module">{ALONE}</script></div>'
        )

    def __repr__(self) -> str:
        values = {name: repr(getattr(self, name)) for name in self.traits(value=True)}
        short = (f"{name}={text if len(text) <= 60 else text[:57] + '...'}" for name, text in values.items())
        return f"{type(self).__name__}({', '.join(short)})"

    def _repr_mimebundle_(self, **kwargs):
        live = self.live
        if live is None:
            live = "VAECORE_BUILD" not in os.environ and "google.colab" not in sys.modules
        if live:
            data, metadata = super()._repr_mimebundle_(**kwargs)
            return data | {"image/svg+xml": str(self.static())}, metadata  # for who reads it later, with no kernel
        return {"text/html": self.fragment(), "text/plain": repr(self)}


def numbers(value, length: int, name: str) -> list[float]:
    """A list of `length` finite floats from a list, an array or a tensor; TraitError with one sentence otherwise."""
    try:
        found = torch.as_tensor(value, dtype=torch.float64).detach().cpu()
    except (TypeError, ValueError, RuntimeError):
        raise traitlets.TraitError(f"{name} must be {length} numbers; got {value!r}.") from None
    if found.shape != (length,):
        raise traitlets.TraitError(f"{name} must be {length} numbers; got shape {tuple(found.shape)}.")
    if not all(map(math.isfinite, found.tolist())):
        raise traitlets.TraitError(f"{name} must be finite numbers; got {found.tolist()}.")
    return found.tolist()


def _inside(text: str) -> str:
    """JSON as it may stand in a script element: nothing in it can end the element."""
    return text.replace("<", "\\u003c")
