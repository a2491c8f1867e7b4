#!/bin/sh
# make_mutant.sh SOURCE SED_SCRIPT OUT: a copy of a source with one line broken on purpose. It fails if the
# script does not change exactly one line: the source has changed, and so must the mutant.
set -eu
sed "$2" "$1" >"$3.tmp"
changed=$(diff "$1" "$3.tmp" | grep -c '^<' || true)
if [ "$changed" != 1 ]; then
    echo "mutant of $1: '$2' changes $changed lines, 1 is expected" >&2
    rm -f "$3.tmp"
    exit 1
fi
mv "$3.tmp" "$3"
