"""A program that uses the interface of a running gateway: one connection a request, JSON both ways."""

import http.client
import json
from typing import Any

import msgspec

from tests.support.waiting import WAIT_S


class Answer(msgspec.Struct, frozen=True):
    """What a program got."""

    status: int
    headers: dict[str, str]
    """Names in lower case."""
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Api:
    """A program with a token, or without one."""

    def __init__(self, port: int, token: str = "") -> None:
        self.port = port
        self.token = token

    def get(self, path: str, **headers: str) -> Answer:
        return self.ask("GET", path, **headers)

    def post(self, path: str, body: Any = None, **headers: str) -> Answer:
        return self.ask("POST", path, body, **headers)

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        """Send a request; bytes as they are, other bodies as JSON. Below /api/v1, unless the path begins with two /."""
        fields = {name.replace("_", "-"): value for name, value in headers.items()}
        if self.token:
            fields.setdefault("Authorization", f"Bearer {self.token}")
        raw = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        if raw is not None:
            fields.setdefault("Content-Type", "application/json")
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=WAIT_S)
        try:
            connection.request(method, path[1:] if path.startswith("//") else f"/api/v1{path}", raw, fields)
            answer = connection.getresponse()
            return Answer(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())
        finally:
            connection.close()
