from __future__ import annotations

import re
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name


def pins(root: Path) -> dict[str, str]:
    lines = (root / "docker/constraints.txt").read_text().splitlines()
    return dict(line.partition(";")[0].split("==") for line in lines if not line.startswith("#"))


def test_every_dependency_is_pinned_within_its_range(root: Path) -> None:
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    pinned = pins(root)
    for text in project["dependencies"]:
        requirement = Requirement(text)
        assert requirement.specifier.contains(pinned[canonicalize_name(requirement.name)]), text


def test_constraints_were_made_for_the_python_of_the_image(root: Path) -> None:
    image = re.search(r"python:([\d.]+)-slim", (root / "docker/Dockerfile").read_text())
    made_on = re.search(r"on Python ([\d.]+):", (root / "docker/constraints.txt").read_text())
    assert image is not None
    assert made_on is not None
    assert image[1] == made_on[1]
