#!/bin/sh
# Prints the share of lines reached for each source file, and for all, from a --coverage build
# whose programs have run. gcov comes with gcc.
set -u
build=$1
for source in src/*.c src/*/*.c; do
	gcov -n -o "$build/obj/$(dirname "$source")" "$build/obj/${source%.c}.o" 2>/dev/null |
		grep -A1 -F "File '$source'" | sed -n "s|^Lines executed:\([0-9.]*\)% of \([0-9]*\)|$source \1 \2|p"
done | awk '{ printf "  %-32s %6.1f %% of %5d lines\n", $1, $2, $3; hit += $2 * $3 / 100; all += $3 }
	END { if (all) printf "coverage: %.1f %% of %d lines\n", 100 * hit / all, all; else exit 1 }'
