#!/bin/sh
# Runs each harness for some seconds: run.sh BUILD SECONDS HARNESS…
# What it learns stays in BUILD/corpus; an input that breaks a promise stays in BUILD/.
set -u
build=$1
seconds=$2
shift 2
for name in "$@"; do
	mkdir -p "$build/corpus/$name" "$build/seeds/$name"
	dictionary=
	[ -f "tests/fuzz/$name.dict" ] && dictionary="-dict=tests/fuzz/$name.dict"
	log=$build/$name.log
	# The zone frees in a thread of its own, which libFuzzer's look for leaks after each input races with;
	# LeakSanitizer's own look at the end of the run stays, after the harness has freed all.
	leaks=1
	[ "$name" = zone ] && leaks=0
	if ! "$build/fuzz_$name" -max_total_time="$seconds" -timeout=5 -rss_limit_mb=1024 \
		-max_len=16384 -print_final_stats=1 -detect_leaks=$leaks -artifact_prefix="$build/$name-" $dictionary \
		"$build/corpus/$name" "$build/seeds/$name" >"$log" 2>&1; then
		grep -v '^#' "$log" | tail -n 60
		echo "fuzz: $name found something; its input is $build/$name-*; again with:"
		echo "  $build/fuzz_$name $build/$name-…"
		exit 1
	fi
	runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
	coverage=$(sed -n 's/.* cov: \([0-9]*\) .*/\1/p' "$log" | tail -n 1)
	printf '  %-16s %10s inputs, %5s edges\n' "$name" "$runs" "$coverage"
done
echo "fuzz: $# harnesses, $seconds s each, nothing found"
