from __future__ import annotations

import re
from pathlib import Path

import docs_page
import pytest

PAGE = "before\n<!-- begin x -->\nold\n<!-- end x -->\nafter\n"


def test_only_the_part_between_the_markers_changes() -> None:
    page = docs_page.rewritten(PAGE, "x", "new\n")
    assert page == "before\n<!-- begin x -->\n\nnew\n\n<!-- end x -->\nafter\n"
    assert docs_page.rewritten(page, "x", "new") == page


@pytest.mark.parametrize("page", ["", "<!-- begin x -->", "<!-- end x --><!-- begin x -->", PAGE + PAGE])
def test_markers_must_be_there_once(page: str) -> None:
    with pytest.raises(ValueError, match="the page needs"):
        docs_page.rewritten(page, "x", "new")


def test_page_has_the_parts_and_what_it_links_to() -> None:
    page = docs_page.PAGE.read_text()
    for name in ("solvers", "parallelization"):
        assert docs_page.rewritten(page, name, "new") != page
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", page):
        assert (docs_page.PAGE.parent / target).exists(), target


def test_benchmarks_of_the_makefile_exist(root: Path) -> None:
    listed = re.search(r"^BENCHMARKS := (.*)$", (root / "Makefile").read_text(), re.MULTILINE)
    assert listed is not None
    scripts = {path.stem for path in (root / "benchmarks").glob("*.py") if "def main(" in path.read_text()}
    assert set(listed[1].split()) == scripts
