"""What metrics tell of the host: room on disks, ends of certificates. Read when asked, on a thread."""

import os
from pathlib import Path

from gatepost.config.schema import Config
from gatepost.control.metrics import HostFacts
from gatepost.doctor.certificates import named_certificates


def read_host_facts(config: Config) -> HostFacts:
    """Return what can be found out; what cannot be read is left out."""
    places = {"queue": config.path.queue_path, "state": config.relay.state_path}
    log = config.options.log_filename
    if log not in {"", "syslog"}:
        places["log"] = str(Path(log).parent)
    disks: dict[str, tuple[int, int]] = {}
    for name, place in places.items():
        try:
            room = os.statvfs(place)
        except OSError:
            continue
        disks[name] = room.f_bavail * room.f_frsize, room.f_blocks * room.f_frsize
    return HostFacts(disks, _ends(config))


def _ends(config: Config) -> dict[str, float]:
    """Return when our certificates end."""
    files = dict.fromkeys(file for file, _ in named_certificates(config) if file)
    if not files:
        return {}
    from cryptography import x509  # noqa: PLC0415 - only where there is a certificate

    ends: dict[str, float] = {}
    for file in files:
        try:
            certificate = x509.load_pem_x509_certificates(Path(file).read_bytes())[0]
        except (OSError, ValueError):
            continue
        ends[file] = certificate.not_valid_after_utc.timestamp()
    return ends
