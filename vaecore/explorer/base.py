"""What all explorers share: one script that runs as a widget of a live kernel and alone in a page of HTML."""

import abc
import copy
import json
import os
import re
import sys
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any, TypeVar

import anywidget
import numpy as np
import torch
import traitlets
from jaxtyping import Float64
from torch import Tensor, nn

from ..checkpoints import unwrap
from ..figures import Picture
from .blobs import blob_id

FOLDER = Path(__file__).parent
IMPORT = re.compile(r'^import \{[^}]*\} from "\./(\w+)\.js";\n', re.MULTILINE)


def _joined(folder: Path) -> str:
    """Join the ES modules of a folder into one script, each after the modules that it imports."""
    modules = {file.stem: file.read_text(encoding="utf-8") for file in sorted(folder.glob("*.js"))}
    order = TopologicalSorter({name: IMPORT.findall(text) for name, text in modules.items()}).static_order()
    return "\n".join(re.sub(r"^export ", "", IMPORT.sub("", modules[name]), flags=re.MULTILINE) for name in order)


JAVASCRIPT = _joined(FOLDER / "js")
STYLE = (FOLDER / "explorer.css").read_text(encoding="utf-8")
Model = TypeVar("Model", bound=nn.Module)
LIMIT = 3.0  # how far the sliders of latents go, in standard deviations of the prior
NO_SCRIPT = "This picture would move, but its script did not arrive or may not run; load the page again."
PAGE_SCRIPT = f'"use strict";(() => {{\n{JAVASCRIPT}\nbringAll();\n}})();'  # no module: those do not run from file://


class ExplorerType(abc.ABCMeta, type(anywidget.AnyWidget)):
    """The type of the classes of explorers: one without its own `static` cannot be instantiated."""


class Explorer(anywidget.AnyWidget, metaclass=ExplorerType):
    """An ipywidget whose picture is computed in the browser; its values are traits that Python reads, sets and links.

    Where no kernel will answer (in the built book, and in Colab's frames) it shows itself as HTML that needs none;
    `live=True` asks for the widget all the same, `live=False` for the HTML. In Colab `live=True` needs its manager of
    custom widgets, which Colab loads from the network. anywidget turns it on; if the widget still does not show, call
    `google.colab.output.enable_custom_widget_manager()`. An explorer keeps the weights that the model had when it was
    made: after more training, make a new one. A subclass names its entry of js/kinds.js in `kind`, and tags the traits
    that make up its state with value=True.
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
        note = " ".join(filter(None, (_rounding(blobs), settings.get("note"))))
        super().__init__(settings=dict(name=name, blobs=ids) | settings | dict(note=note), blobs=contents, **values)

    @abc.abstractmethod
    def static(self) -> Picture:
        """Return the picture that stands in the page where no script runs, and in print."""

    def fragment(self) -> str:
        """Return HTML that needs nothing else: the current values, the nets, the script, and the static picture.

        Raises TraitError if a row of values was changed in place to one that the explorer does not take.
        """
        for name in self.traits(value=True):
            setattr(self, name, getattr(self, name))  # validates it once more
        values = {name: getattr(self, name) for name in self.traits(value=True)}
        state = json.dumps(dict(kind=self.kind, settings=self.settings, **values), allow_nan=False)
        blobs = (
            f'<script type="application/json" class="vae-blob" data-id="{name}">{_in_script(blob)}</script>'
            for name, blob in self.blobs.items()
        )
        return (
            '<div class="vae-explorer">'
            f'<style class="vae-style">{STYLE}</style>'
            f'<script type="application/json" class="vae-state">{_in_script(state)}</script>'
            f"{''.join(blobs)}"
            f'<div class="vae-static">{self.static()}</div>'
            f'<p class="vae-asleep">{NO_SCRIPT}</p>'
            f'<script class="vae-module">{PAGE_SCRIPT}</script></div>'
        )

    def __repr__(self) -> str:
        values = {name: repr(getattr(self, name)) for name in self.traits(value=True)}
        short = (f"{name}={text if len(text) <= 60 else text[:57] + '...'}" for name, text in values.items())
        return f"{type(self).__name__}({', '.join(short)})"

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        live = self.live
        if live is None:
            live = "VAECORE_BUILD" not in os.environ and "google.colab" not in sys.modules
        if live:
            data, metadata = super()._repr_mimebundle_(**kwargs) or ({}, {})
            return data | {"image/svg+xml": str(self.static())}, metadata  # for a saved notebook, read without a kernel
        return {"text/html": self.fragment(), "text/plain": repr(self)}


class Latents(traitlets.TraitType):
    """One finite float for each of the explorer's d_z latents, from a list, an array or a tensor."""

    def validate(self, obj: Any, value: Any) -> list[float]:
        return numbers(value, obj.d_z, self.name or "z")

    def get(self, obj: Any, cls: Any = None) -> list[float] | None:
        """A copy: a number changed in the explorer's own list would change no picture."""
        found = super().get(obj, cls)
        return None if found is None else list(found)


def numbers(value: Any, length: int, name: str) -> list[float]:
    """Return a list of `length` finite floats from a list, an array or a tensor; raise TraitError for anything else."""
    try:
        found = as_float64(value, name)
    except TypeError as error:
        raise traitlets.TraitError(str(error)) from None
    if found.shape != (length,):
        raise traitlets.TraitError(f"{name} must be {length} numbers; got shape {tuple(found.shape)}.")
    if not found.isfinite().all():
        raise traitlets.TraitError(f"{name} must be finite numbers; got {found.tolist()}.")
    return found.tolist()


def as_float64(value: Any, name: str) -> Float64[Tensor, "..."]:
    """Return float64 on the CPU from a list, an array or a tensor; raise TypeError for anything else."""
    try:
        if torch.is_tensor(value):
            return value.detach().cpu().double()  # in this order: not every device has float64
        return torch.from_numpy(np.array(value, np.float64))
    except (TypeError, ValueError, RuntimeError, OverflowError):
        raise TypeError(f"{name} must be numbers; got {type(value).__name__}.") from None


def device_of(model: nn.Module) -> torch.device:
    return next(model.parameters()).device


def frozen(model: nn.Module, *kinds: type[Model], name: str = "model") -> Model:
    """Return a copy without torch.compile's or another wrapper, so that Python keeps the weights that the page has.

    Raises TypeError if it is of none of the kinds, or computes otherwise: the page would not.
    """
    copied = copy.deepcopy(unwrap(model)).eval().requires_grad_(False)
    kind = next((kind for kind in kinds if isinstance(copied, kind)), None)
    named = " or ".join(kind.__name__ for kind in kinds)
    if kind is None:
        raise TypeError(f"{name} must be a {named}; got {type(copied).__name__}.")
    if getattr(copied, "likelihood", "bernoulli") != "bernoulli":
        raise TypeError(f"{name} must have a Bernoulli decoder; this {named} has likelihood={copied.likelihood!r}.")
    for method in ("encode", "decode", "predict", "log_q_y", "classify", "_join", "_pixels"):
        if method in vars(copied) or getattr(type(copied), method, None) is not getattr(kind, method, None):
            raise TypeError(f"{name} must be a {named}; got {type(copied).__name__}, with a {method} of its own.")
    return copied


def _rounding(blobs: dict[str, str]) -> str:
    """Say which nets the page has with ten-bit weights; empty for none."""
    rounded = list(dict.fromkeys(role.split(" (")[0] for role, blob in blobs.items() if '"int10"' in blob))
    if not rounded:
        return ""
    names = " and ".join(filter(None, (", ".join(rounded[:-1]), rounded[-1])))
    return f"Weights of its {names} are rounded to 10 bits for this page."


def _in_script(text: str) -> str:
    """Return JSON that may stand in a script element: nothing in it can end the element."""
    return text.replace("<", "\\u003c")
