#!/usr/bin/env bash
# Holds systemd's units against systemd's own reader, without a running systemd: they parse without a
# word of complaint, the sandbox is as tight as promised, and what the unit counts on (a READY=1, a fed
# watchdog) is in the program. Each drop-in example is tried too. And the check itself is tried on a
# broken unit, since one that cannot fail shows nothing.
set -euo pipefail
cd "$(dirname "$0")/../.."

EXPOSURE_MAX=1.1       # of 10, by systemd-analyze security (252 says 1.1)
EXPOSURE_53_MAX=1.4    # with the capability for port 53

if ! command -v systemd-analyze >/dev/null; then
	echo "deploy: skipped: there is no systemd-analyze here; the package systemd has it"
	exit 0
fi

# systemd must find the binary; any will do.
binary=${NOMAD_DNS_BIN:-/bin/true}
[ -x "$binary" ] || binary=/bin/true
room=$(mktemp -d)
trap 'rm -rf "$room"' EXIT

fail()
{
	echo "deploy: $*" >&2
	exit 1
}

# A copy of the unit in a directory of its own, with the named drop-ins; prints its path.
place_unit()
{
	local directory=$room/$1 name
	mkdir -p "$directory/nomad-dns.service.d"
	shift
	sed "s|/usr/local/sbin/nomad-dns|$binary|" systemd/nomad-dns.service >"$directory/nomad-dns.service"
	for name in "$@"; do
		cp "systemd/nomad-dns.service.d/$name" "$directory/nomad-dns.service.d/"
	done
	echo "$directory/nomad-dns.service"
}

# systemd warns about what it ignores and still exits with 0: every word about our unit counts.
complaints()
{
	local words status=0
	words=$(SYSTEMD_UNIT_PATH="$(dirname "$1"):" systemd-analyze verify --man=no "$1" 2>&1) || status=$?
	grep -F nomad-dns <<<"$words" || [ "$status" -eq 0 ] || echo "$words (exit status $status)"
}

check_unit()
{
	local unit=$1 limit=$2 words
	words=$(complaints "$unit")
	[ -z "$words" ] || fail "systemd complains about $unit: $words"
	# The threshold is in tenths.
	systemd-analyze security --offline=true --threshold="$(awk "BEGIN { print $limit * 10 }")" "$unit" \
		>"$room/security" 2>&1 || {
		grep '✗' "$room/security" >&2 || cat "$room/security" >&2
		fail "the sandbox of $unit is looser than $limit: $(tail -n 1 "$room/security")"
	}
	echo "deploy: ${unit#"$room"/}: $(tail -n 1 "$room/security" | sed 's/[^0-9]*\([0-9.]*\).*/\1/') of 10 exposed"
}

check_setting()
{
	grep -qx "$1" systemd/nomad-dns.service || fail "nomad-dns.service has lost its line $1"
}

# The unit makes a promise in the program's name: the program must keep it.
check_promise()
{
	local setting=$1 message=$2
	grep -q "^$setting" systemd/nomad-dns.service || return 0
	grep -rqF "$message" src || fail "nomad-dns.service says $setting, but nothing in src/ sends $message"
}

grep -q '^ExecStart=/usr/local/sbin/nomad-dns$' systemd/nomad-dns.service ||
	fail "ExecStart is not the path that make install replaces"

check_unit "$(place_unit plain)" "$EXPOSURE_MAX"
check_unit "$(place_unit token token.conf)" "$EXPOSURE_MAX"
check_unit "$(place_unit port53 port53.conf token.conf)" "$EXPOSURE_53_MAX"

check_setting Type=notify
check_setting Restart=always
check_setting WatchdogSec=10
check_setting RestartSec=200ms
check_setting StartLimitIntervalSec=0
check_setting 'RestartPreventExitStatus=64 78'
check_setting 'ExecReload=/bin/kill -HUP $MAINPID'
check_promise Type=notify READY=1
check_promise WatchdogSec WATCHDOG=1

# A credential that is missing fails the whole unit: never in the unit itself.
! grep -q '^LoadCredential' systemd/nomad-dns.service || fail "LoadCredential belongs into a drop-in"

# resolved has no offline reader: at least no key is misspelt and the list is reset before it is set.
grep -vE '^(#.*|\[Resolve\]|DNS=|DNS=127\.0\.0\.1:1053|Domains=~nomad)?$' systemd/resolved.conf.d/nomad.conf &&
	fail "systemd/resolved.conf.d/nomad.conf has unexpected lines"
[ "$(grep -n '^DNS=' systemd/resolved.conf.d/nomad.conf | head -n 1 | cut -d: -f2)" = DNS= ] ||
	fail "systemd/resolved.conf.d/nomad.conf does not reset DNS= first"

# Could it have failed?
broken=$(place_unit broken)
echo 'NoSuchSetting=yes' >>"$broken"
[ -n "$(complaints "$broken")" ] || fail "a broken unit passes this check: it shows nothing"
broken=$(place_unit loose)
sed -i '/^Protect/d' "$broken"
if systemd-analyze security --offline=true --threshold="$(awk "BEGIN { print $EXPOSURE_MAX * 10 }")" "$broken" \
	>/dev/null 2>&1; then
	fail "a loose sandbox passes this check: it shows nothing"
fi
