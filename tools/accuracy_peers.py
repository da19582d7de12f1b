"""Other spam filters to compare with: bogofilter, SpamAssassin, rspamd. Local only: none asks the network.

Each class is a context manager with `score(item)` and `train(item)`; only the tool `accuracy.py` uses them. A score is
whatever the program says, higher for spam.
"""

import base64
import contextlib
import http.client
import json
import shutil
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from accuracy_sets import Item
from detection_peers import OFFLINE_MODULES

ANSWER_S = 60.0
START_S = 240.0


class Peer:
    """A filter that scores messages and may be trained."""

    program = ""
    threshold: float | None = None
    """Score from which the program calls a message spam by default."""
    learns = True
    step = 1
    """Every which message of a set it scores: the slow ones a sample. It is trained with every one."""

    def __init__(self, place: Path) -> None:
        self._place = place

    @classmethod
    def installed(cls) -> bool:
        return shutil.which(cls.program, path="/usr/bin:/usr/sbin:/bin") is not None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def score(self, item: Item) -> float:
        raise NotImplementedError

    def train(self, item: Item) -> None:
        raise NotImplementedError


class Bogofilter(Peer):
    """bogofilter with Debian's defaults."""

    program = "bogofilter"
    threshold = 0.99

    def score(self, item: Item) -> float:
        answer = self._run(item, "-e", "-T", "-o", "0.99,0.0").split()
        return float(answer[1]) if len(answer) > 1 else 0.5

    def train(self, item: Item) -> None:
        self._run(item, "-s" if item.spam else "-n")

    def _run(self, item: Item, *options: str) -> str:
        command = [self.program, "-C", "-d", str(self._place), "--terse_format=%1.1c %.16f", *options]
        done = subprocess.run(command, input=item.content, capture_output=True, timeout=ANSWER_S, check=False)
        return done.stdout.decode()


_PERL = r"""
use strict; use warnings; use Mail::SpamAssassin; use MIME::Base64; $| = 1;
my ($home, $bayes) = @ARGV;
my $text = "use_bayes $bayes\nbayes_auto_learn 0\nbayes_path $home/bayes\nskip_rbl_checks 1\nuse_auto_whitelist 0\n";
my $sa = Mail::SpamAssassin->new({ local_tests_only => 1, dont_copy_prefs => 1, userprefs_filename => "$home/none",
  site_rules_filename => "/etc/spamassassin", userstate_dir => $home, post_config_text => $text });
$sa->init(1); print "ready\n";
while (my $line = <STDIN>) {
  chomp $line; my ($act, $raw) = split / /, $line, 2; my $mail = $sa->parse(decode_base64($raw));
  if ($act eq "score") { my $found = $sa->check($mail); print $found->get_score(), "\n"; $found->finish(); }
  else { $sa->learn($mail, undef, $act eq "spam" ? 1 : 0, 0); print "learned\n"; }
  $mail->finish();
}
"""


class SpamAssassin(Peer):
    """SpamAssassin 4: rules, and its Bayes when it is trained."""

    program = "spamassassin"
    threshold = 5.0
    bayes = 0
    learns = False
    step = 10

    def __enter__(self) -> Self:
        (self._place / "check.pl").write_text(_PERL)
        command = ["/usr/bin/perl", str(self._place / "check.pl"), str(self._place), str(self.bayes)]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        self._line()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(ANSWER_S)

    def score(self, item: Item) -> float:
        return float(self._ask("score", item))

    def train(self, item: Item) -> None:
        self._ask("spam" if item.spam else "ham", item)

    def _ask(self, act: str, item: Item) -> str:
        assert self._process.stdin is not None
        content = item.border + item.content
        self._process.stdin.write(f"{act} ".encode() + base64.b64encode(content) + b"\n")
        self._process.stdin.flush()
        return self._line()

    def _line(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline().decode().strip()
        if not line:
            raise RuntimeError("SpamAssassin has ended")
        return line


class SpamAssassinBayes(SpamAssassin):
    """The same with its Bayes trained on line."""

    bayes = 1
    learns = True


class Rspamd(Peer):
    """rspamd with all rules that need no network, and its Bayes in a Redis of its own."""

    program = "rspamd"
    threshold = 6.0
    """Where it adds its header; it rejects at 15."""
    learns = False
    step = 5

    def __enter__(self) -> Self:
        self._stack = contextlib.ExitStack()
        redis, self._worker, self._controller = _free_port(), _free_port(), _free_port()
        home = self._place / "rspamd"
        for each in ("db", "run", "log", "local.d"):
            (home / each).mkdir(parents=True)
        self._place.chmod(0o755)
        self._start(["redis-server", "--port", str(redis), "--bind", "127.0.0.1", "--save", "", "--dir", str(home)])
        settings = dict.fromkeys((f"{name}.conf" for name in OFFLINE_MODULES), "enabled = false;\n")
        settings["options.inc"] = 'dns { nameserver = ["127.0.0.1:1"]; timeout = 0.1s; retransmits = 1; }\n'
        settings["worker-normal.inc"] = f'count = 1;\nbind_socket = "127.0.0.1:{self._worker}";\n'
        settings["worker-controller.inc"] = (
            f'count = 1;\nbind_socket = "127.0.0.1:{self._controller}";\nsecure_ip = "127.0.0.1";\n'
        )
        settings["worker-proxy.inc"] = settings["worker-fuzzy.inc"] = "enabled = false;\n"
        settings["redis.conf"] = f'servers = "127.0.0.1:{redis}";\n'
        settings["classifier-bayes.conf"] = 'backend = "redis";\nautolearn = false;\n'
        settings["logging.inc"] = f'type = "file";\nfilename = "{home}/log/rspamd.log";\n'
        for name, text in settings.items():
            (home / "local.d" / name).write_text(text)
        command = ["rspamd", "-f", "-i", "-c", "/etc/rspamd/rspamd.conf", f"--var=LOCAL_CONFDIR={home}"]
        self._start(command + [f"--var={name}DIR={home}/{name.lower()}" for name in ("DB", "RUN", "LOG")])
        _wait_for(lambda: self._post(self._worker, "GET", "/ping", b"", {})[0] == http.client.OK)
        _wait_for(lambda: self._post(self._controller, "GET", "/ping", b"", {})[0] == http.client.OK)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def score(self, item: Item) -> float:
        headers = {"From": item.sender, "Rcpt": item.recipient, "Helo": item.helo, "IP": item.client_ip}
        headers["Hostname"] = item.helo
        given = {name: value for name, value in headers.items() if value and value.isascii() and value.isprintable()}
        status, body = self._post(self._worker, "POST", "/checkv2", item.content, given)
        return float(json.loads(body)["score"]) if status == http.client.OK else 0.0

    def train(self, item: Item) -> None:
        self._post(self._controller, "POST", "/learnspam" if item.spam else "/learnham", item.content, {})

    def _post(self, port: int, verb: str, path: str, body: bytes, headers: dict[str, str]) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=ANSWER_S)
        with contextlib.closing(connection):
            connection.request(verb, path, body=body or None, headers=headers)
            response = connection.getresponse()
            return response.status, response.read()

    def _start(self, command: list[str]) -> None:
        log = self._stack.enter_context((self._place / f"{command[0]}.out").open("wb"))
        program = shutil.which(command[0], path="/usr/bin:/usr/sbin:/bin") or command[0]
        process = subprocess.Popen(
            [program, *command[1:]], stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )
        self._stack.callback(process.wait, 30)
        self._stack.callback(process.terminate)


class RspamdBayes(Rspamd):
    """The same with its Bayes trained on line."""

    learns = True


PEERS: dict[str, type[Peer]] = {
    "bogofilter": Bogofilter,
    "SpamAssassin": SpamAssassin,
    "SpamAssassin with Bayes": SpamAssassinBayes,
    "rspamd": Rspamd,
    "rspamd with Bayes": RspamdBayes,
}


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port: int = sock.getsockname()[1]
    return port


def _wait_for(ready: Callable[[], bool]) -> None:
    end = time.monotonic() + START_S
    while time.monotonic() < end:
        with contextlib.suppress(OSError):
            if ready():
                return
        time.sleep(0.1)
    raise RuntimeError("a peer did not start")
