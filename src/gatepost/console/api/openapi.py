"""Makes the description of the interface (OpenAPI 3.1) of its table: `tools/api_description.py` keeps it in a file.

Schemas are those of the Structs that requests and answers are decoded into; what a field is comes from the line under
it. Every answer an operation can give is listed, errors by reference.
"""

import ast
import functools
import inspect
import itertools
import sys
from collections.abc import Iterable
from typing import Any, Final

import msgspec

from gatepost.console.api.operation import PREFIX, Bytes, Operation
from gatepost.console.api.problems import ErrorAnswer
from gatepost.console.api.table import OPERATIONS
from gatepost.control.rights import Right

_REF: Final = "#/components/schemas/{name}"
_INTRODUCTION: Final = """\
Everything the console can do, for programs.

Programs send a token (`Authorization: Bearer gpt_…`), made on the account's page of the console, with some of the
account's rights. Errors are `application/problem+json` (RFC 9457). Lists come in pages: ask for the next one with
`cursor=` and what `next` of this one says. Whatever changes something may be sent with an `Idempotency-Key`: sent again
with the same key within a day it is not done again, and answered as it was. Moments are Unix time in seconds.
"""
ERRORS: Final[dict[int, str]] = {
    400: "The body is no JSON.",
    401: "There is no token, or it counts no longer.",
    403: "You may not: `right` is what you lack.",
    404: "There is no such thing, or not for you.",
    409: "It does not go as things are now: `detail` says why.",
    412: "It has been changed since: look at it as it is now.",
    413: "The body is too long.",
    415: "The body is to be `application/json`.",
    422: "The request does not do: `detail` says what of it; or the `Idempotency-Key` was used for something else.",
    428: "Say with `If-Match` which version is to be changed.",
    429: "Too many requests: wait as long as `Retry-After` says.",
    500: "Something is wrong here: the gateway's log says more.",
    503: "The gateway cannot be asked now: try again.",
}
_EVENTS: Final[dict[str, Any]] = {
    "get": {
        "operationId": "followEvents",
        "tags": ["events"],
        "summary": "Follow what happens, live",
        "description": "Server-sent events: `status`, `queue`, `problems` when they have changed, `mail` for each mail "
        "that comes, and again when its outcome changes. Who comes back with `Last-Event-ID` gets the mails missed "
        "within the hour. Each topic needs its right: `view`, mails `track`.",
        "parameters": [
            {
                "name": "topics",
                "in": "query",
                "description": "Separated by commas; without it all that you may see.",
                "schema": {"type": "string", "examples": ["status,mail"]},
            },
            {"name": "Last-Event-ID", "in": "header", "schema": {"type": "string"}},
        ],
        "responses": {
            "200": {"description": "Events, for as long as you listen.", "content": {"text/event-stream": {}}},
            **{str(code): {"$ref": f"#/components/responses/{code}"} for code in (401, 403, 422, 429, 500, 503)},
        },
    }
}


def build_description(version: str) -> dict[str, Any]:
    """Return the description."""
    types: list[Any] = [ErrorAnswer]
    for operation in OPERATIONS:
        types += [each for each in (operation.query, operation.body, operation.answer) if each and each is not Bytes]
    _, schemas = msgspec.json.schema_components(types, ref_template=_REF)
    for each in _structs(types):
        _describe_fields(each, schemas[each.__name__])
    asked_by_query = {
        operation.query.__name__: schemas[operation.query.__name__] for operation in OPERATIONS if operation.query
    }
    paths: dict[str, dict[str, Any]] = {}
    for operation in OPERATIONS:
        path = paths.setdefault(operation.path, {})
        path[operation.method.lower()] = _operation(operation, asked_by_query)
    paths["/events"] = _EVENTS
    bodies = {operation.body.__name__ for operation in OPERATIONS if operation.body}
    for name in set(asked_by_query) - bodies - _referred(schemas):
        del schemas[name]
    return {
        "openapi": "3.1.0",
        "info": {"title": "Gatepost", "version": version, "description": _INTRODUCTION},
        "servers": [{"url": PREFIX}],
        "security": [{"token": []}, {"session": []}],
        "paths": paths,
        "components": {
            "schemas": dict(sorted(schemas.items())),
            "responses": {str(code): _error(code, text) for code, text in ERRORS.items()},
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer", "description": "A token of an account."},
                "session": {
                    "type": "apiKey",
                    "in": "cookie",
                    "name": "__Host-gatepost",
                    "description": "A session of the console; what changes something needs its `X-CSRF-Token`, too.",
                },
            },
        },
    }


def _operation(operation: Operation, queries: dict[str, Any]) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": operation.name,
        "tags": [operation.tag],
        "summary": operation.summary,
        "description": _needs(operation),
        "parameters": [*_path_parameters(operation), *_query_parameters(operation, queries), *_headers(operation)],
    }
    if operation.body is not None:
        content: dict[str, Any] = {"schema": {"$ref": _REF.format(name=operation.body.__name__)}}
        if operation.example is not None:
            content["example"] = operation.example
        described["requestBody"] = {"required": True, "content": {"application/json": content}}
    described["responses"] = {
        "200": _success(operation),
        **{str(code): {"$ref": f"#/components/responses/{code}"} for code in errors_of(operation)},
    }
    return described


def errors_of(operation: Operation) -> list[int]:
    """Return the errors an operation can end with."""
    codes = {401, 403, 409, 422, 429, 500, 503}
    if operation.body is not None:
        codes |= {400, 413, 415}
    if operation.names_one:
        codes.add(404)
    if operation.takes_version:
        codes |= {412, 428}
    return sorted(codes)


def _needs(operation: Operation) -> str:
    right = "Needs no right." if operation.right is Right.NONE else f"Needs the right `{operation.right.value}`."
    return f"{operation.detail} {right}".strip()


def _path_parameters(operation: Operation) -> Iterable[dict[str, Any]]:
    for part in operation.path.split("/"):
        if part.startswith("{"):
            yield {"name": part[1:-1], "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}


def _query_parameters(operation: Operation, queries: dict[str, Any]) -> Iterable[dict[str, Any]]:
    if operation.query is None:
        return
    schema = queries[operation.query.__name__]
    for name, each in schema["properties"].items():
        parameter = {"name": name, "in": "query", "schema": each}
        if "description" in each:
            parameter["description"] = each["description"]
        if name in schema["required"]:
            parameter["required"] = True
        yield parameter


def _headers(operation: Operation) -> Iterable[dict[str, Any]]:
    if operation.takes_version:
        yield {
            "name": "If-Match",
            "in": "header",
            "required": True,
            "description": "The `ETag` of what you have seen; `*` = whatever it is now.",
            "schema": {"type": "string", "pattern": '^("[0-9A-Za-z]+"|\\*)$'},
        }
    if operation.acts:
        yield {
            "name": "Idempotency-Key",
            "in": "header",
            "description": "Your name for this act: within a day it is done once, however often it is sent.",
            "schema": {"type": "string", "maxLength": 100},
        }


def _success(operation: Operation) -> dict[str, Any]:
    if operation.answer is Bytes:
        return {"description": "The mail.", "content": {"message/rfc822": {"schema": {}}}}
    schema = {"$ref": _REF.format(name=operation.answer.__name__)}
    answer: dict[str, Any] = {"description": "Done.", "content": {"application/json": {"schema": schema}}}
    if operation.tags_version:
        answer["headers"] = {"ETag": {"description": "Names this version.", "schema": {"type": "string"}}}
    return answer


def _error(code: int, text: str) -> dict[str, Any]:
    answer: dict[str, Any] = {
        "description": text,
        "content": {"application/problem+json": {"schema": {"$ref": _REF.format(name="ErrorAnswer")}}},
    }
    if code == 401:
        answer["headers"] = {"WWW-Authenticate": {"required": True, "schema": {"type": "string"}}}
    if code in {429, 503}:
        answer["headers"] = {"Retry-After": {"schema": {"type": "string"}}}
    return answer


# --- what fields are


def _structs(types: Iterable[Any]) -> list[type[msgspec.Struct]]:
    """Return all Structs that occur in some types, at any depth."""
    found: dict[str, type[msgspec.Struct]] = {}

    def visit(info: Any) -> None:
        if isinstance(info, msgspec.inspect.StructType):
            if info.cls.__name__ in found:
                return
            found[info.cls.__name__] = info.cls
            for field in info.fields:
                visit(field.type)
            return
        for name in ("item_type", "key_type", "value_type", "type"):
            if (inner := getattr(info, name, None)) is not None:
                visit(inner)
        for inner in (*getattr(info, "types", ()), *(getattr(info, "item_types", ()) or ())):
            visit(inner)

    for each in types:
        visit(msgspec.inspect.type_info(each))
    return list(found.values())


def _describe_fields(struct: type[msgspec.Struct], schema: dict[str, Any]) -> None:
    """Put the line under each field of a Struct, and of its bases, into its schema."""
    for each in reversed(struct.__mro__):
        if each.__module__.startswith("gatepost."):
            for name, text in _lines_under(each):
                if name in schema["properties"]:
                    schema["properties"][name].setdefault("description", text)


def _lines_under(cls: type) -> Iterable[tuple[str, str]]:
    body = _classes(cls.__module__)[cls.__name__].body
    for field, below in itertools.pairwise(body):
        match field, below:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                yield name, " ".join(text.split())


@functools.cache
def _classes(module: str) -> dict[str, ast.ClassDef]:
    tree = ast.parse(inspect.getsource(sys.modules[module]))
    return {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}


def _referred(schemas: dict[str, Any]) -> set[str]:
    """Return the names other schemas refer to."""
    text = msgspec.json.encode(schemas).decode()
    return {name for name in schemas if f'"{_REF.format(name=name)}"' in text}
