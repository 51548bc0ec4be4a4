"""The room's pages: what each shows, as templates filled with plain values. Routes are in `room_app`."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlencode

import jinja2
import numpy as np
from fastapi import Request, Response
from fastapi.responses import HTMLResponse

from ai_assets.data_processing.batches import source_name
from ai_assets.recommendation_update.query import similar
from ai_assets.serving.live_state import LiveState, View
from ai_assets.serving.room_catalogue import SORTS, Searcher, genres, listed_facts, other_versions, track_facts
from ai_assets.serving.room_content import MODALITIES, Gallery, Made
from ai_assets.serving.room_door import Refused, Session
from ai_assets.serving.room_listening import Listening, demo_listeners
from ai_assets.serving.room_pictures import WAVE_WIDTH, wave_path
from ai_assets.serving.room_words import FOLDER, LANGUAGES, Words, chosen_language
from resources.guard.pages import safe_onward

SIMILAR = 8
PER_PAGE = 24
HUES = 12
LANGUAGE_COOKIE = "ai_assets_room_language"


@dataclass
class Pages:
    """Makes pages; one per process."""

    state: LiveState
    gallery: Gallery
    listening: Listening
    searcher: Searcher = field(default_factory=Searcher)

    def __post_init__(self) -> None:
        self._templates = jinja2.Environment(
            loader=jinja2.FileSystemLoader(FOLDER), autoescape=True, undefined=jinja2.StrictUndefined,
            trim_blocks=True, lstrip_blocks=True,
        )  # fmt: skip

    @property
    def view(self) -> View:
        """The view of this moment. Raises Refused."""
        if self.state.view is None:
            raise Refused(503, "nothing_yet")
        return self.state.view

    def language(self, request: Request) -> str:
        return chosen_language(request.cookies.get(LANGUAGE_COOKIE), request.headers.get("accept-language", ""))

    def page(
        self, request: Request, name: str, session: Session | None, *, status: int = 200, **values: Any
    ) -> Response:
        """A filled template."""
        words = Words(self.language(request))
        query = f"?{request.url.query}" if request.url.query and "code=" not in request.url.query else ""
        here = urlencode({"to": safe_onward(request.url.path + query)})
        others = {code: (title, f"/room/language/{code}?{here}") for code, title in LANGUAGES.items()}
        html = self._templates.get_template(f"{name}.html").render(
            t=words, lang=words.lang, languages=others, session=session, page=name, **values
        )
        return HTMLResponse(html, status)

    # -- what pages show -------------------------------------------------------------------------------------------

    def mask(self, view: View, session: Session) -> Any:
        """(items,) what this visitor may see: the rules for all, and those of the chosen listener."""
        return view.snapshot.allowed(self.listening.pseudonym(session))

    def item(self, view: View, session: Session, track: str) -> int:
        """Item code of a track that may be shown. Raises Refused."""
        code = view.snapshot.codes.get(track)
        if code is None or not self.mask(view, session)[code]:
            raise Refused(404, "no_track")
        return code

    def card(self, view: View, item: int) -> dict[str, Any]:
        """What a list shows of a track."""
        row = {name: view.snapshot.catalogue[name][item] for name in ("track", "title", "artist", "genre", "path")}
        track, length = str(row["track"]), view.snapshot.catalogue["duration_seconds"][item]
        cover = self.gallery.of_track(track, "cover")
        return {
            "track": track, "title": str(row["title"]), "artist": str(row["artist"]), "genre": row["genre"] or None,
            "seconds": float(length) if length is not None and np.isfinite(length) else None,
            "href": f"/room/tracks/{quote(track, safe='')}", "sound": row["path"] is not None,
            "cover": None if cover is None else media_href(cover, "png"),
            "hue": int(hashlib.sha256(track.encode()).hexdigest()[:4], 16) % HUES,
        }  # fmt: skip

    def cards(self, view: View, items: Any) -> list[dict[str, Any]]:
        found = [self.card(view, int(item)) for item in items]
        facts = listed_facts(self.state.platform, [card["track"] for card in found])
        return [card | {"facts": facts.get(card["track"], {})} for card in found]

    def catalogue(self, request: Request, session: Session) -> dict[str, Any]:
        """The first page: searching and browsing."""
        view, asked = self.view, request.query_params
        sort = asked.get("sort", "plays") if asked.get("sort") in SORTS else "plays"
        words, genre = asked.get("q", "")[:200], asked.get("genre", "")[:200]
        mask = self.mask(view, session)
        found = self.searcher.find(view.snapshot, mask, words, genre, sort, _page_number(request))
        kept = {"q": words, "genre": genre, "sort": sort}
        return {
            "found": found, "cards": self.cards(view, found.items), "genres": genres(view.snapshot, mask),
            "sorts": SORTS, "kept": kept, "pages": _neighbours(kept, found.page, found.pages),
        }  # fmt: skip

    def track(self, session: Session, track: str, lang: str) -> dict[str, Any]:
        """One track with all that is known of it."""
        view = self.view
        item, mask = self.item(view, session, track), self.mask(view, session)
        facts = track_facts(self.state.platform, track)
        alike = [(code, cosine) for code, cosine in similar(view.snapshot, item, SIMILAR) if mask[code]]
        cards = self.cards(view, [code for code, _ in alike])
        length = facts.row["duration_seconds"] or 0.0
        findings = [
            row | {"x": round(min(row["time"] / length, 1.0) * WAVE_WIDTH, 1) if row["time"] is not None and length
                   else None}
            for row in facts.findings
        ]  # fmt: skip
        return {
            "card": self.card(view, item), "facts": facts, "wave": wave_path(facts.quality["waveform"]),
            "findings": findings, "length": length,
            "album": facts.row["album"], "year": facts.row["year"],
            "files": [source_name("", file["path"]).lstrip("/") for file in facts.files],
            "similar": [card | {"cosine": cosine} for card, (_, cosine) in zip(cards, alike, strict=True)],
            "versions": self.cards(view, other_versions(view.snapshot, item, mask)),
            "cover": self.made(self.gallery.of_track(track, "cover")),
            "text": self.made(self.gallery.of_track(track, "text", lang)),
            "music": self.made(self.gallery.of_track(track, "music")),
        }  # fmt: skip

    def listener(self, session: Session) -> dict[str, Any]:
        """The chosen listener's list, or who there is to choose."""
        if session.listener is None:
            return {"demo": demo_listeners(self.state), "answer": None, "cards": []}
        view = self.view
        answer = self.listening.answer(view, session)
        codes = [view.snapshot.codes[row["track"]] for row in answer["recommendations"]]
        cards = [
            card | {"reasons": row["reasons"], "new": row["new"], "score": row["score"]}
            for card, row in zip(self.cards(view, codes), answer["recommendations"], strict=True)
        ]
        return {"demo": [], "answer": answer, "cards": cards}

    def generated(self, request: Request, session: Session, lang: str) -> dict[str, Any]:
        """Published generated items of one kind."""
        asked = request.query_params
        kind = asked.get("kind", "cover") if asked.get("kind") in MODALITIES else "cover"
        chosen = [
            made for made in self.gallery.all().values()
            if made.modality == kind and made.lang in (None, lang) and self.may_show(session, made)
        ]  # fmt: skip
        pages = max(1, -(-len(chosen) // PER_PAGE))
        number = min(_page_number(request), pages)
        start = (number - 1) * PER_PAGE
        kept = {"kind": kind}
        return {
            "kind": kind, "kinds": MODALITIES, "total": len(chosen),
            "items": [self.made(made) for made in chosen[start : start + PER_PAGE]],
            "pages": _neighbours(kept, number, pages),
        }  # fmt: skip

    def may_show(self, session: Session, made: Made) -> bool:
        """Whether the track that an item is about may be shown; playlists may."""
        if made.item.startswith("playlist-text:"):
            return True
        view = self.view
        code = view.snapshot.codes.get(made.subject)
        return code is not None and bool(self.mask(view, session)[code])

    def made(self, made: Made | None) -> dict[str, Any] | None:
        """A generated item as templates show it."""
        if made is None:
            return None
        facts = made.record.get("facts", {})
        track = None if made.item.startswith("playlist-text:") else made.subject
        return {
            "item": made.item, "modality": made.modality, "text": made.text, "edited": made.edited, "lang": made.lang,
            "title": facts.get("title") or facts.get("name") or made.subject, "artist": facts.get("artist"),
            "href": None if track is None else f"/room/tracks/{quote(track, safe='')}",
            "media": {kind: media_href(made, kind) for kind in made.files if kind != "svg"},
            "model": made.record.get("model_version"), "seed": made.record.get("seed"),
            "source_type": made.record.get("digitalSourceType"),
        }  # fmt: skip


def media_href(made: Made, kind: str) -> str:
    return f"/room/generated/{quote(made.item, safe='')}/{kind}"


def _page_number(request: Request) -> int:
    given = request.query_params.get("page", "")
    return max(1, int(given)) if given.isascii() and given.isdecimal() and len(given) < 9 else 1


def _neighbours(kept: dict[str, str], number: int, pages: int) -> dict[str, Any]:
    """The addresses of the pages before and after."""
    kept = {name: value for name, value in kept.items() if value}
    before, after = ("?" + urlencode({**kept, "page": place}) for place in (number - 1, number + 1))
    return {
        "number": number, "count": pages,
        "before": before if number > 1 else None, "after": after if number < pages else None,
    }  # fmt: skip
