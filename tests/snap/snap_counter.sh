#!/bin/sh
# The example of docs/examples: a rank is killed at any moment, and the same command goes on.
. "$(dirname "$0")/snap_run.sh"

count() { # count: its ranks in the background
    mpirun -n 2 --oversubscribe --mca mpi_yield_when_idle 1 --mca odls_base_sigkill_timeout 0 \
        "$counter" "$memory" 60 20 >said 2>err &
    job=$!
}
count
wait $job || fail "$(cat err)"
want=$(state)
nothing_left
for delay in 0.3 0.6 1 1.4; do
    count
    sleep $delay
    pkill -9 -n -f "^$counter $memory " || fail "after $delay s nothing was there to be killed"
    wait $job && fail "a killed job ended well"
    count
    wait $job || fail "after a kill at $delay s: $(cat err)"
    same "state after a kill at $delay s" "$(state)" "$want"
    [ $delay = 0.3 ] || ! grep -q "^from 0 " said || fail "it started anew: $(cat said)"
    nothing_left
done
