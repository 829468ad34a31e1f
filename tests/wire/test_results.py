import io
import json
import re
import zipfile
from dataclasses import replace

import numpy as np
import pytest

from solver_service.methods.result import (
    Certificate,
    ColumnResult,
    Forecast,
    HistoryPoint,
    Parameters,
    Phase,
    Result,
    Status,
    Timings,
    WorstEquation,
)
from solver_service.wire.replies import ColumnReply, ResultReply
from solver_service.wire.results import Stages, encode_json, write_npz

CONTRACT_KEYS = {
    *("x", "status", "converged", "residual_norm", "relative_residual", "target", "method", "reason"),
    *("iterations", "epochs", "row_updates", "parameters", "phases", "history", "timings", "advice"),
    *("minimum_norm", "forecast", "error_estimate", "certificate", "worst_equations", "columns"),
    "shared",
}
STAGES = Stages(parse=0.25, queue=0.5)
RESULT = Result(
    x=np.array([1.0, -2.5]),
    status=Status.CONVERGED,
    residual_norm=1e-9,
    relative_residual=1e-10,
    target=1e-8,
    method="kaczmarz",
    reason="it was named",
    iterations=12,
    epochs=3.5,
    row_updates=96,
    parameters=Parameters(batch_size=8, momentum="nesterov", seed=3),
    phases=(Phase("kaczmarz", "it was named", 12, 3.5, 0.1, 1e-10),),
    history=(HistoryPoint(0, 0.0, 0.0, 1.0, True), HistoryPoint(12, 3.5, 0.1, 1e-10, False)),
    timings=Timings(prepare=1.0, solve=2.0, verify=4.0, total=7.0),
    advice="",
    minimum_norm=None,
)


def document(result):
    return json.loads(encode_json(result, STAGES))


def test_exactly_the_keys_of_the_contract():
    assert set(document(RESULT)) == CONTRACT_KEYS
    assert set(ResultReply.model_fields) == CONTRACT_KEYS
    assert set(ColumnReply.model_fields) == CONTRACT_KEYS - {"x", "shared", "columns"}


@pytest.mark.parametrize(
    ("part", "kind"),
    [("parameters", Parameters), ("timings", Timings), ("phases", Phase), ("history", HistoryPoint)],
)
def test_nested_keys_are_those_of_the_dataclasses(part, kind):
    found = document(RESULT)[part]
    assert set(found[0] if isinstance(found, list) else found) == set(kind.__dataclass_fields__)


def test_values():
    found = document(RESULT)
    assert found["x"] == [1.0, -2.5]
    assert found["status"] == "converged"
    assert found["converged"] is True
    assert found["history"][1]["exact"] is False
    assert found["minimum_norm"] is None
    assert ResultReply.model_validate(found).parameters == RESULT.parameters


@pytest.mark.parametrize("status", list(Status))
def test_status_is_its_plain_value(status):
    found = document(replace(RESULT, status=status))
    assert found["status"] == status.value
    assert found["converged"] is (status is Status.CONVERGED)


def test_the_timings_add_up():
    timings = document(RESULT)["timings"]
    assert (timings["parse"], timings["queue"], timings["solve"]) == (0.25, 0.5, 2.0)
    stages = ("parse", "queue", "prepare", "solve", "verify", "encode")
    assert timings["total"] == pytest.approx(sum(timings[name] for name in stages))
    assert timings["encode"] > 0.0


def test_what_is_not_finite_becomes_null():
    text = encode_json(replace(RESULT, error_estimate=np.inf, relative_residual=np.nan), STAGES)
    assert not re.search(rb"nan|inf", text, re.IGNORECASE)
    assert json.loads(text)["error_estimate"] is None


def test_the_extras_of_a_failure():
    found = document(
        replace(
            RESULT,
            status=Status.INCONSISTENT,
            certificate=Certificate(np.array([1.0, 0.0, -1.0]), 0.5, 10.0),
            worst_equations=(WorstEquation(2, 0.25),),
            forecast=Forecast(10.0, 0.5, 12, 0.6),
        )
    )
    assert found["certificate"] == {"y": [1.0, 0.0, -1.0], "bound": 0.5, "radius": 10.0}
    assert found["worst_equations"] == [{"row": 2, "residual": 0.25}]
    assert found["forecast"]["iterations"] == 12


def test_columns_come_without_x():
    column = ColumnResult(**{name: getattr(RESULT, name) for name in ColumnResult.__dataclass_fields__})
    found = document(replace(RESULT, x=np.arange(6.0).reshape(2, 3)[:, ::2], columns=(column, column)))
    assert found["x"] == [[0.0, 2.0], [3.0, 5.0]]
    assert [set(entry) for entry in found["columns"]] == [CONTRACT_KEYS - {"x", "shared", "columns"}] * 2


def test_numpy_scalars_are_numbers():
    found = document(replace(RESULT, residual_norm=np.float64(0.5), iterations=np.int64(3)))
    assert (found["residual_norm"], found["iterations"]) == (0.5, 3)


def test_npz_holds_x_and_the_rest():
    file = io.BytesIO()
    write_npz(RESULT, STAGES, file)
    with zipfile.ZipFile(file) as archive:
        assert archive.namelist() == ["x.npy", "result.json"]
        assert {entry.compress_type for entry in archive.infolist()} == {zipfile.ZIP_STORED}
        rest = json.loads(archive.read("result.json"))
    assert set(rest) == CONTRACT_KEYS - {"x"}
    file.seek(0)
    assert np.load(file)["x"].tolist() == [1.0, -2.5]
