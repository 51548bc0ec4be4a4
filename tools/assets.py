"""`docs/assets.md`: every asset with its owner, inputs, columns and checks; jobs, sensors, schedules."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import dagster as dg

from tools.graph import GROUPS, definitions, graph

HEAD = """# All assets

Written by `make docs` from the definitions; do not edit. What a group is for stands in
[architecture](architecture.md); the same pages, with runs, plots and previews, are in the UI.

"""
KEPT = {"DynamicPartitionsDefinition": "by audio batch", "DailyPartitionsDefinition": "by UTC day"}


def page() -> str:
    """The whole page."""
    nodes = graph()
    order = [key for key in nodes.toposorted_asset_keys if nodes.get(key).group_name in GROUPS]
    parts = [HEAD]
    for group in GROUPS:
        keys = sorted((key for key in order if nodes.get(key).group_name == group), key=order.index)
        links = " · ".join(f"[{name(key)}](#{name(key)})" for key in keys)
        parts.append(f"**{group}**: {links}\n\n")
    for group in GROUPS:
        parts.append(f"## {group}\n\n")
        parts += [asset(nodes.get(key), nodes) for key in order if nodes.get(key).group_name == group]
    parts.append(clockwork())
    return "".join(parts).rstrip() + "\n"


def name(key: dg.AssetKey) -> str:
    return key.path[-1]


def asset(node: Any, nodes: Any) -> str:
    """One asset's section."""
    partitions = KEPT.get(type(node.partitions_def).__name__, "whole") if node.partitions_def else "whole"
    facts = [
        f"owner {', '.join(node.owners).replace('team:', '')}",
        f"kept {partitions}",
        f"kinds {', '.join(sorted(node.kinds))}",
    ]
    lines = [f"### {name(node.key)}\n\n", f"{flat(node.description)}\n\n", f"*{'; '.join(facts)}*\n\n"]
    for word, keys in (("From", node.parent_keys), ("Into", node.child_keys)):
        if keys:
            lines.append(f"{word}: " + ", ".join(f"[{name(key)}](#{name(key)})" for key in sorted(keys)) + "\n\n")
    checks = sorted(node.check_keys, key=lambda key: key.name)
    if checks:
        lines.append("Checks: " + "; ".join(check(nodes.get(key)) for key in checks) + "\n\n")
    return "".join(lines) + columns(node)


def check(node: Any) -> str:
    blocking = ", blocking" if node.blocking else ""
    return f"`{node.key.name}` ({flat(node.description).rstrip('.')}{blocking})"


def columns(node: Any) -> str:
    """The table of columns, empty where the asset is no table."""
    schema = (node.metadata or {}).get("dagster/column_schema")
    if schema is None:
        return ""
    described = schema.value if hasattr(schema, "value") else schema
    rows = "".join(f"| `{item.name}` | {item.type} | {cell(item)} |\n" for item in described.columns)
    return f"| column | type | meaning |\n| --- | --- | --- |\n{rows}\n"


def cell(item: Any) -> str:
    """Meaning and bounds of a column."""
    bounds = "; ".join(item.constraints.other) if item.constraints else ""
    text = flat(item.description) + (f" ({bounds})" if bounds else "")
    return text.replace("|", "\\|")


def clockwork() -> str:
    """Jobs, sensors and schedules."""
    repository = definitions().get_repository_def()
    jobs = [item for item in repository.get_all_jobs() if not item.name.startswith("__")]
    lines = ["## Jobs\n\n", *rows((f"`{job.name}`", job.description) for job in sorted(jobs, key=lambda job: job.name))]
    sensors = sorted(repository.sensor_defs, key=lambda sensor: sensor.name)
    lines += ["\n## Sensors\n\n", *rows((f"`{sensor.name}`", sensor.description) for sensor in sensors)]
    schedules = sorted(repository.schedule_defs, key=lambda schedule: schedule.name)
    lines += ["\n## Schedules (UTC)\n\n"]
    lines += rows((f"`{item.name}`, `{item.cron_schedule}`, {item.job_name}", item.description) for item in schedules)
    return "".join(lines)


def rows(items: Iterator[tuple[str, str | None]] | Any) -> list[str]:
    return ["| name | what |\n| --- | --- |\n", *(f"| {first} | {flat(text)} |\n" for first, text in items)]


def flat(text: str | None) -> str:
    """A description as one line of Markdown."""
    return " ".join((text or "").split())
