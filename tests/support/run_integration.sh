#!/bin/sh
# Runs the integration tests against $NOMAD_DNS_BIN: the pytest suites (those of the fakes and walls too),
# then each check_* program.
# Arguments go to pytest ("-k stream"); with arguments the check_* programs are left out.
set -u
: "${NOMAD_DNS_BIN:?is the daemon to test}"
python=${PYTHON:-/usr/bin/python3}
export NOMAD_DNS_BIN
# A sanitizer's finding must end the daemon with an exit code of its own.
export ASAN_OPTIONS="${ASAN_OPTIONS:-exitcode=99:detect_leaks=1}"
export UBSAN_OPTIONS="${UBSAN_OPTIONS:-print_stacktrace=1:halt_on_error=1}"

# Three files share the cores, so the load beside the faults is 300 questions a second here; alone it is 1,000:
#   NOMAD_DNS_LOAD=1000 make integration INTEGRATION="-n 0 -k nothing_is_lost"
export NOMAD_DNS_LOAD="${NOMAD_DNS_LOAD:-300}"
# Most of a test's time is waiting, so three files at a time; each has ports and fakes of its own.
"$python" -m pytest tests/integration tests/support tests/lint -q -p no:cacheprovider -n 3 --dist loadfile "$@" || exit 1
[ $# -eq 0 ] || exit 0

checks=0
for check in tests/integration/check_*.sh tests/integration/check_*.py; do
	[ -f "$check" ] || continue
	case $check in
	*.sh) bash "$check" ;;
	*) "$python" "$check" ;;
	esac || {
		echo "integration: $check failed (exit status $?)"
		exit 1
	}
	checks=$((checks + 1))
done
[ "$checks" -eq 0 ] || echo "integration: $checks checks passed"
