# SYSTEMD_SERVICE:<package> lists the units to enable; SYSTEMD_AUTO_ENABLE:<package> = "disable" leaves them off.
# A vendor link in /usr enables them: nothing has to run on the target, and `systemctl mask` still takes precedence.

SYSTEMD_PACKAGES ?= "${PN}"
FILES:${PN}:append = " ${systemd_unitdir}"

do_install[postfuncs] += "tzml_enable_units"
python tzml_enable_units() {
    tzmldebian.packages.enable_units(d)
}
tzml_enable_units[vardeps] += "${@' '.join('SYSTEMD_SERVICE:' + p for p in d.getVar('SYSTEMD_PACKAGES').split())}"
