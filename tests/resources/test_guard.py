"""The guard round a recording application: what arrives there, and what never does."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from resources.guard.asgi import PERSON, Guard, Rules
from resources.guard.audit import Access
from resources.guard.identity import Identities, TrustedProxy, kept_secret, tokens_of
from resources.guard.roles import MUTATIONS, PERMISSIONS, Role

TOKENS = {"viewer-token": Role.VIEWER, "operator-token": Role.OPERATOR, "admin-token": Role.ADMIN}
SOCKET = "ws://127.0.0.1:3000/graphql"
ROLES = {"anonymous": None, "viewer": Role.VIEWER, "operator": Role.OPERATOR, "admin": Role.ADMIN}


@dataclass
class Recorder:
    """Stands where Dagster's web application stands."""

    bodies: list[dict] = field(default_factory=list)
    messages: list[dict] = field(default_factory=list)
    scopes: list[dict] = field(default_factory=list)

    async def __call__(self, scope, receive, send) -> None:
        self.scopes.append(scope)
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.accept", "subprotocol": "graphql-ws"})
            while (message := await receive())["type"] == "websocket.receive":
                self.messages.append(json.loads(message["text"]))
                await send({"type": "websocket.send", "text": json.dumps({"type": "data"})})
            return
        body = (await receive())["body"] if scope["method"] == "POST" else b"{}"
        self.bodies.append(json.loads(body))
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/html")]})
        await send({"type": "http.response.body", "body": b"inside"})


@dataclass
class House:
    app: Recorder
    client: TestClient
    records: list[Access]

    def as_role(self, role: str) -> dict[str, str]:
        return {} if role == "anonymous" else {"authorization": f"Bearer {role}-token"}

    @property
    def reached(self) -> int:
        return len(self.app.bodies) + len(self.app.messages)


def make_house(**options: object) -> House:
    app, records = Recorder(), []
    options.setdefault("record", records.append)
    rules = Rules(identities=Identities(TOKENS), **options)
    client = TestClient(Guard(app, rules), base_url="http://127.0.0.1:3000", follow_redirects=False)
    return House(app, client, records)


@pytest.fixture
def house() -> Iterator[House]:
    yield make_house()


def schema_mutations() -> list[str]:
    from dagster_graphql.schema import create_schema

    return list(create_schema().graphql_schema.mutation_type.fields)


def post(house: House, headers: dict[str, str], query: str):
    return house.client.post("/graphql", headers=headers, json={"query": query})


def get(house: House, headers: dict[str, str], query: str):
    return house.client.get("/graphql", headers=headers, params={"query": query})


def get_as_page(house: House, headers: dict[str, str], query: str):
    return house.client.get("/graphql", headers={**headers, "accept": "text/html"}, params={"query": query})


def head(house: House, headers: dict[str, str], query: str):
    return house.client.head("/graphql", headers=headers, params={"query": query})


def query_in_url(house: House, headers: dict[str, str], query: str):
    return house.client.post("/graphql", headers=headers, params={"query": query}, json={"query": "{version}"})


def query_in_url_without_body(house: House, headers: dict[str, str], query: str):
    headers = {**headers, "content-type": "application/json"}
    return house.client.post("/graphql", headers=headers, params={"query": query})


def form(house: House, headers: dict[str, str], query: str):
    return house.client.post("/graphql", headers=headers, data={"query": query})


def bare_text(house: House, headers: dict[str, str], query: str):
    headers = {**headers, "content-type": "application/graphql"}
    return house.client.post("/graphql", headers=headers, content=query)


def plain_text(house: House, headers: dict[str, str], query: str):
    headers = {**headers, "content-type": "text/plain;application/json"}
    return house.client.post("/graphql", headers=headers, content=json.dumps({"query": query}))


def batch(house: House, headers: dict[str, str], query: str):
    return house.client.post("/graphql", headers=headers, json=[{"query": query}])


def put(house: House, headers: dict[str, str], query: str):
    return house.client.put("/graphql", headers=headers, json={"query": query})


NEVER = [get, get_as_page, head, query_in_url, query_in_url_without_body, form, bare_text, plain_text, batch, put]


def test_every_mutation_of_the_schema_stands_in_the_table() -> None:
    assert set(schema_mutations()) == set(MUTATIONS)


def test_every_permission_of_dagster_stands_in_the_table() -> None:
    from dagster._core.workspace.permissions import Permissions

    assert {str(name) for name in Permissions} == set(PERMISSIONS)


@pytest.mark.parametrize("role", ROLES)
def test_every_mutation_by_post_passes_exactly_with_its_role(house: House, role: str) -> None:
    for mutation in schema_mutations():
        before, recorded = house.reached, len(house.records)
        answer = post(house, house.as_role(role), f"mutation {{ {mutation} {{ __typename }} }}")
        allowed = ROLES[role] is not None and ROLES[role] >= MUTATIONS[mutation]
        expected = 200 if allowed else 401 if role == "anonymous" else 403
        assert answer.status_code == expected, mutation
        assert house.reached - before == int(allowed), mutation
        assert len(house.records) == recorded + 1, "each is recorded once"
        assert house.records[-1].allowed == allowed
        if allowed:
            assert (house.records[-1].what, house.records[-1].role) == (mutation, role)


@pytest.mark.parametrize("way", NEVER, ids=lambda way: way.__name__)
@pytest.mark.parametrize("role", ROLES)
def test_no_mutation_passes_by_any_other_way_whatever_the_role(house: House, role: str, way) -> None:
    for mutation in schema_mutations():
        answer = way(house, house.as_role(role), f"mutation {{ {mutation} {{ __typename }} }}")
        assert answer.status_code in (303, 400, 401, 405, 415), mutation
    assert house.reached == 0


@pytest.mark.parametrize("role", ["viewer", "operator", "admin"])
def test_no_mutation_passes_over_the_websocket_whatever_the_role(house: House, role: str) -> None:
    with house.client.websocket_connect(SOCKET, headers=house.as_role(role)) as socket:
        for mutation in schema_mutations():
            payload = {"query": f"mutation {{ {mutation} {{ __typename }} }}"}
            socket.send_json({"type": "start", "id": mutation, "payload": payload})
            answer = socket.receive_json()
            assert (answer["type"], answer["id"]) == ("error", mutation)
        socket.send_json({"type": "start", "id": "1", "payload": {"query": "{ version }"}})
        assert socket.receive_json()["type"] == "error"
        socket.send_text("[1]")
        assert socket.receive_json()["type"] == "error"
        assert house.app.messages == []
        socket.send_json({"type": "start", "id": "2", "payload": {"query": "subscription { capturedLogs }"}})
        assert socket.receive_json()["type"] == "data"
    assert [message["id"] for message in house.app.messages] == ["2"]


def test_a_socket_needs_a_login_and_the_right_origin(house: House) -> None:
    strangers = [
        {},
        {"authorization": "Bearer wrong"},
        {"authorization": "Bearer admin-token", "origin": "http://evil.example"},
        {"authorization": "Bearer admin-token", "origin": "null"},
        {"authorization": "Bearer admin-token", "origin": "http://127.0.0.1:5000"},
        {"authorization": "Bearer admin-token", "host": "evil.example"},
    ]
    for headers in strangers:
        with pytest.raises(WebSocketDisconnect), house.client.websocket_connect(SOCKET, headers=headers):
            pass
    assert house.app.scopes == []
    good = {"authorization": "Bearer viewer-token", "origin": "http://127.0.0.1:3000"}
    with house.client.websocket_connect(SOCKET, headers=good):
        assert house.app.scopes[0][PERSON].role == Role.VIEWER


DISGUISES = {
    "alias": "mutation { version: wipeAssets(assetPartitionRanges: []) { __typename } }",
    "fragment": "mutation { ...F } fragment F on Mutation { wipeAssets { __typename } }",
    "nested fragment": "mutation { ...F } fragment F on Mutation { ...G } fragment G on Mutation { wipeAssets { a } }",
    "inline fragment": "mutation { ... on Mutation { ... { wipeAssets { __typename } } } }",
    "second operation": "query A { version } mutation B { wipeAssets { __typename } }",
    "beside a harmless one": "mutation { setNuxSeen wipeAssets { __typename } }",
    "directive": "mutation { wipeAssets @skip(if: true) { __typename } }",
    "unknown": "mutation { wipeEverythingOfNextYear }",
    "comment": "# query\nmutation { #x\n wipeAssets { __typename } }",
}


@pytest.mark.parametrize("disguise", DISGUISES)
def test_a_disguised_mutation_is_seen(house: House, disguise: str) -> None:
    answer = post(house, house.as_role("operator"), DISGUISES[disguise])
    assert answer.status_code == 403
    assert house.reached == 0
    assert house.records[-1].actor.startswith("operator-") and not house.records[-1].allowed


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"null", b"[]", b'"x"', b"{}", b'{"query": 3}', b'{"query": ""}', b'{"query": "{"}',
     b'{"query": "{a}", "variables": [1]}', b'{"query": "{a}", "operationName": {}}',
     b'{"query": "fragment F on Query { a }"}', b'{"query": "mutation { ...Missing }"}',
     b'{"query": "subscription { capturedLogs }"}', b'{"query": "' + b"{a" * 5000 + b'"}', b"[" * 200_000],
    ids=range(16),
)  # fmt: skip
def test_a_malformed_request_is_refused_and_goes_no_further(house: House, body: bytes) -> None:
    headers = {**house.as_role("admin"), "content-type": "application/json"}
    assert house.client.post("/graphql", headers=headers, content=body).status_code == 400
    assert house.reached == 0


def test_guard_and_application_read_the_same_request(house: House) -> None:
    """A doubled key must not be a query to the one and a mutation to the other."""
    body = b'{"query": "mutation { wipeAssets { a } }", "query": "{ version }", "extensions": {"x": 1}}'
    headers = {**house.as_role("viewer"), "content-type": "application/json"}
    assert house.client.post("/graphql?op=Version", headers=headers, content=body).status_code == 200
    assert house.app.bodies == [{"query": "{ version }", "variables": {}, "operationName": None}]
    assert house.app.scopes[0]["query_string"] == b""


def test_a_body_over_the_limit_is_refused_declared_or_not() -> None:
    house = make_house(largest_body=1000)
    headers = {**house.as_role("admin"), "content-type": "application/json"}
    assert house.client.post("/graphql", headers=headers, content=b"x" * 1001).status_code == 413
    chunks = (b"x" * 100 for _ in range(11))
    assert house.client.post("/graphql", headers=headers, content=chunks).status_code == 413
    assert house.reached == 0


@pytest.mark.parametrize("host", ["evil.example", "evil.example:3000", "127.0.0.1.evil.example", "10.1.2.3", "", "a@b"])
def test_a_wrong_host_is_refused_for_every_method(house: House, host: str) -> None:
    headers = {**house.as_role("admin"), "host": host}
    assert house.client.get("/", headers=headers).status_code == 403
    assert post(house, headers, "{ version }").status_code == 403
    assert house.client.get("/login?token=admin-token", headers=headers).status_code == 403
    assert house.reached == 0


def test_an_address_is_a_host_only_where_all_addresses_are_served() -> None:
    house = make_house(any_address=True)
    headers = house.as_role("viewer")
    assert house.client.get("/", headers={**headers, "host": "10.1.2.3:3000"}).status_code == 200
    assert house.client.get("/", headers={**headers, "host": "evil.example"}).status_code == 403


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://127.0.0.1:5000", "http://localhost:3000"])
def test_another_site_cannot_post_with_the_session_of_a_person(house: House, origin: str) -> None:
    house.client.get("/login?token=admin-token")
    assert post(house, {"origin": "http://127.0.0.1:3000"}, "{ version }").status_code == 200
    assert post(house, {"origin": origin}, "{ version }").status_code == 403
    assert house.client.post("/logout", headers={"origin": origin}).status_code == 403
    assert house.reached == 1


def test_what_a_client_says_about_itself_does_not_arrive(house: House) -> None:
    lies = {"x-forwarded-user": "root", "X_Forwarded_User": "root", "forwarded": "for=1.1.1.1",
            "x-forwarded-for": "1.1.1.1", "x-forwarded-role": "admin", "x-real-ip": "1.1.1.1"}  # fmt: skip
    post(house, {**house.as_role("operator"), **lies, "cookie": "a=b"}, "mutation { launchRun { a } }")
    arrived = [(name.decode().lower(), value.decode()) for name, value in house.app.scopes[0]["headers"]]
    actor = house.records[0].actor
    assert actor.startswith("operator-")
    assert [value for name, value in arrived if "forwarded" in name] == [actor]
    assert not {"authorization", "cookie", "x-real-ip"} & {name for name, _ in arrived}


def test_a_trusted_proxy_is_believed_and_nobody_else() -> None:
    named = {"x-forwarded-user": "alice", "x-forwarded-role": "operator"}
    stranger = make_house(proxy=TrustedProxy(frozenset({"10.0.0.9"})))
    assert post(stranger, named, "{ version }").status_code == 401
    house = make_house(proxy=TrustedProxy(frozenset({"testclient"})))
    assert post(house, named, "mutation { launchRun { a } }").status_code == 200
    assert (house.records[0].actor, house.records[0].role) == ("alice", "operator")
    assert post(house, named, "mutation { wipeAssets { a } }").status_code == 403
    assert post(house, {"x-forwarded-user": "bob"}, "mutation { launchRun { a } }").status_code == 403
    assert post(house, {**named, "x-forwarded-role": "root"}, "{ version }").status_code == 401


def test_nothing_is_changed_when_it_cannot_be_recorded() -> None:
    def full_disk(access: Access) -> None:
        raise OSError(28, "No space left on device")

    house = make_house(record=full_disk)
    assert post(house, house.as_role("admin"), "mutation { launchRun { a } }").status_code == 503
    assert house.reached == 0
    assert post(house, house.as_role("admin"), "{ version }").status_code == 200


def test_a_person_logs_in_by_page_or_address_and_out_again(house: House) -> None:
    first = house.client.get("/assets/tracks?view=checks", headers={"accept": "text/html"})
    assert first.status_code == 303
    page = house.client.get(first.headers["location"])
    assert page.status_code == 200 and 'type="password"' in page.text and "<script" not in page.text
    answer = house.client.post(first.headers["location"], data={"token": " viewer-token\n"})
    assert (answer.status_code, answer.headers["location"]) == (303, "/assets/tracks?view=checks")
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie and "SameSite=Lax" in cookie and "viewer-token" not in cookie
    inside = house.client.get("/assets/tracks")
    assert (inside.text, inside.headers["x-frame-options"]) == ("inside", "DENY")
    assert "viewer-" in house.client.get("/login").text
    house.client.post("/logout")
    assert house.client.get("/", headers={"accept": "text/html"}).status_code == 303
    assert house.client.get("/login?token=admin-token").headers["location"] == "/"
    assert house.client.get("/").text == "inside"


def test_a_wrong_token_is_told_recorded_and_gives_no_session(house: House) -> None:
    answer = house.client.post("/login", data={"token": "guess"})
    assert answer.status_code == 401 and "not valid" in answer.text and "set-cookie" not in answer.headers
    assert [(record.what, record.allowed) for record in house.records] == [("login", False)]
    house.client.get("/login?token=admin-token")
    wrong = {"authorization": "Bearer wrong"}
    assert post(house, wrong, "{ version }").status_code == 401, "a wrong token does not fall back to the session"


@pytest.mark.parametrize(
    "onward", ["//evil.example", "/\\evil.example", "http://evil.example", "/login", "/a\r\nset-cookie: x=y", "x"]
)
def test_a_login_leads_nowhere_else(house: House, onward: str) -> None:
    answer = house.client.get("/login", params={"token": "admin-token", "next": onward})
    assert answer.headers["location"] == "/"


def test_a_session_ends_by_time_by_forgery_and_with_its_token() -> None:
    identities = Identities(TOKENS, b"key")
    person = identities.by_token("operator-token")
    cookie = identities.open_session(person, seconds=60, now=1000)
    assert identities.by_session(cookie, now=1059) == person
    assert identities.by_session(cookie, now=1060) is None
    assert identities.by_session(cookie.replace("operator", "admin", 1), now=1001) is None
    assert identities.by_session(cookie.replace(".1060.", ".9999."), now=1001) is None
    assert Identities(TOKENS, b"other").by_session(cookie, now=1001) is None
    assert Identities({"admin-token": Role.ADMIN}, b"key").by_session(cookie, now=1001) is None
    for text in ("", ".", "..", "a.b.c", "ü.1.ü"):
        assert identities.by_session(text) is None


@pytest.mark.parametrize(
    ("path", "status"),
    [("/notebook", 403), ("/dagit/notebook", 403), ("/GraphQL", 405), ("/graphql/", 405),
     ("/report_asset_check/a", 405), ("/logs/%2e%2e/%2e%2e/secrets", 400), ("/logs/..%5c..%5csecrets", 400)],
)  # fmt: skip
def test_paths_that_lead_astray_are_refused(house: House, path: str, status: int) -> None:
    assert house.client.get(path, headers=house.as_role("admin")).status_code == status
    assert house.reached == 0


def test_only_admins_claim_materializations_by_report(house: House) -> None:
    for role, status in {"anonymous": 401, "viewer": 403, "operator": 403, "admin": 200}.items():
        answer = house.client.post("/report_asset_materialization/tracks", headers=house.as_role(role), json={})
        assert answer.status_code == status
    assert house.reached == 1
    assert house.client.post("/anything", headers=house.as_role("admin"), json={}).status_code == 405


def test_the_admin_token_is_made_once_and_only_its_owner_may_read_it(tmp_path) -> None:
    first = tokens_of({}, tmp_path / "secrets")
    assert tokens_of({}, tmp_path / "secrets") == first
    assert list(first.values()) == [Role.ADMIN] and len(next(iter(first))) >= 40
    (file,) = (tmp_path / "secrets").iterdir()
    assert file.stat().st_mode & 0o777 == 0o600
    assert tokens_of({"t": "viewer"}, tmp_path / "other") == {"t": Role.VIEWER}
    assert not (tmp_path / "other").exists()
    with pytest.raises(ValueError, match="a token is empty"):
        tokens_of({" ": "admin"}, tmp_path)
    (tmp_path / "empty").touch()
    with pytest.raises(ValueError, match="is empty; delete it"):
        kept_secret(tmp_path / "empty")
