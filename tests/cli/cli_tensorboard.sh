#!/bin/sh
# The setting `tensorboard`: the real TensorBoard reads the files of a run that was stopped and went on, and has the
# numbers of metrics.jsonl. It comes from PyPI into an environment beside the scratch folder.
. "$(dirname "$0")/cli_run.sh"

check="$(dirname "$self")/tensorboard_check.py"
environment=$scratch/../tensorboard_environment
python=$environment/bin/python
if ! "$python" -c 'import tensorboard' 2>/dev/null; then
    rm -rf "$environment"
    if ! { python3 -m venv "$environment" && timeout 400 "$environment/bin/pip" -q install tensorboard; } >pip.out 2>&1; then
        rm -rf "$environment"
        echo "SKIPPED: no TensorBoard from PyPI: $(tail -n 1 pip.out)" >&2
        exit 77
    fi
fi

# Every step; with it the run has the same bits as without.
every="--set logging_steps=1 --set tensorboard=true --set timing_samples=0"
# shellcheck disable=SC2086
train_well 1 plain --set timing_samples=0
# shellcheck disable=SC2086
train_well 2 whole $every
same "state with TensorBoard's files" "$(hash_of whole)" "$(hash_of plain)"
[ ! -e plain/tensorboard ] || fail "files nobody asked for"
same "files of one start" "$(find whole/tensorboard -type f | wc -l)" 1
"$python" "$check" whole 200 1 || fail "TensorBoard and metrics.jsonl differ"

# Stopped, gone on with from an older checkpoint: the steps that were made twice are there once.
# shellcheck disable=SC2086
train_well 1 again $every --max-steps 77
rm -r again/checkpoint-77
# shellcheck disable=SC2086
train_well 1 again $every --set snapshot_steps=5
same "files of two starts" "$(find again/tensorboard -type f | wc -l)" 2
same "state of a run in two starts" "$(hash_of again)" "$(hash_of plain)"
"$python" "$check" again 200 1 || fail "TensorBoard and metrics.jsonl of two starts differ"

# As often as the log; a folder that cannot be made ends the run before its first step.
train_well 1 seldom --set tensorboard=true --set logging_steps=30 --set timing_samples=0 --max-steps 100
"$python" "$check" seldom 100 30 || fail "TensorBoard and metrics.jsonl at logging_steps differ"
mkdir refused
: >refused/tensorboard
code=0
train 1 refused --set tensorboard=true || code=$?
same "code where no folder can be made" $code 74
same "lines on stderr: $(cat refused.err)" "$(wc -l <refused.err)" 1
