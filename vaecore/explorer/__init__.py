"""Explorers: sliders and drawing pads over the book's models, in a live notebook and in a page without a kernel."""

from .digit import DigitExplorer
from .latent import LatentExplorer

__all__ = ["DigitExplorer", "LatentExplorer"]
