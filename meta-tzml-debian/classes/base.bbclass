# The base of every recipe: the tasks of OE-core's base.bbclass, in the same order and with the same defaults.

inherit logging
inherit patch
inherit staging
inherit package
inherit package_deb
inherit license

# -- Fetch and unpack -----------------------------------------------------------------------------------

FILESEXTRAPATHS ?= "__default:"
FILESPATH = "${@tzml_filespath(d)}"

def tzml_filespath(d):
    """The search path for file://: FILESEXTRAPATHS, then the recipe's folders, the most specific first."""
    here = d.getVar("FILE_DIRNAME")
    folders = [f"{here}/{d.getVar('BP')}", f"{here}/{d.getVar('BPN')}", f"{here}/files"]
    extra = [path for path in (d.getVar("FILESEXTRAPATHS") or "").split(":") if path and path != "__default"]
    overrides = [""] + [o for o in d.getVar("FILESOVERRIDES").split(":") if o]
    return ":".join(os.path.join(path, override) for path in extra + folders for override in reversed(overrides))

addtask fetch
do_fetch[dirs] = "${DL_DIR}"
do_fetch[file-checksums] = "${@bb.fetch.get_checksum_file_list(d)}"
do_fetch[network] = "1"
do_fetch[postfuncs] += "tzml_keep_fetched"
do_fetch[vardeps] += "FEED_LOCKED SRC_URI"
python base_do_fetch() {
    try:
        tzmldebian.fetch.download(d)
    except bb.fetch2.BBFetchException as error:
        bb.fatal(str(error))
}

# what is locked for this recipe (docs/build.md)
FEED_LOCKED = "${@tzmldebian.feedlock.digest(d)}"
python () {
    bb.parse.mark_dependency(d, d.getVar("TZML_FEED_LOCK"))
    if d.getVar("TZML_FEED_RELOCK"):
        d.setVarFlag("do_fetch", "nostamp", "1")
}

python tzml_keep_fetched() {
    tzmldebian.fetch.keep(d)
    tzmldebian.feedlock.remember(d)
}

addtask unpack after do_fetch
do_unpack[cleandirs] = "${@d.getVar('UNPACKDIR') if (d.getVar('SRC_URI') or '').split() else ''}"
do_unpack[dirs] = "${UNPACKDIR}"
python base_do_unpack() {
    if not (d.getVar("SRC_URI") or "").split():
        return
    try:
        bb.fetch2.Fetch([], d).unpack(d.getVar("UNPACKDIR"))
    except bb.fetch2.BBFetchException as error:
        bb.fatal(str(error))
}

# -- Configure, compile, install ------------------------------------------------------------------------

oe_runmake_call() {
    bbnote ${MAKE} ${EXTRA_OEMAKE} "$@"
    ${MAKE} ${EXTRA_OEMAKE} "$@"
}

oe_runmake() {
    oe_runmake_call "$@" || die "oe_runmake failed"
}

addtask configure after do_patch do_prepare_recipe_sysroot
do_configure[dirs] = "${B}"
base_do_configure() {
    :
}

addtask compile after do_configure
do_compile[dirs] = "${B}"
base_do_compile() {
    if [ -e Makefile ] || [ -e makefile ] || [ -e GNUmakefile ]; then
        oe_runmake
    else
        bbnote "nothing to compile"
    fi
}

addtask install after do_compile
do_install[dirs] = "${B}"
do_install[cleandirs] = "${D}"
base_do_install() {
    :
}

addtask build after do_populate_sysroot do_package_write_deb do_populate_lic
do_build[noexec] = "1"
do_build() {
    :
}

# -- Housekeeping ---------------------------------------------------------------------------------------

addtask clean
do_clean[nostamp] = "1"
python base_do_clean() {
    """Remove what was built, but keep downloads."""
    bb.note(f"removing {d.getVar('WORKDIR')}")
    tzmldebian.staging.clean(d)
}

addtask cleanall after do_clean
do_cleanall[nostamp] = "1"
python base_do_cleanall() {
    if (d.getVar("SRC_URI") or "").split():
        bb.fetch2.Fetch([], d).clean()
}

addtask listtasks
do_listtasks[nostamp] = "1"
python base_do_listtasks() {
    descriptions = {}
    for task in sorted(d.getVar("__BBTASKS", False) or []):
        text = (d.getVarFlag(task, "doc") or d.getVarFlag(task, "func") or "").strip()
        descriptions[task] = text
    width = max(map(len, descriptions))
    for task, text in descriptions.items():
        bb.plain(f"{task:<{width}}  {text}".rstrip())
}

do_build[doc] = "everything of this recipe"
do_clean[doc] = "remove what was built"
do_cleanall[doc] = "remove what was built and what was downloaded"
do_compile[doc] = "compile in B"
do_configure[doc] = "prepare B"
do_fetch[doc] = "download and keep SRC_URI; the only task with a network"
do_install[doc] = "install into D"
do_listtasks[doc] = "list the tasks of this recipe"
do_package[doc] = "divide D into packages"
do_package_qa[doc] = "check the packages"
do_package_write_deb[doc] = "make .deb files of the packages"
do_patch[doc] = "apply the patches of SRC_URI"
do_populate_lic[doc] = "check LIC_FILES_CHKSUM"
do_populate_sysroot[doc] = "stage what other recipes build against"
do_prepare_recipe_sysroot[doc] = "collect what DEPENDS staged"
do_unpack[doc] = "unpack SRC_URI into UNPACKDIR"

EXPORT_FUNCTIONS do_fetch do_unpack do_configure do_compile do_install do_clean do_cleanall do_listtasks

# -- Recipes that are not for this machine --------------------------------------------------------------

python () {
    machines = d.getVar("COMPATIBLE_MACHINE")
    if machines:
        import re
        if not any(re.match(machines, name) for name in d.getVar("MACHINEOVERRIDES").split(":")):
            raise bb.parse.SkipRecipe(f"incompatible with machine {d.getVar('MACHINE')} (not in COMPATIBLE_MACHINE)")
    for variable in ("CC", "S", "B"):
        if d.getVar("WORKDIR") == os.path.normpath(d.getVar(variable) or ""):
            bb.fatal(f"{d.getVar('PN')}: {variable} is WORKDIR; use UNPACKDIR or a folder below it, as under Yocto")
}
