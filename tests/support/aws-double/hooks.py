"""Who does what: operations the double answers itself, and what it does before and after moto's answer.

`implements` is called with (account, call) and gives the result; `before` may change the call's parameters, refuse, or
answer in place of moto; `after` may change moto's result.
"""
IMPLEMENTED, BEFORE, AFTER = {}, {}, {}


def implements(service, *names):
    """Marks the function that answers these operations of a service in place of moto."""
    def mark(function):
        IMPLEMENTED.update({(service, name): function for name in names})
        return function
    return mark


def before(service, *names):
    """Marks a function that judges these operations before moto sees them; functions run in the order of their files."""
    def mark(function):
        for name in names:
            BEFORE.setdefault((service, name), []).append(function)
        return function
    return mark


def after(service, *names):
    """Marks a function that sees moto's result of these operations."""
    def mark(function):
        for name in names:
            AFTER.setdefault((service, name), []).append(function)
        return function
    return mark
