"""Parts that come back from files give the bits of parts that were built; nothing is built again."""

from __future__ import annotations

import subprocess
import sys
import tracemalloc
from operator import attrgetter

import numpy as np
import pytest
from scipy import sparse

from solver_service.methods import METHODS, Prepared, run
from solver_service.methods import state as state_module
from solver_service.methods.gram_factor import GramFactor, gram_form
from solver_service.methods.options import Options
from solver_service.methods.parts import FLAG, Derived, Parts, vector
from solver_service.problems.matrix import Matrix
from solver_service.problems.problem import Problem
from solver_service.storage import map_snapshot, snapshots, write_snapshot


class Kept:
    """A source in a folder, which takes everything."""

    def __init__(self, folder):
        self.folder = folder
        self.rejected = []

    def fetch(self, name):
        path = self.folder / name
        return map_snapshot(path) if path.exists() else None

    def reject(self, name):
        self.rejected.append(name)

    def save(self, prepared):
        for part in prepared.state.derived:
            write_snapshot(self.folder / part.name, part.pack())


def _random(m, n, seed=0, density=0.2):
    rng = np.random.default_rng(seed)
    return sparse.random_array((m, n), density=density, rng=rng, data_sampler=rng.standard_normal)


def _grid(n):
    line = sparse.diags_array([-np.ones(n - 1), 2.1 * np.ones(n), -np.ones(n - 1)], offsets=[-1, 0, 1])
    return sparse.kron(line, sparse.eye_array(n)) + sparse.kron(sparse.eye_array(n), line)


SYSTEMS = {
    "tall": _random(9_000, 20),
    "square": _random(60, 60) + sparse.eye_array(60),
    "definite": _grid(9),
    "negative definite": -_grid(9),
    "wide": _random(20, 70),
    "of huge entries": 1e250 * _random(50, 20),
    "in blocks": sparse.block_diag([_random(90, 40, seed, 0.9) for seed in range(3)]),
    "with an empty row": sparse.vstack([_random(50, 20), sparse.csr_array((1, 20))]),
    "singular": sparse.csr_array(np.ones((8, 8))),
}


def _solved(prepared, method, **options):
    A = prepared.matrix.csr
    b = A @ np.random.default_rng(7).standard_normal(A.shape[1])
    given = Options.from_mapping({"method": method, "max_epochs": 200, "threads": 1} | options)
    return run(prepared, Problem.build(prepared.matrix, b, None), given)


def _told(result):
    history = [(point.iterations, point.epochs, point.relative_residual) for point in result.history]
    return result.x.tobytes(), result.status, result.method, result.reason, result.parameters, history


def _runs(A):
    m, n = A.shape
    yield "auto", {}
    yield "auto", {"minimum_norm": True}
    yield "kaczmarz", {"batch_size": 4}
    for name in METHODS:
        square = m == n
        if name != "auto" and (square or name not in ("cg", "ssor_cg")):
            yield name, {"rtol": 1e-9}


@pytest.mark.parametrize("name", SYSTEMS)
def test_what_was_kept_gives_the_same_bits(name, tmp_path, monkeypatch):
    monkeypatch.setattr(snapshots, "_SMALL", 0)  # all arrays are mapped
    monkeypatch.setattr(state_module, "_SMALL_BLOCK", 100)
    matrix = Matrix.from_any(sparse.csr_array(SYSTEMS[name]))
    ran = 0
    for method, options in _runs(matrix.csr):
        folder = tmp_path / f"{method}-{ran}"
        folder.mkdir()
        first, kept = Prepared(matrix), Kept(folder)
        try:
            expected = _told(_solved(first, method, **options))
        except Exception as error:  # one that does not suit the matrix: the other state has to see it too
            with pytest.raises(type(error)):
                _solved(Prepared(matrix, kept), method, **options)
            continue
        kept.save(first)
        again = Prepared(matrix, kept)
        assert _told(_solved(again, method, **options)) == expected, method
        assert again.state.derived == []
        assert again.state.parts.fetched <= {part.name for part in first.state.derived}
        assert kept.rejected == []
        ran += 1
    assert ran >= 8


def test_the_parts_of_large_blocks_are_kept_too(tmp_path, monkeypatch):
    monkeypatch.setattr(state_module, "_SMALL_BLOCK", 100)
    prepared = Prepared(Matrix.from_any(sparse.csr_array(SYSTEMS["in blocks"])))
    for _, block in prepared.state.blocks:
        assert block.AT.shape == (40, 90)
    names = {part.name for part in prepared.state.derived}
    assert names == {"labels", *(f"block-{k}.transpose" for k in range(3))}


def test_every_kind_of_part_is_kept(tmp_path):
    """Those of a rectangular and of a definite matrix together, by name."""
    names = set()
    for name in ("tall", "definite"):
        state = Prepared(Matrix.from_any(sparse.csr_array(SYSTEMS[name]))).state
        found = [state.labels, state.parallel_rows, state.scaled_rows, state.scaled_columns, state.symmetric]
        found += [state.sampled_rows.fine_spectrum, state.shuffled_columns.spectrum, state.gram(lambda: None)]
        if state.perhaps_definite:
            found += [state.unit_diagonal.middle, state.unit_diagonal.spectrum, state.analysis]
        assert all(part is not None for part in found)
        names |= {part.name for part in state.derived}
    assert names == {
        *("analysis", "column_norms", "gram", "labels", "parallel_rows", "perhaps_definite", "row_norms"),
        *("sampled_rows.chunk-0", "sampled_rows.fine_spectrum", "scaled_columns", "scaled_rows"),
        *("shuffled_columns.chunk-0", "shuffled_columns.spectrum", "symmetric", "transpose"),
        *("unit_diagonal", "unit_diagonal.middle", "unit_diagonal.spectrum"),
    }


COMPILED = """
import sys
from pathlib import Path
from test_parts import SYSTEMS, Kept, Matrix, Prepared, _runs, _solved, snapshots, sparse
from solver_service import kernels
from solver_service.errors import MethodNotApplicableError
from solver_service.storage import MatrixStore

def compiled():
    found = {name: getattr(getattr(kernels, name), "signatures", None) for name in kernels.__all__}
    return {name: len(signatures) for name, signatures in found.items() if signatures is not None}

snapshots._SMALL = 0
kernels.warm_up()
before = compiled()
assert len(before) > 30
store = MatrixStore(sys.argv[1])
for name in ("tall", "square", "definite", "wide"):
    matrix = store.open(store.put(Matrix.from_any(sparse.csr_array(SYSTEMS[name])))[0].id)
    for method, options in _runs(matrix.csr):
        folder = Path(sys.argv[1]) / f"{name}-{method}-{options}"
        folder.mkdir()
        kept = Kept(folder)
        first = Prepared(matrix)
        for prepared in (first, Prepared(matrix, kept)):
            try:
                _solved(prepared, method, **options)
            except MethodNotApplicableError:
                pass
            if prepared is first:
                kept.save(first)
after = compiled()
print({name: (before[name], after[name]) for name in before if before[name] != after[name]})
"""


def test_nothing_is_compiled_after_the_warm_up_for_mapped_matrices_and_parts(tmp_path, request):
    done = subprocess.run(
        [sys.executable, "-c", COMPILED, str(tmp_path)],
        cwd=request.path.parent,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "{}"


def test_solving_with_a_mapped_gram_factor_does_not_copy_it(tmp_path):
    factor = GramFactor.of(sparse.csr_array(_random(1500, 700)), lambda: None)
    write_snapshot(tmp_path / "gram", {"part": gram_form(700).pack(factor)})
    mapped = gram_form(700).unpack(map_snapshot(tmp_path / "gram")["part"])
    assert not mapped.factor.flags.writeable
    v = np.arange(700.0)
    tracemalloc.start()
    x = mapped.solve(v)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < mapped.nbytes / 10
    assert x.tobytes() == factor.solve(v).tobytes()


class Damaged:
    """A source of one part."""

    def __init__(self, name, snapshot):
        self.name, self.snapshot, self.rejected = name, snapshot, []

    def fetch(self, name):
        return self.snapshot if name == self.name else None

    def reject(self, name):
        self.rejected.append(name)


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("labels", {"part": {"number": 3}}),
        ("labels", {}),
        ("row_norms", {"part": {}}),
        ("transpose", {"part": None}),
        ("transpose", {"part": {"data": np.ones(3)}}),
        ("analysis", {"part": {"order": 3}}),
        ("gram", {"part": {"rows": 3, "shift": 0.0, "least_pivot": 1.0}}),
    ],
)
def test_a_part_that_does_not_fit_is_rejected_and_built(name, part):
    _reject_and_build(name, part)


def _reject_and_build(name, part):
    source = Damaged(name, part)
    state = Prepared(Matrix.from_any(sparse.csr_array(SYSTEMS["definite"])), source).state
    assert _wanted(state, name) is not None
    assert source.rejected == [name]
    assert name in {part.name for part in state.derived}


def _wanted(state, name):
    """Ask for the part of that name."""
    if name == "gram":
        return state.gram(lambda: None)
    if name.endswith("chunk-0"):
        return getattr(state, name.split(".")[0]).chunk(0)
    return attrgetter("AT" if name == "transpose" else name)(state)


def _leaves(value, path=()):
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _leaves(item, (*path, key))
    else:
        yield path, value


def _unfit(leaf):
    if not isinstance(leaf, np.ndarray):
        return [None, "x", np.ones(3), *(wrong for wrong in (1, 1.5, True) if type(wrong) is not type(leaf))]
    types = [np.float32, np.uint8, ">f8", np.int16, bool]
    shapes = [leaf[:-1], np.concatenate([leaf, leaf[-1:]]), leaf[np.newaxis], leaf[:0]]
    return [None, 3, leaf.tolist(), *map(leaf.astype, types), *shapes]


def _replaced(value, path, leaf):
    return {**value, path[0]: _replaced(value[path[0]], path[1:], leaf)} if path else leaf


@pytest.mark.parametrize(
    "name",
    [
        *("analysis", "column_norms", "gram", "labels", "perhaps_definite", "row_norms", "scaled_columns"),
        *("sampled_rows.chunk-0", "sampled_rows.fine_spectrum", "scaled_rows", "symmetric", "transpose"),
        *("unit_diagonal", "unit_diagonal.middle", "unit_diagonal.spectrum"),
    ],
)
def test_any_value_of_another_type_or_shape_is_rejected(name):
    state = Prepared(Matrix.from_any(sparse.csr_array(SYSTEMS["definite"]))).state
    _wanted(state, name)
    snapshot = state.parts.derived[name].pack()
    for path, leaf in _leaves(snapshot):
        for wrong in _unfit(leaf):
            _reject_and_build(name, _replaced(snapshot, path, wrong))


def test_parallel_rows_of_other_types_or_lengths_are_rejected():
    A = Matrix.from_any(sparse.csr_array(SYSTEMS["singular"]))
    state = Prepared(A).state
    expected = state.parallel_rows
    assert expected.count == 7
    snapshot = state.parts.derived["parallel_rows"].pack()
    for path, leaf in _leaves(snapshot):
        wrongs = [None, leaf.astype(np.float32), leaf[np.newaxis]]
        for wrong in wrongs if path[-1] == "offsets" else [*wrongs, leaf[:-1]]:
            source = Damaged("parallel_rows", _replaced(snapshot, path, wrong))
            found = Prepared(A, source).state.parallel_rows
            assert source.rejected == ["parallel_rows"]
            assert found.rows.tobytes() == expected.rows.tobytes()


def test_a_matrix_whose_rows_do_not_begin_at_its_entries_is_rejected():
    state = Prepared(Matrix.from_any(sparse.csr_array(SYSTEMS["definite"]))).state
    _wanted(state, "transpose")
    snapshot = state.parts.derived["transpose"].pack()
    for place in (0, -1):
        indptr = snapshot["part"]["indptr"].copy()
        indptr[place] += 1
        _reject_and_build("transpose", _replaced(snapshot, ("part", "indptr"), indptr))


def test_vectors_come_back_writable_for_the_kernels():
    read_only = np.ones(3)
    read_only.flags.writeable = False
    assert vector(np.float64, 3).unpack(read_only).flags.writeable


def test_only_what_takes_longer_to_build_than_to_map_is_worth_keeping():
    def derived(seconds, size):
        return Derived("part", seconds, lambda: {"part": np.zeros(size, dtype=np.uint8)})

    assert derived(0.002, 100).worth_keeping
    assert not derived(0.0002, 100).worth_keeping
    assert not derived(0.002, 40_000_000).worth_keeping
    assert derived(0.3, 40_000_000).worth_keeping


def test_time_within_parts_is_counted_once():
    parts = Parts()
    inner = parts.within("outer")
    seen = []

    def build():
        seen.append(inner.seconds)
        return inner.make("flag", lambda: True, FLAG)

    assert parts.make("whole", build) is True
    assert seen == [0.0]
    assert parts.seconds == inner.seconds >= parts.derived["outer.flag"].seconds > 0.0
