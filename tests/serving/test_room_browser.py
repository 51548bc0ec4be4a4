"""The listening room in Chromium: entered by the printed address, walked through by clicking, judged by axe-core."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from serving_home import ROOT, Server

PATIENCE = 60_000
ARTIFACTS = ROOT / "tests" / "artifacts"
PAGES = (
    "/room/api",
    "/", "/room/tracks/t0001", "/room/listener", "/room/generated", "/room/generated?kind=music", "/room/login",
    "/room/nothing",
)  # fmt: skip


@pytest.fixture(scope="module")
def page(room: Server, browser: Any) -> Iterator[Any]:
    """A page that has come in by the printed address; notes what the browser complained of and asked elsewhere for."""
    context = browser.new_context(viewport={"width": 1280, "height": 900}, locale="en-GB")
    opened = context.new_page()
    opened.set_default_timeout(PATIENCE)
    opened.complaints, opened.elsewhere = [], []
    opened.on("console", lambda said: opened.complaints.append(said.text) if said.type == "error" else None)
    opened.on("pageerror", lambda error: opened.complaints.append(str(error)))
    opened.on("dialog", lambda dialog: opened.complaints.append(f"dialog {dialog.message}"))
    address = f"http://127.0.0.1:{room.port}"
    opened.on("request", lambda asked: None if asked.url.startswith(address) else opened.elsewhere.append(asked.url))
    opened.goto(address + room.login)
    opened.wait_for_url(f"{address}/")
    yield opened
    context.close()


def picks(page: Any) -> list[str]:
    return page.locator("[data-pick]").evaluate_all("found => found.map(one => one.dataset.pick)")


def until(page: Any, expression: str) -> None:
    """Poll until the expression is true; the page's own policy forbids the browser's way of waiting (eval)."""
    deadline = time.monotonic() + PATIENCE / 1000
    while not page.evaluate(expression):
        assert time.monotonic() < deadline, f"never: {expression}"
        page.wait_for_timeout(50)


def test_a_visitor_searches_listens_skips_and_sees_the_list_change(page: Any) -> None:
    page.get_by_label("Title, artist, album or genre").fill("night")
    page.get_by_role("button", name="Search", exact=True).click()
    page.get_by_role("link", name="Night Train Home").click()
    page.get_by_role("button", name="Play Night Train Home").click()
    until(page, "document.querySelector('[data-audio]').currentTime > 0")
    page.get_by_role("button", name="Hear it at 0:05").click()
    until(page, "document.querySelector('[data-audio]').currentTime >= 5")
    until(page, "Number(document.querySelector('[data-wave-past]').getAttribute('width')) > 600")
    page.get_by_role("link", name="For a listener").click()
    page.get_by_label("Listener’s id, as in the events").fill("l011")
    page.get_by_role("button", name="Listen as this person").click()
    page.locator("[data-pick]").first.wait_for()
    before = picks(page)
    page.get_by_role("button", name=re.compile("^Skip:")).nth(1).click()
    page.get_by_text(re.compile("^Skipped: ")).first.wait_for()
    after = picks(page)
    assert before[1] not in after and set(after) - set(before)
    assert page.locator(".badge").count() == len(set(after) - set(before))
    until(page, "document.querySelector('[data-say]').textContent.includes('The list has changed')")
    assert page.evaluate("document.activeElement.closest('[data-pick]') !== null"), "the keyboard stays in the list"
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement !== document.body")
    page.get_by_role("button", name=re.compile("^Like:")).first.click()
    page.get_by_text(re.compile("^Liked: ")).first.wait_for()
    assert after[0] not in picks(page)
    assert page.complaints == [] and page.elsewhere == []


def test_axe_finds_no_serious_fault_in_any_language_by_day_and_by_night(page: Any, room: Server, browser: Any) -> None:
    axe = pytest.importorskip("axe_playwright_python", reason="axe-core is not installed (pip install .[dev])")
    script = (Path(axe.__file__).parent / "axe.min.js").read_text()
    address, state = f"http://127.0.0.1:{room.port}", page.context.storage_state()
    context = browser.new_context(storage_state=state, viewport={"width": 390, "height": 844})
    seen = context.new_page()
    seen.set_default_timeout(PATIENCE)
    faults, looked = [], 0
    for language, scheme, paths in (
        ("en", "light", PAGES), ("de", "dark", PAGES), ("fr", "light", PAGES), ("fr", "dark", PAGES[:2]),
        ("en", "dark", PAGES[:2]), ("de", "light", PAGES[:2]),
    ):  # fmt: skip
        context.set_extra_http_headers({"accept-language": language})
        seen.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        for path in paths:
            seen.goto(address + path)
            assert seen.locator("html").get_attribute("lang") == language
            assert seen.evaluate("document.documentElement.scrollWidth") <= 390, f"{path} is wider than a phone"
            seen.evaluate(script)
            found = seen.evaluate("axe.run(document, {resultTypes: ['violations']})")["violations"]
            faults += [
                (path, language, scheme, fault["id"], fault["nodes"][0]["html"])
                for fault in found
                if fault["impact"] in ("serious", "critical", "moderate")
            ]
            looked += 1
    ARTIFACTS.mkdir(parents=True, exist_ok=True)
    seen.goto(f"{address}/room/tracks/t0001")
    seen.screenshot(path=ARTIFACTS / "room-phone.png", full_page=True)
    context.close()
    assert faults == [] and looked == 3 * len(PAGES) + 6


def test_what_this_browser_cannot_play_is_asked_for_in_another_form(page: Any, room: Server) -> None:
    page.goto(f"http://127.0.0.1:{room.port}/room/tracks/t0000")
    page.get_by_role("button", name="Play Stubborn Song").click()
    until(page, "document.querySelector('[data-audio]').currentTime > 0")
    assert page.evaluate("document.querySelector('[data-audio]').src").endswith("?converted=true")


def test_the_forms_work_without_a_script(page: Any, room: Server, browser: Any) -> None:
    context = browser.new_context(storage_state=page.context.storage_state(), java_script_enabled=False, locale="en-GB")
    plain = context.new_page()
    plain.set_default_timeout(PATIENCE)
    plain.goto(f"http://127.0.0.1:{room.port}/room/listener")
    if plain.get_by_role("button", name="Listen as this person").count():
        plain.get_by_label("Listener’s id, as in the events").fill("l011")
        plain.get_by_role("button", name="Listen as this person").click()
    first = plain.locator("[data-pick] h2 a").first.inner_text()
    plain.get_by_role("button", name=re.compile("^Dislike:")).first.click()
    plain.get_by_text(f"Disliked, never again: {first}").first.wait_for()
    plain.get_by_role("link", name="Deutsch").click()
    plain.get_by_role("heading", name="Empfohlen für l011").wait_for()
    context.close()
