#!/bin/sh
# gpu_check_ptxas.sh SOURCE WORK: .ci/check_ptxas on a report and a disassembly that are as nvcc's,
# and what it says when one thing is not as its bound is.
set -eu
check=$1/.ci/check_ptxas
work=$2
rm -rf "$work"
mkdir -p "$work"
cd "$work"

for arch in sm_80 sm_90; do
    cat <<END
ptxas info    : 24 bytes gmem, 8 bytes cmem[4]
ptxas info    : Compiling entry function '_Z5multiILi4ELb1EEvPf' for '$arch'
ptxas info    : Function properties for _Z5multiILi4ELb1EEvPf
    32 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 18 registers, used 0 barriers, 32 bytes cumulative stack size, 360 bytes cmem[0]
ptxas info    : Compile time = 13.572 ms
ptxas info    : Function properties for _Z6helperf
    900 bytes stack frame, 900 bytes spill stores, 900 bytes spill loads
ptxas info    : Compiling entry function '_Z3addP6float4PKS_i' for '$arch'
ptxas info    : Function properties for _Z3addP6float4PKS_i
    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 65 registers, used 1 barriers, 1024 bytes smem, 372 bytes cmem[0]
ptxas info    : Compile time = 24.356 ms
END
done >k.cu.o.ptxas
echo 'file k.cu.o' >sass
for arch in sm_80 sm_90; do
    printf '\tcode for %s\n' $arch
    printf '\t\tFunction : _Z5multiILi4ELb1EEvPf\n  /*0060*/  LDG.E R0, [R8.64] ;\n'
    printf '\t\tFunction : _Z3addP6float4PKS_i\n  /*0060*/  LDG.E.128.CONSTANT R4, [R8.64] ;\n'
done >>sass
cat >bounds <<'END'
# kernel            threads registers shared occupancy
k:multi<4,true>       256     18        0      100  stack=32

k:add               128     65        17408  43   wide dynamic=16384
END

failed=0
ends() { # CODE WORDS COMMAND...: it ends so, and says so
    code=$1
    words=$2
    shift 2
    "$@" >out 2>&1 && got=0 || got=$?
    if [ "$got" -ne "$code" ] || ! grep -qF -- "$words" out; then
        echo "$*: exit $got, expected $code and: $words"
        cat out
        failed=1
    fi
}
changed() { # SED WORDS: with the bounds so changed it fails with these words
    sed "$1" bounds >changed
    ends 1 "$2" "$check" changed sass k.cu.o.ptxas
}

# 65 registers: 72 in units of 8, 2304 a warp, so 28 warps fit, and 7 blocks of 4.
ends 0 'k:add                                                        sm_80         65      0      0   17408      128       43%' \
    "$check" bounds sass k.cu.o.ptxas
ends 0 'k:multi<4,true>' "$check" bounds - k.cu.o.ptxas
changed 's/     18 /     17 /' 'k:multi<4,true> for sm_80: registers 18, at most 17'
changed 's/17408/17407/' 'k:add for sm_90: bytes of shared memory 17408, at most 17407'
changed 's/stack=32//' 'k:multi<4,true> for sm_90: bytes of stack 32, at most 0'
changed 's/ 43 / 44 /' 'k:add for sm_80: occupancy 43%, at least 44%'
changed '/^k:add/d' 'k:add: no line in changed'
changed '$a gone 1 1 1 1' 'there is no kernel gone'
changed '$a k:add 1 1 1 1' 'k:add is there twice'
changed 's/stack=32/wide stack=32/' 'k:multi<4,true> for sm_80: no load of 16 bytes'
changed 's/stack=32/stark=32/' 'stark=32 is not known'
changed 's/^k:add .*/k:add 1 2 3/' 'KERNEL THREADS REGISTERS SHARED OCCUPANCY are expected'
sed 's/0 bytes spill stores/8 bytes spill stores/' k.cu.o.ptxas >spilt.ptxas
mkdir spilt
mv spilt.ptxas spilt/k.cu.o.ptxas
ends 1 'k:add for sm_80: bytes of spills 8, at most 0' "$check" bounds sass spilt/k.cu.o.ptxas
ends 1 'k:add for sm_80: two kernels of this name' "$check" bounds sass k.cu.o.ptxas k.cu.o.ptxas
# Without a disassembly nothing is said of loads.
sed 's/stack=32/wide stack=32/' bounds >changed
ends 0 'k:multi<4,true>' "$check" changed - k.cu.o.ptxas
exit $failed
