import re

import pytest

from solver_service import errors
from solver_service.wire.errors import PROBLEMS, TRY_LATER, problem_document, problem_of, status_of
from solver_service.wire.replies import ProblemReply


def tree(root=errors.SolverServiceError):
    yield root
    for child in root.__subclasses__():
        yield from tree(child)


# The contract's table, status by status.
CONTRACT = {
    400: "malformed_json malformed_matrix malformed_multipart",
    401: "unauthorized",
    403: "forbidden",
    404: "not_found job_not_found matrix_not_found no_solution",
    405: "method_not_allowed",
    406: "not_acceptable",
    408: "request_timeout",
    409: "idempotency_conflict matrix_in_use job_active solution_not_ready",
    413: "payload_too_large",
    415: "unsupported_media_type",
    422: "invalid_request dimension_mismatch index_out_of_range non_finite unknown_method "
    "method_not_applicable resource_limit",
    429: "rate_limited",
    500: "internal",
    503: "queue_full shutting_down worker_lost out_of_memory",
}
ADDED = {"unavailable": 503}
"""For a database that does not answer the contract has no code."""


def test_the_table_is_that_of_the_contract():
    expected = {code: status for status, codes in CONTRACT.items() for code in codes.split()} | ADDED
    assert {code: status for code, (status, _) in PROBLEMS.items()} == expected


@pytest.mark.parametrize("kind", list(tree()), ids=lambda kind: kind.__name__)
def test_every_error_of_ours_is_in_the_table(kind):
    assert kind.code in PROBLEMS


@pytest.mark.parametrize("code", sorted(TRY_LATER))
def test_what_may_be_tried_later_says_when(code):
    kinds = [kind for kind in tree() if kind.code == code]
    assert all(isinstance(kind("x").retry_after, int) for kind in kinds)
    assert status_of(code) in (429, 503)


def test_titles_are_sentences_that_differ():
    titles = [title for _, title in PROBLEMS.values()]
    assert len(set(titles)) == len(titles)
    assert all(re.fullmatch(r"[A-Z][^.]*", title) for title in titles)


def test_an_input_error_lists_its_fields():
    error = errors.NonFiniteError("b[1] must be finite", errors=[errors.FieldError("b[1]", "must be finite")])
    assert problem_of(error, "r1") == {
        "type": "urn:solver-service:problem:non_finite",
        "title": "A number is not finite",
        "status": 422,
        "detail": "b[1] must be finite",
        "code": "non_finite",
        "request_id": "r1",
        "errors": [{"field": "b[1]", "message": "must be finite"}],
    }


def test_other_errors_list_none():
    assert "errors" not in problem_of(errors.QueueFullError("full"), "r1")


def test_at_most_twenty_fields():
    error = errors.InvalidInputError("x", errors=[errors.FieldError(str(k), "wrong") for k in range(30)])
    assert len(problem_of(error, "r1")["errors"]) == 20


def test_the_documented_form_fits():
    for code in PROBLEMS:
        ProblemReply.model_validate(problem_document(code, "detail", "r1"))
