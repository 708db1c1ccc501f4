"""Explorers: sliders and drawing pads over the book's models, in a live notebook and in a page without a kernel."""

from .analogies import AnalogiesExplorer
from .beta import BetaExplorer
from .classes import ClassesExplorer
from .completion import CompletionExplorer
from .digit import DigitExplorer
from .gap import GapExplorer
from .latent import LatentExplorer
from .training import TrainingExplorer

__all__ = [
    "AnalogiesExplorer",
    "BetaExplorer",
    "ClassesExplorer",
    "CompletionExplorer",
    "DigitExplorer",
    "GapExplorer",
    "LatentExplorer",
    "TrainingExplorer",
]
