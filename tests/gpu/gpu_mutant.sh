#!/bin/sh
# gpu_mutant.sh MUTANT SAYS: a test whose program is broken on purpose (tests/mutants) must fail, for the reason
# that was broken: what it says matches the extended regular expression SAYS. It may not hang: CTest's timeout is
# not a catch. That the same test passes on the whole program is a fixture of CTest's.
set -u
export TMPDIR="$1.tmp" # what ends by abort() tidies nothing up
rm -rf "$TMPDIR"
mkdir "$TMPDIR"
trap 'rm -rf "$TMPDIR"' EXIT
code=0
"$1" >"$1.said" 2>&1 || code=$?
if [ $code = 0 ]; then
    echo "FAILED: $1 passes as if nothing were broken" >&2
    exit 1
fi
if ! grep -Eq -- "$2" "$1.said"; then
    echo "FAILED: $1 ended with $code, but not by '$2':" >&2
    tail -n 20 "$1.said" >&2
    exit 1
fi
grep -E -m 1 -- "$2" "$1.said"
