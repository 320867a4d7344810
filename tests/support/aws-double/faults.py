"""What goes wrong on purpose: throttling, missing permission, DryRun, and single faults that a test orders.

A fault is {"operation": "eks:CreateCluster" ("*" for any), "times": 1, "delay": seconds, "code": …, "status": …, "message": …,
"after": true (do it, then answer so), "lose": true (do it, then break the connection)}.
"""
from wire import JSON, Refused

# What each service says when it is asked too often, and its HTTP status.
THROTTLED = {"ec2": ("RequestLimitExceeded", 503), "eks": ("ThrottlingException", 429), "s3": ("SlowDown", 503)}
DENIED = {"ec2": ("UnauthorizedOperation", 403), "s3": ("AccessDenied", 403), "eks": ("AccessDeniedException", 403)}


def of(account, call):
    """The fault ordered for this call, used up by it; else an empty one."""
    for fault in account.settings["faults"]:
        if fault.get("operation") in ("*", f"{call.service}:{call.name}") and fault.get("times", 1) > 0:
            fault["times"] = fault.get("times", 1) - 1
            return fault
    return {}


def ordered(fault):
    return Refused(fault["code"], fault.get("message", "ordered by the test"), fault.get("status", 400))


def early(account, call, fault):
    """Refuses the call before anything has happened."""
    if "code" in fault and not fault.get("after"):
        raise ordered(fault)
    if account.random.random() < account.settings["throttle"]:
        code, status = THROTTLED.get(call.service, ("ThrottlingException" if call.protocol in JSON else "Throttling", 400))
        raise Refused(code, "Rate exceeded", status)
    if f"{call.service}:{call.name}" in account.settings["denied"]:
        code, status = DENIED.get(call.service, ("AccessDeniedException", 400) if call.protocol in JSON else ("AccessDenied", 403))
        who = account.principal(call.key)["arn"]
        raise Refused(code, f"User: {who} is not authorized to perform: {call.service}:{call.name}", status)
    if call.parameters.pop("DryRun", None):
        raise Refused("DryRunOperation", "Request would have succeeded, but DryRun flag is set.", 412)


def late(fault, raw):
    """The answer that the client gets of a call that was done."""
    if fault.get("lose"):
        return None, {}, b""
    if "code" in fault:
        raise ordered(fault)
    return raw
