"""Somebody who follows every link of a console and presses every button, one of each kind."""

import html.parser
import re
import urllib.parse
from collections import deque

import msgspec

from tests.support.visit import Visit

PAGES_LIMIT = 800
_IDS = re.compile(r"[0-9A-Z]{13}|\d+")
_BOXES = frozenset({"checkbox", "radio"})
Press = tuple[str, tuple[tuple[str, str], ...]]


class Form(msgspec.Struct):
    """A form as a browser would send it when nothing is changed, but all rows chosen."""

    action: str
    method: str
    fields: list[tuple[str, str]] = []
    buttons: list[tuple[str, str]] = []


class Page(html.parser.HTMLParser):
    """What can be followed and pressed on a page."""

    def __init__(self, path: str, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.forms: list[Form] = []
        self._named: dict[str, Form] = {}
        self._form: Form | None = None
        self._select: str | None = None
        self._path = path
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.links += [given[name] for name in ("href", "src", "hx-get") if name in given]
        if tag == "form":
            self._form = Form(given.get("action") or self._path, given.get("method", "get").lower())
            self.forms.append(self._form)
            self._named[given.get("id", "")] = self._form
        form = self._named.get(given["form"]) if "form" in given else self._form
        if form is None:
            return
        name, value = given.get("name", ""), given.get("value", "")
        if tag == "button" and given.get("type", "submit") == "submit":
            form.buttons.append((name, value))
        elif tag == "input" and name and (given.get("type") not in _BOXES or "checked" in given or "form" in given):
            form.fields.append((name, value or ("on" if given.get("type") in _BOXES else "")))
        elif tag == "textarea" and name:
            form.fields.append((name, ""))
        elif tag == "select":
            self._select = name
        elif tag == "option" and self._select is not None:
            if "selected" in given:
                form.fields = [field for field in form.fields if field[0] != self._select]
            if self._select not in dict(form.fields):
                form.fields.append((self._select, value))

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self._form = None
        elif tag == "select":
            self._select = None


class Crawl:
    """All that somebody who has signed in comes to: `pages` by path, `presses` that they could make."""

    def __init__(self, visit: Visit) -> None:
        self.pages: dict[str, str] = {}
        self.dead_ends: list[tuple[int, str]] = []
        """Links that were shown and lead nowhere, or where one may not."""
        self.presses: dict[tuple[str, tuple[str, str]], Press] = {}
        self._visit = visit
        self._seen: set[str] = set()
        todo = deque(["/"])
        while todo:
            path = urllib.parse.urldefrag(todo.popleft())[0]
            if shape(path) not in self._seen and "sign-out" not in path:
                self._seen.add(shape(path))
                assert len(self._seen) <= PAGES_LIMIT, "it never ends"
                todo.extend(self._look(path))

    def _look(self, path: str) -> list[str]:
        status, text, fields = self._visit.ask("GET", path)
        if status >= 400:
            self.dead_ends.append((status, path))
        if status in {302, 303}:
            return [fields["Location"]]
        self.pages[path] = text
        if "html" not in fields.get("Content-Type", ""):
            return []
        page = Page(path, text)
        found = [urllib.parse.urljoin(path, link) for link in page.links]
        for form in page.forms:
            if form.method == "get":
                found.append(f"{form.action.partition('?')[0]}?{urllib.parse.urlencode(form.fields)}")
            elif form.method == "post":
                for button in form.buttons or [("", "")]:
                    chosen = (*form.fields, *([button] if button[0] else []))
                    self.presses.setdefault((shape(form.action), button), (form.action, chosen))
        return [link for link in found if link.startswith("/") and not link.startswith("//")]

    def press(self, without: tuple[str, ...]) -> list[tuple[int, str, str]]:
        """Press everything but what lies below these paths; return what was refused, or failed, as nobody may do it."""
        refused = []
        for action, fields in self.presses.values():
            if not action.startswith(without):
                status, text, _ = self._visit.ask("POST", action, dict(fields))
                if status in {403, 404, 405} or status >= 500:
                    refused.append((status, action, text))
        return refused


def shape(link: str) -> str:
    """Return what links of a kind have alike: without ids and numbers."""
    parts = urllib.parse.urlsplit(link)
    asked = sorted(
        f"{name}={'#' if _IDS.search(value) or len(value) > 12 else value}"
        for name, value in urllib.parse.parse_qsl(parts.query)
    )
    return f"{_IDS.sub('#', parts.path)}?{'&'.join(asked)}"
