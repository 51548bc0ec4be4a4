"""`explain`: what an error code means, and what to do."""

from __future__ import annotations

import rich_click as click

from ai_assets.cli.errors import NotThere
from ai_assets.cli.language import lang_option
from ai_assets.cli.output import OUT, emit_json, json_option, rows_table
from resources.error_codes import Language, codes


@click.command()
@click.argument("code", required=False)
@lang_option("Language of the answer")
@json_option
def explain(code: str | None, lang: Language, as_json: bool) -> int:
    """What an error code means, and what to do; without a code, all of them.

    Example: `ai-assets explain audio_partial`. Codes stand in quarantine, under an error, in answers of the API and in
    alerts.
    """
    known = codes()
    if code is not None and code not in known:
        raise NotThere(f"there is no error code {code!r}; `ai-assets explain` lists them")
    rows = [
        {"code": name, "where": entry.where, "meaning": entry.meaning(lang), "remedy": entry.remedy(lang)}
        for name, entry in known.items()
        if code in (None, name)
    ]
    if as_json:
        emit_json(rows if code is None else rows[0])
    elif code is None:
        OUT.print(rows_table("error codes", rows, ["code", "meaning", "remedy"]))
    else:
        OUT.print(f"{rows[0]['meaning']}\n→ {rows[0]['remedy']}", markup=False, highlight=False)
    return 0
