"""Webhooks: events sent to URLs that apps have registered, signed, in order, at least once.

`webhooks` keeps registrations and drives the deliveries, `sending` posts one, `targets` knows where to, `signature` proves whose it is.
A receiver needs only `verify`, which loads nothing else.
"""

from ecovisor.adapters.callbacks.signature import SignatureError, verify

__all__ = ["SignatureError", "verify"]
