"""A Debian host for tests of the package: a fresh debootstrap folder with systemd as its first process.

`DebianHost` unpacks the folder's archive and boots it in namespaces of its own: processes, mounts, network (loopback only), host
name, a branch of control groups. Nothing of the machine outside changes. Needs root. Commands inside run by nsenter.
"""

import contextlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from tests.support.waiting import wait_for

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
)
"""Not compared: what runs, and what dpkg, debconf and systemd keep for themselves."""


class DebianHost:
    """One such host, from `boot` to `close`."""

    def __init__(self, archive: Path, root: Path) -> None:
        self.root = root
        self._booted: subprocess.Popen[bytes] | None = None
        self._group = f"gatepost-{os.getpid()}"
        root.mkdir()
        subprocess.run(["tar", "-C", root, "-xf", archive], check=True, timeout=120)
        for unit in MASKED:
            (root / "etc/systemd/system" / unit).symlink_to("/dev/null")

    def boot(self) -> None:
        """Return when systemd says that the host is up."""
        command = ["unshare", "--mount", "sh", "-c", BOOT, "sh", self.root, self._group, INSIDE]
        self._booted = subprocess.Popen(command, stdin=subprocess.DEVNULL)
        wait_for(
            lambda: self.run("systemctl", "is-system-running").stdout.strip() in {"running", "degraded"}, "boot", 60
        )
        self.run("ip", "link", "set", "lo", "up")

    def run(self, *words: str, timeout_s: float = 120, **more: str) -> "subprocess.CompletedProcess[str]":
        """Run a command inside; `more` is added to its environment."""
        assert self._booted is not None
        child = Path(f"/proc/{self._booted.pid}/task/{self._booted.pid}/children").read_text().split()
        if not child:
            return subprocess.CompletedProcess(words, 1, "", "not booted")
        environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "LC_ALL": "C.UTF-8", **more}
        return subprocess.run(
            ["nsenter", "--target", child[0], "--all", "--root", "--wd=/", "env", "-i",
             *(f"{name}={value}" for name, value in environment.items()), *words],
            capture_output=True, text=True, timeout=timeout_s, check=False, stdin=subprocess.DEVNULL,
        )  # fmt: skip

    def close(self) -> None:
        """End all of it, and take its files away."""
        if self._booted is not None:
            self._booted.kill()
            self._booted.wait()
            self._drop_group()
        wait_for(self._removed, "the host's files to be free", 30)

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

    def files(self, below: str = "") -> dict[str, bytes]:
        """Return {path: what identifies its content} of everything on the host's disk that is compared."""
        found: dict[str, bytes] = {}
        top = self.root / below
        for directory, names, files in os.walk(top):
            here = Path(directory).relative_to(self.root)
            names[:] = [name for name in names if str(here / name) not in CHANGING and name != "__pycache__"]
            for name in [*names, *files]:
                path = self.root / here / name
                found[str(here / name)] = (
                    bytes(path.readlink()) if path.is_symlink() else path.read_bytes() if path.is_file() else b""
                )
        return found
