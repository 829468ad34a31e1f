"""What is derived from a matrix, part by part: built where first needed, or fetched from where it is kept.

A part that may be kept has a `Form`: how it becomes plain data, and itself again, bit for bit. Vectors come
back as copies, as kernels are compiled for writable ones; the arrays of sparse matrices and factors, which
nobody writes to, come back as they are, mapped and read-only.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
import numpy.typing as npt
from numpy.typing import NDArray
from scipy.sparse import csr_array

from ..problems.matrix import csr_of_arrays
from .snapshot import Snapshot, nbytes

T = TypeVar("T")

_UNFIT = (KeyError, TypeError, ValueError, AttributeError, IndexError)

_LEAST_SECONDS = 5e-4
"""To open a part takes a fifth of this."""

_BYTES_PER_SECOND = 4e9
"""At which mapped pages are taken to be checked and read: a quarter of what was measured in a warm cache."""


@dataclass(frozen=True, eq=False)
class Form(Generic[T]):
    """How a part becomes plain data, of which a `Snapshot` may consist, and itself again.

    To unpack what does not fit (another type, dtype or shape) raises one of `_UNFIT`.
    """

    pack: Callable[[T], Any]
    unpack: Callable[[Any], T]


def _plain(kind: type[T]) -> Form[T]:
    def unpack(data: Any) -> T:
        if type(data) is not kind:
            raise TypeError(f"it is no {kind.__name__}")
        return data

    return Form(lambda part: part, unpack)


FLAG = _plain(bool)
COUNT = _plain(int)
NUMBER = _plain(float)


def fitting(data: object, dtype: npt.DTypeLike, *shape: int | None) -> NDArray[Any]:
    """Return an array as it is, if it has that dtype and shape; None stands for any length."""
    if not isinstance(data, np.ndarray) or data.dtype != dtype or data.ndim != len(shape):
        raise TypeError("it is no such array")
    if any(length not in (None, found) for length, found in zip(shape, data.shape, strict=True)):
        raise ValueError("its shape does not fit")
    return data


def mapped(dtype: npt.DTypeLike, *shape: int | None) -> Form[NDArray[Any]]:
    """The form of an array that may come back read-only."""
    return Form(lambda array: array, lambda data: fitting(data, dtype, *shape))


def vector(dtype: npt.DTypeLike, size: int) -> Form[NDArray[Any]]:
    """The form of a vector that kernels want writable: a copy comes back."""
    return Form(lambda array: array, lambda data: fitting(data, dtype, size).copy())


def flat(kind: Callable[..., T], /, **forms: Form[Any]) -> Form[T]:
    """The form of an object that `kind` makes of attributes that have forms."""
    return Form(
        lambda part: {name: form.pack(getattr(part, name)) for name, form in forms.items()},
        lambda data: kind(**{name: form.unpack(data[name]) for name, form in forms.items()}),
    )


def sized(by: str, form: Callable[[int], Form[T]]) -> Form[T]:
    """The form of objects whose array `by` tells how long others have to be."""
    return Form(
        lambda part: form(getattr(part, by).size).pack(part),
        lambda data: form(data[by].size).unpack(data),
    )


def optional(form: Form[T]) -> Form[T | None]:
    """The form of what has that form, or is None."""
    return Form(
        lambda part: None if part is None else form.pack(part),
        lambda data: None if data is None else form.unpack(data),
    )


def csr_form(shape: tuple[int, int]) -> Form[csr_array]:
    """The form of a canonical matrix of that shape."""

    def unpack(arrays: Snapshot) -> csr_array:
        index = np.int32 if arrays["indptr"].dtype == np.int32 else np.int64
        indptr = fitting(arrays["indptr"], index, shape[0] + 1)
        if indptr[0] != 0:
            raise ValueError("the first row does not begin at 0")
        nnz = int(indptr[-1])
        indices, data = fitting(arrays["indices"], index, nnz), fitting(arrays["data"], np.float64, nnz)
        return csr_of_arrays(shape, indptr, indices, data)

    return Form(lambda A: {"indptr": A.indptr, "indices": A.indices, "data": A.data}, unpack)


def entries_form(pattern: Callable[[], csr_array]) -> Form[csr_array]:
    """The form of a matrix whose pattern is that of another."""

    def unpack(data: Any) -> csr_array:
        A = pattern()
        return csr_array((fitting(data, np.float64, A.nnz), A.indices, A.indptr), shape=A.shape)

    return Form(lambda A: A.data, unpack)


class Source(Protocol):
    """Where parts are kept from one process to the next."""

    def fetch(self, name: str) -> Snapshot | None:
        """Return what was kept under that name, or None."""

    def reject(self, name: str) -> None:
        """Learn that it was damaged."""


@dataclass(frozen=True, eq=False, slots=True)
class Derived:
    """A part that was built here.

    Parameters
    ----------
    name : str
    seconds : float
        What it took, including the parts that it needed and that were not there.
    pack : callable
        Returns it as plain data, at no cost to speak of.
    """

    name: str
    seconds: float
    pack: Callable[[], Snapshot]

    @property
    def nbytes(self) -> int:
        """Bytes of its arrays."""
        return nbytes(self.pack())

    @property
    def worth_keeping(self) -> bool:
        """Whether it comes faster from where it is kept than it was built."""
        return self.seconds >= _LEAST_SECONDS + self.nbytes / _BYTES_PER_SECOND


class Parts:
    """Builds or fetches parts, and remembers what was built and how long it took. Thread-safe.

    Parameters
    ----------
    source : Source, optional

    Attributes
    ----------
    source : Source or None
    derived : dict of str to Derived
        What was built and can be kept.
    fetched : set of str
        What was not built because it was kept.
    """

    def __init__(self, source: Source | None = None) -> None:
        self.source = source
        self.derived: dict[str, Derived] = {}
        self.fetched: set[str] = set()
        self._prefix = ""
        self._clock = threading.local()

    def within(self, name: str) -> Parts:
        """The same books for the parts of a part: their names begin with its own."""
        inner = Parts(self.source)
        inner.derived, inner.fetched, inner._clock = self.derived, self.fetched, self._clock
        inner._prefix = f"{self._prefix}{name}."
        return inner

    @property
    def seconds(self) -> float:
        """Time that this thread has spent here so far."""
        return float(getattr(self._clock, "seconds", 0.0))

    def make(self, name: str, build: Callable[[], T], form: Form[T] | None = None) -> T:
        """Fetch a part if it has a form and is kept, else build it."""
        with self._counted():
            if form is None:
                return build()
            name = self._prefix + name
            found = self._fetch(name, form)
            if found is not None:
                return found[0]
            start = time.perf_counter()
            part = build()
            took = time.perf_counter() - start
            self.derived.setdefault(name, Derived(name, took, partial(_packed, form, part)))
            return part

    def _fetch(self, name: str, form: Form[T]) -> tuple[T] | None:
        snapshot = None if self.source is None else self.source.fetch(name)
        if self.source is None or snapshot is None:
            return None
        try:
            part = form.unpack(snapshot["part"])
        except _UNFIT:
            self.source.reject(name)
            return None
        self.fetched.add(name)
        return (part,)

    @contextmanager
    def _counted(self) -> Iterator[None]:
        """Count the time, that of a part within a part once."""
        if getattr(self._clock, "running", False):
            yield
            return
        self._clock.running = True
        start = time.perf_counter()
        try:
            yield
        finally:
            self._clock.running = False
            self._clock.seconds = self.seconds + time.perf_counter() - start


def _packed(form: Form[T], part: T) -> Snapshot:
    return {"part": form.pack(part)}
