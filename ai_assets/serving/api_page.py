"""The API on one page, written from its OpenAPI description: plain HTML, no script, nothing from elsewhere."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import jinja2

from ai_assets.serving.room_words import FOLDER


@dataclass(frozen=True)
class Field:
    """A parameter or a value of a body."""

    name: str
    kind: str
    needed: bool
    note: str


@dataclass(frozen=True)
class Route:
    """One thing to ask or tell."""

    method: str
    path: str
    about: str
    fields: tuple[Field, ...]
    answers: tuple[Field, ...]
    example: str


def routes_of(description: Mapping[str, Any]) -> list[Route]:
    """The routes of an OpenAPI description (`FastAPI.openapi()`), in its order."""
    schemas = description.get("components", {}).get("schemas", {})
    return [
        _route(method.upper(), path, operation, schemas)
        for path, operations in description["paths"].items()
        for method, operation in operations.items()
    ]


def api_page(description: Mapping[str, Any]) -> str:
    """The page by itself, for who comes with the token and not through the listening room."""
    loader = jinja2.FileSystemLoader(FOLDER)
    templates = jinja2.Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True)
    return templates.get_template("api_alone.html").render(api=description["info"], routes=routes_of(description))


def _route(method: str, path: str, operation: Mapping[str, Any], schemas: Mapping[str, Any]) -> Route:
    bodies = operation.get("requestBody", {}).get("content", {})
    body = _resolved(bodies.get("application/json", {}).get("schema", {}), schemas)
    good: Mapping[str, Any] = next(
        (answer for status, answer in operation["responses"].items() if status.startswith("2")), {}
    )
    answer = _resolved(good.get("content", {}).get("application/json", {}).get("schema", {}), schemas)
    parameters = [
        Field(f"{item['name']} ({item['in']})", _kind(item["schema"]), bool(item.get("required")), _note(item))
        for item in operation.get("parameters", [])
    ]
    return Route(
        method, path, operation.get("description", ""), (*parameters, *_fields(body)), tuple(_fields(answer)),
        _example(method, path, body, {str(item["name"]): item for item in operation.get("parameters", [])}),
    )  # fmt: skip


def _resolved(schema: Mapping[str, Any], schemas: Mapping[str, Any]) -> Mapping[str, Any]:
    """The schema of an object: behind its reference, or the first of its forms."""
    if "$ref" in schema:
        found: Mapping[str, Any] = schemas[schema["$ref"].rpartition("/")[2]]
        return found
    forms = schema.get("oneOf") or schema.get("anyOf")
    return _resolved(forms[0], schemas) if forms else schema


def _fields(schema: Mapping[str, Any]) -> Iterator[Field]:
    needed = schema.get("required", [])
    for name, value in schema.get("properties", {}).items():
        yield Field(name, _kind(value), name in needed, _note(value))


def _kind(schema: Mapping[str, Any]) -> str:
    forms = schema.get("anyOf") or schema.get("oneOf")
    if forms:
        return " or ".join(dict.fromkeys(_kind(form) for form in forms))
    if schema.get("type") == "array":
        return f"list of {_kind(schema.get('items', {}))}"
    return str(schema.get("format") or schema.get("type") or "object")


def _note(item: Mapping[str, Any]) -> str:
    schema = item.get("schema", item)
    bounds = [f"{word} {schema[name]}" for name, word in (("minimum", "from"), ("maximum", "to")) if name in schema]
    default = f"default {schema['default']}" if schema.get("default") is not None else ""
    told = str(item.get("description", "")).rstrip(".")
    return "; ".join(part for part in (told, " ".join(bounds), default) if part)


EXAMPLES = {
    "listener": "listener-0007", "track": "artist%20-%20title", "identifier": "my-song-1", "k": "5",
}  # fmt: skip
VALUES: Mapping[str, Any] = {
    "listener": '"listener-0007"', "track": '"artist - title"', "tracks": '["artist - title"]',
    "played_at": '"2026-11-01T20:00:00Z"',
}  # fmt: skip


def _example(method: str, path: str, body: Mapping[str, Any], parameters: Mapping[str, Any]) -> str:
    for name in parameters:
        path = path.replace(f"{{{name}}}", EXAMPLES.get(name, name))
    query = "&".join(f"{name}={EXAMPLES[name]}" for name, item in parameters.items() if item["in"] == "query")
    words = ["curl", "-H", '"Authorization: Bearer $TOKEN"']
    if method not in ("GET", "POST"):
        words += ["-X", method]
    needed = body.get("required", [])
    if needed:
        values = ", ".join(f'"{name}": {VALUES.get(name, "null")}' for name in needed)
        words += ["-H", '"Content-Type: application/json"', "-d", f"'{{{values}}}'"]
    elif method == "PUT":
        words += ["-H", '"Content-Type: audio/flac"', "--data-binary", "@song.flac"]
    return " ".join([*words, f'"http://127.0.0.1:8080{path}{"?" + query if query else ""}"'])
