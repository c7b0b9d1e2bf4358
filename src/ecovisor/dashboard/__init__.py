"""The page at `/`: what a person sees of a running site in a browser. It only reads the REST interface."""
