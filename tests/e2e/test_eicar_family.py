"""The EICAR family through a running gateway: status in the log, outcome at the sink (specification antivirus.md §8)."""

import email
from collections.abc import Iterator
from email.message import Message

import pytest
from tests.support.gateway import Gateway
from tests.support.mails import EICAR, with_attachment
from tests.support.sink import Sink
from tests.support.waiting import wait_for

POLICY = {
    'block_message = ["infected", "suspicious", "protected", "error", "filtered"]': "block_message = []",
    'action_error = "placeholder"': 'action_error = "pass"',
    'action_suspicious = "placeholder"': 'action_suspicious = "remove"',
}


@pytest.fixture(scope="module", params=[True, False], ids=["cure", "no-cure"])
def running(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[bool, Gateway, Sink]]:
    cure: bool = request.param
    changes = (
        POLICY
        if cure
        else {
            **POLICY,
            "[ave]\n# Disinfect what can be disinfected. What cannot keeps the status infected.\ncure = true": "[ave]\ncure = false",
        }
    )
    with Sink() as sink, Gateway(tmp_path_factory.mktemp("eicar") / "gw", sink.port, replace=changes) as gateway:
        yield cure, gateway, sink


def attachments(sink: Sink, subject: str) -> list[tuple[str | None, bytes]]:
    """Wait for a mail and return (file name, content) of its parts after the text."""

    def arrived() -> Message | None:
        mails = [email.message_from_bytes(mail.content) for mail in list(sink.mails)]
        return next((mail for mail in mails if mail["Subject"] == subject), None)

    mail = wait_for(arrived, f"the mail {subject}")
    leaves = [part for part in mail.walk() if not part.is_multipart()]
    return [(part.get_filename(), part.get_payload(decode=True) or b"") for part in leaves[1:]]


def status(gateway: Gateway, queue_id: str) -> str:
    line = wait_for(lambda: gateway.lines("SCANNED", queue_id), "its line in the log")[0]
    return line.partition('status="')[2].partition('"')[0]


@pytest.mark.feature("F-AV-09", "F-AV-10", "F-AV-11", "F-AV-12", "F-AV-13")
@pytest.mark.parametrize(
    ("prefix", "expected"),
    [
        (b"", "infected"),
        (b"CORR-", "error"),
        (b"ERRO-", "error"),
        (b"SUSP-", "suspicious"),
        (b"WARN-", "suspicious"),
        (b"CURE-", "disinfected"),
        (b"DELE-", "infected"),
    ],
)
def test_status_and_outcome(running: tuple[bool, Gateway, Sink], prefix: bytes, expected: str) -> None:
    cure, gateway, sink = running
    subject = f"eicar {prefix.decode()}{cure}"
    queue_id = gateway.send(with_attachment(prefix + EICAR, "object.com", subject))
    found = attachments(sink, subject)
    if prefix == b"CURE-" and not cure:
        expected = "infected"
    assert status(gateway, queue_id) == expected
    if prefix == b"DELE-":
        assert found == []  # removed, although the action for infected is a placeholder
    elif expected == "infected":
        [(name, text)] = found
        assert name is None
        assert b"object.com" in text
        assert EICAR not in text
    elif expected == "disinfected":
        assert found == [("object.com", b"CURED")]
    elif expected == "suspicious":
        assert found == []
    else:
        assert found == [("object.com", prefix + EICAR)]
