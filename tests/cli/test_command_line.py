"""The command line on a real home: the demo, questions, own data, repair, recomputation, a copied home."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import ROOT, Answer, ask, environment, events_file

pytestmark = pytest.mark.e2e

Say = Callable[..., Answer]


def a_listener(home: Path) -> str:
    for file in sorted((home / "landing" / "events").glob("*.jsonl")):
        for line in file.read_text().splitlines():
            try:
                return str(json.loads(line)["listener"])
            except (ValueError, KeyError):
                continue
    raise AssertionError("the simulation wrote no event")


def test_the_demo_makes_the_whole_graph_and_shows_its_results(made: tuple[Path, Answer]) -> None:
    _, demo = made
    assert demo.status == 0, demo.err[-3000:]
    for word in ("recommendations for", "sounds like", "cover", "music", "genre_classifier", "ai-assets quarantine"):
        assert word in demo.out, word
    assert "because you listened to" in re.sub(r"\s+", " ", demo.out)


def test_a_second_demo_makes_nothing_and_says_so(say: Say) -> None:
    again = say("demo", "--size", "tiny")
    assert again.status == 0
    assert "Everything is up to date" in again.out


def test_recommend_answers_with_reasons_and_never_with_what_was_heard(say: Say, home: Path) -> None:
    listener = a_listener(home)
    answer = say("recommend", listener, "--k", "5", "--json").json
    assert answer["listener"] == listener
    assert set(answer) >= {"recommendations", "generation", "model", "trace_id"}
    for item in answer["recommendations"]:
        assert set(item) >= {"track", "title", "artist", "path", "score", "reasons"}
        assert item["reasons"]
    pseudonyms = {row["listener"] for row in say("table", "listening_events", "--json").lines}
    assert listener not in pseudonyms


def test_a_listener_never_seen_gets_popular_tracks(say: Say) -> None:
    answer = say("recommend", "nobody-at-all", "--json")
    assert answer.status == 0
    assert answer.json["cold"] is True
    assert answer.json["recommendations"]


def test_similar_finds_a_track_by_id_by_path_and_by_name(say: Say, home: Path) -> None:
    track = next(row for row in say("table", "tracks", "--json").lines if row["tempo_bpm"])
    by_id = say("similar", track["track"], "--json").json
    by_name = say("similar", f"{track['artist']} - {track['title']}", "--json").json
    by_path = say("similar", str(home / track["root"] / track["path"]), "--json").json
    assert by_id["similar"] == by_name["similar"] == by_path["similar"]
    assert track["track"] not in {item["track"] for item in by_id["similar"]}
    assert Path(by_id["similar"][0]["path"]).is_file()


def test_a_question_for_nothing_and_wrong_usage_end_differently(say: Say, tmp_path: Path) -> None:
    assert say("similar", "no such track").status == 1
    assert say("similar").status == 2
    assert say("recommend", "x", "--k", "0").status == 2
    assert say("recommend", "x", of=tmp_path / "nowhere").status == 1
    assert "make demo" in say("recommend", "x", of=tmp_path / "nowhere").err
    assert "no table" in say("table", "nonsense").err


def test_damaged_files_and_rows_are_listed_with_place_and_reason(say: Say, home: Path) -> None:
    rows = say("quarantine", "--json").json
    reasons = " ".join(row["reason"] for row in rows)
    assert "empty" in reasons
    assert "truncated" in reasons
    assert all(set(row) >= {"table", "source", "reason", "first_seen", "attempts"} for row in rows)
    assert any(re.search(r"\.jsonl:\d+$", row["source"]) for row in rows)
    assert any(row["source"].startswith(str(home)) for row in rows)


def test_tables_are_rows_of_one_catalogue(say: Say) -> None:
    tracks = say("table", "tracks", "--json").lines
    assert len({row["track"] for row in tracks}) == len(tracks) >= 40
    interactions = say("table", "interactions", "--json").lines
    assert set(interactions[0]) >= {"day", "listener", "track", "plays"}
    csv = say("table", "interactions", "--limit", "2", "--csv").out.splitlines()
    assert len(csv) == 3


def test_the_audit_log_is_whole_and_the_models_have_baselines(say: Say) -> None:
    assert say("audit", "verify", "--json").json["ok"] is True
    models = {row["name"]: row for row in say("models", "--json").json if row["champion"]}
    assert {"collaborative_model", "genre_classifier", "text_generator"} <= set(models)
    assert any(name.startswith("baseline_") for name in models["collaborative_model"]["metrics"])


def test_texts_are_generated_from_facts_in_three_languages(say: Say) -> None:
    facts = json.dumps({"title": "Nuit", "artist": "Ana", "genre": "jazz", "tempo_bpm": 120.5})
    texts = {
        lang: say("generate", "text", "--facts", facts, "--lang", lang, "--json").json[0] for lang in ("en", "de", "fr")
    }
    assert "120.5" in texts["en"]["text"]
    assert "120,5" in texts["de"]["text"]
    assert "120,5" in texts["fr"]["text"]
    again = say("generate", "text", "--facts", facts, "--seed", str(texts["en"]["seed"]), "--json").json[0]
    assert again["text"] == texts["en"]["text"]
    assert say("generate", "text", "--facts", '{"title": "x"}').status == 2


def test_own_audio_and_events_are_taken_and_what_is_bad_is_named(copied: Path, home: Path, tmp_path: Path) -> None:
    music = tmp_path / "my music" / "deep"
    music.mkdir(parents=True)
    source = next((home / "landing" / "audio").rglob("*.flac"))
    own = music / "own song.wav"
    import numpy as np
    import soundfile

    seconds = np.arange(8 * 22_050) / 22_050
    soundfile.write(own, 0.3 * np.sin(2 * np.pi * 330 * seconds) * (1 + np.sin(2 * np.pi * 2 * seconds)) / 2, 22_050)
    (music / "text.mp3").write_text("not audio")
    shutil.copy(source, music / "copy.flac")
    events = events_file(
        tmp_path / "mine.jsonl",
        [
            {"event_id": "m1", "listener": "me", "track": str(own), "played_at": "2026-11-01T10:00:00Z"},
            {"event_id": "m2", "listener": "me", "track": "deep/own song.wav", "played_at": "2026-11-01T11:00:00Z"},
            {"event_id": "m2", "listener": "me", "track": "deep/own song.wav", "played_at": "2026-11-01T11:00:00Z"},
            {"event_id": "m3", "listener": "me", "track": "nobody - nothing", "played_at": "2026-11-01T12:00:00Z"},
            "{broken",
        ],
    )
    answer = ask(copied, "run", "--audio", str(music.parent), "--events", str(events), "--json")
    assert answer.status == 3, answer.err[-3000:]
    assert answer.json["audio"] == {"files": 3, "accepted": 2, "refused": 1, "waiting": 0}
    assert answer.json["events"] == {"read": 5, "accepted": 2, "quarantined": 2, "duplicates": 1}
    similar = ask(copied, "similar", str(own), "--json")
    assert similar.status == 0, similar.err
    recommended = ask(copied, "recommend", "me", "--json").json
    assert recommended["cold"] is False
    assert "me" not in {row["listener"] for row in ask(copied, "table", "listeners", "--json").lines}
    quarantined = {row["source"]: row["reason"] for row in ask(copied, "quarantine", "--json").json}
    assert any(source.endswith("text.mp3") for source in quarantined)
    assert f"{events}:5" in quarantined


def test_a_damaged_file_is_no_track_until_it_is_repaired(copied: Path) -> None:
    def row() -> dict:
        return next(row for row in ask(copied, "table", "tracks", "--json").lines if row["path"] == name)

    def quarantined() -> bool:
        return any(row["source"].endswith(name) for row in ask(copied, "quarantine", "--json").json)

    name = next(row["path"] for row in ask(copied, "table", "tracks", "--json").lines if row["path"].endswith(".flac"))
    file, before = copied / "landing" / "audio" / name, row()
    good, stamp = file.read_bytes(), file.stat()
    neighbour = ask(copied, "similar", before["track"], "--json").json["similar"][0]["track"]

    def found() -> bool:
        answer = ask(copied, "similar", neighbour, "--k", "100", "--json").json["similar"]
        return before["track"] in [item["track"] for item in answer]

    assert found()
    file.write_bytes(good[: len(good) // 3])
    refused = ask(copied, "run", "--json").json["audio"]["refused"]
    assert row()["deleted"] and quarantined() and not found()
    file.write_bytes(good)
    os.utime(file, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))  # as restored from a backup
    assert ask(copied, "run", "--json").json["audio"]["refused"] == refused - 1
    assert row() == before and not quarantined() and found()


def test_a_home_copied_elsewhere_answers_there(copied: Path, home: Path) -> None:
    shutil.rmtree(copied / "cache")
    answer = ask(copied, "recommend", a_listener(home), "--json")
    assert answer.status == 0
    assert all(item["path"].startswith(str(copied)) for item in answer.json["recommendations"] if item["path"])
    trained = ask(copied, "backfill", "--asset", "track_tags", "--all", "--json")
    assert trained.json["status"] == "done", trained.err


def test_a_late_event_rebuilds_its_day_alone(copied: Path) -> None:
    track = next(row for row in ask(copied, "table", "tracks", "--json").lines if row["has_audio"])["track"]
    days = sorted({row["day"] for row in ask(copied, "table", "interactions", "--json").lines})
    row = {"event_id": "late-1", "listener": "late", "track": track, "played_at": f"{days[1]}T09:00:00Z"}
    events_file(copied / "landing" / "events" / "late.jsonl", [row])
    answer = ask(copied, "run", "--json")
    assert answer.json["events"]["accepted"] == 1, answer.err[-2000:]
    made = re.findall(r"listening_events\S*\s+(\S+) \(", re.sub(r"\x1b\[[0-9;]*m", "", answer.err))
    assert days[1] in made[0]


def test_answering_loads_neither_torch_nor_dagster(home: Path) -> None:
    script = (
        "import sys; from ai_assets.cli.errors import report; from ai_assets.cli import group; "
        "status = report(group, ['recommend', 'x', '--json']); "
        "bad = {'torch', 'dagster', 'mlflow', 'librosa'} & set(sys.modules); sys.exit(status or (9 if bad else 0))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment(home), cwd=ROOT, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr.decode()[-1000:]


def test_a_backfill_from_the_dagster_command_line_runs_with_a_daemon(copied: Path, tmp_path: Path) -> None:
    variables = {**environment(copied), "DAGSTER_HOME": str(copied / "dagster")}
    days = sorted({row["day"] for row in ask(copied, "table", "interactions", "--json").lines})[:2]
    log = (tmp_path / "daemon.log").open("wb")
    daemon = subprocess.Popen(
        [sys.executable, "-m", "dagster._daemon", "run", "-w", "workspace.yaml"],
        env=variables, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
    )  # fmt: skip
    try:
        command = ["-m", "dagster", "job", "backfill", "-w", "workspace.yaml", "--noprompt", "-j"]
        for words in (["event_days_job", "--from", days[0], "--to", days[1]], ["audio_batches_job", "--all"]):
            done = subprocess.run(
                [sys.executable, *command, *words],
                env=variables, cwd=ROOT, capture_output=True, text=True, timeout=180, check=False,
            )  # fmt: skip
            assert done.returncode == 0, done.stderr[-2000:]
        assert _finished_backfill_runs(variables, "event_days_job", expected=2, seconds=240) == {"SUCCESS"}
        assert _finished_backfill_runs(variables, "audio_batches_job", expected=1, seconds=240) == {"SUCCESS"}
    finally:
        daemon.terminate()
        daemon.wait(30)


def _finished_backfill_runs(variables: dict[str, str], job: str, *, expected: int, seconds: float) -> set[str]:
    import dagster as dg

    deadline = time.monotonic() + seconds
    while True:
        with dg.DagsterInstance.from_config(variables["DAGSTER_HOME"]) as instance:
            runs = instance.get_runs(dg.RunsFilter(job_name=job))
            states = [run.status.value for run in runs]
        if len(states) >= expected and all(state in ("SUCCESS", "FAILURE", "CANCELED") for state in states):
            return set(states)
        assert time.monotonic() < deadline, f"the runs did not end: {states}"
        time.sleep(1)


def test_a_rule_holds_at_once_for_whom_it_is_meant_and_can_be_taken_out(copied: Path) -> None:
    listener = a_listener(copied)
    before = ask(copied, "recommend", listener, "--k", "5", "--json").json["recommendations"]
    artist = before[0]["artist"]
    rule = ask(copied, "rules", "add", "artist", "is", artist, "--listener", listener, "--json").json["rule"]
    after = ask(copied, "recommend", listener, "--k", "5", "--json").json["recommendations"]
    assert artist not in {item["artist"] for item in after}
    listed = ask(copied, "rules", "list", "--json").json
    assert [row["rule"] for row in listed] == [rule]
    assert listener not in json.dumps(listed)
    assert ask(copied, "rules", "remove", rule).status == 0
    again = ask(copied, "recommend", listener, "--k", "5", "--json").json["recommendations"]
    assert [item["track"] for item in again] == [item["track"] for item in before]
    assert ask(copied, "rules", "remove", rule).status == 1
    wrong = ask(copied, "rules", "add", "colour", "is", "blue")
    assert wrong.status == 2
    assert "expected one of artist" in re.sub(r"[\s│]+", " ", wrong.err)


def test_playlists_are_listed_shown_and_exported_as_files_players_read(say: Say, tmp_path: Path) -> None:
    listed = say("playlists", "list", "--json").json
    assert {row["kind"] for row in listed} >= {"familiar", "discovery", "genre"}
    name = next(row["playlist"] for row in listed if row["kind"] == "genre")
    shown = say("playlists", "show", name, "--json").json
    assert shown["tracks"]
    assert all(item["reason"] for item in shown["tracks"])
    written = say("playlists", "export", name, "--out", str(tmp_path))
    lines = Path(written.out.strip()).read_text(encoding="utf-8").splitlines()
    assert lines[0] == "#EXTM3U"
    assert all(Path(line).is_file() for line in lines if not line.startswith("#"))
    file = json.loads(say("playlists", "export", name, "--format", "jspf", "--lang", "de").out)["playlist"]
    german = say("playlists", "show", name, "--lang", "de", "--json").json
    assert file["identifier"] == f"urn:playlist:{name}" and file["title"] == german["title"] != shown["title"]
    assert file["annotation"] == german["text"] and lines[1] == f"#PLAYLIST:{shown['title']}" and shown["text"]
    assert say("playlists", "show", "no-such-list").status == 1


def test_a_list_is_asked_for_by_theme_or_seeds_and_is_there_at_once(copied: Path) -> None:
    listed = ask(copied, "playlists", "list", "--json").json
    mix = next(row["playlist"] for row in listed if row["kind"] == "genre")
    track, listener = ask(copied, "playlists", "show", mix, "--json").json["tracks"][0], a_listener(copied)
    made = ask(copied, "playlists", "add", "like-it", "--seed", track["track"], "--listener", listener, "--json").json
    assert made["kind"] == "seeds" and made["tracks"] >= 3
    shown = ask(copied, "playlists", "show", "like-it", "--json").json["tracks"]
    assert shown[0]["track"] == track["track"] and shown[0]["reason"] == "you chose it"
    ask(copied, "rules", "add", "track", "is", shown[1]["track"])
    left = ask(copied, "playlists", "show", "like-it", "--json").json["tracks"]
    assert shown[1]["track"] not in [row["track"] for row in left]
    themed = ask(copied, "playlists", "add", "theme", "--genre", mix.removeprefix("genre-"), "--json").json
    assert themed["kind"] == "theme" and "theme" in {
        row["playlist"] for row in ask(copied, "playlists", "list", "--json").json
    }
    wrong = [("x",), ("Bad Name", "--genre", "jazz"), ("x", "--tempo", "fast"), ("x", "--length", "2", "--genre", "a")]
    assert [ask(copied, "playlists", "add", *words).status for words in wrong] == [2] * 4
    assert ask(copied, "playlists", "add", "x", "--seed", "no-such-track").status == 1
    assert ask(copied, "playlists", "remove", "theme").status == 0
    assert [ask(copied, "playlists", words, "theme").status for words in ("remove", "show")] == [1, 1]


def test_why_leads_from_a_recommendation_to_the_bytes_and_names_what_keeps_a_track_out(copied: Path) -> None:
    listener = a_listener(copied)
    best = ask(copied, "recommend", listener, "--k", "1", "--json").json["recommendations"][0]
    answer = ask(copied, "why", listener, best["track"], "--json").json
    assert (answer["recommended"], answer["rank"]) == (True, 1)
    assert answer["reasons"] == best["reasons"]
    assert answer["models"][0]["trained_on"]
    assert answer["models"][0]["made_by"]["trace_id"]
    file = answer["sound"][0]
    assert file["path"] == best["path"]
    assert file["file_hash"] == hashlib.sha256(Path(file["path"]).read_bytes()).hexdigest()
    assert file["file_now"] == "unchanged"
    assert all(made["run_id"] for made in file["made_by"].values() if made)
    assert listener not in json.dumps({**answer, "listener": ""})
    Path(file["path"]).write_bytes(b"something else")
    ask(copied, "rules", "add", "track", "is", best["track"])
    again = ask(copied, "why", listener, best["track"], "--json").json
    assert again["recommended"] is False
    assert "rule" in again["kept_out_by"]
    assert again["sound"][0]["file_now"] == "changed"
    assert ask(copied, "why", listener, "no such track").status == 1


def test_a_home_of_an_older_release_is_made_ready_by_the_first_command(copied: Path) -> None:
    (copied / "locks" / "prepared").unlink()
    with sqlite3.connect(copied / "platform.db") as database:
        database.execute("DROP TABLE external_tracks")
    assert ask(copied, "recommend", a_listener(copied), "--json").status == 0
