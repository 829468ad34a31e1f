"""The options of a solve: the one source for the Python API, the HTTP schema, the CLI and the docs."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal

import numpy as np

from ..errors import FieldError, InvalidInputError

Momentum = Literal["auto", "none", "heavy_ball", "nesterov"]

MAX_SEED = 2**63 - 1


@dataclass(frozen=True, slots=True)
class OptionSpec:
    """What one option may be: its type in JSON terms, bounds, choices, and a line of help."""

    name: str
    kind: Literal["number", "integer", "string", "boolean"]
    default: float | int | str | bool | None
    help: str
    nullable: bool = False
    minimum: float | None = None
    exclusive_minimum: bool = False
    maximum: float | None = None
    exclusive_maximum: bool = False
    choices: tuple[str, ...] = ()

    def check(self, value: object) -> str | None:
        """Say in one phrase what is wrong with `value`, or None."""
        if value is None:
            return None if self.nullable else f"must be {self._expectation()}, not null"
        if isinstance(value, str) and value in self.choices:
            return None
        if self.kind == "boolean":
            return None if isinstance(value, bool) else f"must be {self._expectation()}"
        if self.kind == "string" and not self.choices:
            return None if isinstance(value, str) else "must be a string"
        if self.kind == "string" or isinstance(value, bool):
            return f"must be {self._expectation()}"
        if isinstance(value, int) or (self.kind == "number" and isinstance(value, float)):
            return None if self._within(value) else f"must be {self._expectation()}"
        return f"must be {self._expectation()}"

    def _within(self, value: float) -> bool:
        if not abs(value) <= sys.float_info.max:  # also NaN, and integers beyond float64
            return False
        low, high = self.minimum, self.maximum
        if low is not None and (value < low or (self.exclusive_minimum and value <= low)):
            return False
        return high is None or not (value > high or (self.exclusive_maximum and value == high))

    def _expectation(self) -> str:
        names = [repr(choice) for choice in self.choices]
        if self.kind == "boolean":
            names.append("true or false")
        elif self.kind in ("number", "integer"):
            text = "a finite number" if self.kind == "number" else "a whole number"
            if self.minimum is not None:
                text += f" {'above' if self.exclusive_minimum else 'of at least'} {self.minimum:g}"
            if self.maximum is not None and self.maximum < MAX_SEED:
                and_ = " and" if self.minimum is not None else ""
                text += f"{and_} {'below' if self.exclusive_maximum else 'at most'} {self.maximum:g}"
            names.append(text)
        return " or ".join(names)


def _option(default: Any, kind: Any, help_: str, **bounds: Any) -> Any:
    return field(default=default, metadata={"default": default, "kind": kind, "help": help_, **bounds})


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How to solve. Invalid values raise `InvalidInputError` naming each wrong option."""

    method: str = _option("auto", "string", "which method to run; auto chooses and says why")
    rtol: float = _option(
        1e-6,
        "number",
        "stop when ‖b − Ax‖ ≤ max(rtol·‖b‖, atol)",
        minimum=0.0,
        maximum=1.0,
        exclusive_maximum=True,
    )
    atol: float = _option(0.0, "number", "absolute part of the stopping rule", minimum=0.0)
    max_epochs: float | None = _option(
        None,
        "number",
        "most work to spend, in passes over A; null: a generous limit",
        nullable=True,
        minimum=0.0,
        exclusive_minimum=True,
    )
    time_limit: float | None = _option(
        None, "number", "most seconds of solving", nullable=True, minimum=0.0, exclusive_minimum=True
    )
    batch_size: int | Literal["auto"] = _option(
        "auto",
        "integer",
        "rows (columns) in a mini-batch, at most m (n)",
        minimum=1,
        maximum=2**31 - 1,
        choices=("auto",),
    )
    momentum: Momentum = _option(
        "auto",
        "string",
        "classical momentum of the mini-batch methods",
        choices=("auto", "none", "heavy_ball", "nesterov"),
    )
    beta: float | None = _option(
        None,
        "number",
        "momentum parameter; null: by the rule",
        nullable=True,
        minimum=0.0,
        maximum=1.0,
        exclusive_maximum=True,
    )
    step_size: float | None = _option(
        None, "number", "step η; null: by the rule", nullable=True, minimum=0.0, exclusive_minimum=True
    )
    minimum_norm: bool = _option(False, "boolean", "return the solution of least Euclidean norm")
    seed: int = _option(0, "integer", "seed of the sampling", minimum=0, maximum=MAX_SEED)
    threads: int | None = _option(
        None,
        "integer",
        "most threads inside one solve, on large matrices; null: all cores (over HTTP: 1)",
        nullable=True,
        minimum=1,
        maximum=1024,
    )

    def __post_init__(self) -> None:
        for spec in OPTIONS:
            value = getattr(self, spec.name)
            if isinstance(value, np.generic):
                object.__setattr__(self, spec.name, value.item())
        errors = [
            FieldError(spec.name, problem)
            for spec in OPTIONS
            if (problem := spec.check(getattr(self, spec.name))) is not None
        ]
        if errors:
            first = errors[0]
            raise InvalidInputError(f"option {first.field} {first.message}", errors=errors)
        for spec in OPTIONS:
            value = getattr(self, spec.name)
            if spec.kind == "number" and isinstance(value, int):  # 10 and 10.0 are the same option
                object.__setattr__(self, spec.name, float(value))

    @classmethod
    def from_mapping(cls, values: Mapping[str, object]) -> Options:
        """Build options from parsed input; an unknown name is an error, not ignored."""
        unknown = [name for name in values if name not in _NAMES]
        if unknown:
            raise InvalidInputError(
                f"unknown option {str(unknown[0])[:80]!r}; known are {', '.join(_NAMES)}",
                errors=[FieldError(str(name)[:80], "is not an option") for name in unknown[:20]],
            )
        return cls(**values)  # type: ignore[arg-type]  # __post_init__ checks each value


OPTIONS: tuple[OptionSpec, ...] = tuple(OptionSpec(name=f.name, **f.metadata) for f in fields(Options))
"""Every option with its type, default, bounds and help."""

_NAMES = tuple(spec.name for spec in OPTIONS)
