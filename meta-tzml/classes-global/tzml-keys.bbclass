# The key that signs TAs and kernel libraries, and the one that is let in over SSH, under Yocto. They are made once. Whoever loses the first can sign nothing more for
# devices whose OP-TEE OS trusts it: TZML_KEYS should name a folder that outlives the build.

TZML_KEYS ?= "${TOPDIR}/keys"
TA_SIGN_KEY ?= "${TZML_KEYS}/ta-signing.pem"
TA_SIGN_KEY_PUBLIC ?= "${TZML_KEYS}/ta-signing.pub.pem"
TZML_SSH_KEY ?= "${TZML_KEYS}/ssh_ed25519"

def tzml_make_key(path, command):
    """Run a command that writes a file. Others never see an incomplete one."""
    import subprocess
    new = f"{path}.{os.getpid()}.new"
    before = os.umask(0o077)
    try:
        subprocess.run([word.replace("{}", new) for word in command], check=True, capture_output=True, text=True)
        os.rename(new, path)
    except FileNotFoundError:
        bb.fatal(f"{command[0]} is not installed on this host, and {path} does not exist: install it")
    except subprocess.CalledProcessError as error:
        bb.fatal(f"{path} cannot be made: {' '.join(command)}: {error.stderr.strip()}")
    finally:
        os.umask(before)

python tzml_keys_eventhandler() {
    import subprocess
    key, public, ssh = (d.getVar(name) for name in ("TA_SIGN_KEY", "TA_SIGN_KEY_PUBLIC", "TZML_SSH_KEY"))
    if d.getVar("BB_WORKERCONTEXT", False) == "1" or all(os.path.exists(path) for path in (key, public, f"{ssh}.pub")):
        return
    for path in (key, public, ssh):
        bb.utils.mkdirhier(os.path.dirname(path))
    with bb.utils.fileslocked([f"{key}.lock"]):
        if not os.path.exists(key):
            tzml_make_key(key, ["openssl", "genrsa", "-out", "{}", "3072"])
            bb.warn(f"made the key {key}: keep a copy, because without it nothing can be signed for these images")
        if not os.path.exists(public):
            tzml_make_key(public, ["openssl", "pkey", "-in", key, "-pubout", "-out", "{}"])
        if not os.path.exists(ssh):
            tzml_make_key(ssh, ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "tzml", "-f", "{}"])
            bb.utils.remove(f"{ssh}.*.new.pub")
        if not os.path.exists(f"{ssh}.pub"):
            with open(f"{ssh}.pub.new", "w") as stream:
                subprocess.run(["ssh-keygen", "-y", "-f", ssh], check=True, stdout=stream)
            os.rename(f"{ssh}.pub.new", f"{ssh}.pub")
}
addhandler tzml_keys_eventhandler
tzml_keys_eventhandler[eventmask] = "bb.event.ConfigParsed"
