# cli_run.sh - what the tests of the command line share. A test is called with
#
#      cli_TEST.sh OFFRAMP TINY_YAML DATA SCRATCH
#
# and begins with `. cli_run.sh`.
set -eu
self=$(cd "$(dirname "$0")" && pwd)/$(basename "$0")
offramp=$1
tiny=$2
data=$3
scratch=$4

. "$(dirname "$0")/../support/shell_run.sh"

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

# nodes RANKS OUT [ARGUMENT...]: the same with $steps, each rank with a folder of memory of its own in
# $memory, as if on its own node; its exit code is in $code.
nodes() {
    node_ranks=$1
    out=$2
    shift 2
    code=0
    # shellcheck disable=SC2016,SC2086
    mpirun -n "$node_ranks" --oversubscribe --mca mpi_yield_when_idle 1 sh -c \
        'm=$1; shift; OFFRAMP_SNAPSHOT_DIR=$m/node$OMPI_COMM_WORLD_RANK exec "$@"' sh "$memory" \
        "$offramp" train "$tiny" --output-dir "$out" --set data_dir="$data" $steps "$@" \
        >"$out.out" 2>"$out.err" || code=$?
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
