# cluster_run.sh - what the tests of the virtual cluster share. A test is called with
#
#      cluster_TEST.sh SOURCE BUILD DATA SCRATCH
#
# and begins with `. cluster_run.sh`. It is skipped where nobody may make namespaces.
set -eu
source=$1
build=$2
data=$3
scratch=$4
vcluster=$source/launch/cluster/virtual/vcluster

for left in "$scratch"/state/*; do # of a run that was killed
    [ ! -d "$left" ] || VCLUSTER_STATE="$scratch/state" "$vcluster" -c "${left##*/}" down
done
. "$(dirname "$0")/../support/shell_run.sh"
scratch=$PWD
name=t$$
export VCLUSTER_STATE="$scratch/state"
trap 'vc down' EXIT

vc() {
    "$vcluster" -c "$name" "$@"
}

up() { # up N [OPTION...]
    code=0
    vc up "$@" --share "$source" --share "$build" 2>up.err || code=$?
    if [ $code = 77 ]; then
        echo "SKIPPED: $(cat up.err)" >&2
        exit 77
    fi
    [ $code = 0 ] || fail "up $*: $(cat up.err)"
}

now_ms() {
    echo $(($(date +%s%N) / 1000000))
}

# ends CODE COMMAND...: its exit code is that one; what it says is in `said`.
ends() {
    expected=$1
    shift
    code=0
    "$@" >said 2>&1 || code=$?
    [ $code = "$expected" ] || fail "$* ended with $code, expected $expected: $(cat said)"
}

# alive PROCESS: it runs; a dead one that nobody has waited for does not.
alive() {
    case $(sed -n 's/^State:[[:space:]]*\([A-Z]\).*/\1/p' "/proc/$1/status" 2>/dev/null) in
    '' | Z) return 1 ;;
    esac
}

gone() {
    ! alive "$1"
}
