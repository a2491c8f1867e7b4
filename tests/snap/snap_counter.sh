#!/bin/sh
# The example of docs/examples: a rank is killed at any moment, and the same command goes on from
# what was committed by then.
. "$(dirname "$0")/snap_run.sh"

count() { # count STEP_MS: its ranks in the background, beyond MPI_Init(): a kill there may hang mpirun
    mpirun -n 2 --oversubscribe --mca mpi_yield_when_idle 1 --mca odls_base_sigkill_timeout 0 \
        "$counter" "$memory" 60 "$1" >said 2>err &
    job=$!
    for _ in $(seq 600); do
        ! ls "$memory"/member-* >/dev/null 2>&1 || break
        kill -0 $job 2>/dev/null || break
        sleep 0.05
    done
}

committed() { # the newest step that is, or 0
    "$offramp" inspect "$memory" 2>/dev/null |
        sed -n 's/.*COMMITTED  step \([0-9]*\),.*/\1/p' | sort -n | tail -1 | grep . || echo 0
}

# goes_on WHEN: a rank is killed, now, and the job is started again.
goes_on() {
    least=$(committed)
    pkill -9 -n -f "^$counter $memory " || fail "$1 nothing was there to be killed"
    wait $job && fail "a killed job ended well"
    count 0
    wait $job || fail "after a kill $1: $(cat err)"
    same "state after a kill $1" "$(state)" "$want"
    from=$(sed -n 's/^from \([0-9]*\) .*/\1/p' said)
    [ "$from" -ge "$least" ] || fail "after a kill $1, step $least was committed: $(cat said)"
    nothing_left
}

count 0
wait $job || fail "$(cat err)"
want=$(state)
nothing_left
for delay in 0 0.1 0.4 0.8 1.2; do
    count 50
    sleep $delay
    goes_on "after $delay s"
done
count 200
for _ in $(seq 100); do
    sleep 0.1
    [ "$(committed)" = 0 ] || break
done
goes_on "after the first commit"
[ "$from" != 0 ] || fail "nothing was committed in 10 s: $(cat said)"
