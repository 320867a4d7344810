"""Requests and answers as plain dicts: what AWS's own service models (botocore) say stands on the wire is read and written here.

Every call of every service becomes a `Call`; every refusal is a `Refused`. Nothing here knows what an operation does.
"""
import io
import json
import re
import uuid
from urllib.parse import parse_qsl
from xml.sax.saxutils import escape

from botocore.serialize import create_serializer
from moto.core.model import OperationModel
from moto.core.parse import PROTOCOL_PARSERS
from moto.core.request import Request
from moto.core.routing import NotFound, get_service_router
from moto.core.serialize import XFormedAttributePicker, get_serializer_class
from moto.core.utils import get_pagination_model, get_service_model

ACCOUNT = "123456789012"
# Signing name → service; `elasticloadbalancing` is two services, told apart by the version of their interface.
SIGNED_AS = {
    "servicequotas": "service-quotas", "tagging": "resourcegroupstaggingapi",
    **{name: name for name in ("ec2", "eks", "iam", "sts", "autoscaling", "logs", "s3", "ssm", "kms")},
}
BALANCERS = {"2012-06-01": "elb", "2015-12-01": "elbv2"}
JSON = ("json", "rest-json")
# What the form of a query carries beside the operation's members.
UNMODELLED = {"Action", "Version"}


class Refused(Exception):
    """An error answer of AWS: its code, what it says, its HTTP status, further members of its body."""

    def __init__(self, code, message, status=400, **members):
        super().__init__(f"{code}: {message}")
        self.code, self.message, self.status, self.members = code, message, status, members


def not_implemented(call, what):
    """The refusal of what the double does not do; it names the operation and the member."""
    return Refused("NotImplementedByDouble", f"{call.service}:{call.name} {what}", 501)


class Call:
    """One request: service, operation name and model, parameters, region and who signed it."""

    def __init__(self, service, name, parameters, region, key="test", extra=()):
        self.service, self.name, self.parameters, self.region, self.key = service, name, parameters, region, key
        self.extra = list(extra)

    @property
    def model(self):
        service = get_service_model(self.service)
        return service.operation_model(self.name) if self.name in service.operation_names else OperationModel({}, service)

    @property
    def known(self):
        return self.name in get_service_model(self.service).operation_names

    @property
    def protocol(self):
        protocols = self.model.service_model.metadata.get("protocols") or [self.model.service_model.metadata["protocol"]]
        return next((p for p in protocols if p in PROTOCOL_PARSERS), "json")

    @property
    def pages(self):
        """The service's own description of the operation's pages; None for one without, and for S3's."""
        found = get_pagination_model(self.service).get(self.name)
        return None if found is None or isinstance(found["input_token"], list) else found

    @property
    def page_members(self):
        """Names of the members that say which page is wanted."""
        return {self.pages[k] for k in ("input_token", "limit_key") if k in self.pages} if self.pages else set()

    @property
    def mutating(self):
        reads = ("Describe", "List", "Get", "Head", "Simulate")
        return not self.name.startswith(reads) and not self.parameters.get("DryRun")


def scope(environ):
    """(access key, region, signing name) of a signed request, from its header or its address."""
    header = environ.get("HTTP_AUTHORIZATION", "")
    found = re.search(r"Credential=([^/]+)/\d{8}/([^/]+)/([^/]+)/aws4_request", header)
    if found is None:
        query = dict(parse_qsl(environ.get("QUERY_STRING", "")))
        found = re.match(r"([^/]+)/\d{8}/([^/]+)/([^/]+)/aws4_request", query.get("X-Amz-Credential", ""))
    return found.groups() if found else None


def read(environ, body):
    """The call in a WSGI request, or None when it is signed for no service the double knows."""
    signed = scope(environ)
    if signed is None:
        return None
    key, region, name = signed
    request = Request({**environ, "wsgi.input": io.BytesIO(body)})
    form = dict(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True)) if "urlencoded" in environ.get("CONTENT_TYPE", "") else {}
    form = form or dict(request.args)
    service = BALANCERS.get(form.get("Version")) if name == "elasticloadbalancing" else SIGNED_AS.get(name)
    if service is None:
        return None
    model = get_service_model(service)
    labels = {}
    if model.metadata["protocol"].startswith("rest"):
        try:
            operation, labels = get_service_router(service).match(request)
            action = operation.name
        except NotFound:
            action = f"{request.method} {request.path}"
    else:
        action = form.get("Action") or environ.get("HTTP_X_AMZ_TARGET", "unknown").split(".")[-1]
    call = Call(service, action, {}, region, key)
    if not call.known or service == "s3":
        return call
    parser = PROTOCOL_PARSERS[call.protocol](call.model)
    call.parameters = parser.parse({"method": request.method, "values": request.values, "headers": request.headers,
                                    "body": body, "url_path": request.path, "url_params": labels}) or {}
    # Lists of the address that were not sent come out of the parser as empty ones.
    members = call.model.input_shape.members if call.model.input_shape else {}
    call.parameters = {k: v for k, v in call.parameters.items() if v != [] or members[k].serialization.get("location") != "querystring"}
    call.extra = unread(call, form, body)
    return call


def unread(call, form, body):
    """Names of members the client sent that the service's model does not have, at any depth."""
    if call.protocol not in JSON:
        again = create_serializer(call.protocol, include_validation=False).serialize_to_request(call.parameters, call.model)["body"]
        return sorted(key for key, value in form.items() if value and key not in again and key not in UNMODELLED and not key.startswith("X-Amz-"))
    try:
        sent = json.loads(body or b"{}")
    except ValueError:
        raise Refused("SerializationException", "the body is not JSON") from None
    members = call.model.input_shape.members if call.model.input_shape else {}
    query = set(form) - {m.serialization.get("name", n) for n, m in members.items()} if call.protocol == "rest-json" else set()
    return sorted({key for key in query if not key.startswith("X-Amz-")} | set(strange(call.model.input_shape, sent, "")))


def strange(shape, value, path):
    """Paths of the members of a JSON value that its shape does not have."""
    if shape is None or shape.type_name == "structure":
        members = {m.serialization.get("name", n): m for n, m in shape.members.items()} if shape else {}
        for key, inner in value.items():
            if key in members:
                yield from strange(members[key], inner, f"{path}{key}.")
            elif shape is None or key not in shape.members:
                yield path + key
    elif shape.type_name == "list":
        for inner in value or []:
            yield from strange(shape.member, inner, path)


def answer(call, result):
    """(status, headers, body) of a result in the service's own format."""
    serializer = get_serializer_class(call.service, call.protocol)(
        operation_model=call.model, pretty_print=False, value_picker=XFormedAttributePicker())
    out = serializer.serialize(result)
    body = out["body"]
    headers = {**out["headers"], "x-amzn-RequestId": str(uuid.uuid4())}
    return out["status_code"], headers, body.encode() if isinstance(body, str) else body


def refuse(call, refused):
    """(status, headers, body) of a refusal in the service's own format."""
    identity, protocol = str(uuid.uuid4()), call.protocol if call else "rest-json"
    code, message = refused.code, refused.message
    headers = {"x-amzn-RequestId": identity}
    if protocol in JSON:
        body = json.dumps({"__type": code, "message": message, **refused.members})
        headers |= {"Content-Type": "application/json", "x-amzn-ErrorType": code}
        return refused.status, headers, body.encode()
    error = f"<Code>{escape(code)}</Code><Message>{escape(message)}</Message>"
    if protocol == "ec2":
        body = f"<Response><Errors><Error>{error}</Error></Errors><RequestID>{identity}</RequestID></Response>"
    elif protocol == "rest-xml":
        body = f"<Error>{error}<RequestId>{identity}</RequestId></Error>"
    else:
        side = "Receiver" if refused.status >= 500 else "Sender"
        body = f"<ErrorResponse><Error><Type>{side}</Type>{error}</Error><RequestId>{identity}</RequestId></ErrorResponse>"
    return refused.status, {**headers, "Content-Type": "text/xml"}, b'<?xml version="1.0" encoding="UTF-8"?>\n' + body.encode()
