# ruff: noqa: RUF001 - Russian is written in Cyrillic
"""The words of recipients' pages in the languages of the product's own texts. Pure.

Pages and the master speak English; `Words` says it in the visitor's language. What is not in the table is said in
English.
"""

from typing import Final

from gatepost.config.grouping import LANGUAGES

_RUSSIAN: Final[dict[str, str]] = {
    "Your quarantine": "Ваш карантин",
    "Messages kept for": "Письма, задержанные для",
    "Subject": "Тема",
    "From": "От кого",
    "Received": "Получено",
    "Rating": "Оценка",
    "Size": "Размер",
    "What to do": "Действия",
    "(no subject)": "(без темы)",
    "of 100": "из 100",
    "released": "доставлено",
    "Look at it": "Посмотреть",
    "Release": "Получить письмо",
    "Release this message to you?": "Доставить вам это письмо?",
    "Let mail from this sender through to you?": "Пропускать к вам письма этого отправителя?",
    "Keep mail from this sender away from you?": "Не пропускать к вам письма этого отправителя?",
    "Open the page of all messages that are kept for you?": "Открыть страницу всех писем, задержанных для вас?",
    "Allow the sender": "Разрешить отправителя",
    "Block the sender": "Заблокировать отправителя",
    "Open the page": "Открыть страницу",
    "It is spam": "Это спам",
    "It is wanted": "Это не спам",
    "Close the page": "Закрыть страницу",
    "Older": "Более старые",
    "To the list": "К списку",
    "No messages are kept for you.": "Для вас нет задержанных писем.",
    "As shown": "Как выглядит",
    "Text": "Текст",
    "Source": "Исходный текст",
    "The message, shown harmlessly": "Письмо в безопасном виде",
    "Nothing happens before you press the button.": "Пока вы не нажмёте кнопку, ничего не произойдёт.",
    "Ask for a link": "Запросить ссылку",
    "Send me a new link": "Прислать новую ссылку",
    "Your address": "Ваш адрес",
    "This page opens by a link that is sent to you by mail.": (
        "Эта страница открывается по ссылке, которую вам присылают по почте."
    ),
    "This link was used before: each works once.": "Эта ссылка уже использована: каждая действует один раз.",
    "This link has ended.": "Срок действия этой ссылки истёк.",
    "This message is no longer kept for you.": "Это письмо больше не хранится для вас.",
    "If mail is kept for this address, a link is on its way to it. It can take a few minutes.": (
        "Если для этого адреса есть задержанные письма, ссылка уже отправлена на него. "
        "Это может занять несколько минут."
    ),
    "The message is checked for malware once more and then delivered to you.": (
        "Письмо ещё раз проверяется на вредоносный код и затем будет доставлено вам."
    ),
    "Mail from this sender comes through to you from now on, where it can be proved to be theirs.": (
        "Письма этого отправителя теперь будут доходить до вас, если подтверждено, что они действительно от него."
    ),
    "Mail from this sender is kept away from you from now on.": (
        "Письма этого отправителя больше не будут доходить до вас."
    ),
    "The message was reported as spam.": "О письме сообщено как о спаме.",
    "The message was reported as wanted.": "О письме сообщено, что это не спам.",
    "The page is closed.": "Страница закрыта.",
    "There is no such page.": "Такой страницы нет.",
    "This cannot be understood.": "Запрос непонятен.",
    "Something went wrong here. Try again later.": "Произошла ошибка. Попробуйте позже.",
    "The form is no longer valid. Load the page anew and try again.": (
        "Форма устарела. Обновите страницу и попробуйте снова."
    ),
    "this link is not valid": "Эта ссылка недействительна.",
    "the page was open for too long: use a link of a newer mail, or ask for one": (
        "Страница была открыта слишком долго: воспользуйтесь ссылкой из нового письма или запросите её."
    ),
    "this message is no longer kept for you": "Это письмо больше не хранится для вас.",
    "this link was used before: each works once": "Эта ссылка уже использована: каждая действует один раз.",
    "this sender has no address that could be put on a list": (
        "У этого отправителя нет адреса, который можно внести в список."
    ),
}
_TABLES: Final[dict[str, dict[str, str]]] = {"en": {}, "ru": _RUSSIAN}


class Words:
    """What pages say, in one language: `t("Release")`."""

    def __init__(self, language: str) -> None:
        self.language = language
        self._table = _TABLES[language]

    def __call__(self, english: str) -> str:
        """Return it in the language, or as it is."""
        return self._table.get(english, english)


def choose_language(accepted: str) -> str:
    """Return the first language of ours that a browser names (Accept-Language, RFC 9110 §12.5.4), else English."""
    ranked: list[tuple[float, str]] = []
    for part in accepted[:500].split(",")[:20]:
        name, _, quality = part.partition(";")
        language = name.strip().lower().partition("-")[0]
        if language in LANGUAGES:
            try:
                rank = float(quality.strip().removeprefix("q=")) if quality else 1.0
            except ValueError:
                rank = 0.0
            ranked.append((rank, language))
    best = max(ranked, key=lambda each: each[0], default=(0.0, LANGUAGES[0]))
    return best[1] if best[0] > 0 else LANGUAGES[0]
