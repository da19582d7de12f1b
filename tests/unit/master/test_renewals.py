"""Certificates that were renewed and not read again."""

from pathlib import Path

import msgspec
from tests.support.certificates import Authority

from gatepost.config.default import build_default_config
from gatepost.config.load import load
from gatepost.config.schema import Config
from gatepost.doctor.finding import State
from gatepost.master.renewals import Renewals


def test_what_has_changed_since_it_came_into_force_is_told_until_a_reload(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "ca")
    first, second = authority.issue("gw.example.org"), authority.issue("gw.example.org")
    ca = tmp_path / "ca.pem"
    ca.write_bytes(authority.file.read_bytes())
    text = build_default_config(state_path=str(tmp_path / "state"), hostname="gw.example.org")
    pair = f'tls_cert = "{first.chain}"\ntls_key = "{first.key}"\n'
    file = tmp_path / "gatepost.toml"
    file.write_text(text.replace("[network]\n", f"[network]\n{pair}", 1) + f'\n[tls]\nca_file = "{ca}"\n')
    config = load(file).config
    assert isinstance(config, Config), load(file).errors
    watch = Renewals(lambda: config)

    def told() -> list[str]:
        return [each.key for each in watch.look()]

    assert told() == []
    first.chain.touch()
    assert told() == [], "the same content"
    first.chain.write_bytes(second.chain.read_bytes())
    [finding] = watch.look()
    assert (finding.key, finding.state) == (f"renewed:{first.chain}", State.WARNING)
    assert "`gatepost reload`" in finding.mend
    first.key.write_bytes(second.key.read_bytes())
    ca.write_bytes(Authority(tmp_path / "new").file.read_bytes())
    assert told() == [f"renewed:{first.chain}", f"renewed:{ca}"]
    first.chain.rename(tmp_path / "away")
    assert told() == [f"renewed:{ca}"], "that it is gone is told by another"
    (tmp_path / "away").rename(first.chain)
    config = msgspec.structs.replace(config)
    assert told() == [], "a reload has read them"
