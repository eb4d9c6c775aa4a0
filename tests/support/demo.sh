#!/usr/bin/env bash
# Shows nomad-dns at work, with nothing but loopback: a made-up Nomad with a small catalogue, a made-up upstream
# resolver, the real daemon on 127.0.0.1:1053, and dig. Stops all it started; fails when an answer is missing.
set -euo pipefail
cd "$(dirname "$0")/../.."

binary=${NOMAD_DNS_BIN:-build/nomad-dns}
python=${PYTHON:-/usr/bin/python3}
port=${DEMO_PORT:-1053}
folder=$(mktemp -d)
started=()
missing=0
asked=0

if [ -t 1 ]; then
	bold=$'\e[1m' faint=$'\e[2m' red=$'\e[31m' plain=$'\e[0m'
else
	bold='' faint='' red='' plain=''
fi

stop_all()
{
	local status=$? process
	trap - EXIT INT TERM
	for process in "${started[@]}"; do
		kill "$process" 2>/dev/null || true
	done
	for process in "${started[@]}"; do
		wait "$process" 2>/dev/null || true
	done
	rm -rf "$folder"
	exit "$status"
}
trap stop_all EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

give_up()
{
	echo "demo: $*" >&2
	exit 1
}

# Waits until the file named $1 has a line that starts with $2; prints the rest of it.
wait_for_line()
{
	local tries
	for tries in $(seq 200); do
		if grep -q "^$2 " "$1" 2>/dev/null; then
			sed -n "s/^$2 //p" "$1" | head -n 1
			return
		fi
		sleep 0.05
	done
	give_up "no \"$2\" line in $1 after 10 s: $(cat "$1" 2>/dev/null)"
}

# ask FLAGS NAME TYPE PATTERN…: one question to the daemon; every pattern must be in dig's output.
ask()
{
	local flags=$1 name=$2 type=$3 output pattern
	shift 3
	asked=$((asked + 1))
	# shellcheck disable=SC2086
	output=$(dig @127.0.0.1 -p "$port" +time=5 +tries=2 +nostats +nocmd $flags "$name" "$type" 2>&1) || true
	echo "${bold}\$ dig @127.0.0.1 -p $port${flags:+ $flags} $name $type${plain}"
	sed -n 's/.*status: \([A-Z]*\),.*/    \1/p' <<<"$output"
	grep -v -e '^;' -e '^$' <<<"$output" | sed 's/^/    /' || true
	for pattern in "$@"; do
		if ! grep -qE -- "$pattern" <<<"$output"; then
			echo "    ${red}missing: $pattern${plain}"
			sed 's/^/    | /' <<<"$output"
			missing=$((missing + 1))
		fi
	done
	echo
}

say()
{
	echo "${faint}# $*${plain}"
}

[ -x "$binary" ] || give_up "$binary is not there; run make first"
command -v dig >/dev/null || give_up "dig is not here; apt-get install bind9-dnsutils"
if ! "$python" - "$port" <<'EOF'
import socket, sys
for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
    with socket.socket(socket.AF_INET, kind) as probe:
        if kind == socket.SOCK_STREAM:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", int(sys.argv[1])))
        except OSError:
            sys.exit(1)
EOF
then
	give_up "port $port of 127.0.0.1 is taken (another nomad-dns?); stop that, or choose another: DEMO_PORT=1054"
fi

"$python" tests/support/fake_nomad.py --catalogue fixtures/demo/catalogue.json >"$folder/nomad" 2>&1 &
started+=($!)
"$python" tests/support/fake_upstream.py --record 'db.example.net A 192.0.2.10' \
	--record 'www.example.org A 192.0.2.80' >"$folder/upstream" 2>&1 &
started+=($!)
nomad=$(wait_for_line "$folder/nomad" listening)
upstream=$(wait_for_line "$folder/upstream" listening)

env -i PATH="$PATH" "$binary" --listen="127.0.0.1:$port" --nomad-address="$nomad" --forward="$upstream" \
	--admin="unix://$folder/admin.sock" >"$folder/log" 2>&1 &
daemon=$!
started+=("$daemon")
for _ in $(seq 200); do
	kill -0 "$daemon" 2>/dev/null || give_up "nomad-dns did not start: $(cat "$folder/log")"
	if dig @127.0.0.1 -p "$port" +time=1 +tries=1 default.nomad A 2>/dev/null | grep -q 'status: NOERROR'; then
		break
	fi
	sleep 0.05
done

echo "Nomad (made up) at $nomad, upstream resolver (made up) at $upstream, nomad-dns at 127.0.0.1:$port"
echo
say "a service: every instance"
ask "" redis.default.nomad A 'status: NOERROR' 'A\s+192\.168\.29\.76' 'A\s+192\.168\.29\.77'
say "IPv6"
ask "" v6svc.default.nomad AAAA 'status: NOERROR' 'AAAA\s+2001:db8::10'
say "ports: SRV, each with the address its target has"
ask "" redis.default.nomad SRV 'SRV\s+10 10 25395 192-168-29-76\.redis\.default\.nomad\.' \
	'SRV\s+10 10 21880 192-168-29-77\.redis\.default\.nomad\.' '^192-168-29-76\S+\s.*A\s+192\.168\.29\.76'
say "a tag: the instances that carry it"
ask "" primary.redis.default.nomad A 'status: NOERROR' 'A\s+192\.168\.29\.76' 'ANSWER: 1,'
say "one instance by its own name"
ask "" 192-168-29-77.redis.default.nomad A 'A\s+192\.168\.29\.77' 'ANSWER: 1,'
say "another namespace"
ask "" web.prod.nomad A 'A\s+10\.30\.0\.11' 'A\s+10\.30\.0\.12'
say "an instance whose address is a host name, and a service written in upper case"
ask "" ext-db.default.nomad A 'A\s+192\.0\.2\.10'
say "types a living service does not have: no records, but no denial of the name either"
ask "" redis.default.nomad TXT 'status: NOERROR' 'ANSWER: 0,' 'SOA\s+ns\.nomad\.'
ask "" redis.default.nomad HTTPS 'status: NOERROR' 'ANSWER: 0,' 'SOA\s+ns\.nomad\.'
say "a name Nomad does not know"
ask "" nosuch.default.nomad A 'status: NXDOMAIN' 'SOA\s+ns\.nomad\.'
say "everything else goes to the upstream resolver"
ask "" www.example.org A 'status: NOERROR' 'A\s+192\.0\.2\.80'
say "and all of it over TCP too"
ask "+tcp" redis.default.nomad A 'A\s+192\.168\.29\.76' 'A\s+192\.168\.29\.77'
ask "+tcp" redis.default.nomad SRV 'SRV\s+10 10 25395 192-168-29-76\.redis\.default\.nomad\.'
ask "+tcp" nosuch.default.nomad A 'status: NXDOMAIN'
ask "+tcp" www.example.org A 'A\s+192\.0\.2\.80'

if [ "$missing" -gt 0 ]; then
	echo "${red}$missing of the expected records are missing${plain}; what nomad-dns said:"
	cat "$folder/log"
	exit 1
fi
echo "all $asked questions were answered as they should be"
