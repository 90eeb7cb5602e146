"""Makes a machine's first boot out of a cloud-init file, as far as ours go: machine.py ROOT CLOUD_INIT NAME=VALUE…

Writes `write_files` under ROOT, adds `users`, and makes /runcmd; each NAME is replaced by its VALUE, as Bicep does it.
"""

import pathlib
import shlex
import subprocess
import sys

import yaml

root, source, *replacements = sys.argv[1:]
text = pathlib.Path(source).read_text()
for replacement in replacements:
    name, value = replacement.split("=", 1)
    assert name in text, name
    text = text.replace(name, value)
document = yaml.safe_load(text)
assert set(document) <= {"users", "write_files", "runcmd"}, set(document)
for user in document.get("users", []):
    if user == "default":
        continue
    subprocess.run(["chroot", root, "useradd", *(["--no-create-home"] if user.pop("no_create_home") else []), "--uid", user.pop("uid"), "--shell",
                    user.pop("shell"), user.pop("name")], check=True)
    assert not user, user
for file in document["write_files"]:
    path = pathlib.Path(root + file.pop("path"))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(file.pop("content"))
    path.chmod(int(file.pop("permissions", "0644"), 8))
    assert not file, file
run = pathlib.Path(root) / "runcmd"
run.write_text("#!/bin/sh\nset -e\n" + "".join(shlex.join(command) + "\n" for command in document["runcmd"]))
run.chmod(0o755)
