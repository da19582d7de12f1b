"""A zone in memory for checks that ask through `gatepost.authn.question`: no socket, no resolver."""

import re
from collections.abc import Mapping
from typing import Any, Self, TypeVar

from gatepost.authn.question import Inquiry, Question, Record, Reply, Status

T = TypeVar("T")

_NAME = re.compile(r"(?=.{1,253}\Z)[^.]{1,63}(?:\.[^.]{1,63})*")
_ALIASES = 8


class Zone:
    """Records by name; `answer` and `run` reply from them. What was asked stands in `asked`."""

    def __init__(self) -> None:
        self.records: dict[str, dict[str, list[Any]]] = {}
        self.failing: set[tuple[str, str]] = set()
        """(name, record) without an answer; "" for every record."""
        self.asked: list[Question] = []
        self.rounds: list[int] = []
        """How many questions were asked at a time."""

    def add(self, name: str, record: str, *values: Any) -> Self:
        self.records.setdefault(name.lower().removesuffix("."), {}).setdefault(record, []).extend(values)
        return self

    @classmethod
    def from_suite(cls, data: Mapping[str, list[Any]]) -> Self:
        """Read `zonedata` of the SPF suites: SPF records are TXT records too, unless the name has TXT of its own."""
        zone = cls()
        for name, entries in data.items():
            folded = name.lower().removesuffix(".")
            zone.records.setdefault(folded, {})
            kinds = {key for entry in entries if isinstance(entry, dict) for key in entry}
            for entry in entries:
                if entry == "TIMEOUT":
                    continue
                ((kind, value),) = entry.items()
                if value == "NONE":
                    continue
                if kind == "TXT" or (kind == "SPF" and "TXT" not in kinds):
                    zone.add(name, "TXT", _text(value))
                elif kind == "MX":
                    zone.add(name, "MX", tuple(value))
                elif kind != "SPF":
                    zone.add(name, kind, value)
            if "TIMEOUT" in entries:
                zone.failing |= {(folded, each.value) for each in Record if each.value not in zone.records[folded]}
        return zone

    def answer(self, question: Question) -> Reply:
        self.asked.append(question)
        name, record = question.name.lower().removesuffix("."), question.record.value
        if _NAME.fullmatch(name) is None:
            return Reply(Status.NO_NAME)
        for _ in range(_ALIASES):
            found = self.records.get(name, {})
            if "CNAME" not in found or record in found:
                break
            name = found["CNAME"][0].lower().removesuffix(".")
        else:
            return Reply(Status.FAILED)
        if (name, record) in self.failing or (name, "") in self.failing:
            return Reply(Status.FAILED)
        if name not in self.records and not any(each.endswith("." + name) for each in self.records):
            return Reply(Status.NO_NAME)
        values = self.records.get(name, {}).get(record, [])
        if not values:
            return Reply(Status.NO_DATA)
        if record == "TXT":
            return Reply(Status.FOUND, texts=tuple(values))
        if record == "MX":
            return Reply(Status.FOUND, tuple(host.lower().removesuffix(".") for _, host in sorted(values)))
        return Reply(Status.FOUND, tuple(str(value).lower().removesuffix(".") for value in values))

    def run(self, inquiry: Inquiry[T]) -> T:
        """Answer all that an inquiry asks and return what it returns."""
        try:
            questions = next(inquiry)
            while True:
                self.rounds.append(len(questions))
                questions = inquiry.send(tuple(self.answer(question) for question in questions))
        except StopIteration as stop:
            return stop.value  # type: ignore[no-any-return]


def _text(value: str | list[str]) -> bytes:
    joined = value if isinstance(value, str) else "".join(value)
    return joined.encode("utf-8")
