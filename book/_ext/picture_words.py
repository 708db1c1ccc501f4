"""The words of pictures and tables that cells print as HTML, in another language."""

import html
import re

from words import numberless, with_numbers

SHOWN = re.compile(
    r'<(?P<tag>script|style)\b.*?</(?P=tag)>|aria-label="(?P<label>[^"]*)"|(?<=>)(?P<text>(?:[^<>]|<wbr/>)+)(?=<)',
    re.DOTALL,
)
WORD = re.compile(r"[A-Za-z]{2}")
CODE = re.compile(r"\S*[_*].*|True|False|−?inf|nan|[A-Z]\w*[a-z][A-Z]\w*")  # as it stands in tables
IN_GRAPH = re.compile(r'(<text (?:fill="\w+" )?xml:space[^>]* font-size=")([\d.]+)("[^>]*>)([^<]*)(?=</text>)')
LETTERS = re.compile(
    r"<text>\s*((?:<tspan [^>]*>[^<]*</tspan>\s*)+)</text>"
)  # words next to formulas: letter by letter
LETTER = re.compile(r'<tspan x="(-?[\d.]+)[^"]*" y="([^"]*)" style="([^"]*)">([^<]*)</tspan>')
OF_FORMULAS = {"log", "exp", "min", "KL", "ELBO"}


def in_pictures(fragment, say):
    """Return the HTML with what `say` makes of each message in it, seen or read out; numbers stand as # in them."""

    def translate(found):
        kind = "label" if found["label"] else "text"
        words = " ".join(html.unescape((found[kind] or "").replace("<wbr/>", "")).split())
        if not WORD.search(words) or CODE.fullmatch(words):
            return found[0]
        message = numberless(words)
        translated = say(message)
        if translated == message:
            return found[0]
        said = html.escape(with_numbers(words, translated))
        return f'aria-label="{said}"' if kind == "label" else said

    fragment = LETTERS.sub(lambda found: among_formulas(found, say), fragment)
    return SHOWN.sub(translate, IN_GRAPH.sub(lambda found: fitted(found, translate), fragment))


def fitted(found, translate):
    """A word in a graph, in letters small enough for its box, which was made for the English word."""
    head, size, tail, words = found.groups()
    said = SHOWN.sub(translate, f">{words}<")[1:-1]
    return f"{head}{float(size) * max(0.7, min(1, 0.95 * width(words) / width(said))):.2f}{tail}{said}"


def width(words):
    """About how wide words are, in letters of Japanese."""
    return sum(1 if letter > "\u3000" else 0.55 for letter in html.unescape(words))


def among_formulas(found, say):
    """A label with formulas in it, which are {1} and so on in the message."""
    runs = []  # style, height, letters
    for _, y, style, letter in sorted(LETTER.findall(found[1]), key=lambda letter: float(letter[0])):
        letter = html.unescape(letter).replace("\xa0", " ")
        if runs and runs[-1][:2] == [style, y]:
            runs[-1][2] += letter
        else:
            runs.append([style, y, letter])
    message, formulas, style = "", [], ""
    for run in runs:
        if "italic" not in run[0] and {*re.findall(r"[A-Za-z]{2,}", run[2])} - OF_FORMULAS:
            message, style = message + run[2], style or run[0]
        elif message.endswith("}"):
            formulas[-1].append(run)
        else:
            formulas.append([run])
            message += f"{{{len(formulas)}}}"
    translated = say(message) if style else message
    if translated == message:
        return found[0]
    y, size = runs[0][1], float(re.search(r"font-size: ([\d.]+)", style)[1])
    said = enumerate(re.split(r"\{(\d)\}", translated))
    parts = [formulas[int(part) - 1] if i % 2 else [[style, y, part]] for i, part in said]
    end = max(float(x) for x, *_ in LETTER.findall(found[1])) + size / 2
    shift = (end - size * sum(width(text) for part in parts for *_, text in part)) / 2  # it was centred
    spans = [f'<tspan y="{y}" style="{style}">{html.escape(text)}</tspan>' for part in parts for style, y, text in part]
    return f'<text dx="{shift:.1f}">{"".join(spans)}</text>'
