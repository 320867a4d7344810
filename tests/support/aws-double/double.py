"""A stand-in for AWS on 127.0.0.1: moto with the rules it lacks, EKS of our own, and a real API server behind each cluster.

    python double.py --folder DIR [--port 0] [--scale 0.01] [--programs DIR] [--until-stdin-closes]

One line of JSON on stdout says where it answers; README.md beside this file says what it proves and what it does not.
"""
import argparse
import io
import json
import logging
import os
import signal
import sys
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from werkzeug.serving import WSGIRequestHandler, make_server

import admin
import closed
import faults
import paging
import wire
from account import Account
from sts import review, verified
from wire import Refused

# Modules whose hooks and operations make up the double.
import ec2, ec2_rules, eks, eks_access, eks_addons, eks_nodegroups, iam, others  # noqa: E401,F401  (imported for what they register)

log = logging.getLogger("double")


class Double:
    """The WSGI application: one request at a time, except for the review of tokens, which waits for nobody."""

    def __init__(self, account):
        self.account = account

    def __call__(self, environ, start):
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        path = environ["PATH_INFO"]
        if path.startswith("/_double/token-review"):
            with self.account.lock:
                out = review(self.account, environ, body)
            status, headers, content = 200, {"Content-Type": "application/json"}, json.dumps(out).encode()
        elif path.startswith("/_double/"):
            with self.account.lock:
                self.account.settle()
                status, headers, content = admin.answer(self.account, environ["REQUEST_METHOD"], path[len("/_double/"):], body)
        else:
            status, headers, content, wait = self.locked(environ, body)
            time.sleep(wait)
        if status is None:
            raise ConnectionResetError("the fault says that this answer is lost")
        if environ["REQUEST_METHOD"] != "HEAD":
            headers = {k: v for k, v in headers.items() if k.lower() != "content-length"} | {"Content-Length": str(len(content))}
        start(f"{status} -", [(k, str(v)) for k, v in headers.items()])
        return [content]

    def locked(self, environ, body):
        """(status, headers, body, seconds to wait) of a call of a service; status None when the answer is to be lost."""
        with self.account.lock:
            self.account.settle()
            call, wait, raw = None, 0, None
            try:
                call = wire.read(environ, body)
                if call is None:
                    raise Refused("MissingAuthenticationToken", "The request is not signed for a service that the double knows.", 403)
                closed.check(call)
                verified(self.account, call, environ, body)
                fault = faults.of(self.account, call)
                wait = fault.get("delay", 0)
                faults.early(self.account, call, fault)
                asked = dict(call.parameters)
                if call.service == "s3":
                    raw = self.account.moto.forward({**environ, "wsgi.input": io.BytesIO(body)})
                else:
                    raw = wire.answer(call, paging.listed(self.account, call))
                self.account.regions.add(call.region)
                call.parameters = asked
                raw = faults.late(fault, raw)
            except Refused as refused:
                raw = wire.refuse(call, refused)
                self.note(call, raw[0], refused.code)
            except Exception:
                log.exception("%s:%s", call and call.service, call and call.name)
                raw = wire.refuse(call, Refused("InternalFailure", "the double failed, see its log", 500))
                self.note(call, 500, "InternalFailure")
            else:
                self.note(call, raw[0], None)
            return *raw, wait

    def note(self, call, status, code):
        """One line in the list of calls."""
        if call is not None:
            log.info("%s %s:%s %s %s", call.region, call.service, call.name, status, code or "")
            self.account.calls.append({
                "n": len(self.account.calls) + 1, "service": call.service, "operation": call.name, "mutating": call.mutating,
                "region": call.region, "parameters": call.parameters, "status": status, "code": code})


class Quiet(WSGIRequestHandler):
    """Connections stay open between requests, and nothing but the double itself writes a log."""

    protocol_version = "HTTP/1.1"

    def make_environ(self):
        environ = super().make_environ()
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            environ["CONTENT_LENGTH"] = environ.get("HTTP_X_AMZ_DECODED_CONTENT_LENGTH", "")
        return environ

    def connection_dropped(self, error, environ=None):
        """A lost answer ends the connection; else the client would wait for it."""
        self.close_connection = True

    def log(self, kind, message, *arguments):
        log.debug(message, *arguments)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--scale", type=float, default=0.01)
    parser.add_argument("--programs", type=Path, default=os.environ.get("STACKUP_CONTROL_PLANE") or None)
    parser.add_argument("--until-stdin-closes", action="store_true")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    logging.basicConfig(filename=options.folder / "double.log", level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    logging.getLogger("botocore").setLevel(logging.WARNING)
    account = Account(options.folder, options.programs, options.scale)
    server = make_server("127.0.0.1", options.port, Double(account), threaded=True, request_handler=Quiet)
    server.daemon_threads = True
    account.url = f"http://127.0.0.1:{server.port}"
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    if options.until_stdin_closes:
        threading.Thread(target=until_closed, args=(ended,), daemon=True).start()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    threading.Thread(target=tick, args=(account, ended), daemon=True).start()
    print(json.dumps({"url": account.url}), flush=True)
    ended.wait()
    account.end()


def until_closed(ended):
    """Waits for the end of standard input; unbuffered, since a buffer's lock held at exit is fatal to Python."""
    while os.read(0, 4096):
        pass
    ended.set()


def tick(account, ended):
    """Keeps the clock going while nobody asks: nodes are to appear for the controllers without a call."""
    while not ended.wait(0.1):
        with account.lock:
            try:
                account.settle()
            except Exception:
                log.exception("what was due has failed")


if __name__ == "__main__":
    main()
