"""What operator commands ask of the REST interface; a test proves that the server's table of routes agrees."""

from __future__ import annotations

from ecovisor import wire
from ecovisor.client.endpoints import Endpoint

SITE = Endpoint("GET", "/v1/admin/site", wire.SiteSnapshot)
APPS = Endpoint("GET", "/v1/admin/apps", list[wire.AppEntry])
ADD_APP = Endpoint("POST", "/v1/admin/apps", wire.Credentials, wire.AddApp)
REMOVE_APP = Endpoint("DELETE", "/v1/admin/apps/{name}", wire.SettingAnswer)
SET_SHARES = Endpoint("PUT", "/v1/admin/shares", wire.SettingAnswer, wire.ChangeShares)
ROTATE_APP = Endpoint("POST", "/v1/admin/apps/{name}/token", wire.Credentials, query=("grace", "lifetime"))
ROTATE_OPERATOR = Endpoint("POST", "/v1/admin/token", wire.Credentials, query=("grace", "lifetime"))
