"""README and docs are run: their Python, their curl against a real service; what they name must exist."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from solver_service.settings import setting_rows

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
DOCUMENTS = {name: (ROOT / name).read_text() for name in ("README.md", "docs/jobs.md", "docs/many.md")}
FOR_TESTS = {"SOLVER_SERVICE_TEST_MATRICES"}
FOR_COMPOSE = {"SOLVER_SERVICE_MEMORY"}


class Block(NamedTuple):
    language: str
    text: str
    place: str


def blocks() -> list[Block]:
    return [
        Block(match[1], match[2], f"{name}:{document.count(chr(10), 0, match.start()) + 1}")
        for name, document in DOCUMENTS.items()
        for match in re.finditer(r"^```(\w+)\n(.*?)^```$", document, re.MULTILINE | re.DOTALL)
    ]


def cases(language: str, word: str = "") -> list[object]:
    wanted = [block for block in blocks() if block.language == language and word in block.text]
    assert wanted, f"the README has no {language} block with {word!r}"
    return [pytest.param(block.text, id=block.place) for block in wanted]


@pytest.mark.parametrize("text", cases("python"))
def test_python_runs(text: str, tmp_path: Path) -> None:
    script = tmp_path / "block.py"
    script.write_text(text)
    run = subprocess.run(
        [sys.executable, "-W", "error", script.name],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout, "an example should print something"


@pytest.mark.parametrize("text", cases("bash", "curl"))
def test_curl_runs(text: str, service: str, tmp_path: Path) -> None:
    if not shutil.which("curl"):
        pytest.skip("curl is not installed")
    # curl reads this file: any refusal by the service fails the block.
    (tmp_path / ".curlrc").write_text("fail-with-body\nshow-error\nno-progress-meter\nnoproxy = 127.0.0.1\n")
    run = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", text.replace("http://127.0.0.1:8000", service)],
        cwd=tmp_path,
        env={
            "PATH": f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin",
            "CURL_HOME": str(tmp_path),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert "converged" in run.stdout


def test_settings_table_is_the_settings() -> None:
    table = [f"| `{row.variable}` | {row.default} | {row.description} |" for row in setting_rows()]
    start = README.index(table[0])
    assert README[start:].splitlines()[: len(table)] == table


def test_variables_named_exist() -> None:
    named = {name for text in DOCUMENTS.values() for name in re.findall(r"SOLVER_SERVICE_[A-Z_]*[A-Z]", text)}
    assert named <= {row.variable for row in setting_rows()} | FOR_TESTS | FOR_COMPOSE


def test_make_targets_named_exist() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(
        re.findall(r"\bmake ([a-z]+)", " ".join(re.findall(r"`[^`]*`|^```.*?^```", README, re.M | re.S)))
    )
    assert {"run", "serve", "test", "lint", "bench"} <= named <= targets


def test_links_lead_somewhere() -> None:
    for name, text in DOCUMENTS.items():
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", text):
            assert ((ROOT / name).parent / target).exists(), target
