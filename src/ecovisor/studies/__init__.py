"""Studies: the evaluations that others published, run again on real traces, with what can be claimed and what cannot.

One module a figure. `findings` has what a study comes to, `traces` where its data come from, `folder` what it leaves behind,
`report` how several of them are read together.
"""
