#!/bin/sh
# `offramp inspect` tells what is there, of a run under way too, and changes nothing.
. "$(dirname "$0")/cli_run.sh"

memory=/dev/shm/offramp-test.$$
trap 'rm -rf "$memory"' EXIT
steps="--set num_steps=60 --set save_steps=60 --set snapshot_steps=1 --set snapshot_dir=$memory"

# look ARGUMENT...: what it says goes to said and said.err, its exit code to $code.
look() {
    code=0
    "$offramp" inspect "$@" >said 2>said.err || code=$?
}

# says PATTERN...: all of them are in what it said.
says() {
    for pattern in "$@"; do
        grep -Eq -- "$pattern" said || fail "'$pattern' is not in: $(cat said said.err)"
    done
}

listing() {
    find "$@" -type f -exec ls -l --time-style=full-iso {} + -exec cksum {} +
}

# A run under way: it is seen, never found damaged, and ends as if nobody had looked.
# shellcheck disable=SC2086
train_well 2 straight $steps --set snapshot_steps=0
# shellcheck disable=SC2086
train 2 live $steps &
pid=$!
seen=0
looks=0
while kill -0 $pid 2>/dev/null; do
    if [ -n "$(find "$memory" -name 'member-*' 2>/dev/null)" ]; then
        look --verify "$memory"
        case $code in
        0) looks=$((looks + 1)) ;;
        66) ;; # just removed
        *) fail "code $code of a run under way: $(cat said said.err)" ;;
        esac
        if grep -q "in use by a process" said && grep -q "COMMITTED" said; then seen=1; fi
    fi
done
wait $pid || fail "$(cat live.err)"
same "seen at work, in $looks looks" $seen 1
same "state of a run that was looked at" "$(hash_of live)" "$(hash_of straight)"

# Checkpoints and the run.
before=$(listing live)
look live
same "exit code of a run" $code 0
says "^live: a run, finished after step 240 on 2 ranks, state $(hash_of live)\$" \
    '^  checkpoint-240: step 60 of stage 4 \(joint\), [0-9.]+ MiB$' \
    '^  checkpoint-60: step 60 of stage 1 \(backbone\)'
look --verify live/checkpoint-180/
same "exit code of a checkpoint" $code 0
says '^live/checkpoint-180: a checkpoint after step 180: step 60 of stage 3 \(exits\)$' \
    '^  lambdas: 0.05, 0.4$' '^  stage: optim adamw,' \
    "^  model.safetensors  *$(wc -c <live/checkpoint-180/model.safetensors) bytes\$" \
    '^  all files are as its manifest says$'
look --json live/checkpoint-180
says '^  "kind": "checkpoint",$' '^  "step": 180,$' '^  "stage_kind": "exits",$' '"seed": "42"'
same "files, looked at" "$(listing live)" "$before"
cp -r live/checkpoint-180 live/checkpoint-181
flip live/checkpoint-181/model.safetensors 5000
look --verify live
same "exit code with a damaged checkpoint" $code 65
says '^    DAMAGED: live/checkpoint-181/model.safetensors: [0-9]+ bytes with hash' \
    '^  checkpoint-240: .* as its manifest says$'
same "its message" "$(cat said.err)" "offramp: live: damaged parts: 1"

# What it cannot be about.
look
same "exit code without a path" $code 2
look nowhere
same "exit code of nothing" $code 66
look "$data"
same "exit code of a folder of something else" $code 66
look "$tiny"
same "exit code of a file of something else" $code 65

# Memory that a killed run left.
# shellcheck disable=SC2086
OFFRAMP_FAULT=snap.after_commit@1#20=kill train 2 killed $steps || true
if grep -q "no fault points" killed.err; then
    echo "SKIPPED: no fault points in this build" >&2
    exit 77
fi
before=$(listing "$memory")
look --verify "$memory"
same "exit code of memory" $code 0
says "^$memory: memory of snapshots, members: 2\$" \
    'ranks 2, nodes 1, groups 1; survives the loss of any of the 2 processes;' \
    '^    rank 1 of group 0 \(1\+1\), node 0, [0-9.]+ MiB, not in use by a process$' \
    '^    slot [01]  COMMITTED  step [0-9]+, incarnation 1; good: data 1 of 1, parity 1 of 1$'
look --json "$memory"
says '^  "kind": "memory",$' '"in_use": false,' '"state": "COMMITTED",' '"parity": 1,'
look killed
says "^killed: a run\$" "^$memory: memory of snapshots, members: 2\$"
same "memory, looked at" "$(listing "$memory")" "$before"
member=$(find "$memory" -name 'member-*-1')
flip "$member" $(($(wc -c <"$member") - 1))
look "$member"
same "exit code where nothing is hashed" $code 0
look --verify "$member"
same "exit code with a flipped bit" $code 65
says '^    slot 1  .*; good: data 1 of 1, parity 0 of 1$' \
    '^      DAMAGED: 1 of 1 data segments and 0 of 1 parity segments are good$'
flip "$member" 40
look "$memory"
same "exit code with a broken header" $code 65
says "^    DAMAGED: $member: snapshot file header: checksum\$" '^    rank 0 of group 0'
