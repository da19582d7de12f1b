"""Sources, proxies and what may be logged of them: how a fetcher reads its settings."""

import pytest

from gatepost.feeds.fetching import choose_proxy, hide_password, normalise_source


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("/media/usb/", "file:///media/usb"),
        ("/with space", "file:///with%20space"),
        ("HTTP://host:8080/feed/", "http://host:8080/feed"),
        ("ftp://user:pass@host/feed", "ftp://user:pass@host/feed"),
        ("file:///srv/feed", "file:///srv/feed"),
    ],
)
def test_a_source_is_a_url_or_a_directory(text: str, url: str) -> None:
    assert normalise_source(text) == url


@pytest.mark.parametrize(
    "text",
    [
        "",
        "host/feed",
        "gopher://host",
        "http://",
        "http://host:port/",
        "http://[::1/",
        "ftp://host/%0d%0aDELE",
        "file://x",
    ],
)
def test_what_is_neither_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        normalise_source(text)


def test_a_password_is_not_in_the_message_about_a_bad_source() -> None:
    with pytest.raises(ValueError, match=r"user:…@host") as caught:
        normalise_source("http://user:secret@host:port/")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://u:p@h:1/x", "http://u:…@h:1/x"),
        ("http://u@h/x", "http://u@h/x"),
        ("http://h/a:b@c", "http://h/a:b@c"),
        ("ftp://u:p@q@h/x", "ftp://u:…@h/x"),
    ],
)
def test_passwords_are_not_logged(url: str, shown: str) -> None:
    assert hide_password(url) == shown


def test_the_proxy_is_the_configured_one_then_the_environments() -> None:
    environment = {"http_proxy": "http://two:2"}
    assert choose_proxy("http://one:1", environment, use=True) == "http://one:1"
    assert choose_proxy("", environment, use=True) == "http://two:2"
    assert choose_proxy("", {}, use=True) == ""
    assert choose_proxy("http://one:1", environment, use=False) == ""
    assert choose_proxy("proxy.example:3128", {}, use=True) == "proxy.example:3128"
    with pytest.raises(ValueError, match="no proxy"):
        choose_proxy("http://host:99999", {}, use=True)
