"""Engines for tests of the stage: they find BAD anywhere and remember what they were given."""

from gatepost.antivirus.engine import CLEAN, Connector, Outcome, Report, ScanObject


class Spy:
    """A local engine."""

    name = "spy"

    def __init__(self) -> None:
        self.seen: list[bytes] = []

    def version(self) -> str:
        return "1"

    def scan(self, subject: ScanObject, deadline: float) -> Report:
        self.seen.append(subject.data)
        return Report(Outcome.INFECTED, "Bad") if b"BAD" in subject.data else CLEAN

    def cure(self, subject: ScanObject) -> bytes | None:
        return None

    def health(self) -> str:
        return ""


class Remote:
    """A remote engine that gives one answer to everything; `log` tells the order of calls."""

    name = "remote"

    def __init__(self, answer: Report | BaseException = CLEAN, stated: str = "r1") -> None:
        self.answer = answer
        self.stated = stated
        self.seen: list[bytes] = []
        self.log: list[str] = []

    def attach(self, connector: Connector) -> None:
        raise AssertionError("the filter does that")

    def version(self, deadline: float) -> str:
        return self.stated

    def wants(self, subject: ScanObject) -> bool:
        return subject.inside is None

    def begin(self, subject: ScanObject, deadline: float) -> None:
        self.seen.append(subject.data)
        self.log.append("begin")

    def finish(self, deadline: float) -> Report:
        self.log.append("finish")
        if isinstance(self.answer, BaseException):
            raise self.answer
        return self.answer

    def abandon(self) -> None:
        self.log.append("abandon")
