"""Options refuse what is wrong, naming it, and are the one source of defaults."""

from __future__ import annotations

import inspect

import numpy as np
import pytest

import solver_service
from solver_service import InvalidInputError, Options
from solver_service.methods.options import OPTIONS

WRONG = [
    ("rtol", -1e-9),
    ("rtol", 1.0),
    ("rtol", float("nan")),
    ("rtol", "1e-6"),
    ("rtol", True),
    ("rtol", None),
    ("atol", float("inf")),
    ("atol", 10**400),
    ("max_epochs", 0),
    ("time_limit", 0.0),
    ("batch_size", 0),
    ("batch_size", 2.5),
    ("batch_size", "all"),
    ("batch_size", 2**31),
    ("momentum", "polyak"),
    ("momentum", 1),
    ("beta", 1.0),
    ("beta", -0.1),
    ("step_size", 0.0),
    ("minimum_norm", 1),
    ("minimum_norm", "yes"),
    ("seed", -1),
    ("seed", 1.0),
    ("seed", 2**63),
    ("threads", 0),
    ("threads", 100_000),
    ("method", 3),
    ("method", None),
]


@pytest.mark.parametrize(("name", "value"), WRONG)
def test_wrong_values_are_refused_by_name(name, value):
    with pytest.raises(InvalidInputError) as caught:
        Options.from_mapping({name: value})
    assert [error.field for error in caught.value.errors] == [name]
    assert name in caught.value.detail


def test_all_wrong_values_are_told_at_once():
    with pytest.raises(InvalidInputError) as caught:
        Options.from_mapping({"rtol": 2, "seed": -1})
    assert {error.field for error in caught.value.errors} == {"rtol", "seed"}


def test_an_unknown_option_is_an_error():
    with pytest.raises(InvalidInputError, match="unknown option 'tol'"):
        Options.from_mapping({"tol": 1e-3})


def test_edges_are_accepted():
    options = Options(rtol=0, atol=0, beta=0, batch_size=1, seed=2**63 - 1, threads=1, max_epochs=1e-3)
    assert options.beta == 0


def test_numpy_scalars_are_numbers():
    options = Options(rtol=np.float32(0.5), batch_size=np.int64(3), minimum_norm=np.bool_(True))
    assert (options.rtol, options.batch_size, options.minimum_norm) == (0.5, 3, True)
    assert type(options.batch_size) is int


def test_solve_has_the_same_names_and_defaults():
    parameters = inspect.signature(solver_service.solve).parameters
    for spec in OPTIONS:
        assert parameters[spec.name].default == spec.default, spec.name
        assert spec.help
    assert set(parameters) - {spec.name for spec in OPTIONS} == {"A", "b", "x0", "callback"}
