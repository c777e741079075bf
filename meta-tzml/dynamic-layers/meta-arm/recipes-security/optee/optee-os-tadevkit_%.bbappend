require optee-os-tzml.inc

# The kit contains the private key it was built with. Whoever signs names the key.
do_install:append() {
    rm -rf ${D}${includedir}/optee/export-user_ta/keys
}
