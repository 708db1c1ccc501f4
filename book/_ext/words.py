"""The fixed words of the book's own extensions: `_` says them in the language of the build (locales/*/vaebook.po)."""

import re

from sphinx.locale import get_translation

_ = get_translation("vaebook")
NUMBER = re.compile(r"(?<![\w.])[−-]?\d+(?:,\d{3})*(?:\.\d+)?")


def numberless(words):
    """Return the words as a message, in which # stands for each number: those of runs change."""
    return NUMBER.sub("#", words)


def with_numbers(words, translation):
    """Return the translation, each # of which becomes the number that stands in its place in the English words."""
    numbers = iter(NUMBER.findall(words))
    return re.sub("#", lambda found: next(numbers, "#"), str(translation))  # lazy outside of a build
