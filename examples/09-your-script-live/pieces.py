"""Works through many pieces, each of them only on clean power or on the sun's own, and says how far it is."""

import hashlib

from ecovisor import connect

PIECES = 300
CLEAN_G_PER_KWH = 180.0
ENOUGH_SUN_W = 5.0


def work_on(piece: int) -> None:
    hashlib.pbkdf2_hmac("sha256", b"piece", piece.to_bytes(8, "big"), 100_000)


def main() -> None:
    with connect() as app:  # a container's environment says where, and who one is
        for piece in range(PIECES):
            while app.get_grid_carbon() > CLEAN_G_PER_KWH and app.get_solar_power() < ENOUGH_SUN_W:
                print(f"piece {piece} waits: {app.get_grid_carbon():.0f} g/kWh, {app.get_solar_power():.1f} W of sun", flush=True)
                app.wait_for_tick()
            work_on(piece)
            if piece % 20 == 0:
                print(f"piece {piece} of {PIECES}", flush=True)
                app.report(work_done=piece, work_total=PIECES)
        app.report(work_done=PIECES, work_total=PIECES)


if __name__ == "__main__":
    main()
