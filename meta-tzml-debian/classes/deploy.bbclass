# do_deploy leaves files in DEPLOYDIR. They are moved to DEPLOY_DIR_IMAGE, and those of an earlier run are removed.
#
# image.json tells the role of each file for the machine that boots, and facts about the component:
#   DEPLOY_ROLE[<role>] = "<file>"            a file of DEPLOYDIR
#   DEPLOY_LOAD_ADDRESS[<role>] = "0x..."     where the machine loads it, if it is told
#   DEPLOY_VERSION, DEPLOY_ORIGIN             by default those of the Debian package that was fetched
#   ${DEPLOY_FACTS}                           a JSON file do_deploy may write: more keys of image.json

DEPLOYDIR = "${WORKDIR}/deploy-${PN}"
DEPLOY_MANIFEST = "${TMPDIR}/deploy-manifests/${MACHINE}/${PN}.json"
DEPLOY_COMPONENT ?= "${PN}"
DEPLOY_VERSION ?= ""
DEPLOY_ORIGIN ?= ""
DEPLOY_FACTS = "${WORKDIR}/facts.json"

do_deploy[doc] = "put results into DEPLOY_DIR_IMAGE"
# a recipe that is the same for several machines is deployed for each machine
do_deploy[stamp-extra-info] = "${MACHINE_ARCH}"
do_deploy[cleandirs] = "${DEPLOYDIR}"
do_deploy[dirs] = "${B}"
do_deploy[postfuncs] += "tzml_publish_deployed"
do_deploy[file-checksums] += "${TZML_LIB}/imagejson.py:True ${TZML_LIB}/provenance.py:True"
do_deploy[vardeps] += "DEPLOY_ROLE DEPLOY_LOAD_ADDRESS"
addtask deploy after do_install before do_build

python tzml_publish_deployed() {
    tzmldebian.imagejson.publish(d)
}
tzml_publish_deployed[vardepsexclude] += "MACHINE"
