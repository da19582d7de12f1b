"""Somebody at the pages of a running console, without scripts."""

import http.client
import urllib.parse
from typing import Any

from tests.support.waiting import WAIT_S


class Visit:
    """One browser without scripts, over real connections."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.cookies: dict[str, str] = {}

    def ask(self, method: str, path: str, data: dict[str, str] | None = None) -> tuple[int, str, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=WAIT_S)
        fields = {"Cookie": "; ".join(f"{name}={value}" for name, value in self.cookies.items())}
        if method == "POST":
            fields |= {
                "Origin": f"http://127.0.0.1:{self.port}",
                "Content-Type": "application/x-www-form-urlencoded",
            }
        connection.request(method, path, urllib.parse.urlencode(data or {}) if data is not None else None, fields)
        answer = connection.getresponse()
        for line in answer.headers.get_all("Set-Cookie") or ():
            name, _, value = line.partition(";")[0].partition("=")
            self.cookies[name] = value
        text = answer.read().decode("utf-8", "replace")
        connection.close()
        return answer.status, text, answer.headers

    def sign_in(self, name: str, password: str) -> None:
        status, text, _ = self.ask("POST", "/sign-in", {"name": name, "password": password})
        assert status == 303, text[-500:]
