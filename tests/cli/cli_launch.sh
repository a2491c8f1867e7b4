#!/bin/sh
# `offramp launch`: ranks that are killed, stopped, or leave with any code, under a supervisor. A run
# that is hurt ends by itself with the bits of one that is not; nothing is left of it; and what cannot
# be helped ends with one block that says so.
. "$(dirname "$0")/cli_run.sh"

kills=${KILLS:-20}
seed=${SEED:-1}
settings="--set num_steps=200 --set save_steps=100 --set save_total_limit=2 --set snapshot_steps=1"
export LAUNCH_TEST=$$
export OMPI_MCA_mpi_yield_when_idle=1 OMPI_MCA_rmaps_base_oversubscribe=1
supervisor=
trap 'kill -9 $supervisor 2>/dev/null || true' EXIT

# launch OUT [OPTION...] -- [ARGUMENT...]: in the background; what it says goes to OUT.out and OUT.err.
launch() {
    out=$1
    shift
    options=
    while [ "$1" != -- ]; do
        options="$options $1"
        shift
    done
    shift
    # shellcheck disable=SC2086
    "$offramp" launch -n 4 --oversubscribe $options -- train "$tiny" --output-dir "$out" \
        --set data_dir="$data" $settings "$@" >"$out.out" 2>"$out.err" &
    supervisor=$!
}

# over: waits for its end; the exit code is in `code`.
over() {
    code=0
    wait "$supervisor" || code=$?
}

# ends_with CODE
ends_with() {
    over
    [ "$code" = "$1" ] || fail "$out: ended with $code, expected $1: $(cat "$out.err")"
}

# told EVENT: how many of these supervisor.jsonl has.
told() {
    grep -c "\"event\":\"$1\"" "$out/supervisor.jsonl" 2>/dev/null || true
}

has_told() { # EVENT COUNT
    [ "$(told "$1")" -ge "$2" ]
}

steps_done() {
    sed -n 's/^{"step":\([0-9]*\),.*/\1/p' "$out/metrics.jsonl" 2>/dev/null | tail -n 1
}

has_come_to() {
    [ "$(steps_done || true)" -ge "$1" ] 2>/dev/null
}

# ranks: their processes, in the order of mpirun.
ranks() {
    for mpirun in $(cat /proc/"$supervisor"/task/*/children 2>/dev/null); do
        cat /proc/"$mpirun"/task/*/children 2>/dev/null || true
    done
}

# signal_rank SIGNAL N: to the N-th, 1 .. 4.
signal_rank() {
    tries=0
    until victim=$(ranks | awk -v n="$2" '{ for (i = 1; i <= NF; i++) if (++k == n) print $i }') &&
        [ -n "$victim" ] && kill -"$1" "$victim" 2>/dev/null; do
        tries=$((tries + 1))
        [ $tries -lt 500 ] || fail "no rank $2 to be found: $(cat "$out.err")"
        sleep 0.01
    done
}

# Processes of this test that are neither a shell nor one of its tools.
left() {
    for process in $(grep -lzx "LAUNCH_TEST=$LAUNCH_TEST" /proc/[0-9]*/environ 2>/dev/null |
        cut -d/ -f3); do
        case $(readlink "/proc/$process/exe" 2>/dev/null) in
        "$offramp" | */orterun | */mpirun*) tr '\0' ' ' <"/proc/$process/cmdline" && echo ;;
        esac
    done
}

nothing_runs() {
    [ -z "$(left)" ]
}

nothing_is_left() {
    tries=0
    until nothing_runs; do
        tries=$((tries + 1))
        [ $tries -lt 200 ] || fail "$out: left behind: $(left)"
        sleep 0.05
    done
    same "$out: pages of ranks that are left" "$("$offramp" status "$out" --field pages)" -
}

# shellcheck disable=SC2086
train_well 1 straight $settings --set snapshot_steps=0
hash=$(hash_of straight)

# Undisturbed, it says what mpirun says, and nothing of its own.
launch calm --
ends_with 0
same "state under launch" "$(hash_of calm)" "$hash"
same "what launch says" "$(cat calm.err)" ""
grep -q "^state $hash after step 800 on 4 ranks" calm.out || fail "the output of ranks: $(cat calm.out)"
nothing_is_left

# Killed `kills` times, each time as soon as it goes on and a random moment later.
launch hurt --max-restarts $((kills + 10)) -- --set num_steps=$((200 + 30 * kills))
awk -v seed="$seed" -v kills="$kills" 'BEGIN {
    srand(seed); for (i = 0; i < kills; i++) print 1 + int(4 * rand()), 0.15 * rand() }' >draws
within 30 has_come_to 20
i=0
while read -r rank delay_s; do
    sleep "$delay_s"
    signal_rank KILL "$rank"
    i=$((i + 1))
    within 30 has_told job.recovered $i
    # Descriptors and memory of the supervisor, from the second on.
    echo "$(find "/proc/$supervisor/fd" -mindepth 1 | wc -l)" \
        "$(sed -n 's/^VmRSS:[^0-9]*\([0-9]*\) kB/\1/p' "/proc/$supervisor/status")" >>resources
done <draws
ends_with 0
train_well 1 straight_long --set num_steps=$((200 + 30 * kills)) --set save_steps=0
same "state after $kills kills" "$(hash_of hurt)" "$(hash_of straight_long)"
same "losses told" "$(told job.lost)" "$kills"
same "lines of losses" "$(grep -c 'rank [0-3] (.*) gone .*(signal 9, Killed); starting again' hurt.err)" \
    "$kills"
same "lines of recoveries" "$(grep -c 'going on from step .* steps redone' hurt.err)" "$kills"
nothing_is_left
awk 'NR == 2 { files = $1; memory = $2 } NR >= 2 && $1 > most { most = $1 }
    END { print "descriptors", files, "then at most", most, "; kB", memory, "then", $2
          exit most > files || $2 > memory + 512 }' resources || fail "the supervisor grows"

# A rank that is stopped is noticed by its silence, named, and replaced.
launch stopped --hang-s 1 --
within 30 has_come_to 100
signal_rank STOP 3
ends_with 0
same "state after a rank was stopped" "$(hash_of stopped)" "$hash"
grep -q "rank [0-3] (.*) hung at step .*(silent for [0-9.]* s); starting again" stopped.err ||
    fail "a stopped rank is told as: $(cat stopped.err)"
silent_s=$(sed -n 's/.*(silent for \([0-9]*\).*/\1/p' stopped.err | sort -n | tail -n 1)
[ "$silent_s" -lt 5 ] || fail "a stopped rank is noticed after $silent_s s, with --hang-s 1"
nothing_is_left

# So is one that is stopped in an evaluation, of which there was none before to learn from.
phase_is() {
    [ "$("$offramp" status "$out" --field phase 2>/dev/null)" = "$1" ]
}
launch judged --hang-s 1 -- --set lambdas="$(seq -s, -f 0.%02g 1 40 | sed 's/.*/[&]/')"
within 60 phase_is evaluating
signal_rank STOP 1
ends_with 0
silent_s=$(sed -n 's/.* hung at .*(silent for \([0-9]*\).*/\1/p' judged.err | sort -n | tail -n 1)
[ -n "$silent_s" ] || fail "a rank stopped in the evaluation is told as: $(cat judged.err)"
[ "$silent_s" -lt 8 ] || fail "it is noticed after $silent_s s, with --hang-s 1"
same "verdict" "$(value judged/summary.json verdict)" finished
nothing_is_left

# No more restarts than allowed: the block, and the same in summary.json.
launch spent --max-restarts 1 --
within 30 has_come_to 20
signal_rank KILL 1
within 30 has_told job.recovered 1
signal_rank KILL 2
ends_with 93
for text in "the run has failed: started again 1 times, 1 an hour are allowed" \
    "  first to fail  rank 1 (.*) gone at step .* (signal 9, Killed)" "  last line      ..*" \
    "  saved          ..*" "  next           .*--max-restarts"; do
    grep -q "^\(offramp launch: \)\{0,1\}$text" spent.err || fail "no '$text' in: $(cat spent.err)"
done
same "verdict" "$(value spent/summary.json verdict)" restarts_used_up
same "code" "$(value spent/summary.json exit_code)" 93
launch spent -- # and goes on
ends_with 0
same "state after all" "$(hash_of spent)" "$hash"

# A second launch of the same run is refused, and does not disturb the first.
launch twice --
within 30 has_come_to 20
code=0
"$offramp" launch -n 1 -- train "$tiny" --output-dir twice --set data_dir="$data" 2>second.err || code=$?
same "code of a second launch" "$code" 78
same "what it says" "$(cat second.err)" \
    "offramp: twice is launched already, by process $supervisor on $(hostname)"
ends_with 0
same "state of the first" "$(hash_of twice)" "$hash"

# The supervisor itself is killed: its ranks end, and the next launch goes on.
launch orphaned --
within 30 has_come_to 100
kill -9 $supervisor
over
launch orphaned --
ends_with 0
same "state after the supervisor was killed" "$(hash_of orphaned)" "$hash"
nothing_is_left

# It is asked to halt: ranks finish their step and save, and the next launch goes on from disk.
for with in USR1 TERM; do
    launch "halted.$with" --
    within 30 has_come_to 60
    kill -s $with $supervisor
    ends_with 75
    same "verdict after $with" "$(value "halted.$with/summary.json" verdict)" halted
    [ -n "$(find "halted.$with" -maxdepth 1 -name 'checkpoint-*')" ] || fail "$with: nothing was saved"
    nothing_is_left
    launch "halted.$with" --
    ends_with 0
    same "state after $with" "$(hash_of "halted.$with")" "$hash"
done

# What is wrong with the call is told before anything is started.
launch wrong -- --set learnin_rate=1
ends_with 78
launch wrong -- --no-such-option
ends_with 2
[ ! -e wrong ] || fail "a wrong call left $(ls wrong)"
