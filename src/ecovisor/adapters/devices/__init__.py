"""Energy devices of a site: each driver implements `ecovisor.ports.live.EnergyPlant` as far as its device can.

`emulated` is a whole plant in arithmetic, for sites without one: in a process of its own (`plant_process`, reached through
`emulated_client`), or in ours (`in_process`) for tests and lockstep.
"""
