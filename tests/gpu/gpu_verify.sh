#!/bin/sh
# gpu_verify.sh SOURCE BUILD SCRATCH: gpu/verify.sh itself, on the simulated device: what its report says where
# all is well, where a test fails, hangs or leaves a process behind, and where there is no device.
scratch=$3
verify=$1/tests/gpu/verify.sh
. "$(dirname "$0")/../support/shell_run.sh"

export CUDASIM_DEVICES=2 CUDASIM_WATCH=off VERIFY_PRESET=gpusim VERIFY_BUILD="$2" VERIFY_REPORT="$scratch/report.txt"
export VERIFY_TESTS='device_cuda kern_ops_cuda kern_update_cuda'
mark=GPU_VERIFY=$$

# Whatever verify.sh started has the mark in its environment.
nothing_is_left() {
    for process in $(grep -lzxF "$mark" /proc/[0-9]*/environ 2>/dev/null); do
        fail "a process is left: $(tr '\0' ' ' <"${process%environ}cmdline")"
    done
    for folder in /dev/shm/offramp-verify.*; do
        [ "$folder" = '/dev/shm/offramp-verify.*' ] || fail "memory is left: $folder"
    done
}

# verify CODE [NAME=VALUE...]: ends with the code; what it says is in `out`. Nothing is left of it.
verify() {
    wanted=$1
    shift
    code=0
    env "$mark" "$@" sh "$verify" >out 2>&1 || code=$?
    same "exit code of verify.sh $*: $(cat out; cat report.txt 2>/dev/null)" $code "$wanted"
    nothing_is_left
}

says() { # PATTERN
    grep -Eq "$1" report.txt || fail "'$1' is not in: $(cat report.txt)"
}

verify 0
says '^verdict: PASSED, preset gpusim, 2 GPUs$'
for name in device kernels nccl train drill bench; do
    says "^  $name passed\$"
done
says '^worst difference of a loss: [0-9.e-]+ in 12 steps$'
says '^2 ranks: the bits of one, in 12 hashes and at the end$'
says '^killed at snap.tile, its memory lost: resumed from memory at step [0-9]+, .* the same bits at the end$'
says '^PASSED: 1 of 1 runs with 1 faults'
says '"device": "Simulated device, sm_80"'
same "folders of work" "$(find . -maxdepth 1 -name 'work.*')" ""

# Other losses than the CPU's.
verify 1 VERIFY_PARTS=train VERIFY_TRAIN_TOLERANCE=-1
says '^FAILED: losses of CPU and device differ'
says '^verdict: FAILED'
rm -rf work.*

# A test that fails, one that hangs, and one that leaves a process behind that has left its group.
mkdir -p other/tests
ln -s "$2/offramp" other/
ln -s "$2/tests/bench" other/tests/
stand_in() { # NAME COMMANDS
    printf '#!/bin/sh\n%s\n' "$2" >"other/tests/test_gpu_$1"
    chmod +x "other/tests/test_gpu_$1"
}
stand_in fails 'echo it is wrong; exit 1'
stand_in hangs 'setsid sleep 600 & sleep 600'
stand_in leaves 'setsid sleep 600 & exit 0'
begun=$(date +%s)
verify 1 VERIFY_BUILD="$scratch/other" VERIFY_PARTS=kernels VERIFY_TESTS='fails hangs leaves' VERIFY_DEADLINE_S=2
[ $(($(date +%s) - begun)) -lt 300 ] || fail "it hung"
says '^it is wrong$'
says '^hangs: FAILED$'
says '^verify.sh: not done after 2 s: .*/test_gpu_hangs$'
says '^leaves: FAILED$'
says '^verify.sh: processes are left, and are ended:$'
says '^  kernels FAILED$'
rm -rf work.* report.txt

# Told to end while it trains.
env "$mark" VERIFY_PARTS=train sh "$verify" >out 2>&1 &
verifying=$!
trains() {
    grep -lzxF "$mark" /proc/[0-9]*/environ 2>/dev/null | sed 's/environ$/cmdline/' |
        xargs -r grep -lzx train 2>/dev/null | grep -q .
}
within 60 trains
kill -TERM $verifying
code=0
wait $verifying || code=$?
same "exit code after SIGTERM: $(cat out)" $code 130
says '^verdict: INTERRUPTED$'
nothing_is_left
rm -rf work.* report.txt

# No device, or no driver: one line, and nothing is made.
verify 78 CUDASIM_DEVICES=0
same "lines of the refusal" "$(cat out)" "verify.sh: an NVIDIA driver, but no GPU that can be seen"
if [ ! -e /proc/driver/nvidia/version ] && ! command -v nvidia-smi >/dev/null; then
    verify 78 VERIFY_PRESET=gpu
    same "lines of the refusal" "$(cat out)" \
        "verify.sh: there is no NVIDIA driver on this machine, this is for one with GPUs"
fi
[ ! -e report.txt ] || fail "a report without a device: $(cat report.txt)"
