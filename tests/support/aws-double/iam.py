"""IAM: whether EKS may assume a role yet, what a simulation of permissions says, and checks that moto leaves out."""
import json
from urllib.parse import unquote

from hooks import after, before, implements
from wire import ACCOUNT, Refused

MANAGED = "arn:aws:iam::aws:policy/"


def invalid(message):
    return Refused("InvalidParameterException", message)


def assumable(account, arn, service, policies):
    """Refuses a role that EKS cannot use: unknown, not propagated yet, trusting somebody else, or without the policies it needs.

    `policies` are names of managed policies; of several in one tuple, one is enough.
    """
    name = arn.split("/")[-1]
    age = account.roles.get(name)
    missing = invalid(f"Role with arn: {arn}, could not be assumed because it does not exist or the trusted entity is not correct")
    if age is not None and account.now() - age < account.seconds(account.settings["iamPropagation"]):
        raise missing
    try:
        role = account.do("iam", "GetRole", "us-east-1", RoleName=name)["Role"]
    except Refused:
        raise missing from None
    if role["Arn"] != arn:
        raise missing
    document = role["AssumeRolePolicyDocument"]
    document = json.loads(unquote(document)) if isinstance(document, str) else document
    if service not in {one for statement in document["Statement"] for one in principals(statement)}:
        raise invalid("Role could not be assumed because the trusted entity is not correct")
    held = account.do("iam", "ListAttachedRolePolicies", "us-east-1", RoleName=name)["AttachedPolicies"]
    attached = {policy["PolicyName"] for policy in held}
    for wanted in policies:
        choices = wanted if isinstance(wanted, tuple) else (wanted,)
        if not attached & set(choices):
            raise invalid(f"The provided role doesn't have the Amazon EKS Managed Policies associated with it. Please ensure the following policies [{', '.join(MANAGED + one for one in choices)}] are attached")


def principals(statement):
    """Services that a statement of a trust policy lets in."""
    who = statement.get("Principal", {})
    found = who.get("Service", []) if isinstance(who, dict) else []
    return found if isinstance(found, list) else [found]


def service_linked(account, service):
    """Makes a service's own role where there is none, as services do when they are first used."""
    try:
        account.moto_do("iam", "CreateServiceLinkedRole", "us-east-1", AWSServiceName=service)
    except Refused as refused:
        if refused.code not in ("InvalidInput", "EntityAlreadyExists"):
            raise


@before("iam", "CreateRole", "UpdateAssumeRolePolicy", "PutRolePolicy", "CreatePolicy")
def well_formed(account, call):
    text = call.parameters.get("AssumeRolePolicyDocument") or call.parameters.get("PolicyDocument")
    try:
        statements = json.loads(text)["Statement"]
    except (ValueError, KeyError, TypeError):
        raise Refused("MalformedPolicyDocument", "The policy document is not JSON with a Statement.") from None
    statements = statements if isinstance(statements, list) else [statements]
    if "AssumeRolePolicyDocument" in call.parameters and not all("Principal" in s for s in statements):
        raise Refused("MalformedPolicyDocument", "AssumeRolepolicy must contain Principal in each statement.")


@after("iam", "CreateRole")
def created(account, call, _result):
    account.roles[call.parameters["RoleName"]] = account.now()


@before("iam", "DeletePolicy")
def attached(account, call):
    policy = account.moto_do("iam", "GetPolicy", call.region, PolicyArn=call.parameters["PolicyArn"])["Policy"]
    if policy.get("AttachmentCount"):
        raise Refused("DeleteConflict", "Cannot delete a policy attached to entities.", 409)


@implements("iam", "SimulatePrincipalPolicy")
def simulate(account, call):
    """Allowed, but for what the settings deny; neither policies nor boundaries are evaluated."""
    arn = call.parameters["PolicySourceArn"]
    kind, name = arn.split(":")[5].split("/", 1) if "/" in arn else ("", arn)
    known = arn in {held["arn"] for held in account.keys.values()}
    if not known and kind == "role":
        account.do("iam", "GetRole", call.region, RoleName=name.split("/")[-1])
    elif not known:
        raise Refused("NoSuchEntity", f"The entity {arn} cannot be found.", 404)
    denied = {one.lower() for one in account.settings["denied"]}
    return {"IsTruncated": False, "EvaluationResults": [
        {"EvalActionName": action, "EvalResourceName": resource, "EvalDecision": "explicitDeny" if action.lower() in denied else "allowed",
         "MatchedStatements": [], "MissingContextValues": []}
        for action in call.parameters["ActionNames"] for resource in call.parameters.get("ResourceArns", ["*"])]}


def role_arn(name):
    return f"arn:aws:iam::{ACCOUNT}:role/{name}"
