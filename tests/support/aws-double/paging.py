"""Pages and filters, done once for all services: moto is asked for everything, and what the client wanted is cut from that."""
import base64
import fnmatch

import jmespath

from ec2 import hide
from closed import FILTERS, PASSED_ON
from wire import Refused

# Describe calls whose list of ids excludes a page size.
IDS_ALONE = {"DescribeInstances": "InstanceIds", "DescribeNetworkInterfaces": "NetworkInterfaceIds", "DescribeVolumes": "VolumeIds"}


def listed(account, call):
    """The page of the operation's result that the client asked for, filtered."""
    paged, filters = call.pages, taken_filters(call)
    if paged is None:
        return filtered(call, filters, hide(account, call, account.perform(call)))
    token = call.parameters.pop(paged["input_token"], None)
    limit = call.parameters.pop(paged["limit_key"], None) if "limit_key" in paged else None
    ids = IDS_ALONE.get(call.name)
    if ids and call.parameters.get(ids) and limit:
        raise Refused("InvalidParameterCombination", f"The parameter {ids} cannot be used with the parameter maxResults")
    result = filtered(call, filters, hide(account, call, everything(account, call, paged)))
    sizes = [size for size in (limit, account.settings["pageSize"]) if size]
    if not sizes or (ids and call.parameters.get(ids)):
        return result
    return cut(call, paged, result, start(call, token), min(sizes))


def everything(account, call, paged):
    """The whole result, over as many pages as moto cuts it into."""
    if call.service == "iam" and "limit_key" in paged:
        call.parameters[paged["limit_key"]] = 1000
    whole = result = account.perform(call)
    name = key(paged)
    while more := jmespath.search(paged["output_token"], result):
        call.parameters[paged["input_token"]] = more
        result = account.perform(call)
        whole[name].extend(result.get(name, []))
    whole.pop(paged["output_token"], None)
    whole.pop(paged.get("more_results", ""), None)
    call.parameters.pop(paged["input_token"], None)
    return whole


def key(paged):
    """Name of the list that is cut."""
    return paged["result_key"][0] if isinstance(paged["result_key"], list) else paged["result_key"]


def start(call, token):
    """Where a page begins; a token the double did not give out is refused."""
    if token is None:
        return 0
    try:
        name, offset = base64.b64decode(token, validate=True).decode().split("@")
        if name == call.name:
            return int(offset)
    except ValueError:
        pass
    code = "InvalidParameterException" if call.service == "eks" else "InvalidNextToken"
    raise Refused(code, "The token is not one that this operation gave out.")


def cut(call, paged, result, first, size):
    """One page, with the token of the next one when there is one."""
    items = result.get(key(paged), [])
    page = {**result, key(paged): items[first:first + size]}
    more = first + size < len(items)
    if more:
        page[paged["output_token"]] = base64.b64encode(f"{call.name}@{first + size}".encode()).decode()
    if "more_results" in paged:
        page[paged["more_results"]] = more
    return page


def taken_filters(call):
    """The call's filters, taken out of its parameters where the double applies them itself."""
    if call.service != "ec2" or call.name not in FILTERS or call.name in PASSED_ON:
        return []
    return call.parameters.pop("Filters", None) or call.parameters.pop("Filter", None) or []


def filtered(call, filters, result):
    """The result without the items that a filter does not let through."""
    if not filters:
        return result
    name, paths = FILTERS[call.name]
    if name == "Reservations":
        kept = ({**held, "Instances": [i for i in held["Instances"] if passes(i, filters, paths)]} for held in result[name])
        return {**result, name: [held for held in kept if held["Instances"]]}
    return {**result, name: [item for item in result.get(name, []) if passes(item, filters, paths)]}


def passes(item, filters, paths):
    """Whether every filter finds one of its values in the item."""
    return all(any(fnmatch.fnmatchcase(found, wanted) for found in values(item, f["Name"], paths) for wanted in f.get("Values", [])) for f in filters)


def values(item, name, paths):
    """What the item has under a filter's name, as text."""
    tags = item.get("Tags") or item.get("TagSet") or []
    if name.startswith("tag:"):
        return [tag["Value"] for tag in tags if tag["Key"] == name[4:]]
    if name == "tag-key":
        return [tag["Key"] for tag in tags]
    found = jmespath.search(paths[name], item)
    found = found if isinstance(found, list) else [found]
    return [str(value).lower() if isinstance(value, bool) else str(value) for value in found if value is not None]
