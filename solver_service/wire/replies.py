"""What JSON replies look like: the reference is generated from these, and clients may parse with them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from ..jobs import State
from ..methods.result import Forecast, HistoryPoint, Parameters, Phase, Status, Timings, WorstEquation

Vector = list[float]


class Reply(BaseModel):
    """Base of all reply documents: keys are always there, unknown is null."""

    model_config = ConfigDict(extra="forbid")


class BoundReply(Reply):
    """What is proven: ‖b − Ax‖ ≥ bound for all ‖x‖ ≤ radius."""

    bound: float
    radius: float


class CertificateReply(BoundReply):
    """The proof of it: Aᵀy ≈ 0, bᵀy ≠ 0."""

    y: Vector


class Diagnostics(Reply):
    """How a solve went."""

    status: Status
    converged: bool
    residual_norm: Annotated[float, Field(description="‖b − Ax‖₂, recomputed on the data as sent")]
    relative_residual: float
    target: Annotated[float, Field(description="max(rtol·‖b‖, atol)")]
    method: str
    reason: str
    iterations: int
    epochs: float
    row_updates: int
    parameters: Parameters
    phases: list[Phase]
    history: list[HistoryPoint]
    timings: Timings
    advice: str
    minimum_norm: bool | None
    forecast: Forecast | None
    error_estimate: float | None
    worst_equations: list[WorstEquation] | None


class ColumnReply(Diagnostics):
    """The result of one right-hand side."""

    certificate: CertificateReply | None


Shared = Annotated[int, Field(description="how many requests were solved together, this one included")]


class ResultReply(ColumnReply):
    """A solution with its diagnostics."""

    x: Annotated[Vector | list[Vector], Field(description="n numbers, or n rows of k")]
    shared: Shared
    columns: list[ColumnReply] | None


class ColumnSummary(Diagnostics):
    """The result of one right-hand side without the numbers."""

    certificate: BoundReply | None


class ResultSummary(ColumnSummary):
    """A result without the numbers: those of x and of a certificate's y are in the solution."""

    shared: Shared
    columns: list[ColumnSummary] | None


class SolutionReply(Reply):
    """The solution of a job."""

    x: Annotated[Vector | list[Vector], Field(description="n numbers, or n rows of k")]
    certificate: CertificateReply | None


class ProgressReply(Reply):
    """How far a running solve is; the residual was measured, the rest extrapolates its decay."""

    iterations: int
    epochs: float
    seconds: Annotated[float, Field(description="of solving, over all attempts")]
    relative_residual: float
    expected_iterations: Annotated[float | None, Field(description="in all")]
    eta_seconds: Annotated[float | None, Field(description="from now")]
    eta_low: float | None
    eta_high: float | None
    will_miss_deadline: Annotated[
        bool | None, Field(description="whether deadline or time_limit will come first; null: not known")
    ]


class ErrorReply(Reply):
    """Why a job failed."""

    code: str
    detail: str


class LinksReply(Reply):
    """Where to go from a job."""

    self: str
    solution: str
    events: str
    cancel: str
    resume: str
    matrix: str


class JobItem(Reply):
    """A job as lists show it."""

    id: str
    state: State
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    attempts: Annotated[int, Field(description="how often a worker has taken it up")]
    priority: int
    deadline: float | None
    queue_position: Annotated[int | None, Field(description="1: next; null unless queued")]
    matrix: Annotated[str, Field(description="id of the stored matrix")]
    options: dict[str, Any]
    resumed_from: str | None
    progress: ProgressReply | None
    error: ErrorReply | None
    links: LinksReply


class JobReply(JobItem):
    """A job."""

    result: Annotated[ResultSummary | None, Field(description="without x and certificate.y")]


class JobPage(Reply):
    """Some of the jobs, newest first."""

    items: list[JobItem]
    next_cursor: str | None


class PropertiesReply(Reply):
    """What is known of a stored matrix; null: not known."""

    frobenius_norm: float | None
    sigma_max: float | None
    stable_rank: Annotated[float | None, Field(description="‖A‖_F² / σ_max²")]
    symmetric: bool | None
    zero_rows: int | None
    zero_columns: int | None
    duplicates_summed: int | None
    components: int | None
    row_norm_min: float | None
    row_norm_max: float | None


class PartReply(Reply):
    """Something that was derived from a matrix: norms, a scaled copy, a spectral estimate, an ordering…"""

    name: str
    bytes: int


class PreparedReply(Reply):
    """What is kept of a matrix so that no worker has to derive it again."""

    format: str
    bytes: int
    parts: list[PartReply]
    tuning: Annotated[
        str | None,
        Field(
            description="what the next solve has for its `parameters.tuning`; null: nothing was learned yet"
        ),
    ]


class MatrixReply(Reply):
    """A stored matrix."""

    id: str
    name: str | None
    shape: Annotated[list[int], Field(min_length=2, max_length=2)]
    nnz: int
    bytes: int
    created_at: datetime
    last_used_at: Annotated[datetime, Field(description="or when it was stored last")]
    uses: Annotated[int, Field(description="how many solves and jobs have begun with it")]
    properties: PropertiesReply
    prepared: Annotated[PreparedReply | None, Field(description="null: nothing is kept")]


class MatrixPage(Reply):
    """Some of the stored matrices, newest first."""

    items: list[MatrixReply]
    next_cursor: str | None


class OptionReply(Reply):
    """One option of a solve."""

    name: str
    type: Literal["number", "integer", "string", "boolean"]
    default: float | int | str | bool | None
    nullable: bool
    minimum: float | None
    exclusive_minimum: bool
    maximum: float | None
    exclusive_maximum: bool
    choices: list[str]
    help: str


class MethodReply(Reply):
    """One method and the options it takes."""

    name: str
    help: str
    options: list[str]


class MethodsReply(Reply):
    """All methods and options."""

    methods: list[MethodReply]
    options: list[OptionReply]


class HealthReply(Reply):
    """The service answers."""

    status: Literal["alive", "ready"]


class FieldProblem(Reply):
    """What is wrong with one field."""

    field: str
    message: str


class ProblemReply(BaseModel):
    """An error (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    request_id: str
    errors: list[FieldProblem] | None = None
