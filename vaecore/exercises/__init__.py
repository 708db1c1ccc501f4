"""The exercises "Build it" of the chapters: `check` tries the reader's function and says what is wrong with it."""

import difflib
from typing import Any

from . import chapters_1_to_4, chapters_5_to_7, chapters_8_to_11
from .base import Exercise, Verdict, a_type, examine
from .whole_vae import BUILD_VAE

EXERCISES: dict[str, Exercise] = {
    exercise.name: exercise
    for exercise in (*chapters_1_to_4.EXERCISES, *chapters_5_to_7.EXERCISES, *chapters_8_to_11.EXERCISES, BUILD_VAE)
}


def check(answer: Any, name: str | None = None) -> Verdict:
    """Try the reader's function; the exercise is the one of its name, or the one named.

    The verdict is true if it is right. If not, it says in one sentence what the mistake is, with a hint.
    """
    if not callable(answer):
        return Verdict("type", f"check is given {a_type(answer)}.", "Give it the function: `check(kl)`.")
    name = name or str(getattr(answer, "__name__", ""))
    if name not in EXERCISES:
        near = difflib.get_close_matches(name, EXERCISES, n=1)
        hint = (
            f'Is it `{near[0]}`? `check(f, "{near[0]}")` tries f'
            if near
            else 'Say which it is: `check(f, "...")` tries f'
        )
        said = f"No exercise is called {name!r}." if name.isidentifier() else "The function has no name of its own."
        return Verdict("unknown", said, f"{hint} under the name of the exercise's starter.")
    return examine(EXERCISES[name], answer)
