"""Names in certificates (RFC 9525 §6.3). Pure; used by `relay.dane`, `relay.outgoing_tls` and `relay.mta_sts`."""


def match_name(pattern: str, name: str) -> bool:
    """Tell whether a name of a certificate, in lower case, is that of a host: `*.` stands for one label, no more."""
    name = name.lower().rstrip(".")
    if pattern.startswith("*."):
        label, dot, rest = name.partition(".")
        return bool(label and dot) and rest == pattern[2:]
    return pattern == name
