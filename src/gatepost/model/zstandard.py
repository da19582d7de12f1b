"""Zstandard (RFC 8878) from wherever this Python has it: its own library since 3.14, `backports` before."""

import sys

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

__all__ = ["zstd"]
