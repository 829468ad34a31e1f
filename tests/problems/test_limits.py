import pytest

from solver_service.errors import ResourceLimitError
from solver_service.problems.limits import Limits


def test_at_the_limit_passes_and_one_more_does_not():
    limits = Limits(max_rows=3, max_columns=4, max_entries=5, max_bytes=6)
    limits.check_shape(3, 4)
    limits.check_entries(5)
    limits.check_bytes(6)
    for check, words in [
        (lambda: limits.check_shape(4, 4, "b"), "b has 4 rows; at most 3"),
        (lambda: limits.check_shape(3, 5), "matrix has 5 columns; at most 4"),
        (lambda: limits.check_entries(6), "matrix has 6 entries; at most 5"),
        (lambda: limits.check_bytes(7), "matrix has 7 bytes when decompressed; at most 6"),
    ]:
        with pytest.raises(ResourceLimitError, match=words):
            check()


def test_defaults_admit_large_work():
    Limits().check_shape(10_000_000, 10_000_000)
    Limits().check_entries(100_000_000)
