#!/bin/sh
# clang-tidy over every C source that is compiled, as .clang-tidy says; no warning is left.
# With arguments, over those files only. One process a file: the analyser of version 14
# carries state from one file to the next and then sees what is not there.
set -eu
cd "$(dirname "$0")/.."
build=build/dev
if ! command -v clang-tidy >/dev/null; then
    echo "lint: clang-tidy is missing: .ci/setup lint" >&2
    exit 1
fi
cmake --preset dev >/dev/null
if [ $# -eq 0 ]; then
    set -- $(sed -nE 's/^ *"file": "([^"]+)".*/\1/p' $build/compile_commands.json |
        grep -v "/$build/" | sort -u) # but those that the build makes
fi
printf '%s\n' "$@" | xargs -P "${JOBS:-2}" -n 1 clang-tidy -p $build --quiet 2>/dev/null
echo "lint: ok, $# files"
