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
    launcher=$(cut -d" " -f1 "/proc/$job/task/$job/children") # mpirun
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

# Asked by a file, on two ranks and under launch: the same; the ask goes with the run that halted.
long="--set num_steps=1000 --set hash_steps=0 --set save_steps=0"
# shellcheck disable=SC2086
train_well 1 far $long
# under_way OUT [ARGUMENT...]: two ranks in the background; and once that has made steps.
under_way() {
    out=$1
    shift
    # shellcheck disable=SC2086
    train 2 "$out" $long "$@" &
    job=$!
    within 60 has_steps "$out" 20
}
over() {
    code=0
    wait $job || code=$?
    job=
}
ask() { # ask CODE ARGUMENT...: what it says goes to ask.out and ask.err
    expected=$1
    shift
    code=0
    "$offramp" halt "$@" >ask.out 2>ask.err || code=$?
    same "code of halt $*: $(cat ask.out ask.err)" "$code" "$expected"
}

under_way filed
ask 0 filed
grep -q "^filed: asked to halt after its step$" ask.out || fail "halt says: $(cat ask.out)"
over
halted filed
[ ! -e filed/halt ] || fail "the ask outlives the run that halted"
grep -q "^asked to halt by process [0-9]* on $(hostname)$" filed.out || fail "$(cat filed.out)"
grep -q '"event":"run.asked_to_halt"' filed/events.jsonl || fail "no event of the ask"
ask 0 filed
grep -q "^filed: halted after step $step$" ask.out || fail "halt of a halted run: $(cat ask.out)"
[ ! -e filed/halt ] || fail "a run that is over was asked"

# An ask from before a start is none for it; one for a later step waits for that, or can be taken back.
touch filed/halt
under_way filed
within 60 test ! -e filed/halt
grep -q "^offramp: filed/halt was there before this start: removed$" filed.err || fail "$(cat filed.err)"
ask 2 filed --after-step 3000 --now
ask 0 filed --after_step 100000000
ask 70 filed --after-step 100000001 --wait 0
grep -q "^offramp: filed has not halted within 0 s, and stays asked to$" ask.err || fail "$(cat ask.err)"
rm filed/halt
ask 0 filed --after-step 3500 --wait 60
grep -q "^filed: halted after step 3500$" ask.out || fail "halt --wait says: $(cat ask.out)"
over
halted filed
same "step it was asked to halt after" "$step" 3500
# shellcheck disable=SC2086
train_well 2 filed $long
same "state of filed" "$(hash_of filed)" "$(hash_of far)"
ask 0 filed
grep -q "^filed: finished after step 4000$" ask.out || fail "halt of a finished run: $(cat ask.out)"

# Any file of that name will do.
under_way touched
touch touched/halt
over
halted touched
[ ! -e touched/halt ] || fail "touched/halt is left"

# Under launch, which takes it for what it is, and no loss; and a rank that dies meanwhile loses no ask.
export OMPI_MCA_mpi_yield_when_idle=1 OMPI_MCA_rmaps_base_oversubscribe=1
launched() { # launched [ARGUMENT...]
    # shellcheck disable=SC2086
    "$offramp" launch -n 2 -- train "$tiny" --output-dir launched --set data_dir="$data" $long \
        --set snapshot_steps=1 "$@" >launched.out 2>launched.err &
    job=$!
}
mkdir launched
touch launched/halt
launched
within 60 has_steps launched 20
grep -q "^offramp launch: launched/halt was there before this start: removed$" launched.err ||
    fail "$(cat launched.err)"
ask 0 launched --wait 60
case $(cut -d' ' -f3 "/proc/$job/stat" 2>/dev/null) in
'' | Z) ;;
*) fail "halt --wait is back before launch has ended" ;;
esac
over
same "code of launch" $code 75
[ ! -e launched/halt ] || fail "launch leaves the ask"
same "verdict" "$(value launched/summary.json verdict)" halted
! grep -q job.lost launched/supervisor.jsonl || fail "an ask is taken for a loss"
launched
within 60 has_steps launched 1500
ask 0 launched --after-step 3500
kill -KILL "$("$offramp" status launched --field process)"
over
same "code of launch" $code 75
grep -q "rank [01] .*gone" launched.err || fail "no rank was lost: $(cat launched.err)"
same "last step" "$(tail -n 1 launched/metrics.jsonl | sed 's/^{"step":\([0-9]*\),.*/\1/')" 3500
launched
over
same "state of launched" "$(hash_of launched)" "$(hash_of far)"

# Between two starts.
export OFFRAMP_FAULT="snap.copy@1#1=kill"
rm -r launched
"$offramp" launch -n 2 --max-stalls 5 -- train "$tiny" --output-dir launched --set data_dir="$data" \
    --set snapshot_steps=1 >launched.out 2>launched.err &
job=$!
unset OFFRAMP_FAULT
within 60 grep -q "starting again in [2-9]" launched.err
ask 0 launched --wait 20
over
same "code of launch between two starts" $code 75
grep -q "^offramp launch: asked to halt by process" launched.err || fail "$(cat launched.err)"
"$offramp" launch -n 2 -- train "$tiny" --output-dir launched --set data_dir="$data" \
    --set snapshot_steps=1 >launched.out 2>launched.err || fail "and goes on: $(cat launched.err)"

# Nobody is there to be asked.
under_way killed
kill -KILL "$("$offramp" status killed --field process)"
over
ask 66 killed
grep -q "^offramp: killed: lost: nobody runs it" ask.err || fail "$(cat ask.err)"
ask 66 .
ask 66 nowhere
ask 2
