"""How a configuration of a search is judged: in which settings and neighbours, and by which limits.

Its trials are the `variants` of its recipe, each with every seed. `WholeSeeds` compares
configurations after whole seeds only, and a `Constraint` excludes those beyond a limit.
"""
