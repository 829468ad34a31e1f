"""What `auto` has learned of a matrix in earlier solves, as plain data, and how it goes on learning."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

from ..errors import InvalidInputError

TUNING = "2"
"""Version of what is derived from a matrix; results of equal versions are comparable bit for bit."""

_MOST_VERSIONS = 8
_MOST_CANDIDATES = 32
_LONGEST_NAME = 40
_DEEPEST = 37.0
_NEARER = 0.9
_CLEARLY = 2.0
"""By what factor a prediction must have been too low before it is replaced."""


@dataclass(frozen=True, slots=True)
class Lesson:
    """What is known of one candidate.

    Parameters
    ----------
    price : float
        Cost (see `cost`) for each factor e by which the residual falls; of what does all its work at once,
        the whole cost. Infinite where no end was in sight.
    won : bool
        Whether it has met a target: else the price is only what it was expected to be when it was left.
    out_of_reach : float
        A fall of the residual, as the logarithm of a ratio, at which the candidate has failed.
    """

    price: float
    won: bool = False
    out_of_reach: float = math.inf


@dataclass(frozen=True, slots=True)
class Trial:
    """What one candidate did in a solve.

    Parameters
    ----------
    candidate : str
    lesson : Lesson
        What is to be learned, by this solve alone.
    fact : bool
        Whether the price holds for every right-hand side, as that of a factorisation does.
    """

    candidate: str
    lesson: Lesson
    fact: bool = False


@dataclass(frozen=True, slots=True)
class Tuning:
    """All that was learned of a matrix; `Tuning()` is nothing.

    Parameters
    ----------
    version : int
        How often something new was learned.
    lessons : mapping of str to Lesson
        By candidate.
    warm_start : int
        Version of the `Solutions` from which the start of a solve was made, 0 if it was not.
    """

    version: int = 0
    lessons: Mapping[str, Lesson] = field(default_factory=lambda: MappingProxyType({}))
    warm_start: int = 0

    @property
    def label(self) -> str:
        """What results tell as their ``parameters.tuning``."""
        label = f"{TUNING}.{self.version}" if self.version else TUNING
        return f"{label}+{self.warm_start}" if self.warm_start else label

    def to_document(self) -> dict[str, Any]:
        """Put it into what JSON can hold."""
        lessons = {
            name: {
                "price": _finite(lesson.price),
                "won": lesson.won,
                "out_of_reach": _finite(lesson.out_of_reach),
            }
            for name, lesson in self.lessons.items()
        }
        return {
            "tuning": TUNING,
            "version": self.version,
            "lessons": lessons,
            "warm_start": self.warm_start,
        }

    @classmethod
    def from_document(cls, document: object) -> Tuning:
        """Read what `to_document` wrote.

        Raises
        ------
        InvalidInputError
            It is something else, or was written when other things were derived from matrices.
        """
        match document:
            case {
                "tuning": str(tuning),
                "version": int(version),
                "lessons": dict(lessons),
                "warm_start": int(warm_start),
                **rest,
            } if (
                tuning == TUNING
                and not rest
                and not isinstance(version, bool)
                and 0 <= version <= _MOST_VERSIONS
                and not isinstance(warm_start, bool)
                and warm_start >= 0
                and len(lessons) <= _MOST_CANDIDATES
                and (version > 0 or not lessons)
            ):
                return cls(
                    version, MappingProxyType(dict(_read(*item) for item in lessons.items())), warm_start
                )
        raise InvalidInputError("this is no document of what was learned of a matrix")


NOTHING = Tuning()
"""What is known of a matrix before it was solved with."""


def fall(begin: float, target: float) -> float:
    """Say by how many factors of e a residual has to fall: no further than rounding lets it."""
    if not 0.0 <= target < begin:
        return 0.0
    return math.log(begin / target) if target > begin * math.exp(-_DEEPEST) else _DEEPEST


def learn(tuning: Tuning, solves: Iterable[Iterable[Trial]]) -> Tuning:
    """Learn from the trials of finished solves: a new version where there is something new, else the same.

    It is a matter of how solves went on, and not of how they were started: `warm_start` stays out of it.

    New is what was not known, and what has turned out to be clearly wrong. There are few versions, so that
    what is known of a matrix comes to rest.
    """
    tuning = replace(tuning, warm_start=0)
    if tuning.version >= _MOST_VERSIONS:
        return tuning
    lessons = dict(tuning.lessons)
    for trials in solves:
        for trial in trials:
            lessons[trial.candidate] = _merged(lessons.get(trial.candidate), trial)
    if lessons == dict(tuning.lessons):
        return tuning
    return Tuning(tuning.version + 1, MappingProxyType(lessons))


def _merged(known: Lesson | None, trial: Trial) -> Lesson:
    new = trial.lesson
    if known is None:
        return new
    reach = known.out_of_reach
    if new.out_of_reach < math.inf:
        # It failed: what it does with easier targets is not touched by that.
        return replace(known, out_of_reach=new.out_of_reach) if new.out_of_reach < _NEARER * reach else known
    if trial.fact:
        return replace(known, won=known.won or new.won)
    wrong = new.price > _CLEARLY * known.price
    if (new.won and not known.won) or (wrong and (known.won or new.won)):
        return replace(new, out_of_reach=reach)
    return known


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _read(name: object, document: object) -> tuple[str, Lesson]:
    match document:
        case {"price": price, "won": bool(won), "out_of_reach": reach, **rest} if (
            isinstance(name, str) and 0 < len(name) <= _LONGEST_NAME and not rest
        ):
            return name, Lesson(_positive(price), won, _positive(reach))
    raise InvalidInputError("this is no document of what was learned of a candidate")


def _positive(value: object) -> float:
    if value is None:
        return math.inf
    if isinstance(value, int | float) and not isinstance(value, bool) and 0.0 < value < 1e300:
        return float(value)
    raise InvalidInputError("what was learned must be positive numbers, or null for infinity")
