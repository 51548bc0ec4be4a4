"""The UI as a person meets it: login, lineage, an asset's page, Materialize. Screenshots lie in tests/artifacts."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from typing import Any

import pytest
from conftest import ARTIFACTS, RunningUi

pytestmark = pytest.mark.e2e

GROUPS = (
    "landing", "data_processing", "audio_analysis", "model_training", "recommendation_update", "content_generation",
)  # fmt: skip
PATIENCE = 30_000


@pytest.fixture(scope="module")
def page(ui: RunningUi, browser: Any) -> Iterator[Any]:
    """A logged-in page; keeps what went wrong in the browser."""
    context = browser.new_context(viewport={"width": 1600, "height": 1000})
    page = context.new_page()
    page.set_default_timeout(PATIENCE)
    page.refused = []
    page.on("response", lambda answer: page.refused.append(answer.url) if answer.status >= 400 else None)
    page.goto(ui.login)
    yield page
    context.close()


def keep(page: Any, name: str) -> None:
    ARTIFACTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=ARTIFACTS / f"ui-{name}.png")


def test_without_the_printed_address_there_is_a_login_page_and_nothing_else(ui: RunningUi, browser: Any) -> None:
    context = browser.new_context(viewport={"width": 1600, "height": 1000})
    stranger = context.new_page()
    stranger.goto(f"{ui.address}/asset-groups")
    assert stranger.url == f"{ui.address}/login?next=/asset-groups"
    stranger.get_by_label("Access token").fill("a guess")
    stranger.get_by_role("button", name="Log in").click()
    stranger.get_by_role("alert").wait_for()
    keep(stranger, "login")
    stranger.get_by_label("Access token").fill(ui.token)
    stranger.get_by_role("button", name="Log in").click()
    stranger.get_by_text("Global asset lineage").wait_for(timeout=PATIENCE)
    cookies = context.cookies()
    assert [(cookie["httpOnly"], cookie["sameSite"]) for cookie in cookies] == [(True, "Lax")]
    assert ui.token not in cookies[0]["value"]
    context.close()


def test_the_lineage_graph_shows_all_groups(ui: RunningUi, page: Any) -> None:
    page.goto(f"{ui.address}/asset-groups")
    for group in GROUPS:
        page.get_by_text(group, exact=True).first.wait_for()
    assert page.get_by_text("Join the Dagster community").count() == 0
    page.wait_for_timeout(2000)
    keep(page, "lineage")


def test_an_asset_has_description_columns_and_checks(ui: RunningUi, page: Any) -> None:
    page.goto(f"{ui.address}/assets/tracks?view=overview")
    page.get_by_text("Description", exact=True).first.wait_for()
    page.get_by_text("Columns", exact=True).first.wait_for()
    for column in ("track", "artist", "audio_hash"):
        page.get_by_text(column, exact=True).first.wait_for()
    keep(page, "asset")
    page.goto(f"{ui.address}/assets/tracks?view=checks")
    page.get_by_text(re.compile("Passed|Success", re.IGNORECASE)).first.wait_for()
    assert page.get_by_text("No checks defined").count() == 0
    keep(page, "checks")


def test_materialize_is_pressed_and_the_run_succeeds(ui: RunningUi, page: Any) -> None:
    page.goto(f"{ui.address}/assets/listeners")
    page.get_by_role("button", name="Materialize").first.click()
    page.get_by_role("link", name="View", exact=True).first.click()
    page.wait_for_url(re.compile(r"/runs/[0-9a-f-]{36}"))
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline and not page.get_by_text("Success", exact=True).count():
        assert page.get_by_text("Failure", exact=True).count() == 0, "the run failed"
        page.wait_for_timeout(500)
    keep(page, "run")
    assert page.get_by_text("Success", exact=True).count()


def test_nothing_the_ui_asked_for_was_refused(page: Any) -> None:
    assert page.refused == []
