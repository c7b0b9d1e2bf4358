"""Containers as process groups on this machine.

`platform` is the server's side of it: it fills the port. `keeper` is a small program of its own, the parent of all containers, which
goes on when the server ends, whatever ended it: it starts them, caps them, takes their output, and knows how they ended. `survey` says
which way of capping this machine allows.

Server: `platform`, `keeper_client`, `survey`, `users`. Keeper, on the standard library alone: `keeper`, `loop`, `containers`, `spawn`,
`output`, `sessions`, `duty_cycle`. Both: `protocol`, `folders`, `cgroups`, `processes`.
"""
