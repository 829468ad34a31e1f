"""Settings: constructor arguments first, then ``SOLVER_SERVICE_…`` variables, then defaults."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple
from urllib.parse import unquote

from pydantic import Field, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

PREFIX = "SOLVER_SERVICE_"

KIB, MIB, GIB = 2**10, 2**20, 2**30

Bytes = Annotated[int, Field(ge=KIB)]
Seconds = Annotated[float, Field(gt=0, le=1e9, allow_inf_nan=False)]


def _cores() -> int:
    return len(os.sched_getaffinity(0))


class Settings(BaseSettings):
    """Everything that can be set from outside. Each field is also a variable, ``SOLVER_SERVICE_`` + NAME."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_parse_none_str="none", frozen=True, extra="forbid"
    )

    host: str = Field("127.0.0.1", min_length=1, description="address to listen on")
    port: int = Field(8000, ge=0, le=65535, description="port to listen on; 0 takes a free one")
    data_dir: Path = Field(Path("solver-data"), description="folder for everything that is kept")
    database_url: str | None = Field(
        None,
        description="where jobs are on record: postgresql://… is shared by several servers and workers "
        "(default: SQLite in the data folder)",
    )
    storage_url: str | None = Field(
        None,
        pattern=r"^file:///",
        description="file:///… of a folder that all servers and workers share, for matrices and the files of "
        "jobs (default: the data folder)",
    )

    workers: int = Field(
        default_factory=_cores,
        ge=1,
        le=1024,
        description="worker processes for /v1/solve, each solving one system, or one block of them, at a "
        "time (default: the cores at hand)",
    )
    job_workers: int | None = Field(
        None,
        ge=0,
        le=1024,
        description="worker processes for jobs, beside those above; 0: jobs are run by others, started with "
        "`solver-service worker` (default: as many as above)",
    )
    intake_workers: int = Field(1, ge=1, le=64, description="worker processes that read what is to be stored")
    queue_size: int = Field(
        64, ge=0, le=100_000, description="requests that may wait for workers of one kind"
    )
    coalesce: bool = Field(
        True, description="on or off: solve requests, and jobs, together that wait for the same stored matrix"
    )
    worker_memory_bytes: int = Field(
        4 * GIB, ge=256 * MIB, description="most memory one worker may allocate; beyond it, out_of_memory"
    )
    prepared_cache_bytes: int = Field(
        256 * MIB, ge=0, description="memory in which each worker keeps prepared matrices"
    )
    prepared_disk_bytes: int = Field(
        4 * GIB,
        ge=0,
        description="disk on which all workers keep what they derive from stored matrices; 0: none is kept",
    )

    max_body_bytes: Bytes = Field(512 * MIB, description="largest request body")
    max_json_bytes: Bytes = Field(256 * MIB, description="largest JSON text; larger arrays go as files")
    max_rows: int = Field(20_000_000, ge=1, description="most rows of a matrix")
    max_columns: int = Field(20_000_000, ge=1, description="most columns of a matrix")
    max_entries: int = Field(100_000_000, ge=1, description="most stored entries of a matrix or array")

    default_deadline: Seconds = Field(
        60.0, description="seconds until /v1/solve answers with its best x, if the request gives none"
    )
    max_deadline: Seconds = Field(
        3600.0, description="longest deadline of /v1/solve; longer ones are cut to it"
    )
    max_queued_jobs: int = Field(10_000, ge=1, description="jobs that may wait; more are refused")
    job_strikes: int = Field(
        5, ge=1, description="lost attempts in a row, without progress saved, after which a job has failed"
    )
    stall_seconds: Seconds = Field(
        10.0, ge=1.0, description="silence of a worker, in seconds, after which its jobs go to another"
    )
    checkpoint_seconds: Seconds = Field(
        5.0, description="least seconds between two saves of the state of a running job: what a crash costs"
    )
    idempotency_seconds: Seconds = Field(
        172_800.0, ge=86_400.0, description="how long an Idempotency-Key is remembered, in seconds"
    )
    job_retention: Seconds | None = Field(
        604_800.0, description="how long ended jobs and their solutions are kept, in seconds"
    )
    matrix_retention: Seconds | None = Field(
        2_592_000.0, description="how long matrices are kept that nobody uses, in seconds"
    )
    max_storage_bytes: Bytes | None = Field(
        50 * GIB, description="most bytes of jobs and matrices; beyond it the oldest go that are not active"
    )
    body_timeout: Seconds = Field(30.0, description="longest pause in a request body, in seconds")
    shutdown_grace: Seconds = Field(
        2.5, le=60, description="seconds that running requests have to answer when the service stops"
    )

    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="least severe to log")
    log_format: Literal["auto", "json", "console"] = Field(
        "auto", description="json, or console for people; auto: console on a terminal"
    )

    @model_validator(mode="after")
    def _consistent(self) -> Settings:
        if self.default_deadline > self.max_deadline:
            raise ValueError("default_deadline must not exceed max_deadline")
        return self

    @property
    def storage_dir(self) -> Path:
        """Folder of the matrices and of the files of jobs."""
        if self.storage_url is None:
            return self.data_dir.resolve()
        return Path(unquote(self.storage_url.removeprefix("file://")))

    @property
    def database(self) -> str:
        """URL of the database."""
        return self.database_url or f"sqlite:///{self.data_dir.resolve() / 'jobs.sqlite3'}"


class SettingRow(NamedTuple):
    """One line of the table in the README."""

    variable: str
    default: str
    description: str


def setting_rows() -> Iterator[SettingRow]:
    """Yield every setting as it is documented."""
    for name, field in Settings.model_fields.items():
        default = "number of cores" if field.default_factory else _readable(field.default, name)
        yield SettingRow(f"{PREFIX}{name.upper()}", default, field.description or "")


def explain(error: ValidationError) -> str:
    """Say in one line for each wrong setting what is wrong with it."""
    return "\n".join(_line(detail) for detail in error.errors(include_url=False))


def _line(detail: Any) -> str:
    if not detail["loc"]:
        return str(detail["msg"]).removeprefix("Value error, ")
    name = str(detail["loc"][0])
    message = str(detail["msg"]).replace("Input should", "must")
    return f"{name.removeprefix(PREFIX.lower())}: {message[0].lower()}{message[1:]} ({PREFIX}{name.upper()})"


def _readable(default: object, name: str) -> str:
    if default is None:
        return "none"
    if isinstance(default, bool):
        return "on" if default else "off"
    if not name.endswith("_bytes") or not isinstance(default, int):
        return str(default)
    unit, size = next(
        (unit, size) for unit, size in (("GiB", GIB), ("MiB", MIB), ("KiB", KIB)) if default >= size
    )
    return f"{default} ({default // size} {unit})"
