"""Set-up of mail systems and its undoing, by command, on the configuration files that come with their packages.

Real Postfix and real Exim look at what was made; undo gives every file back byte for byte, with mode and owner.
"""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from tests.peers.conftest import program, root_program

from gatepost.cli.main import app
from gatepost.client.setup.journal import JOURNAL, apply_plan, journal_of
from gatepost.client.setup.planning import SYSTEMS
from gatepost.client.setup.values import SetupError, Wanted

PEERS = Path(__file__).resolve().parents[2] / "build/peers"
SENDMAIL_MACROS = PEERS / "sendmail/usr/share/sendmail/cf"
EXIM_FILES = PEERS / "heavy/etc/exim4"
EXIM = PEERS / "heavy/usr/sbin/exim4"


class Host:
    """A mail system's files in a directory of their own, and the commands on them."""

    def __init__(self, base: Path, capfd: pytest.CaptureFixture[str]) -> None:
        self.base = base
        self.config = base / "config"
        self.config.mkdir(exist_ok=True)
        self.settings = base / "client.toml"
        self.state = base / "state"
        self._capfd = capfd

    def call(self, *words: str) -> tuple[int, str]:
        """Run `gatepost client …`; return its exit status and all it says."""
        self._capfd.readouterr()
        try:
            status = app(
                ["client", *words, "--state", str(self.state)], exit_on_error=False, result_action="return_value"
            )
        except SystemExit as left:
            status = left.code
        told = self._capfd.readouterr()
        return int(status or 0), told.out + told.err

    def setup(self, system: str, *words: str) -> tuple[int, str]:
        return self.call("setup", system, "--config", str(self.config), "-c", str(self.settings), "--yes", *words)

    def undo(self, system: str, *words: str) -> tuple[int, str]:
        return self.call("undo", system, "--yes", *words)

    def files(self) -> dict[str, tuple[bytes, int, int, int]]:
        """Return content, mode and owner of everything but the state directory."""
        found = {}
        for path in sorted(self.base.rglob("*")):
            if path.is_file() and self.state not in path.parents and "queue" not in path.parts:
                state = path.stat()
                found[str(path)] = (path.read_bytes(), state.st_mode, state.st_uid, state.st_gid)
        return found


@pytest.fixture
def host(tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Host:
    """Files of no mail system that would look at them."""
    monkeypatch.setattr("gatepost.cli.client._checked", lambda _: "")
    return Host(tmp_path, capfd)


@pytest.fixture
def postfix(host: Host) -> Host:
    """Debian's files as its package brings them, with the values its set-up asks for, and directories of our own."""
    root_program("postfix")
    given = {
        "setgid_group": "postdrop",
        "sendmail_path": "/usr/sbin/sendmail",
        "newaliases_path": "/usr/bin/newaliases",
        "mailq_path": "/usr/bin/mailq",
        "html_directory": "no",
        "manpage_directory": "/usr/share/man",
        "sample_directory": "/etc/postfix",
        "readme_directory": "no",
        "data_directory": str(host.base / "data"),
    }
    text = Path("/etc/postfix/main.cf.proto").read_text()
    for name, value in given.items():
        text = re.sub(rf"(?m)^{name} =.*$", f"{name} = {value}", text)
    (host.config / "main.cf").write_text(f"{text}queue_directory = {host.base}/queue\n")
    shutil.copy("/etc/postfix/master.cf.proto", host.config / "master.cf")
    for name in ("queue", "data"):
        (host.base / name).mkdir()
    shutil.chown(host.base / "data", "postfix")
    (host.config / "main.cf").chmod(0o640)
    return host


def postconf(host: Host, *words: str) -> str:
    done = subprocess.run(
        [program("postconf"), "-c", str(host.config), *words], capture_output=True, text=True, check=True, timeout=120
    )
    return done.stdout.strip()


def test_paths_may_be_named_from_where_one_stands(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is written is read by others, who stand elsewhere."""
    (host.config / "main.cf").write_text("myhostname = mx.example.org\n")
    (host.config / "master.cf").write_text("smtp inet n - n - - smtpd\n")
    (host.base / "units").mkdir()
    before = host.files()
    monkeypatch.chdir(host.base)
    status, said = host.call(
        "setup", "postfix", "--config", "config", "-c", "client.toml", "--units", "units", "--mode", "milter", "--yes"
    )
    assert status == 0, said
    assert f"-c {host.base}/client.toml\n" in (host.base / "units/gatepost-milter.service").read_text()
    monkeypatch.chdir("/")
    status, said = host.undo("postfix")
    assert status == 0, said
    assert host.files() == before


@pytest.mark.feature("F-INST-08")
@pytest.mark.parametrize("mode", ["milter", "content_filter", "smtpd_proxy_filter"])
def test_postfix_there_and_back(postfix: Host, mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if mode == "content_filter":  # changes both files; `postfix check` waits for seconds
        monkeypatch.undo()
    before = postfix.files()
    status, shown = postfix.setup("postfix", "--mode", mode, "--dry-run")
    assert status == 0
    assert "+++ " in shown
    assert postfix.files() == before, "a dry run changes nothing"
    status, shown = postfix.setup("postfix", "--mode", mode, "--server", "tcp:192.0.2.1:2277")
    assert status == 0, shown
    assert "client.toml" in shown
    assert 'client_connect_to = ["tcp:192.0.2.1:2277"]' in postfix.settings.read_text()
    if mode == "milter":
        for name in ("smtpd_milters", "non_smtpd_milters"):
            assert "{ inet:127.0.0.1:8891, default_action=tempfail" in postconf(postfix, "-h", name)
    else:
        assert "-o smtpd_authorized_xforward_hosts=127.0.0.0/8" in postconf(postfix, "-M", "127.0.0.1:10026/inet")
        front = postconf(postfix, "-M", "smtp/inet")
        assert ("smtpd_proxy_filter=127.0.0.1:9026" in front) == (mode == "smtpd_proxy_filter")
        assert (postconf(postfix, "-h", "content_filter") == "gatepost:[127.0.0.1]:9026") == (mode == "content_filter")
    made = postfix.files()
    status, shown = postfix.setup("postfix", "--mode", mode)
    assert (status, "nothing to do" in shown) == (0, True), "once is enough"
    assert postfix.files() == made
    assert f"postfix: {mode}" in postfix.call("status")[1]
    status, shown = postfix.undo("postfix")
    assert status == 0, shown
    assert postfix.files() == before
    assert "no mail system is set up" in postfix.call("status")[1]
    assert not (postfix.state / "postfix").exists()


def test_postfix_that_does_not_take_its_files_gets_the_old_ones_back(
    postfix: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = postfix.files()
    verdicts = iter(["", "postfix: fatal: no"])
    monkeypatch.setattr("gatepost.cli.client._checked", lambda _: next(verdicts))
    status, shown = postfix.setup("postfix")
    assert status == 4
    assert "postfix: fatal: no" in shown
    assert postfix.files() == before


def test_what_others_have_in_postfix_files_stays(host: Host) -> None:
    main = host.config / "main.cf"
    main.write_text(
        "smtpd_milters = inet:old:1\n# kept\nsmtpd_milters =\n  unix:a,\n# within\n  inet:[::1]:7\nmilter_protocol = 6\n"
        "content_filter = scan:[127.0.0.1]:10024"
    )
    (host.config / "master.cf").write_text("smtp inet n - n - - smtpd\n  -o smtpd_proxy_filter=10.0.0.1:5\n")
    wanted = Wanted(config=host.config, settings=host.settings, door="tcp:127.0.0.1:8891")
    (change,) = SYSTEMS["postfix"].plan(wanted).changes
    assert change.after is not None
    entry = "{ inet:127.0.0.1:8891, default_action=tempfail, connect_timeout=10s, content_timeout=300s }"
    assert change.after.content.decode() == (
        f"smtpd_milters = inet:old:1\n# kept\nsmtpd_milters = unix:a, inet:[::1]:7, {entry}\nmilter_protocol = 6\n"
        f"content_filter = scan:[127.0.0.1]:10024\nnon_smtpd_milters = {entry}\n"
    )
    for mode, said in (("content_filter", "another filter's"), ("smtpd_proxy_filter", "take that out first")):
        status, shown = host.setup("postfix", "--mode", mode)
        assert (status, said in shown) == (4, True)
    assert host.setup("postfix", "--mode", "other")[0] == 4
    # A chroot sees sockets below the queue only.
    (host.config / "master.cf").write_text("smtp inet n - y - - smtpd\n")
    assert "chrooted" in host.setup("postfix", "--door", "unix:/run/x")[1]
    status, shown = host.setup("postfix", "--door", "unix:/var/spool/postfix/gatepost/milter", "--dry-run")
    assert "{ unix:gatepost/milter, " in shown


@pytest.mark.parametrize("place", ["", "postfix", f"postfix/{JOURNAL}"])
def test_what_others_could_have_written_is_not_undone(host: Host, place: str) -> None:
    """Root would write what they say where they say."""
    (host.config / "main.cf").write_text("a = b\n")
    (host.config / "master.cf").write_text("")
    assert host.setup("postfix")[0] == 0
    made = host.files()
    theirs = host.state / place
    mode = theirs.stat().st_mode
    theirs.chmod(0o777)
    for words in (("status",), ("undo", "postfix", "--yes")):
        status, said = host.call(*words)
        assert (status, f"{theirs} can be written by others" in said) == (4, True), said
    theirs.chmod(mode)
    if os.geteuid() == 0:
        os.chown(theirs, 65534, 65534)
        assert "can be written by others" in host.undo("postfix")[1]
        os.chown(theirs, 0, 0)
    assert host.files() == made
    assert host.undo("postfix")[0] == 0


def test_what_is_set_up_in_another_way_is_undone_first(host: Host) -> None:
    (host.config / "main.cf").write_text("a = b\n")
    (host.config / "master.cf").write_text("smtp inet n - n - - smtpd\n")
    assert host.setup("postfix", "--door", "tcp:127.0.0.1:8891")[0] == 0
    made = host.files()
    for words in (("--door", "tcp:127.0.0.1:8892"), ("--mode", "content_filter", "--dry-run")):
        status, said = host.setup("postfix", *words)
        assert (status, "first gatepost client undo postfix" in said) == (4, True)
        assert "+++" not in said, "it would not be changed into what is shown"
    assert host.files() == made


def test_directories_made_for_it_can_be_entered_by_the_programs(host: Host) -> None:
    (host.config / "main.cf").write_text("")
    (host.config / "master.cf").write_text("")
    host.settings = host.base / "new/client/client.toml"
    mask = os.umask(0o077)
    try:
        assert host.setup("postfix")[0] == 0
    finally:
        os.umask(mask)
    for path, mode in ((host.settings, 0o644), (host.settings.parent, 0o755), (host.settings.parents[1], 0o755)):
        assert path.stat().st_mode & 0o777 == mode


@pytest.mark.parametrize("system", ["postfix", "sendmail"])
def test_a_unit_is_not_given_a_socket_that_it_cannot_make(host: Host, system: str) -> None:
    for name in ("main.cf", "master.cf", "sendmail.cf"):
        (host.config / name).write_text("")
    units = ("--units", str(host.base / "units"))
    for text in ("", "send_mail_address = 'unix:/run/gatepost/m.sock'\n"):  # the documented default, and another
        host.settings.write_text(text)
        status, said = host.setup(system, *units)
        assert (status, "writes below /run/gatepost-milter alone" in said) == (4, True), said
    host.settings.write_text("send_mail_address = 'unix:/run/gatepost-milter/m.sock'\n")
    status, said = host.setup(system, *units)
    if system == "postfix":  # its processes are neither root nor of the unit's group
        assert (status, 'set send_mail_socket_mode = "666"' in said) == (4, True)
        host.settings.write_text(host.settings.read_text() + "send_mail_socket_mode = '666'\n")
        status, said = host.setup(system, *units)
    assert status == 0, said
    assert "/run/gatepost-milter/m.sock" in said


@pytest.mark.parametrize("stop_at", [0, 1, 2])
def test_set_up_that_is_interrupted_anywhere_can_be_undone(host: Host, stop_at: int) -> None:
    (host.config / "main.cf").write_text("a = b\n")
    (host.config / "master.cf").write_text("smtp inet n - n - - smtpd\n")
    before = host.files()
    wanted = Wanted(config=host.config, mode="smtpd_proxy_filter", settings=host.base / "new/client.toml")
    plan = SYSTEMS["postfix"].plan(wanted)
    assert len(plan.changes) == 2

    class PowerCut(Exception):  # noqa: N818 - what it is
        """Nothing of the program runs any more."""

    def cut(done: int) -> None:
        if done == stop_at:
            raise PowerCut

    if stop_at == 0:
        (host.config / "master.cf").write_text("changed meanwhile\n")
        with pytest.raises(SetupError, match="changed meanwhile"):
            apply_plan(plan, host.state, 0)
        assert journal_of(host.state, "postfix") is None
        return
    with pytest.raises(PowerCut):
        apply_plan(plan, host.state, 0, after_step=cut)
    assert "INTERRUPTED" in host.call("status")[1]
    status, shown = host.setup("postfix", "--mode", "smtpd_proxy_filter")
    assert (status, "interrupted" in shown) == (4, True)
    status, shown = host.undo("postfix")
    assert status == 0, shown
    assert host.files() == before
    assert not (host.base / "new").exists(), "a directory made for it goes with it"


def test_undo_does_not_overwrite_what_was_edited_since_unless_forced(host: Host) -> None:
    main = host.config / "main.cf"
    main.write_text("a = b\n")
    (host.config / "master.cf").write_text("")
    before = host.files()
    assert host.setup("postfix")[0] == 0
    main.write_text(f"{main.read_text()}mine = 1\n")
    assert "main.cf, edited since" in host.call("status")[1]
    edited = host.files()
    status, shown = host.undo("postfix")
    assert status == 4
    assert "+mine = 1" in shown
    assert host.files() == edited
    status, shown = host.undo("postfix", "--force")
    assert status == 0, shown
    assert host.files() == before
    (kept,) = (Path(line.rpartition(": ")[2]) for line in shown.splitlines() if "as it was edited: " in line)
    assert kept.read_text().endswith("mine = 1\n")


def test_settings_edited_since_stay_when_set_up_is_undone(host: Host) -> None:
    (host.config / "main.cf").write_text("")
    (host.config / "master.cf").write_text("")
    assert host.setup("postfix")[0] == 0
    host.settings.write_text("client_on_error = 'accept'\n")
    assert host.undo("postfix")[0] == 0
    assert host.settings.read_text() == "client_on_error = 'accept'\n"
    host.settings.write_text("send_mail_address = 'tcp:127.0.0.1:7'\n")
    assert "{ inet:127.0.0.1:7, " in host.setup("postfix")[1], "settings that are there hold"
    assert host.undo("postfix")[0] == 0
    assert host.settings.exists()
    assert "set in it: pipe_outgoing_addr" in host.setup("postfix", "--mode", "content_filter")[1]


def test_a_damaged_copy_is_never_put_back(host: Host) -> None:
    (host.config / "main.cf").write_text("a = b\n")
    (host.config / "master.cf").write_text("")
    host.setup("postfix")
    made = host.files()
    for path in (host.state / "postfix").glob("*.before"):
        path.write_bytes(b"damaged")
    status, shown = host.undo("postfix")
    assert (status, "is damaged" in shown) == (4, True)
    assert host.files() == made
    (host.state / "postfix" / JOURNAL).write_text("{")
    assert host.call("status")[0] == 4


def test_one_damaged_copy_leaves_all_files(host: Host) -> None:
    (host.config / "main.cf").write_text("a = b\n")
    (host.config / "master.cf").write_text("smtp inet n - n - - smtpd\n")
    assert host.setup("postfix", "--mode", "content_filter")[0] == 0
    made = host.files()
    first, *others = sorted((host.state / "postfix").glob("*.before"))
    assert others, "the files after it are put back before it"
    first.write_bytes(b"damaged")
    status, shown = host.undo("postfix")
    assert (status, "nothing was changed" in shown) == (4, True)
    assert host.files() == made


def test_a_link_is_not_replaced_by_a_file(host: Host) -> None:
    (host.config / "master.cf").write_text("")
    elsewhere = host.base / "main.cf"
    elsewhere.write_text("a = b\n")
    (host.config / "main.cf").symlink_to(elsewhere)
    status, shown = host.setup("postfix")
    assert (status, "main.cf is a symbolic link" in shown) == (4, True)
    assert elsewhere.read_text() == "a = b\n"
    assert (host.config / "main.cf").is_symlink()
    assert not host.settings.exists()


def test_a_question_answered_with_no_changes_nothing(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    (host.config / "main.cf").write_text("")
    (host.config / "master.cf").write_text("")
    before = host.files()
    monkeypatch.setattr("gatepost.cli.client._agreed", lambda _: False)
    assert host.call("setup", "postfix", "--config", str(host.config), "-c", str(host.settings))[0] == 1
    assert host.files() == before
    assert host.call("setup", "sendmal")[0] == 1
    assert host.undo("postfix")[0] == 4
    assert host.undo("../x")[0] == 1


def sendmail_cf(mc: str) -> str:
    made = subprocess.run(
        [program("m4"), "-D", f"_CF_DIR_={SENDMAIL_MACROS}/", f"{SENDMAIL_MACROS}/m4/cf.m4", "-"],
        input=mc.encode(), capture_output=True, check=True, timeout=120,
    )  # fmt: skip
    return made.stdout.decode()


@pytest.mark.feature("F-INST-08")
def test_sendmail_there_and_back(host: Host) -> None:
    if not (SENDMAIL_MACROS / "m4/cf.m4").exists():
        pytest.skip("Sendmail's macros are not unpacked: make peers")
    plain = "OSTYPE(`linux')dnl\nFEATURE(`access_db')dnl\nMAILER(`local')dnl\nMAILER(`smtp')dnl\n"
    (host.config / "sendmail.mc").write_text(plain)
    (host.config / "sendmail.cf").write_text(sendmail_cf(plain))
    before = host.files()
    assert host.setup("sendmail")[0] == 0
    of_macros = sendmail_cf((host.config / "sendmail.mc").read_text())
    edited = (host.config / "sendmail.cf").read_text()
    line = "Xgatepost, S=inet:8891@127.0.0.1, F=T, T=C:10s;S:20s;R:30s;E:5m"
    for text in (of_macros, edited):
        assert line in text.splitlines()
        assert "O InputMailFilters=gatepost" in text.splitlines()
    assert "nothing to do" in host.setup("sendmail")[1]
    assert host.undo("sendmail")[0] == 0
    assert host.files() == before
    # Beside another milter, and with the settings' choice for errors.
    (host.config / "sendmail.mc").unlink()
    (host.config / "sendmail.cf").write_text("O InputMailFilters=clmilter\nXclmilter, S=local:/run/c\n")
    host.settings.write_text("client_on_error = 'accept'\nsend_mail_address = 'unix:/run/m.sock'\n")
    assert host.setup("sendmail")[0] == 0
    text = (host.config / "sendmail.cf").read_text()
    assert text == (
        "O InputMailFilters=clmilter, gatepost\nXclmilter, S=local:/run/c\n"
        "Xgatepost, S=local:/run/m.sock, T=C:10s;S:20s;R:30s;E:5m\n"
    )


def assembled(config: Path) -> str:
    """Return what update-exim4.conf makes of Debian's files, as far as Exim's own check needs it."""
    template = config / "exim4.conf.template"
    choices = config / "update-exim4.conf.conf"
    if "true" in (choices.read_text() if choices.exists() else ""):
        sections = ("main", "acl", "router", "transport", "retry", "rewrite", "auth")
        pieces = [path.read_text() for name in sections for path in sorted((config / "conf.d" / name).iterdir())]
        text = "".join(pieces)
    else:
        text = template.read_text()
    return re.sub(r"DEBCONF\w+DEBCONF", "empty", text)


def exim_takes(text: str, base: Path) -> str:
    """Return what Exim says of a configuration; AssertionError when it does not take it."""
    file = base / "exim.check"
    file.write_text(text)
    done = subprocess.run([EXIM, "-C", str(file), "-bV"], capture_output=True, text=True, check=False, timeout=120)
    file.unlink()
    assert done.returncode == 0, done.stderr + done.stdout[-500:]
    return done.stdout


@pytest.mark.feature("F-INST-08")
@pytest.mark.parametrize("split", [True, False], ids=["split", "monolithic"])
@pytest.mark.parametrize("mode", ["scan", "pipe"])
def test_exim_there_and_back(host: Host, mode: str, split: bool) -> None:
    if os.geteuid() != 0 or not EXIM.exists() or not EXIM_FILES.exists():
        pytest.skip("Exim is not unpacked, or this is not run by root: make peers")
    shutil.copytree(EXIM_FILES, host.config, dirs_exist_ok=True)
    (host.config / "update-exim4.conf.conf").write_text(f"dc_use_split_config='{str(split).lower()}'\n")
    exim_takes(assembled(host.config), host.base)
    before = host.files()
    words = ("--door", "tcp:127.0.0.1:783", "--clamd", "tcp:127.0.0.1:3310") if mode == "scan" else ()
    status, shown = host.setup("exim", "--mode", mode, *words)
    assert status == 0, shown
    text = assembled(host.config)
    exim_takes(text, host.base)
    if mode == "scan":
        assert "spamd_address = 127.0.0.1 783 variant=rspamd\n" in text
        acl = text[text.index("acl_check_data:") :]
        assert acl.index("malware = *") < acl.index("spam = nobody") < acl.index("max_received_linelength")
    else:
        assert text.index("gatepost_filter:\n  debug_print") < text.index("driver = dnslookup")
        assert f"pipe -c {host.settings} -- --message" in text
        temporary = re.search(r"temp_errors = (.+)", text)
        assert temporary is not None
        assert "69" not in temporary[1].split(" : "), "refused for good"
    assert "nothing to do" in host.setup("exim", "--mode", mode, *words)[1]
    assert host.undo("exim")[0] == 0
    assert host.files() == before


def test_exim_with_a_plain_file_and_what_cannot_be_done(host: Host) -> None:
    (host.config / "exim.conf").write_text("acl_smtp_data = mine\nbegin acl\nmine:\n  accept\nbegin routers\n")
    status, said = host.setup("exim", "--door", "unix:/run/spamd")
    assert status == 0
    assert "scan_paths" not in said
    text = (host.config / "exim.conf").read_text()
    assert text.startswith(
        "acl_smtp_data = mine\n# gatepost: begin\nspamd_address = /run/spamd variant=rspamd\n# gatepost: end\nbegin acl\n"
    )
    assert "mine:\n# gatepost: begin\n  deny\n    spam = nobody:true\n" in text
    assert host.undo("exim")[0] == 0
    status, said = host.setup("exim", "--clamd", "unix:/run/clamd")
    assert (status, 'scan_paths = ["/var/spool/exim4/scan"]' in said) == (0, True), "Exim names files there"
    assert host.undo("exim")[0] == 0
    assert "name the server's doors" in host.setup("exim")[1]
    assert "colons" in host.setup("exim", "--door", "tcp:[::1]:783")[1]
    (host.config / "exim.conf").write_text("spamd_address = 127.0.0.1 1\nbegin acl\n")
    assert "another scanner's" in host.setup("exim", "--door", "tcp:127.0.0.1:783")[1]
    (host.config / "exim.conf").write_text("begin acl\n")
    assert "put it in by hand" in host.setup("exim", "--door", "tcp:127.0.0.1:783")[1]


@pytest.mark.feature("F-INST-08")
def test_qmail_there_and_back(host: Host) -> None:
    program("cc")
    queue = host.config / "qmail-queue"
    queue.write_bytes(b"\x7fELF the original\0")
    queue.chmod(0o4711)
    if os.geteuid() == 0:
        os.chown(queue, 65534, 65534)
        queue.chmod(0o4711)
    before = host.files()
    status, shown = host.setup("qmail")
    assert status == 0, shown
    assert "a program" in shown
    original = host.config / "qmail-queue.orig"
    assert original.read_bytes() == b"\x7fELF the original\0"
    assert original.stat().st_mode & 0o7777 == 0o4711
    assert queue.stat().st_mode & 0o7777 == 0o4755
    assert (queue.stat().st_uid, queue.stat().st_gid) == (original.stat().st_uid, original.stat().st_gid)
    assert str(host.settings).encode() in queue.read_bytes()
    assert f'q_mail_original_queue = "{original}"' in host.settings.read_text()
    assert "nothing to do" in host.setup("qmail")[1]
    assert host.undo("qmail")[0] == 0
    assert host.files() == before


@pytest.mark.feature("F-INST-08")
def test_communigate_there_and_back(host: Host) -> None:
    before = host.files()
    status, shown = host.setup("cgpro")
    assert status == 0, shown
    assert "External Filter" in shown
    script = host.config / "gatepost-helper"
    assert os.access(script, os.X_OK)
    assert f"gatepost.client cgpro -c {host.settings}" in script.read_text()
    key = host.base / "communigate.key"
    assert key.stat().st_mode & 0o777 == 0o600
    assert len(key.read_text().strip()) == 64
    assert key.read_text().strip() not in shown, "what set-up shows ends in logs"
    assert "+++" in shown
    assert "not shown" in shown
    assert "nothing to do" in host.setup("cgpro")[1]
    assert host.undo("cgpro")[0] == 0
    assert host.files() == before


def test_a_unit_for_the_service_manager_is_written_where_one_is_wanted(host: Host) -> None:
    (host.config / "main.cf").write_text("")
    (host.config / "master.cf").write_text("")
    before = host.files()
    status, shown = host.setup("postfix", "--units", str(host.base / "units"))
    assert status == 0, shown
    unit = (host.base / "units/gatepost-milter.service").read_text()
    assert f"-I -m gatepost.client milter -c {host.settings}\n" in unit
    assert "systemctl enable --now gatepost-milter.service" in shown
    assert host.undo("postfix")[0] == 0
    assert host.files() == before
    assert not (host.base / "units").exists()
