"""Runs the real Prometheus operator for a cluster of the double: as a process, in place of the simulated pod of a
Deployment, with that container's arguments, the Secrets that it mounts, and the rights of its ServiceAccount.

It runs while the Deployment has an available pod, so without nodes there is no operator either.
"""

import base64
import hashlib
import json
import logging
import shutil
import subprocess
import time

import yaml

LOG = logging.getLogger("double.operator")
IMAGE = "prometheus-operator"
LISTEN = "--web.listen-address="
TOKEN_SECONDS = 24 * 3600
AGAIN_SECONDS = 5


class Operator:
    """At most one process; it is started again where its Deployment or a Secret of it changes, or it ends by itself."""

    def __init__(self, control_plane):
        self.plane, self.api = control_plane, control_plane.api
        self.folder = control_plane.folder / "operator"
        self.program = control_plane.programs / "operator"
        self.process = self.runs = None
        self.started = 0

    def step(self):
        found = next((pair for item in self.api.items("/apis/apps/v1/deployments") if (pair := self._container(item))), None)
        if not found or not self.program.exists():
            self.stop()
            return
        deployment, container = found
        files = self._files(deployment, container)
        runs = hashlib.sha256(json.dumps([deployment["spec"]["template"], files], sort_keys=True).encode()).hexdigest()
        if self.process and self.process.poll() is not None:
            LOG.warning("%s: the operator ended (%s): see %s", self.plane.name, self.process.returncode, self.folder / "log")
            self.process = None
        if self.process and runs != self.runs:
            self.stop()
        if not self.process and time.monotonic() - self.started > AGAIN_SECONDS:
            self.started = time.monotonic()
            self._start(deployment, container, files)
            self.runs = runs

    def stop(self):
        """Ends the process; returns when it has ended."""
        if self.process:
            self.process.terminate()
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
            self.process, self.started = None, 0

    @staticmethod
    def _container(deployment):
        if not deployment.get("status", {}).get("availableReplicas"):
            return None
        for container in deployment["spec"]["template"]["spec"]["containers"]:
            if container["image"].split("/")[-1].split(":")[0].split("@")[0] == IMAGE:
                return deployment, container
        return None

    def _files(self, deployment, container):
        """The files that the pod would see: {mount path: {name: base64}} of its Secrets."""
        namespace, files = deployment["metadata"]["namespace"], {}
        volumes = {volume["name"]: volume for volume in deployment["spec"]["template"]["spec"].get("volumes", [])}
        for mount in container.get("volumeMounts", []):
            secret = volumes.get(mount["name"], {}).get("secret")
            if not secret:
                continue
            found = self.api.find(f"/api/v1/namespaces/{namespace}/secrets/{secret['secretName']}") or {}
            data = found.get("data") or {}
            names = {item["key"]: item["path"] for item in secret.get("items") or []} or {key: key for key in data}
            files[mount["mountPath"]] = {path: data[key] for key, path in names.items() if key in data}
        return files

    def _start(self, deployment, container, files):
        namespace = deployment["metadata"]["namespace"]
        shutil.rmtree(self.folder / "files", ignore_errors=True)
        self.folder.mkdir(mode=0o700, exist_ok=True)
        for mount, content in files.items():
            folder = self._inside(mount)
            folder.mkdir(parents=True)
            for name, data in content.items():
                self._private(folder / name, base64.b64decode(data))
        account = deployment["spec"]["template"]["spec"].get("serviceAccountName") or "default"
        kubeconfig = self._kubeconfig(namespace, account)
        # From the cluster's own folder: so whoever ends what runs from there ends it as well.
        program = self.plane.place / "bin" / "operator"
        if not program.exists():
            program.symlink_to(self.program)
        env = {item["name"]: item["value"] for item in container.get("env", []) if "value" in item}
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [str(program), *(self._here(arg, files) for arg in container.get("args", []))],
                env=env | {"KUBECONFIG": str(kubeconfig), "HOME": str(self.folder)}, cwd=self.folder,
                stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
            )

    def _here(self, arg, files):
        """An argument as it must be outside a pod: any free port of the loopback interface, and files where they are."""
        if arg.startswith(LISTEN):
            return f"{LISTEN}127.0.0.1:0"
        option, equals, value = arg.partition("=")
        if any(value == mount or value.startswith(f"{mount.rstrip('/')}/") for mount in files):
            return f"{option}{equals}{self._inside(value)}"
        return arg

    def _inside(self, path):
        return self.folder / "files" / path.strip("/")

    def _kubeconfig(self, namespace, account):
        asked = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": TOKEN_SECONDS}}
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{account}/token"
        token = self.api.call("POST", path, asked)["status"]["token"]
        authority = base64.b64encode(self.plane.ca).decode()
        content = {
            "apiVersion": "v1", "kind": "Config", "current-context": "double",
            "clusters": [{"name": "double", "cluster": {"server": self.plane.endpoint, "certificate-authority-data": authority}}],
            "users": [{"name": account, "user": {"token": token}}],
            "contexts": [{"name": "double", "context": {"cluster": "double", "user": account}}],
        }
        return self._private(self.folder / "kubeconfig", yaml.safe_dump(content).encode())

    @staticmethod
    def _private(path, content):
        path.touch(mode=0o600)
        path.write_bytes(content)
        return path
