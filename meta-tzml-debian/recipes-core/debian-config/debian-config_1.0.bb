# The configuration of Debian: consoles, network, SSH, OP-TEE's services, and what does not run at boot. It adds files
# to those of Debian's packages (drop-ins, masks) but changes none, so that apt can upgrade the packages without
# questions.

SUMMARY = "Configuration of tzml's Debian images"
LICENSE = "Apache-2.0"

SRC_URI = "file://etc"
S = "${UNPACKDIR}"

inherit allarch

ENABLED_UNITS = " \
    multi-user.target.wants/systemd-networkd.service \
    sockets.target.wants/systemd-networkd.socket \
"
# Units and generators that take time at every boot but are useless on a board or an emulator.
MASKED_UNITS = " \
    apt-daily-upgrade.timer \
    apt-daily.timer \
    dev-hugepages.mount \
    dev-mqueue.mount \
    dpkg-db-backup.timer \
    getty@tty1.service \
    ldconfig.service \
    modprobe@configfs.service \
    modprobe@drm.service \
    modprobe@fuse.service \
    proc-sys-fs-binfmt_misc.automount \
    sys-fs-fuse-connections.mount \
    sys-kernel-config.mount \
    systemd-binfmt.service \
    systemd-firstboot.service \
    systemd-hwdb-update.service \
    systemd-journal-catalog-update.service \
    systemd-pstore.service \
    systemd-udev-load-credentials.service \
    systemd-update-done.service \
"
MASKED_GENERATORS = " \
    systemd-cryptsetup-generator \
    systemd-debug-generator \
    systemd-gpt-auto-generator \
    systemd-hibernate-resume-generator \
    systemd-integritysetup-generator \
    systemd-rc-local-generator \
    systemd-run-generator \
    systemd-ssh-generator \
    systemd-system-update-generator \
    systemd-sysv-generator \
    systemd-tpm2-generator \
    systemd-veritysetup-generator \
"

do_install() {
    cp -R --no-preserve=ownership ${S}/etc ${D}${sysconfdir}
    units=${D}${sysconfdir}/systemd/system
    for unit in ${ENABLED_UNITS}; do
        install -d $units/$(dirname $unit)
        ln -s ${systemd_system_unitdir}/$(basename $unit) $units/$unit
    done
    for unit in ${MASKED_UNITS}; do
        ln -s /dev/null $units/$unit
    done
    if [ "${ROOT_LOGIN_ON_CONSOLE}" != "1" ]; then
        rm "$units/serial-getty@.service.d/tzml.conf"
    fi
    ln -s ${systemd_system_unitdir}/multi-user.target $units/default.target
    install -d ${D}${sysconfdir}/systemd/system-generators
    for generator in ${MASKED_GENERATORS}; do
        ln -s /dev/null ${D}${sysconfdir}/systemd/system-generators/$generator
    done
}

FILES:${PN} = "${sysconfdir}"
