require optee-os-tzml.inc

# its settings, for image.json
do_deploy:append() {
    install -m 0644 ${B}/conf.mk ${DEPLOYDIR}/${MLPREFIX}optee/
}
