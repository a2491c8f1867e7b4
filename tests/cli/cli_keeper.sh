#!/bin/sh
# The process that keeps snapshots. Nothing of it is left after a run that ended well. Killed
# whenever, it does not stop the run. After a run that was killed it writes what it has to disk. What
# is left of an earlier start does not wake up and write, and a run that runs is not touched.
. "$(dirname "$0")/cli_run.sh"

memory=/dev/shm/offramp-test.$$
job=
launcher=
trap 'rm -rf "$memory"; [ -z "$job" ] || kill -9 $job $launcher 2>/dev/null || true' EXIT
steps="--set num_steps=30 --set hash_steps=10 --set snapshot_dir=$memory"
# shellcheck disable=SC2086
train_well 1 straight $steps --set save_steps=0
steps="$steps --set snapshot_steps=1"

keeper() { # its pid; nothing if there is none
    pgrep -f "keeper --folder $memory " || true
}

state_of() { # of a process: R, S, T, Z; nothing if it is gone
    sed -n 's/^State:[[:space:]]*\([A-Z]\).*/\1/p' "/proc/$1/status" 2>/dev/null || true
}

gone() {
    case $(state_of "$1") in '' | Z) return 0 ;; *) return 1 ;; esac
}

has_keeper() { [ -n "$(keeper)" ]; }
has_event() { grep -q "\"event\":\"$2\"" "$1/events.jsonl" 2>/dev/null; }
has_steps() { [ -e "$1/metrics.jsonl" ] && [ "$(wc -l <"$1/metrics.jsonl")" -ge "$2" ]; }

nothing_left() {
    [ ! -e "$memory" ] || fail "left behind: $(ls -la "$memory")"
    left=$(keeper)
    [ -z "$left" ] || within 10 gone "$left"
}

# shellcheck disable=SC2086
train_well 2 well $steps --set save_steps=7
same "state" "$(hash_of well)" "$(hash_of straight)"
nothing_left
grep -q '"save_s":.*"event":"checkpoint.saved"' well/events.jsonl ||
    fail "nothing was saved in the background: $(cat well/events.jsonl)"
for checkpoint in well/checkpoint-*; do
    "$offramp" verify "$checkpoint" >/dev/null || fail "$checkpoint is not whole"
done

# Killed while it is idle, while ranks encode, while it takes a copy, writes, and completes a checkpoint: the run goes on, and
# another keeper is there for the next snapshots.
for point in idle encode keeper.take keeper.write keeper.place; do
    out=killed.$point
    case $point in
    idle) OFFRAMP_FAULT= ;;
    encode) OFFRAMP_FAULT="snap.stripes@0#60=stall:3000" ;; # in the 12th snapshot or so
    *) OFFRAMP_FAULT="$point@0#1=stall:60000" ;;
    esac
    export OFFRAMP_FAULT
    # shellcheck disable=SC2086
    train 2 "$out" $steps --set save_steps=25 &
    job=$!
    unset OFFRAMP_FAULT
    within 20 has_event "$out" snapshot.committed
    [ $point = idle ] || sleep 1 # a save is due at step 25, and stands still in the keeper
    kill -9 "$(keeper)"
    while ! gone $job; do # its successors come to the same point
        [ "${point%.*}" != keeper ] || for pid in $(keeper); do kill -9 "$pid" 2>/dev/null || true; done
        sleep 0.2
    done
    wait $job || fail "a keeper that was killed at $point stopped the run: $(cat "$out.err")"
    same "state of $out" "$(hash_of "$out")" "$(hash_of straight)"
    if [ "${point%.*}" = keeper ]; then
        has_event "$out" checkpoint.failed || fail "$point: no save failed"
        [ -z "$(find "$out" -name '*.partial' -newer "$out/summary.json")" ] || fail "a late partial"
    fi
    rm -rf "$memory" # where the last keeper was killed while it said goodbye
    for pid in $(keeper); do within 12 gone "$pid"; done
done

# A whole job is stopped, and the supervisor goes on without it: it is dead before it can write.
long="--set num_steps=2000 --set save_steps=0"
# shellcheck disable=SC2086
train 2 fenced $steps $long --set max_steps=300 &
job=$!
within 20 has_steps fenced 40
launcher=$(pgrep -f "mpirun .*--output-dir fenced " | head -1)
members=$(pgrep -P "$launcher")
# shellcheck disable=SC2086
kill -STOP "$launcher" $members
cp fenced.out stopped.out
# shellcheck disable=SC2086
OFFRAMP_INCARNATION=2 train_well 2 fenced $steps $long --set max_steps=300
for pid in $members; do
    within 10 gone "$pid"
    grep -q "process $pid of an earlier start still had it: killed" fenced.err ||
        fail "$pid was not killed: $(cat fenced.err)"
done
grep -q "^resumed from memory at step" fenced.out || fail "$(cat fenced.out)"
summary=$(cat fenced/summary.json)
kill -CONT "$launcher"
wait $job && fail "a job whose ranks were killed ended well"
same "summary after the old launcher woke up" "$(cat fenced/summary.json)" "$summary"
nothing_left
code=0
OFFRAMP_INCARNATION=2 train 2 fenced $long || code=$?
same "exit code of a start that was left behind" $code 78
grep -q "expected a number above 2" fenced.err || fail "$(cat fenced.err)"

# One that was cut off and never stopped finds out at its next save, which a keeper would write.
# shellcheck disable=SC2086
train 2 overtaken $steps --set num_steps=4000 --set save_steps=10 &
job=$!
within 20 has_event overtaken checkpoint.saved
echo "9 -1 0" >nine
mv nine overtaken/incarnation
code=0
wait $job || code=$?
same "exit code of a run that was overtaken" $code 78
grep -q "start 9 of overtaken has taken over, this is start 1" overtaken.err ||
    fail "$(cat overtaken.err)"
left=$(keeper)
before=$(ls -d overtaken/checkpoint-*)
kill -TERM "$left" # it would save now what it has
within 20 gone "$left"
same "checkpoints, after its keeper left" "$(ls -d overtaken/checkpoint-*)" "$before"
rm -rf "$memory"

# A run that runs is not touched by another start of it.
# shellcheck disable=SC2086
train 2 runs $steps --set num_steps=4000 --set save_steps=0 --set max_steps=4000 &
job=$!
within 20 has_steps runs 10
mkdir second
code=0
# shellcheck disable=SC2086
"$offramp" train "$tiny" --output-dir runs --set data_dir="$data" $steps --set num_steps=4000 \
    --set save_steps=0 --set max_steps=4000 >second/out 2>second/err || code=$?
same "exit code of a second start" $code 78
grep -q "another start of this job (incarnation 1) is running" second/err || fail "$(cat second/err)"
kill -0 $job || fail "the first start was stopped by the second"

# All its processes are killed: the keeper saves the newest version, and leaves when it may.
launcher=$(pgrep -f "mpirun .*--output-dir runs " | head -1)
# shellcheck disable=SC2046
kill -9 $(pgrep -P "$launcher") "$launcher"
wait $job 2>/dev/null || true
at=$(sed -n 's/^{"step":\([0-9]*\),.*"event":"snapshot.committed".*/\1/p' runs/events.jsonl | tail -1)
kill -TERM "$(keeper)" # now, not after some time
saved() { # the step; a member may also have begun a newer one, that another has not
    find runs -name 'checkpoint-*' | sed -n 's/.*-\([0-9]*\)$/\1/p' | sort -n | tail -1
}
has_saved() { [ -n "$(saved)" ]; }
within 20 has_saved
within 20 gone "$(keeper || echo 1000000)"
newest=$(saved)
[ "$newest" -ge "$at" ] || fail "step $newest was saved, step $at was committed"
rm -rf "$memory" # and the node is lost
# shellcheck disable=SC2086
train_well 2 runs $steps --set num_steps=4000 --set save_steps=0 --set max_steps=$((newest + 5))
grep -q "^resumed from runs/checkpoint-$newest" runs.out || fail "$(cat runs.out)"
nothing_left
