#!/bin/sh
# Foreign programs for tests/peers: swaks, Postfix (smtp-source, smtp-sink), nsd, unbound and ldns, from Debian's packages.
# Installs them when it may (root and apt-get), else says how to get them; the tests then skip loudly.
# With CI=true they must be there.
set -eu
PATH="$PATH:/usr/sbin:/sbin"
missing=""
command -v swaks >/dev/null 2>&1 || missing="$missing swaks"
command -v smtp-source >/dev/null 2>&1 || missing="$missing postfix"
command -v nsd >/dev/null 2>&1 || missing="$missing nsd"
command -v unbound >/dev/null 2>&1 || missing="$missing unbound"
command -v ldns-signzone >/dev/null 2>&1 || missing="$missing ldnsutils"
[ -z "$missing" ] && exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    echo "peers: installing$missing" >&2
    echo "postfix postfix/main_mailer_type select No configuration" | debconf-set-selections 2>/dev/null || true
    if { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing; } \
        >/dev/null 2>&1; then
        exit 0
    fi
fi
echo "peers: not installed:$missing. Tests against them will be skipped. As root: apt-get install --no-install-recommends$missing" >&2
[ "${CI:-}" != true ]
