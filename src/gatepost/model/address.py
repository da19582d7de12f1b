"""Mail addresses as the envelope carries them: `local@domain`, or the empty string for the null sender `<>`.

Addresses stay `str` with the local part untouched (RFC 5321 §2.4: only the final host may interpret it); domains
compare in lower case.
"""

NULL_SENDER = ""
"""The reverse-path `<>` (RFC 5321 §4.5.5): never bounced to, never notified."""


def domain_of(address: str) -> str:
    """Return the lower-case domain of `local@domain`, or "" when there is none (null sender, bare postmaster)."""
    return address.rpartition("@")[2].lower() if "@" in address else ""


def local_part_of(address: str) -> str:
    """Return what stands before the last `@`, or the whole address when there is none."""
    local, at, rest = address.rpartition("@")
    return local if at else rest


def bracketed(address: str) -> str:
    """Return the address in path form, `<a@b>` or `<>`, as log lines and SMTP commands show it."""
    return f"<{address}>"
