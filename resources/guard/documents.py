"""What a GraphQL request would do, read from its text: queries, mutations by their real names, subscriptions.

Every operation of a document counts, whichever one is to be executed, and so does every fragment: aliases, directives
and inline fragments hide nothing. What is allowed is `roles`' matter.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

LONGEST_QUERY = 500_000


class BadRequest(ValueError):
    """The request is not one GraphQL request as JSON; the message says why."""


@dataclass(frozen=True)
class Asked:
    """One GraphQL request. `mutations` are field names of the schema, without repetition, in order."""

    query: str
    variables: dict[str, Any]
    operation: str | None
    mutations: tuple[str, ...]
    kinds: frozenset[str]

    def body(self) -> bytes:
        """The request as it is passed on: nothing but what was read here."""
        value = {"query": self.query, "variables": self.variables, "operationName": self.operation}
        return json.dumps(value).encode()


def read_body(body: bytes) -> Asked:
    """The request in a POST's body. Raises BadRequest."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        raise BadRequest("the body is not JSON") from None
    return read_request(value)


def read_request(value: Any) -> Asked:
    """The request in a JSON value (a body, a WebSocket message's payload). Raises BadRequest."""
    if not isinstance(value, dict):
        raise BadRequest("expected one JSON object with query, variables and operationName")
    query, variables = value.get("query"), value.get("variables")
    operation = value.get("operationName")
    if not isinstance(query, str) or not query.strip():
        raise BadRequest("there is no query")
    if len(query) > LONGEST_QUERY:
        raise BadRequest(f"the query has {len(query)} characters; at most {LONGEST_QUERY} are read")
    if isinstance(variables, str):
        try:
            variables = json.loads(variables)
        except (ValueError, RecursionError):
            raise BadRequest("variables are not JSON") from None
    if not isinstance(variables, dict | None) or not isinstance(operation, str | None):
        raise BadRequest("variables must be an object and operationName a text")
    kinds, mutations = _operations(query)
    return Asked(query, variables or {}, operation, mutations, kinds)


def _operations(query: str) -> tuple[frozenset[str], tuple[str, ...]]:
    from graphql import FragmentDefinitionNode, GraphQLError, OperationDefinitionNode, parse

    try:
        document = parse(query, no_location=True)
        fragments = {
            node.name.value: node.selection_set
            for node in document.definitions
            if isinstance(node, FragmentDefinitionNode)
        }
        operations = [node for node in document.definitions if isinstance(node, OperationDefinitionNode)]
        mutations = [
            name
            for node in operations
            if node.operation.value == "mutation"
            for name in _fields(node.selection_set, fragments, set())
        ]
    except GraphQLError as error:
        raise BadRequest(f"not GraphQL: {error.message}") from None
    except RecursionError:
        raise BadRequest("the query is nested too deeply") from None
    if not operations:
        raise BadRequest("the document has no operation")
    return frozenset(node.operation.value for node in operations), tuple(dict.fromkeys(mutations))


def _fields(selections: Any, fragments: dict[str, Any], seen: set[str]) -> Iterator[str]:
    """Names of the root fields of one operation; `__typename` does nothing and is left out."""
    from graphql import FieldNode, FragmentSpreadNode

    for node in selections.selections:
        if isinstance(node, FieldNode):
            if node.name.value != "__typename":
                yield node.name.value
        elif isinstance(node, FragmentSpreadNode):
            name = node.name.value
            if name not in fragments:
                raise BadRequest(f"fragment {name!r} is not in the document")
            if name not in seen:
                seen.add(name)
                yield from _fields(fragments[name], fragments, seen)
        else:
            yield from _fields(node.selection_set, fragments, seen)
