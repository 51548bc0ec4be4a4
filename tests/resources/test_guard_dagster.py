"""The guard round Dagster's own web application, on a real instance."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import dagster as dg
import pytest
from dagster._core.remote_origin import RegisteredCodeLocationOrigin, RemoteJobOrigin, RemoteRepositoryOrigin
from dagster._core.run_coordinator import SubmitRunContext
from dagster._core.workspace.load_target import EmptyWorkspaceTarget
from dagster_webserver.app import create_app_from_workspace_process_context
from starlette.requests import HTTPConnection
from starlette.testclient import TestClient

from resources.audit_log import AuditLog
from resources.guard.asgi import PERSON, Rules
from resources.guard.audit import ANONYMOUS_PER_MINUTE, Access, AccessRecorder
from resources.guard.dagster_app import RoleWorkspace, guarded_app
from resources.guard.identity import Identities, Person
from resources.guard.roles import PERMISSIONS, Role

TOKENS = {"viewer-token": Role.VIEWER, "operator-token": Role.OPERATOR, "admin-token": Role.ADMIN}
WIPE = 'mutation { wipeAssets(assetPartitionRanges: [{assetKey: {path: ["tracks"]}}]) { __typename } }'
TRACKS = dg.AssetKey("tracks")
COORDINATOR = {"module": "resources.instance.coordinator", "class": "AttributedRunCoordinator"}


@dataclass
class House:
    instance: dg.DagsterInstance
    workspace: RoleWorkspace
    guarded: TestClient
    audit: AuditLog

    def ask(self, role: str, query: str, variables: dict | None = None):
        headers = {"authorization": f"Bearer {role}-token"}
        return self.guarded.post("/graphql", headers=headers, json={"query": query, "variables": variables})

    @property
    def kept(self) -> bool:
        return self.instance.get_latest_materialization_event(TRACKS) is not None


@pytest.fixture
def house(tmp_path) -> Iterator[House]:
    (tmp_path / "dagster").mkdir()
    overrides = {"run_coordinator": COORDINATOR, "telemetry": {"enabled": False}}
    audit = AuditLog(tmp_path / "audit", tmp_path / "secrets")
    (tmp_path / "secrets").mkdir()
    with (
        dg.DagsterInstance.local_temp(str(tmp_path / "dagster"), overrides=overrides) as instance,
        RoleWorkspace(instance, EmptyWorkspaceTarget()) as workspace,
    ):
        instance.report_runless_asset_event(dg.AssetMaterialization(TRACKS))
        guarded = guarded_app(workspace, Rules(Identities(TOKENS), AccessRecorder(audit)))
        yield House(instance, workspace, TestClient(guarded, base_url="http://127.0.0.1:3000"), audit)


def test_a_query_in_the_url_wipes_nothing_behind_the_guard(house: House) -> None:
    headers = {"authorization": "Bearer admin-token"}
    assert house.guarded.get("/graphql", headers=headers, params={"query": WIPE}).status_code == 405
    assert house.guarded.head("/graphql", headers=headers, params={"query": WIPE}).status_code == 405
    assert house.kept


def test_only_an_admin_wipes_and_each_try_is_in_the_audit_log(house: House) -> None:
    assert house.ask("viewer", WIPE).status_code == 403
    assert house.ask("operator", WIPE).status_code == 403
    assert house.kept
    answer = house.ask("admin", WIPE)
    assert answer.json()["data"]["wipeAssets"]["__typename"] == "AssetWipeSuccess"
    assert not house.kept
    records = list(house.audit.records())
    assert [(record["action"], record["details"]["role"]) for record in records] == [
        ("ui_refused", "viewer"),
        ("ui_refused", "operator"),
        ("ui", "admin"),
    ]
    assert records[-1]["subject"] == {"what": "wipeAssets"}
    assert house.audit.verify().ok
    assert "admin-token" not in house.audit.path.read_text()


def test_dagster_itself_refuses_what_the_guard_would_let_slip(house: House) -> None:
    """The second lock: the application, called as if the guard had passed a viewer's mutation."""
    inner = create_app_from_workspace_process_context(house.workspace)

    async def slipped(scope, receive, send) -> None:
        await inner({**scope, PERSON: Person("viewer-x", Role.VIEWER)}, receive, send)

    for app in (slipped, inner):
        answer = TestClient(app).post("/graphql", json={"query": WIPE})
        assert answer.json()["data"]["wipeAssets"]["__typename"] == "UnauthorizedError"
    assert house.kept


@pytest.mark.parametrize("role", ["viewer", "operator", "admin"])
def test_the_ui_greys_out_what_the_role_may_not_do(house: House, role: str) -> None:
    answer = house.ask(role, "{ permissions { permission value disabledReason } }").json()["data"]["permissions"]
    expected = {name: Role.named(role) >= needed for name, needed in PERMISSIONS.items()}
    assert {one["permission"]: one["value"] for one in answer} == expected
    assert {one["disabledReason"] for one in answer if not one["value"]} == {f"your role is {role}"}


def test_pages_and_static_files_come_through_with_a_session(house: House) -> None:
    assert house.guarded.get("/server_info").status_code == 401
    house.guarded.get("/login?token=viewer-token")
    page = house.guarded.get("/assets")
    assert page.status_code == 200 and "<!DOCTYPE html>" in page.text
    assert page.headers["x-frame-options"] == "DENY" and "script-src" in page.headers["content-security-policy"]
    assert house.guarded.get("/server_info").json()["dagster_version"] == dg.__version__


def test_a_subscription_works_over_the_socket(house: House) -> None:
    query = "subscription { locationStateChangeEvents { event { message } } }"
    url = "ws://127.0.0.1:3000/graphql"
    with house.guarded.websocket_connect(url, headers={"authorization": "Bearer viewer-token"}) as socket:
        socket.send_json({"type": "connection_init", "payload": {}})
        assert socket.receive_json() == {"type": "connection_ack"}
        socket.send_json({"type": "start", "id": "1", "payload": {"query": query}})
        socket.send_json({"type": "start", "id": "2", "payload": {"query": WIPE}})
        assert (answer := socket.receive_json())["type"] == "error" and answer["id"] == "2"
    assert house.kept


def test_a_run_shows_who_asked_for_it(house: House) -> None:
    @dg.job
    def empty() -> None: ...

    repository = RemoteRepositoryOrigin(RegisteredCodeLocationOrigin("music_ai"), "repository")
    run = house.instance.create_run_for_job(empty, remote_job_origin=RemoteJobOrigin(repository, "empty"))
    headers = [(b"x-forwarded-user", b"operator-1234")]
    source = HTTPConnection({"type": "http", "headers": headers, PERSON: Person("operator-1234", Role.OPERATOR)})
    context = SubmitRunContext(run, house.workspace.create_request_context(source))
    house.instance.run_coordinator.submit_run(context)
    queued = house.instance.get_run_by_id(run.run_id)
    assert (queued.status, queued.tags["user"]) == (dg.DagsterRunStatus.QUEUED, "operator-1234")


def test_a_stranger_cannot_fill_the_disk_with_refusals(tmp_path) -> None:
    (tmp_path / "secrets").mkdir()
    audit, now = AuditLog(tmp_path / "audit", tmp_path / "secrets"), [100.0]
    recorder = AccessRecorder(audit, clock=lambda: now[0])
    stranger = Access("", "", "GET /", False, "http", "10.0.0.1", "log in")
    for _ in range(ANONYMOUS_PER_MINUTE + 50):
        recorder(stranger)
    assert len(list(audit.records())) == ANONYMOUS_PER_MINUTE
    recorder(Access("viewer-1", "viewer", "wipeAssets", False, "http", "10.0.0.1"))
    now[0] += 60
    recorder(stranger)
    records = list(audit.records())
    assert len(records) == ANONYMOUS_PER_MINUTE + 2
    assert records[-1]["details"]["left_out"] == 50
