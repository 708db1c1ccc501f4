"""Small changes to a reader's right answer: those of cosmic-ray, and others that people make."""

import ast
import copy
import inspect
import random
import textwrap
from collections.abc import Callable, Iterator

import mutants
import right_answers

from vaecore.exercises import EXERCISES
from vaecore.exercises.base import examine

OTHER_NAMES = {
    "sum": ("mean",),
    "mean": ("sum",),
    "exp": ("log", "sigmoid"),
    "log": ("exp",),
    "logsumexp": ("sum", "mean"),
    "softmax": ("log_softmax", "sigmoid"),
    "var": ("std", "mean"),
    "randn": ("rand",),
    "randn_like": ("rand_like", "zeros_like", "ones_like"),
    "median": ("mean",),
    "amin": ("amax",),
    "amax": ("amin",),
    "xlogy": ("mul",),
    "sigmoid": ("tanh",),
    "zero_grad": ("step",),
    "clamp": ("clamp_min",),
}


def _swap(tree: ast.AST, old: ast.AST, new: ast.AST) -> ast.AST:
    """A copy of the tree with one node, the same object, replaced."""

    class Swapper(ast.NodeTransformer):
        def visit(self, node):
            return copy.deepcopy(new) if node is old else self.generic_visit(copy.copy(node))

        def generic_visit(self, node):
            for field, value in list(ast.iter_fields(node)):
                if isinstance(value, list):
                    setattr(node, field, [self.visit(item) if isinstance(item, ast.AST) else item for item in value])
                elif isinstance(value, ast.AST):
                    setattr(node, field, self.visit(value))
            return node

    return Swapper().visit(tree)


def _others(node: ast.AST, names: list[str]) -> Iterator[ast.AST]:
    """What may stand in a node's place."""
    if isinstance(node, ast.BinOp):
        yield from (node.left, node.right)
        yield ast.BinOp(node.right, node.op, node.left)
    if isinstance(node, ast.UnaryOp):
        yield node.operand
    if isinstance(node, ast.Call):
        if isinstance(node.func, ast.Attribute) and not (
            isinstance(node.func.value, ast.Name) and node.func.value.id in ("torch", "F", "math", "nn", "td")
        ):
            yield node.func.value  # the call left out
            for name in OTHER_NAMES.get(node.func.attr, ()):
                yield ast.Call(ast.Attribute(node.func.value, name, ast.Load()), node.args, node.keywords)
        elif isinstance(node.func, ast.Attribute):
            for name in OTHER_NAMES.get(node.func.attr, ()):
                yield ast.Call(ast.Attribute(node.func.value, name, ast.Load()), node.args, node.keywords)
            if len(node.args) == 1 and not node.keywords:
                yield node.args[0]
        if len(node.args) > 1:
            yield ast.Call(node.func, [node.args[1], node.args[0], *node.args[2:]], node.keywords)
    if isinstance(node, ast.List | ast.Tuple) and len(node.elts) == 2 and isinstance(node.ctx, ast.Load):
        yield type(node)(node.elts[::-1], node.ctx)
    if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) and node.id in names:
        for name in names:
            if name != node.id:
                yield ast.Name(name, ast.Load())


def _own(source: str) -> Iterator[Callable[[], str]]:
    """Makers of sources with a changed expression, a statement left out, or a cut graph."""
    tree = ast.parse(source)
    names = [argument.arg for node in ast.walk(tree) if isinstance(node, ast.arguments) for argument in node.args]
    names += [node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)]
    names = [name for name in dict.fromkeys(names) if name != "self"]

    def with_other(node: ast.AST, other: ast.AST) -> Callable[[], str]:
        return lambda: ast.unparse(ast.fix_missing_locations(_swap(tree, node, other)))

    for node in ast.walk(tree.body[0]):
        for other in _others(node, names):
            yield with_other(node, other)
        if isinstance(node, ast.Return) and node.value is not None:
            yield with_other(node, ast.Return(ast.UnaryOp(ast.USub(), node.value)))
            yield with_other(node, ast.Return(ast.Call(ast.Attribute(node.value, "detach", ast.Load()), [], [])))
            yield with_other(node, ast.Return(None))
        if isinstance(node, ast.Expr | ast.Assign | ast.AugAssign):
            yield with_other(node, ast.Pass())


def load(name: str, source: str) -> Callable:
    """The function of this name in a source, next to the right answers."""
    scope = dict(vars(right_answers))
    exec(compile(source, name, "exec"), scope)
    return scope[name]


def of(name: str, n: int = 50, n_broken: int = 10) -> list[Callable]:
    """n different mutants of an exercise's right answers: of the first of its three ways, and of the others if need be.

    Each has its `source`, and the `verdict` on it. At most n_broken raise an error, unless there are too few others:
    most of those are no mistakes that a reader makes.
    """
    exercise, chosen, broken, n_used = EXERCISES[name], {}, {}, 0
    for way in (1, 2, 3):
        full = f"{name}_{way}"
        source = textwrap.dedent(inspect.getsource(getattr(right_answers, full)))
        whole = ast.dump(ast.parse(source))
        makers = [lambda new=new: new for _, _, _, new in mutants.faults(source)] + list(_own(source))
        random.Random(full).shuffle(makers)
        for make in makers:
            if len(chosen) == n:
                break
            try:
                mutant = make()
                dump = ast.dump(ast.parse(mutant))
            except SyntaxError:
                continue
            if dump in (whole, *chosen, *broken):
                continue
            answer = load(full, mutant)
            answer.source, answer.verdict = mutant, examine(exercise, answer)
            (broken if answer.verdict.kind == "error" else chosen)[dump] = answer
            for spare in list(broken)[: n_broken - n_used] if len(chosen) < n else ():
                chosen[spare] = broken.pop(spare)
                n_used += 1
    chosen |= dict(list(broken.items())[: n - len(chosen)])
    return list(chosen.values())
