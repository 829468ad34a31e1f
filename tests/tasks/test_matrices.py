import numpy as np
import pytest
from scipy.sparse import csr_array, load_npz

from solver_service.problems.matrix import Matrix
from solver_service.tasks.matrices import ExportRequest, export_matrix, properties_of

NPZ = "application/x-npz"


def test_storing_twice_is_storing_once(worker, matrix, stored):
    first, second = stored(matrix(7)), stored(matrix(7))
    assert (first.created, second.created) == (True, False)
    assert first.record == second.record


def test_properties(worker, matrix, stored):
    A = matrix(8)
    singular = np.linalg.svd(A.toarray(), compute_uv=False)
    properties = stored(A).record.properties
    assert properties["sigma_max"] == pytest.approx(singular[0], rel=1e-3)
    assert properties["stable_rank"] == pytest.approx((singular**2).sum() / singular[0] ** 2, rel=1e-2)


def test_the_zero_matrix_has_no_stable_rank():
    properties = properties_of(Matrix.from_any(csr_array((3, 2))))
    assert (properties.sigma_max, properties.stable_rank) == (0.0, None)


def test_export_is_what_was_stored(worker, tmp_path, context, matrix, stored):
    A = matrix(9)
    id_ = stored(A).record.id
    reply = export_matrix(context(), ExportRequest(id_, NPZ, tmp_path / "reply"))
    assert reply.size == (tmp_path / "reply").stat().st_size
    with (tmp_path / "reply").open("rb") as file:
        assert (load_npz(file) != A).nnz == 0
