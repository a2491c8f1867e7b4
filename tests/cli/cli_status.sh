#!/bin/sh
# `offramp status` and `offramp top`: of runs that are under way, alone and under launch, that have
# finished, halted, and were killed; and of folders in which something is missing or cut off.
. "$(dirname "$0")/cli_run.sh"

export OMPI_MCA_mpi_yield_when_idle=1 OMPI_MCA_rmaps_base_oversubscribe=1
steps="--set num_steps=1000 --set hash_steps=0 --set save_steps=100 --set save_total_limit=2"
job=
trap '[ -z "$job" ] || kill -9 $job 2>/dev/null || true' EXIT

status() { # status CODE ARGUMENT...
    expected=$1
    shift
    code=0
    "$offramp" status "$@" >said 2>err || code=$?
    same "code of status $*: $(cat said err)" "$code" "$expected"
}
field() {
    "$offramp" status "$1" --field "$2"
}
says() { # says PATTERN: a line of the screen
    grep -Eq "^$1\$" said || fail "no '$1' in: $(cat said)"
}
has_steps() { [ -e "$1/metrics.jsonl" ] && [ "$(wc -l <"$1/metrics.jsonl")" -ge "$2" ]; }
is_at_least() { [ "$(field "$1" "$2")" -ge "$3" ] 2>/dev/null; }

# Wrong calls, and what is no run: one line each.
status 2
status 2 a b
status 2 a --json --field step
status 66 nowhere
same "lines on a folder that is not there" "$(wc -l <err)" 1
status 66 "$tiny"
status 66 "$scratch"
grep -q "^offramp: .*: no output_dir of a run$" err || fail "$(cat err)"

# Alone, under way.
# shellcheck disable=SC2086
"$offramp" train "$tiny" --output-dir alone --set data_dir="$data" $steps >alone.out 2>alone.err &
job=$!
within 60 has_steps alone 150
same "verdict of a run under way" "$(field alone verdict)" running
same "its process" "$(field alone process)" $job
same "its host" "$(field alone host)" "$(hostname)"
same "all steps" "$(field alone steps)" 4000
same "a field that nobody knows" "$(field alone no_such_field)" -
kill -STOP $job # so that it is not over before it was looked at
status 0 alone
says "alone: running"
says "  rank 0     process $job on $(hostname), since 20.*, .* s; start 1, ranks: 1"
says "  step       [0-9]+ of 4000, [a-z]+ [0-9]+ of 1000, .* ago"
says "  speed      [0-9.e+]+ steps/s, [0-9.e+]+ samples/s"
says "  loss       [0-9.]+, accuracy [0-9.]+"
says "  on disk    alone/checkpoint-[0-9]+00, .* ago"
says "  next       offramp halt alone asks it to save and end"
same "step of status" "$(field alone step)" \
    "$(tail -n 1 alone/metrics.jsonl | sed 's/^{"step":\([0-9]*\),.*/\1/')"

# It is killed: lost, and what to do.
kill -KILL $job
wait $job 2>/dev/null || true
job=
same "verdict of a run that was killed" "$(field alone verdict)" retry
status 0 alone
says "alone: lost"
says "  next       the same command goes on from what is saved"

# Halted, then finished, while top looks on.
# shellcheck disable=SC2086
"$offramp" train "$tiny" --output-dir alone --set data_dir="$data" $steps >alone.out 2>alone.err &
job=$!
within 60 is_at_least alone incarnation 2
"$offramp" halt alone --wait 60 >/dev/null
wait $job || true
same "verdict of a run that halted" "$(field alone verdict)" requeue
same "its state" "$(field alone state)" halted
same "its code" "$(field alone exit_code)" 75
# shellcheck disable=SC2086
"$offramp" train "$tiny" --output-dir alone --set data_dir="$data" $steps >alone.out 2>alone.err &
job=$!
is_running() { [ "$(field alone verdict)" = running ]; }
within 60 is_running
"$offramp" top alone --interval 0.1 >top.out 2>top.err &
top=$!
script -qec "'$offramp' top alone --interval 0.1" typed >/dev/null 2>&1 || fail "top on a terminal: $?"
wait $top || fail "top ended with $?: $(cat top.err)"
wait $job
job=
grep -Eq '^running \| step [0-9]+/4000 \| [a-z]+ \| .* steps/s \| loss .* \| disk [0-9]+ \| losses 0$' top.out ||
    fail "top without a terminal: $(cat top.out)"
grep -q '^finished | step 4000/4000 ' top.out || fail "the last line of top: $(tail -n 1 top.out)"
! grep -q "$(printf '\033')" top.out || fail "control sequences where there is no terminal"
for sequence in '[?1049h' '[?25l' '[?25h' '[?1049l'; do
    grep -qF "$(printf '\033')$sequence" typed || fail "top on a terminal lacks $sequence"
done
same "verdict of a run that finished" "$(field alone verdict)" finished
same "its step" "$(field alone step)" 4000
status 0 alone/
says "alone: finished"
says "  next       offramp eval alone"

# Under launch, with a rank that is lost.
# shellcheck disable=SC2086
"$offramp" launch -n 2 -- train "$tiny" --output-dir launched --set data_dir="$data" $steps \
    --set snapshot_steps=1 >launched.out 2>launched.err &
job=$!
within 60 has_steps launched 50
kill -KILL "$(field launched process)"
within 60 is_at_least launched restarts 1
within 60 grep -q job.recovered launched/supervisor.jsonl
kill -STOP $job
status 0 launched
says "launched: (running|starting)"
says "  launch     process $job on $(hostname), restarts: 1"
says "  in memory  step [0-9]+.*"
says "  losses     1"
says "    step [0-9]+: rank [01] \(.*\), signal 9; went on from step [0-9]+ after [0-9.]+ s"
rm top.out
"$offramp" top launched --interval 60 >top.out & # and is interrupted
top=$!
within 20 test -s top.out
kill -TERM $top
wait $top || fail "top that is told to end: $?"
kill -CONT $job
"$offramp" halt launched --wait 60 >/dev/null
wait $job || true
job=
same "verdict after launch was asked to halt" "$(field launched verdict)" requeue
same "restarts" "$(field launched restarts)" 1
same "snapshots of a run that halted" "$(field launched memory_step)" -

# Whatever is missing or cut off, something is told.
printf '{"step": 99999, "sta' >>alone/metrics.jsonl
rm alone/summary.json # whose step is told first
same "step with half a line at the end" "$(field alone step)" 4000
printf '{"verdict": "fin' >alone/summary.json
same "verdict with half a summary" "$(field alone verdict)" retry
for file in run.json metrics.jsonl events.jsonl incarnation latest summary.json; do
    rm alone/$file
    status 0 alone
done
for checkpoint in alone/checkpoint-*; do
    rm -r "$checkpoint"
done
status 0 alone
same "verdict of settings alone" "$(field alone verdict)" not_begun

# However long a run is, its end is read alone: 8 GB here.
tail -n 1 launched/metrics.jsonl >line
truncate -s 8000000000 launched/metrics.jsonl
echo >>launched/metrics.jsonl
cat line >>launched/metrics.jsonl
rm launched/summary.json
begun=$(date +%s)
same "step of a long run" "$(field launched step)" "$(sed 's/^{"step":\([0-9]*\),.*/\1/' line)"
[ $(($(date +%s) - begun)) -le 5 ] || fail "a long run takes $(($(date +%s) - begun)) s to look at"
rm launched/metrics.jsonl
