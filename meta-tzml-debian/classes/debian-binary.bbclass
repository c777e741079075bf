# For recipes whose result is unchanged files of Debian's binary packages. FILES_TAKEN lists the files to take
# (default: all). They are not packaged again unless the recipe sets PACKAGES.

PACKAGES = ""

INHIBIT_DEFAULT_DEPS = "1"
S = "${UNPACKDIR}/root"
FILES_TAKEN ?= "."

do_install() {
    for path in ${FILES_TAKEN}; do
        ( cd ${S} && cp --archive --parents "$path" ${D} )
    done
}
