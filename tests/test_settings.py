from pathlib import Path

import pytest
from pydantic import ValidationError

from solver_service.settings import PREFIX, Settings, explain, setting_rows


def test_every_variable_works(monkeypatch):
    values = {
        "host": "0.0.0.0",
        "port": 0,
        "data_dir": Path("elsewhere"),
        "database_url": "postgresql://db/jobs",
        "storage_url": "file:///shared",
        "workers": 3,
        "job_workers": 0,
        "intake_workers": 2,
        "queue_size": 0,
        "coalesce": False,
        "worker_memory_bytes": 2**30,
        "prepared_cache_bytes": 0,
        "prepared_disk_bytes": 1,
        "max_body_bytes": 2**20,
        "max_json_bytes": 2**19,
        "max_rows": 10,
        "max_columns": 11,
        "max_entries": 12,
        "default_deadline": 1.5,
        "max_deadline": 2.5,
        "max_queued_jobs": 5,
        "job_strikes": 2,
        "stall_seconds": 3.0,
        "checkpoint_seconds": 2.0,
        "idempotency_seconds": 90_000.0,
        "job_retention": None,
        "matrix_retention": 60.0,
        "max_storage_bytes": 2**30,
        "body_timeout": 0.5,
        "shutdown_grace": 0.25,
        "log_level": "warning",
        "log_format": "json",
    }
    assert set(values) == set(Settings.model_fields)
    for name, value in values.items():
        monkeypatch.setenv(f"SOLVER_SERVICE_{name.upper()}", "none" if value is None else str(value))
    assert Settings().model_dump() == values
    assert Settings(workers=7).workers == 7


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"port": 70_000}, "port: must be less than or equal to 65535 (SOLVER_SERVICE_PORT)"),
        ({"workers": 0}, "workers: must be greater than or equal to 1"),
        ({"workers": "many"}, "workers: must be a valid integer"),
        ({"default_deadline": float("nan")}, "default_deadline: must be a finite number"),
        ({"default_deadline": 10, "max_deadline": 5}, "default_deadline must not exceed max_deadline"),
        ({"log_level": "loud"}, "log_level: must be 'debug', 'info', 'warning' or 'error'"),
        ({"prot": 1}, "prot:"),
        ({"storage_url": "s3://bucket"}, "storage_url: "),
        ({"idempotency_seconds": 60}, "idempotency_seconds: must be greater than or equal to 86400"),
    ],
)
def test_wrong_values_are_explained(given, message):
    with pytest.raises(ValidationError) as caught:
        Settings(**given)
    assert explain(caught.value).startswith(message)


def test_every_setting_is_documented():
    rows = list(setting_rows())
    assert [row.variable for row in rows] == [f"{PREFIX}{name.upper()}" for name in Settings.model_fields]
    assert all(row.default and row.description for row in rows)


def test_settings_do_not_change():
    with pytest.raises(ValidationError):
        Settings().port = 1
