"""The REST interface: one table of routes on Starlette, served by uvicorn.

`routes` is the table; `application` answers requests by it, `server` listens. What the interface asks of the running system is `backend`,
which `ecovisor.live` provides. `tokens` says who somebody is, `problems` what went wrong, `logs` how it is written down.
"""
