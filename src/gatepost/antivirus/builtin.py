"""First stub."""

from gatepost.antivirus.engine import CLEAN, Report


class BuiltinEngine:
    def scan(self, data: bytes, name: str, deadline: float) -> Report:
        return CLEAN

    def cure(self, data: bytes) -> bytes | None:
        return None

    def health(self) -> str:
        return ""
