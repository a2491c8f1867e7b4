# shell_run.sh - what all tests written in shell share: where they run, and how they compare.
#
# Sourced with the variable `scratch` set, a folder that is emptied first. A test ends with 0 if all
# is well; otherwise it says what it found and what it expected.
set -eu
rm -rf "$scratch"
mkdir -p "$scratch"
cd "$scratch"
export OPENBLAS_NUM_THREADS=1
if [ "$(id -u)" = 0 ]; then
    export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
fi

fail() {
    echo "FAILED: $*" >&2
    exit 1
}

same() { # same WHAT FOUND EXPECTED
    [ "$2" = "$3" ] || fail "$1: found '$2', expected '$3'"
}

# within SECONDS CONDITION...: waits until the command succeeds, or three times as long: machines are busy.
within() {
    tries=$((60 * $1))
    shift
    while ! "$@"; do
        tries=$((tries - 1))
        [ $tries -gt 0 ] || fail "not in time: $*"
        sleep 0.05
    done
}

# flip FILE OFFSET: one bit of the byte there.
flip() {
    byte=$(od -An -tu1 -j"$2" -N1 "$1" | tr -d ' ')
    # shellcheck disable=SC2059
    printf "\\$(printf '%03o' $((byte ^ 16)))" | dd of="$1" bs=1 seek="$2" conv=notrunc 2>/dev/null
}
