#!/bin/sh
# Make the virtual environment .venv from a hashed lock file. Usage: tools/setup.sh base|dev
# `base` is what the product needs, `dev` adds the tools and foreign clients the tests use. Does nothing when up to date.
set -eu
kind="$1"
cd "$(dirname "$0")/.."
python="${PYTHON:-python3}"
stamp=".venv/$kind.stamp"

say() { echo "setup: $*" >&2; }

if [ -e "$stamp" ] && [ ! "requirements/$kind.lock" -nt "$stamp" ] && [ ! requirements/ocr.lock -nt "$stamp" ] &&
    [ ! pyproject.toml -nt "$stamp" ]; then
    exit 0
fi
if ! command -v "$python" >/dev/null 2>&1; then
    say "no '$python' on the PATH. Install Python 3.11 or newer (Debian, Ubuntu: apt-get install python3 python3-venv), or name one: make PYTHON=/path/to/python3"
    exit 1
fi
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
    say "$python is $("$python" -V 2>&1); Python 3.11 or newer is needed. Name one: make PYTHON=/path/to/python3.11"
    exit 1
fi
if [ ! -x .venv/bin/python ]; then
    for module in venv ensurepip; do
        if ! "$python" -c "import $module" 2>/dev/null; then
            say "Python's '$module' module is missing. Debian and Ubuntu keep it apart: apt-get install python3-venv"
            exit 1
        fi
    done
    say "creating .venv with $("$python" -V)"
    "$python" -m venv .venv
fi
if ! .venv/bin/python -c 'import pip' 2>/dev/null; then
    say "pip is missing inside .venv: remove .venv and try again; if it stays, apt-get install python3-pip python3-venv"
    exit 1
fi
say "installing $kind packages (pinned, hashes checked, wheels only)"
# Three of the tests' oracles exist as source only: pure Python, built with the pinned setuptools.
sources=""
if [ "$kind" = dev ]; then
    sources="--no-binary dkimpy,authheaders,authres --no-build-isolation -r requirements/ocr.lock"
    .venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --only-binary=:all: \
        -r requirements/sources.lock
fi
# shellcheck disable=SC2086 # several words on purpose
.venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --only-binary=:all: $sources \
    -r "requirements/$kind.lock"
.venv/bin/python -m pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps -e .
touch "$stamp"
