# cli_run.sh - what the tests of the command line share. A test is called with
#
#      cli_TEST.sh OFFRAMP TINY_YAML DATA SCRATCH
#
# and begins with `. cli_run.sh`. SCRATCH is emptied first. It ends with 0 if all is well;
# otherwise it says what it saw and what it expected.
set -eu
self=$(cd "$(dirname "$0")" && pwd)/$(basename "$0")
offramp=$1
tiny=$2
data=$3
scratch=$4

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

# on RANKS COMMAND...: under mpirun, or without it for one rank.
on() {
    ranks=$1
    shift
    if [ "$ranks" = 1 ]; then
        "$@"
    else
        mpirun -n "$ranks" --oversubscribe --mca mpi_yield_when_idle 1 "$@"
    fi
}

# train RANKS OUT [ARGUMENT...]: the tiny recipe; what it says goes to OUT.out and OUT.err.
train() {
    train_ranks=$1
    train_out=$2
    shift 2
    on "$train_ranks" "$offramp" train "$tiny" --output-dir "$train_out" \
        --set data_dir="$data" "$@" >"$train_out.out" 2>"$train_out.err"
}

# The same, and it must succeed.
train_well() {
    train "$@" || {
        code=$?
        cat "$2.out" "$2.err"
        fail "train $* ended with $code"
    }
}

# text FILE KEY: the value of "KEY" at the top level of a summary.
value() {
    sed -n "s/^  \"$2\": \"\{0,1\}\([^\",]*\)\"\{0,1\},\{0,1\}\$/\1/p" "$1"
}

hash_of() {
    value "$1/summary.json" state_hash
}

# "step hash" of every line of metrics.jsonl that has one.
hashes_of() {
    sed -n 's/^{"step":\([0-9]*\),.*"state_hash":"\([0-9a-f]*\)".*/\1 \2/p' "$1/metrics.jsonl"
}

same() { # same WHAT FOUND EXPECTED
    [ "$2" = "$3" ] || fail "$1: found '$2', expected '$3'"
}

# flip FILE OFFSET: another byte there, the same size.
flip() {
    byte=$(od -An -tu1 -j"$2" -N1 "$1" | tr -d ' ')
    # shellcheck disable=SC2059
    printf "\\$(printf '%03o' $(((byte + 1) % 256)))" | dd of="$1" bs=1 seek="$2" conv=notrunc 2>/dev/null
}
