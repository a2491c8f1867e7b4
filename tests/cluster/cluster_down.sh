#!/bin/sh
# Nothing is left of a virtual cluster after down, whatever became of those who used it; clusters
# do not know of each other; where there may be none, that is said. Without root, too.
. "$(dirname "$0")/cluster_run.sh"

outside() { # what the root namespace has
    cat /proc/self/mountinfo
    ip -o link | sed 's/ .*//; s/.*//' # how many
    ip -o -4 addr
    hostname
}

spaces() { # namespaces of processes of this test's clusters
    for process in $(pgrep -x node_init || true); do
        tr '\0' '\n' 2>/dev/null <"/proc/$process/environ" | grep -qx "VCLUSTER_STATE=.*$name.*\|VCLUSTER_STATE=$VCLUSTER_STATE" || continue
        readlink /proc/"$process"/ns/net /proc/"$process"/ns/mnt /proc/"$process"/ns/pid 2>/dev/null || true
    done | sort -u >mine
    readlink /proc/self/ns/* | sort >own
    grep -vxFf own mine || true
}

nothing_left() { # nothing_left WHAT
    outside | cmp - before || fail "$1: something was changed outside"
    [ ! -e "$VCLUSTER_STATE" ] || fail "$1: left behind: $(ls -R "$VCLUSTER_STATE")"
    for space in $(cat seen); do
        # shellcheck disable=SC2010
        for process in $(ls -l /proc/[0-9]*/ns/* 2>/dev/null | grep -F "$space" |
            sed 's|.* /proc/\([0-9]*\)/.*|\1|'); do
            within 10 gone "$process" # where `up` was killed, what it had begun ends by itself
        done
    done
}

outside >before
: >seen

# Two at once. One is used by a process that is killed; the other does not notice.
up 2
first=$name
name=$first-b
up 1
spaces >seen
[ "$(wc -l <seen)" -ge 14 ] || fail "too few namespaces: $(cat seen)"
vc exec n1 touch /dev/shm/here
name=$first
ends 2 vc exec n1 ls /dev/shm/here
vc cut n1
vc exec n0 mpirun --host n2 sleep 100 >/dev/null 2>&1 &
job=$!
vc exec n1 sh -c 'setsid sleep 100 & wait' >/dev/null 2>&1 &
sleep 0.5
kill -9 $job
vc down
wait
name=$first-b
same "the other cluster" "$(vc exec n1 ls /dev/shm)" here
head=$(cut -d' ' -f1 "$VCLUSTER_STATE/$name/head")
kill -9 "$head" # and one that has died by itself
within 20 gone "$head"
ends 1 vc exec n1 true
same "what is said of it" "$(cat said)" "vcluster: cluster $name has died: vcluster -c $name down"
vc down
name=$first
nothing_left "down"
ends 1 vc exec n1 true
same "what is said of none" "$(cat said)" "vcluster: there is no cluster $name: vcluster -c $name up N"

# `up` itself is killed, anywhere.
for ms in 010 020 040 060 090 120 200; do
    "$vcluster" -c "$name" up 3 2>/dev/null &
    sleep 0.$ms
    kill -9 $! 2>/dev/null || true
    wait $! || true
    spaces >seen
    vc down
    nothing_left "up killed after $ms ms"
done

# And what it had begun comes late, when there is another cluster of that name.
mkdir -p slow
cat >slow/unshare <<END
#!/bin/sh
case \$* in *node_init*) sleep "\$WAIT_S" ;; esac
exec $(command -v unshare) "\$@"
END
chmod +x slow/unshare
PATH=$PWD/slow:$PATH WAIT_S=1 "$vcluster" -c "$name" up 1 2>/dev/null &
job=$!
begun() { [ -d "$VCLUSTER_STATE/$name" ] && pgrep -f "^/bin/sh $PWD/slow/unshare .*node_init" >late; }
within 10 begun
kill -9 $job
wait $job || true
vc down
ends 0 env PATH="$PWD/slow:$PATH" WAIT_S=2 "$vcluster" -c "$name" up 1
gone "$(cat late)" || fail "a late process 1 lives on: $(ps -fp "$(cat late)")"
spaces >seen
ends 0 vc exec n1 true
vc down
nothing_left "up killed, and another"

# No namespaces here: in one where there may be no more.
if unshare --user --map-root-user true 2>/dev/null; then
    code=0
    unshare --user --map-root-user sh -c '
        echo 0 >/proc/sys/user/max_user_namespaces
        echo 0 >/proc/sys/user/max_net_namespaces
        exec "$@"' sh "$vcluster" -c "$name" up 2 2>said || code=$?
    same "exit code without namespaces" $code 77
    grep -q "^vcluster: no namespaces allowed here: unshare: " said || fail "$(cat said)"
    same "lines" "$(wc -l <said)" 1
    nothing_left "up where it may not"
fi

# Without root, if we are root and there is somebody else who may.
nobody="setpriv --reuid=65534 --regid=65534 --clear-groups env HOME=/ VCLUSTER_STATE=/tmp/vcluster-$name"
# shellcheck disable=SC2086
if [ "$(id -u)" = 0 ] && $nobody test -x "$vcluster" && $nobody unshare --user --map-root-user true; then
    ends 0 $nobody "$vcluster" -c "$name" up 3 --share "$source" --share "$build"
    spaces >seen
    ends 0 $nobody "$vcluster" -c "$name" exec n0 mpirun --host n1,n2,n3 hostname
    same "hosts" "$(sort said | tr '\n' ' ')" "n1 n2 n3 "
    ends 0 $nobody "$vcluster" -c "$name" power n2
    ends 255 $nobody "$vcluster" -c "$name" exec n2 true
    ends 0 $nobody "$vcluster" -c "$name" start n2
    ends 0 $nobody "$vcluster" -c "$name" rate n2 100mbit
    ends 0 $nobody "$vcluster" -c "$name" freeze n2
    ends 0 $nobody "$vcluster" -c "$name" down
    [ ! -e "/tmp/vcluster-$name" ] || fail "left behind: /tmp/vcluster-$name"
    nothing_left "down without root"
else
    echo "not tried without root"
fi
