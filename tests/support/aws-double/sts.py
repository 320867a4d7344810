"""Who is calling: keys, signatures (AWS Signature Version 4), and the review of EKS tokens for the clusters' API servers."""
import base64
import hashlib
import hmac
import json
import time
from calendar import timegm
from datetime import timedelta
from urllib.parse import parse_qs, parse_qsl, quote, urlsplit

from account import utcnow
from hooks import after, implements
from wire import ACCOUNT, Refused

PREFIX = "k8s-aws-v1."
# A token is good for a quarter of an hour after it was signed, whatever its address says.
TOKEN_SECONDS = 900


@implements("sts", "GetCallerIdentity")
def get_caller_identity(account, call):
    who = account.principal(call.key)
    return {"Account": ACCOUNT, "Arn": who["arn"], "UserId": who["id"]}


@after("sts", "AssumeRole")
def assume_role(account, call, result):
    given, user = result["Credentials"], result["AssumedRoleUser"]
    account.keys[given["AccessKeyId"]] = {"secret": given["SecretAccessKey"], "token": given["SessionToken"], "arn": user["Arn"], "id": user["AssumedRoleId"]}
    given["Expiration"] = utcnow() + timedelta(seconds=call.parameters.get("DurationSeconds", 3600))


@after("iam", "CreateAccessKey")
def create_access_key(account, call, result):
    made = result["AccessKey"]
    user = account.do("iam", "GetUser", call.region, UserName=made["UserName"])["User"]
    account.keys[made["AccessKeyId"]] = {"secret": made["SecretAccessKey"], "arn": user["Arn"], "id": user["UserId"]}


@after("iam", "DeleteAccessKey")
def delete_access_key(account, call, _result):
    account.keys.pop(call.parameters["AccessKeyId"], None)


def sign(secret, scope, moment, canonical):
    """Signature of a canonical request."""
    date, region, service, end = scope.split("/")
    key = b"AWS4" + secret.encode()
    for part in (date, region, service, end):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    text = "\n".join(("AWS4-HMAC-SHA256", moment, scope, hashlib.sha256(canonical.encode()).hexdigest()))
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()


def canonical(method, path, query, headers, names, digest):
    """The text that is signed; `query` is a list of decoded pairs."""
    encoded = sorted((quote(k, safe="-_.~"), quote(v, safe="-_.~")) for k, v in query)
    return "\n".join((method, path or "/", "&".join(f"{k}={v}" for k, v in encoded),
                      "".join(f"{name}:{' '.join(headers.get(name, '').split())}\n" for name in names.split(";")), names, digest))


def verified(account, call, environ, body):
    """Refuses a call whose signature is not that of the key's secret, when the settings ask for it."""
    header = environ.get("HTTP_AUTHORIZATION")
    if not account.settings["enforceCredentials"] or header is None:
        return
    parts = dict(p.strip().split("=", 1) for p in header.split(" ", 1)[1].split(","))
    key, scope = parts["Credential"].split("/", 1)
    if key not in account.keys:
        raise Refused({"ec2": "AuthFailure", "eks": "UnrecognizedClientException"}.get(call.service, "InvalidClientTokenId"),
                      "The security token included in the request is invalid.", 403)
    headers = {k[5:].lower().replace("_", "-"): v for k, v in environ.items() if k.startswith("HTTP_")}
    headers |= {"content-type": environ.get("CONTENT_TYPE", ""), "content-length": environ.get("CONTENT_LENGTH", "")}
    path = urlsplit(environ.get("RAW_URI") or environ.get("REQUEST_URI") or environ["PATH_INFO"]).path
    if call.service != "s3":
        path = quote(path, safe="/-_.~")
    digest = headers.get("x-amz-content-sha256") or hashlib.sha256(body).hexdigest()
    query = parse_qsl(environ.get("QUERY_STRING", ""), keep_blank_values=True)
    text = canonical(environ["REQUEST_METHOD"], path, query, headers, parts["SignedHeaders"], digest)
    if not hmac.compare_digest(sign(account.keys[key]["secret"], scope, headers["x-amz-date"], text), parts["Signature"]):
        code = "AuthFailure" if call.service == "ec2" else "InvalidSignatureException" if call.service == "eks" else "SignatureDoesNotMatch"
        raise Refused(code, "The request signature we calculated does not match the signature you provided.", 403)


def identity_of(account, token, cluster):
    """The key behind an EKS token; raises ValueError with the reason when the token is not good for the cluster."""
    if not token.startswith(PREFIX):
        raise ValueError(f"the token does not begin with {PREFIX}")
    text = token[len(PREFIX):]
    address = urlsplit(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode())
    query = dict(parse_qsl(address.query, keep_blank_values=True))
    if query.get("Action") != "GetCallerIdentity":
        raise ValueError("the token's action is not GetCallerIdentity")
    key, scope = query["X-Amz-Credential"].split("/", 1)
    names = query["X-Amz-SignedHeaders"]
    if "x-k8s-aws-id" not in names.split(";"):
        raise ValueError("x-k8s-aws-id is not among the signed headers")
    if not 0 < int(query["X-Amz-Expires"]) <= TOKEN_SECONDS:
        raise ValueError("X-Amz-Expires is not between 1 and 900")
    signed = timegm(time.strptime(query["X-Amz-Date"], "%Y%m%dT%H%M%SZ"))
    if not -300 <= time.time() - signed <= TOKEN_SECONDS:
        raise ValueError("the token was signed more than 15 minutes ago, or in the future")
    if key not in account.keys:
        raise ValueError("nobody has the token's key")
    held = account.keys[key]
    if held.get("token") and query.get("X-Amz-Security-Token") != held["token"]:
        raise ValueError("the token's session is not that of its key")
    pairs = [(k, v) for k, v in parse_qsl(address.query, keep_blank_values=True) if k != "X-Amz-Signature"]
    host = address.hostname if address.port in (None, 80 if address.scheme == "http" else 443) else address.netloc
    text = canonical("GET", address.path, pairs, {"host": host, "x-k8s-aws-id": cluster}, names, hashlib.sha256(b"").hexdigest())
    if not hmac.compare_digest(sign(held["secret"], scope, query["X-Amz-Date"], text), query["X-Amz-Signature"]):
        raise ValueError("the signature is not that of the key's secret for this cluster")
    return held


def review(account, environ, body):
    """TokenReview (authentication.k8s.io/v1) of a bearer token.

    The cluster is named by the path, …/token-review/REGION/NAME (an API server drops a query), or by `?cluster=ARN`.
    """
    arn = parse_qs(environ.get("QUERY_STRING", "")).get("cluster", [""])[0]
    region, name = (arn.split(":")[3], arn.split("/")[-1]) if arn else (environ["PATH_INFO"].split("/") + ["", ""])[3:5]
    try:
        status = entry_of(account, region, name, json.loads(body)["spec"]["token"])
    except (ValueError, KeyError, IndexError) as error:
        status = {"authenticated": False, "error": f"the token is refused: {error}"}
    return {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "status": status}


def entry_of(account, region, name, token):
    """Status of a review: the user and groups that the principal's access entry gives it."""
    from eks import Eks
    cluster = account.part(Eks, region).clusters.get(name)
    if cluster is None:
        raise ValueError(f"there is no cluster {name} in {region}")
    held = identity_of(account, token, name)
    entry = cluster.entry_for(held["arn"])
    if entry is None:
        raise ValueError(f"{held['arn']} has no access entry in {name}")
    session = held["arn"].split("/")[-1]
    return {"authenticated": True, "user": {
        "username": entry.data["username"].replace("{{SessionName}}", session), "uid": f"aws-iam-authenticator:{ACCOUNT}:{held['id']}",
        "groups": [*entry.data["kubernetesGroups"], *entry.groups()], "extra": {"arn": [held["arn"]], "sessionName": [session]}}}
