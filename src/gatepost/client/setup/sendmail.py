"""Set-up of Sendmail: a milter, in `sendmail.mc` and in `sendmail.cf`, each where it is there."""

import re
from collections.abc import Iterator
from typing import Final

from gatepost.client.settings import ClientSettings
from gatepost.client.setup.files import read_state
from gatepost.client.setup.service import edited, plan_settings, plan_unit, read_text, start_words
from gatepost.client.setup.values import Change, Plan, SetupError, Wanted
from gatepost.config.doors import OnError

MODES: Final = ("milter",)
NAME: Final = "gatepost"
MILTER: Final = "tcp:127.0.0.1:8891"
_FLAGS: Final = {OnError.ACCEPT: "", OnError.TEMPFAIL: "F=T, ", OnError.REJECT: "F=R, "}
"""What Sendmail does when the milter is away (times as documented, and one for the end)."""
_TIMES: Final = "T=C:10s;S:20s;R:30s;E:5m"


def plan_sendmail(wanted: Wanted) -> Plan:
    """Return what set-up changes. SetupError."""
    if wanted.mode not in {"", *MODES}:
        raise SetupError(f"--mode {wanted.mode}: Sendmail has {', '.join(MODES)}")
    settings = ClientSettings()
    changes: list[Change] = []
    address = wanted.door
    if not address:
        needed: dict[str, str | bool] = {"send_mail_address": MILTER} if read_state(wanted.settings) is None else {}
        settings, more = plan_settings(wanted, needed)
        address = settings.send_mail_address
        changes += (*more, *plan_unit(wanted, "milter", "milter client", "sendmail.service", address))
    equates = f"S={_place(address)}, {_FLAGS[settings.client_on_error]}{_TIMES}"
    found = False
    for name, edit in (("sendmail.mc", edit_mc), ("sendmail.cf", edit_cf)):
        if read_state(wanted.config / name) is not None:
            found = True
            state, text = read_text(wanted.config / name)
            changes += edited(wanted.config / name, state, edit(text, equates))
    if not found:
        raise SetupError(f"{wanted.config} has neither sendmail.mc nor sendmail.cf; name the directory with --config")
    then = () if wanted.door else start_words(wanted, "milter")
    then = (*then, "restart Sendmail: kill -HUP, or its service")
    return Plan(system="sendmail", mode="milter", changes=tuple(changes), then=then)


def _place(address: str) -> str:
    kind, _, place = address.partition(":")
    if kind == "unix":
        return f"local:{place}"
    host, _, port = place.rpartition(":")
    return f"inet6:{port}@{host.strip('[]')}" if ":" in host else f"inet:{port}@{host}"


def edit_mc(text: str, equates: str) -> str:
    """Return sendmail.mc with the milter, in front of the mailers."""
    line = f"INPUT_MAIL_FILTER(`{NAME}', `{equates}')dnl\n"
    there = re.search(rf"^INPUT_MAIL_FILTER\(`{NAME}',.*\n?", text, re.MULTILINE)
    if there:
        return text[: there.start()] + line + text[there.end() :]
    mailers = re.search(r"^MAILER(?:_DEFINITIONS)?\b", text, re.MULTILINE)
    at = mailers.start() if mailers else len(text)
    before = text[:at]
    return f"{before}{'' if not before or before.endswith(chr(10)) else chr(10)}{line}{text[at:]}"


def edit_cf(text: str, equates: str) -> str:
    """Return sendmail.cf with the milter defined, and asked behind those that are asked already."""
    line = f"X{NAME}, {equates}\n"
    there = re.search(rf"^X{NAME},.*\n?", text, re.MULTILINE)
    text = text[: there.start()] + line + text[there.end() :] if there else f"{_ended(text)}{line}"
    option = re.search(r"^O InputMailFilters=([^\n]*)", text, re.MULTILINE)
    if option is None:
        hint = re.search(r"^#\s?O InputMailFilters=?[^\n]*\n", text, re.MULTILINE)
        last = hint or _last(re.finditer(r"^O [^\n]*\n", text, re.MULTILINE))
        at = last.end() if last else 0
        return f"{text[:at]}O InputMailFilters={NAME}\n{text[at:]}"
    names = [each.strip() for each in re.split(r"[,;]", option[1]) if each.strip()]
    if NAME in names:
        return text
    joined = f"{option[1].rstrip()}, {NAME}" if names else NAME
    return f"{text[: option.start(1)]}{joined}{text[option.end(1) :]}"


def _last(found: Iterator[re.Match[str]]) -> re.Match[str] | None:
    return next(reversed(list(found)), None)


def _ended(text: str) -> str:
    return text if not text or text.endswith("\n") else f"{text}\n"
