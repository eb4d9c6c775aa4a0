#!/bin/sh
# The fault table: each fault of tests/integration/test_mirror_faults.py with 1,000 questions a second beside it, one
# after another. A fault that loses anything fails its test and is named at the end; its row is there all the same.
#   faults.sh build/nomad-dns
set -u
: "${1:?is the daemon}"
NOMAD_DNS_BIN=$(readlink -f "$1")
NOMAD_DNS_REPORT=$(mktemp)
NOMAD_DNS_LOAD=${NOMAD_DNS_LOAD:-1000}
export NOMAD_DNS_BIN NOMAD_DNS_REPORT NOMAD_DNS_LOAD
trap 'rm -f "$NOMAD_DNS_REPORT"' EXIT
sh tests/support/run_integration.sh -n 0 -k test_mirror_faults >"$NOMAD_DNS_REPORT.log" 2>&1
status=$?
printf '%-44s %8s %9s %10s %6s %9s %10s\n' fault seconds 'right in' questions lost 'p99 ms' 'worst ms'
awk -F '\t' '{ printf "%-44s %8s %9s %10s %6s %9s %10s\n", $1, $2, $3, $4, $5, $6, $7; asked += $4; lost += $5 }
	END { printf "%d faults, %d questions, %d lost\n", NR, asked, lost }' "$NOMAD_DNS_REPORT"
grep -E '^(FAILED|ERROR)|passed|failed' "$NOMAD_DNS_REPORT.log"
rm -f "$NOMAD_DNS_REPORT.log"
exit $status
