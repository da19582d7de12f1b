"""Automatic replies of mail systems (F-AS-23): failure reports, vacation notes, challenges, virus and card notices.

`FormalCheck` fills `notes.formal` with the kind. What it claims can be forged, so it is no merit: policy ranks Formal
below Spam, and the sign that explains it weighs nothing. One indication alone is never enough unless it is a report by
its structure.
"""

import re
from typing import Final

from gatepost.antispam.check import Notes
from gatepost.antispam.headers.addresses import parse_mailboxes
from gatepost.antispam.view import MailView
from gatepost.model.spam import Method

BOUNCE: Final = "bounce"
RECEIPT: Final = "receipt"
COMPLAINT: Final = "complaint"
VACATION: Final = "vacation"
CHALLENGE: Final = "challenge"
VIRUS: Final = "virus notice"
CARD: Final = "card notice"

BODY_LIMIT = 4_000
"""Characters in which a notice says what it is."""
SUBJECT_LIMIT = 300

_DAEMON = re.compile(r"^(mailer[._-]?daemon|mail[._-]?daemon|maildaemon|mdaemon|mmdf|smtp-?daemon)", re.IGNORECASE)
_OFFICE = re.compile(
    r"^(post[_-]?master|poostmaster|system-?admin|mail\.delivery|mailsystem|bounce|no-?reply|root|admin)", re.IGNORECASE
)
_DAEMON_NAME = re.compile(
    r"mail(er)? (deliver(y)? )?(sub)?system|mailer[- ]?daemon|delivery subsystem|mail deliver"
    r"|^system administrator$"
    r"|^post[ -]?master$|NDR administrator|^mail administrator$",
    re.IGNORECASE,
)
_BOUNCE_SUBJECT = re.compile(
    r"undeliver(able|ed)|deliver\w* (status|fail|problem|notif|delay|error)|(fail|non)\w*[ -]deliver"
    r"|fail(ed|ure) notice"
    r"|mail (system error|fail|could not|delivery)|returned (e?-?mail|to sender|message)|returning message"
    r"|message (delivery|status|undeliv|.{0,40} delayed)|delayed mail|could not be delivered|not delivered"
    r"|error sending your mail|(e-?)?mail bounce|bounce notif|unzustellbar|zustell\w* (fehl|nicht|problem)"
    r"|nicht zugestellt|non remis|non distribu|échec de (la )?remise|no se (ha )?(pudo|podido) entregar"
    r"|no entregado"
    r"|mancat[ao] (consegna|recapito)|impossibile recapitare|não (foi )?entregue|falha na entrega|onbestelbaar"
    r"|niedostarczon|не доставлен|недоставлен|не удалось доставить"
    r"|送信できません|配信(できません|不能|エラー)|退信|投递失败|无法投递",
    re.IGNORECASE,
)
_ANSWERED = re.compile(r"\s*(re|aw|fwd?|wg|rv|res|enc|tr|sv|vs) ?:", re.IGNORECASE)
_BOUNCE_BODY = re.compile(
    r"could ?n[o']t be delivered|not (be|been) delivered|was not delivered|undeliverable|unable to deliver"
    r"|not delivered to"
    r"|deliver\w* (to the following|has failed|failed|attempt)|permanent(ly)? (fatal )?(error|fail)"
    r"|user unknown"
    r"|unknown user|no such user|mailbox (is )?(full|unavailable|not found)|over quota|host (unknown|not found)"
    r"|returned (to you|to sender|message)|did not reach the following"
    r"|following (address|recipient|destination)"
    r"|failed (address|recipient|delivery)|transcript of session|reason for failure|error from remote"
    r"|message delayed"
    r"|final-recipient:|diagnostic-code:|\b5\d\d[ -]5\.\d+\.\d+|<{3} 5\d\d|\bsmtp error|mail-system"
    r"|rejected your message",
    re.IGNORECASE,
)
_VACATION_SUBJECT = re.compile(
    r"^\W*(re: ?|aw: ?)?(out[ -]of[ -](the[ -])?office|auto(matic)?[- ]?(reply|response|responder|answer)|autoreply"
    r"|automatische (antwort|abwesenheit)|abwesen(d|heit)|réponse automatique|absen[ct]e? d"
    r"|respuesta automática"
    r"|resposta automática|risposta automatica|fuori (sede|ufficio)|automatisch antwoord|autosvar"
    r"|automatiskt svar"
    r"|автоответ|автоматический ответ|away (until|from)|on vacation|i am (away|out)|vacation|自動応答|自动(回复|答复))"
    r"|\b(out of (the )?office|auto-?reply)\b",
    re.IGNORECASE,
)
_CHALLENGE = re.compile(
    r"(confirm|verify|validate) (that )?(your|you are|you're|this) (a )?"
    r"(e-?mail|message|human|address|mail|sender|person|real)"
    r"|sender verification|challenge[ /-]response"
    r"|to complete (the )?verification of your (e-?mail|message)|boxbe|spam ?arrest"
    r"|confirm(ation)? (request|required) for (your )?(e-?mail|message|mail)|please confirm your message",
    re.IGNORECASE,
)
_VIRUS_SUBJECT = re.compile(
    r"virus (found|detected|alert|warning|notif|infect|in (your|mail|a message))"
    r"|(found|detected|contain\w*|has) (a |an )?"
    r"(virus|infect)|infected (e-?mail|message|attach|file)|banned (file|content|attach)|antigen found|scanmail"
    r"|(content|attachment) (violation|blocked|removed)|вирус (обнаружен|найден)|обнаружен вирус"
    r"|virus (gefunden|entdeckt)",
    re.IGNORECASE,
)
_VIRUS_AUTHOR = re.compile(
    r"virus|mail(scan|sweep|guard|security|gateway|marshal)|amavis|antigen|interscan|content-?filter", re.IGNORECASE
)
_CARD_SUBJECT = re.compile(
    r"(e-?card|greeting card|greeting|postcard|post card) "
    r"(for you|from|is waiting|has been|has arrived|was (sent|picked|read))"
    r"|(sent|send|received|picked up|read|viewed|waiting)\b.{0,30} (e-?card|greeting card|postcard|virtual card)\b"
    r"|(вам|ваша) (прислали )?открытк",
    re.IGNORECASE,
)
_CARD_AUTHOR = re.compile(r"card|greeting|postcard|открыт", re.IGNORECASE)
_LISTS = ("list-id", "list-post", "x-mailing-list", "x-beenthere")
"""Fields of mailing lists, where people talk of automatic replies."""
_AUTOMATIC = (
    "x-autoreply",
    "x-autorespond",
    "x-auto-reply",
    "x-autoresponse",
    "x-auto-response-suppress",
    "x-mail-autoreply",
)


class FormalCheck:
    """Recognises automatic replies."""

    name = "formal"

    def inspect(self, view: MailView, notes: Notes) -> None:
        """Fill `notes.formal`, and add the sign that explains it."""
        kind, seen = recognise(view)
        if kind:
            notes.formal = kind
            notes.sign(Method.HEADERS, "formal", f"An automatic reply, {kind}: {seen}", 0.0)


def recognise(view: MailView) -> tuple[str, str]:
    """Return the kind of automatic reply and what told it; ("", "") when the message is none."""
    kind = _by_structure(view)
    if kind:
        return kind, "it is built as a report"
    reply = _Reply(view)
    for ask in (_as_bounce, _as_virus_notice, _as_challenge, _as_vacation, _as_card_notice):
        kind, seen = ask(reply)
        if kind:
            return kind, seen
    return "", ""


def _by_structure(view: MailView) -> str:
    """Return the kind of a report (RFC 3464, RFC 8098, RFC 5965) that stands at the top of the message."""
    root = view.message.root
    types = [root.content_type, *(part.content_type for part in root.children)]
    declared = root.parameters.get("report-type", "").lower() if root.content_type == "multipart/report" else ""
    if declared == "delivery-status" or "message/delivery-status" in types or "message/global-delivery-status" in types:
        return BOUNCE
    if declared == "disposition-notification" or "message/disposition-notification" in types:
        return RECEIPT
    if declared == "feedback-report" or "message/feedback-report" in types:
        return COMPLAINT
    return ""


class _Reply:
    """What tells automatic replies from other mail."""

    def __init__(self, view: MailView) -> None:
        self.view = view
        self.names = view.by_name.keys()
        field = view.first("from")
        boxes = parse_mailboxes(field.raw) if field else ()
        self.address = boxes[0].address or boxes[0].display if boxes else ""
        self.display = (boxes[0].display or boxes[0].comment) if boxes else ""
        self.subject = view.subject[:SUBJECT_LIMIT]
        paths = [each.raw.strip() for each in view.by_name.get("return-path", ())]
        self.is_null_sender = b"<>" in paths or (not view.options.sender and bool(view.options.recipients))
        self.is_daemon = (
            bool(_DAEMON.match(self.address) or _DAEMON_NAME.search(self.display))
            or not self.address.strip("<> ")
            or any(b"MAILER-DAEMON" in path.upper() for path in paths)
        )
        self.is_office = self.is_daemon or bool(_OFFICE.match(self.address))
        submitted = view.first("auto-submitted")
        self.submitted = submitted.text.lower().partition(";")[0].strip() if submitted else ""
        precedence = view.first("precedence")
        self.is_automatic = (
            self.submitted.startswith("auto-replied")
            or not self.names.isdisjoint(_AUTOMATIC)
            or (precedence is not None and precedence.text.lower().strip() in {"auto_reply", "auto-reply"})
        )

    @property
    def opening(self) -> str:
        """The beginning of the text."""
        return self.view.body[:BODY_LIMIT]


def _as_bounce(reply: _Reply) -> tuple[str, str]:
    if "x-failed-recipients" in reply.names and (reply.is_office or reply.is_null_sender):
        return BOUNCE, "it names failed recipients"
    answered = _ANSWERED.match(reply.subject) is not None and not reply.is_daemon
    is_system = reply.is_office or reply.is_null_sender
    if is_system and not answered and _BOUNCE_SUBJECT.search(reply.subject):
        return BOUNCE, f"{reply.address} writes {reply.subject}"
    if (reply.is_daemon or (reply.is_office and reply.is_null_sender)) and _BOUNCE_BODY.search(reply.opening):
        return BOUNCE, f"{reply.address} writes that a message was not delivered"
    return "", ""


def _as_virus_notice(reply: _Reply) -> tuple[str, str]:
    automatic = reply.is_office or reply.is_null_sender or reply.is_automatic
    if (automatic or _VIRUS_AUTHOR.search(f"{reply.address} {reply.display}")) and _VIRUS_SUBJECT.search(reply.subject):
        return VIRUS, reply.subject
    return "", ""


def _as_challenge(reply: _Reply) -> tuple[str, str]:
    if (reply.is_automatic or reply.is_null_sender) and _CHALLENGE.search(reply.subject):
        return CHALLENGE, reply.subject
    return "", ""


def _as_vacation(reply: _Reply) -> tuple[str, str]:
    if reply.submitted.startswith("auto-replied"):
        return VACATION, "Auto-Submitted says that it is an automatic reply"
    answers = "in-reply-to" in reply.names and not _ANSWERED.match(reply.subject) and reply.names.isdisjoint(_LISTS)
    if (reply.is_automatic or reply.is_null_sender or answers) and _VACATION_SUBJECT.search(reply.subject):
        return VACATION, reply.subject
    replies = "x-autoreply" in reply.names or "x-autorespond" in reply.names
    return (VACATION, "a field says that it is an automatic reply") if replies and reply.is_null_sender else ("", "")


def _as_card_notice(reply: _Reply) -> tuple[str, str]:
    if _CARD_AUTHOR.search(f"{reply.address} {reply.display}") and _CARD_SUBJECT.search(reply.subject):
        return CARD, reply.subject
    return "", ""
