"""Whether a process of the house is ready: somebody listens, a port is free, the definitions have loaded."""

from __future__ import annotations

import contextlib
import json
import socket
import urllib.request
from pathlib import Path

LOAD_SECONDS = 30.0
LOCATIONS = """{ workspaceOrError { __typename
  ... on PythonError { message }
  ... on Workspace { locationEntries { locationOrLoadError { __typename ... on PythonError { message } } } } } }"""


def free_port(wanted: int, *, besides: int = 0) -> int | None:
    """`wanted`, or the next port above it that nobody listens on; None when the next hundred are taken."""
    for port in range(wanted, min(wanted + 100, 65536)):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with contextlib.suppress(OSError):
                probe.bind(("127.0.0.1", port))
                if port != besides:
                    return port
    return None


def answers(place: int | Path) -> bool:
    """Whether somebody listens on this local port or socket."""
    kind, address = (socket.AF_INET, ("127.0.0.1", place)) if isinstance(place, int) else (socket.AF_UNIX, str(place))
    with socket.socket(kind) as probe, contextlib.suppress(OSError):
        probe.settimeout(0.5)
        probe.connect(address)
        return True
    return False


def load_error(port: int, token: str) -> str | None:
    """Why the definitions could not be loaded, as the UI on this port knows it; None when all is well."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/graphql",
        data=json.dumps({"query": LOCATIONS}).encode(),
        headers={"content-type": "application/json", "authorization": f"Bearer {token}"},
    )
    try:
        with urllib.request.urlopen(request, timeout=LOAD_SECONDS) as answer:
            workspace = json.load(answer)["data"]["workspaceOrError"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        return f"the UI does not answer: {error}"
    faults = [workspace, *(entry["locationOrLoadError"] for entry in workspace.get("locationEntries", ()))]
    messages = [fault["message"] for fault in faults if fault["__typename"] == "PythonError"]
    return messages[0].strip().splitlines()[0] if messages else None
