"""Pages that come from the code are as the code is; pages that point somewhere point at what is there."""

from __future__ import annotations

import inspect
import re
import tomllib
from fnmatch import fnmatch
from pathlib import Path

import pytest

from tools import docs
from tools.architecture import needed, package_imports
from tools.licences import licence, package

ROOT = Path(__file__).parents[2]
QUALITY = ROOT / "docs" / "quality"
PAGES = sorted(path for path in (ROOT / "docs").rglob("*.md"))


@pytest.fixture(scope="module")
def written() -> dict[str, str]:
    return {path.name: text for path, text in docs.pages()}


@pytest.mark.parametrize(
    "name", ["assets.md", "commands.md", "licences.md", "architecture.md", "errors.md", "errors.de.md", "errors.fr.md"]
)
def test_a_page_from_the_code_is_up_to_date(written: dict[str, str], name: str) -> None:
    kept = (ROOT / "docs" / name).read_text(encoding="utf-8")
    assert kept == written[name], f"docs/{name} is behind the code: run `make docs`"


def test_a_part_that_nobody_marked_is_an_error() -> None:
    assert docs.filled("a\n<!-- x: from the code -->\nold<!-- end -->", {"x": lambda: "new\n"}).count("new") == 1
    with pytest.raises(ValueError, match="nothing is marked"):
        docs.filled("no mark", {"x": lambda: "new"})


def test_packages_import_each_other_in_one_direction_and_the_picture_says_all_of_it() -> None:
    arrows = package_imports()
    drawn = needed(arrows)
    reached = set(drawn)
    while True:
        more = {(one, end) for one, middle in reached for start, end in drawn if middle == start} - reached
        if not more:
            break
        reached |= more
    assert set(arrows) <= reached
    assert not {(one, other) for one, other in reached if one == other}
    with pytest.raises(ValueError, match="circle"):
        needed(frozenset({("a", "b"), ("b", "a")}))


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_of_a_page_leads_to_something(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    anchors = {re.sub(r"[^\w -]", "", line).strip().lower().replace(" ", "-")
               for line in re.findall(r"^#+ (.*)$", text, flags=re.M)}  # fmt: skip
    for target in re.findall(r"\]\(([^)\s]+)\)", re.sub(r"```.*?```", "", text, flags=re.S)):
        if target.startswith(("http://", "https://")):
            continue
        if target.startswith("#"):
            assert target[1:] in anchors, target
        else:
            assert (page.parent / target.split("#")[0]).exists(), target


def test_every_quality_page_is_in_the_index_with_data_protocol_command_and_limits() -> None:
    text = (QUALITY / "README.md").read_text(encoding="utf-8")
    rows = {
        row[0]: row[1:] for row in re.findall(r"^\| \[(\w+)\]\(\w+\.md\) \|(.*)\|(.*)\|(.*)\|(.*)\|$", text, flags=re.M)
    }
    assert set(rows) == {path.stem for path in QUALITY.glob("*.md")} - {"README"}
    for name, cells in rows.items():
        assert all(cell.strip() for cell in cells), name
        for script in re.findall(r"tests/benchmarks/\w+\.py", cells[2]):
            assert (ROOT / script).is_file(), script


def test_every_benchmark_of_the_repository_is_in_the_index() -> None:
    text = (QUALITY / "README.md").read_text(encoding="utf-8")
    programs = {path.name for path in (ROOT / "tests" / "benchmarks").glob("bench_*.py")}
    assert sorted(name for name in programs if name not in text) == []


def test_every_direct_dependency_has_its_licence_in_the_list() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    page = (ROOT / "docs" / "licences.md").read_text(encoding="utf-8")
    asked = [*project["dependencies"], *(item for extra in project["optional-dependencies"].values() for item in extra)]
    names = {package(item) for item in asked} - {project["name"]}
    assert sorted(name for name in names if f"| {name} | {licence(name)} |" not in page) == []
    assert project["license"] == "Apache-2.0"
    assert "Apache License" in (ROOT / "LICENSE").read_text()


def owners_of(path: str) -> set[str]:
    """Teams of the last line of CODEOWNERS that matches."""
    found: set[str] = set()
    for line in (ROOT / "CODEOWNERS").read_text().splitlines():
        if line and not line.startswith("#"):
            pattern, *teams = line.split()
            inside = pattern.endswith("/") and f"/{path}".startswith(pattern)
            if pattern == "*" or inside or fnmatch(f"/{path}", pattern):
                found = {team.rpartition("/")[2] for team in teams}
    return found


def test_code_owners_agree_with_the_owners_that_assets_name() -> None:
    import importlib

    from ai_assets.contract import CONTRACTS
    from ai_assets.definitions import FAMILIES, family_assets

    names = {key.path[-1] for asset in family_assets() for key in asset.keys}
    files = {}
    for family in FAMILIES:
        for asset in importlib.import_module(f"ai_assets.{family}.assets").ASSETS:
            body = inspect.unwrap(asset.op.compute_fn.decorated_fn)
            path = Path(inspect.getsourcefile(body) or "").relative_to(ROOT)
            files |= {key.path[-1]: str(path) for key in asset.keys}
    assert set(files) == names
    for name, path in files.items():
        assert CONTRACTS[name].owner in owners_of(path), f"{name} in {path}"


def test_code_owners_name_paths_that_exist() -> None:
    for line in (ROOT / "CODEOWNERS").read_text().splitlines():
        if line.startswith("/"):
            assert (ROOT / line.split()[0].strip("/")).exists(), line
