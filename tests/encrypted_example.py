"""Vectors for encrypted models: docs/bundle-examples/encrypted.{tze,json}, made by this program.

HPKE draws random numbers, so the files are made once and then only checked.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from bundle_examples import FOLDER
from cryptography.hazmat.primitives.asymmetric import ec
from sealed_example import scalar

from tzml.owner.encrypted_model import encrypt_model
from tzml.owner.keys import coordinates


def main(folder: Path = FOLDER) -> None:
    keys = [ec.generate_private_key(ec.SECP256R1()) for _ in range(2)]
    files = {"net.onnx": b"the network", "weights/w0.bin": bytes(range(256)) * 260}
    with tempfile.TemporaryDirectory() as place:
        for name, content in files.items():
            (Path(place) / name).parent.mkdir(exist_ok=True)
            (Path(place) / name).write_bytes(content)
        paths = {name: Path(place) / name for name in files}
        recipients = [coordinates(key.public_key()) for key in keys]
        encrypt_model("net.onnx", paths, recipients, folder / "encrypted.tze")
    about = {
        "private_keys": [scalar(key) for key in keys],
        "model": "net.onnx",
        "files": {"net.onnx": files["net.onnx"].hex(), "weights/w0.bin": "bytes 0 to 255, 260 times"},
    }
    (folder / "encrypted.json").write_text(json.dumps(about, indent=1) + "\n")


if __name__ == "__main__":
    main()
