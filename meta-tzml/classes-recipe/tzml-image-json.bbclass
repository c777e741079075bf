# image.json for the lab, under Yocto: DEPLOY_DIR/tzml/<machine> has it, and links to the files that it names.
#     LG_DEPLOY=build/yocto/build/tmp/deploy/tzml pytest lab/ --lg-env qemu.yaml
# yocto_image.py writes it, run by the project's environment (TZML_PYTHON).

# the disk itself, not compressed: the lab boots it
IMAGE_FSTYPES:append = " ext4"

TZML_DEPLOY ?= "${DEPLOY_DIR}/tzml"

# The key that is let in over SSH; tzml-keys.bbclass makes it.
ROOTFS_POSTPROCESS_COMMAND:append = " tzml_authorize_key"
tzml_authorize_key() {
    install -d -m 0700 ${IMAGE_ROOTFS}${ROOT_HOME}/.ssh
    install -m 0600 ${TZML_SSH_KEY}.pub ${IMAGE_ROOTFS}${ROOT_HOME}/.ssh/authorized_keys
}
do_rootfs[file-checksums] += "${TZML_SSH_KEY}.pub:True"

# What the machine boots, as components: the recipes whose versions are named.
TZML_COMPONENTS ?= "virtual/kernel optee-os trusted-firmware-a u-boot"

python do_image_json() {
    import json
    import subprocess

    deploy = d.getVar("DEPLOY_DIR_IMAGE")
    link = os.path.join(deploy, d.getVar("IMAGE_LINK_NAME"))
    wanted = {name: name for name in ("optee-os", "trusted-firmware-a", "u-boot")}
    wanted[d.getVar("PREFERRED_PROVIDER_virtual/kernel")] = "linux"
    components = []
    for name, task, recipe, *_ in d.getVar("BB_TASKDEPDATA", False).values():
        if name in wanted and task == "do_deploy":
            version = os.path.basename(recipe).removesuffix(".bb").partition("_")[2]
            components.append({"name": wanted.pop(name), "version": version or "git"})
    if wanted:
        bb.fatal(f"image.json needs {', '.join(wanted)}, and this image is built without: correct TZML_COMPONENTS")
    names = ("PN", "QB_CPU", "QB_MACHINE", "QB_MEM", "QB_NETWORK_DEVICE", "QB_SMP", "QB_SYSTEM_NAME", "SERIAL_CONSOLES")
    installed = d.getVar("IMAGE_INSTALL").split()
    features = d.getVar("IMAGE_FEATURES").split()
    facts = {name: d.getVar(name) for name in names}
    facts |= {
        "TZML_TARGET": d.getVar("TZML_TARGET"),
        "SECURE_MEMORY_PROTECTED": d.getVar("SECURE_MEMORY_PROTECTED"),
        "hostname": d.getVar("TZML_HOSTNAME"),
        "components": sorted(components, key=lambda component: component["name"]),
        "features": {
            "init": d.getVar("VIRTUAL-RUNTIME_init_manager"),
            "package_manager": "opkg" if "package-management" in features else None,
            "python": "python3-tzml" in installed,
            "ssh": any(feature.startswith("ssh-server") for feature in features),
            "xtest": "optee-test" in installed,
        },
        "files": {
            "firmware": os.path.join(deploy, "flash.bin"),
            "kernel": os.path.join(deploy, d.getVar("KERNEL_IMAGETYPE")),
            "rootfs": f"{link}.ext4",
            "ssh-key": d.getVar("TZML_SSH_KEY"),
            "ta-signing-public-key": d.getVar("TA_SIGN_KEY_PUBLIC"),
            "tee-elf": os.path.join(deploy, "optee/tee.elf"),
        },
        "kernel_release": os.path.join(d.getVar("STAGING_KERNEL_BUILDDIR"), "kernel-abiversion"),
        "manifest": f"{link}.manifest",
        "optee_settings": os.path.join(deploy, "optee/conf.mk"),
        "ta": d.expand("${IMAGE_ROOTFS}${nonarch_base_libdir}/optee_armtz/${TZML_MEASURED_TA}.ta"),
    }
    path = os.path.join(d.getVar("WORKDIR"), "image-facts.json")
    with open(path, "w") as stream:
        json.dump(facts, stream, indent=1)
    program = os.path.join(d.getVar("TZML_SOURCE_DIR"), "meta-tzml/lib/yocto_image.py")
    target = os.path.join(d.getVar("TZML_DEPLOY"), d.getVar("TZML_TARGET"))
    try:
        done = subprocess.run([d.getVar("TZML_PYTHON"), program, path, target], capture_output=True, text=True)
    except FileNotFoundError:
        bb.fatal(f"there is no {d.getVar('TZML_PYTHON')}: run tools/bootstrap")
    if done.returncode:
        bb.fatal(done.stderr.strip())
}
TZML_MEASURED_TA ?= "bcfd5ae6-ea1e-4018-a5d9-7673b6e2e51f"
TZML_HOSTNAME ?= "tzml"

do_image_json[doc] = "write image.json, which the lab reads"
do_image_json[nostamp] = "1"
do_image_json[depends] = "${@' '.join(recipe + ':do_deploy' for recipe in d.getVar('TZML_COMPONENTS').split())} virtual/kernel:do_shared_workdir"
addtask image_json after do_image_complete before do_build
