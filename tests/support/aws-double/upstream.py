"""moto, in process: a call goes in as a dict and comes out as a dict, over moto's own wire format, so that nothing leans on its insides."""
import io
import os
from datetime import timezone
from urllib.parse import urlencode

os.environ.setdefault("MOTO_IAM_LOAD_MANAGED_POLICIES", "true")
os.environ.setdefault("MOTO_EC2_ENABLE_INSTANCE_TYPE_VALIDATION", "true")
os.environ.setdefault("MOTO_ACCOUNT_ID", "123456789012")

from botocore.parsers import ResponseParserFactory
from botocore.serialize import create_serializer
from botocore.utils import parse_timestamp
from moto.server import DomainDispatcherApplication, create_backend_app

from wire import Call, Refused, not_implemented

SIGNING = {"service-quotas": "servicequotas", "resourcegroupstaggingapi": "tagging", "elb": "elasticloadbalancing",
           "elbv2": "elasticloadbalancing"}


READERS = ResponseParserFactory()
# Times are compared and written in UTC, wherever the machine is.
READERS.set_parser_defaults(timestamp_parser=lambda value: parse_timestamp(value).astimezone(timezone.utc).replace(tzinfo=None))


class Moto:
    """The emulator below the double. Not safe for two threads at once: the double's lock is held around it."""

    def __init__(self):
        self.app = DomainDispatcherApplication(create_backend_app)

    def call(self, service, name, region, parameters):
        """Result of one operation; raises `Refused` with moto's error, or with NotImplementedByDouble where moto fails."""
        call = Call(service, name, parameters, region)
        model, protocol = call.model, call.protocol
        request = create_serializer(protocol, include_validation=False).serialize_to_request(dict(parameters), model)
        body = request["body"]
        if isinstance(body, dict):
            body = urlencode(body)
        body = body.encode() if isinstance(body, str) else body or b""
        signing = SIGNING.get(service, service)
        headers = {**request["headers"], "Authorization": f"AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260101/{region}/{signing}/aws4_request, SignedHeaders=host, Signature=0"}
        environ = {
            "REQUEST_METHOD": request["method"], "PATH_INFO": request["url_path"], "SCRIPT_NAME": "",
            "QUERY_STRING": urlencode(request["query_string"], doseq=True), "SERVER_NAME": "127.0.0.1", "SERVER_PORT": "80",
            "SERVER_PROTOCOL": "HTTP/1.1", "HTTP_HOST": "127.0.0.1", "CONTENT_LENGTH": str(len(body)),
            "wsgi.input": io.BytesIO(body), "wsgi.url_scheme": "http", "wsgi.errors": io.StringIO(), "wsgi.version": (1, 0),
            "wsgi.multithread": True, "wsgi.multiprocess": False, "wsgi.run_once": False,
        }
        for key, value in headers.items():
            key = key.upper().replace("-", "_")
            environ[key if key == "CONTENT_TYPE" else f"HTTP_{key}"] = value.decode() if isinstance(value, bytes) else value
        environ.setdefault("CONTENT_TYPE", "")
        status, answered, content = self.forward(environ, call)
        try:
            out = READERS.create_parser(protocol).parse({"status_code": status, "headers": answered, "body": content}, model.output_shape)
        except Exception as error:
            raise not_implemented(call, f"is answered by moto with what cannot be read: {error}") from error
        if status >= 500 or (status == 404 and not out.get("Error", {}).get("Code", "x").strip("0123456789")):
            raise not_implemented(call, f"fails in moto with HTTP {status}: {content[-300:]!r}")
        if status >= 300:
            raise Refused(out["Error"]["Code"], out["Error"].get("Message") or "", status)
        out.pop("ResponseMetadata", None)
        return out

    def reset(self):
        """Forgets everything in every account and region."""
        environ = {"REQUEST_METHOD": "POST", "PATH_INFO": "/moto-api/reset", "SCRIPT_NAME": "", "QUERY_STRING": "", "SERVER_NAME": "127.0.0.1", "SERVER_PORT": "80",
                   "SERVER_PROTOCOL": "HTTP/1.1", "HTTP_HOST": "127.0.0.1", "CONTENT_LENGTH": "0", "CONTENT_TYPE": "", "wsgi.input": io.BytesIO(b""),
                   "wsgi.url_scheme": "http", "wsgi.errors": io.StringIO(), "wsgi.version": (1, 0), "wsgi.multithread": True, "wsgi.multiprocess": False, "wsgi.run_once": False}
        self.forward(environ)

    def forward(self, environ, call=None):
        """(status, headers, body) of a WSGI request as moto answers it."""
        told = {}

        def start(line, headers, _error=None):
            told.update(status=int(line.split()[0]), headers={k.lower(): v for k, v in headers})

        try:
            content = b"".join(self.app(environ, start))
        except Exception as error:
            if call is None:
                raise
            raise not_implemented(call, f"fails in moto: {type(error).__name__}: {error}") from error
        return told["status"], told["headers"], content
