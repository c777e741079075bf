"""Record the names that OE-core and meta-arm provide, for test_yocto.py.

Run in a build folder that has those layers:
    kas shell kas/yocto/qemu.yml -c "python3 $PWD/tests/build/record_oe_names.py" >tests/build/oe-names.txt
"""

from __future__ import annotations

import os
import sys
import textwrap

sys.path.insert(0, os.environ.get("BITBAKEDIR", "") + "/lib")
from bb.tinfoil import Tinfoil


def main() -> None:
    """Print the names of recipes and, of what Python and C++ programs need, those of packages."""
    with Tinfoil() as tinfoil:
        tinfoil.prepare(config_only=False)
        cache = tinfoil.cooker.recipecaches[""]
        recipes = {name for name, files in cache.pkg_pn.items() if "/meta-tzml/" not in files[0]}
        packages = {name for name, files in cache.packages.items() if "/meta-tzml/" not in files[0]}
    native = {name.removesuffix("-native") for name in recipes if name.endswith("-native")}
    target = {name for name in recipes if not name.endswith("-native") and not name.startswith("nativesdk-")}
    wanted = {name for name in packages - target if name.startswith(("python3-", "libstdc++", "libgcc"))}
    wanted = {name for name in wanted if not name.endswith(("-dev", "-dbg", "-doc", "-src", "-staticdev"))}
    print(
        "# What OE-core and meta-arm (wrynose) provide, made by record_oe_names.py. A star: there is a -native "
        "variant, too."
    )
    starred = {f"{name}*" if name in native else name for name in target}
    for kind, names in (
        ("recipes", starred | {f"{name}-native" for name in native - target}),
        ("packages", wanted),
    ):
        print(f"[{kind}]")
        print(textwrap.fill(" ".join(sorted(names)), 116, break_on_hyphens=False, break_long_words=False))


if __name__ == "__main__":
    main()
