"""The address of a cluster: a port that leads to its API server, and not before the settings let it (apiAfterActive)."""
import base64
import contextlib
import datetime
import socket
import threading
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from cluster import NAME


def address(cluster):
    """(endpoint, CA in base64) of a cluster; without programs nobody listens at the endpoint."""
    if cluster.plane is None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        return f"https://127.0.0.1:{port}", base64.b64encode(authority()).decode()
    port = urlsplit(cluster.plane.endpoint).port
    if cluster.account.settings["durations"]["apiAfterActive"]:
        cluster.gate = Gate(port)
        cluster.account.later("apiAfterActive", cluster.gate.open)
        port = cluster.gate.port
    host = NAME if cluster.account.settings["endpointByName"] else "127.0.0.1"
    return f"https://{host}:{port}", base64.b64encode(cluster.plane.ca).decode()


def close(cluster):
    """Closes a cluster's port for good."""
    if getattr(cluster, "gate", None):
        cluster.gate.listener.close()


class Gate:
    """Passes connections on once it is open; before that each is closed as soon as it is made."""

    def __init__(self, target):
        self.target, self.passing = target, False
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.serve, daemon=True).start()

    def open(self):
        self.passing = True

    def serve(self):
        with contextlib.suppress(OSError):
            while True:
                client, _ = self.listener.accept()
                if not self.passing:
                    client.close()
                    continue
                server = socket.create_connection(("127.0.0.1", self.target))
                for ends in ((client, server), (server, client)):
                    threading.Thread(target=copy, args=ends, daemon=True).start()


def copy(source, sink):
    """Everything one side sends, until it ends."""
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_WR)


def authority():
    """A certificate of an authority that has signed nothing (PEM): what a cluster without an API server shows."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "kubernetes")])
    now = datetime.datetime.now(datetime.timezone.utc)
    made = (x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
            .serial_number(x509.random_serial_number()).not_valid_before(now).not_valid_after(now + datetime.timedelta(days=3650))
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True).sign(key, hashes.SHA256()))
    return made.public_bytes(serialization.Encoding.PEM)
