"""`gatepost feed`: one's own update feed: make it, publish sets of databases, keep it fresh, change keys, serve it.

docs/manual/updates.md tells how. Exit codes: 0 done; 1 wrong options; 2 a file cannot be read or written; 3 the feed
or a set is not sound.
"""

import datetime as dt
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Final

import cyclopts
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gatepost.antivirus.sources import BadSource
from gatepost.cli.bases import build as build_bases
from gatepost.cli.gateway import AsJson, complain, print_json
from gatepost.cli.sample_trial import Unfit, try_samples
from gatepost.config.load import load_text
from gatepost.feeds.clamav import BadSignatures, convert_folder
from gatepost.feeds.feed_log import read_log
from gatepost.feeds.feed_server import serve_feed
from gatepost.feeds.keys import BadKey, load_private
from gatepost.feeds.manifest import MANIFEST_FILE, SIGNATURE_FILE, BadSet, Kind, read_set
from gatepost.feeds.repository import FeedError, change_keys, init_feed, publish, renew, sign_targets_again

EXIT_BAD_OPTIONS: Final = 1
EXIT_UNREADABLE: Final = 2
EXIT_NOT_SOUND: Final = 3

app = cyclopts.App(name="feed", help="Update feeds of one's own: build, publish, renew, change keys, serve.")

RootKeys = Annotated[list[Path], cyclopts.Parameter(name="--root-key", negative="", help="private key; several")]
TargetsKeys = Annotated[list[Path], cyclopts.Parameter(name="--targets-key", negative="", help="private key; several")]
OnlineKey = Annotated[Path, cyclopts.Parameter(name="--online-key", help="private key that stays on the feed's host")]


def _guarded(act: Callable[[], None]) -> int:
    try:
        act()
    except (FeedError, BadSet, BadSource, BadSignatures, Unfit) as error:
        return complain(str(error), EXIT_NOT_SOUND)
    except (BadKey, ValueError) as error:
        return complain(str(error), EXIT_BAD_OPTIONS)
    except OSError as error:
        return complain(f"{error.filename or ''}: {error.strerror}".lstrip(": "), EXIT_UNREADABLE)
    return 0


def _keys(paths: Sequence[Path]) -> list[Ed25519PrivateKey]:
    return [load_private(path) for path in paths]


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


@app.command
def init(
    directory: Path,
    *,
    root_key: RootKeys,
    targets_key: TargetsKeys,
    online_key: OnlineKey,
    root_threshold: int = 1,
    targets_threshold: int = 1,
) -> int:
    """Make an empty feed in DIRECTORY. Keys are made with `gatepost bases keygen`.

    Parameters
    ----------
    directory
        What is served later.
    root_threshold
        How many of the root keys must sign a change of keys.
    targets_threshold
        How many of the targets keys must sign what is published.

    """

    def act() -> None:
        init_feed(
            directory,
            root=_keys(root_key),
            root_threshold=root_threshold,
            targets=_keys(targets_key),
            targets_threshold=targets_threshold,
            online=load_private(online_key),
            now=_now(),
        )
        print(f"{directory}: a feed without sets. Installations trust it by {directory / 'metadata' / '1.root.json'}")

    return _guarded(act)


@app.command
def build(
    sources: Path,
    directory: Path,
    *,
    key: Annotated[list[Path], cyclopts.Parameter(name="--key", negative="", help="private key; several: all sign")],
    name: str,
    number: int,
    kind: Annotated[Kind, cyclopts.Parameter(help="what the set is for")] = Kind.ANTIVIRUS,
) -> int:
    """Build a signed set of databases in DIRECTORY from readable SOURCES, and try it with the samples they hold.

    Parameters
    ----------
    sources
        Files of databases as `gatepost bases build` takes them, and signatures of ClamAV's forms (*.hdb, *.hsb, *.ndb),
        which are converted where they map; what does not is named. Below trial/found: samples that the set must find,
        below trial/clean: those it must not; mails (*.eml) or any other files.
    directory
        A new directory for the set.
    name
        Of the set.
    number
        Of the set: of several the highest is used.

    """

    def convert() -> None:
        for note in convert_folder(sources, directory):
            print(note)

    def trial() -> None:
        # Whoever makes feeds need not have a gateway: nothing of a configuration matters but what is shipped.
        config = load_text('[network]\nhostname = "feed.example"\n', "feed.toml").config
        assert config is not None
        try:
            tried = try_samples(config, read_set(directory, None))
        except Unfit:
            for file in (SIGNATURE_FILE, MANIFEST_FILE):  # what is not fit is not signed
                (directory / file).unlink()
            raise
        if tried:
            print(f"{tried} trial sample(s): the set finds what it must, and nothing in the others")

    return _guarded(convert) or build_bases(directory, key=key, name=name, number=number, kind=kind) or _guarded(trial)


@app.command(name="publish")
def publish_sets(
    directory: Path,
    sets: list[Path],
    *,
    targets_key: TargetsKeys,
    online_key: OnlineKey,
) -> int:
    """Add sets of databases to the feed.

    Parameters
    ----------
    directory
        The feed.
    sets
        Directories of signed sets.

    """

    def act() -> None:
        names = publish(directory, sets, _keys(targets_key), load_private(online_key), _now())
        print(f"published: {', '.join(names)}")

    return _guarded(act)


@app.command(name="renew")
def renew_feed(directory: Path, *, online_key: OnlineKey) -> int:
    """Sign the present state anew; once a day, or installations refuse the feed as not kept up.

    Parameters
    ----------
    directory
        The feed.

    """
    return _guarded(
        lambda: print(f"good until {renew(directory, load_private(online_key), _now()):%Y-%m-%d %H:%M} UTC")
    )


@app.command
def keys(
    directory: Path,
    role: str,
    *,
    key: Annotated[list[Path], cyclopts.Parameter(name="--key", negative="", help="the role's keys from now on")],
    root_key: RootKeys,
    threshold: int = 1,
    online_key: Annotated[Path | None, cyclopts.Parameter(help="to sign anew what the other keys had signed")] = None,
) -> int:
    """Give a role other keys: those that were lost or stolen count no longer.

    Parameters
    ----------
    directory
        The feed.
    role
        root, targets, snapshot or timestamp.
    threshold
        How many of them must sign.

    """

    def act() -> None:
        fresh, root = _keys(key), _keys(root_key)
        number = change_keys(
            directory, role, fresh, threshold, before=root, root=fresh if role == "root" else root, now=_now()
        )
        print(f"root {number}: {role} is signed by {threshold} of {len(fresh)} key(s) from now on")
        if role == "targets":
            if online_key is None:
                print("publish, or give --online-key: what is offered is still signed by the keys before")
            else:
                sign_targets_again(directory, fresh, load_private(online_key), _now())
        elif role in {"snapshot", "timestamp"}:
            print("renew the feed with the new key")

    return _guarded(act)


@app.command
def serve(
    directory: Path,
    *,
    listen: str = "127.0.0.1:8080",
    log: Annotated[Path | None, cyclopts.Parameter(help="log of requests, for `gatepost feed stats`")] = None,
) -> int:
    """Serve a feed over HTTP until interrupted. Any server of static files does the same.

    Parameters
    ----------
    directory
        The feed.
    listen
        ip:port.

    """
    return _guarded(lambda: serve_feed(directory, listen, log))


@app.command
def stats(log: Path, *, as_json: AsJson = False) -> int:
    """Who fetched what from a feed, out of the log of its server.

    Parameters
    ----------
    log
        As `gatepost feed serve --log` writes it.

    """

    def act() -> None:
        found = read_log(log)
        if as_json:
            print_json(found)
            return
        print(f"{found['requests']} requests by {found['clients']} clients, {found['bytes']} bytes")
        for name in ("days", "sets", "versions"):
            for key_, count in found[name].items():
                print(f"{name[:-1]} {key_}: {count}")

    return _guarded(act)
