"""A seeded table of requests that no service should be impressed by."""

# ruff: noqa: E501  # tables read better in long lines

from __future__ import annotations

import base64
import gzip
import io
import json
import pickle
import random
import struct
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np
from scipy.io import mmwrite
from scipy.sparse import csr_array, save_npz

JSON = {"Content-Type": "application/json"}
COO = {"format": "coo", "shape": [3, 2], "row": [0, 1, 2], "col": [0, 1, 1], "data": [1.0, 2.0, 3.0]}
CSR = {
    "format": "csr",
    "shape": [3, 2],
    "indptr": [0, 1, 2, 3],
    "indices": [0, 1, 1],
    "data": [1.0, 2.0, 3.0],
}
B = [1.0, 2.0, 3.0]
A = csr_array(np.array([[1.0, 0.0], [0.0, 2.0], [0.0, 3.0]]))


@dataclass(frozen=True)
class Hostile:
    name: str
    method: str = "POST"
    path: str = "/v1/solve"
    headers: dict[str, str | bytes] = field(default_factory=dict)
    body: bytes = b""
    may_succeed: bool = False
    raw: bytes | None = None
    """Sent as it is, instead of all the others."""


def all_requests(seed: int) -> list[Hostile]:
    generator = random.Random(seed)
    table = [
        *wrong_matrices(),
        *wrong_systems(),
        *wrong_options(),
        *wrong_base64(),
        *broken_json(generator),
        *wrong_files(generator),
        *wrong_multipart(),
        *wrong_addresses(),
        *wrong_http(),
        *wrong_jobs(),
    ]
    # What is no system is no job either; of the headers, some concern only the answer of a solve.
    table += [
        replace(hostile, name=f"as a job: {hostile.name}", path="/v1/jobs")
        for hostile in table
        if (hostile.method, hostile.path, hostile.raw, hostile.may_succeed)
        == ("POST", "/v1/solve", None, False)
        and not hostile.name.startswith("header: ")
    ]
    generator.shuffle(table)
    return table


def as_json(document: object) -> bytes:
    return json.dumps(document).encode()


def wrong_matrices() -> Iterator[Hostile]:
    changes: list[tuple[dict, dict]] = [
        (COO, {"row": [0, 1, 3]}),
        (COO, {"row": [0, 1, -1]}),
        (COO, {"col": [0, 2**31, 1]}),
        (COO, {"col": [0, 2**63, 1]}),
        (COO, {"col": [0, -(2**63), 1]}),
        (COO, {"col": [0, 10**40, 1]}),
        (COO, {"row": [0.0, 1.0, 2.0]}),
        (COO, {"row": ["0", "1", "2"]}),
        (COO, {"row": [True, False, True]}),
        (COO, {"row": [None, None, None]}),
        (COO, {"row": [[0], [1], [2]]}),
        (COO, {"row": {"0": 0}}),
        (COO, {"row": "012"}),
        (COO, {"row": [0, 1]}),
        (COO, {"row": []}),
        (COO, {"data": [1.0, float("nan"), 3.0]}),
        (COO, {"data": [1.0, float("inf"), 3.0]}),
        (COO, {"data": [1.0, -float("inf"), 3.0]}),
        (COO, {"data": [1, 10**400, 3]}),
        (COO, {"data": ["1", "2", "3"]}),
        (COO, {"data": [[1.0], [2.0], [3.0]]}),
        (COO, {"data": [{"re": 1, "im": 2}] * 3}),
        (COO, {"data": None}),
        (COO, {"row": [0, 0, 2], "col": [0, 0, 1], "data": [1.7e308, 1.7e308, 1.0]}),
        (COO, {"shape": [0, 0]}),
        (COO, {"shape": [-3, -2]}),
        (COO, {"shape": [3]}),
        (COO, {"shape": [3, 2, 1]}),
        (COO, {"shape": [10**9, 10**9]}),
        (COO, {"shape": [2**62, 2]}),
        (COO, {"shape": [10**50, 1]}),
        (COO, {"shape": [3.0, 2.0]}),
        (COO, {"shape": "3x2"}),
        (COO, {"shape": [float("nan"), 2]}),
        (COO, {"format": "csc"}),
        (COO, {"format": None}),
        (COO, {"format": "csr"}),
        (COO, {"format": "coo", "id": "mat_0"}),
        (COO, {"__class__": "Matrix"}),
        (CSR, {"indptr": [0, 2, 1, 3]}),
        (CSR, {"indptr": [0, 3, 3, 2]}),
        (CSR, {"indptr": [1, 1, 2, 3]}),
        (CSR, {"indptr": [0, 1, 2, 100]}),
        (CSR, {"indptr": [0, 1, 2, 2**62]}),
        (CSR, {"indptr": [-1, 1, 2, 3]}),
        (CSR, {"indptr": [0, 1, 2]}),
        (CSR, {"indptr": []}),
        (CSR, {"indices": [0, 2, 1]}),
        (CSR, {"indices": [0, -1, 1]}),
        (CSR, {"indices": [0, 1]}),
        (CSR, {"data": [1.0]}),
    ]
    for k, (base, change) in enumerate(changes):
        matrix = {**base, **change}
        name = f"matrix {k} {next(iter(change))}"
        yield Hostile(name, headers=JSON, body=as_json({"matrix": matrix, "b": B}))
        if k % 2:
            yield Hostile(f"{name}, to be stored", path="/v1/matrices", headers=JSON, body=as_json(matrix))
    for id_ in (
        "",
        "../../etc/passwd",
        "/etc/passwd",
        "mat_" + "0" * 32,
        "mat_../../x",
        "\x00",
        "a" * 4000,
        "mat_Ä",
    ):
        yield Hostile(f"id {id_[:12]!r}", headers=JSON, body=as_json({"matrix": {"id": id_}, "b": B}))
    for value in (None, 1, "coo", [], [COO], {}, {"id": 1}, {"id": None}, True):
        yield Hostile(f"matrix is {value!r:.20}", headers=JSON, body=as_json({"matrix": value, "b": B}))


def wrong_systems() -> Iterator[Hostile]:
    documents = [
        None, 1, "x", [], [COO, B], {}, {"matrix": COO}, {"b": B}, {"A": COO, "b": B},
        {"matrix": COO, "b": B, "callback": "os.system"},
        {"matrix": COO, "b": [1.0]}, {"matrix": COO, "b": []}, {"matrix": COO, "b": [[]] * 3},
        {"matrix": COO, "b": [[1.0], [2.0, 3.0], [4.0]]}, {"matrix": COO, "b": [[[1.0]]] * 3},
        {"matrix": COO, "b": "AAAA"}, {"matrix": COO, "b": {"0": 1}}, {"matrix": COO, "b": [1.0, None, 2.0]},
        {"matrix": COO, "b": [True, True, True]}, {"matrix": COO, "b": ["1", "2", "3"]},
        {"matrix": COO, "b": [1.0, 2.0, float("nan")]}, {"matrix": COO, "b": [[1.0], [float("inf")], [1.0]]},
        {"matrix": COO, "b": B, "x0": [1.0]}, {"matrix": COO, "b": B, "x0": [[1.0, 1.0]]},
        {"matrix": COO, "b": B, "x0": {"job": "../1"}}, {"matrix": COO, "b": B, "x0": "zero"},
        {"matrix": COO, "b": B, "x0": [float("nan"), 0.0]},
        {"matrix": COO, "b": B, "priority": 11}, {"matrix": COO, "b": B, "priority": 1.5},
        {"matrix": COO, "b": B, "priority": 10**30}, {"matrix": COO, "b": B, "priority": "high"},
        {"matrix": COO, "b": B, "deadline": 0}, {"matrix": COO, "b": B, "deadline": -5},
        {"matrix": COO, "b": B, "deadline": "soon"}, {"matrix": COO, "b": B, "deadline": float("inf")},
        {"matrix": COO, "b": B, "deadline": True}, {"matrix": COO, "b": B, "deadline": [1]},
    ]  # fmt: skip
    for k, document in enumerate(documents):
        yield Hostile(f"system {k}", headers=JSON, body=as_json(document))


def wrong_options() -> Iterator[Hostile]:
    options = [
        None, 1, "auto", [], {"rtol": -1}, {"rtol": 1}, {"rtol": "1e-6"}, {"rtol": None},
        {"rtol": float("nan")}, {"rtol": 10**400}, {"atol": -1e-300}, {"atol": float("inf")}, {"max_epochs": 0},
        {"max_epochs": "all"}, {"time_limit": -1}, {"time_limit": float("nan")}, {"batch_size": 0}, {"batch_size": 2.5},
        {"batch_size": 2**40}, {"batch_size": "half"}, {"momentum": "adam"}, {"momentum": 0.9}, {"beta": 1},
        {"beta": -0.1}, {"step_size": 0}, {"minimum_norm": 1}, {"minimum_norm": "yes"}, {"seed": -1},
        {"seed": 1.0}, {"seed": 2**64}, {"threads": 0}, {"threads": 10**6}, {"threads": True},
        {"method": None}, {"method": 7}, {"method": "__init__"}, {"method": "x" * 50_000}, {"warm_start": True}, {"tol": 1e-6},
        {"x0": [1, 2]}, {"callback": "print"}, {"__dict__": {}}, {"method": "cg"}, {"method": "ssor_cg"},
        {"method": "lsqr", "batch_size": 8}, {"momentum": "none", "beta": 0.5}, {"": 1},
    ]  # fmt: skip
    for k, option in enumerate(options):
        yield Hostile(f"options {k}", headers=JSON, body=as_json({"matrix": COO, "b": B, "options": option}))


def wrong_base64() -> Iterator[Hostile]:
    good = base64.b64encode(np.array(B).tobytes()).decode()
    arrays = [
        {"base64": good}, {"dtype": "<f8"}, {"base64": good, "dtype": ">f8"}, {"base64": good, "dtype": "O"},
        {"base64": good, "dtype": "<f16"}, {"base64": good, "dtype": "V8"}, {"base64": good, "dtype": 8},
        {"base64": good[:-1], "dtype": "<f8"}, {"base64": good + "!", "dtype": "<f8"},
        {"base64": good[:12], "dtype": "<f8"}, {"base64": "", "dtype": "<f8"}, {"base64": 12, "dtype": "<f8"},
        {"base64": "é", "dtype": "<f8"}, {"base64": [good], "dtype": "<f8"},
        {"base64": good, "dtype": "<f8", "shape": [2]}, {"base64": good, "dtype": "<f8", "shape": [-1]},
        {"base64": good, "dtype": "<f8", "shape": [1, 3]}, {"base64": good, "dtype": "<f8", "shape": [3, 0]},
        {"base64": good, "dtype": "<f8", "shape": [2**62, 2**62]},
        {"base64": good, "dtype": "<f8", "shape": "3"}, {"base64": good, "dtype": "<f8", "shape": [3.0]}, {"base64": good, "dtype": "<f8", "order": "F"},
        {"base64": base64.b64encode(np.array([1.0, np.nan, 2.0]).tobytes()).decode(), "dtype": "<f8"},
        {"base64": base64.b64encode(struct.pack("<3f", 1.0, float("inf"), 0.0)).decode(), "dtype": "<f4"},
    ]  # fmt: skip
    for k, array in enumerate(arrays):
        yield Hostile(f"base64 {k}", headers=JSON, body=as_json({"matrix": COO, "b": array}))
    for k, array in enumerate(arrays[:12]):
        body = as_json({"matrix": {**COO, "row": array}, "b": B})
        yield Hostile(f"base64 indices {k}", headers=JSON, body=body)


def broken_json(generator: random.Random) -> Iterator[Hostile]:
    good = as_json({"matrix": COO, "b": B})
    for cut in generator.sample(range(len(good)), 12):
        yield Hostile(f"json cut at {cut}", headers=JSON, body=good[:cut])
    texts = [
        b"null", b"\x00", b"\xff\xfe{\x00}\x00", b"\xef\xbb\xbf" + good, good + good, good + b"\x00",
        b"{'matrix': 1}", b"{matrix: 1}", b"[" * 200_000, b'{"a":' * 50_000, b"[" * 60_000 + b"]" * 60_000,
        b'{"b": [01]}', b'{"b": [+1]}', b'{"b": [.5]}', b'{"b": [0x10]}', b'{"b": [1,]}',
        b'{"b": ["\\ud800"]}',
        b'{"b": "\xc3\x28"}', b'{"b": [' + b"9" * 100_000 + b"]}", b'{"b": [1e999999999]}',
        b'{"matrix": {"id": "m"}, "b": [NaN, Infinity]}', b'{"matrix": {"id": "m"}, "b": [1e400]}',
        b'{"b": "' + b"\\u0000" * 20_000 + b'"}', b'{"' + b"k" * 100_000 + b'": 1}', b" " * 400_000,
        b"{" + b",".join(b'"k%d": 1' % k for k in range(20_000)) + b"}",
    ]  # fmt: skip
    for k, text in enumerate(texts):
        yield Hostile(f"json {k}", headers=JSON, body=text)


def npz_of(**arrays: object) -> bytes:
    file = io.BytesIO()
    np.savez(file, **arrays)  # type: ignore[arg-type]
    return file.getvalue()


def zip_of(members: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()


def npy_of(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array, allow_pickle=True)
    return file.getvalue()


def npy_header(text: str) -> bytes:
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text) + 1) + text.encode() + b"\n"


class Bomb:
    def __reduce__(self) -> tuple:
        return (exec, ("raise SystemExit(7)",))


def good_files() -> dict[str, bytes]:
    npz, mtx = io.BytesIO(), io.BytesIO()
    save_npz(npz, A)
    mmwrite(mtx, A)
    return {
        "npz": npz.getvalue(),
        "mtx": mtx.getvalue(),
        "mtx.gz": gzip.compress(mtx.getvalue(), mtime=0),
        "npy": npy_of(A.toarray()),
    }


def wrong_files(generator: random.Random) -> Iterator[Hostile]:
    banner = b"%%MatrixMarket matrix coordinate real general\n"
    sparse = {"format": np.array("csr"), "shape": np.array([3, 2]), "data": np.array([1.0, 2.0, 3.0])}
    pointers = {"indptr": np.array([0, 1, 2, 3]), "indices": np.array([0, 1, 1])}
    zeros = npy_header("{'descr': '<f8', 'fortran_order': False, 'shape': (20000000,), }") + bytes(
        160_000_000
    )
    files: dict[str, bytes] = {
        "nothing": b"",
        "text": b"hello",
        "zeros": bytes(1000),
        "random": generator.randbytes(5000),
        "html": b"<html></html>",
        "elf": b"\x7fELF" + bytes(100),
        "gzip of nothing": gzip.compress(b""),
        "gzip of text": gzip.compress(b"hello"),
        "gzip bomb": gzip.compress(banner + b"3 2 3\n" + b"\n" * 150_000_000, 1),
        "gzip bomb of comments": gzip.compress(banner + b"%" * 100_000_000, 1),
        "gzip in gzip": gzip.compress(gzip.compress(banner + b"1 1 1\n1 1 1\n")),
        "zip bomb": zip_of({"format.npy": npy_of(np.array("csr")), "shape.npy": npy_of(np.array([3, 2])),
                            "indptr.npy": zeros, "indices.npy": zeros, "data.npy": zeros}),
        "zip of nothing": zip_of({}),
        "zip of another thing": zip_of({"../../evil.npy": b"x", "format.npy": b"y"}),
        "zip of wrong arrays": npz_of(a=np.arange(3), b=np.arange(3)),
        "pickled npy": npy_of(np.array([Bomb()], dtype=object)),
        "pickled npz": npz_of(**{**sparse, **pointers, "data": np.array([Bomb()] * 3, dtype=object)}),
        "pickle": pickle.dumps(Bomb()),
        "npz with columns outside": npz_of(**sparse, **{**pointers, "indices": np.array([0, 1, 9])}),
        "npz with negative columns": npz_of(**sparse, **{**pointers, "indices": np.array([0, -1, 1])}),
        "npz with falling offsets": npz_of(**sparse, **{**pointers, "indptr": np.array([0, 2, 1, 3])}),
        "npz with huge offsets": npz_of(**sparse, **{**pointers, "indptr": np.array([0, 1, 2, 2**60])}),
        "npz with NaN": npz_of(**{**sparse, "data": np.array([1.0, np.nan, 2.0])}, **pointers),
        "npz of complex numbers": npz_of(**{**sparse, "data": np.array([1j, 2, 3])}, **pointers),
        "npz of huge shape": npz_of(**{**sparse, "shape": np.array([2**60, 2**60])}, **pointers),
        "npz of negative shape": npz_of(**{**sparse, "shape": np.array([-3, 2])}, **pointers),
        "npz of three dimensions": npz_of(**{**sparse, "shape": np.array([3, 2, 1])}, **pointers),
        "npz of unknown format": npz_of(**{**sparse, "format": np.array("dok")}, **pointers),
        "npz without data": npz_of(format=np.array("csr"), shape=np.array([3, 2]), **pointers),
        "npy of huge shape": npy_header("{'descr': '<f8', 'fortran_order': False, 'shape': (99999, 9999), }"),
        "npy of negative shape": npy_header("{'descr': '<f8', 'fortran_order': False, 'shape': (-1, 2), }"),
        "npy with code": npy_header("{'descr': __import__('os').abort(), 'shape': (), 'fortran_order': 0}"),
        "npy of strings": npy_of(np.array([["a", "b"]])),
        "npy of one dimension": npy_of(np.arange(3.0)),
        "npy of three dimensions": npy_of(np.zeros((2, 2, 2))),
        "npy without rows": npy_of(np.zeros((0, 5))),
        "npy of deep header": npy_header("(" * 3000),
        "npy of infinities": npy_of(np.array([[np.inf, 1.0]])),
        "mtx banner only": banner,
        "mtx huge": banner + b"1000000000 1000000000 1\n1 1 1\n",
        "mtx of many entries": banner + b"10 10 999999999999\n1 1 1\n",
        "mtx negative": banner + b"-3 2 1\n1 1 1\n",
        "mtx beyond 64 bits": banner + b"99999999999999999999999 1 1\n1 1 1\n",
        "mtx zero index": banner + b"3 2 1\n0 1 1\n",
        "mtx index outside": banner + b"3 2 1\n4 1 1\n",
        "mtx too few": banner + b"3 2 5\n1 1 1\n",
        "mtx too many": banner + b"3 2 1\n1 1 1\n2 1 1\n",
        "mtx NaN": banner + b"3 2 1\n1 1 nan\n",
        "mtx 1e400": banner + b"3 2 1\n1 1 1e400\n",
        "mtx words": banner + b"3 2 1\n1 1 one\n",
        "mtx NUL": banner + b"3 2 1\n1 1 1\x00\n",
        "mtx complex": b"%%MatrixMarket matrix coordinate complex general\n1 1 1\n1 1 1 1\n",
        "mtx symmetric but wide": b"%%MatrixMarket matrix coordinate real symmetric\n2 3 1\n1 1 1\n",
        "mtx vector": b"%%MatrixMarket vector coordinate real general\n3 1\n1 1\n",
        "mtx long line": banner + b"3 2 1\n" + b"1" * 1_500_000,
        "mtx array huge": b"%%MatrixMarket matrix array real general\n100000 100000\n1\n",
    }  # fmt: skip
    for k, (name, content) in enumerate(files.items()):
        if k % 2:
            yield Hostile(name, path="/v1/matrices?name=evil", body=content)
        else:
            yield multipart(name, {"matrix": content, "b": as_json(B)})
            yield multipart(f"b is {name}", {"matrix": good_files()["mtx"], "b": content})
    for kind, content in good_files().items():
        for cut in generator.sample(range(len(content) - 1), 4):
            # A text that lacks its end may still be a matrix.
            yield multipart(
                f"{kind} cut at {cut}", {"matrix": content[:cut], "b": as_json(B)}, may_succeed=True
            )
        for place in generator.sample(range(len(content)), 4):
            flipped = bytearray(content)
            flipped[place] ^= 1 << generator.randrange(8)
            parts = {"matrix": bytes(flipped), "b": as_json(B)}
            yield multipart(f"{kind} with a bit flipped at {place}", parts, may_succeed=True)


def multipart(
    name: str, parts: dict[str, bytes], *, path: str = "/v1/solve", may_succeed: bool = False
) -> Hostile:
    pieces = [
        f'--sep\r\nContent-Disposition: form-data; name="{part}"\r\n\r\n'.encode() + content + b"\r\n"
        for part, content in parts.items()
    ]
    headers = {"Content-Type": "multipart/form-data; boundary=sep"}
    return Hostile(
        name, path=path, headers=headers, body=b"".join(pieces) + b"--sep--\r\n", may_succeed=may_succeed
    )


def wrong_multipart() -> Iterator[Hostile]:
    mtx, b = good_files()["mtx"], as_json(B)
    yield multipart("no matrix", {"b": b})
    yield multipart("no b", {"matrix": mtx})
    yield multipart("both matrices", {"matrix": mtx, "matrix_id": b"mat_0", "b": b})
    yield multipart("unknown part", {"matrix": mtx, "b": b, "file": b"x"})
    yield multipart("wrong id", {"matrix_id": b"../../etc/passwd", "b": b})
    yield multipart("binary id", {"matrix_id": bytes(range(256)), "b": b})
    yield multipart("wrong options", {"matrix": mtx, "b": b, "options": b"{"})
    yield multipart("options of a kind", {"matrix": mtx, "b": b, "options": b"[]"})
    yield multipart("wrong priority", {"matrix": mtx, "b": b, "priority": b"99"})
    yield multipart("wrong deadline", {"matrix": mtx, "b": b, "deadline": b"-1"})
    yield multipart("NaN deadline", {"matrix": mtx, "b": b, "deadline": b"NaN"})
    yield multipart("to be stored without a matrix", {"b": b}, path="/v1/matrices")
    good = multipart("", {"matrix": mtx, "b": b}).body
    disposition = b'Content-Disposition: form-data; name="matrix"\r\n'
    bodies = {
        "no end": good[:-10],
        "no boundary in it": b"hello",
        "nothing": b"",
        "end only": b"--sep--\r\n",
        "doubled part": good.replace(b'name="b"', b'name="matrix"'),
        "no name": good.replace(b'; name="b"', b""),
        "no disposition": good.replace(b"Content-Disposition", b"Content-Something"),
        "empty name": good.replace(b'name="b"', b'name=""'),
        "attachment": good.replace(b"form-data", b"attachment"),
        "encoded part": good.replace(disposition, disposition + b"Content-Transfer-Encoding: base64\r\n"),
        "many headers": good.replace(disposition, disposition + b"X: y\r\n" * 5000),
        "long header": good.replace(disposition, disposition + b"X: " + b"y" * 100_000 + b"\r\n"),
        "long name": good.replace(b'name="b"', b'name="' + b"b" * 900 + b'"'),
        "many parts": b"".join(
            b'--sep\r\nContent-Disposition: form-data; name="p%d"\r\n\r\nx\r\n' % k for k in range(5000)
        ),
        "bare line feeds": good.replace(b"\r\n", b"\n"),
        "carriage returns": b"--sep\r\n" + b"\r" * 200_000,
    }
    kind = {"Content-Type": "multipart/form-data; boundary=sep"}
    for name, body in bodies.items():
        yield Hostile(f"multipart: {name}", headers=kind, body=body)
    for value in ("", ";", "; boundary=", "; boundary=other", f"; boundary={'x' * 400}", '; boundary="'):
        headers = {"Content-Type": f"multipart/form-data{value}"}
        yield Hostile(f"multipart header {value[:20]!r}", headers=headers, body=good)


def wrong_addresses() -> Iterator[Hostile]:
    paths = [
        "/", "//", "/v1", "/v1/", "/v2/solve", "/v1/solve/", "/v1/jobs/", "/v1/jobs/1", "/metrics",
        "/v1/jobs/..%2f..%2fmatrices", "/v1/jobs/%00", "/v1/jobs/%ff%fe/solution", "/v1/jobs/job_" + "0" * 32, "/v1/jobs/" + "a" * 8000,
        "/v1/jobs?state=", "/v1/jobs?cursor=%00%ff", "/v1/jobs?limit=0", "/v1/jobs/job_x?wait=nan", "/v1/jobs/job_x?wait=1e9", "/v1/jobs/job_x/events",
        "/.git/config", "/v1/matrices/", "/v1/matrices/../../etc/passwd", "/v1/matrices/%2e%2e%2f%2e%2e%2fetc%2fpasswd",
        "/v1/matrices/..%5c..", "/v1/matrices/%00", "/v1/matrices/%ff%fe", "/v1/matrices/mat_x/content",
        "/v1/matrices/" + "a" * 8000, "/v1/matrices/..%2fspool/content", "/v1/matrices/mat_" + "0" * 32,
        "/v1/matrices?limit=-1", "/v1/matrices?limit=1e9", "/v1/matrices?limit=",
        "/v1/matrices?limit=5&limit=x", "/v1/matrices?cursor=../..", "/v1/matrices?cursor=%00%ff", "/v1/matrices?cursor=" + "A" * 5000,
    ]  # fmt: skip
    for path in paths:
        yield Hostile(f"GET {path[:40]}", method="GET", path=path)
    for path in paths[6:30]:
        yield Hostile(f"DELETE {path[:40]}", method="DELETE", path=path)
    for method in ("PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND"):
        for path in ("/v1/solve", "/v1/jobs", "/v1/matrices", "/health/live", "/v1/methods"):
            yield Hostile(f"{method} {path}", method=method, path=path)


def wrong_jobs() -> Iterator[Hostile]:
    good = as_json({"matrix": COO, "b": B})
    keys = {"empty": "", "long": "k" * 256, "not ASCII": "schlüssel", "control": "a\tb"}
    for name, key in keys.items():
        headers = {**JSON, "Idempotency-Key": key.encode()}
        yield Hostile(f"key: {name}", path="/v1/jobs", headers=headers, body=good)
    missing = "/v1/jobs/job_" + "0" * 32
    for name, body in {
        "nothing": b"",
        "words": b"now",
        "a list": b"[]",
        "another method": as_json({"options": {"method": "cg"}}),
        "NaN": b'{"options": {"rtol": NaN}}',
        "large": as_json({"options": {"rtol": "9" * 100_000}}),
    }.items():
        for call in ("resume", "cancel"):
            yield Hostile(f"{call}: {name}", path=f"{missing}/{call}", headers=JSON, body=body)
    for start in (
        {"job": ""},
        {"job": "job_" + "0" * 32},
        {"job": "../../etc"},
        {"job": "\u0000"},
        {"job": None},
    ):
        body = as_json({"matrix": COO, "b": B, "x0": start})
        yield Hostile(f"x0 from {start}", headers=JSON, body=body)


def wrong_http() -> Iterator[Hostile]:
    good = as_json({"matrix": COO, "b": B})
    for name, headers in {
        "text": {"Content-Type": "text/plain"},
        "no type": {"Content-Type": ""},
        "strange type": {"Content-Type": "application/json/x;;;=,"},
        "pickle type": {"Content-Type": "application/python-pickle"},
        "utf-16": {"Content-Type": "application/json; charset=utf-16"},
        "gzip": {**JSON, "Content-Encoding": "gzip"},
        "deflate": {**JSON, "Content-Encoding": "deflate, br"},
        "html wanted": {**JSON, "Accept": "text/html"},
        "nothing wanted": {**JSON, "Accept": "*/*;q=0"},
        "nonsense wanted": {**JSON, "Accept": ";;;q=z,,,///"},
    }.items():
        yield Hostile(f"header: {name}", headers=headers, body=good)
    for name, headers in {
        "long id": {**JSON, "X-Request-Id": "x" * 5000},
        "evil id": {**JSON, "X-Request-Id": "<script>\t{{7*7}}"},
        "method override": {**JSON, "X-HTTP-Method-Override": "DELETE"},
        "forwarded": {**JSON, "X-Forwarded-For": "127.0.0.1", "Forwarded": "for=_x", "Host": "evil.example"},
        "range": {**JSON, "Range": "bytes=0-1"},
        "upgrade": {**JSON, "Upgrade": "h2c"},
    }.items():
        yield Hostile(f"header: {name}", headers=headers, body=good, may_succeed=True)
    large = {"too large": 600_000, "far too large": 3_000_000}
    for name, size in large.items():
        yield Hostile(f"json {name}", headers=JSON, body=b" " * size)
    yield Hostile("file too large", path="/v1/matrices", body=bytes(3_000_000))
    post = b"POST /v1/solve HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\n"
    raw = {
        "not HTTP": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        "no version": b"GET\r\n\r\n",
        "old version": b"GET /health/nothing HTTP/1.0\r\n\r\n",
        "strange method": b"BREW /v1/solve HTTP/1.1\r\nHost: x\r\n\r\n",
        "connect": b"CONNECT evil:443 HTTP/1.1\r\nHost: x\r\n\r\n",
        "absolute": b"GET http://evil/etc HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        "no path": b"GET * HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        "negative length": post + b"Content-Length: -5\r\n\r\n",
        "length of words": post + b"Content-Length: many\r\n\r\n",
        "huge length": post + b"Content-Length: 99999999999999\r\n\r\n{}",
        "length beyond 64 bits": post + b"Content-Length: " + b"9" * 40 + b"\r\n\r\n{}",
        "two lengths": post + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
        "length and chunks": post + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "wrong chunks": post + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n",
        "huge chunk": post + b"Transfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n{}",
        "chunks too large": post
        + b"Transfer-Encoding: chunked\r\n\r\n"
        + (b"10000\r\n" + b" " * 65536 + b"\r\n") * 20,
        "header without colon": b"GET /v1/methodss HTTP/1.1\r\nHost x\r\n\r\n",
        "header with NUL": b"GET /v1/methodss HTTP/1.1\r\nHost: x\x00y\r\n\r\n",
        "long header": b"GET /v1/methodss HTTP/1.1\r\nX: " + b"y" * 200_000 + b"\r\n\r\n",
        "many headers": b"GET /v1/methodss HTTP/1.1\r\n" + b"X: y\r\n" * 20_000 + b"\r\n",
    }
    for name, content in raw.items():
        yield Hostile(f"raw: {name}", raw=content)
