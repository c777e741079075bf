# Every recipe builds against a sysroot of its own, which contains only what its dependencies staged.

# C programs need the target's C library. Recipes that do not need it may set INHIBIT_DEFAULT_DEPS = "1".
BASEDEPENDS = "virtual/libc"
DEPENDS:prepend = "${@'' if d.getVar('INHIBIT_DEFAULT_DEPS') else '${BASEDEPENDS} '}"

SYSROOT_DIRS = "${includedir} ${nonarch_libdir} ${datadir}"
SYSROOT_DIRS_IGNORE = "${docdir} ${mandir} ${systemd_unitdir} ${nonarch_libdir}/modules"
SYSROOT_DESTDIR = "${WORKDIR}/sysroot-destdir"
SYSROOT_COMPONENT = "${COMPONENTS_DIR}/${PACKAGE_ARCH}/${PN}"
SYSROOT_PREPROCESS_FUNCS ?= ""

addtask populate_sysroot after do_install
do_populate_sysroot[cleandirs] = "${SYSROOT_DESTDIR}"
do_populate_sysroot[vardeps] += "${SYSROOT_PREPROCESS_FUNCS}"
do_populate_sysroot[file-checksums] += "${TZML_LIB}/staging.py:True"
python staging_do_populate_sysroot() {
    tzmldebian.staging.stage(d)
    for function in (d.getVar("SYSROOT_PREPROCESS_FUNCS") or "").split():
        bb.build.exec_func(function, d)
    tzmldebian.staging.publish(d)
}

addtask prepare_recipe_sysroot
do_prepare_recipe_sysroot[deptask] = "do_populate_sysroot"
do_prepare_recipe_sysroot[cleandirs] = "${RECIPE_SYSROOT}"
python staging_do_prepare_recipe_sysroot() {
    tzmldebian.staging.collect(d)
}

EXPORT_FUNCTIONS do_populate_sysroot do_prepare_recipe_sysroot
