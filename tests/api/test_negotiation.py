import pytest
from starlette.datastructures import Headers

from solver_service.api.negotiation import FILE_TYPES, JSON, MULTIPART, NPZ, choose, media_type
from solver_service.errors import NotAcceptableError, UnsupportedMediaTypeError


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("", JSON),
        ("*/*", JSON),
        ("application/*", JSON),
        ("application/json", JSON),
        ("Application/JSON; charset=utf-8", JSON),
        ("application/x-npz", NPZ),
        ("application/x-npz, */*;q=0.1", NPZ),
        ("text/html, application/x-npz;q=0.5, application/json;q=0.4", NPZ),
        ("application/json;q=0, */*", NPZ),
        ("text/html, */*", JSON),
    ],
)
def test_the_best_reply(accept, expected):
    assert choose(accept, (JSON, NPZ)) == expected


@pytest.mark.parametrize(
    "accept", ["text/html", "*/*;q=0", "application/json;q=0", "nonsense", "application/*;q=x"]
)
def test_none_will_do(accept):
    with pytest.raises(NotAcceptableError, match=r"application/json or application/x-npz|application/json"):
        choose(accept, (JSON,))


def test_a_boundary():
    headers = Headers({"content-type": 'multipart/form-data; boundary="a b"'})
    assert media_type(headers, {JSON, MULTIPART}) == (MULTIPART, "a b")


@pytest.mark.parametrize(
    "kind", ["application/json", "application/json; charset=UTF-8", " Application/JSON "]
)
def test_json(kind):
    assert media_type(Headers({"content-type": kind}), {JSON})[0] == JSON


def test_no_type_is_a_file_where_files_may_come():
    assert media_type(Headers({}), FILE_TYPES)[0] == ""
    with pytest.raises(UnsupportedMediaTypeError, match="application/json"):
        media_type(Headers({}), {JSON})


@pytest.mark.parametrize("encoding", ["gzip", "GZIP", "br, identity", "x"])
def test_encodings_are_refused(encoding):
    with pytest.raises(UnsupportedMediaTypeError, match="Content-Encoding"):
        media_type(Headers({"content-type": JSON, "content-encoding": encoding}), {JSON})
