"""How commands speak: answers on standard output (tables or one JSON value), progress and remarks on standard error."""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import rich_click as click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    from ai_assets.contract.progress import Progress
    from ai_assets.planning import Item, RunPlan
    from resources.platform import Platform

MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(\+00:00|Z)")  # UTC
Thing = TypeVar("Thing")
DIGEST = re.compile(r"[0-9a-f]{64}")
OUT = Console(soft_wrap=True)
ERR = Console(stderr=True, soft_wrap=True)

json_option = click.option("--json", "as_json", is_flag=True, help="Answer with one JSON value and nothing else.")


def settings_of(ctx: click.Context) -> Any:
    from resources.settings import load_settings

    home = (ctx.obj or {}).get("home")
    return load_settings(**({"home": home} if home else {}))


def platform_of(ctx: click.Context, *, prepare: bool = False) -> Platform:
    """The platform of the chosen home. Raises NotThere when the home was never made and `prepare` is off."""
    from resources.platform import Platform

    settings = settings_of(ctx)
    from ai_assets.home import is_prepared, prepare_home

    if prepare:
        return prepare_home(settings)
    if not settings.places.database.exists() and settings.database_url is None:
        from ai_assets.cli.errors import NotThere

        raise NotThere(f"there is no home at {settings.home}; make one with `ai-assets run` or `make demo`")
    return Platform(settings) if is_prepared(settings) else prepare_home(settings)


def person() -> str:
    """Who uses the command line, for the audit: the account's name."""
    import getpass

    try:
        return f"cli:{getpass.getuser()}"
    except (OSError, KeyError):
        return "cli"


def emit_json(value: Any) -> None:
    """One line of JSON; bytes of a file name that are no UTF-8 are escaped, as JSON and its readers want them."""
    text = json.dumps(value, ensure_ascii=False, default=str, allow_nan=False)
    sys.stdout.write(_sayable(text) + "\n")
    sys.stdout.flush()


def literal(text: object) -> str:
    """Text from outside for a console that reads markup: "[remix]" in a title or file name stays what it is."""
    return escape(_sayable(str(text)))


def _sayable(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()


def rows_table(title: str, rows: Sequence[dict[str, Any]], columns: Iterable[str] | None = None) -> Table:
    """Rows as a table for people."""
    names = list(columns) if columns is not None else list(rows[0]) if rows else []
    table = Table(title=literal(title), title_justify="left", header_style="bold")
    for name in names:
        numeric = bool(rows) and isinstance(rows[0].get(name), int | float) and not isinstance(rows[0].get(name), bool)
        table.add_column(name, justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        table.add_row(*(literal(cell(row.get(name), name)) for name in names))
    return table


def fitting(rows: Sequence[dict[str, Any]], columns: Sequence[str], width: int) -> list[str]:
    """The first columns that stand beside each other on a terminal so wide, each cell at most a third of it."""
    kept: list[str] = []
    left = width - 1
    for name in columns:
        widest = max(len(name), *(len(cell(row.get(name), name)) for row in rows), 1)
        left -= min(widest, width // 3) + 3
        if kept and left < 0:
            break
        kept.append(name)
    return kept


def cell(value: Any, column: str = "") -> str:
    """A value as people read it: moments to the minute, digests by their beginning, numbers with thousands' commas."""
    if value is None or (isinstance(value, float) and value != value):
        return "-"
    if isinstance(value, str) and MOMENT.fullmatch(value):
        return value[:16].replace("T", " ")
    if isinstance(value, str) and DIGEST.fullmatch(value):
        return f"{value[:12]}…"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:,.3f}".rstrip("0").rstrip(".")
    if isinstance(value, int):
        return str(value) if column == "year" else f"{value:,}"
    return str(value)


def counted(things: Iterable[Thing], what: str, total: int) -> Iterator[Thing]:
    """The things, with a bar on standard error that says how many are done and the time left; on a terminal only."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=ERR, transient=True, disable=not ERR.is_terminal) as progress:
        task = progress.add_task(what, total=total)
        for thing in things:
            yield thing
            progress.advance(task)


class StepPrinter:
    """Progress of a launch on standard error: one line per step, live counts inside long ones on a terminal."""

    def __init__(self, console: Console = ERR) -> None:
        self._console = console
        self._started: dict[str, float] = {}
        self._status: Any = None

    def on_run(self, plan: RunPlan, items: Sequence[Item]) -> None:
        reasons = sorted({item.reason for item in items})
        what = f"{len(plan.keys)} partitions" if len(plan.keys) > 1 else plan.keys[0] if plan.keys else ""
        self._console.print(f"[bold]▸ {', '.join(plan.assets)}[/bold] [dim]{what} ({', '.join(reasons)})[/dim]")

    def __call__(self, news: Progress) -> None:
        if news.phase == "start":
            self._started[news.step] = time.monotonic()
            if self._console.is_terminal:
                self._stop()
                self._status = self._console.status(f"{news.step} …")
                self._status.start()
        elif news.phase == "work" and self._status is not None:
            self._status.update(f"{news.step} {news.done}/{news.total} {self._left(news)} {news.detail}")
        elif news.phase == "end":
            self._stop()
            seconds = time.monotonic() - self._started.get(news.step, time.monotonic())
            self._console.print(f"  [green]✓[/green] {news.step} [dim]{seconds:.1f} s[/dim]")

    def _left(self, news: Progress) -> str:
        spent = time.monotonic() - self._started.get(news.step, time.monotonic())
        if not news.done or spent < 2:
            return ""
        return f"[dim]{spent / news.done * (news.total - news.done):.0f} s left[/dim]"

    def _stop(self) -> None:
        if self._status is not None:
            self._status.stop()
            self._status = None

    def close(self) -> None:
        self._stop()
