"""What `make bench ARGS=--antivirus` measures: the section "Anti-virus" of docs/performance.md.

- a gateway with the built-in engine beside the same gateway with a clamd as its only engine, both with the same
  generated signatures; the anti-virus stage alone (nothing is looked at for spam), then with everything on; one mail
  in a hundred carries the EICAR test file, and every one must be found;
- what a filter spends on an attachment it sees for the first and for the second time;
- half of the mail infected and quarantined, both archives on;
- memory of each process, and the time from the start to the first mail delivered.
"""

import base64
import contextlib
import importlib
import io
import itertools
import os
import random
import shutil
import signal
import smtplib
import socket
import subprocess
import sys
import tempfile
import time
import zipfile
import zlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench_common import START_S, free_ports, median, processes_below, pss_of, wait_for_greeting
from gatepost.antivirus.builtin import BuiltinEngine
from gatepost.antivirus.clean_keys import BodyKeys
from gatepost.antivirus.compiling import compile_knowledge
from gatepost.antivirus.stage import inspect
from gatepost.feeds.bases import list_sets, seed
from gatepost.feeds.building import build_set
from gatepost.feeds.keys import build_public_text, generate_key, load_private
from gatepost.feeds.manifest import read_set, read_sources
from gatepost.mime.decode import decode_body
from gatepost.mime.structure import parse
from gatepost.model.finding import ObjectStatus, ScanOptions
from gatepost.relay.clean_table import CleanTable
from result_pages import made_at

TOOLS = Path(__file__).resolve().parent
LOADS: dict[str, dict[str, int]] = {"1/session": {"per": 1, "pipe": 0}, "50/session+pipelining": {"per": 50, "pipe": 1}}
SIGNATURES = (0, 10_000, 50_000)
OWN, CLAMD, NONE = "built-in", "clamd", "none: nothing is found"
ALONE, ALL_ON = "anti-virus alone", "all on"
STAGES: dict[str, tuple[str, ...]] = {ALONE: ("--no-spam",), ALL_ON: ()}
WARM = 200
RARE, HALF = 100, 2
"""One infected mail in so many."""
SEEN_SIZES = (300_000, 1_000_000, 5_000_000)
SEEN_ROUNDS = 5
MAILS_BEFORE_MEMORY = 500
WORDS = [f"{random.Random(number).getrandbits(28):07x}" for number in range(2000)]
WORD_LENGTH = 8
"""With the space behind it."""
SINK_WORDS = {b"DATA": b"354 go\r\n", b"QUIT": b"221 bye\r\n"}


def antivirus(bench: Path, *, reps: int, messages: int, sessions: int) -> str:
    """Measure and return the section. `bench`: directory of the load driver."""
    sys.path.insert(0, str(bench))
    lines = [
        f"`make bench ARGS='--antivirus --reps {reps} --n {messages} --c {sessions}'`, {made_at()}, "
        f"{os.cpu_count()} cores; medians. CPU is that of all processes: gateway, filters, clamd.",
        "",
    ]
    with tempfile.TemporaryDirectory(prefix="bench-antivirus-") as place:
        sets = [Signatures(Path(place), count) for count in SIGNATURES]
        lines += _engines(Path(place), sets, reps, messages, sessions)
        lines += ["", *_second_sight(sets[1])]
        lines += ["", *_stores(Path(place), reps, messages, sessions)]
        lines += ["", *_memory_and_start(Path(place))]
    return "\n".join(lines)


# --- engines side by side


class Signatures:
    """So many signatures, half patterns and half hashes, in our form and in clamd's; the test file's comes on top."""

    def __init__(self, place: Path, count: int) -> None:
        self.count = count
        self.bases = place / f"bases-{count}"
        self.clamd = place / f"clamd-{count}"
        seed(self.bases)
        own = self.bases / "bench-1"
        own.mkdir()
        self.clamd.mkdir()
        dice = random.Random(5)
        patterns, ndb = [], [f"Bench.Eicar:0:*:{_eicar().hex()}\n"]
        for number in range(count // 2):
            target, scope = dice.choice(
                ((0, "any"), (0, "any"), (1, "executable"), (2, "office"), (3, "page"), (7, "any"))
            )
            body = dice.randbytes(dice.randint(12, 40)).hex()
            if number % 5 == 0:
                body += dice.choice(("*", "??", "{4-12}")) + dice.randbytes(8).hex()
            patterns.append(f"Bench.Body-{number}:{scope}:*:{body}\n")
            ndb.append(f"Bench.Body-{number}:{target}:*:{body}\n")
        hashes = [
            f"{dice.randbytes(16).hex()}:{dice.randint(500, 900_000)}:Bench.Hash-{number}\n"
            for number in range(count - count // 2)
        ]
        (self.clamd / "bench.ndb").write_text("".join(ndb))
        if count:
            (own / "bench.pattern").write_text("".join(patterns))
            (own / "bench.hash").write_text("".join(hashes))
            (self.clamd / "bench.hdb").write_text("".join(hashes))
        else:
            (own / "bench.ignore").write_text("Bench.Nothing\n")
        key = place / f"key-{count}.pem"
        self.key = build_public_text(generate_key(key))
        build_set(own, "bench", 1, datetime.now(UTC).date(), [load_private(key)])


def _engines(place: Path, sets: Sequence[Signatures], reps: int, messages: int, sessions: int) -> list[str]:
    engines = [OWN, CLAMD] if shutil.which("clamd") else [OWN]
    infected, mails = _mails(messages + WARM, RARE)
    compared = {
        ALONE: ((sets[0], NONE), *itertools.product(sets, engines)),
        ALL_ON: ((sets[0], NONE), *itertools.product(sets[1:2], engines)),
    }
    rows: defaultdict[tuple[str, str, int, str], list[dict[str, Any]]] = defaultdict(list)
    for _ in range(reps):
        for stages, load in itertools.product(compared, LOADS):
            for signatures, engine in compared[stages]:
                with (
                    _engine(place, engine, signatures) as (process, options),
                    _gateway(place, *options, *STAGES[stages]) as gateway,
                ):
                    row = _drive(gateway, [process] if process else [], mails, messages, sessions, LOADS[load])
                row["missed"] = infected - min(gateway.infected, row["corrupt"])
                rows[stages, load, signatures.count, engine].append(row)
    lines = [
        "| stages | load | signatures | engine | msg/s | msg per CPU-s | CPU ms/msg | of that clamd "
        "| data→250 p50/p99 ms | accept→delivery p50/p99 ms | PSS MB | lost/dup/refused | EICAR missed |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for (stages, load, count, engine), measured in rows.items():
        m = {name: median(measured, name) for name in _NUMBERS}
        lines.append(
            f"| {stages} | {load} | {count:,} | {engine} "
            f"| {m['msg_s']:.0f} | {m['msg_per_cpu_s']:.0f} | {m['cpu_ms_msg']:.2f} | {m['clamd_share']:.0%} "
            f"| {m['acc_lat_p50']:.0f} / {m['acc_lat_p99']:.0f} "
            f"| {m['lat_p50']:.0f} / {m['lat_p99']:.0f} | {m['pss_mb']:.0f} | {_totals(measured)} "
            f"| {'' if engine == NONE else _missed(measured, infected)} |"
        )
    lines.append("")
    for stages, load in itertools.product(compared, LOADS) if CLAMD in engines else ():
        bare = median(rows[stages, load, 0, NONE], "cpu_ms_msg")
        for signatures in (signatures for signatures, engine in compared[stages] if engine == CLAMD):
            own, other = (median(rows[stages, load, signatures.count, engine], "cpu_ms_msg") for engine in engines)
            lines.append(
                f"- {stages}, {load}, {signatures.count:,} signatures: the whole gateway does {other / own:.1f} × as "
                f"many messages per CPU second as with clamd; of a mail's CPU {own - bare:.2f} ms are the built-in "
                f"engine's, {other - bare:.2f} ms clamd's and the way there"
            )
    return lines


_NUMBERS = (
    "msg_s", "msg_per_cpu_s", "cpu_ms_msg", "clamd_share", "acc_lat_p50", "acc_lat_p99", "lat_p50", "lat_p99", "pss_mb",
)  # fmt: skip


@contextlib.contextmanager
def _engine(place: Path, engine: str, signatures: Signatures) -> Iterator[tuple[int, list[str]]]:
    """Run what an engine needs; give (its process or 0, what the gateway is told)."""
    if engine == OWN:
        yield 0, ["--bases", str(signatures.bases), signatures.key]
        return
    if engine == NONE:
        yield 0, ["--no-engine"]
        return
    with tempfile.TemporaryDirectory(dir=place) as directory:
        path = f"{directory}/clamd.sock"
        config = Path(directory) / "clamd.conf"
        config.write_text(
            f"LocalSocket {path}\nDatabaseDirectory {signatures.clamd}\nForeground yes\nLogFile {directory}/log\n"
            "MaxThreads 12\nStreamMaxLength 64M\nAlertExceedsMax yes\nAlertEncrypted yes\n"
        )
        process = subprocess.Popen(["clamd", "-c", str(config)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            _wait_for_clamd(path)
            yield process.pid, ["--clamd", path]
        finally:
            process.terminate()
            process.wait(START_S)


def _wait_for_clamd(path: str) -> None:
    end = time.monotonic() + 3 * START_S
    while True:
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as sock:
            sock.connect(path)
            sock.sendall(b"zPING\0")
            if sock.recv(10).startswith(b"PONG"):
                return
        if time.monotonic() > end:
            raise SystemExit("clamd does not answer")
        time.sleep(0.1)


class _Gateway:
    """A gateway at work. `infected`: messages its log calls so, known when it has ended."""

    def __init__(self, process: int, enter: int, leave: int) -> None:
        self.process = process
        self.enter = enter
        self.leave = leave
        self.infected = 0

    def read_log(self, state: Path) -> None:
        lines = (state / "log" / "gatepost.log").read_text().splitlines()
        self.infected = sum(1 for line in lines if "SCANNED" in line and "infected" in line.lower())


@contextlib.contextmanager
def _gateway(place: Path, *options: str) -> Iterator[_Gateway]:
    enter, leave = free_ports(2)
    with tempfile.TemporaryDirectory(dir=place) as state:
        environment = {**os.environ, "BENCH_IN": str(enter), "BENCH_SINK": str(leave), "BENCH_DIR": state}
        command = [sys.executable, str(TOOLS / "bench_gateway.py"), "--deliver", *options]
        process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
        gateway = _Gateway(process.pid, enter, leave)
        try:
            wait_for_greeting(enter)
            yield gateway
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(3 * START_S)
        gateway.read_log(Path(state))


def _drive(
    gateway: _Gateway,
    others: Sequence[int],
    mails: Sequence[bytes],
    messages: int,
    sessions: int,
    load: dict[str, int],
) -> dict[str, Any]:
    """Run the driver once; `corrupt` of its answer counts the mails whose body did not arrive as it was sent:
    infected ones, and the damaged PDF files that the mix has now and then.
    """
    relay_bench = importlib.import_module("relay_bench")  # lies beside the checkout
    before = relay_bench.usage(others)[0], relay_bench.usage([gateway.process])[0]
    row: dict[str, Any] = relay_bench.run(
        f"127.0.0.1:{gateway.enter}",
        gateway.leave,
        pids=[gateway.process, *others],
        n=messages,
        c=sessions,
        warm=len(mails) - messages,
        msgs=list(mails),
        verify=True,
        **load,
    )
    other = relay_bench.usage(others)[0] - before[0]
    own = relay_bench.usage([gateway.process])[0] - before[1]
    row["clamd_share"] = other / max(other + own, 0.01)
    row["pss_mb"] = sum(map(pss_of, [gateway.process, *others, *processes_below(gateway.process)])) / 1e6
    return row


def _missed(rows: Sequence[dict[str, Any]], infected: int) -> str:
    return f"{sum(row['missed'] for row in rows)} of {infected * len(rows)}"


def _totals(rows: Sequence[dict[str, Any]]) -> str:
    return "/".join(str(sum(int(row[name] or 0) for row in rows)) for name in ("lost", "dup", "refused"))


def _mails(count: int, one_in: int) -> tuple[int, list[bytes]]:
    """Return the number of infected mails and all mails: the driver's mix, one in so many infected."""
    corpus = importlib.import_module("corpus")  # lies beside the checkout
    mails: list[bytes] = list(corpus.load(count))
    infected = range(one_in // 2, count, one_in)  # the warm mails come last and are counted as well
    for number in infected:
        mails[number] = _infect(mails[number], number)
    return len(infected), mails


def _eicar() -> bytes:
    return base64.b64decode("WDVPIVAlQEFQWzRcUFpYNTQoUF4pN0NDKTd9JEVJQ0FS") + b"-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"


def _infect(mail: bytes, number: int) -> bytes:
    """Return a mail with the same header, a text, and the test file: in turn as it is, in a zip archive, in a text."""
    header = mail.partition(b"\r\n\r\n")[0]
    kept = [line for line in header.split(b"\r\n") if not line.lower().startswith(b"content-")]
    payload, name = _eicar(), "eicar.com"
    if number // RARE % 2:
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(name, payload)
        payload, name = packed.getvalue(), "archive.zip"
    return b"\r\n".join([
        *kept, b'Content-Type: multipart/mixed; boundary="infected"', b"",
        b"--infected", b"Content-Type: text/plain", b"", b"Please see the file.",
        b"--infected", f'Content-Type: application/octet-stream; name="{name}"'.encode(),
        b"Content-Transfer-Encoding: base64", b"", base64.b64encode(payload), b"--infected--", b"",
    ])  # fmt: skip


# --- the second sight


class _Memory:
    """The relay's table of what was found clean, as a filter sees it."""

    def __init__(self) -> None:
        self._table = CleanTable()
        self._keys: list[bytes] = []

    def begin(self) -> None:
        self._keys.clear()

    def known(self, keys: Sequence[bytes]) -> bytes:
        self._keys += keys
        return self._table.known(keys)

    def learn(self, index: int) -> None:
        self._table.add([self._keys[index]])


def _second_sight(signatures: Signatures) -> list[str]:
    lines = [
        f"Attachments seen again, {signatures.count:,} signatures; CPU ms of the filter for the whole mail. The first "
        "time the attachment is decoded and looked into; the second time it is known by its encoded bytes; by its "
        "content, when it comes encoded otherwise or after a change of databases. The stage alone: without the reading "
        "of the mail, which is done before (parsing, and decoding the first time).",
        "",
        "| attachment | size | first | second | | second, by its content | | the stage alone: first | second | |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    sources = [source for place in list_sets(signatures.bases) for source in read_sources(read_set(place, None))]
    engine = BuiltinEngine(compile_knowledge(sources))
    options = ScanOptions(cache=True)
    body_keys = BodyKeys(bytes(range(32)))
    for kind, build in (("docx", _docx), ("pdf", _pdf), ("zip", _zip)):
        for size in SEEN_SIZES:
            times: list[tuple[float, ...]] = []
            for number in range(SEEN_ROUNDS):
                memory = _Memory()
                mail = _letter(build(random.Random(f"{kind} {size} {number}"), size), f"file.{kind}")
                times.append((
                    _cpu_ms(mail, options, engine, memory, body_keys),
                    min(_cpu_ms(mail, options, engine, memory, body_keys) for _ in range(3)),
                    min(_cpu_ms(mail, options, engine, memory, None) for _ in range(3)),
                    min(_reading_ms(mail, decode=True) for _ in range(3)),
                    min(_reading_ms(mail, decode=False) for _ in range(3)),
                ))  # fmt: skip
            first, second, content, reading, parsing = (min(column) for column in zip(*times, strict=True))
            alone, again = first - reading, second - parsing
            lines.append(
                f"| {kind} | {size / 1e6:g} MB | {first:.2f} | {second:.2f} | {first / second:.0f} × | {content:.2f} "
                f"| {first / content:.0f} × | {alone:.2f} | {again:.2f} | {alone / again:.0f} × |"
            )
    return lines


def _reading_ms(mail: bytes, *, decode: bool) -> float:
    """Return what reading the mail takes."""
    start = time.process_time()
    message = parse(mail)
    if decode:
        bodies = [decode_body(mail, part) for _, part in message.leaves()]
        assert bodies
    return 1000 * (time.process_time() - start)


def _cpu_ms(
    mail: bytes, options: ScanOptions, engine: BuiltinEngine, memory: _Memory, body_keys: BodyKeys | None
) -> float:
    memory.begin()
    start = time.process_time()
    found = inspect(mail, options, [engine], time.monotonic() + 60, memory=memory, body_keys=body_keys)
    spent = time.process_time() - start
    bad = [each.evidence for each in found.objects if each.status is not ObjectStatus.CLEAN]
    if bad:
        raise SystemExit(f"an attachment of the benchmark is not clean: {bad[0]}")
    return 1000 * spent


def _letter(attachment: bytes, name: str) -> bytes:
    encoded = base64.encodebytes(attachment).replace(b"\n", b"\r\n")
    return b"\r\n".join([
        b"From: a@example.org", b"To: b@example.org", b"Subject: the file", b"MIME-Version: 1.0",
        b'Content-Type: multipart/mixed; boundary="----=_Part_8_3f8a81d0c"', b"",
        b"------=_Part_8_3f8a81d0c", b"Content-Type: text/plain", b"", b"Here it is.",
        b"------=_Part_8_3f8a81d0c", f'Content-Type: application/octet-stream; name="{name}"'.encode(),
        b"Content-Transfer-Encoding: base64", b"", encoded + b"------=_Part_8_3f8a81d0c--", b"",
    ])  # fmt: skip


def _prose(dice: random.Random, size: int) -> str:
    """Return so many characters of text that packs as text does."""
    return " ".join(dice.choices(WORDS, k=size // WORD_LENGTH))[:size]


def _docx(dice: random.Random, size: int) -> bytes:
    """A document whose bytes are half text and half pictures."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        kinds = (
            '<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types">'
            '<Default Extension="xml" ContentType="application/xml"/></Types>'
        )
        archive.writestr("[Content_Types].xml", kinds)
        paragraphs = "".join(f"<w:p><w:r><w:t>{_prose(dice, 400)}</w:t></w:r></w:p>" for _ in range(size // 400))
        space = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'
        archive.writestr("word/document.xml", f"<w:document {space}><w:body>{paragraphs}</w:body></w:document>")
        number = 0
        while file.tell() < size:
            number += 1
            picture = b"\xff\xd8\xff\xe0" + dice.randbytes(min(200_000, size // 3))
            archive.writestr(f"word/media/image{number}.jpeg", picture, zipfile.ZIP_STORED)
    return file.getvalue()


def _pdf(dice: random.Random, size: int) -> bytes:
    """Pages of text and a picture each, with a table of objects as it should be."""
    out = io.BytesIO()
    out.write(b"%PDF-1.5\n%\xe2\xe3\xcf\xd3\n")
    places = {}

    def put(number: int, words: bytes) -> None:
        places[number] = out.tell()
        out.write(b"%d 0 obj\n%b\nendobj\n" % (number, words))

    pages: list[int] = []
    number = 2
    while out.tell() < size:
        page, picture, text = number + 1, number + 2, number + 3
        number = text
        pages.append(page)
        put(page, b"<</Type/Page/Parent 2 0 R/Resources<</XObject<</I %d 0 R>>>>/Contents %d 0 R>>" % (picture, text))
        pixels = dice.randbytes(40_000)
        image = (
            b"<</Type/XObject/Subtype/Image/Width 200/Height 200/ColorSpace/DeviceGray/BitsPerComponent 8/Length %d>>"
        )
        put(picture, image % len(pixels) + b"\nstream\n" + pixels + b"\nendstream")
        shown = zlib.compress(f"BT ({_prose(dice, 30_000)}) Tj ET".encode())
        put(text, b"<</Filter/FlateDecode/Length %d>>\nstream\n" % len(shown) + shown + b"\nendstream")
    put(1, b"<</Type/Catalog/Pages 2 0 R>>")
    put(2, b"<</Type/Pages/Count %d/Kids[%b]>>" % (len(pages), b" ".join(b"%d 0 R" % page for page in pages)))
    table = out.tell()
    out.write(b"xref\n0 %d\n0000000000 65535 f \n" % (number + 1))
    out.write(b"".join(b"%010d 00000 n \n" % places[each] for each in range(1, number + 1)))
    out.write(b"trailer\n<</Size %d/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF\n" % (number + 1, table))
    return out.getvalue()


def _zip(dice: random.Random, size: int) -> bytes:
    """An archive of texts and of what does not pack."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        number = 0
        while file.tell() < size:
            number += 1
            archive.writestr(f"texts/{number}.txt", _prose(dice, size // 10))
            archive.writestr(f"data/{number}.bin", dice.randbytes(size // 20))
    return file.getvalue()


# --- stores


def _stores(place: Path, reps: int, messages: int, sessions: int) -> list[str]:
    lines = [
        "| load | mail | msg/s | CPU ms/msg | data→250 p50/p99 ms | accept→delivery p50/p99 ms | lost/dup/refused "
        "| EICAR missed |",
        "|---|---|---|---|---|---|---|---|",
    ]
    variants: dict[str, tuple[int, tuple[str, ...]]] = {
        "1 % infected, no stores": (RARE, ()),
        "1 % infected, both archives": (RARE, ("--stores",)),
        "half infected and quarantined, both archives": (HALF, ("--stores",)),
    }
    made = {one_in: _mails(messages + WARM, one_in) for one_in in (RARE, HALF)}
    rows: defaultdict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for _ in range(reps):
        for load, arguments in LOADS.items():
            for name, (one_in, options) in variants.items():
                infected, mails = made[one_in]
                with _gateway(place, *options) as gateway:
                    row = _drive(gateway, [], mails, messages, sessions, arguments)
                row["missed"] = infected - min(gateway.infected, row["corrupt"])
                rows[load, name].append(row)
    for (load, name), measured in rows.items():
        m = {each: median(measured, each) for each in _NUMBERS}
        lines.append(
            f"| {load} | {name} | {m['msg_s']:.0f} | {m['cpu_ms_msg']:.2f} "
            f"| {m['acc_lat_p50']:.0f} / {m['acc_lat_p99']:.0f} | {m['lat_p50']:.0f} / {m['lat_p99']:.0f} "
            f"| {_totals(measured)} | {sum(row['missed'] for row in measured)} |"
        )
    return lines


# --- memory and start


def _memory_and_start(place: Path) -> list[str]:
    _, mails = _mails(MAILS_BEFORE_MEMORY, RARE)
    times: dict[str, float] = {}
    began = time.monotonic()
    with _gateway(place) as gateway:
        times["greeting"] = time.monotonic() - began
        with socket.create_server(("127.0.0.1", gateway.leave)) as sink:
            with smtplib.SMTP("127.0.0.1", gateway.enter, timeout=START_S) as session:
                session.sendmail("a@src1.example", ["user1@dest.example"], mails[0])
            times["first mail taken"] = time.monotonic() - began
            _take_one(sink)
            times["first mail inspected and delivered"] = time.monotonic() - began
        idle = _memory(gateway.process)
        _drive(gateway, [], mails, MAILS_BEFORE_MEMORY, 20, LOADS["1/session"])
        busy = _memory(gateway.process)
    lines = [f"| PSS, MB | {' | '.join(idle)} | all |", "|---|" + "---|" * (len(idle) + 1)]
    for when, row in (("idle", idle), (f"after {MAILS_BEFORE_MEMORY} mails", busy)):
        cells = " | ".join(f"{row.get(name, 0):.0f}" for name in idle)
        lines.append(f"| {when} | {cells} | {sum(row.values()):.0f} |")
    lines += ["", "Start of a new gateway (databases compiled anew): "]
    lines[-1] += ", ".join(f"{name} after {seconds:.1f} s" for name, seconds in times.items()) + "."
    return lines


def _take_one(listener: socket.socket) -> None:
    """Take one mail as a mail server does."""
    listener.settimeout(START_S)
    connection, _ = listener.accept()
    with connection, connection.makefile("rwb") as file:
        file.write(b"220 sink\r\n")
        file.flush()
        while line := file.readline():
            word = line[:4].upper().strip()
            file.write(SINK_WORDS.get(word, b"250 ok\r\n"))
            file.flush()
            if word == b"DATA":
                while file.readline() not in (b".\r\n", b""):
                    pass
                file.write(b"250 ok\r\n")
                file.flush()
                return


def _memory(master: int) -> dict[str, float]:
    """Return the PSS of each kind of process, in MB; of filters the sum."""
    found: dict[str, float] = {"master": pss_of(master) / 1e6, "relay": 0, "template": 0, "filters": 0}
    for pid in processes_below(master):
        with contextlib.suppress(OSError):
            command = Path(f"/proc/{pid}/cmdline").read_bytes()
            parent = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
            kind = "relay" if b"relay" in command else "template" if parent == master else "filters"
            found[kind] += pss_of(pid) / 1e6
    return found
