"""Listeners that could never work are errors of the configuration, each at its own line."""

import pytest

LISTENER = '[[listener]]\naddress = "127.0.0.1:25"\n'


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ('tls = "implicit"', "tls"),
        ('tls = "required"', "tls"),
        ('sign_in = "optional"', "sign_in"),
        ("proxy_protocol = true", "proxy_protocol"),
        ("binarymime = true\nchunking = false", "binarymime"),
    ],
)
def test_what_it_lacks_is_named(load_toml, text, name):
    loaded = load_toml(LISTENER + LISTENER.replace("25", "26") + text)
    assert loaded.config is None
    problems = [problem for problem in loaded.problems if problem.section == "listener"]
    assert {problem.name for problem in problems} == {name}
    assert all("127.0.0.1:26" in str(problem) for problem in problems)


def test_without_a_certificate_starttls_is_merely_not_offered(load_toml):
    assert load_toml(LISTENER).config is not None
