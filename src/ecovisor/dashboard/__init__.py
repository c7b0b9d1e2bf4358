"""The page at `/`: what a person sees of a running site in a browser. It only reads the REST interface.

`serving` says how the files in `static/` reach the browser; `static/main.js` is where the page begins.
"""

from ecovisor.dashboard.serving import routes

__all__ = ["routes"]
