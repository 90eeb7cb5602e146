"""cloud-init's file and the configuration beside it: `cloud_init.py SIDEKEY`.

The file is YAML with keys that cloud-init knows, its script is a shell's, what the template fills in is in it, and the
configurations are good.
"""

import pathlib
import re
import subprocess
import sys
import tempfile

import yaml

AZURE = pathlib.Path(__file__).resolve().parents[2] / "deploy/azure"
sidekey = sys.argv[1]
faults = []


def configuration(name, text):
    with tempfile.TemporaryDirectory() as folder:
        file = pathlib.Path(folder, "sidekey.toml")
        file.write_text(text)
        told = {"SIDEKEY_SOURCE_MANAGED_IDENTITY": "true", "AZURE_CLIENT_ID": "c", "XDG_RUNTIME_DIR": "/run"}
        run = subprocess.run([sidekey, "check", "--config", file], env=told, capture_output=True, text=True, check=False)
        if run.returncode:
            faults.append(f"{name}: {run.stderr}")


configuration("deploy/azure/sidekey.toml", (AZURE / "sidekey.toml").read_text())
text = (AZURE / "cloud-init.yaml").read_text()
if not text.startswith("#cloud-config\n"):
    faults.append("cloud-init.yaml does not begin with #cloud-config")
for word in re.findall(r"'([A-Z_0-9]+)'", (AZURE / "scale-set.bicep").read_text()):
    if word not in text:
        faults.append(f"cloud-init.yaml has no {word} to fill in")
    text = text.replace(word, "0")
boot = yaml.safe_load(text)
if unknown := set(boot) - {"write_files", "runcmd"}:
    faults.append(f"cloud-init.yaml: {unknown}")
for file in boot["write_files"]:
    if unknown := set(file) - {"path", "content", "permissions", "owner", "defer"}:
        faults.append(f"cloud-init.yaml: {file['path']}: {unknown}")
    if file["path"].endswith(".toml"):
        configuration(f"cloud-init.yaml: {file['path']}", file["content"])
    elif subprocess.run(["sh", "-n"], input=file["content"], text=True, check=False).returncode:
        faults.append(f"cloud-init.yaml: {file['path']} is no shell script")
print("\n".join(faults))
sys.exit(bool(faults))
