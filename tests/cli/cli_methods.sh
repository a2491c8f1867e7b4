#!/bin/sh
# Every row of the table of methods trains, all stages, to the same state on one rank and on two, and
# inference that stops early chooses as the evaluation says. So do gates of all kinds.
. "$(dirname "$0")/cli_run.sh"

short="--set num_steps=12 --set save_steps=0 --set hash_steps=0 --set max_eval_samples=100
    --set timing_samples=100 --set exit_ramp_steps=6"

# check_run NAME ARGUMENT...
check_run() {
    name=$1
    shift
    # shellcheck disable=SC2086
    train_well 1 "$name" $short "$@"
    # shellcheck disable=SC2086
    train_well 2 "$name.2" $short "$@"
    same "state of $name on two ranks" "$(hash_of "$name.2")" "$(hash_of "$name")"
    differing=$(sed -n 's/.*"choices_differing_in_inference": \([0-9]*\).*/\1/p' "$name/summary.json" | sort -u)
    same "choices of $name that differ in inference" "$differing" 0
    hash_of "$name" >>states
}

"$offramp" config --reference | grep -v '`exit_loss`' | sed -n '/^## Methods/,$s/^| `\([a-z_]*\)` .*/\1/p' >methods
[ "$(wc -l <methods)" -ge 15 ] || fail "methods: $(cat methods)"
while read -r method; do
    check_run "$method" --set exit_loss="$method" </dev/null
done <methods
for gate in linear hidden_linear hidden_mlp shared; do
    check_run gate.$gate --set exit_gate=$gate
done
check_run gate.ensemble --set exit_loss=uniform --set exit_gate=ensemble
check_run gate.boosted --set exit_loss=boosted --set exit_gate=mlp
check_run means --set exit_gradient=equilibrium
same "different states" "$(sort -u states | wc -l)" "$(wc -l <states)"

# Weights that follow the step are those of the step after a resume, too.
for method in layerskip ee_llm berxit; do
    for steps in 29 -1; do # in the middle of the third stage
        # shellcheck disable=SC2086
        train_well 1 stopped.$method $short --set exit_loss=$method --set exit_curriculum=rotational \
            --max-steps $steps
    done
    # shellcheck disable=SC2086
    train_well 1 whole.$method $short --set exit_loss=$method --set exit_curriculum=rotational
    same "state of $method after a resume" "$(hash_of stopped.$method)" "$(hash_of whole.$method)"
done

# shellcheck disable=SC2086
train_well 1 cosine $short --set exit_loss=ee_llm --set exit_ramp=cosine
[ "$(hash_of cosine)" != "$(hash_of ee_llm)" ] || fail "the ramp of ee_llm does not follow the steps"

# What cannot be is refused.
# refused WORDS ARGUMENT...
refused() {
    words=$1
    shift
    code=0
    train 1 refused "$@" || code=$?
    same "exit code of $*" $code 78
    grep -q "$words" refused.err || fail "$*: $(cat refused.err)"
}
refused 'exit_loss jei cannot be trained with this exit_gate' --set exit_gate=none
refused 'exit_loss palbert needs exit_form hazard' --set exit_loss=palbert --set exit_form=direct
refused 'exit_peaks has 1 values, there are 2 exits' --set exit_loss=ee_llm --set exit_peaks=[0.5]
