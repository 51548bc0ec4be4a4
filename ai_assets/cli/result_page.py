"""The page of results that `demo` ends with: what was made, models beside baselines, examples; in three languages.

The sentences lie in `result_texts.json`, each in English, German and French.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ai_assets.audio_analysis.report_words import Language, Texts, read_texts
from ai_assets.cli.output import OUT, rows_table

if TYPE_CHECKING:
    from resources.platform import Platform


@dataclass(frozen=True)
class Made:
    """What one call made: runs, seconds, "passed/all" checks by asset, checks that failed; whether of own data."""

    runs: int
    seconds: float
    check_counts: dict[str, str]
    failed_checks: list[dict[str, Any]]
    own: bool = False


@cache
def texts() -> Texts:
    """Key to language to sentence."""
    return read_texts(Path(__file__).with_name("result_texts.json"))


def result_page(platform: Platform, made: Made, lang: Language) -> None:
    """Print the page on standard output."""
    from ai_assets.look import home_status
    from ai_assets.results import content_places, example_listener, example_track, model_metrics
    from ai_assets.serving.room_words import Words

    def say(key: str, **values: Any) -> str:
        return texts()[key][lang].format(**values)

    def table(title: str, rows: list[dict[str, Any]], columns: list[str] | None = None) -> None:
        names = columns or list(rows[0])
        OUT.print(rows_table(title, [{say(f"col_{name}"): row.get(name) for name in names} for row in rows]))

    if not made.runs:
        OUT.print(say("up_to_date"))
    assets = [row | {"checks": made.check_counts.get(row["asset"])} for row in home_status(platform)["assets"]]
    table(say("assets"), assets, ["asset", "partitions", "rows", "bytes", "checks"])
    models = model_metrics(platform)
    if models:
        table(say("models" if made.own else "models_synthetic"), models)
    if made.failed_checks:
        table(say("failed_checks"), made.failed_checks, ["asset", "check", "severity", "description"])
    listener = example_listener(platform)
    if listener:
        table(
            say("for_listener", listener=listener["name"], plays=listener["plays"]),
            [
                {**row, "why": "; ".join(Words(lang).reason(reason) for reason in row["why"])}
                for row in listener["rows"]
            ],
        )
    track = example_track(platform)
    if track:
        table(say("sounds_like", track=track["name"]), track["rows"])
    for place in content_places(platform, lang):
        OUT.print(say(f"made_{place['kind']}", count=place["count"], example=place["example"]), highlight=False)
    OUT.print(say("quarantine" if made.own else "quarantine_synthetic", count=len(platform.quarantine.rows())))
    OUT.print(f"[dim]{say('further', runs=made.runs, seconds=round(made.seconds))}[/dim]")
    for command, key in (("make ui", "open_ui"), (".venv/bin/ai-assets --help", "open_help")):
        OUT.print(f"  {command:32} {say(key)}")
