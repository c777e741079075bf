# A task that fails.

require probe.inc

do_compile() {
    echo "the reason"
    exit 3
}
