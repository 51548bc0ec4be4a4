"""The diagrams of `docs/architecture.md`: how the groups of assets follow each other, and who imports whom."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from tools.graph import GROUPS, graph

ROOT = Path(__file__).parents[1]
TOP = ("sensors", "ai_assets", "resources")

# Modules that stand beside the packages of `ai_assets`, under the name their box has.
COMPOSITION = ("definitions", "automation")
ENGINE = ("launch", "planning", "on_workers", "maintenance", "restoring")
LOOKING = ("look", "results", "canary")
GROUND = ("partitions", "freshness")


def lineage() -> str:
    """The groups of assets as a Mermaid chart: an arrow where an asset of one group is made from one of another."""
    nodes = graph()
    groups = {key: nodes.get(key).group_name for key in nodes.get_all_asset_keys()}
    arrows = {
        (groups[parent], groups[key])
        for key in groups
        for parent in nodes.get(key).parent_keys
        if groups[parent] != groups[key]
    }
    boxes = [f'    {group}["{group}<br>{_few(groups, group)}"]' for group in GROUPS]
    return _chart("LR", boxes, sorted(arrows, key=lambda arrow: (GROUPS.index(arrow[0]), GROUPS.index(arrow[1]))))


def _few(groups: dict, group: str) -> str:
    names = sorted(key.path[-1] for key, name in groups.items() if name == group)
    return f"{len(names)} assets"


def imports() -> str:
    """The packages as a Mermaid chart of who imports whom, less what follows from other arrows."""
    arrows = needed(package_imports())
    boxes = [f'    {box}["{LABELS.get(box, box)}"]' for box in sorted({end for arrow in arrows for end in arrow})]
    return _chart("TD", boxes, sorted(arrows))


LABELS = {
    "composition": "definitions, automation, freshness",
    "engine": "launch, planning, maintenance, restoring",
    "looking": "look, results",
    "tasks": "tasks of the families",
}


def _chart(direction: str, boxes: list[str], arrows: list[tuple[str, str]]) -> str:
    lines = [f"    {one} --> {other}" for one, other in arrows]
    return "\n".join(["```mermaid", f"flowchart {direction}", *boxes, *lines, "```", ""])


@cache
def package_imports() -> frozenset[tuple[str, str]]:
    """Every pair (importing box, imported box), imports inside functions too; no box twice in a pair."""
    modules = {_dotted(path): path for top in TOP for path in (ROOT / top).rglob("*.py")}
    pairs = set()
    for module, path in modules.items():
        for target in _imported(path, modules):
            one, other = box(module), box(target)
            # A family's package hands out its task when asked for it; its modules do not need it.
            handed_out = path.name == "__init__.py" and other == "tasks"
            if one and other and one != other and not handed_out:
                pairs.add((one, other))
    return frozenset(pairs)


def box(module: str) -> str | None:
    """In which box a module stands; None for the bare package `ai_assets`."""
    parts = module.split(".")
    if parts[0] != "ai_assets":
        return parts[0]
    if len(parts) == 1:
        return None
    if parts[-1] == "tasks" and parts[1] != "contract":
        return "tasks"
    for names, title in ((COMPOSITION, "composition"), (ENGINE, "engine"), (LOOKING, "looking"), (GROUND, "contract")):
        if parts[1] in names:
            return title
    return parts[1]


def needed(arrows: frozenset[tuple[str, str]]) -> set[tuple[str, str]]:
    """The arrows that do not follow from others (transitive reduction). Raises ValueError where they go in a circle."""
    below: dict[str, set[str]] = {}
    for one, other in arrows:
        below.setdefault(one, set()).add(other)

    @cache
    def reached(start: str) -> frozenset[str]:
        return frozenset(below.get(start, ())) | {end for near in below.get(start, ()) for end in reached(near)}

    try:
        for start in below:
            reached(start)
    except RecursionError:
        raise ValueError("the packages import each other in a circle") from None
    return {(one, other) for one, other in arrows if not any(other in reached(near) for near in below[one] - {other})}


def _imported(path: Path, modules: dict[str, Path]) -> Iterator[str]:
    """Modules of the project that a file imports, at its top or inside a function."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found = [item.name for item in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            found = [f"{node.module}.{item.name}" for item in node.names]
            found = [name if name in modules else node.module for name in found]
        else:
            continue
        yield from (name for name in found if name.split(".")[0] in TOP)


def _dotted(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
