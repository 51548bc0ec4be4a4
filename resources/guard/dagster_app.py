"""Dagster's own web application behind the guard. The only module here that knows Dagster."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from dagster import DagsterInstance, __version__
from dagster._core.workspace.context import WorkspaceProcessContext, WorkspaceRequestContext
from dagster._core.workspace.load_target import ModuleTarget, WorkspaceFileTarget, WorkspaceLoadTarget
from dagster._core.workspace.permissions import (
    LOCATION_SCOPED_PERMISSIONS,
    PermissionResult,
    Permissions,
)

from resources.guard.asgi import PERSON, Guard, Rules
from resources.guard.identity import Person
from resources.guard.roles import Role, may_use

DEFINITIONS, LOCATION = "ai_assets.definitions", "music_ai"


class RoleRequestContext(WorkspaceRequestContext):
    """Dagster's context of one request, with the permissions of the person that the guard let in."""

    @property
    def _person(self) -> Person | None:
        found = getattr(self.source, "scope", {}).get(PERSON)
        return found if isinstance(found, Person) else None

    @property
    def permissions(self) -> Mapping[str, PermissionResult]:
        person = self._person
        role = person.role if person is not None else Role.VIEWER
        return {str(name): _result(may_use(role, str(name)), role) for name in Permissions}

    def permissions_for_location(self, *, location_name: str) -> Mapping[str, PermissionResult]:
        return {name: result for name, result in self.permissions.items() if name in LOCATION_SCOPED_PERMISSIONS}


class RoleWorkspace(WorkspaceProcessContext):
    """Dagster's workspace, handing out contexts that know the person."""

    def create_request_context(self, source: object | None = None) -> WorkspaceRequestContext:
        return RoleRequestContext(
            instance=self.instance,
            current_workspace=self.get_current_workspace(),
            process_context=self,
            version=self.version,
            source=source,
            read_only=False,
        )


def guarded_app(workspace: WorkspaceProcessContext, rules: Rules) -> Guard:
    """The web application of a workspace, behind a guard."""
    from dagster_webserver.app import create_app_from_workspace_process_context

    return Guard(create_app_from_workspace_process_context(workspace), rules)


def code_location(workspace: Path | None) -> WorkspaceLoadTarget:
    """What a workspace file names, else the installed definitions in a code server of its own."""
    if workspace is not None:
        return WorkspaceFileTarget([str(workspace)])
    return ModuleTarget(DEFINITIONS, attribute=None, working_directory=None, location_name=LOCATION)


def serve(instance: DagsterInstance, target: WorkspaceLoadTarget, rules: Rules, *, host: str, port: int) -> None:
    """Serve the guarded UI until SIGINT or SIGTERM.

    Args:
        target: which code locations to show.
        rules: of the guard.
        host, port: where to listen. Raises SystemExit when the port cannot be had.
    """
    import uvicorn
    from dagster._core.nux import set_nux_seen

    set_nux_seen()  # type: ignore[no-untyped-call]  # else Dagster greets everybody with a newsletter's form
    instance.optimize_for_webserver(statement_timeout=15_000, pool_recycle=3600, max_overflow=20)
    with RoleWorkspace(instance, target, version=__version__) as workspace:
        # proxy_headers: uvicorn would believe a local client's X-Forwarded-For; access_log: it would keep ?token=….
        uvicorn.run(
            guarded_app(workspace, rules), host=host, port=port, proxy_headers=False, access_log=False,
            server_header=False, log_level="warning", timeout_graceful_shutdown=3,
            h11_max_incomplete_event_size=64 * 1024, ws_max_size=rules.largest_body,
        )  # fmt: skip


def _result(enabled: bool, role: Role) -> PermissionResult:
    return PermissionResult(enabled=enabled, disabled_reason=None if enabled else f"your role is {role}")
