# Checks that run once before recipes are parsed: the machine, the host's tools, the build's keys.

python tzml_sanity_eventhandler() {
    if d.getVar('BB_WORKERCONTEXT', False) != '1':
        tzmldebian.host.check(d)
        tzmldebian.keys.ensure(d)
}
addhandler tzml_sanity_eventhandler
tzml_sanity_eventhandler[eventmask] = "bb.event.ConfigParsed"

TZML_KEYS ?= "${@tzmldebian.keys.folder(d)}"
# The TA signing key. OP-TEE OS accepts only TAs signed with it.
TA_SIGN_KEY = "${TZML_KEYS}/ta-signing.pem"
TA_SIGN_KEY_PUBLIC = "${TZML_KEYS}/ta-signing.pub.pem"
SSH_KEY = "${TZML_KEYS}/ssh_ed25519"
# The hardware unique key of all boards that this build makes firmware for, 16 bytes: their own OP-TEE cannot read.
HUK_FILE = "${TZML_KEYS}/test-huk.bin"
