"""Bicep and cloud-init, as far as they can be held against anything here: `azure.py SIDEKEY`.

- Every template has the syntax of Bicep (tree-sitter's grammar), names no parameter or variable that it has not, and has
  none that it does not use.
- Files that it loads are there.
- cloud-init is YAML with the keys that it knows, its script is a shell's, what the template fills in is in it, and the
  configurations are good.
"""

import pathlib
import re
import subprocess
import sys
import tempfile

import tree_sitter_bicep
import yaml
from tree_sitter import Language, Parser

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


def broken(node):
    if node.is_missing or node.type == "ERROR":
        yield node.start_point[0] + 1
    for child in node.children:
        yield from broken(child)


parser = Parser(Language(tree_sitter_bicep.language()))
for template in sorted(AZURE.glob("*.bicep")):
    text = template.read_text()
    tree = parser.parse(text.encode())
    faults += [f"{template.name}:{line}: this is not Bicep" for line in broken(tree.root_node)]
    code = re.sub(r"//.*", "", text)
    for name in re.findall(r"^(?:param|var) (\w+)", code, re.M):
        if len(re.findall(rf"\b{name}\b", code)) < 2:
            faults.append(f"{template.name}: {name} is not used")
    usage = set(re.findall(r"(\w+)=", " ".join(re.findall(r"^//   .*|^//     .*", text, re.M))))
    parameters = dict(re.findall(r"^param (\w+) (.*)$", code, re.M))
    faults += [f"{template.name}: its usage names {name}, which is no parameter" for name in usage - set(parameters)]
    needed = {name for name, rest in parameters.items() if "=" not in rest}
    faults += [f"{template.name}: its usage lacks {name}" for name in needed - usage]
    for loaded in re.findall(r"load\w+\('(.*?)'\)", code):
        if not (AZURE / loaded).exists():
            faults.append(f"{template.name}: there is no {loaded}")

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
