#!/bin/sh
# A run with a checkpoint is killed before each call that changes a file of its next save, and of
# the summary after it, in turn. What the same command then goes on from is whole, and it ends with
# the state and the files of a run that nothing happened to. Needs KILL_AT_CALL_LIBRARY.
. "$(dirname "$0")/cli_run.sh"

settings="--set num_hidden_layers=2 --set lambdas=[0.1] --set num_steps=4 --set save_steps=4
    --set save_total_limit=1 --set max_eval_samples=50 --set timing_samples=0"

# run OUT [ARGUMENT...]
run() {
    run_out=$1
    shift
    # shellcheck disable=SC2086
    train 1 "$run_out" $settings "$@"
}

# run_killed N OUT: up to the save after step 12 and the end, killed before the N-th call from the
# beginning of that save on; false if it made fewer.
run_killed() {
    code=0
    (
        export LD_PRELOAD="$KILL_AT_CALL_LIBRARY" KILL_AT_CALL="$1" KILL_AT_CALL_IN=train \
            KILL_AT_CALL_AFTER=checkpoint-12
        run "$2" --max-steps 12
    ) 2>/dev/null || code=$?
    [ $code = 0 ] || [ $code = 137 ] || fail "call $1: ended with $code: $(cat "$2.err")"
    [ $code = 137 ]
}

# The checkpoint that the run is to go on from: the newest that is whole.
newest_whole() {
    for step in 16 15 14 13 12 11 10 9 8; do
        if "$offramp" verify "$1/checkpoint-$step" >/dev/null 2>&1; then
            echo "$1/checkpoint-$step"
            return
        fi
    done
}

# check_name BEFORE: what has the name of the new checkpoint is it, whole, or what had it before.
check_name() {
    newest=case/checkpoint-12
    [ ! -e $newest ] || "$offramp" verify $newest >/dev/null 2>&1 ||
        cmp -s $newest/model.safetensors "$1/checkpoint-12/model.safetensors" ||
        fail "$1, call $calls: half of a checkpoint has the name $newest: $(ls $newest)"
}

names_in() {
    (cd "$1" && find . | sort)
}

# check_go_on BEFORE: the same command goes on from the newest that is whole, to the same end.
check_go_on() {
    whole=$(newest_whole case)
    [ -n "$whole" ] || fail "$1, call $calls: nothing whole is left"
    run case || fail "$1, call $calls: $(cat case.err)"
    grep -qx "resumed from $whole" case.out ||
        fail "$1, call $calls: $whole is whole: $(grep resumed case.out)"
    same "state after call $calls from $1" "$(hash_of case)" "$(hash_of straight)"
    names_in case | cmp - names || fail "$1, call $calls: other files are left"
}

# kill_at_all_calls BEFORE: from copies of that folder.
kill_at_all_calls() {
    calls=0
    while
        rm -rf case
        cp -r "$1" case
        run_killed $((calls + 1)) case
    do
        calls=$((calls + 1))
        check_name "$1"
        check_go_on "$1"
    done
    # A checkpoint has six files of five calls at least; then their folder, and `latest`.
    [ $calls -ge 40 ] || fail "$1: only $calls calls were seen"
    echo "$1: killed before each of $calls calls"
}

run straight || fail "$(cat straight.err)"
names_in straight >names

# The first save of its step.
run first --max-steps 8 || fail "$(cat first.err)"
kill_at_all_calls first

# The same save by a keeper, after the run was killed with its newest version in memory alone.
memory=/dev/shm/offramp-test.$$
trap 'rm -rf "$memory"' EXIT
cp -r first alone
OFFRAMP_FAULT=snap.after_commit@0#3=kill run alone --set snapshot_steps=1 \
    --set snapshot_dir="$memory" --set save_steps=0 && fail "it was not killed"
pkill -9 -f "keeper --folder $memory "
rm -rf alone/*.partial
cp -r "$memory" memory
step=$("$offramp" inspect "$memory" | sed -n 's/.*COMMITTED  step \([0-9]*\),.*/\1/p' | sort -n | tail -1)
calls=0
while
    rm -rf case "$memory"
    cp -r alone case
    sed "s|$scratch/alone|$scratch/case|" memory/plan.json >plan.json
    cp -r memory "$memory"
    cp plan.json "$memory"
    code=0
    LD_PRELOAD="$KILL_AT_CALL_LIBRARY" KILL_AT_CALL=$((calls + 1)) KILL_AT_CALL_IN=keeper \
        KILL_AT_CALL_AFTER="checkpoint-$step" "$offramp" keeper --folder "$memory" --grace-s 0 \
        --retain-s 0 2>keeper.err || code=$?
    [ $code != 0 ]
do
    same "exit code of the keeper at call $((calls + 1))" $code 137
    calls=$((calls + 1))
    rm -rf "$memory"
    [ ! -e "case/checkpoint-$step" ] || "$offramp" verify "case/checkpoint-$step" >/dev/null ||
        fail "keeper, call $calls: half of a checkpoint has its name"
    check_go_on alone
done
[ ! -e "$memory" ] || fail "left behind: $(ls "$memory")"
"$offramp" verify "case/checkpoint-$step" >/dev/null || fail "the keeper saved nothing: $(cat keeper.err)"
[ $calls -ge 40 ] || fail "keeper: only $calls calls were seen"
echo "keeper: killed before each of $calls calls"

# A save where a damaged checkpoint has its place, and an interrupted one left a part.
cp -r first second
run second --max-steps 12 || fail "$(cat second.err)"
cp -r first/checkpoint-8 second
cp -r second/checkpoint-12 second/checkpoint-12.partial
rm second/checkpoint-12.partial/manifest.json
flip second/checkpoint-12/model.safetensors 3000
kill_at_all_calls second
