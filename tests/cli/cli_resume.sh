#!/bin/sh
# A run that is stopped and resumed, at other rank counts, across stages, and past damaged
# checkpoints, ends with the bits of the run that was not.
. "$(dirname "$0")/cli_run.sh"

train_well 1 straight
hashes_of straight >hashes

check_whole() { # check_whole OUT: as if it had never been stopped
    same "state of $1" "$(hash_of "$1")" "$(hash_of straight)"
    hashes_of "$1" | cmp - hashes || fail "$1: other hashes on the way"
    sed -n 's/^{"step":\([0-9]*\),.*/\1/p' "$1/metrics.jsonl" | cmp - steps ||
        fail "$1: metrics.jsonl does not have every step once"
}
seq 1 200 >steps
check_whole straight

# Within a stage and across one, at 1, 2 and 4 ranks in turn.
train_well 1 stopped --max-steps 37
same "step" "$(value stopped/summary.json step)" 37
train_well 2 stopped --max-steps 77
grep -q "resumed from .*checkpoint-37" stopped.out || fail "it did not resume from step 37"
train_well 4 stopped --max-steps 131
train_well 2 stopped --max-steps 163
train_well 1 stopped
check_whole stopped

# Exactly between two stages; and a finished run, which has nothing left to do.
for steps in 50 100 150 200; do
    train_well 1 between --max-steps $steps
done
check_whole between
train_well 2 between
check_whole between

# By name, into another folder.
on 1 "$offramp" train "$tiny" --output-dir named --set data_dir="$data" \
    --set resume_from_checkpoint=straight/checkpoint-120 >named.out 2>&1 || fail "$(cat named.out)"
same "state of named" "$(hash_of named)" "$(hash_of straight)"

# Damage: each newest checkpoint is passed over for the one before, aloud.
train_well 1 damaged --max-steps 120
flip damaged/checkpoint-120/model.safetensors 3000
rm damaged/checkpoint-100/optimizer.safetensors
head -c 50 damaged/checkpoint-80/manifest.json >manifest && mv manifest damaged/checkpoint-80/manifest.json
mkdir damaged/checkpoint-90 damaged/checkpoint-130.partial
train_well 2 damaged
for step in 120 100 90 80; do
    grep -q "^offramp: passed over .*checkpoint-$step: " damaged.err ||
        fail "nothing is said of checkpoint-$step: $(cat damaged.err)"
done
grep -q "resumed from .*checkpoint-60" damaged.out || fail "it did not resume from step 60"
check_whole damaged

# All damaged: no silent fresh start.
train_well 1 hopeless --max-steps 20
flip hopeless/checkpoint-20/model.safetensors 3000
train 1 hopeless && fail "a run without a valid checkpoint went on"
same "exit code" $? 65
tail -n 1 hopeless.err | grep -q "none of its 1 checkpoints is valid.*overwrite_output_dir" ||
    fail "no cure is named: $(cat hopeless.err)"
train_well 1 hopeless --set resume_from_checkpoint=none --set overwrite_output_dir=true
check_whole hopeless

# Settings that fix the numbers must be the same; others need not. A run that is refused leaves
# the folder as it was.
train_well 1 changed --max-steps 20
all_files() {
    find changed -type f -exec cksum {} + | sort
}
all_files >before
train 1 changed --set learning_rate=2e-3 && fail "another learning rate was accepted"
same "exit code" $? 78
grep -q "learning_rate" changed.err || fail "learning_rate is not named: $(cat changed.err)"
train 1 changed --set resume_from_checkpoint=none && fail "an earlier run was overwritten"
same "exit code" $? 78
grep -q "checkpoints of an earlier run.*overwrite_output_dir" changed.err || fail "$(cat changed.err)"
all_files | cmp - before || fail "a refused run changed the folder"
cp -r "$data" elsewhere
train_well 2 changed --set logging_steps=3 --set save_steps=0 --set data_dir=elsewhere \
    --set backbone.learning_rate=0.001 --set lambdas=0.05,0.40
same "state of changed" "$(hash_of changed)" "$(hash_of straight)"

# Gates that predict uncertainty have targets between 0 and 1, which are no class counts.
train_well 1 unsure --set exit_loss=uncertainty --max-steps 90
train_well 1 unsure_stopped --set exit_loss=uncertainty --max-steps 70
train_well 2 unsure_stopped --set exit_loss=uncertainty --max-steps 90
same "state of unsure" "$(hash_of unsure_stopped)" "$(hash_of unsure)"
