"""The reference page and its schema."""

from __future__ import annotations

import re


def test_the_reference_loads_nothing_from_outside(client):
    page = client.get("/docs")
    assert page.status_code == 200
    assert "text/html" in page.headers["content-type"]
    links = re.findall(r"""(?:src|href)=["']([^"']+)""", page.text)
    assert links
    for link in links:
        assert link.startswith("/"), f"{link} leaves this host"
        assert client.get(link).status_code == 200, link


def test_every_call_is_described(client):
    paths = client.get("/openapi.json").json()["paths"]
    assert set(paths) == {
        "/v1/solve",
        "/v1/jobs",
        "/v1/jobs/{id}",
        "/v1/jobs/{id}/solution",
        "/v1/jobs/{id}/events",
        "/v1/jobs/{id}/cancel",
        "/v1/jobs/{id}/resume",
        "/v1/matrices",
        "/v1/matrices/{id}",
        "/v1/matrices/{id}/content",
        "/v1/methods",
        "/health/live",
        "/health/ready",
    }
    for path, operations in paths.items():
        for method, operation in operations.items():
            assert operation["summary"], (method, path)
            assert operation["responses"], (method, path)
