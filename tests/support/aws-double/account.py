"""The account behind the double: its lock, settings, clock, keys, calls made so far, and moto below it."""
import copy
import heapq
import itertools
import random
import threading
import time
from datetime import datetime, timezone

from hooks import AFTER, BEFORE, IMPLEMENTED
from upstream import Moto
from wire import ACCOUNT, Call, Refused

OWNER = f"arn:aws:iam::{ACCOUNT}:user/test"

# Real seconds on AWS; the sources are published logs of cluster creations, see README.md.
DURATIONS = {
    "cluster": 540, "nodegroup": 110, "addon": 46, "nat": 95, "endpoint": 5, "clusterDelete": 180, "nodegroupDelete": 140,
    "natDelete": 60, "accessEntry": 5, "loadBalancer": 10, "volume": 5, "apiAfterActive": 0, "accessSpread": 0, "visible": 0,
    "clusterUpdate": 60, "nodegroupUpdate": 30, "addonDelete": 20, "joinFailure": 1260, "podEviction": 300,
}
# Default quotas of a new account, per region: vCPUs of standard on-demand instances are few at first.
QUOTAS = {
    "vpc": 5, "addresses": 5, "natPerZone": 5, "internetGateways": 5, "clusters": 100, "nodegroups": 30, "vcpu": 64,
    "spotVcpu": 64, "securityGroups": 2500, "subnetsPerVpc": 200, "networkInterfaces": 5000,
}
DEFAULTS = {
    "scale": 1.0, "durations": DURATIONS, "iamPropagation": 0, "pageSize": None, "throttle": 0.0, "seed": 1,
    "zonesWithoutEks": [], "zonesWithoutCapacity": [], "typesWithoutCapacity": [], "nodegroupFails": None,
    "nodegroupDeleteFails": None, "updateFails": None,
    "addonDegraded": [], "clusterFails": False, "quotas": QUOTAS, "denied": [], "pdbBlocks": True,
    "enforceCredentials": False, "versions": ["1.33", "1.34", "1.35"], "defaultVersion": "1.34", "faults": [],
    "endpointByName": False,
}


def utcnow():
    """This moment as the service models want it: UTC without a zone."""
    return datetime.now(timezone.utc).replace(tzinfo=None)


class Account:
    """All state. Every method is called with `lock` held, except where it says otherwise."""

    def __init__(self, folder, programs, scale):
        self.lock = threading.RLock()
        self.folder, self.programs, self.url = folder, programs, None
        self.scale_at_start = scale
        self.moto = Moto()
        self.calls = []
        self.clear()

    def clear(self):
        """A fresh account with the settings of the start; moto's own state is not touched."""
        self.settings = copy.deepcopy(DEFAULTS) | {"scale": self.scale_at_start}
        self.random = random.Random(self.settings["seed"])
        self.agenda, self.order, self.ahead = [], itertools.count(), 0.0
        self.calls.clear()
        self.regions = {"us-east-1"}
        self.keys = {"test": {"secret": "test", "arn": OWNER, "id": "AIDATESTTESTTESTTEST1"}}
        self.born, self.roles, self.tokens = {}, {}, {}
        self.parts = {}

    def reset(self):
        """Ends the clusters' API servers and empties the account."""
        clusters = self.running()
        self.clear()
        self.moto.reset()
        for cluster in clusters:
            threading.Thread(target=cluster.stop_plane, daemon=True).start()

    def running(self):
        """Every cluster there is."""
        return [cluster for part in self.parts.values() for cluster in getattr(part, "clusters", {}).values()]

    def end(self):
        """Ends everything the double started; takes the lock only for the list of it."""
        with self.lock:
            clusters = self.running()
            self.parts = {}
        for cluster in clusters:
            cluster.stop_plane()

    def part(self, kind, *arguments):
        """The one object of a class for these arguments, made when it is first asked for."""
        key = (kind, *arguments)
        if key not in self.parts:
            self.parts[key] = kind(self, *arguments)
        return self.parts[key]

    def configure(self, changes):
        """Merges settings; a key the double does not have is refused by name."""
        for key, value in changes.items():
            if key not in self.settings:
                raise Refused("NotImplementedByDouble", f"there is no setting {key}; there are {sorted(self.settings)}", 501)
            if key in ("durations", "quotas"):
                unknown = set(value) - set(self.settings[key])
                if unknown:
                    raise Refused("NotImplementedByDouble", f"there is no setting {key}.{min(unknown)}", 501)
                self.settings[key].update(value)
            else:
                self.settings[key] = value
            if key == "seed":
                self.random = random.Random(value)

    def now(self):
        """Seconds on the account's clock: this machine's, and what tests have put it forward by."""
        return time.monotonic() + self.ahead

    def advance(self, real):
        """Puts the clock forward by real seconds, scaled as all durations are; what is due on the way happens in order."""
        self.ahead += self.seconds(real)
        self.settle()

    def seconds(self, duration):
        """Seconds of this machine for a duration, by name or in real seconds."""
        real = self.settings["durations"][duration] if isinstance(duration, str) else duration
        return real * self.settings["scale"]

    def later(self, duration, action):
        """Has `action()` done when the duration is over, at the latest when somebody asks next."""
        heapq.heappush(self.agenda, (self.now() + self.seconds(duration), next(self.order), action))

    def soon(self, action):
        """Has `action()` done at the next look that is at least 50 ms away: for what waits for something else."""
        heapq.heappush(self.agenda, (self.now() + 0.05, next(self.order), action))

    def settle(self):
        """Does everything whose time has come."""
        until = self.now()
        while self.agenda and self.agenda[0][0] <= until:
            heapq.heappop(self.agenda)[2]()

    def perform(self, call):
        """Result of a call as the account's rules and moto have it."""
        key = (call.service, call.name)
        if key in IMPLEMENTED:
            return IMPLEMENTED[key](self, call) or {}
        for judge in BEFORE.get(key, ()):
            instead = judge(self, call)
            if instead is not None:
                return instead
        result = self.moto.call(call.service, call.name, call.region, call.parameters)
        for change in AFTER.get(key, ()):
            result = change(self, call, result) or result
        return result

    def do(self, service, name, region, **parameters):
        """The account's own use of an operation: all rules hold, nothing is logged."""
        return self.perform(Call(service, name, parameters, region))

    def moto_do(self, service, name, region, **parameters):
        """Straight to moto, past the rules: for what AWS itself does in a customer's account."""
        return self.moto.call(service, name, region, parameters)

    def principal(self, key):
        """ARN of the caller that a key id stands for; unknown keys are the account's owner, unless credentials are enforced."""
        return self.keys.get(key, self.keys["test"])
