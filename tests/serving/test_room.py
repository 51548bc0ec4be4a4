"""The listening room as HTTP sees it: who comes in, what may be shown and heard, and what it is made of."""

from __future__ import annotations

import re
import time
from contextlib import suppress
from pathlib import Path

import pytest
from markupsafe import escape
from room_home import EVIL, PNG, RATE, SECONDS, Visitor
from serving_home import TOKEN, Server

from ai_assets.recommendation_update.rule_store import RuleStore
from ai_assets.recommendation_update.rules import Rule
from resources.platform import Platform
from resources.settings import Settings

PAGES = (
    "/",
    "/room/tracks/t0001",
    "/room/tracks/t0003",
    "/room/listener",
    "/room/generated",
    "/room/generated?kind=text",
    "/room/api",
)


@pytest.fixture(scope="module")
def guest(room: Server) -> Visitor:
    """Somebody inside: the printed address is used up by this."""
    return Visitor(room).enter()


@pytest.fixture
def visitor(room: Server) -> Visitor:
    """A session of one's own."""
    someone = Visitor(room)
    for _ in range(20):  # three logins a second at most
        if someone.ask("POST", "/room/login", f"token={TOKEN}").status == 303:
            return someone
        time.sleep(0.3)
    raise AssertionError("the token does not open the room")


# -- who comes in -------------------------------------------------------------------------------------------------


def test_the_printed_address_opens_the_room_once(guest: Visitor, room: Server) -> None:
    assert guest.get("/").status == 200
    second = Visitor(room)
    again = second.get(room.login)
    assert again.status == 401 and not second.cookies
    assert second.get("/").status == 401


def test_without_a_session_nothing_is_shown(guest: Visitor, room: Server) -> None:
    stranger = Visitor(room)
    media = ("/room/tracks/t0001/sound", "/room/tracks/t0001/spectrogram.png", "/room/generated/cover:t0001/png")
    for path in (*PAGES, *media, "/room/why/t0001", "/room/nothing"):
        answer = stranger.get(path)
        assert answer.status in (401, 404) and b"Night Train" not in answer.body, path
        assert answer.headers["content-type"].startswith("text/html")
    assert stranger.get("/", authorization=f"Bearer {TOKEN}").status == 401
    forged = Visitor(room, {name: value[:-1] + "x" for name, value in guest.cookies.items()})
    assert forged.get("/").status == 401


def test_the_session_cookie_is_strict_and_kept_from_scripts(room: Server, visitor: Visitor) -> None:
    for _ in range(20):
        answer = Visitor(room).ask("POST", "/room/login", f"token={TOKEN}")
        if answer.status == 303:
            break
        time.sleep(0.3)
    assert {"HttpOnly", "SameSite=Strict", "Path=/"} <= set(answer.headers["set-cookie"].split("; "))
    assert TOKEN not in answer.headers["set-cookie"]
    assert visitor.post("/room/logout").status == 303
    assert visitor.get("/").status == 401


def test_a_wrong_token_opens_nothing_and_guessing_is_slow(room: Server) -> None:
    answers = [Visitor(room).ask("POST", "/room/login", f"token=guess{number}") for number in range(12)]
    assert {answer.status for answer in answers} <= {401, 429} and not any("set-cookie" in a.headers for a in answers)
    assert answers[-1].status == 429 or answers[0].status == 401


def test_a_post_needs_the_token_of_its_session_and_the_same_site(guest: Visitor, visitor: Visitor) -> None:
    for csrf in (None, "x", visitor.csrf):
        assert guest.post("/room/listener", csrf, listener="l001").status == 403
        assert guest.post("/room/events", csrf, track="t0001", action="skipped").status == 403
    body = f"csrf={guest.csrf}&listener=l001"
    assert guest.ask("POST", "/room/listener", body, origin="https://evil.example").status == 403
    assert guest.ask("POST", "/room/listener", body, sec_fetch_site="cross-site").status == 403
    assert guest.ask("POST", "/room/listener", body + "&x=" + "y" * 70_000).status == 413


def test_the_api_beside_it_stays_as_it_was(room: Server, guest: Visitor) -> None:
    assert room.similar("t0010") and room.ask("GET", "/similar/t0010", token=None).status == 401
    assert guest.get("/similar/t0010").status == 401, "a cookie of the room opens no API"


# -- what every page carries ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", PAGES)
def test_pages_are_strict_and_hostile_names_are_only_text(guest: Visitor, path: str) -> None:
    page = guest.get(path)
    assert page.status == 200
    policy = page.headers["content-security-policy"]
    assert "unsafe" not in policy and "default-src 'none'" in policy and "http" not in policy
    assert page.headers["cache-control"] == "no-store" and page.headers["x-content-type-options"] == "nosniff"
    assert "<img src=x" not in page.text and "49</script>" not in page.text and "style=" not in page.text
    assert re.findall(r"<script\b(?![^>]*src=)", page.text) == [] and " onclick" not in page.text
    links = re.findall(r'(?:src|href|action)="([^"]*)"', page.text)
    assert all(link.startswith(("/", "?", "#")) for link in links)
    if path not in ("/room/listener", "/room/tracks/t0001", "/room/api"):
        assert str(escape(EVIL)) in page.text, "the name is there, as text"


def test_pages_speak_the_visitors_language(guest: Visitor, room: Server) -> None:
    other = Visitor(room, dict(guest.cookies))
    for accepted, lang, word in (
        ("de-AT,en;q=0.5", "de", "Meistgehört"), ("fr", "fr", "Les plus écoutés"), ("ja, *;q=0.1", "en", "Most played"),
    ):  # fmt: skip
        page = other.get("/", accept_language=accepted)
        assert f'<html lang="{lang}">' in page.text and word in page.text
    switched = other.get("/room/language/fr?to=/room/generated")
    assert switched.status == 303 and switched.headers["location"] == "/room/generated"
    assert '<html lang="fr">' in other.get("/", accept_language="de").text
    for elsewhere in ("//evil.example", "https://evil.example", "/%5Cevil.example", "/%09/evil.example"):
        assert other.get(f"/room/language/de?to={elsewhere}").headers["location"] == "/"


# -- the catalogue --------------------------------------------------------------------------------------------------


def test_searching_finds_words_without_case_and_shows_pages(guest: Visitor) -> None:
    assert "Night Train Home" in guest.get("/?q=TRAIN+night").text
    assert "1 track" in guest.get("/?q=apple").text
    assert "No track holds" in guest.get("/?q=nowhere").text
    assert "Page 2 of" in guest.get("/?page=2").text and guest.get("/?page=x&sort=no&genre=style3").status == 200
    assert len(re.findall('class="tile"', guest.get("/?genre=style3").text)) == 20


def test_a_track_page_shows_what_the_analysis_found(guest: Visitor) -> None:
    page = guest.get("/room/tracks/t0001").text
    for shown in (
        "124 bpm", "or 62 bpm", "C♯ minor", "confidence 80%", "-14.2 LUFS", "Clipping", "at 0:05", "confidence 70%",
        "copies/night train.mp3", "2 files hold", "a-new-kind", "Generated by AI", "calm",
    ):  # fmt: skip
        assert shown in page, shown
    marks = [float(x) for x in re.findall(r'<line x1="([\d.]+)"', page)]
    assert marks == [250.0, 625.0], "findings stand where they are in the waveform: at 2 and 5 of 8 seconds"
    german = guest.get("/room/tracks/t0001", accept_language="de").text
    assert "cis-Moll" in german and "Übersteuerung" in german and "80\u202f%" in german
    picture = guest.get("/room/tracks/t0001/spectrogram.png")
    assert picture.status == 200 and picture.body.startswith(b"\x89PNG") and len(picture.body) > 500


def test_deleted_and_forbidden_tracks_are_gone_from_every_page(
    guest: Visitor, visitor: Visitor, room_home: Path, room: Server
) -> None:
    assert guest.get("/room/tracks/t0008").status == 404 and guest.get("/room/generated/cover:t0008/png").status == 404
    assert "t0008" not in guest.get("/room/generated").text
    platform = Platform(Settings(home=room_home))
    rules = RuleStore(platform.database)
    everybody = rules.add(Rule("track", "is", "t0030"))
    own = rules.add(Rule("track", "is", "t0031", listener=platform.pseudonyms.of("l005")))
    visitor.post("/room/listener", listener="l005")
    deadline = time.monotonic() + 60
    while guest.get("/room/tracks/t0030").status == 200 or visitor.get("/room/tracks/t0031").status == 200:
        assert time.monotonic() < deadline, "the rules never held"
        time.sleep(0.1)
    assert "Song 30<" not in guest.get("/?q=song+30").text and guest.get("/room/tracks/t0031").status == 200
    assert visitor.post("/room/events", track="t0031", action="liked").status == 404
    assert room.ask("DELETE", "/tracks/t0032").status == 204
    assert guest.get("/room/tracks/t0032").status == 404
    for rule in (everybody, own):
        rules.remove(rule)


# -- sound ----------------------------------------------------------------------------------------------------------


def test_sound_is_sent_whole_and_in_ranges(guest: Visitor, room_home: Path) -> None:
    data = (room_home / "landing/audio/night train.wav").read_bytes()
    whole = guest.get("/room/tracks/t0001/sound")
    assert whole.status == 200 and whole.body == data and whole.headers["content-type"] == "audio/wav"
    assert whole.headers["accept-ranges"] == "bytes" and len(data) > RATE * SECONDS
    for asked, first, last in (("0-99", 0, 99), ("100-", 100, len(data) - 1), ("-50", len(data) - 50, len(data) - 1)):
        part = guest.get("/room/tracks/t0001/sound", range=f"bytes={asked}")
        assert part.status == 206 and part.body == data[first : last + 1]
        assert part.headers["content-range"] == f"bytes {first}-{last}/{len(data)}"
    beyond = guest.get("/room/tracks/t0001/sound", range=f"bytes={len(data)}-")
    assert beyond.status == 416 and beyond.headers["content-range"] == f"bytes */{len(data)}"
    for odd in ("bytes=5-2", "items=0-5", "bytes=0-1,5-9", "bytes=-", "bytes=x"):
        assert guest.get("/room/tracks/t0001/sound", range=odd).status == 200, odd
    tag = whole.headers["etag"]
    assert guest.get("/room/tracks/t0001/sound", if_none_match=tag).status == 304
    assert guest.get("/room/tracks/t0001/sound", range="bytes=0-9", if_range='"old"').status == 200


def test_a_file_of_an_evil_name_plays_and_what_leads_out_does_not(guest: Visitor) -> None:
    assert guest.get("/room/tracks/t0003/sound").status == 200
    for track in ("t0004", "t0005", "t0006", "t0007"):  # a link, a vanished file, a climbing path, a foreign root
        answer = guest.get(f"/room/tracks/{track}/sound")
        assert answer.status == 404 and b"root:" not in answer.body, track
    for path in ("..%2f..%2fsecrets%2fapi-token", "%2e%2e", "nobody"):
        assert guest.get(f"/room/tracks/{path}/sound").status == 404
    for path in ("..%2froom_app.py", "texts.json", "base.html"):
        assert guest.get(f"/room/static/{path}").status == 404


def test_what_no_browser_plays_is_converted_by_a_worker(guest: Visitor, room_home: Path) -> None:
    answer = guest.get("/room/tracks/t0002/sound")
    assert answer.status == 200 and answer.headers["content-type"] == "audio/flac" and answer.body.startswith(b"fLaC")
    again = guest.get("/room/tracks/t0001/sound?converted=true")
    assert again.headers["content-type"] == "audio/flac" and again.body.startswith(b"fLaC"), "on demand anything is"
    for track in ("t0004", "t0006", "t0007"):
        assert guest.get(f"/room/tracks/{track}/sound?converted=true").status == 404
    kept = set((room_home / "cache" / "room").iterdir())
    assert len(kept) == 2 and guest.get("/room/tracks/t0002/sound", range="bytes=0-3").body == b"fLaC"
    assert set((room_home / "cache" / "room").iterdir()) == kept


def test_only_published_items_are_shown_and_all_are_marked(guest: Visitor) -> None:
    assert guest.get("/room/generated/cover:t0001/png").body == PNG
    sound = guest.get("/room/generated/music:t0001/audio", range="bytes=0-3")
    assert sound.status == 206 and sound.body == b"fLaC" and sound.headers["content-type"] == "audio/flac"
    for item in ("cover:t0002/png", "cover:t0001/svg", "cover:t0001/provenance", "nothing/png", "..%2f/png"):
        assert guest.get(f"/room/generated/{item}").status == 404, item
    for kind in ("cover", "music", "text"):
        page = guest.get(f"/room/generated?kind={kind}").text
        items = page.count("made-item")
        assert items == 1 and page.count("Generated by AI") == items and page.count("trainedAlgorithmicMedia") == items


# -- being a listener ----------------------------------------------------------------------------------------------


def picks(page: str) -> list[str]:
    return re.findall(r'data-pick="([^"]+)"', page)


def test_a_skip_changes_the_list_at_once_and_everywhere(visitor: Visitor, room: Server, room_home: Path) -> None:
    assert "Whose ears?" in visitor.get("/room/listener").text
    assert visitor.post("/room/listener", listener="l007").status == 303
    page = visitor.get("/room/listener").text
    first = picks(page)
    assert len(first) == 8 and "because you listened to" in page and first == room.recommend("l007", 8)
    list_id = re.search(r'name="list_id" value="(\w+)"', page)
    assert list_id is not None
    form = {"track": first[0], "action": "skipped", "list_id": list_id[1], "position": "1", "seconds": "2.5"}
    assert visitor.post("/room/events", **form).status == 303
    after = visitor.get("/room/listener").text
    assert first[0] not in picks(after) and "Skipped: " in after
    assert set(picks(after)) - set(first) and "badge" in after, "what has come in is marked"
    assert first[0] not in room.recommend("l007", 100), "the API knows it too"
    disliked = picks(after)[0]
    part = visitor.ask(
        "POST", "/room/events", f"track={disliked}&action=disliked", x_csrf_token=visitor.csrf, x_room_part="list"
    )
    assert part.status == 200 and "<html" not in part.text and disliked not in picks(part.text)
    platform = Platform(Settings(home=room_home))
    ours = [
        record
        for _, record in platform.event_stream.read_after(0, 1_000)
        if record["listener"] == platform.pseudonyms.of("l007")
    ]
    assert {record["source"] for record in ours} == {"listening room"}
    assert [(r["track"], r["skipped"], r.get("liked")) for r in ours] == [
        (first[0], True, None),
        (disliked, False, False),
    ]
    assert ours[0]["seconds_played"] == 2.5 and ours[0]["position"] == 1 and ours[0]["list_id"] == list_id[1]
    for bad in ({"action": "eaten"}, {"track": "nobody"}, {"list_id": "a b"}):
        assert visitor.post("/room/events", **{**form, **bad}).status in (404, 422), bad


def test_a_stranger_begins_with_popular_tracks_and_no_raw_id_is_kept(visitor: Visitor, room_home: Path) -> None:
    raw = "Zoë O'Neill, never seen"
    for impossible in ("", " ", "x" * 257, "a\nb"):
        assert visitor.post("/room/listener", listener=impossible).status == 422
    visitor.post("/room/listener", listener=raw)
    page = visitor.get("/room/listener", accept_language="fr").text
    assert str(escape(raw)) in page and "apprécié de tous" in page
    assert visitor.post("/room/events", track=picks(page)[0], action="liked").status == 303
    assert all("Neill" not in part for part in visitor.cookies.values())
    for path in (*room_home.rglob("*"), visitor.server.log):
        with suppress(FileNotFoundError):  # the server goes on working
            assert not path.is_file() or b"never seen" not in path.read_bytes(), path


def test_why_goes_back_to_the_bytes_and_loads_nothing_heavy(visitor: Visitor, room: Server) -> None:
    assert visitor.get("/room/why/t0001").status == 303, "first choose a listener"
    visitor.post("/room/listener", listener="l009")
    page = visitor.get("/room/why/t0001")
    assert page.status == 200 and "Serving generation" in page.text and "night train.wav" in page.text
    assert visitor.get("/room/why/t0008").status == 404
    loaded = Path(f"/proc/{room.process.pid}/maps").read_text()
    assert not re.search(r"/(torch|llvmlite|librosa|mlflow|av)/", loaded), "the answering process stays light"
