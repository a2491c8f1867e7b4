#!/bin/sh
# A run that is asked to halt, by each of the signals, in every kind of stage, with snapshots and
# without: it finishes its step, saves and ends with 75, and the same command goes on to the same bits.
. "$(dirname "$0")/cli_run.sh"

memory=/dev/shm/offramp-test.$$
job=
trap 'rm -rf "$memory"; [ -z "$job" ] || kill -9 $job 2>/dev/null || true' EXIT
steps="--set num_steps=120 --set hash_steps=40 --set save_steps=0 --set train_batch_size=128"
# shellcheck disable=SC2086
train_well 1 straight $steps
has_steps() { [ -e "$1/metrics.jsonl" ] && [ "$(wc -l <"$1/metrics.jsonl")" -ge "$2" ]; }

# halt OUT STEP SIGNAL ARGUMENT...: two ranks; the launcher is told once it has come so far.
halt() {
    out=$1
    at=$2
    with=$3
    shift 3
    # shellcheck disable=SC2086
    train 2 "$out" $steps "$@" &
    job=$!
    within 60 has_steps "$out" "$at"
    launcher=$(pgrep -f "mpirun .*--output-dir $out " | head -1)
    kill -s "$with" "$launcher"
    code=0
    wait $job || code=$?
    job=
}
halted() { # halted OUT: with a checkpoint of the step it says
    same "exit code of $1" $code 75
    step=$(sed -n 's/^offramp: halted as asked after step \([0-9]*\), which is on disk.*/\1/p' "$1.err")
    [ -e "$1/checkpoint-$step" ] || fail "no checkpoint of step '$step': $(ls "$1") $(cat "$1.err")"
    same "verdict" "$(value "$1/summary.json" verdict)" halted
    same "last step" "$(tail -n 1 "$1/metrics.jsonl" | sed 's/^{"step":\([0-9]*\),.*/\1/')" "$step"
}

snapshots="--set snapshot_steps=1 --set snapshot_dir=$memory"
# shellcheck disable=SC2086
for way in "20 USR1" "150 USR2 $snapshots" "270 USR1 $snapshots" "390 USR2"; do
    set -- $way
    out=halted.$1
    halt "$out" "$@"
    halted "$out"
    [ ! -e "$memory" ] || fail "memory was left: $(ls "$memory")"
    shift 2
    train_well 2 "$out" $steps "$@"
    grep -q "^resumed from $out/checkpoint-$step" "$out.out" || fail "$(cat "$out.out")"
    same "state of $out" "$(hash_of "$out")" "$(hash_of straight)"
done

# One rank alone: INT and TERM; and a second INT while it is about to halt ends it at once.
for with in INT TERM; do
    # shellcheck disable=SC2086
    "$offramp" train "$tiny" --output-dir "alone.$with" --set data_dir="$data" $steps \
        >"alone.$with.out" 2>"alone.$with.err" &
    job=$!
    within 60 has_steps "alone.$with" 30
    kill -s $with $job
    code=0
    wait $job || code=$?
    job=
    halted "alone.$with"
done

export OFFRAMP_FAULT=save.before_manifest@0#1=stall:60000
# shellcheck disable=SC2086
"$offramp" train "$tiny" --output-dir twice --set data_dir="$data" $steps >twice.out 2>twice.err &
job=$!
unset OFFRAMP_FAULT
if ! grep -q "no fault points" twice.err; then
    within 60 has_steps twice 10
    kill -s INT $job
    is_saving() { ls -d twice/*.partial >/dev/null 2>&1; }
    within 20 is_saving
    kill -s INT $job
    code=0
    wait $job || code=$?
    same "exit code of a second SIGINT" $code 130
fi
job=
