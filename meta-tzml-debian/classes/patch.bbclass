# Applies the patches of SRC_URI: file://*.patch and *.diff, or any with ;apply=yes.

addtask patch after do_unpack
do_patch[dirs] = "${UNPACKDIR}"
python patch_do_patch() {
    import subprocess

    fetcher = bb.fetch2.Fetch([], d) if (d.getVar("SRC_URI") or "").split() else None
    for ud in fetcher.ud.values() if fetcher else ():
        wanted = ud.parm.get("apply", "yes" if ud.path.endswith((".patch", ".diff")) else "no")
        if ud.type != "file" or wanted in ("no", "0"):
            continue
        patch = fetcher.localpath(ud.url)
        bb.note(f"applying {patch}")
        where = os.path.join(d.getVar("S"), ud.parm.get("patchdir", ""))
        command = ["patch", f"-p{ud.parm.get('striplevel', '1')}", "--batch", "--forward", "--input", patch]
        done = subprocess.run(command, cwd=where, text=True, capture_output=True)
        bb.plain(done.stdout)
        if done.returncode:
            bb.fatal(f"{os.path.basename(patch)} does not apply to {where}: refresh it, or remove it from SRC_URI")
}

EXPORT_FUNCTIONS do_patch
