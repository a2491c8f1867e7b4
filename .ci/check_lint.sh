#!/bin/sh
# clang-tidy over every C source that is compiled, as .clang-tidy says; no warning is left. What only
# a build with CUDA compiles is looked at as the simulated device has it: no toolkit is needed.
# With arguments, over those files only. One process a file: the analyser of version 14
# carries state from one file to the next and then sees what is not there.
set -eu
cd "$(dirname "$0")/.."
build=build/dev
other=build/gpusim
if ! command -v clang-tidy >/dev/null; then
    echo "lint: clang-tidy is missing: .ci/setup lint" >&2
    exit 1
fi
cmake --preset dev >/dev/null
cmake --preset gpusim >/dev/null
compiled() { # by the build in this folder, but for what it makes itself
    sed -nE "s|^ *\"file\": \"$PWD/([^\"]+\.c)\".*|\1|p" "$1/compile_commands.json" | grep -v "^build/" | sort -u
}
if [ $# -eq 0 ]; then
    set -- $(
        compiled $build
        compiled $other
    )
    set -- $(printf '%s\n' "$@" | sort -u)
fi
for file in "$@"; do
    if compiled $build | grep -qxF "$file"; then
        echo "$build $file"
    else
        echo "$other $file"
    fi
done | xargs -P "${JOBS:-2}" -n 2 sh -c 'exec clang-tidy -p "$0" --quiet "$1"' 2>/dev/null
echo "lint: ok, $# files"
