# A recipe whose result is files of Debian's binary packages, taken as they are. FILES_TAKEN lists what to take
# (default: all); none of it becomes a package of ours again unless the recipe says PACKAGES.

PACKAGES = ""

INHIBIT_DEFAULT_DEPS = "1"
S = "${UNPACKDIR}/root"
FILES_TAKEN ?= "."

do_install() {
    for path in ${FILES_TAKEN}; do
        ( cd ${S} && cp --archive --parents "$path" ${D} )
    done
}
