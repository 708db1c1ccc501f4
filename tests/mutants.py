"""Faults, put one at a time into the modules that hold the mathematics: which do the tests notice?

    python -m tests.mutants [MODULE ...]

makes small faults everywhere, by cosmic-ray, and prints a line of JSON for each: where it is, what the line became, and
what the tests found. `--given` reads a list of [module, source with a fault] from standard input instead, for the
equation tests alone. Each fault gets a process of its own, forked where PyTorch is already imported.
"""

import ast
import contextlib
import gc
import importlib
import importlib.util
import json
import os
import re
import resource
import signal
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

import pytest
from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.plugins import get_operator, operator_names

ROOT = Path(__file__).parents[1]
MODULES = ("distributions", "vae", "m2", "losses", "evaluate")
EQUATIONS = sorted((ROOT / "tests" / "equations").glob("test_equations_*.py"))
TESTS = [*EQUATIONS, *(ROOT / f"tests/package/test_{name}.py" for name in ("models", "m2", "objectives"))]
FOUND = {0: "nothing", 1: "wrong", 3: "error", -signal.SIGXCPU: "endless"}  # by exit status; 1: an assertion failed
KINDS = re.compile(
    "NumberReplacer|RemoveDecorator|AddNot|Replace(AndWithOr|OrWithAnd|TrueWithFalse|FalseWithTrue)|ZeroIterationForLoop"
    "|ReplaceBinaryOperator_(Add_Sub|Sub_Add|Mul_Div|Div_Mul|FloorDiv_Mul|Pow_Mul)|ReplaceUnaryOperator_Delete_(USub|Not)"
    "|ReplaceComparisonOperator_(Eq_NotEq|NotEq_Eq|Lt_LtE|LtE_Lt|Gt_GtE|GtE_Gt|Is_IsNot|IsNot_Is|Lt_Gt|Gt_Lt)"
)


class Order:
    """Lets the quickest tests go first, measures how long each one takes, and stops at the first that fails."""

    def __init__(self, seconds: dict[str, float]) -> None:
        self.known, self.seconds = seconds, {}

    def pytest_collection_modifyitems(self, items: list) -> None:
        items.sort(key=lambda item: self.known.get(item.nodeid, 0))

    def pytest_runtest_logreport(self, report) -> None:
        if report.failed:
            os._exit(1 if "AssertionError" in str(report.longrepr) else 3)  # that is all there is to know
        self.seconds[report.nodeid] = self.seconds.get(report.nodeid, 0) + report.duration


def faults(source: str):
    """(number of the line, the line, what becomes of it, the whole source with the fault) of every fault."""
    tree = get_ast(source)
    lines = source.splitlines()
    for name in filter(lambda name: KINDS.fullmatch(name.split("/")[1]), operator_names()):
        operator = get_operator(name)
        places = (place for node in ast_nodes(tree) for place in operator().mutation_positions(node))
        for occurrence, ((number, _), _) in enumerate(places):
            mutated = mutate_code(source, operator(), occurrence)
            with contextlib.suppress(SyntaxError):
                if ast.dump(ast.parse(mutated)) == ast.dump(ast.parse(source)):
                    continue
            after = mutated.splitlines()
            new = after[number - 1] if len(after) == len(lines) else ""
            yield number, lines[number - 1].strip(), new.strip(), mutated


def run_tests(module: str, source: str, tests: list[Path], seconds: dict[str, float]) -> tuple[int, Order]:
    """The tests' exit status with this source for the module."""
    import vaecore

    name = f"vaecore.{module}"
    spec = importlib.util.find_spec(name)
    sys.modules[name] = loaded = importlib.util.module_from_spec(spec)
    setattr(vaecore, module, loaded)
    exec(compile(source, spec.origin, "exec"), loaded.__dict__)
    order = Order(seconds)
    options = ["-x", "-q", "-m", "not slow", "--assert=plain", "-W", "ignore"]  # plain: nobody reads what failed
    for plugin in ("cacheprovider", "anyio", "unraisableexception", "threadexception", "faulthandler"):
        options += ["-p", f"no:{plugin}"]
    return pytest.main([*options, *map(str, tests)], plugins=[order]), order


def fork(module: str, source: str, tests: list[Path], seconds: dict[str, float], times: Path | None, limit: int) -> int:
    """Starts those tests in a process of their own and returns its number; `times` is to hold what each test took.

    It is stopped after `limit` seconds of the processor, not by the clock: the machine may be busy.
    """
    process = os.fork()
    if process == 0:
        status = 3
        with contextlib.suppress(BaseException):
            resource.setrlimit(resource.RLIMIT_CPU, (limit, limit + 5))
            for stream in (1, 2):
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream)
            status, order = run_tests(module, source, tests, seconds)
            if times:
                times.write_text(json.dumps(order.seconds))
        os._exit(int(status))
    return process


def judge(mutants: Iterable[tuple[dict, str, str]], tests: list[Path]) -> None:
    """Runs the tests on each (description, module, source), as many at a time as there are cores."""
    os.environ["OMP_NUM_THREADS"] = "1"  # a process for each core is enough; threads that wait would use their time up
    for slow in ("hypothesis", "matplotlib.pyplot", "mpmath", "playwright.sync_api", "torch._dynamo"):
        importlib.import_module(slow)  # once, for all that are forked below
    gc.freeze()  # forked processes need not look through all that was imported
    os.chdir(ROOT)
    with tempfile.TemporaryDirectory() as folder:
        times = Path(folder, "times.json")
        whole = (ROOT / "vaecore" / f"{MODULES[0]}.py").read_text(encoding="utf-8")
        if os.waitpid(fork(MODULES[0], whole, tests, {}, times, 3600), 0)[1]:
            sys.exit("mutants: the tests fail without any fault.")
        seconds = json.loads(times.read_text())
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    limit = 60 + round(4 * (used.ru_utime + used.ru_stime))  # a fault may make a loop endless
    running = {}

    def judge_one() -> None:
        process, status = os.wait()
        found = FOUND.get(os.waitstatus_to_exitcode(status), "error")
        print(json.dumps({**running.pop(process), "found": found}), flush=True)

    for description, module, source in mutants:
        if len(running) == os.cpu_count():
            judge_one()
        running[fork(module, source, tests, seconds, None, limit)] = description
    while running:
        judge_one()


def main(modules: list[str]) -> None:
    if modules == ["--given"]:
        given = json.load(sys.stdin)
        judge(((dict(number=i), module, source) for i, (module, source) in enumerate(given)), EQUATIONS)
        return
    sources = {module: (ROOT / "vaecore" / f"{module}.py").read_text(encoding="utf-8") for module in modules or MODULES}
    small = (
        (dict(module=module, line=number, old=old, new=new), module, mutated)
        for module, source in sources.items()
        for number, old, new, mutated in faults(source)
    )
    judge(small, TESTS)


if __name__ == "__main__":
    main(sys.argv[1:])
