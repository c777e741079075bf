# A task that has mounts and processes until the file TOPDIR/go-on is there. Root of its own, like the tasks that
# make the root file system.

require probe.inc

do_compile[fakeroot] = "1"
do_compile() {
    mkdir -p mnt
    unshare --mount -- sh -c 'mount -t tmpfs probe mnt && touch ${TOPDIR}/started && exec sleep ${PROBE_SECONDS}' &
    while [ ! -e ${TOPDIR}/go-on ]; do
        sleep 0.1
    done
    kill $!
}
# how the test knows its processes
PROBE_SECONDS = "2718.2818"
