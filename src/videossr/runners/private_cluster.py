"""Keep others from a Ray cluster that is started on this machine, for `videossr index VIDEOS --out OUT --ray local`.

A Ray cluster runs whatever code it is sent. Needs Ray.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager

from ray._private import ray_constants
from ray._private.authentication import authentication_token_setup as setup


@contextmanager
def private_cluster() -> Iterator[None]:
    """Let a cluster that is started meanwhile listen on loopback alone, and refuse processes without its token.

    The token is new, and only in the environment of this process and of the cluster's: Ray by itself would write one
    into the user's home, for every cluster and in a file that other users can read.
    """
    before = {name: os.environ.get(name) for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")}
    spreads = ray_constants.ENABLE_RAY_CLUSTER
    try:
        os.environ.pop("RAY_AUTH_TOKEN_PATH", None)
        os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
        ray_constants.ENABLE_RAY_CLUSTER = False  # Ray's own way to an address of loopback, by default on macOS only
        _reread_authentication()
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value
        ray_constants.ENABLE_RAY_CLUSTER = spreads
        _reread_authentication()


def _reread_authentication() -> None:
    """Let Ray read again from the environment which token it has, if any."""
    setup.Config.initialize("")
    setup.AuthenticationTokenLoader.instance().reset_cache()
