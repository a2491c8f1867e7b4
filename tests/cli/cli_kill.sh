#!/bin/sh
# SIGKILL of one of two ranks; the same command again ends with the state of a run that
# nobody touched.
. "$(dirname "$0")/cli_run.sh"

train_well 1 straight --set num_steps=150

# start RANKS: in the background; the ranks leave their process numbers in pid.RANK.
start() {
    rm -f pid.*
    # shellcheck disable=SC2016
    mpirun -n 2 --oversubscribe --mca mpi_yield_when_idle 1 sh -c \
        'echo $$ >pid.$OMPI_COMM_WORLD_RANK; exec "$@"' sh "$offramp" train "$tiny" \
        --output-dir killed --set data_dir="$data" --set num_steps=150 >killed.out 2>killed.err &
    mpirun=$!
}

# Waits for `file`, at most 20 s, as long as the run lives.
wait_for() {
    tries=0
    while [ ! -e "$1" ]; do
        kill -0 $mpirun 2>/dev/null || fail "the run ended before $1 was there: $(cat killed.err)"
        tries=$((tries + 1))
        [ $tries -lt 2000 ] || fail "$1 did not come"
        sleep 0.01
    done
}

# The second victim is rank 0, which writes the checkpoints.
for round in 1 2; do
    start
    wait_for killed/checkpoint-$((round * 120))
    kill -9 "$(cat pid.$((2 - round)))"
    wait $mpirun && fail "mpirun did not notice that a rank died"
    if grep -q '"verdict": "finished"' killed/summary.json 2>/dev/null; then
        fail "the run was over before the kill"
    fi
done
start
wait $mpirun || fail "the same command again: $(cat killed.err)"
grep -q "resumed from" killed.out || fail "it started anew"
same "state after two kills" "$(hash_of killed)" "$(hash_of straight)"
hashes_of straight >hashes
hashes_of killed | cmp - hashes || fail "other hashes on the way"
