"""The Kubernetes control plane of one EKS cluster of the double: a real etcd, API server, controller manager and
scheduler as processes, made by kwokctl, and kwok, which simulates kubelets for the nodes that controllers.py writes.

It asks for every bearer token at `review_url`, as EKS asks IAM. Everything lies in a folder of its own, which goes with it.
"""

import contextlib
import http.client
import json
import os
import pathlib
import random
import shutil
import signal
import socket
import ssl
import subprocess
import threading
import time
import urllib.parse

import yaml

PROGRAMS = {
    "etcdBinary": "etcd",
    "kubeApiserverBinary": "kube-apiserver",
    "kubeControllerManagerBinary": "kube-controller-manager",
    "kubeSchedulerBinary": "kube-scheduler",
    "kwokControllerBinary": "kwok",
    "kubectlBinary": "kubectl",
}
PORTS = ["kubeApiserverPort", "etcdPort", "etcdPeerPort", "kubeControllerManagerPort", "kubeSchedulerPort", "kwokControllerPort"]
# What an API server is called besides its address, for who can make this name lead to loopback.
NAME = "cluster.double.test"
# Nothing runs behind the addresses of Services here: a call to a webhook would wait for its deadline.
WITHOUT = "ValidatingAdmissionWebhook,MutatingAdmissionWebhook"
# How many minor versions back an API server can serve the API of.
EMULATED = 3
START_SECONDS = 120
STOP_SECONDS = 10


class ApiError(Exception):
    """An answer of the API server that is no success: `status` (HTTP), `reason` and `message` as it gave them."""

    def __init__(self, method, path, status, answer):
        self.status = status
        self.reason = answer.get("reason", "")
        self.message = answer.get("message", "")
        super().__init__(f"{method} {path}: {status} {self.reason}: {self.message}")


class Api:
    """Calls an API server with JSON; any thread may, each has its own connection. Without a certificate, as nobody."""

    def __init__(self, endpoint, ca_file, certificate=None, key=None):
        self.address = urllib.parse.urlsplit(endpoint)
        self.tls = ssl.create_default_context(cafile=str(ca_file))
        if certificate:
            self.tls.load_cert_chain(str(certificate), str(key))
        self.threads = threading.local()

    def call(self, method, path, body=None, kind="application/json", token=None):
        """The answer to one request as JSON (as text where it is none); raises ApiError."""
        headers = {"Content-Type": kind, "Accept": "application/json"}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        sent = None if body is None else json.dumps(body)
        status, text = self._exchange(method, path, sent, headers)
        try:
            answer = json.loads(text)
        except ValueError:
            answer = {"message": text}
        if status >= 300:
            raise ApiError(method, path, status, answer)
        return answer

    def _exchange(self, method, path, body, headers):
        for fresh in (False, True):
            connection = getattr(self.threads, "connection", None)
            if connection is None or fresh:
                connection = http.client.HTTPSConnection(self.address.hostname, self.address.port, timeout=30, context=self.tls)
                self.threads.connection = connection
            try:
                connection.request(method, path, body, headers)
                answer = connection.getresponse()
                return answer.status, answer.read().decode()
            except (OSError, http.client.HTTPException):
                # An idle connection may have been closed by the other side: once more on a new one.
                connection.close()
                if fresh:
                    raise
        raise AssertionError("unreachable")

    def items(self, path):
        """The objects of a collection, from the API server's cache (it costs next to nothing)."""
        return self.call("GET", f"{path}?resourceVersion=0").get("items") or []

    def find(self, path):
        """One object, or None where there is none."""
        try:
            return self.call("GET", path)
        except ApiError as error:
            if error.status == 404:
                return None
            raise

    def create(self, thing):
        """Creates an object; one that is there already is left as it is."""
        try:
            self.call("POST", path_of(thing, named=False), thing)
        except ApiError as error:
            if error.status != 409:
                raise

    def apply(self, thing, manager="eks"):
        """Server-side apply, as EKS writes its add-ons."""
        query = f"?fieldManager={manager}&force=true"
        self.call("PATCH", path_of(thing) + query, thing, "application/apply-patch+yaml")

    def merge(self, path, change):
        """Merge patch; a `metadata.resourceVersion` in it makes it fail (409) where somebody was faster."""
        self.call("PATCH", path, change, "application/merge-patch+json")

    def delete(self, path, grace=None):
        """Deletes an object; one that is gone is fine. `grace` in seconds."""
        options = {"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Background"}
        if grace is not None:
            options["gracePeriodSeconds"] = grace
        try:
            self.call("DELETE", path, options)
        except ApiError as error:
            if error.status != 404:
                raise


def path_of(thing, named=True):
    """Where an object is in the API (or, not `named`, its collection)."""
    version, kind, metadata = thing["apiVersion"], thing["kind"].lower(), thing["metadata"]
    plural = kind + "es" if kind.endswith("s") else kind[:-1] + "ies" if kind.endswith("y") else kind + "s"
    path = f"/apis/{version}" if "/" in version else f"/api/{version}"
    if "namespace" in metadata:
        path += f"/namespaces/{metadata['namespace']}"
    return f"{path}/{plural}/{metadata['name']}" if named else f"{path}/{plural}"


class ControlPlane:
    """One cluster's control plane.

    folder: where it may make a folder `name`; programs: where kwokctl and the rest are; review_url: who judges tokens, a
    URL without query (client-go drops it: which cluster asks has to be in the path); version: "1.33", whose API it serves
    where its program can ("/version" still tells the program's own, 1.34.4-eks-double, and 33 as `emulationMinor`).
    """

    def __init__(self, folder, programs, name, review_url, version):
        self.folder = pathlib.Path(folder).absolute() / name
        self.programs = pathlib.Path(programs).absolute()
        self.name, self.review_url, self.version = name, review_url, version
        self.place = self.folder / "clusters" / name
        self.endpoint = self.ca = self.api = None

    def start(self):
        """Blocks until the API server is ready; raises RuntimeError with the reason where it does not get so."""
        if urllib.parse.urlsplit(self.review_url).query:
            raise ValueError(f"{self.review_url}: an API server drops the query of this URL: put which cluster asks into its path")
        self.stop()
        self.folder.mkdir(parents=True, mode=0o700)
        self._write("review.yaml", {
            "apiVersion": "v1", "kind": "Config", "current-context": "review", "users": [{"name": "api-server"}],
            "clusters": [{"name": "review", "cluster": {"server": self.review_url}}],
            "contexts": [{"name": "review", "context": {"cluster": "review", "user": "api-server"}}],
        })
        self._write("options.yaml", self._options())
        kubeconfig = self.folder / "kubeconfig"
        self._kwokctl("create", "cluster", "--config", self.folder / "options.yaml", "--kubeconfig", kubeconfig)
        for private in [kubeconfig, self.place / "kubeconfig.yaml", *(self.place / "pki").glob("*")]:
            if private.exists():
                private.chmod(0o600)
        pki = self.place / "pki"
        entry = yaml.safe_load((self.place / "kubeconfig.yaml").read_text())
        self.endpoint = entry["clusters"][0]["cluster"]["server"]
        self.ca = (pki / "ca.crt").read_bytes()
        self.api = Api(self.endpoint, pki / "ca.crt", pki / "admin.crt", pki / "admin.key")
        self._wait()

    def stop(self):
        """Ends every process that runs from its folder and removes the folder; also what an earlier double left there."""
        deadline = time.monotonic() + STOP_SECONDS
        while processes := running_from(self.place / "bin"):
            for pid in processes:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            if time.monotonic() > deadline:
                raise RuntimeError(f"processes {processes} of cluster {self.name} do not end")
            time.sleep(0.05)
        shutil.rmtree(self.folder, ignore_errors=True)

    def logs(self):
        """The last lines of each component, for whoever wants to know why it does not answer."""
        logs = sorted((self.place / "logs").glob("*.log"))
        return "\n".join(f"{log.stem}: {line}" for log in logs for line in log.read_text(errors="replace").splitlines()[-2:])

    def _options(self):
        own = self._run(self.programs / "kube-apiserver", "--version").split()[-1]
        ports = free_ports(len(PORTS))
        extra = {
            "authentication-token-webhook-config-file": str(self.folder / "review.yaml"),
            "authentication-token-webhook-version": "v1",
            "authentication-token-webhook-cache-ttl": "1s",
            "disable-admission-plugins": WITHOUT,
        }
        extra["version"] = f"{own}-eks-double"
        behind = minor(own) - minor(self.version or own)
        if 0 < behind <= EMULATED:
            extra["emulated-version"] = f"kube=1.{minor(self.version)}"
        return {
            "apiVersion": "config.kwok.x-k8s.io/v1alpha1",
            "kind": "KwokctlConfiguration",
            "options": {
                "runtime": "binary", "kubeVersion": own, "bindAddress": "127.0.0.1", "disableQPSLimits": True,
                "kubeApiserverCertSANs": [NAME],
                **{option: str(self.programs / program) for option, program in PROGRAMS.items()},
                **dict(zip(PORTS, ports, strict=True)),
            },
            "componentsPatches": [{
                "name": "kube-apiserver",
                "extraArgs": [{"key": key, "value": value} for key, value in extra.items()],
            }],
        }

    def _wait(self):
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                self.api.call("GET", "/readyz")
                return
            except (OSError, http.client.HTTPException, ApiError) as error:
                if time.monotonic() > deadline:
                    raise RuntimeError(f"cluster {self.name} is not ready: {error}\n{self.logs()}") from error
            time.sleep(0.1)

    def _write(self, name, content):
        path = self.folder / name
        path.touch(mode=0o600)
        path.write_text(yaml.safe_dump(content))

    def _kwokctl(self, *args):
        self._run(self.programs / "kwokctl", "--name", self.name, *args)

    def _run(self, *command):
        """What a program prints. It gets no KWOK_ variable of the outside, and writes nothing there."""
        env = {name: value for name, value in os.environ.items() if not name.startswith("KWOK_")}
        env |= {"KWOK_WORKDIR": str(self.folder), "HOME": str(self.folder / "home")}
        # Its children keep what it inherits for as long as they run: a pipe would never end.
        log = self.folder / "kwokctl.log"
        with log.open("a+") as output:
            start = output.seek(0, os.SEEK_END)
            try:
                code = subprocess.run(
                    [str(word) for word in command], env=env, timeout=START_SECONDS, check=False,
                    stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
                ).returncode
            except subprocess.TimeoutExpired:
                code = f"not done within {START_SECONDS} s"
            output.seek(start)
            said = output.read()
        if code != 0:
            raise RuntimeError(f"{command[0]} {' '.join(map(str, command[1:]))} failed ({code}): {said}\n{self.logs()}")
        return said


def minor(version):
    """34 of v1.34.4 or 1.34."""
    return int(version.lstrip("v").split(".")[1])


def running_from(folder):
    """The ids of the processes whose program lies in a folder; those that only wait for their parent do not count."""
    found = []
    for entry in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            program = (entry / "cmdline").read_bytes().split(b"\0")[0].decode()
            if pathlib.Path(program).parent == folder:
                found.append(int(entry.name))
        except (OSError, UnicodeDecodeError):
            continue
    return found


def free_ports(count):
    """Free ports of the loopback interface, none of them one that the system gives to outgoing connections meanwhile.

    All are held until all are known, so that none comes twice; two that look at once begin at different places.
    """
    low, high = map(int, pathlib.Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())
    candidates = [*range(10_000, low), *range(high + 1, 65_536)]
    held = []
    try:
        for port in random.sample(candidates, len(candidates)):
            with contextlib.suppress(OSError):
                held.append(socket.create_server(("127.0.0.1", port)))
            if len(held) == count:
                return [server.getsockname()[1] for server in held]
    finally:
        for server in held:
            server.close()
    raise RuntimeError(f"no {count} free ports outside of {low} to {high}")
