#!/bin/sh
# The one list of the Debian packages this project wants, and what installs the missing ones.
#
#   deps.sh build test      installs what building and testing want (make deps)
#   deps.sh --list lint     only prints the names of a group
#
# "a|b" means: either will do, the first that exists is installed. Nothing is downloaded when all is there.
set -u

group_packages()
{
	case $1 in
	build)
		echo gcc make libc6-dev 'pkg-config|pkgconf' 'libcurl4-openssl-dev|libcurl4-gnutls-dev' \
			libuv1-dev libcjson-dev libldns-dev liburcu-dev libssl-dev
		;;
	test)
		echo libcmocka-dev python3 python3-pytest python3-pytest-xdist python3-dnspython bind9-dnsutils knot-dnsutils \
			unbound dnsmasq-base nsd ldnsutils openssl procps util-linux systemd
		;;
	lint) echo clang clang-format python3 ;;
	fuzz) echo clang llvm 'libclang-rt-14-dev|libclang-rt-dev' python3 ;;
	bench) echo dnsperf strace util-linux python3 python3-dnspython ;;
	forwarders) echo unbound dnsmasq-base bind9 knot-resolver pdns-recursor dnsdist python3 python3-dnspython ;;
	*)
		echo "deps: there is no group '$1' (build, test, lint, fuzz, bench, forwarders)" >&2
		exit 64
		;;
	esac
}

say()
{
	echo "deps: $*" >&2
}

is_installed()
{
	[ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

# Prints nothing if one of "a|b" is installed, else the first that this release has.
missing_of()
{
	names=$(echo "$1" | tr '|' ' ')
	for name in $names; do
		is_installed "$name" && return
	done
	for name in $names; do
		apt-cache show "$name" >/dev/null 2>&1 && echo "$name" && return
	done
	echo "${1%%|*}"
}

# Where there is no dpkg: look for the tools themselves.
check_by_tools()
{
	lost=
	for tool in cc make pkg-config python3; do
		command -v "$tool" >/dev/null 2>&1 || lost="$lost $tool"
	done
	for module in libcurl libuv libcjson ldns liburcu-qsbr liburcu-cds openssl; do
		pkg-config --exists "$module" 2>/dev/null || lost="$lost $module"
	done
	[ -z "$lost" ] && return 0
	say "this is not Debian (no dpkg and apt-get here), so nothing can be installed for you;"
	say "please install by hand what provides:$lost"
	say "(Debian's names for all of it: $packages)"
	return 1
}

if [ "${1-}" = --list ]; then
	shift
	for group in "$@"; do
		group_packages "$group"
	done
	exit 0
fi

packages=
for group in "${@:-build}"; do
	found=$(group_packages "$group") || exit $?
	packages="$packages $found"
done

if ! command -v dpkg-query >/dev/null 2>&1 || ! command -v apt-get >/dev/null 2>&1; then
	check_by_tools
	exit $?
fi

missing=
for package in $packages; do
	missing="$missing $(missing_of "$package")"
done
missing=$(echo $missing)
[ -n "$missing" ] || exit 0

as_root=
if [ "$(id -u)" -ne 0 ]; then
	if ! command -v sudo >/dev/null 2>&1; then
		say "packages are missing, and installing them needs root (there is no sudo here)."
		say "As root run:  apt-get update && apt-get install -y $missing"
		exit 77
	fi
	as_root=sudo
fi

# A resolver that came for the tests must not take this host's port 53: its start is forbidden while
# it is installed, and on a host that systemd runs it stays disabled.
forbid_starts()
{
	[ -e /usr/sbin/policy-rc.d ] && return
	printf '#!/bin/sh\nexit 101\n' | $as_root tee /usr/sbin/policy-rc.d >/dev/null &&
		$as_root chmod 755 /usr/sbin/policy-rc.d && forbidding=yes
}

allow_starts()
{
	rm -f "$log"
	[ -n "$forbidding" ] || return
	$as_root rm -f /usr/sbin/policy-rc.d
	if [ -d /run/systemd/system ] && echo " $missing " | grep -q ' unbound '; then
		$as_root systemctl disable --quiet unbound.service 2>/dev/null &&
			say "unbound came for the tests and is disabled; \`systemctl enable unbound\` to use it"
	fi
}

say "installing: $missing"
quiet="-qq -o Dpkg::Use-Pty=0 -o DPkg::Lock::Timeout=120 -o Acquire::Retries=2"
log=$(mktemp) || exit 70
forbidding=
trap allow_starts EXIT
forbid_starts
# A third party's broken source fails the update, but not the packages wanted here: only the
# install decides.
update_failed=
$as_root apt-get $quiet -o APT::Update::Error-Mode=any update >"$log" 2>&1 || update_failed=yes
if $as_root env DEBIAN_FRONTEND=noninteractive \
	apt-get $quiet install -y --no-install-recommends $missing >>"$log" 2>&1; then
	exit 0
fi
tail -n 12 "$log" >&2
if [ -n "$update_failed" ] || grep -qE 'Failed to fetch|Could not resolve|Unable to connect' "$log"; then
	say "could not reach the package mirror; check the network, a proxy in http_proxy and"
	say "/etc/apt/sources.list, then run \`make deps\` again. Wanted: $missing"
	exit 69
fi
say "apt-get could not install: $missing (its last words stand above)"
exit 70
