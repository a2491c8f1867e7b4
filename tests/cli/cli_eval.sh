#!/bin/sh
# `offramp eval` says of a finished run what its summary says, at any number of ranks, and
# inference that really stops leaves where the table says, whatever the gates and kernels.
. "$(dirname "$0")/cli_run.sh"

# What must be equal of two files of results: everything but times.
facts() {
    sed -n '/"test_accuracy"\|"policy"\|"accuracy\|"lambda"\|"mean_macs"\|"ece"\|"share"\|"mean_objective"\|"choices_differing_in_inference"/p' "$1"
}

check_run() { # check_run NAME [ARGUMENT...]: trains, evaluates, compares
    name=$1
    shift
    train_well 1 "$name" "$@"
    facts "$name/summary.json" >"$name.facts"
    grep -q '"policy": "gate"' "$name.facts" || fail "$name: no row of gates"
    same "$name: rows with choices" "$(grep -c choices_differing "$name.facts")" 4
    if grep choices_differing "$name.facts" | grep -v ': 0,\{0,1\}$'; then
        fail "$name: inference chose other exits than the table"
    fi
    (cd "$name" && find . -type f -exec cksum {} + | sort) >before
    for ranks in 1 2; do
        on $ranks "$offramp" eval "$name" --json "$name.$ranks.json" >"$name.eval" 2>&1 ||
            fail "eval $name: $(cat "$name.eval")"
        facts "$name.$ranks.json" | cmp - "$name.facts" || fail "eval of $name on $ranks ranks"
    done
    (cd "$name" && find . -type f -exec cksum {} + | sort) | cmp - before ||
        fail "eval changed the run's folder"
}

short="--set num_steps=30 --set save_steps=0 --set hash_steps=0"
# shellcheck disable=SC2086
{
    check_run jei $short
    check_run direct $short --set exit_form=direct --set gate_target=cumulative \
        --set gate_balance=true --set exit_gate=linear --set exit_head=norm_mlp
    check_run uncertainty $short --set exit_loss=uncertainty --set pooling=mean
    check_run portable $short --set matmul=portable --set isa=portable --set exit_loss=uniform \
        --set exit_head=linear --set per_device_eval_batch_size=7
}

# The accuracy in the table is that of the last checkpoint, also of a run cut short.
train_well 1 cut_short --max-steps 40
"$offramp" eval cut_short --json cut_short.json >said 2>&1 || fail "$(cat said)"
facts cut_short/summary.json >cut_short.facts
facts cut_short.json | cmp - cut_short.facts || fail "eval of a run that was cut short"

for checkpoint in jei/checkpoint-*; do
    "$offramp" verify "$checkpoint" >said 2>&1 || fail "$(cat said)"
done
flip "$checkpoint/exits.safetensors" 2000
code=0
"$offramp" verify "$checkpoint" >said 2>err || code=$?
same "exit code of verify" $code 65
grep -q '^offramp: .*exits.safetensors.*manifest' err || fail "$(cat err)"
