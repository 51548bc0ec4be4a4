"""With what a model was made: code, revision and environment, and the model card that says so.

Belongs here: facts about the making that every model shares. What a model is worth is said by the one who trained it.
"""

from __future__ import annotations

import platform
import subprocess
from collections.abc import Mapping
from functools import cache
from importlib import metadata
from pathlib import Path

LIBRARIES = ("numpy", "scipy", "scikit-learn", "lightgbm", "torch", "pandas", "dagster", "mlflow")
Groups = Mapping[str, Mapping[str, float]]


@cache
def git_revision() -> str:
    """Commit of the checkout that this code runs from, `-dirty` when tracked files differ; `none` outside of one."""
    folder = Path(__file__).parent

    def git(*words: str) -> str:
        return subprocess.run(
            ["git", "-C", str(folder), *words], capture_output=True, text=True, check=True, timeout=10
        ).stdout.strip()

    try:
        revision = git("rev-parse", "HEAD")
        # A folder that merely lies inside somebody else's checkout has no revision of its own.
        git("ls-files", "--error-unmatch", str(Path(__file__)))
        return revision + ("-dirty" if git("status", "--porcelain", "--untracked-files=no", "--", ".") else "")
    except (OSError, subprocess.SubprocessError):
        return "none"


@cache
def environment() -> dict[str, str]:
    """Python, machine and the versions of the libraries that make models; what is not installed is left out."""
    found = {"python": platform.python_version(), "machine": f"{platform.system()} {platform.machine()}"}
    for name in LIBRARIES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def record_tags(code_version: str) -> dict[str, str]:
    """Tags of a registered version."""
    made = {f"environment.{name}": value for name, value in environment().items()}
    return {"code_version": code_version, "git_revision": git_revision(), **made}


def model_card(
    text: str,
    *,
    data_versions: Mapping[str, str],
    metrics: Mapping[str, float],
    baselines: Mapping[str, float],
    groups: Groups,
    code_version: str,
) -> str:
    """Markdown: what the trainer says (`text`: purpose, data, limits), then figures, groups, data and making."""
    parts = [text.rstrip()]
    if metrics or baselines:
        rows = [(name, value, "") for name, value in metrics.items()]
        rows += [(name, value, "baseline") for name, value in baselines.items()]
        lines = [f"| {name} | {_figure(value)} | {kind} |" for name, value, kind in rows]
        parts.append("\n".join(["## Figures", "", "| metric | value | |", "| --- | --- | --- |", *lines]))
    if groups:
        names = sorted({name for values in groups.values() for name in values})
        lines = [
            f"| {group} | " + " | ".join(f"{_figure(values[name])}" if name in values else "" for name in names) + " |"
            for group, values in groups.items()
        ]
        head = [f"| group | {' | '.join(names)} |", "| --- |" + " --- |" * len(names)]
        interval = ["", "`_low` and `_high`: 95 % interval."] if any(name.endswith("_low") for name in names) else []
        parts.append("\n".join(["## By group", "", *head, *lines, *interval]))
    if data_versions:
        lines = [f"- {asset}: {_shown(version)}" for asset, version in sorted(data_versions.items())]
        parts.append("\n".join(["## Data", "", *lines]))
    made = ", ".join(f"{name} {value}" for name, value in environment().items())
    parts.append(f"## Made with\n\n- code version {code_version}, revision {git_revision()}\n- {made}")
    return "\n\n".join(parts) + "\n"


def _figure(value: float) -> str:
    """Counts whole, all else with four decimals."""
    return f"{value:,.0f}" if float(value).is_integer() and abs(value) > 1 else f"{value:.4f}"


def _shown(versions: str) -> str:
    """Data versions of a table, the first three of many."""
    each = [one for one in versions.split(",") if one]
    more = f" and {len(each) - 3} more" if len(each) > 3 else ""
    return (", ".join(each[:3]) or "none yet") + more
