"""Hosts for tests of the package, in namespaces of their own: processes, mounts, network (loopback only), host name.

`DebianHost` is a fresh debootstrap folder that boots with systemd as its first process and a branch of control groups: minutes.
`LaidOver` is this very system without systemd, and without its changes reaching any disk: what is written goes to memory, and is all
that `files` looks at. Nothing of the machine outside changes. Both need root. Commands inside run by nsenter.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

from tests.support.feeds import Feed
from tests.support.licences import PRIVATE, licence
from tests.support.waiting import wait_for

from gatepost.feeds.keys import build_public_text

KEPT = ("etc/gatepost", "var/lib/gatepost", "var/log/gatepost")
"""What removal leaves behind."""
ACCOUNTS = {
    f"etc/{name}{more}"
    for name in ("passwd", "group", "shadow", "gshadow", "subuid", "subgid", ".pwd.lock")
    for more in ("", "-")
}
LISTENS = "the next hop listens"
NEXT_HOP = f"""
import socketserver
END = b".\\r\\n"

class Hop(socketserver.StreamRequestHandler):
    def say(self, line):
        self.wfile.write(line.encode() + b"\\r\\n")

    def handle(self):
        self.say("220 next hop")
        for command in self.rfile:
            word = command.strip().upper()
            if word == b"DATA":
                self.say("354 go on")
                print(b"".join(iter(lambda: self.rfile.readline() or END, END)).decode(errors="replace"))
                self.say("250 taken")
            elif word == b"QUIT":
                self.say("221 bye")
                return
            else:
                self.say("250 yes")

socketserver.ThreadingTCPServer.allow_reuse_address = True
with socketserver.ThreadingTCPServer(("127.0.0.1", 1025), Hop) as server:
    print("{LISTENS}")
    server.serve_forever()
"""
"""Debian's own Python, of whatever release, prints each mail it gets."""
SEND = "import smtplib, sys; smtplib.SMTP('127.0.0.1', 25, timeout=60).sendmail('a@example.net', 'user@example.org', sys.argv[1])"
STORES = (("backup", "list", "--json"), ("archive", "list", "--incoming", "--json"))
"""Commands that tell what an upgrade has to keep."""
LOOK = """
import os
for each in {*filter(str.isdigit, os.listdir("/proc"))} - {str(os.getpid())}:
    try:
        command = open(f'/proc/{each}/cmdline').read()
        status = open(f'/proc/{each}/status').read()
    except OSError:
        continue
    if '/usr/lib/gatepost/' in command:
        print(*(word for line in status.splitlines() if line[:4] in ('Uid:', 'Gid:') for word in line.split()[1:]))
"""
"""Prints the user and group numbers of the gateway's processes."""
BOOT = r"""
set -e
root="$1" group="$2"
mount --make-rprivate /
mkdir -p "$root/sys" "$root/proc"
mount -t cgroup2 cgroup2 "$root/mnt"
mkdir -p "$root/mnt/$group"
echo $$ >"$root/mnt/$group/cgroup.procs"
umount "$root/mnt"
exec unshare --pid --uts --ipc --net --cgroup --fork --kill-child sh -c "$3" sh "$root"
"""
INSIDE = r"""
set -e
cd /
mount --bind "$1" "$1"
cd "$1"
mount -t proc proc proc
mount --bind proc/sys proc/sys
mount -o remount,ro,bind proc/sys
mount -t sysfs -o ro sysfs sys
mountpoint -q sys/fs/cgroup || mount -t tmpfs tmpfs sys/fs/cgroup
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -t tmpfs -o mode=755 tmpfs dev
for device in null zero full random urandom tty; do touch "dev/$device"; mount --bind "/dev/$device" "dev/$device"; done
mkdir dev/pts dev/shm
mount -t devpts -o newinstance,ptmxmode=0666 devpts dev/pts
mount -t tmpfs -o mode=1777 tmpfs dev/shm
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
for number in 0 1 2; do ln -s "fd/$number" "dev/$(echo stdin stdout stderr | cut -d' ' -f$((number + 1)))"; done
mount -t tmpfs -o mode=755 tmpfs run
mount -t tmpfs -o mode=1777 tmpfs tmp
pivot_root . mnt
umount -l /mnt
hostname mx
exec env -i container=gatepost PATH=/usr/sbin:/usr/bin:/sbin:/bin /lib/systemd/systemd --system \
    --unit=multi-user.target --log-target=journal --show-status=0
"""
LAY = r"""
set -e
place="$1" borrowed="$2"
mount --make-rprivate /
mount -t tmpfs -o mode=755 tmpfs "$place"
mkdir "$place/changes" "$place/work" "$place/root"
mount -t overlay -o "lowerdir=/,upperdir=$place/changes,workdir=$place/work" overlay "$place/root"
cd "$place/root"
mount -t proc proc proc
mount --bind proc/sys proc/sys
mount -o remount,ro,bind proc/sys
mount --rbind /dev dev
mount -t tmpfs -o mode=755 tmpfs run
mount -t tmpfs -o mode=1777 tmpfs tmp
mount -t tmpfs -o mode=755 tmpfs mnt
mkdir mnt/changes mnt/borrowed mnt/old
mount --bind "$place/changes" mnt/changes
mount --bind "$borrowed" mnt/borrowed
mount -o remount,ro,bind mnt/borrowed
hostname mx
pivot_root . mnt/old
umount -l /mnt/old
# Whether services may be started is the test's business, and not this machine's.
rm -f /usr/sbin/policy-rc.d
exec env -i /usr/bin/python3 -I -c '
import fcntl, os, signal, socket, struct
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
with socket.socket() as any:
    fcntl.ioctl(any, 0x8914, struct.pack("16sh14x", b"lo", 0x41))
os.write(1, b"up\n")
while True:
    signal.pause()
'
"""
"""The first process takes up those whose parents end, and has loopback switched on (SIOCSIFFLAGS, IFF_UP | IFF_RUNNING)."""
BORROWED = "/mnt/borrowed"
MASKED = (
    "systemd-sysctl.service", "systemd-modules-load.service", "systemd-remount-fs.service", "dev-hugepages.mount",
    "sys-kernel-debug.mount", "sys-kernel-tracing.mount", "sys-fs-fuse-connections.mount", "systemd-udevd.service",
    "systemd-timesyncd.service", "systemd-journald-audit.socket", "apt-daily.timer", "apt-daily-upgrade.timer",
)  # fmt: skip
"""Units that would reach for the machine outside, or for the network."""
CHANGING = (
    "proc",
    "sys",
    "dev",
    "run",
    "tmp",
    "mnt",
    "var/log/journal",
    "var/lib/dpkg",
    "var/cache",
    "var/lib/systemd",
    "var/lib/logrotate",
)
"""Not compared: what runs, and what dpkg, debconf and systemd keep for themselves."""


class Host:
    """What both have in common, from `boot` to `close`."""

    root: Path
    """Where its files are seen from outside."""
    compared: Path
    """What of them `files` looks at."""
    _booted: subprocess.Popen[bytes] | None = None

    @property
    def first(self) -> str:
        """The number of the first process inside, as it is outside; "" when there is none."""
        assert self._booted is not None
        children = Path(f"/proc/{self._booted.pid}/task/{self._booted.pid}/children")
        return next(iter(children.read_text().split()), "") if children.exists() else ""

    def inside(self, *words: str, **more: str) -> list[str]:
        """Return what has to be run outside for a command to be run inside; `more` is added to its environment."""
        environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "LC_ALL": "C.UTF-8", **more}
        return ["nsenter", "--target", self.first, "--all", "--root", "--wd=/", "env", "-i",
                *(f"{name}={value}" for name, value in environment.items()), *words]  # fmt: skip

    def run(self, *words: str, timeout_s: float = 120, **more: str) -> "subprocess.CompletedProcess[str]":
        """Run a command inside; `more` is added to its environment."""
        if not self.first:
            return subprocess.CompletedProcess(words, 1, "", "not booted")
        return subprocess.run(
            self.inside(*words, **more),
            capture_output=True, text=True, timeout=timeout_s, check=False, stdin=subprocess.DEVNULL,
        )  # fmt: skip

    def files(self, below: str = "") -> dict[str, bytes]:
        """Return {path: what identifies its content} of everything that is compared."""
        found: dict[str, bytes] = {}
        for directory, names, files in os.walk(self.compared / below):
            here = Path(directory).relative_to(self.compared)
            names[:] = [name for name in names if str(here / name) not in CHANGING and name != "__pycache__"]
            for name in [*names, *files]:
                path = self.compared / here / name
                found[str(here / name)] = (
                    bytes(path.readlink()) if path.is_symlink() else path.read_bytes() if path.is_file() else b""
                )
        return found


class LaidOver(Host):
    """This system with a layer of its own over it. `borrowed` is seen at BORROWED inside, whoever may read it outside."""

    def __init__(self, place: Path, borrowed: Path) -> None:
        self._place, self._borrowed = place, borrowed

    def boot(self) -> bool:
        """Return whether there is such a host: some containers let even root mount nothing."""
        command = ["unshare", "--mount", "--pid", "--uts", "--ipc", "--net", "--fork", "--kill-child",
                   "sh", "-c", LAY, "sh", str(self._place), str(self._borrowed)]  # fmt: skip
        self._booted = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        assert self._booted.stdout is not None
        if self._booted.stdout.readline() != b"up\n":
            return False
        self.root = Path(f"/proc/{self.first}/root")
        self.compared = self.root / "mnt/changes"
        return True

    def close(self) -> str:
        """End all of it; what it had is gone with its namespace. Return what it complained about."""
        assert self._booted is not None
        self._booted.kill()
        told: str = self._booted.communicate(timeout=60)[1].decode(errors="replace")
        return told

    def changed(self) -> set[str]:
        """Return the files that are there and were not, or are other ones than they were."""
        return {path for path in self.files() if not (self.compared / path).is_dir() and not self._gone(path)}

    def _gone(self, path: str) -> bool:
        """Whether it stands for a file of the system that was deleted."""
        return (self.compared / path).is_char_device()


class DebianHost(Host):
    """One such host."""

    def __init__(self, archive: Path, root: Path) -> None:
        self.root = self.compared = root
        self._group = f"gatepost-{os.getpid()}"
        root.mkdir()
        subprocess.run(["tar", "-C", root, "-xf", archive], check=True, timeout=120)
        for unit in MASKED:
            (root / "etc/systemd/system" / unit).symlink_to("/dev/null")

    def boot(self) -> None:
        """Return when systemd says that the host is up."""
        command = ["unshare", "--mount", "sh", "-c", BOOT, "sh", str(self.root), self._group, INSIDE]
        self._booted = subprocess.Popen(command, stdin=subprocess.DEVNULL)
        wait_for(lambda: self.run("systemctl", "is-system-running").stdout.strip() in {"running", "degraded"}, "boot")
        self.run("ip", "link", "set", "lo", "up")

    def close(self) -> None:
        """End all of it, and take its files away."""
        if self._booted is not None:
            self._booted.kill()
            self._booted.wait()
            self._drop_group()
        wait_for(self._removed, "the host's files to be free")

    def _removed(self) -> bool:
        shutil.rmtree(self.root, ignore_errors=True)
        return not self.root.exists()

    def _drop_group(self) -> None:
        """Control groups outlive their mount: an empty branch would stay until the machine's next start."""
        with tempfile.TemporaryDirectory() as place:
            text = (
                'mount -t cgroup2 cgroup2 "$1" && for round in 1 2 3 4 5 6 7 8 9; do '
                'find "$1/$2" -depth -type d -exec rmdir {} + 2>/dev/null && break; sleep 0.2; done'
            )
            with contextlib.suppress(subprocess.TimeoutExpired):
                subprocess.run(
                    ["unshare", "--mount", "sh", "-c", text, "sh", place, self._group], check=False, timeout=30
                )


class Site:
    """A host with its feed, its packages, and mail that comes and goes."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self._next_hop: subprocess.Popen[bytes] | None = None

    def prepare(self, packages: list[Path]) -> None:
        for package in packages:
            (self.host.root / "root" / package.name).write_bytes(package.read_bytes())
        self.feed = Feed(self.host.root / "srv/feed")
        self.feed.offer(7, b"an object that only the databases of the feed know")
        (self.host.root / "root/customer.key").write_bytes(licence("17"))

    def dpkg(self, *words: str) -> str:
        """Return what it said."""
        done = self.host.run("dpkg", *words, DEBIAN_FRONTEND="noninteractive", timeout_s=300)
        assert done.returncode == 0, done.stderr + done.stdout
        return done.stdout + done.stderr

    def package(self, version: str) -> str:
        """Return the path inside."""
        (package,) = (self.host.root / "root").glob(f"gatepost_{version}_*.deb")
        return f"/root/{package.name}"

    def install(self, version: str) -> str:
        """Return what was said."""
        return self.dpkg("--force-unsafe-io", "-i", self.package(version))

    def gatepost(self, *words: str) -> str:
        done = self.host.run("gatepost", *words)
        assert done.returncode == 0, done.stderr + done.stdout
        return done.stdout

    def send(self, content: bytes) -> None:
        done = self.host.run("python3", "-c", SEND, content.decode())
        assert done.returncode == 0, done.stderr

    def begin_next_hop(self) -> None:
        before = self.came().count(LISTENS)
        with (self.host.root / "root/came").open("ab") as came:
            command = self.host.inside("python3", "-c", NEXT_HOP, PYTHONUNBUFFERED="1")
            self._next_hop = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=came)
        wait_for(lambda: self.came().count(LISTENS) > before, "the next hop to listen", 120)

    def end_next_hop(self) -> None:
        if self._next_hop is not None:
            # What listens is the child of nsenter, which is in the other namespace of processes.
            (child,) = Path(f"/proc/{self._next_hop.pid}/task/{self._next_hop.pid}/children").read_text().split()
            os.kill(int(child), signal.SIGKILL)
            self._next_hop.wait(60)
            self._next_hop = None

    def reap(self) -> None:
        """The host is gone, and its next hop with it."""
        if self._next_hop is not None:
            self._next_hop.wait(60)

    def came(self) -> str:
        file = self.host.root / "root/came"
        return file.read_text(errors="replace") if file.exists() else ""

    def users(self) -> set[tuple[str, ...]]:
        """Return the user and group numbers (real, effective, saved, of files) of all processes of the gateway."""
        shown = self.host.run("python3", "-c", LOOK)
        assert shown.returncode == 0, shown.stderr
        return {tuple(line.split()) for line in shown.stdout.splitlines()}

    def account(self) -> str:
        """Return the account's line of passwd, "" when there is none."""
        return self.host.run("getent", "passwd", "gatepost").stdout

    def own_users(self) -> set[tuple[str, ...]]:
        """Return what `users` has to be while a gateway runs: the account and its group, and nobody else."""
        _, _, user, group, *_ = self.account().split(":")
        assert "0" not in {user, group}
        return {(*[user] * 4, *[group] * 4)}


def write_answers(feed: Feed, *, key: bool) -> str:
    """Return a file of answers for a host with a licence key, or without; the feed lies in its /srv/feed."""
    lines = {
        "hostname": "mx.example.org", "protected_domains": "example.org", "postmaster": "postmaster@example.org",
        "listen": "127.0.0.1:25", "local_networks": "10.0.0.0/8", "forward_host": "[127.0.0.1:1025]", "licence_mode": "key",
        "licence_issuers": build_public_text(PRIVATE.public_key()), "update_source": "/srv/feed",
        "trust_root": "/srv/feed/metadata/1.root.json", "trusted_keys": feed.public, "console_account": "admin",
        "console_password": "a long enough one", **({"licence_key": "/root/customer.key"} if key else {}),
    }  # fmt: skip
    return "".join(f'{name} = "{value}"\n' for name, value in lines.items()) + "uds_consent = false\n"
