#!/bin/sh
# Runs unit test programs one by one: a line per suite, everything of the first one that fails.
set -u
suites=0
tests=0
for program in "$@"; do
	log=$program.log
	timeout 300 "$program" >"$log" 2>&1 # a suite that hangs has failed
	status=$?
	passed=$(sed -n 's/.*\[  PASSED  \] \([0-9]*\) test.*/\1/p' "$log" | awk '{ n += $1 } END { print n + 0 }')
	if [ "$status" -ne 0 ] || [ "$passed" -eq 0 ]; then
		cat "$log"
		echo "unit: ${program##*/} failed (exit status $status, $passed tests passed before that)"
		exit 1
	fi
	suites=$((suites + 1))
	tests=$((tests + passed))
	printf '  %-28s %4d passed\n' "${program##*/}" "$passed"
done
if [ "$suites" -eq 0 ]; then
	echo "unit: there are no tests" >&2
	exit 1
fi
echo "unit: $tests passed in $suites suites"
