#!/bin/sh
# SIGKILL of a random rank of two at a random moment, KILLS times (100) with SEED (1), and the same
# command again each time. Every job that gets to its end ends with the state of a run that nothing
# happened to. A kill loses nothing that was told to be committed, and no more work than an interval
# and one snapshot in flight. At the end no memory and no process is left.
. "$(dirname "$0")/cli_run.sh"

if [ ! -e "/proc/$$/task/$$/children" ]; then
    echo "SKIPPED: the kernel does not list the children of a process" >&2
    exit 77
fi
kills=${KILLS:-100}
seed=${SEED:-1}
interval=1
last=800
settings="--set num_steps=200 --set save_steps=40 --set save_total_limit=2 --set save_mb_per_s=8
    --set snapshot_steps=$interval"
memory=/dev/shm/offramp-test.$$
mpirun=
trap 'kill -9 $mpirun 2>/dev/null || true; rm -rf "$memory"' EXIT
mkdir "$memory"

# shellcheck disable=SC2086
train_well 1 straight $settings --set snapshot_steps=0
hashes_of straight >hashes
seq 1 $last >steps

# start: in the background. What comes of it has RANDOM_KILLS in its environment and shares memory
# under $memory only.
start() {
    set -- "$run"/*.partial
    old_partials=$*
    # shellcheck disable=SC2086
    RANDOM_KILLS=$$ mpirun -n 2 --oversubscribe --mca mpi_yield_when_idle 1 \
        --mca odls_base_sigkill_timeout 0 --mca btl_vader_backing_directory "$memory" \
        "$offramp" train "$tiny" --output-dir "$run" --set data_dir="$data" $settings \
        --set snapshot_dir="$memory/snapshots" </dev/null >"$run.out" 2>"$run.err" &
    mpirun=$!
}

ranks() {
    cat /proc/$mpirun/task/*/children 2>/dev/null || true
}

# steps_done: of the job, over all starts; a line may be cut off.
steps_done() {
    sed -n 's/^{"step":\([0-9]*\),.*/\1/p' "$run/metrics.jsonl" 2>/dev/null | tail -n 1
}

saves_now() {
    set -- "$run"/*.partial
    [ "$*" != "$old_partials" ]
}

# has_come_to PHASE
has_come_to() {
    case $1 in
    start-up) [ -n "$(ranks)" ] ;;
    restore) [ -s "$run.out" ] ;;
    training) grep -q "^snapshots survive" "$run.out" 2>/dev/null ;;
    save) has_come_to training && saves_now ;;
    end) has_come_to training && tail -n 1 "$run/metrics.jsonl" | grep -q "^{\"step\":$last," ;;
    esac
}

# The phase a killed job was in, by what it left.
phase_of_death() {
    for phase in end save training restore; do
        if has_come_to $phase; then
            echo $phase
            return
        fi
    done
    echo start-up
}

# kill_in PHASE DELAY_S RANK: false if nobody was there any more.
kill_in() {
    until has_come_to "$1" || ! kill -0 $mpirun 2>/dev/null; do
        sleep 0.002
    done
    sleep "$2"
    while kill -0 $mpirun 2>/dev/null; do # the kernel's list of children may miss one that is there
        victim=$(ranks | awk -v n="$3" '{ print n <= NF ? $n : $1 }')
        [ -z "$victim" ] || ! kill -9 "$victim" 2>/dev/null || return 0
        sleep 0.002
    done
    return 1
}

has_live_rank() {
    for rank in $(ranks); do
        grep -q "^State:.*zombie" "/proc/$rank/status" 2>/dev/null || return 0
    done
    return 1
}

# end_of_mpirun: its exit code in `code`. Open MPI 4.1.4 may wait for a lock forever, after all ranks
# are dead, when one was killed while it was being connected (PMIx_server_finalize()).
end_of_mpirun() {
    tries=0
    while kill -0 $mpirun 2>/dev/null; do
        tries=$((tries + 1))
        if [ $tries -gt 300 ] && ! has_live_rank; then
            hangs=$((hangs + 1))
            kill -9 $mpirun
            find "$memory" -maxdepth 1 -type f -delete # Open MPI's
            break
        fi
        [ $tries -lt 1500 ] || fail "$run: a rank outlives the other: $(cat "$run.err")"
        sleep 0.02
    done
    code=0
    wait $mpirun || code=$?
}

# What this start went on from, if it came so far as to say so; against what the kill before left.
check_loss() {
    has_come_to training || return 0
    from=$(sed -n -e 's/^resumed from memory at step \([0-9]*\),.*/\1/p' \
        -e 's/^resumed from .*checkpoint-\([0-9]*\)$/\1/p' "$run.out")
    from=${from:-0}
    [ "$from" -ge "$committed" ] ||
        fail "$run: step $committed was committed, it went on from $from"
    # In flight for at most twice as long as any snapshot was that got to its commit, and on a machine
    # that does not get round to it, for 20 steps.
    bound=$((interval + 2 * interval * (1 + most_skipped)))
    [ $bound -ge 20 ] || bound=20
    [ $((reached - from)) -le $bound ] ||
        fail "$run: had reached step $reached, went on from $from, $bound steps may be lost"
    [ $((reached - from)) -le "$most_lost" ] || most_lost=$((reached - from))
    reached=0 # it is known now what this kill cost
}

# The newest commit that was told; the most snapshots that were skipped because one was in flight.
read_events() {
    [ -e "$run/events.jsonl" ] || return 0
    # shellcheck disable=SC2046
    set -- $(sed -n 's/^{"step":\([0-9]*\),.*"skipped":\([0-9]*\),"event":"snapshot.committed".*/\1 \2/p' \
        "$run/events.jsonl" | awk -v most="$most_skipped" '
            $2 > most { most = $2 }
            { newest = $1 }
            END { print newest + 0, most }')
    committed=$1
    most_skipped=$2
}

begin_job() {
    jobs=$((jobs + 1))
    run=$scratch/job.$jobs
    reached=0
    committed=0
}

end_job() {
    same "state of $run" "$(hash_of "$run")" "$(hash_of straight)"
    hashes_of "$run" | cmp - hashes || fail "$run: other hashes on the way"
    sed -n 's/^{"step":\([0-9]*\),.*/\1/p' "$run/metrics.jsonl" | cmp - steps ||
        fail "$run: metrics.jsonl does not have every step once"
    [ -z "$(find "$memory" -type f)" ] || fail "memory was left behind: $(find "$memory")"
}

awk -v seed="$seed" -v kills="$kills" 'BEGIN {
    split("start-up 0.25 restore 0.004 training 0.6 save 0.005 end 0.2", phase, " ")
    srand(seed)
    for (i = 0; i < kills; i++) {
        p = 1 + 2 * int(5 * rand())
        print phase[p], phase[p + 1] * rand(), 1 + int(2 * rand())
    }
}' >draws
jobs=0
most_lost=0
most_skipped=0
hangs=0
begin_job
while read -r aim delay_s rank; do
    until
        start
        was_killed=true
        kill_in "$aim" "$delay_s" "$rank" || was_killed=false
        end_of_mpirun
        check_loss
        [ $code != 0 ]
    do
        end_job
        begin_job
    done
    [ $was_killed = true ] || fail "it ended by itself, with $code: $(cat "$run.err")"
    phase_of_death >>phases
    read_events
    done_now=$(steps_done)
    [ "${done_now:-0}" -le "$reached" ] || reached=$done_now
done <draws
start
wait $mpirun || fail "nobody was killed, it ended with $?: $(cat "$run.err")"
check_loss
end_job
tries=0
while left=$(grep -lzx "RANDOM_KILLS=$$" /proc/[0-9]*/environ 2>/dev/null); do
    tries=$((tries + 1))
    [ $tries -lt 100 ] || fail "processes were left behind: $left"
    sleep 0.1
done

echo "seed $seed: $kills kills of $jobs jobs; at most $most_lost steps lost by one, and $most_skipped" \
    "snapshots skipped during another; mpirun hung $hangs times"
same "kills" "$(wc -l <phases)" "$kills"
sort phases | uniq -c
for phase in start-up restore training save end; do
    grep -q "^$phase\$" phases || [ "$kills" -lt 50 ] || fail "no kill during $phase"
done
