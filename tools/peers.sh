#!/bin/sh
# Foreign programs for tests/peers, from Debian's packages: swaks, Postfix (smtp-source, smtp-sink), OpenSSL, Dovecot's LMTP
# server, nsd, unbound and ldns; clamd, and c-icap with its virus_scan; squid; curl; parsers of mail in Perl and Ruby; Chromium without windows for the console, promtool for its metrics, Net-SNMP and smilint; LibreOffice and poppler, which open cured files; Tesseract's data. Exim and Sendmail exclude Postfix, so
# their packages are only unpacked, below build/peers; m4 makes Sendmail's configuration, miltertest plays a mail system.
# Installs them when it may (root and apt-get), else says how to get them; the tests then skip loudly.
# With CI=true they must be there.
set -eu
PATH="$PATH:/usr/sbin:/sbin"
unpacked="$(cd "$(dirname "$0")/.." && pwd)/build/peers"
exim="$unpacked/usr/sbin/exim4"
sendmail="$unpacked/sendmail/usr/libexec/sendmail/sendmail"
missing=""
command -v swaks >/dev/null 2>&1 || missing="$missing swaks"
# swaks --tls asks for the module, Postfix signs in with libsasl2's.
perl -MNet::SSLeay -e 1 >/dev/null 2>&1 || missing="$missing libnet-ssleay-perl"
# Other readers of MIME.
perl -MMIME::Parser -MEmail::MIME -e 1 >/dev/null 2>&1 || missing="$missing libmime-tools-perl libemail-mime-perl"
ruby -rmail -e 1 >/dev/null 2>&1 || missing="$missing ruby-mail"
command -v curl >/dev/null 2>&1 || missing="$missing curl"
command -v smtp-source >/dev/null 2>&1 || missing="$missing postfix"
find /usr/lib/*/sasl2 /usr/lib/sasl2 -name libplain.so 2>/dev/null | grep -q . || missing="$missing libsasl2-modules"
command -v openssl >/dev/null 2>&1 || missing="$missing openssl"
[ -x /usr/lib/dovecot/lmtp ] || missing="$missing dovecot-lmtpd"
command -v nsd >/dev/null 2>&1 || missing="$missing nsd"
command -v unbound >/dev/null 2>&1 || missing="$missing unbound"
[ -x /usr/sbin/clamd ] || missing="$missing clamav-daemon"
command -v clamscan >/dev/null 2>&1 || missing="$missing clamav"
command -v c-icap >/dev/null 2>&1 || missing="$missing c-icap"
command -v squid >/dev/null 2>&1 || missing="$missing squid"
find /usr/lib -path '*c_icap/virus_scan.so' 2>/dev/null | grep -q . || missing="$missing libc-icap-mod-virus-scan"
command -v ldns-signzone >/dev/null 2>&1 || missing="$missing ldnsutils"
command -v soffice >/dev/null 2>&1 ||
    missing="$missing libreoffice-writer-nogui libreoffice-calc-nogui libreoffice-impress-nogui"
command -v pdftotext >/dev/null 2>&1 || missing="$missing poppler-utils"
find /usr/share/tesseract-ocr -name eng.traineddata 2>/dev/null | grep -q . || missing="$missing tesseract-ocr-eng"
[ -x /usr/lib/chromium/chromium-headless-shell ] || missing="$missing chromium-headless-shell"
command -v promtool >/dev/null 2>&1 || missing="$missing prometheus"
command -v snmpbulkwalk >/dev/null 2>&1 || missing="$missing snmp"
command -v snmpd >/dev/null 2>&1 || missing="$missing snmpd"
command -v snmptrapd >/dev/null 2>&1 || missing="$missing snmptrapd"
command -v smilint >/dev/null 2>&1 || missing="$missing smitools"
command -v vsftpd >/dev/null 2>&1 || missing="$missing vsftpd"
command -v m4 >/dev/null 2>&1 || missing="$missing m4"
command -v miltertest >/dev/null 2>&1 || missing="$missing miltertest"
command -v unzip >/dev/null 2>&1 || missing="$missing unzip"
# For `make accuracy` beside them: other spam filters, and the store of rspamd's Bayes.
command -v bogofilter >/dev/null 2>&1 || missing="$missing bogofilter"
command -v sa-learn >/dev/null 2>&1 || missing="$missing spamassassin"
# Clients of other filters, for the doors that speak as those do, and a spamd to compare with.
command -v spamd >/dev/null 2>&1 || missing="$missing spamd"
command -v spamc >/dev/null 2>&1 || missing="$missing spamc"
command -v clamdscan >/dev/null 2>&1 || missing="$missing clamdscan"
command -v rspamd >/dev/null 2>&1 || missing="$missing rspamd"
command -v redis-server >/dev/null 2>&1 || missing="$missing redis-server"

# What the Debian package asks of a host, which its tests install it on: accounts and directories, and a parser of its profile.
[ -x /usr/bin/python3 ] || missing="$missing python3"
[ -x /usr/bin/systemd-sysusers ] || missing="$missing systemd"
command -v apparmor_parser >/dev/null 2>&1 || missing="$missing apparmor"

heavy="$unpacked/heavy"
scanning_exim="$heavy/usr/sbin/exim4"
scanning_exim_runs() {
    # The daemon that can ask content scanners, with Debian's configuration; the light one above has other tests.
    "$scanning_exim" -C /dev/null -bV 2>/dev/null | grep -q Content_Scanning && [ -f "$heavy/etc/exim4/exim4.conf.template" ]
}

unpack_scanning_exim() {
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
        libspf2-2 libldap-2.5-0 libmariadb3 libpq5 libperl5.36 libsasl2-2
    mkdir -p "$heavy"
    (
        cd "$heavy"
        apt-get download -qq exim4-daemon-heavy exim4-config
        for package in *.deb; do dpkg -x "$package" .; done
        rm ./*.deb
    )
    scanning_exim_runs
}

exim_runs() {
    # The package's user is looked up by name whatever is configured.
    command -v exim4 >/dev/null 2>&1 || { [ -x "$exim" ] && id Debian-exim && "$exim" -C /dev/null -bV; } >/dev/null 2>&1
}

install_missing() {
    apt-get update -qq
    if [ -n "$missing" ]; then
        echo "postfix postfix/main_mailer_type select No configuration" | debconf-set-selections 2>/dev/null || true
        # shellcheck disable=SC2086 # several words
        DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get install -y -qq --no-install-recommends $missing
    fi
    exim_runs || unpack_exim
    scanning_exim_runs || unpack_scanning_exim
    [ -x "$sendmail" ] || unpack_sendmail
}

unpack_exim() {
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
        libdb5.3 libgnutls-dane0 libidn12 libidn2-0 libnsl2 libpcre2-8-0
    mkdir -p "$unpacked"
    (cd "$unpacked" && apt-get download -qq exim4-daemon-light && dpkg -x exim4-daemon-light_*.deb . && rm exim4-daemon-light_*.deb)
    id Debian-exim >/dev/null 2>&1 ||
        useradd --system --no-create-home --home-dir /var/spool/exim4 --shell /usr/sbin/nologin Debian-exim
    exim_runs
}

unpack_sendmail() {
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends libdb5.3 libldap-2.5-0 libnsl2 libsasl2-2 libssl3 libwrap0
    mkdir -p "$unpacked/sendmail"
    (
        cd "$unpacked/sendmail"
        apt-get download -qq sendmail-bin sendmail-cf
        for package in *.deb; do dpkg -x "$package" .; done
        rm ./*.deb
    )
    [ -x "$sendmail" ]
}

wanted="$missing"
exim_runs || wanted="$wanted exim4-daemon-light"
scanning_exim_runs || wanted="$wanted exim4-daemon-heavy"
[ -x "$sendmail" ] || wanted="$wanted sendmail-bin"
[ -z "$wanted" ] && exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    echo "peers: installing$wanted" >&2
    # In a shell of its own: "set -e" does not hold in a condition.
    log="$(mktemp)"
    set +e
    (set -e; install_missing) >"$log" 2>&1
    status=$?
    set -e
    [ "$status" = 0 ] || tail -n 5 "$log" >&2
    rm -f "$log"
    [ "$status" = 0 ] && exit 0
fi
echo "peers: not installed:$wanted. Tests against them will be skipped. As root: make peers, or apt-get install$missing" >&2
[ "${CI:-}" != true ]
