"""One scenario many times with other values: every combination of them, on all cores or a Dask cluster, in one table."""
