#!/bin/sh
# A short run of all kinds of stages under valgrind: no leak, no use of what nobody wrote.
. "$(dirname "$0")/cli_run.sh"

if ! command -v valgrind >/dev/null; then
    echo "SKIPPED: valgrind is not installed" >&2
    exit 77
fi
sh "$(dirname "$self")/cli_data.sh" "$scratch/few" 260 40
data=$scratch/few
# 50 times slower under valgrind: as small as a run can be.
steps="--set num_steps=3 --set save_steps=4 --set max_eval_samples=16 --set timing_samples=8
    --set hidden_size=16 --set intermediate_size=16 --set num_hidden_layers=2 --set lambdas=[0.1]"
check() { # check ARGUMENT...: alone, so that MPI, which leaks, is not there
    # shellcheck disable=SC2086
    valgrind --quiet --leak-check=full --show-leak-kinds=all --errors-for-leak-kinds=all \
        --error-exitcode=9 "$offramp" "$@" $steps >said 2>err || fail "$*: $(cat err)"
    [ ! -s err ] || fail "$*: $(cat err)"
}
check train "$tiny" --output-dir out --set data_dir="$data" --max-steps 7
check train "$tiny" --output-dir out --set data_dir="$data"
same "steps" "$(value out/summary.json step)" 12
code=0
valgrind --quiet --leak-check=full --errors-for-leak-kinds=all --error-exitcode=9 \
    "$offramp" train "$tiny" --output-dir bad --set data_dir=/nowhere >said 2>err || code=$?
same "exit code after a failure" $code 66
