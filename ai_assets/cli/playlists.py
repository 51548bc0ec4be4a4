"""`playlists`: the lists that are kept, with their titles and texts; asking for lists, and exporting them."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import rich_click as click

from ai_assets.cli.errors import NotThere
from ai_assets.cli.output import OUT, emit_json, json_option, platform_of, rows_table
from ai_assets.content_generation.text.lexicon import LANGUAGES


@click.group()
def playlists() -> None:
    """Playlists of listeners and by theme: familiar, discovery, mixes; from the same filter as every answer."""


LANG = click.option("--lang", type=click.Choice(LANGUAGES), default="en", show_default=True, help="Of title and text.")


@playlists.command("list")
@click.option("--listener", help="Only those of this listener (the id used in the events), and those for all.")
@LANG
@json_option
@click.pass_context
def list_playlists(ctx: click.Context, listener: str | None, lang: str, as_json: bool) -> int:
    """Names, kinds, titles and lengths, as far as they may be shown at this moment.

    Example: `ai-assets playlists list --listener listener-0007`.
    """
    from ai_assets.content_generation.playlist_words import published_words, words_for
    from ai_assets.recommendation_update.answers import NothingToAnswer
    from ai_assets.recommendation_update.playlist_answers import playlist_lists

    platform = platform_of(ctx)
    try:
        lists = playlist_lists(platform, platform.pseudonyms.of(listener) if listener is not None else None)
    except NothingToAnswer as error:
        raise NotThere(str(error.args[0])) from None
    if not lists:
        raise NotThere("there are no playlists yet; make them with `ai-assets run`")
    words = published_words(platform, lang)
    found = [
        {
            "playlist": name, "kind": rows[0]["kind"], "version": rows[0]["version"],
            "title": words_for(words, rows).title or name, "tracks": len(rows),
        }
        for name, rows in sorted(lists.items())
    ]  # fmt: skip
    if as_json:
        emit_json(found)
    else:
        OUT.print(rows_table("playlists", found, ["playlist", "kind", "version", "title", "tracks"]))
    return 0


@playlists.command("show")
@click.argument("name")
@LANG
@json_option
@click.pass_context
def show_playlist(ctx: click.Context, name: str, lang: str, as_json: bool) -> int:
    """The tracks of one playlist with a reason each; what rules exclude at this moment is left out.

    Example: `ai-assets playlists show genre-jazz --lang fr`.
    """
    platform, rows = _rows(ctx, name)
    words = _words(platform, rows, lang)
    tracks = [{key: row[key] for key in ("track", "title", "artist", "reason")} for row in rows]
    if as_json:
        version = rows[0]["version"] if rows else None
        emit_json({"playlist": name, "version": version, "title": words[0], "text": words[1], "tracks": tracks})
        return 0
    if words[1]:
        OUT.print(words[1], highlight=False, markup=False)
    OUT.print(rows_table(words[0] or name, tracks, ["title", "artist", "reason"]))
    return 0


@playlists.command("export")
@click.argument("name")
@click.option(
    "--format", "form", type=click.Choice(["m3u8", "jspf"]), default="m3u8", show_default=True, help="Of the file."
)
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), help="Folder to write into.")
@LANG
@click.pass_context
def export_playlist(ctx: click.Context, name: str, form: Any, out: Path | None, lang: str) -> int:
    """Write a playlist as M3U8 or JSPF, to standard output or into a folder.

    Example: `ai-assets playlists export genre-jazz --format m3u8 --out lists`
    """
    from ai_assets.recommendation_update.playlist_answers import playlist_file

    platform, rows = _rows(ctx, name)
    title, described = _words(platform, rows, lang)
    text = playlist_file(platform, name, form, title=title, text=described)
    if out is None:
        click.echo(text, nl=False)
        return 0
    out.mkdir(parents=True, exist_ok=True)
    file = out / f"{re.sub(r'[^A-Za-z0-9._-]+', '-', name)}.{form}"
    file.write_text(text, encoding="utf-8")
    OUT.print(str(file), highlight=False, markup=False)
    return 0


@playlists.command("add")
@click.argument("name")
@click.option("--seed", "seeds", multiple=True, metavar="TRACK", help="A track to begin with; may be given again.")
@click.option("--genre", default="", help="Only this genre.")
@click.option("--mood", default="", help="Only this mood.")
@click.option("--tempo", metavar="LOW..HIGH", help="Beats per minute, for example 90..120.")
@click.option("--energy", metavar="LOW..HIGH", help="Energy from 0 to 1, for example ..0.4.")
@click.option("--years", metavar="LOW..HIGH", help="Years of publication.")
@click.option("--length", type=click.IntRange(3, 200), default=15, show_default=True, help="Number of tracks.")
@click.option("--listener", help="For this listener, by their taste and under their rules; for all when left out.")
@json_option
@click.pass_context
def add_playlist(
    ctx: click.Context,
    /,
    name: str,
    seeds: tuple[str, ...],
    genre: str,
    mood: str,
    listener: str | None,
    length: int,
    as_json: bool,
    **ranges: str | None,
) -> int:
    """Ask for a playlist NAME by theme or by seed tracks; kept up to date with the others from now on.

    NAME is its stable name: lower-case letters, digits and hyphens. The same NAME again replaces it.

    Examples: `ai-assets playlists add calm-jazz --genre jazz --energy ..0.4`,
    `ai-assets playlists add like-these --seed "The Example - A Song" --seed TRACK`
    """
    from ai_assets.recommendation_update.answers import NothingToAnswer, find_track, snapshot_of
    from ai_assets.recommendation_update.wishes import Wish, WishStore, range_of

    try:
        tempo, energy, years = (
            range_of(text) if (text := ranges[key]) is not None else None for key in ("tempo", "energy", "years")
        )
        wish = Wish(name, None, seeds, genre, mood, tempo, energy, years, length).checked()
    except ValueError as error:
        raise click.BadParameter(str(error)) from None
    platform = platform_of(ctx, prepare=True)
    try:
        snapshot = snapshot_of(platform)
        found = [find_track(snapshot, seed, home=platform.home.root) for seed in seeds]
    except NothingToAnswer as error:
        raise NotThere(str(error.args[0])) from None
    ids = tuple(str(snapshot.catalogue["track"][item]) for item in found)
    pseudonym = platform.pseudonyms.of(listener) if listener is not None else None
    WishStore(platform.database).add(replace(wish, seeds=ids, listener=pseudonym))
    platform.audit.append("playlist_added", "cli", {"playlist": name, "kind": wish.kind})
    _, rows = _rows(ctx, name)
    if as_json:
        emit_json({"playlist": name, "kind": wish.kind, "tracks": len(rows)})
    elif rows:
        OUT.print(f"{name} has {len(rows)} tracks: ai-assets playlists show {name}", highlight=False)
    else:
        OUT.print(f"{name} is kept, but fewer than three tracks fit it now", highlight=False)
    return 0


@playlists.command("remove")
@click.argument("name")
@json_option
@click.pass_context
def remove_playlist(ctx: click.Context, name: str, as_json: bool) -> int:
    """Give up a playlist that was asked for; its earlier versions stay in `playlists_history` for a while.

    Example: `ai-assets playlists remove calm-jazz`.
    """
    from ai_assets.recommendation_update.wishes import WishStore

    platform = platform_of(ctx, prepare=True)
    try:
        WishStore(platform.database).remove(name)
    except LookupError as error:
        raise NotThere(f"{error.args[0]}; ai-assets playlists list names them") from None
    platform.audit.append("playlist_removed", "cli", {"playlist": name})
    if as_json:
        emit_json({"playlist": name, "removed": True})
    else:
        OUT.print(f"{name} is no longer made", highlight=False)
    return 0


def _rows(ctx: click.Context, name: str) -> tuple[Any, list[dict[str, Any]]]:
    from ai_assets.recommendation_update.answers import NothingToAnswer
    from ai_assets.recommendation_update.playlist_answers import playlist_rows

    platform = platform_of(ctx)
    try:
        return platform, playlist_rows(platform, name)
    except NothingToAnswer as error:
        raise NotThere(str(error.args[0])) from None


def _words(platform: Any, rows: list[dict[str, Any]], lang: str) -> tuple[str, str]:
    """Title and text of a list; empty where content generation has none that is published and true of it."""
    from ai_assets.content_generation.playlist_words import published_words, words_for

    words = words_for(published_words(platform, lang), rows) if rows else None
    return (words.title, words.text) if words is not None else ("", "")
