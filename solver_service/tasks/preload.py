"""Imported once, where workers are forked from: all numerics in memory, all kernels compiled."""

from ..kernels import warm_up
from . import matrices, solve, state

__all__ = ["matrices", "solve", "state"]

warm_up()
