#!/bin/sh
# `offramp eval` says of a finished run what its summary says, at any number of ranks, and
# inference that really stops leaves where the table says, whatever the gates and kernels.
. "$(dirname "$0")/cli_run.sh"

# What must be equal of two files of results, a value a line: everything but times and how the run ended.
facts() {
    { tr -d ' \n' <"$1" && echo; } | sed -E 's/"ms_[a-z_]*":[^,}]*//g; s/"(fixed|visited)_ms":\[[^]]*\]//g;
        s/"(verdict|exit_code|step|world_size|state_hash)":[^,}]*//g' | tr -s ',' '\n' | sed 's/}*$//; /^$/d'
}

# No policy that was run chose other exits than the table says.
same_choices() { # same_choices FILE NAME
    if tr -d ' \n' <"$1" | tr ',}' '\n' | grep choices_differing | grep -v ':0$'; then
        fail "$2: inference chose other exits than the table"
    fi
}

check_run() { # check_run NAME [ARGUMENT...]: trains, evaluates, compares
    name=$1
    shift
    train_well 1 "$name" "$@"
    grep -q '"policy": "gate"' "$name/summary.json" || fail "$name: no row of gates"
    same "$name: rows with choices" "$(grep -c choices_differing "$name/summary.json")" 4
    same_choices "$name/summary.json" "$name"
    facts "$name/results.json" >"$name.facts"
    grep -q '"policy":"patience/patience"' "$name.facts" || fail "$name: no rules in results.json"
    (cd "$name" && find . -type f -exec cksum {} + | sort) >before
    for ranks in 1 2; do
        on $ranks "$offramp" eval "$name" --json "$name.$ranks.json" >"$name.eval" 2>&1 ||
            fail "eval $name: $(cat "$name.eval")"
        facts "$name.$ranks.json" | diff - "$name.facts" || fail "eval of $name on $ranks ranks"
    done
    (cd "$name" && find . -type f -exec cksum {} + | sort) | cmp - before ||
        fail "eval changed the run's folder"
}

short="--set num_steps=30 --set save_steps=0 --set hash_steps=0"
short_all="$short --set eval_detail=all --set eval_budgets=[0.9,0.6] --set exits.gate_learning_rate=0.1"
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
facts cut_short/results.json >cut_short.facts
facts cut_short.json | diff - cut_short.facts || fail "eval of a run that was cut short"

# Every rule at every budget, run for real, in both units; and what the summary has not.
# shellcheck disable=SC2086
train_well 1 all $short_all
results=all/results.json
same_choices $results all
count() { tr -d ' \n' <$results | grep -o "$1" | wc -l; }
for rule in max_prob margin entropy patience gate q_exit window conformal conformal_gate risk risk_gate; do
    [ "$(count "\"rule\":\"$rule\",\"solver\"")" -ge 2 ] || fail "no policies of the rule $rule"
done
# Milliseconds are measured: on a loaded machine the first exit may take more than budgets allow, once.
results=again.json
for _ in $(seq 10); do
    "$offramp" eval all --json $results >said 2>&1 || fail "$(cat said)"
    [ "$(count '"budget_unit":"ms"')" -lt 20 ] || break
done
[ "$(count '"budget_unit":"ms"')" -ge 20 ] || fail "no budgets in milliseconds: $(grep _ms $results)"
results=all/results.json
[ "$(count '"ms_per_sample":null')" -eq 2 ] || fail "not only the oracle was not timed: $(count '"ms_per_sample":null')"
[ "$(count '"kept":true')" -ge 20 ] || fail "no promises"
[ "$(count '"kept":false')" -eq 0 ] || fail "a conformal rule broke its promise"
grep -q '"reliability"' all/summary.json || fail "no reliability in the summary"
grep -q '"promises"\|"policies"\|"baselines"\|"evaluation"' all/summary.json &&
    fail "the summary has what is for results.json"
# Other scores of gates, and none at all.
for method in palbert linear; do
    # shellcheck disable=SC2086
    train_well 1 $method $short_all --set exit_loss=$method
    same_choices $method/results.json $method
done
grep -q '"rule":"gate","solver"' linear/results.json && fail "policies of gates without gates"
grep -q '"rule":"q_exit","solver"' palbert/results.json || fail "no Q-exit of PALBERT"

# A budget that nothing keeps.
# shellcheck disable=SC2086
train_well 1 low $short --set eval_budgets=[0.01]
grep -q '"rule":"gate","solver":"learned"' low/results.json || fail "no learned gates without budgets"
grep -q '"budget":' low/results.json && fail "a policy for a budget that nothing keeps"
grep -q 'accuracy at' low.out && fail "a table of budgets that nothing keeps"

for checkpoint in jei/checkpoint-*; do
    "$offramp" verify "$checkpoint" >said 2>&1 || fail "$(cat said)"
done
flip "$checkpoint/exits.safetensors" 2000
code=0
"$offramp" verify "$checkpoint" >said 2>err || code=$?
same "exit code of verify" $code 65
grep -q '^offramp: .*exits.safetensors.*manifest' err || fail "$(cat err)"
