#!/bin/sh
# verify.sh: what this project cannot see without a GPU, on a machine that has some: builds the program,
# runs the tests of kernels and of NCCL, trains (losses of the CPU, the same bits on 1, 2, 4 and 8 GPUs, ranks
# that are killed and lose their memory), rehearses recovery over 200 steps, and measures. All of it goes
# into one report to send back. Half an hour on an idle machine; 0 if all parts passed, 1 if not, 78 without
# a driver or a device.
#
#   tests/gpu/verify.sh
#
#   VERIFY_PARTS   (device kernels nccl train drill bench)
#   VERIFY_GPUS    so many of this machine's (all; of the training parts 1, 2, 4 or 8)
#   VERIFY_REPORT  (build/verify/report.txt)
#   VERIFY_DATA    folder of Fashion-MNIST (that of Debian's dataset-fashion-mnist; else noise is made)
#   VERIFY_DEADLINE_S (1800)  for each program that is run
#   VERIFY_BUILD   a folder with a build that is there already: nothing is built
#   VERIFY_PRESET  (gpu); gpusim: on the simulated device, where everything is small
set -u
absolute() { # PATH
    case $1 in '' | /*) echo "$1" ;; *) echo "$PWD/$1" ;; esac
}
report=$(absolute "${VERIFY_REPORT:-}")
build=$(absolute "${VERIFY_BUILD:-}")
data=$(absolute "${VERIFY_DATA:-}")
cd "$(dirname "$0")/../.." || exit 1
preset=${VERIFY_PRESET:-gpu}
parts=${VERIFY_PARTS:-device kernels nccl train drill bench}
build=${build:-$PWD/build/verify}
report=${report:-$PWD/build/verify/report.txt}
deadline_s=${VERIFY_DEADLINE_S:-1800}
work=$(dirname "$report")/work.$$
memory=/dev/shm/offramp-verify.$$
running=
failed=
mark=OFFRAMP_VERIFY=$$.$(date +%s)
export OMPI_MCA_mpi_yield_when_idle=1 OMPI_MCA_btl_vader_backing_directory=$memory
export OPENBLAS_NUM_THREADS=1 CK_FORK=no
if [ "$(id -u)" = 0 ]; then
    export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
fi

refuse() {
    echo "verify.sh: $*" >&2
    exit 78
}

# Processes that were started here: whatever they became, this is in their environment.
mine() {
    grep -lzxF "$mark" /proc/[0-9]*/environ 2>/dev/null | cut -d / -f 3
}

end_all() {
    for process in $(mine); do
        kill -KILL "$process" 2>/dev/null
    done
}

# What a program leaves has five seconds to go by itself; then it is ended. 1 if anything was left.
sweep() {
    tries=50
    while [ -n "$(mine)" ]; do
        tries=$((tries - 1))
        if [ $tries = 0 ]; then
            echo "verify.sh: processes are left, and are ended:"
            for process in $(mine); do
                echo "  $process $(tr '\0' ' ' <"/proc/$process/cmdline" 2>/dev/null)"
            done
            end_all
            return 1
        fi
        sleep 0.1
    done
}

# limited COMMAND...: with a deadline, and nothing is left of it.
limited() {
    env "$mark" timeout -k 15 "$deadline_s" "$@" </dev/null &
    running=$!
    wait "$running"
    code=$?
    running=
    if [ $code = 124 ] || [ $code = 137 ]; then
        echo "verify.sh: not done after $deadline_s s: $*"
        end_all
    fi
    sweep || code=1
    return $code
}

clean_up() {
    end_all
    for folder in $(sed -n 's/^# memory in //p' "$work"/drill/*/hosts 2>/dev/null); do
        rm -rf "$folder"
    done
    rm -rf "$memory"
}

interrupted() {
    trap '' INT TERM HUP
    [ -z "$running" ] || kill "$running" 2>/dev/null
    clean_up
    [ ! -d "$work" ] || echo "verdict: INTERRUPTED" >>"$report"
    exit 130
}
trap interrupted INT TERM HUP
trap clean_up EXIT

# How many GPUs the programs may see.
count_gpus() {
    if [ "$preset" = gpusim ]; then
        echo "${CUDASIM_DEVICES:-1}"
    elif [ -n "${CUDA_VISIBLE_DEVICES:-}" ]; then
        echo "$CUDA_VISIBLE_DEVICES" | tr ',' '\n' | grep -c .
    else
        nvidia-smi -L 2>/dev/null | grep -c '^GPU '
    fi
}

tell_machine() {
    echo "offramp on CUDA devices: report of tests/gpu/verify.sh"
    echo "made      $(date -u +%Y-%m-%dT%H:%MZ), of $(git rev-parse HEAD 2>/dev/null || echo 'no git clone')" \
        "$(git status --porcelain 2>/dev/null | grep -q . && echo '(changed)')"
    echo "system    $(uname -srm); $(sed -n 's/^PRETTY_NAME=//p' /etc/os-release 2>/dev/null)"
    echo "CPU       $(sed -n 's/^model name.*: //p' /proc/cpuinfo | head -n 1), $(nproc) cores, $(sed -n 's/^MemTotal: *//p' /proc/meminfo)"
    echo "limits    locked memory $(ulimit -l), /dev/shm $(df -h /dev/shm | awk 'END { print $4 }') free, load $(cut -d ' ' -f 1-3 /proc/loadavg)"
    echo "MPI       $(mpirun --version 2>/dev/null | head -n 1)"
    echo "compiler  $(cc --version 2>/dev/null | head -n 1); $(PATH=$PATH:/usr/local/cuda/bin nvcc --version 2>/dev/null | sed -n 's/^Cuda compilation tools, /nvcc /p')"
    echo "GPUs      $gpus, preset $preset"
    if [ "$preset" != gpusim ]; then
        limited nvidia-smi --query-gpu=index,name,driver_version,memory.total,pci.bus_id,ecc.mode.current,clocks.max.sm --format=csv
        limited nvidia-smi topo -m
    fi
    echo
}

# make_data: Fashion-MNIST's first images, or noise of the same format.
make_data() {
    if [ -n "$data" ]; then
        return
    fi
    data=$work/data
    if [ -e /usr/share/datasets/fashion-mnist ]; then
        sh tests/cli/cli_data.sh "$data" "$images" "$tests"
        return
    fi
    mkdir -p "$data"
    for file in "train $images" "t10k $tests"; do
        set -- $file
        LC_ALL=C awk -v count="$2" -v to="$data/$1" 'function number(n) {
                printf "%c%c%c%c", 0, 0, int(n / 256), n % 256 >f
            }
            BEGIN {
                f = to "-images-idx3-ubyte"
                printf "%c%c%c%c", 0, 0, 8, 3 >f; number(count); number(28); number(28)
                for (i = 0; i < count * 784; i++) { s = (s * 1103 + 12345) % 65536; printf "%c", int(s / 256) >f }
                f = to "-labels-idx1-ubyte"
                printf "%c%c%c%c", 0, 0, 8, 1 >f; number(count)
                for (i = 0; i < count; i++) { s = (s * 1103 + 12345) % 65536; printf "%c", int(s / 256) % 10 >f }
            }'
    done
    echo "data: noise, for Fashion-MNIST is not there"
}

choose_sizes() {
    recipe=$PWD/tests/gpu/gpu_tiny.yaml
    ranks=1 # the most that are a power of two
    while [ $((2 * ranks)) -le "$gpus" ] && [ $ranks -lt 8 ]; do ranks=$((2 * ranks)); done
    compared=$(for n in 2 4 8; do [ $n -gt $ranks ] || echo $n; done)
    last=$((ranks - 1))
    if [ "$preset" = gpusim ]; then
        images=300 tests=50 tolerance=${VERIFY_TRAIN_TOLERANCE:-2e-5} points=snap.tile rounds=1
        shapes=tiny models='train:1:16:2:128' bench_ranks=1
        settings='--set num_steps=4 --set num_hidden_layers=2 --set lambdas=[0.1] --set max_eval_samples=16
            --set hash_steps=1'
        faults="--kill rank=$last@step=5"
        return
    fi
    images=2000 tests=500 tolerance=${VERIFY_TRAIN_TOLERANCE:-1e-3} rounds=15
    points='snap.after_commit snap.tile snap.before_encode'
    shapes='vit small' bench_ranks="1 $compared"
    models='train:6:128:4:16 fwd:6:128:4:16 frozen:6:128:4:16 cached:6:128:4:16 train:12:768:12:16'
    settings='--set backbone.num_steps=80 --set exits.num_steps=80 --set joint.num_steps=40
        --set num_hidden_layers=6 --set hidden_size=128 --set num_attention_heads=4 --set intermediate_size=512
        --set patch_size=7 --set train_batch_size=128 --set per_device_train_batch_size=16
        --set hash_steps=10 --set logging_steps=20 --set max_eval_samples=500'
    # Those at a step early, for steps may be done faster than a drill looks at them.
    faults="--kill rank=$last@point=snap.after_commit#50 --kill rank=0@point=snap.before_encode#120
        --kill rank=$last@step=30 --drop-keeper node=1@step=20 --stop rank=0@step=40 --term step=25
        --supervisor step=35"
}

part_device() {
    limited "$build/offramp" --version && limited "$build/tests/bench/bench_kern_cuda" 1 tiny
}

run_tests() { # NAME...
    result=0
    for name in "$@"; do
        if limited "$build/tests/test_gpu_$name" >"$work/test" 2>&1; then
            grep -E '^LEFT OUT|^[0-9]+%' "$work/test" | sort -u | sed "s/^/$name: /"
        else
            echo "$name: FAILED"
            tail -n 40 "$work/test"
            result=1
        fi
    done
    return $result
}

part_kernels() {
    # shellcheck disable=SC2086 # a word a test
    run_tests ${VERIFY_TESTS:-device_cuda run_device snap_device step_cuda exits_judge_cuda
        kern_ops_cuda kern_attention_cuda kern_bf16_cuda kern_gelu_cuda kern_layernorm_cuda kern_linear_cuda
        kern_rows_cuda kern_update_cuda kern_xent_cuda}
}

part_nccl() {
    run_tests comm_nccl || return 1
    for n in $compared; do # ranks that are processes
        if ! limited mpirun -n "$n" --oversubscribe "$build/tests/test_mpi_comm_nccl_mpi" >"$work/test" 2>&1; then
            tail -n 40 "$work/test"
            return 1
        fi
        echo "$n processes: $(tail -n 1 "$work/test")"
    done
}

part_train() {
    killed_at=$points
    [ $ranks -gt 1 ] || killed_at=
    GPU_RANKS=$compared GPU_KILLS=$killed_at GPU_SETTINGS=$settings GPU_TOLERANCE=$tolerance GPU_MEMORY=$memory/train \
        limited sh tests/gpu/gpu_train.sh "$build/offramp" "$recipe" "$data" "$work/train" || return 1
    [ $ranks -gt 1 ] || echo "with one GPU: no sums over ranks, no loss of a rank's memory"
    [ "$preset" != gpusim ] && [ $ranks -gt 1 ] || return 0
    # shellcheck disable=SC2086
    limited mpirun -n $ranks --oversubscribe "$build/offramp" train "$recipe" --output-dir "$work/library" \
        --set data_dir="$data" $settings --set device=cuda --set reduce=library >"$work/library.out" || return 1
    echo "reduce: library on $ranks ranks: done, $(grep '^state' "$work/library.out")"
}

part_drill() {
    "$build/offramp" drill --list | grep -q snap.after_commit ||
        faults=$(echo "$faults" | sed 's/--kill rank=[0-9]*@point=[^ ]*//g')
    # One node: else each rank would be the first of its node, and all would have the first GPU.
    # shellcheck disable=SC2086
    limited "$build/offramp" drill -n $ranks --nodes 1 --output-dir "$work/drill" $faults -- \
        train "$recipe" --set data_dir="$data" $settings --set device=cuda --set snapshot_steps=1
}

part_bench() {
    for shape in $shapes; do
        limited "$build/tests/bench/bench_kern_cuda" $rounds "$shape" || return 1
        echo
    done
    for n in $bench_ranks; do
        for model in $models; do
            # shellcheck disable=SC2046
            set -- $(echo "$model" | tr : ' ')
            limited mpirun -n "$n" --oversubscribe --bind-to none "$build/tests/bench/bench_train" "$@" \
                "$rounds" $((10 * rounds / 15 + 1)) cuda || return 1
        done
    done
}

# part NAME: into the report, with its verdict.
part() {
    begun=$(date +%s)
    echo "verify.sh: $1 ..." >&2
    if "part_$1" >"$work/$1.log" 2>&1; then
        verdict=passed
    else
        verdict=FAILED
        failed="$failed $1"
    fi
    echo "verify.sh: $1 $verdict" >&2
    {
        echo "==== $1: $verdict, $(($(date +%s) - begun)) s"
        tail -n 400 "$work/$1.log"
        echo
    } >>"$report"
}

[ "$preset" = gpusim ] || [ -e /proc/driver/nvidia/version ] || command -v nvidia-smi >/dev/null ||
    refuse "there is no NVIDIA driver on this machine, this is for one with GPUs"
gpus=${VERIFY_GPUS:-$(count_gpus)}
[ "$gpus" -ge 1 ] 2>/dev/null || refuse "an NVIDIA driver, but no GPU that can be seen"
mkdir -p "$work" "$memory" || exit 1
if [ -z "${VERIFY_BUILD:-}" ]; then
    echo "verify.sh: building in $build ..." >&2
    { # with fault points, for the drill
        limited cmake --preset "$preset" -B "$build" -DOFFRAMP_FAULTS=ON &&
            limited cmake --build "$build" --target offramp gpu_tests bench_kern_cuda bench_train
    } >"$work/build.log" 2>&1 || {
        tail -n 40 "$work/build.log" >&2
        refuse "it does not build: all of it is in $work/build.log"
    }
fi
if ! limited "$build/tests/bench/bench_kern_cuda" 1 tiny >"$work/first" 2>&1; then
    first=$(tail -n 1 "$work/first")
    rm -rf "$work"
    refuse "no device to verify: $first"
fi
choose_sizes
tell_machine >"$report" 2>&1
make_data >>"$report"
for name in $parts; do
    part "$name"
done
{
    for name in $parts; do
        case " $failed " in *" $name "*) echo "  $name FAILED" ;; *) echo "  $name passed" ;; esac
    done
    echo "verdict: $([ -z "$failed" ] && echo PASSED || echo FAILED), preset $preset, $gpus GPUs"
} >>"$report"
tail -n 1 "$report"
echo "the report to send back: $report"
if [ -z "$failed" ]; then
    rm -rf "$work"
    exit 0
fi
echo "what the parts that failed left: $work"
exit 1
