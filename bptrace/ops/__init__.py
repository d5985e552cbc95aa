"""Operations: each with its shape rule, its kernel, its formula and its derivative rules.

`all_ops()` imports every module of this package and lists the ops; the universal tests try each on
its own `samples`, so that a new op is tested by being written.
"""

from __future__ import annotations

import importlib
import pkgutil

from bptrace.graph.op import Op


def all_ops() -> list[type[Op]]:
    """Every concrete op class, in order of name."""
    for module in pkgutil.iter_modules(__path__):
        importlib.import_module(f"{__name__}.{module.name}")

    def below(cls: type[Op]) -> set[type[Op]]:
        return {cls}.union(*(below(sub) for sub in cls.__subclasses__()))

    return sorted((op for op in below(Op) if op.name and op.__module__.startswith(__name__)), key=lambda o: o.name)
