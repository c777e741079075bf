# Checks that the source still has the licence that the recipe states.

addtask populate_lic after do_patch
python license_do_populate_lic() {
    import hashlib
    if d.getVar("LICENSE") == "INVALID":
        bb.fatal(f"{d.getVar('PN')}: the recipe states no LICENSE")
    for url in (d.getVar("LIC_FILES_CHKSUM") or "").split():
        _, _, path, _, _, parameters = bb.fetch2.decodeurl(url)
        path = os.path.join(d.getVar("S"), path)
        try:
            with open(path, "rb") as stream:
                lines = stream.read().splitlines(keepends=True)
        except FileNotFoundError:
            bb.fatal(f"{d.getVar('PN')}: LIC_FILES_CHKSUM names {path}, which does not exist")
        first, last = int(parameters.get("beginline", 1)), int(parameters.get("endline", len(lines)))
        found = hashlib.md5(b"".join(lines[first - 1:last]), usedforsecurity=False).hexdigest()
        if found != parameters.get("md5"):
            bb.fatal(
                f"{d.getVar('PN')}: the licence text in {path} has md5 {found}, not {parameters.get('md5')}: "
                "read it, then correct LICENSE and LIC_FILES_CHKSUM"
            )
}

EXPORT_FUNCTIONS do_populate_lic
