"""The one exception tree. Every class has one meaning and one stable ``code`` (the contract's list).

::

    SolverServiceError
    ├── InvalidInputError           invalid_request
    │   ├── MalformedJsonError      malformed_json
    │   ├── MalformedMatrixError    malformed_matrix
    │   ├── MalformedMultipartError malformed_multipart
    │   ├── DimensionMismatchError  dimension_mismatch
    │   ├── IndexOutOfRangeError    index_out_of_range
    │   ├── NonFiniteError          non_finite
    │   ├── UnknownMethodError      unknown_method
    │   ├── MethodNotApplicableError method_not_applicable
    │   └── ResourceLimitError      resource_limit
    ├── NotFoundError               not_found
    │   ├── JobNotFoundError        job_not_found
    │   ├── MatrixNotFoundError     matrix_not_found
    │   └── NoSolutionError         no_solution
    ├── ConflictError
    │   ├── IdempotencyConflictError idempotency_conflict
    │   ├── JobActiveError          job_active
    │   ├── MatrixInUseError        matrix_in_use
    │   └── SolutionNotReadyError   solution_not_ready
    └── ServiceError
        ├── PayloadTooLargeError     payload_too_large
        ├── UnsupportedMediaTypeError unsupported_media_type
        ├── NotAcceptableError       not_acceptable
        ├── RequestTimeoutError      request_timeout
        └── UnavailableError         unavailable (all with Retry-After)
            ├── QueueFullError       queue_full
            ├── ShuttingDownError    shutting_down
            ├── WorkerLostError      worker_lost
            │   └── NoWorkerError    worker_lost
            └── OutOfMemoryError     out_of_memory
                └── DiskFullError    out_of_memory

A failure to converge is not in this tree: it is a result.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple


class FieldError(NamedTuple):
    """One thing that is wrong with the input: where, and what."""

    field: str
    message: str


class SolverServiceError(Exception):
    """Base of all errors raised on purpose by this package.

    Parameters
    ----------
    detail : str
        One sentence for the person who sent the input; safe to show to a client.
    errors : sequence of FieldError, optional
        What is wrong with which field, line or entry.
    retry_after : int, optional
        Whole seconds after which the same call may succeed.
    """

    code: ClassVar[str] = "internal"

    def __init__(
        self, detail: str, *, errors: Sequence[FieldError] = (), retry_after: int | None = None
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.errors = tuple(errors)
        self.retry_after = retry_after

    def __reduce__(self) -> tuple[Any, ...]:
        # Errors cross process borders; the default would lose the keyword arguments.
        return _rebuild, (type(self), self.detail, self.errors, self.retry_after)


def _rebuild(
    cls: type[SolverServiceError], detail: str, errors: tuple[FieldError, ...], retry_after: int | None
) -> SolverServiceError:
    return cls(detail, errors=errors, retry_after=retry_after)


class InvalidInputError(SolverServiceError, ValueError):
    """The input breaks a rule that is stated in the reference."""

    code = "invalid_request"


class MalformedJsonError(InvalidInputError):
    """The body is not JSON."""

    code = "malformed_json"


class MalformedMatrixError(InvalidInputError):
    """A file breaks its own format; the message names the line or entry."""

    code = "malformed_matrix"


class MalformedMultipartError(InvalidInputError):
    """The body is not multipart/form-data, or a part is missing or doubled."""

    code = "malformed_multipart"


class DimensionMismatchError(InvalidInputError):
    """Shapes do not fit each other."""

    code = "dimension_mismatch"


class IndexOutOfRangeError(InvalidInputError):
    """A row or column index lies outside the shape."""

    code = "index_out_of_range"


class NonFiniteError(InvalidInputError):
    """NaN or infinity where a finite number is needed."""

    code = "non_finite"


class UnknownMethodError(InvalidInputError):
    """There is no method of that name."""

    code = "unknown_method"


class MethodNotApplicableError(InvalidInputError):
    """The method cannot be used on this matrix, or not with this option."""

    code = "method_not_applicable"


class ResourceLimitError(InvalidInputError):
    """The input is well formed, but larger than this installation accepts."""

    code = "resource_limit"


class NotFoundError(SolverServiceError, LookupError):
    """Nothing is there under that name."""

    code = "not_found"


class MatrixNotFoundError(NotFoundError):
    """No matrix is stored under that id."""

    code = "matrix_not_found"


class JobNotFoundError(NotFoundError):
    """There is no job of that id (any more)."""

    code = "job_not_found"


class NoSolutionError(NotFoundError):
    """The job ended without an x."""

    code = "no_solution"


class ConflictError(SolverServiceError):
    """The request does not fit the state of things."""


class IdempotencyConflictError(ConflictError):
    """The idempotency key was used for other content."""

    code = "idempotency_conflict"


class JobActiveError(ConflictError):
    """The job has not ended yet."""

    code = "job_active"


class MatrixInUseError(ConflictError):
    """The matrix cannot be removed while active work needs it."""

    code = "matrix_in_use"


class SolutionNotReadyError(ConflictError):
    """The job has not ended yet, so there is no x."""

    code = "solution_not_ready"


class ServiceError(SolverServiceError):
    """The request could not be served as it was sent, or not now."""


class PayloadTooLargeError(ServiceError):
    """The body is larger than the set limit."""

    code = "payload_too_large"


class UnsupportedMediaTypeError(ServiceError):
    """The body's Content-Type is not one that this call reads."""

    code = "unsupported_media_type"


class NotAcceptableError(ServiceError):
    """None of the media types in Accept can be produced."""

    code = "not_acceptable"


class RequestTimeoutError(ServiceError):
    """The request took longer than its deadline, and nothing could be returned."""

    code = "request_timeout"


class UnavailableError(ServiceError):
    """The service cannot do this now; the same call may succeed later."""

    code = "unavailable"

    def __init__(
        self, detail: str, *, errors: Sequence[FieldError] = (), retry_after: int | None = None
    ) -> None:
        super().__init__(detail, errors=errors, retry_after=1 if retry_after is None else retry_after)


class QueueFullError(UnavailableError):
    """As many requests are waiting as the queue may hold."""

    code = "queue_full"


class ShuttingDownError(UnavailableError):
    """The service is stopping."""

    code = "shutting_down"


class WorkerLostError(UnavailableError):
    """The process that worked on this request died; only this request is affected."""

    code = "worker_lost"


class NoWorkerError(WorkerLostError):
    """No worker process can be started, though that is tried again and again."""


class OutOfMemoryError(UnavailableError):
    """The request needs more memory than one worker may use, or the disk is full."""

    code = "out_of_memory"


class DiskFullError(OutOfMemoryError):
    """There is no space on the disk."""
