#!/bin/sh
# The setting `device`: a CUDA device that cannot be had is refused in one line, and without the wish
# for it the run goes on with the CPU, to the same bits. CUDA=built: the program has CUDA, and then it
# also says why it does not use it; CUDA=absent: it has not, and says not a word of it.
. "$(dirname "$0")/cli_run.sh"

# Whatever this machine has, it has no device now: neither a real one nor a simulated one.
export CUDA_VISIBLE_DEVICES='' CUDASIM_DEVICES=0
# shellcheck disable=SC2034
steps="--set num_steps=4 --set timing_samples=0"

for ranks in 1 2; do
    code=0
    train $ranks refused --set device=cuda || code=$?
    same "exit code of $ranks ranks" $code 78
    same "lines of ours: $(cat refused.err)" "$(grep -c '^offramp: device: cuda: ' refused.err)" 1
    [ $ranks != 1 ] || same "lines: $(cat refused.err)" "$(wc -l <refused.err)" 1
    same "exit code in the summary" "$(value refused/summary.json exit_code)" 78
    why=$(sed -n 's/^offramp: device: cuda: \(.*\) (rank 0)$/\1/p' refused.err)
    case $CUDA:$why in
    absent:'this program was built without CUDA') ;;
    built:'no NVIDIA driver' | built:'an NVIDIA driver, but no CUDA device') ;;
    *) fail "CUDA is $CUDA, and the reason is: $why" ;;
    esac
    rm -rf refused
done

# shellcheck disable=SC2086
train_well 1 chosen $steps
first=$(head -n 1 chosen.out)
case $CUDA:$first in
built:offramp*" | CPU, not CUDA: $why") ;;
absent:offramp*" | CPU") same "words about CUDA" "$(grep -ci cuda chosen.out)" 0 ;;
*) fail "the first line is: $first" ;;
esac

# shellcheck disable=SC2086
train_well 2 asked $steps --set device=cpu
case $(head -n 1 asked.out) in
offramp*" | CPU") ;;
*) fail "with device: cpu the first line is: $(head -n 1 asked.out)" ;;
esac
same "state with device: cpu" "$(hash_of asked)" "$(hash_of chosen)"

# A run goes on with another setting of the device: its numbers are those of its kernels.
# shellcheck disable=SC2086
train_well 1 chosen $steps --set device=cpu
grep -q 'resumed from' chosen.out || fail "it began anew: $(cat chosen.out)"

code=0
train 1 wrong --set device=gpu || code=$?
same "exit code of device: gpu" $code 78
grep -q 'device is "gpu", it must be one of auto|cpu|cuda' wrong.err || fail "$(cat wrong.err)"
