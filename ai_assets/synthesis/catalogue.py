"""Plans the library: who plays what in which style, on which album, and as which kind of file.

Here belongs the list of pieces, decided before anything sounds. A plan is complete: from it alone a worker makes the
piece, so that the number of workers cannot matter.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, TypeVar

import numpy as np

from ai_assets.synthesis.audio_files import Tags
from ai_assets.synthesis.naming import artist_names, slug, titles
from ai_assets.synthesis.styles import NEIGHBOURS, STYLES

Size = Literal["demo", "tiny"]
T = TypeVar("T")

# (extension, share): formats are dealt without regard to style, or a classifier could learn the codec
_FORMATS = (("mp3", 0.23), ("ogg", 0.33), ("flac", 0.2), ("wav", 0.15), ("aiff", 0.05), ("opus", 0.04))
# the same with fewer of those that take long to encode
_QUICK_FORMATS = (("mp3", 0.1), ("ogg", 0.15), ("flac", 0.4), ("wav", 0.25), ("aiff", 0.05), ("opus", 0.05))
_RATES = ((44100, 0.62), (48000, 0.18), (32000, 0.08), (22050, 0.12))


@dataclass(frozen=True)
class SizePlan:
    """How much of everything a size has; ``seconds`` is the range of lengths, ``formats`` the shares of extensions."""

    styles: tuple[str, ...]
    artists_per_style: int
    tracks_per_artist: int
    seconds: tuple[float, float]
    formats: tuple[tuple[str, float], ...] = _FORMATS


SIZES: dict[str, SizePlan] = {
    "demo": SizePlan(tuple(STYLES), 3, 7, (16.0, 21.0)),
    # two styles, because a classifier wants 20 files of each label it learns
    "tiny": SizePlan(("electronic", "jazz"), 2, 10, (15.0, 15.5), _QUICK_FORMATS),
}


@dataclass(frozen=True)
class PiecePlan:
    """Everything that decides one file: identity, tags, sound, container, and how it is odd (None: it is not)."""

    number: int
    seed: int
    style: str
    tags: Tags
    seconds: float
    extension: str
    samplerate: int
    channels: int
    path: str
    odd: str | None = None
    expected: str = ""
    source: str = ""

    @property
    def score_path(self) -> str | None:
        """Where its MIDI file lies relative to the scores' folder; None for files that are no piece of their own."""
        if self.odd in ("empty", "text", "silent", "duplicate", "reencoded"):
            return None
        return self.path.rsplit(".", 1)[0] + ".mid"


def plan_library(size: Size, seed: int) -> list[PiecePlan]:
    """All pieces of a library: first the whole tracks, then the damaged and odd files.

    Raises ``ValueError`` for an unknown size.
    """
    if size not in SIZES:
        raise ValueError(f"size is {size!r}; expected one of {', '.join(SIZES)}")
    plan = SIZES[size]
    rng = np.random.default_rng([seed, 1])
    styles = _styles_of_artists(plan, rng)
    names = artist_names(len(styles), rng)
    pieces: list[PiecePlan] = []
    total = len(styles) * plan.tracks_per_artist
    extensions = _deal(plan.formats, total, rng)
    rates = _deal(_RATES, total, rng)
    for (artist, language), track_styles in zip(names, styles, strict=True):
        pieces += _artist(plan, artist, language, track_styles, extensions, rates, len(pieces), seed, rng)
    return pieces + _odd_pieces(pieces, seed, rng)


def _styles_of_artists(plan: SizePlan, rng: np.random.Generator) -> list[list[str]]:
    """The style of each track of each artist; artists of neighbouring styles exchange a track now and then."""
    artists = {
        style: [[style] * plan.tracks_per_artist for _ in range(plan.artists_per_style)] for style in plan.styles
    }
    for one, other in NEIGHBOURS:
        if one in artists and other in artists:
            for first, second in list(zip(artists[one], artists[other], strict=True))[:2]:
                place = int(rng.integers(plan.tracks_per_artist))
                first[place], second[place] = second[place], first[place]
    flat = [tracks for style in plan.styles for tracks in artists[style]]
    return [flat[i] for i in rng.permutation(len(flat))]


def _deal(shares: tuple[tuple[T, float], ...], count: int, rng: np.random.Generator) -> list[T]:
    dealt: list[T] = []
    for value, share in shares:
        dealt += [value] * round(share * count)
    dealt = (dealt + [shares[0][0]] * count)[:count]
    return [dealt[i] for i in rng.permutation(count)]


def _artist(
    plan: SizePlan, artist: str, language: str, styles: list[str], extensions: list[str], rates: list[int], first: int,
    seed: int, rng: np.random.Generator,
) -> list[PiecePlan]:  # fmt: skip
    wording = titles(len(styles) + 2, language, rng)
    albums, song_titles = wording[:2], wording[2:]
    year = int(rng.integers(1971, 2026))
    pieces = []
    for i, style in enumerate(styles):
        number = first + i
        on_second = i >= len(styles) // 2
        track = i - len(styles) // 2 + 1 if on_second else i + 1
        extension = extensions[number]
        rate = 48000 if extension == "opus" else rates[number]
        tags = Tags(
            title=song_titles[i], artist=artist, album=albums[on_second], genre=style,
            date=str(min(year + 2 * on_second, 2026)), tracknumber=str(track),
        )  # fmt: skip
        pieces.append(
            PiecePlan(
                number=number, seed=seed, style=style, tags=tags, seconds=float(rng.uniform(*plan.seconds)),
                extension=extension, samplerate=rate, channels=1 if rng.random() < 0.18 else 2,
                path=_path(tags, extension),
            )
        )  # fmt: skip
    return pieces


def _path(tags: Tags, extension: str) -> str:
    return f"{slug(tags.artist)}/{slug(tags.album)}/{int(tags.tracknumber):02d}-{slug(tags.title)}.{extension}"


def _odd_pieces(pieces: list[PiecePlan], seed: int, rng: np.random.Generator) -> list[PiecePlan]:
    """The damaged and odd files, each with what a careful reader of files should find."""
    wav = next(p for p in pieces if p.extension == "wav" and p.channels == 2)
    mp3 = next(p for p in pieces if p.extension == "mp3")
    recipes: tuple[tuple[str, str, str, PiecePlan | None], ...] = (
        ("truncated", "flac", "refused, or accepted as partial: the stream ends at 55 % of its bytes", None),
        ("truncated", "mp3", "partial: about 55 % of the announced length can be decoded", None),
        ("empty", "ogg", "refused: the file has no bytes", None),
        ("text", "mp3", "refused: plain text under an audio name", None),
        ("silent", "wav", "decodes, and is found silent: every sample is zero", None),
        ("clipped", "flac", "decodes, and is found clipped: long runs of full-scale samples", None),
        ("mono-as-stereo", "wav", "decodes, and both channels are found identical", None),
        ("duplicate", mp3.extension, f"the same bytes as {mp3.path}: one track, two files", mp3),
        ("reencoded", "ogg", f"the same recording as {wav.path} in another format: one track, two files", wav),
    )
    odd = []
    for i, (kind, extension, expected, source) in enumerate(recipes):
        host = source or pieces[int(rng.integers(len(pieces)))]
        number = len(pieces) + i
        if source is not None:
            tags = source.tags
            path = f"{slug(tags.artist)}/collected/{int(tags.tracknumber):02d}-{slug(tags.title)}.{extension}"
        else:
            tags = replace(host.tags, title=f"{host.tags.title} ({_SUFFIXES[kind]})", tracknumber=str(20 + i))
            if kind == "silent":
                tags = replace(tags, genre="")
            path = _path(tags, extension)
        odd.append(
            replace(
                host, number=number if source is None else source.number, seed=seed, tags=tags, path=path, odd=kind,
                extension=extension, expected=expected, source=source.path if source else "",
                samplerate=host.samplerate if source else 44100,
                channels=host.channels if source else 2,
            )
        )  # fmt: skip
    return odd


_SUFFIXES = {
    "truncated": "Demo Tape", "empty": "Lost Take", "text": "Liner Notes", "silent": "Interlude", "clipped": "Loud Mix",
    "mono-as-stereo": "Mono Mix",
}  # fmt: skip
