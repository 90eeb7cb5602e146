"""What is asked of pods that schemas do not ask: `pods.py SIDEKEY MANIFEST`.

- Each pod is of Kubernetes' restricted kind (its Pod Security Standard).
- Each sidekey in it has a read-only root and 65532 as its user, and a configuration that sidekey finds good.
- Each mount has its volume, and the app gets the socket's folder read-only, and no token of its own to sign in with.
"""

import os
import pathlib
import re
import subprocess
import sys
import tempfile

import yaml

sidekey, manifest = sys.argv[1:]
documents = [document for document in yaml.safe_load_all(open(manifest)) if document]
faults = []


def fault(place, what):
    faults.append(f"{place}: {what}")


def restricted(place, pod):
    allowed = {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"}
    for volume in pod.get("volumes", []):
        if not set(volume) - {"name"} <= allowed:
            fault(place, f"volume {volume['name']} is of a kind that is not allowed")
    for key in ("hostNetwork", "hostPID", "hostIPC"):
        if pod.get(key):
            fault(place, key)
    outer = pod.get("securityContext", {})
    for container in pod.get("initContainers", []) + pod["containers"]:
        name = container["name"]
        inner = container.get("securityContext", {})
        if inner.get("privileged") or inner.get("allowPrivilegeEscalation") is not False:
            fault(place, f"{name} may gain privileges")
        capabilities = inner.get("capabilities", {})
        if capabilities.get("drop") != ["ALL"] or set(capabilities.get("add", [])) - {"NET_BIND_SERVICE"}:
            fault(place, f"{name} keeps capabilities")
        if not inner.get("runAsNonRoot", outer.get("runAsNonRoot")):
            fault(place, f"{name} may be root")
        if inner.get("runAsUser", outer.get("runAsUser")) == 0:
            fault(place, f"{name} is root")
        profile = inner.get("seccompProfile", outer.get("seccompProfile", {})).get("type")
        if profile not in ("RuntimeDefault", "Localhost"):
            fault(place, f"{name} has no seccomp profile")
        if any("hostPort" in port for port in container.get("ports", [])):
            fault(place, f"{name} takes a port of the node")
        for mount in container.get("volumeMounts", []):
            if mount["name"] not in {volume["name"] for volume in pod.get("volumes", [])}:
                fault(place, f"{name} mounts {mount['name']}, which is no volume")


def is_sidekey(container):
    return container.get("args") == ["serve"] and re.search(r"(^|/)sidekey(:|@|$)", container["image"])


def ours(place, pod, container):
    inner = {**pod.get("securityContext", {}), **container["securityContext"]}
    if inner.get("runAsUser") != 65532 or not inner.get("readOnlyRootFilesystem"):
        fault(place, "sidekey is not 65532, or may write to its root")
    if pod.get("automountServiceAccountToken") is not False:
        fault(place, "the pod has a token for Kubernetes that it does not need")
    if not (container.get("startupProbe") and container.get("readinessProbe") and container.get("livenessProbe")):
        fault(place, "sidekey has not all of its probes")
    maps = {document["metadata"]["name"]: document["data"] for document in documents if document["kind"] == "ConfigMap"}
    names = [volume["configMap"]["name"] for volume in pod["volumes"] if "configMap" in volume]
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            if name not in maps:
                fault(place, f"no ConfigMap {name}")
                continue
            # The certificate that a Secret brings does not have to be there for the words to be good.
            text = maps[name]["sidekey.toml"].replace("/etc/sidekey/tls/", f"{folder}/")
            for file in ("sidekey.toml", "tls.crt", "tls.key"):
                pathlib.Path(folder, file).write_text(text)
            told = {
                "AZURE_TENANT_ID": "t",
                "AZURE_CLIENT_ID": "c",
                "AZURE_FEDERATED_TOKEN_FILE": "/etc/hostname",
                "XDG_RUNTIME_DIR": "/run",
            }
            command = [sidekey, "check", "--config", f"{folder}/sidekey.toml"]
            run = subprocess.run(command, env=told, capture_output=True, text=True, check=False)
            print(run.stdout, run.stderr)
            if run.returncode:
                fault(place, "its configuration is not good")
            elif probed := container["startupProbe"]["httpGet"]["port"]:
                port = next(port["containerPort"] for port in container["ports"] if port.get("name") == probed)
                if f":{port}\n" not in run.stdout.partition("metrics")[2]:
                    fault(place, f"the probes ask port {port}, where sidekey does not listen")


def app(place, pod, annotations, container):
    mounts = [mount for mount in container.get("volumeMounts", []) if mount["name"] == "sidekey-run"]
    if not mounts or not all(mount.get("readOnly") and mount.get("subPath") == "sidekey" for mount in mounts):
        fault(place, f"{container['name']} does not mount the socket's folder, or more than that, or may write to it")
    skipped = annotations.get("azure.workload.identity/skip-containers", "").split(";")
    if container["name"] not in skipped:
        fault(place, f"{container['name']} can sign in to Azure by itself")


seen = 0
for document in documents:
    if document["kind"] not in ("Deployment", "DaemonSet", "StatefulSet"):
        continue
    place = f"{document['kind']} {document['metadata']['name']}"
    template = document["spec"]["template"]
    pod = template["spec"]
    restricted(place, pod)
    for container in pod.get("initContainers", []) + pod["containers"]:
        if is_sidekey(container):
            seen += 1
            ours(place, pod, container)
            if container in pod.get("initContainers", []):
                if container.get("restartPolicy") != "Always":
                    fault(place, "sidekey is no sidecar: it would have to end before the app starts")
                for other in pod["containers"]:
                    app(place, pod, template["metadata"].get("annotations", {}), other)
if not seen:
    fault(os.path.basename(manifest), "no sidekey in it")
print("\n".join(faults))
sys.exit(bool(faults))
