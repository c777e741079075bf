# A task whose result is a value of the caller's, which also is the version.

require probe.inc

PV = "${PROBE_VALUE}"

do_compile() {
    echo "${PROBE_VALUE}" >${TOPDIR}/value
}
