"""Settings files of client programs: three forms, one meaning; mistakes are told with file, line and how to mend them."""

from pathlib import Path

import msgspec
import pytest

from gatepost.client.remote import RemoteTls
from gatepost.client.settings import PARAMETERS, ClientSettings, parse_settings, read_settings
from gatepost.config.doors import OnError

ROOT = Path(__file__).resolve().parents[3]


def settings_of(text: str) -> ClientSettings:
    read = parse_settings(text, "client.conf")
    assert read.settings is not None, read.problems
    return read.settings


def errors_of(text: str) -> list[str]:
    read = parse_settings(text, "client.conf")
    assert read.settings is None
    return [str(each) for each in read.errors]


def test_the_table_has_every_field_once_and_the_manual_has_them_all() -> None:
    fields = [each.field for each in PARAMETERS]
    assert fields == [field.name for field in msgspec.structs.fields(ClientSettings)]
    manual = (ROOT / "docs/manual/clients.md").read_text()
    for each in PARAMETERS:
        assert f"| `{each.field}` |" in manual, each.field
        for name in each.names:
            assert f"`{name}`" in manual, name


def test_a_file_of_the_second_generation() -> None:
    settings = settings_of(
        "# filter client\n"
        "SpamtestAddr tcp:127.0.0.1:2255\nConnectTimeout 10000\nRWTimeout 500\nClientAddr local:/var/run/m.sock\n"
        "OnError ignore\nFilteringSizeLimit 500\nDefaultDomain x.example\nLogFacility local3\nLogLevel debug\n"
        "InProtocolLMTP Yes\nOutProtocolLMTP No\nOriginalQueue /var/qmail/bin/q\nMessageStoreMem 50\nTempDir /tmp\n"
        "LoopHeader X-Loop\nAllTransports yes\nPidFile /run/m.pid\n"
    )
    assert settings == ClientSettings(
        client_connect_to=("tcp:127.0.0.1:2255",),
        client_connect_timeout=10.0,
        client_data_timeout=0.5,
        send_mail_address="unix:/var/run/m.sock",
        client_on_error=OnError.ACCEPT,
        client_filtering_size_limit=500 * 1024,
        client_default_domain="x.example",
        log_facility="local3",
        log_level="debug",
        pipe_in_lmtp=True,
        q_mail_original_queue="/var/qmail/bin/q",
        client_message_store_mem=50 * 1024,
        client_temp_dir="/tmp",
        loop_header="X-Loop",
        all_transports=True,
        pid_file="/run/m.pid",
    )


def test_a_file_of_the_third_generation() -> None:
    settings = settings_of(
        "ServerListen tcp:0.0.0.0:2277\nLogLevel 4\nClientConnectTo unix:/run/gw.sock\nClientConnectTimeout 40\n"
        "ClientDataTimeout 30\nClientOnError reject\nSendMailAddress unix:/run/m.sock\nPipeOutgoingAddr "
        "/usr/sbin/sendmail -G -i\nPipeOutDataTimeout 90\nPipeMultipleMessagesAllowed no\nPipeUseXForward yes\n"
        "Pipe8BitHack yes\nPipeBufferedIO yes\nPipeListen tcp:127.0.0.1:9027\nQMailOriginalQueue /q\n"
    )
    assert settings == ClientSettings(
        client_connect_to=("unix:/run/gw.sock",),
        client_connect_timeout=40.0,
        client_data_timeout=30.0,
        log_level="debug",
        client_on_error=OnError.REJECT,
        send_mail_address="unix:/run/m.sock",
        pipe_outgoing_addr="/usr/sbin/sendmail -G -i",
        pipe_out_data_timeout=90.0,
        pipe_multiple_messages_allowed=False,
        pipe_use_x_forward=True,
        pipe_8bit_hack=True,
        pipe_buffered_io=True,
        pipe_listen="tcp:127.0.0.1:9027",
        q_mail_original_queue="/q",
    )


def test_a_file_in_toml() -> None:
    settings = settings_of(
        'client_connect_to = ["tcp:filter.x.example:2277", "unix:/run/f"]\nclient_connect_timeout = "500 ms"\n'
        "client_data_timeout = 2.5\nclient_tls = true\nclient_tls_ca = '/ca.pem'\nclient_filtering_size_limit = '2 MiB'\n"
        "send_mail_socket_mode = '600'\nlog_level = 'error'\nlog_facility = 'MAIL'\n"
    )
    assert settings.remote.addresses == ("tcp:filter.x.example:2277", "unix:/run/f")
    assert settings.remote.connect_timeout_s == 0.5
    assert settings.remote.data_timeout_s == 2.5
    assert settings.remote.tls == RemoteTls("/ca.pem")
    assert settings.client_filtering_size_limit == 2 * 1024 * 1024
    assert settings.send_mail_socket_mode == 0o600
    assert (settings.log_level, settings.log_facility) == ("error", "mail")


@pytest.mark.parametrize(
    ("more", "limit"),
    [
        ("LoopHeader X-Seen\n", 0),
        ("LoopHeader X-Seen\nFilteringSizeLimit 7\n", 7 * 1024),
        ("ClientAddr local:/s\n", 512_000),
    ],
    ids=["communigate", "set", "milter"],
)
def test_only_the_module_of_communigate_had_no_size_limit(more: str, limit: int) -> None:
    read = parse_settings(f"SpamtestAddr tcp:127.0.0.1:2255\n{more}", "old.conf")
    assert read.settings is not None
    assert read.settings.client_filtering_size_limit == limit


def test_an_empty_file_means_the_defaults() -> None:
    assert settings_of("") == settings_of("# nothing\n") == ClientSettings()
    assert ClientSettings().remote.tls is None


def test_what_belongs_to_others_in_an_old_file_is_a_warning_and_in_toml_an_error() -> None:
    read = parse_settings("ClientOnError accept\nServerMaxFilters 10\n?\n", "f")
    assert read.settings is not None
    assert [str(each) for each in read.problems] == [
        "f:3: warning: is not `keyword value`, and ignored",
        "f:2: warning: ServerMaxFilters: is no parameter of client programs. docs/manual/clients.md lists them all",
    ]
    assert errors_of("client_on_eror = 'accept'\n") == [
        "client.conf:1: error: client_on_eror: is no parameter of client programs. Did you mean client_on_error?"
    ]
    assert "client.on_error: is no parameter" in errors_of("[client]\non_error = 'accept'\n")[0]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("ClientConnectTo tcp:host\n", "1: error: ClientConnectTo: 'tcp:host' is not tcp:host:port"),
        ("ClientConnectTo tcp:h:70000\n", "a port is 1…65535"),
        ("ClientConnectTo\n", "takes at least one address"),
        ("\nOnError=maybe\nRWTimeout 1\n", "2: error: OnError: 'maybe' is none of accept, tempfail, reject"),
        ("RWTimeout soon\nLoopHeader X\n", "'soon' is not a number"),
        ("RWTimeout 10\nLoopHeader X\n", "not within 0.1…3600 s"),
        ("ClientOnError accept\nClientFilteringSizeLimit 9999999999\n", "more than 1 GiB"),
        ("ClientOnError accept\nLogFacility kern\n", "'kern' is none of mail"),
        ("ClientOnError accept\nLogLevel 6\n", "'6' is none of error, info, debug"),
        ("LoopHeader X Y\n", "is not the name of a header field"),
        ("LoopHeader\n", "must not be empty"),
        ("client_connections = 0\n", "is not within 1…10000"),
        ("client_connections = [1]\n", "takes one value, not a list"),
        ("client_tls = 1979-05-27\n", "takes a text, a number, or true or false"),
        ("client_temp_dir = 'tmp'\n", "a path begins with /"),
        ("send_mail_socket_mode = '888'\n", "no octal mode"),
        ("client_default_domain = '@x'\n", "is not a domain"),
        ("log_level = 'info'\nLogLevel = 'info'\n", "2: error: LogLevel: is given twice"),
        ("not a settings file at all", "error: not TOML"),
    ],
)
def test_a_mistake_is_told_with_its_line_and_leaves_no_settings(text: str, said: str) -> None:
    assert said in errors_of(text)[0]


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    missing = read_settings(tmp_path / "none")
    assert missing.settings is None
    assert "none: error: cannot be read: No such file or directory" in str(missing.problems[0])
    large = tmp_path / "large"
    large.write_bytes(b"#" * 1024 * 1025)
    assert read_settings(large).settings is None
    large.write_text("client_on_error = 'accept'")
    assert read_settings(large).settings == ClientSettings(client_on_error=OnError.ACCEPT)
