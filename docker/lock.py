"""Print the versions of all packages that the installed service needs, as pip constraints.

Run by ``make lock``. It reads what is installed, so the image gets exactly what the tests ran with.
"""

from __future__ import annotations

import sys
from importlib.metadata import distribution
from pathlib import Path

from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

PROJECT = "solver-service[postgres]"
DOCKERFILE = Path(__file__).with_name("Dockerfile")


def runtime_versions(project: str) -> dict[str, str]:
    """Map each package that `project` needs, directly or not, to its installed version.

    A package that only some machines need keeps the marker that says which.
    """
    versions: dict[str, str] = {}
    seen: set[tuple[str, str]] = set()
    pending = [Requirement(project)]
    while pending:
        requirement = pending.pop()
        name = canonicalize_name(requirement.name)
        installed = distribution(name)
        marker = requirement.marker
        some = "" if marker is None or "platform_machine" not in str(marker) else f"; {marker}"
        versions[name] = f"{installed.version}{some}"
        for extra in ("", *requirement.extras):
            if (name, extra) in seen:
                continue
            seen.add((name, extra))
            environment = {**default_environment(), "extra": extra}
            for text in installed.requires or ():
                needed = Requirement(text)
                if needed.marker is None or needed.marker.evaluate(environment):
                    pending.append(needed)
    del versions[canonicalize_name(Requirement(project).name)]
    return versions


def main() -> int:
    """Print the constraints, or say why this Python cannot make them."""
    running = f"{sys.version_info.major}.{sys.version_info.minor}"
    if f"python:{running}-slim" not in DOCKERFILE.read_text():
        print(
            f"The image uses another Python than {running}: make .venv with that one first.", file=sys.stderr
        )
        return 2
    print(f"# Made by `make lock` on Python {running}: what the image installs.")
    for name, version in sorted(runtime_versions(PROJECT).items()):
        print(f"{name}=={version}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
