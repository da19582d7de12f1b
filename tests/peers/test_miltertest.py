"""miltertest, the mail system of OpenDKIM's authors for trying filters: what it negotiates, sends, and is answered."""

import subprocess
from collections.abc import Iterator

import pytest
from tests.peers.conftest import program
from tests.support.milter_peer import ACTIONS, OLD_ACTIONS, STEPS
from tests.support.milter_rulings import answer
from tests.support.scripted_judge import ListeningDoor, ScriptedJudge

from gatepost.config.doors import Door, DoorKind
from gatepost.service.milter_door import make

_OPENING = """\
conn = mt.connect("inet:%(port)d@127.0.0.1")
assert(conn ~= nil, "no connection")
function pass(result, what)
    assert(result == nil, what .. " failed")
end
-- In this order, whatever its manual says.
pass(mt.negotiate(conn, %(version)s, %(steps)s, %(actions)s), "negotiation")
pass(mt.macro(conn, SMFIC_CONNECT, "{client_resolve}", "OK"), "macro")
pass(mt.conninfo(conn, "mail.example.net", "192.0.2.7"), "connection")
pass(mt.helo(conn, "helo.example.net"), "HELO")
function envelope(queue_id, ...)
    pass(mt.macro(conn, SMFIC_MAIL, "i", queue_id), "macro")
    pass(mt.mailfrom(conn, "<sender@example.net>", "SIZE=1000"), "MAIL")
    for _, one in ipairs({...}) do pass(mt.rcptto(conn, one), "RCPT") end
end
function header(word)
    pass(mt.header(conn, "Subject", word .. " mail"), "header")
    pass(mt.header(conn, "X-Twice", "1"), "header")
    pass(mt.header(conn, "X-Twice", "2"), "header")
end
function finish()
    pass(mt.bodystring(conn, "Hello,\\r\\n"), "body")
    pass(mt.bodystring(conn, "this is it.\\r\\n"), "body")
    pass(mt.eom(conn), "end of message")
end
"""


@pytest.fixture(scope="module")
def door() -> Iterator[ListeningDoor]:
    with ListeningDoor(make, ScriptedJudge(answer), Door(name="mta", kind=DoorKind.MILTER)) as opened:
        yield opened


def run(door, script, version=6, actions=ACTIONS, steps=STEPS):
    values = {"port": door.port, "version": version, "actions": actions, "steps": steps}
    text = _OPENING % values + script + '\nmt.disconnect(conn)\nmt.echo("held")\n'
    done = subprocess.run([program("miltertest")], input=text.encode(), capture_output=True, check=False, timeout=120)
    assert (done.returncode, done.stdout.strip()) == (0, b"held"), (done.stdout, done.stderr)


def test_messages_of_one_connection(door):
    run(
        door,
        """
envelope("ONE", "<anna@example.com>", "<bert@example.com>")
header("groups")
finish()
assert(mt.getreply(conn) == SMFIR_CONTINUE)
assert(mt.eom_check(conn, MT_HDRINSERT, "X-SpamTest-Status"))
assert(mt.eom_check(conn, MT_HDRCHANGE, "Subject", " [SPAM] groups mail"))
assert(not mt.eom_check(conn, MT_BODYCHANGE))
assert(not mt.eom_check(conn, MT_RCPTDELETE, "<anna@example.com>"))
pass(mt.abort(conn), "ABORT")
envelope("TWO", "<anna@example.com>", "<bert@example.com>")
header("half")
finish()
assert(mt.getreply(conn) == SMFIR_CONTINUE)
assert(mt.eom_check(conn, MT_RCPTDELETE, "<bert@example.com>"))
assert(not mt.eom_check(conn, MT_RCPTDELETE, "<anna@example.com>"))
""",
    )
    one, two = door.judge.asked[-2:]
    assert (one.request.queue_id, two.request.queue_id) == ("ONE", "TWO")
    assert one.content == b"Subject: groups mail\r\nX-Twice: 1\r\nX-Twice: 2\r\n\r\nHello,\r\nthis is it.\r\n"
    assert two.request.recipients == ("anna@example.com", "bert@example.com")
    assert (one.request.client.ip, one.request.client.name) == ("192.0.2.7", "mail.example.net")


@pytest.mark.parametrize(
    ("word", "check"),
    [
        ("virus", 'mt.eom_check(conn, MT_SMTPREPLY, "554", "5.7.1", "It is infected: 100%% sure")'),
        (
            "unjudged",
            'mt.eom_check(conn, MT_SMTPREPLY, "451", "4.7.1", "The message cannot be checked now; try again later")',
        ),
        ("drop", "mt.getreply(conn) == SMFIR_DISCARD"),
        ("empty", "mt.eom_check(conn, MT_BODYCHANGE)"),
        ("elsewhere", 'mt.eom_check(conn, MT_RCPTADD, "<post@example.com>")'),
    ],
)
def test_answers(door, word, check):
    run(door, f'envelope("X", "<anna@example.com>")\nheader("{word}")\nfinish()\nassert({check})')


def test_a_mail_system_that_knows_only_version_2(door):
    """Every word is answered, and values come without their blank."""
    run(
        door,
        'envelope("OLD", "<anna@example.com>")\nheader("label")\nfinish()\n'
        'assert(mt.eom_check(conn, MT_HDRCHANGE, "Subject", "[SPAM] label mail"))',
        version=2, actions=OLD_ACTIONS, steps=0,
    )  # fmt: skip
    assert door.judge.last.content.startswith(b"Subject: label mail\r\nX-Twice: 1\r\n")
