"""Rules for chapters as text: each function takes a source and returns sentences, one for each fault found."""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from statistics import median

import yaml

OPEN = re.compile(r"^ *(?P<fence>`{3,}|~{3,}|:{3,})\{(?P<kind>[\w:-]+)\}[ \t]*(?P<argument>.*)$")
NOT_PROSE = {"code-cell", "math", "bibliography", "chapter-facts", "code-block", "toctree"}
UNCHECKED = re.compile(r"% unchecked: (definition|step from (?P<start>[a-z0-9-]+) to (?P<end>[a-z0-9-]+))$")
UNITS = (
    r"(?:nats?|bits?|ms|s|sec|seconds?|min|minutes?|hours?|%|percent|img/s|(?:images|digits) (?:a|per) second|GB|MB)"
)
WORDS = "two|three|four|five|six|seven|eight|nine|ten|twelve|fifteen|twenty|thirty|forty|fifty|sixty|ninety"
MEASURED = re.compile(rf"(?<![\w.])(?:\d+(?:[.,]\d+)*|{WORDS})[\s-]?{UNITS}(?![\w/])|(?<![\w.§-])-?\d+\.\d+(?!\w|\.\d)")
NUMBERED_THINGS = re.compile(
    r"(?:Python|torch|PyTorch|versions?|[Ss]ections?|§|[Ff]igures?|[Tt]ables?|[Cc]hapters?|arXiv:) ?$"
)


@dataclass
class Block:
    """A stretch of prose (kind "prose") or a directive: its options, its body, and the line above it."""

    kind: str
    line: int
    body: str = ""
    argument: str = ""
    options: dict = field(default_factory=dict)
    above: str = ""


def blocks(text: str, line: int = 1) -> Iterator[Block]:
    """Yield the chapter's prose and directives, in order; prose inside an admonition and the like counts too."""
    lines, prose, start = text.split("\n"), [], 0
    if line == 1 and lines[0] == "---":
        start = lines.index("---", 1) + 1
    at = start
    while at < len(lines):
        found = OPEN.match(lines[at])
        plain = re.match(r"^ *(`{3,})[\w ]*$", lines[at])
        if not found and not plain:
            prose.append(lines[at])
            at += 1
            continue
        if prose:
            yield Block("prose", line + start, "\n".join(prose))
        fence = found["fence"] if found else plain[1]
        close = re.compile(rf"^ *{re.escape(fence[0])}{{{len(fence)},}} *$")
        end = next((i for i in range(at + 1, len(lines)) if close.match(lines[i])), len(lines))
        kind, argument = (found["kind"], found["argument"].strip()) if found else ("code-block", "")
        options, body = _options(lines[at + 1 : end])
        block = Block(kind, line + at, "\n".join(body), argument, options, lines[at - 1] if at else "")
        yield block
        if kind not in NOT_PROSE and body:
            yield from blocks(block.body, line + end - len(body))
        at = start = end + 1
        prose = []
    if prose:
        yield Block("prose", line + start, "\n".join(prose))


def _options(body: list[str]) -> tuple[dict, list[str]]:
    if body and body[0] == "---" and "---" in body[1:]:
        end = body.index("---", 1)
        head = "\n".join(body[1:end])
        return {**(yaml.safe_load(head) or {}), "_source": head}, body[end + 1 :]
    n = next((i for i, line in enumerate(body) if not re.match(r"^ *:[\w-]+:", line)), len(body))
    return dict(re.match(r"^ *:([\w-]+): *(.*)$", line).groups() for line in body[:n]), body[n:]


def cells(text: str) -> list[Block]:
    return [block for block in blocks(text) if block.kind == "code-cell"]


def long_cells(text: str, most: int = 25, middle: int = 12) -> list[str]:
    lengths = {cell.line: len(cell.body.strip("\n").split("\n")) for cell in cells(text)}
    faults = [f"line {line}: a cell of {n} lines, {most} at most" for line, n in lengths.items() if n > most]
    if lengths and median(lengths.values()) > middle:
        faults.append(f"half of the cells have more than {middle} lines")
    return faults


def long_lines(text: str, most: int = 76) -> list[str]:
    """Lines of code that need sideways scrolling on a laptop."""
    return [
        f"line {cell.line}: a line of code with {len(line)} characters, {most} at most: {line.strip()[:40]}"
        for cell in cells(text)
        for line in cell.body.split("\n")
        if len(line) > most
    ]


def measured_numbers(text: str) -> list[str]:
    """Numbers that look measured, in prose and captions; a `% typed: reason` line above a paragraph (`# typed:
    reason` in a cell's head) says why one may stand, and so does a citation in its sentence."""
    faults = []
    for block in blocks(text):
        if block.kind == "code-cell" and "# typed: " not in block.options.get("_source", ""):
            caption = (block.options.get("mystnb") or {}).get("figure", {}).get("caption", "")
            faults += _measured(str(caption), block.line)
        elif block.kind == "prose":
            for paragraph in re.split(r"\n\s*\n|\n(?=(?:%.*\n)?\s*(?:[-*]|\d+\.) )", block.body):
                if not re.search(r"^% typed: \w+", paragraph, re.MULTILINE):
                    faults += _measured(paragraph, block.line + block.body[: block.body.index(paragraph)].count("\n"))
    return faults


def _measured(paragraph: str, line: int) -> list[str]:
    prose = re.sub(r"(?m)^%.*$|^\(.*\)=$|<!--[\s\S]*?-->", "", paragraph)
    prose = re.sub(r"\$(-?[\d.,]+)(?:\s*\\?%)?\$", r"\1", prose)  # a lone number in dollars is still a typed number
    prose = re.sub(r"\{(cite)?[\w:-]*\}`[^`]*`", r"{\1}", prose)  # roles; of them only citations matter here
    prose = re.sub(r"`[^`]*`|\$[^$]+\$|\]\([^)]*\)|https?://\S+", " ", prose)
    faults = []
    for sentence in re.split(r"(?<=[.!?:;])\s+(?=[A-Z*`\[({$_])|(?<=\.\*\*)\s+|\|", " ".join(prose.split())):
        if "{cite" not in sentence:
            faults += [
                f"line {line}: `{found.group()}` looks measured: {sentence.strip()[:90]}"
                for found in MEASURED.finditer(sentence)
                if not NUMBERED_THINGS.search(sentence[: found.start()])
            ]
    return faults


def equations(text: str) -> dict[str, Block]:
    """Label to block of every displayed equation; those without a label under "line N"."""
    found = [block for block in blocks(text) if block.kind == "math"]
    return {block.options.get("label") or f"line {block.line}": block for block in found}


def equation_faults(text: str, tests: set[str]) -> list[str]:
    """`tests`: the names of all test functions."""
    faults = ["$$: displayed math stands in a {math} directive with a label"] if "$$" in _without_code(text) else []
    for label, block in equations(text).items():
        reason = UNCHECKED.match(block.above)
        if label.startswith("line ") or not re.fullmatch(r"[a-z][a-z0-9-]*", label):
            faults.append(f"line {block.line}: an equation needs a label in small letters and hyphens, not {label!r}")
        elif block.above.startswith("% unchecked") and not reason:
            faults.append(f"line {block.line}: this is no allowed reason: {block.above}")
        elif reason and reason["start"]:
            ends = (reason["start"], reason["end"])
            faults += [f"line {block.line}: {end} has no test" for end in ends if name_of_test(end) not in tests]
        elif not reason and name_of_test(label) not in tests:
            faults.append(f"line {block.line}: {label} has neither {name_of_test(label)} nor an `% unchecked:` reason")
    return faults


def equations_named(source: str) -> list[str]:
    """The labels that a module's docstrings name as `Eq. label`."""
    nodes = [n for n in ast.walk(ast.parse(source)) if isinstance(n, ast.Module | ast.FunctionDef | ast.ClassDef)]
    return [label for n in nodes for label in re.findall(r"\bEqs?\.\s+([a-z][a-z0-9-]*)", ast.get_docstring(n) or "")]


def name_of_test(label: str) -> str:
    return "test_" + label.replace("-", "_")


def _without_code(text: str) -> str:
    return "\n".join(b.body for b in blocks(text) if b.kind not in {"code-cell", "code-block", "math"})


def mistakes(text: str) -> tuple[set[int], list[str]]:
    """The numbers of the slips that the page's boxes of mistakes name, and what is wrong with these boxes."""
    boxes = [block for block in blocks(text) if "mistake" in block.options.get("class", "")]
    faults = [f"line {box.line}: its title is A common mistake" for box in boxes if box.argument != "A common mistake"]
    for box in boxes:
        folded = [inner for inner in blocks(box.body) if "dropdown" in inner.options.get("class", "")]
        if linked_slips(box.body) != set().union(*(linked_slips(inner.body) for inner in folded)):
            faults.append(f"line {box.line}: a slip of the source belongs behind a fold")
    if len(boxes) > 2:
        faults.append(f"{len(boxes)} boxes of mistakes, two at most")
    return set().union(*(linked_slips(box.body) for box in boxes)), faults


def listed_slips(errata: str) -> list[int]:
    return [int(n) for n in re.findall(r"^\(slip-(\d+)\)=$", errata, re.MULTILINE)]


def linked_slips(text: str) -> set[int]:
    return {int(n) for n in re.findall(r"(?:`|#|<)slip-(\d+)", text)}


def exercise_faults(text: str, least: int = 3) -> list[str]:
    labels, folded, faults, inside = set(), set(), [], None
    for block in blocks(text):
        if block.kind in ("exercise", "exercise-start"):
            labels.add(block.options.get("label", f"without a label, line {block.line}"))
        elif block.kind == "solution-start":
            inside, ran = block.argument, False
            if "dropdown" not in block.options.get("class", ""):
                faults.append(f"line {block.line}: the solution is not folded (`:class: dropdown`)")
        elif block.kind == "code-cell" and inside:
            ran = True
        elif block.kind == "solution-end":
            folded |= {inside} if ran else set()
            inside = None
    if len(labels) < least:
        faults.append(f"{len(labels)} exercises, {least} at least")
    return faults + [f"exercise {label} has no solution with a code cell" for label in sorted(labels - folded)]


def predict_faults(text: str, after: str = "## What to keep") -> list[str]:
    """What is wrong with a chapter's questions: how many, their answers and length, and whether a cell answers them."""
    found, end = list(blocks(text)), text.count("\n", 0, text.find(f"\n{after}\n")) + 1
    at = [i for i, block in enumerate(found) if block.kind == "predict"]
    faults = [] if len(at) in (2, 3) else [f"{len(at)} questions, two or three"]
    for i in at:
        block, where = found[i], f"line {found[i].line}: "
        answer, (options, dash, reason) = block.options.get("answer", ""), block.body.partition("\n---\n")
        letters = re.findall(r"^- (\w+): ", options, re.MULTILINE) if dash else []
        if dash and answer not in letters:
            faults.append(f"{where}the answer {answer!r} is none of {letters}")
        elif not dash and not block.above.startswith("% typed: "):
            faults += _measured(f"{answer} {block.options.get('unit', '')}", block.line)
        if len(block.argument.split()) > 20 or len((reason or options).split()) > 30:
            faults.append(f"{where}20 words for the question and 30 for the reason, at most")
        following = next((later for later in found[i + 1 :] if later.kind != "prose"), None)
        if following is None or following.kind != "code-cell" or block.line > end:
            faults.append(f"{where}no cell follows that answers it")
    return faults


def furniture_faults(text: str) -> list[str]:
    faults = [] if any(b.kind == "chapter-facts" for b in blocks(text)) else ["no {chapter-facts} line"]
    return faults if re.search(r"^\*+Next\b", text, re.MULTILINE) else [*faults, "no Next line"]
