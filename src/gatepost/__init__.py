"""Gatepost: a mail security gateway. The package map is in `docs/architecture.md`."""

__version__ = "0.1.0"
