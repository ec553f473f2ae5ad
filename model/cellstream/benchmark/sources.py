"""A word for the code that decides the outcome of a fit, so that a fit of other code is made anew."""

from __future__ import annotations

import ast
import hashlib
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).parents[1]
ROUNDS = (
    "training.py",
    "descent.py",
    "state.py",
    "networks.py",
    "lookup.py",
    "dynamics.py",
    "runge_kutta.py",
    "objective.py",
    "transport.py",
    "cores.py",
    "held_out.py",
    "twins.py",
)
"""What dynamics on a given embedding run through, as the baselines learn them."""
TRAINING = (*ROUNDS, "shaping.py", "lineages.py", "partners.py", "affinities.py")
"""What a fit of CellStream runs through. Its settings, and the cells as they were read, stand in its identity by
themselves; the ensemble is a training of its own, after the fit."""
BASELINES = tuple(f"baselines/{path.name}" for path in sorted((PACKAGE / "baselines").glob("*.py")))


@cache
def word(files: tuple[str, ...]) -> str:
    """A short word for what the code in these files does; comments, docstrings and layout do not count."""
    said = hashlib.sha256()
    for name in files:
        said.update(meaning((PACKAGE / name).read_text(encoding="utf-8")).encode())
    return said.hexdigest()[:16]


def meaning(source: str) -> str:
    """The syntax tree of Python code without its docstrings."""
    return ast.dump(_Bare().visit(ast.parse(source)))


class _Bare(ast.NodeTransformer):
    def visit_Expr(self, node: ast.Expr) -> ast.AST | None:
        """Strings that stand by themselves do nothing, be they of a module, a class, a function or an attribute."""
        alone = isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        return None if alone else self.generic_visit(node)
