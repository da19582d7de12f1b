"""`make prove NAME=doors`: the same mails by SMTP, milter, spamd, rspamd and the pipe client are judged the same.

2,000 mails of the corpora (wanted mail, spam, parser tests, malware in all wrappings; `--mails` takes fewer) go through
one gateway in five ways. What the records tell must be equal to the unit: objects and what they are, statuses, signs
with their weights, rate, verdict, actions. And what each asker is told must be that: the copies of listener, milter and
pipe byte for byte, spamd's and rspamd's as far as their protocols carry it. Then the long run of faults
(`door_faults`): `--rounds`, 300 unless told otherwise; one of the two alone with `--mails 0` or `--rounds 0`.
"""

import argparse
import contextlib
import itertools
import json
import os
import re
import sys
import tarfile
import tempfile
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, Self

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.support import milter_peer as mta  # noqa: E402
from tests.support.gateway import Gateway  # noqa: E402
from tests.support.mails import with_attachment  # noqa: E402
from tests.support.ports import free_port  # noqa: E402
from tests.support.sink import Sink  # noqa: E402
from tests.support.waiting import wait_for  # noqa: E402

from door_faults import run as run_faults  # noqa: E402
from door_ways import Answer, Asked, ByMilter, ByRspamd, BySmtp, BySpamd, PipeClient  # noqa: E402
from gatepost.config.profiles_files import build_files  # noqa: E402
from gatepost.model.profile import RuleSet  # noqa: E402
from gatepost.service.spam_scale import THRESHOLD, symbol  # noqa: E402
from result_pages import made_at, write_section  # noqa: E402

SHARED = Path(os.environ.get("GATEPOST_SHARED", ROOT.parent / "shared"))
MAILS = 2000
ROUNDS = 300
SETS: Final = {  # archive: ending of what is a mail in it, share of all
    "spam/modern-2019-2024": (".eml", 0.40),
    "spam/spamassassin-2002": (".eml", 0.30),
    "spam/inbox-2023-2025": (".eml", 0.05),
    "mime/mime-tests": (".eml", 0.19),
    "av/av-tests": ("", 0.06),
}
LINE_LIMIT = 998
_VERDICTS: Final = (
    {"VIRUS_FOUND", "BLACKLISTED", "TRUSTED", "REFUSED_BY_POLICY", "NOT_INSPECTED"}
    | {f"OBJECT_{status}" for status in ("infected", "disinfected", "suspicious", "protected", "error", "filtered")}
    | {f"OBJECT_{status}" for status in ("PROTECTED", "ERROR", "FILTERED")}
)
"""Symbols that stand for no sign."""
_FIELDS: Final = re.compile(rb"(?:[!-9;-~]+[ \t]*:[^\n]*\n(?:[ \t][^\n]*\n)*)*")
_AGE: Final = re.compile(r"\b\d+ days ago\b")
"""Told of old mail, which is asked about at another moment in each way: some day begins between two of them."""
_OWN_ID: Final = re.compile(rb"(?<=quote this number: )[0-9A-Z]{13}")
SENDER, BLOCKED = "sender@example.net", "sender@blocked.example"
DOMAINS = ("example.org", "edited.example.org", "told.example.org")
_GROUPS = """
[[group]]
name = "edited"
recipients = ["*@edited.example.org"]
block_message = []
action_infected = "remove"
[[group]]
name = "told"
recipients = ["*@told.example.org"]
block_message = []
spam_header_text = "of another group"
add_x_headers = true
add_disclaimer = true
"""
_NO_NETWORK = "".join(f"use_{name} = false\n" for name in ("dnsbl", "reverse_dns", "spf", "surbl", "authentication"))
_LEFT_OUT: Final = {  # of each record, what does not belong to the judgement
    "inspected": {"waited_ms", "elapsed_ms", "stages"},
    "scanned": {"engines", "cached"},
    "spam-checked": set[str](),
}
_LAST: Final = {"answered", "delivered", "blocked", "discarded", "refused"}
_ENDED: Final = "ended"
_IDS: Final = {"at", "id", "source", "number", "shard", "about", "type"}
Facts = dict[tuple[str, str], dict[str, Any]]
_TRACE: Final = re.compile(
    rb"\AReceived: .*?\sid ([0-9A-Z]{13});\r\n\t([^\r\n]*)\r\n(?:Date: \2\r\n)?(?:Message-ID: <\1@[^>\r\n]*>\r\n)?",
    re.DOTALL,
)


def mails(shares: dict[str, int], largest: int = 10**9) -> Iterator[bytes]:
    """Yield so many mails of each set, spread over all of it, as mail systems hand them on: with CRLF line ends. Files
    of more than `largest` bytes are left out.
    """
    for name, share in shares.items():
        with tarfile.open(SHARED / "corpora" / f"{name}.tar.gz") as archive:
            ending = SETS[name][0]
            files = [each for each in archive if each.isfile() and each.name.endswith(ending) and each.size <= largest]
            wanted = min(len(files), share)
            for number in range(wanted):
                member = files[number * len(files) // wanted]
                file = archive.extractfile(member)
                assert file is not None
                yield _as_mail(file.read(), member.name)


def _as_mail(data: bytes, name: str) -> bytes:
    if not name.endswith(".eml"):
        return with_attachment(data, Path(name).name.encode("ascii", "replace").decode())
    data = re.sub(rb"\AFrom [^\n]*\n", b"", data)
    data = _end_header(re.sub(rb"\r*\n", b"\r\n", data))
    return data if data.endswith(b"\r\n") else data + b"\r\n"


def _end_header(mail: bytes) -> bytes:
    """Return a mail whose header ends at the first line that is no field: mail systems put the empty line in there, and
    milter cannot carry such a line.
    """
    fields = _FIELDS.match(mail)
    end = fields.end() if fields else 0
    return mail if mail.startswith(b"\r\n", end) or end == len(mail) else mail[:end] + b"\r\n" + mail[end:]


def has_lone_cr(mail: bytes) -> bool:
    """Tell whether there is a CR that ends no line: SMTP does not pass it on."""
    return b"\r" in mail.replace(b"\r\n", b"")


class Site:
    """One gateway with all its doors, and what stands around it."""

    def __init__(self, place: Path, rules: RuleSet | None = None) -> None:
        """`place`: an empty directory, not deep."""
        self.next, self.behind_pipe = Sink(), Sink()
        ports = {name: free_port() for name in ("spamd", "rspamd", "filter", "pipe")}
        self.json_file = place / "records.json"
        door = '\n[[door]]\nname = "{0}"\nkind = "{0}"\naddress = "{1}"\n'
        settings = (
            "".join(door.format(name, f"tcp:127.0.0.1:{ports[name]}") for name in ("spamd", "rspamd", "filter"))
            + door.format("milter", f"unix:{place}/milter.sock")
            + f'\n[tracking]\njson_file = "{self.json_file}"\n\n[profiles]\nenabled = true\n{_GROUPS}'
        )
        replace = {
            "[network]\n": '[network]\ntrusted_networks = ["127.0.0.1/32"]\n',
            'protected_domains = ["example.org"]': 'protected_domains = ["example.org", "*.example.org"]',
            "[policy]\n": f'[policy]\naction_blacklisted = ["reject"]\n{_NO_NETWORK}',
            'bare_line_feed = "reject"\n': 'bare_line_feed = "reject"\nbefore_queue = true\n',
            # What is known is not opened again, and fewer objects are counted.
            "[ave]\n": "[ave]\nuse_clean_cache = false\n",
            "# [antispam]\n": f'[antispam]\nblack_list = ["{BLOCKED}"]\n',
        }
        self.gateway = Gateway(
            place / "g", self.next.port, settings=settings, replace=replace, antispam=True, spam_fields=True
        )
        for name, text in build_files(rules or RuleSet()).items():
            file = place / "g" / "rules" / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        self.pipe = PipeClient(place, ports["pipe"], f"tcp:127.0.0.1:{ports['filter']}", self.behind_pipe.port)
        self.relayed = {
            "smtp": BySmtp(self.gateway.port, self.next),
            "pipe": BySmtp(ports["pipe"], self.behind_pipe, forwarded=True),
        }
        self.ways: dict[str, BySmtp | ByMilter | BySpamd | ByRspamd] = {
            **self.relayed,
            "milter": ByMilter(place / "milter.sock"),
            "spamd": BySpamd(ports["spamd"]),
            "rspamd": ByRspamd(ports["rspamd"]),
        }

    def __enter__(self) -> Self:
        self.gateway.__enter__()
        self.pipe.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        for way in self.ways.values():
            way.close()
        self.pipe.__exit__()
        self.gateway.__exit__()
        self.next.close()
        self.behind_pipe.close()

    def ask_all(self, asked: list[Asked]) -> dict[str, list[Answer]]:
        """Hand over all mails in all ways, the ways side by side."""
        answers: dict[str, list[Answer]] = {name: [] for name in self.ways}
        failures: list[BaseException] = []

        def work(name: str) -> None:
            try:
                answers[name].extend(self.ways[name].ask(one) for one in asked)
            except BaseException as failure:
                failures.append(failure)
                raise

        threads = [threading.Thread(target=work, args=(name,)) for name in self.ways]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if failures:
            raise failures[0]
        return answers

    def facts(self, asked: list[Asked]) -> Facts:
        """Return what the records tell of each mail, by way and recipient, once they tell of all."""
        wanted = {
            (way, one.recipient) for one in asked for way in self.ways if way != "smtp" or not has_lone_cr(one.mail)
        }
        facts: Facts = {}

        def complete() -> bool:
            facts.clear()
            facts.update(self._facts())
            return all(_ENDED in facts.get(key, ()) and "inspected" in facts[key] for key in wanted)

        with contextlib.suppress(AssertionError):  # what is not there is a difference, and told as one
            wait_for(complete, "all to be on record", 60, 0.3)
        wait_for(lambda: not self.gateway.queue(), "the queue to be empty", 60)
        for found in facts.values():
            found.pop(_ENDED, None)
        return facts

    def _facts(self) -> Facts:
        facts: Facts = defaultdict(dict)
        whole_lines = self.json_file.read_text().rpartition("\n")[0].splitlines()
        records = [json.loads(line) for line in whole_lines]
        ways: dict[str, tuple[str, str]] = {}
        for record in records:
            if record["type"] in ("received", "refused") and record["addresses"]:
                door = record.get("door", "")
                ways[record["id"]] = "pipe" if door == "filter" else door or "smtp", record["addresses"][0]
        for record in records:
            kind, way = record["type"], ways.get(record.get("about") or record.get("id", ""))
            if way is None:
                continue
            if kind in _LEFT_OUT:
                left_out = _LEFT_OUT[kind] | _IDS
                facts[way][kind] = {name: value for name, value in record.items() if name not in left_out}
            elif kind in _LAST:
                facts[way][_ENDED] = True
        return facts


# --- the comparison


def compare(asked: list[Asked], answers: dict[str, list[Answer]], site: Site, say: Callable[[str], None]) -> list[str]:
    """Return what differs and should not, one line each; `say` hears what was compared."""
    facts = site.facts(asked)
    arrived = {name: way.copies() for name, way in site.relayed.items()}
    seen = Counter[str]()
    differences: list[str] = []
    for one in asked:
        told = {name: given[one.number] for name, given in answers.items()}
        found = {name: facts.get((name, one.recipient), {}) for name in answers}
        copies = {name: arrived[name].get(one.recipient) for name in arrived} | {"milter": told["milter"].copy}
        mail = Compared(one, told, found, copies)
        seen.update(mail.kinds())
        differences += [f"mail {one.number} to {one.recipient}: {each}" for each in mail.differences()]
    say(", ".join(f"{count} {kind}" for kind, count in sorted(seen.items())))
    differences += [line for line in site.gateway.log().splitlines() if "not judged" in line or "unjudged" in line][:20]
    return differences


class Compared:
    """One mail, with all that was said of it; what went by milter is what the others are compared with."""

    def __init__(
        self, asked: Asked, told: dict[str, Answer], found: dict[str, dict[str, Any]], copies: dict[str, bytes | None]
    ) -> None:
        self.asked = asked
        self.told = told
        self.found = found
        self.copies = {name: copy if copy is None else _OWN_ID.sub(b"", copy) for name, copy in copies.items()}
        self.lone = has_lone_cr(asked.mail)
        header = b"\n" + asked.mail.partition(b"\r\n\r\n")[0].lower()
        signed = b"\ndkim-signature:" in header or b"\narc-message-signature:" in header
        self.mended = max(map(len, asked.mail.split(b"\r\n"))) > LINE_LIMIT and not signed
        """A listener breaks long lines of mail without a signature before it looks at it; nobody else does."""
        self.delivered = told["milter"].word == "deliver"
        self.status = found["milter"].get("spam-checked", {}).get("status", "")
        self.objects = found["milter"].get("scanned", {}).get("statuses", [])

    def kinds(self) -> Iterator[str]:
        """What kind of mail it is, for the summary."""
        yield "mails"
        yield "delivered" if self.delivered else "refused or withheld"
        yield from (f"status {self.status or 'not checked'}", *(f"with {each} objects" for each in self.objects))
        if self.lone:
            yield "with a lone CR"
        if self.mended:
            yield "with long lines broken by the listener"

    def differences(self) -> Iterator[str]:
        """Return what differs and should not."""
        if not self.found["milter"].get("inspected"):
            yield "there is no record of its inspection"
        skipped = ("smtp", "pipe") if self.lone else ("smtp",) if self.mended else ()
        expected = self._comparable(self.found["milter"])
        for name, found in self.found.items():
            if name not in skipped and self._comparable(found) != expected:
                yield f"{name} found {_difference(expected, self._comparable(found))}"
        if self.lone:  # never passed on by SMTP: the listener refuses it, as it is set to; the pipe client mends it
            if self.told["smtp"].word != "refuse":
                yield f"a lone CR, and SMTP says {self.told['smtp'].word}"
        else:
            yield from self._by_smtp()
        yield from self._by_spamd()
        yield from self._by_rspamd()

    def _comparable(self, found: dict[str, Any]) -> dict[str, Any]:
        """Return what must be equal: of a refused mail only those get an edited copy who may go by it alone."""
        comparable = dict(found)
        if notes := found.get("spam-checked", {}).get("notes"):
            aged = [{**each, "evidence": _AGE.sub("days ago", each["evidence"])} for each in notes]
            comparable["spam-checked"] = found["spam-checked"] | {"notes": aged}
        if self.told["milter"].word == "refuse" and "scanned" in found:
            comparable["scanned"] = {name: value for name, value in found["scanned"].items() if name != "modified"}
        return comparable

    def _by_smtp(self) -> Iterator[str]:
        """What is passed on, byte for byte: listener, milter, pipe client."""
        for name in ("smtp", "pipe"):
            word = self.told[name].word
            refused = self.told["milter"].word == "refuse"
            if word != ("refuse" if refused else "taken"):
                yield f"{name} says {self.told[name].told!r}, milter {self.told['milter'].word}"
        expected = self.copies["milter"]
        if self.copies["pipe"] != expected:
            yield f"copies differ, milter and pipe: {_first(expected, self.copies['pipe'])}"
        copy = self.copies["smtp"]
        copy = copy if copy is None else without_trace(copy)
        if copy != expected and not self.mended:
            yield f"copies differ, milter and SMTP: {_first(expected, copy)}"

    def _by_spamd(self) -> Iterator[str]:
        told = self.told["spamd"]
        if told.word not in ("spam", "no spam"):
            yield f"spamd says {told.word!r}"
            return
        command, score = told.told
        if (told.word == "spam") is not self._wrong() or (score >= THRESHOLD) is not self._wrong():
            yield f"spamd says {told.word}, {score}: status {self.status}, objects {self.objects}"
        body = (told.copy or b"").replace(b"\r\n", b"\n")
        signs = {symbol(each["name"]) for each in self._notes()}
        if command in ("SYMBOLS", "REPORT"):
            found = set(body.decode().split(",")) if command == "SYMBOLS" else {row[1] for row in _rows(body)}
            if found - _VERDICTS - {""} != signs:
                yield f"spamd names {sorted(found)}, on record are {sorted(signs)}"
        if command == "REPORT":
            weights = {symbol(each["name"]): f"{each['weight']:.1f}" for each in reversed(self._notes())}
            told_weights = {name: weight for weight, name in _rows(body) if name not in _VERDICTS}
            if {name: float(each) for name, each in weights.items()} != {n: float(w) for n, w in told_weights.items()}:
                yield f"spamd weighs {told_weights}, on record are {weights}"
        if command in ("PROCESS", "HEADERS") and self.copies["milter"] is not None:
            head, rest = self.copies["milter"].replace(b"\r\n", b"\n").partition(b"\n\n")[::2]
            kept = [each for each in _fields(head + b"\n") if not each.lower().startswith(b"x-spam-")]
            got_head, got_rest = _OWN_ID.sub(b"", body).partition(b"\n\n")[::2]
            got = [each for each in _fields(got_head + b"\n") if not each.lower().startswith((b"x-spam-", b"from "))]
            if got != kept or (command == "PROCESS" and got_rest != rest):
                yield f"spamd's copy differs: {_first(b''.join(kept), b''.join(got))}"

    def _by_rspamd(self) -> Iterator[str]:
        told = self.told["rspamd"]
        if told.told is None:
            yield f"rspamd says {told.word!r}"
            return
        weights = {symbol(each["name"]): round(each["weight"], 2) for each in reversed(self._notes())}
        symbols = {name: each["score"] for name, each in told.told["symbols"].items() if name not in _VERDICTS}
        if symbols != weights:
            yield f"rspamd weighs {symbols}, on record are {weights}"
        if (told.word == "reject") is not (not self.delivered or self._touched()):
            yield f"rspamd says {told.word}, milter {self.told['milter'].word}, objects {self.objects}"
        copy = self.copies["milter"]
        if told.word != "reject" and copy is not None:
            head = copy.partition(b"\r\n\r\n")[0] + b"\r\n"
            head = head.decode("utf-8", "replace").encode()  # as far as JSON carries it
            if sorted(mta.fields_of((told.copy or b"").decode("utf-8", "replace").encode())) != sorted(
                mta.fields_of(head)
            ):
                yield f"rspamd's header differs: {_first(head, told.copy)}"

    def _notes(self) -> list[dict[str, Any]]:
        return list(self.found["milter"].get("spam-checked", {}).get("notes", []))

    def _touched(self) -> bool:
        return any(each in ("infected", "disinfected", "suspicious") for each in self.objects) or bool(
            self.found["milter"].get("scanned", {}).get("actions")
        )

    def _wrong(self) -> bool:
        """Whether programs that know one word for all that is wrong must hear it."""
        return self.status in ("spam", "blacklisted") or not self.delivered or self._touched()


def without_trace(copy: bytes) -> bytes:
    """Return a copy without what a listener puts in front: its Received field, and what the mail lacked."""
    return _TRACE.sub(b"", copy, count=1)


def _rows(report: bytes) -> list[tuple[str, str]]:
    """Return weights and names of a report."""
    return re.findall(r"^ ?(-?[\d.]+) ([A-Z0-9_]+)(?= |$)", report.decode("utf-8", "replace"), re.MULTILINE)


def _fields(header: bytes) -> list[bytes]:
    return re.findall(rb"[^\n]*\n(?:[ \t][^\n]*\n)*", header)


def _difference(expected: Any, found: Any, name: str = "") -> str:
    """Return the first place in which two values differ, and both."""
    if isinstance(expected, dict) and isinstance(found, dict):
        for key in {**expected, **found}:
            if expected.get(key) != found.get(key):
                return _difference(expected.get(key), found.get(key), f"{name}.{key}")
    if isinstance(expected, list) and isinstance(found, list) and len(expected) == len(found):
        number = next(number for number, pair in enumerate(zip(expected, found, strict=True)) if pair[0] != pair[1])
        return _difference(expected[number], found[number], f"{name}[{number}]")
    return f"{name}: {str(found)[:300]} instead of {str(expected)[:300]}"


def _first(expected: bytes | None, found: bytes | None) -> str:
    """Return the first lines in which two copies differ."""
    if expected is None or found is None:
        return "only one of them has any"
    lines = (each.splitlines() for each in (expected, found))
    pair = next((pair for pair in itertools.zip_longest(*lines) if pair[0] != pair[1]), (b"", b""))
    return f"{pair[1]!r:.200} instead of {pair[0]!r:.200}"


def questions(contents: list[bytes]) -> list[Asked]:
    """Return the mails with their envelopes: three groups by turns, now and then a sender on the black list."""
    asked = []
    for number, mail in enumerate(contents):
        sender = BLOCKED if number % 11 == 2 else SENDER
        recipient = f"u{number:05}@{DOMAINS[number % len(DOMAINS)]}"
        asked.append(Asked(number, mail, sender, recipient, line_feeds=number % 2 == 0 and not has_lone_cr(mail)))
    return asked


def prove(shares: dict[str, int], site: Site, say: Callable[[str], None], largest: int = 10**9) -> list[str]:
    """Ask about so many mails of each set in all ways; return what differs."""
    asked = questions(list(mails(shares, largest)))
    began = time.monotonic()
    answers = site.ask_all(asked)
    say(f"{len(asked)} mails in {len(answers)} ways took {time.monotonic() - began:.0f} s")
    return compare(asked, answers, site, say)


def main() -> int:
    """Ask, compare, print, write; then the same for the faults."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mails", type=int, default=MAILS)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    chosen = parser.parse_args()
    differences = agree(chosen.mails) if chosen.mails else []
    troubles = endure(chosen.rounds) if chosen.rounds else []
    return 1 if differences or troubles else 0


def agree(count: int) -> list[str]:
    """Ask about so many mails in all ways; return what differs."""
    said = _Said()
    shares = {name: round(count * share) for name, (_, share) in SETS.items()}
    with tempfile.TemporaryDirectory(prefix="doors-", ignore_cleanup_errors=True) as place, Site(Path(place)) as site:
        differences = prove(shares, site, said)
    for line in differences:
        print(line)
    said(f"{len(differences)} differences" if differences else "No difference")
    if count >= MAILS:
        write_section("doors", f"{made_at()}; `make prove NAME=doors ARGS='--mails {count}'`. {said}.")
    return differences


def endure(rounds: int) -> list[str]:
    """Let so many faults befall the server; return what went wrong."""
    said = _Said()
    troubles = run_faults(rounds, said)
    for line in troubles:
        print(line)
    if rounds >= ROUNDS and not troubles:
        write_section("faults at doors", f"{made_at()}; `make prove NAME=doors ARGS='--rounds {rounds}'`. {said}.")
    return troubles


class _Said:
    """Prints what it is told, and keeps it for the page."""

    def __init__(self) -> None:
        self._texts: list[str] = []

    def __call__(self, text: str) -> None:
        print(text, flush=True)
        self._texts.append(text)

    def __str__(self) -> str:
        return "; ".join(self._texts)


if __name__ == "__main__":
    sys.exit(main())
