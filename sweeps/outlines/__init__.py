"""Outlines: what a command that only looks needs of a sweep of the release, without torch.

An outline has the trials of a sweep, and the facts about them that earlier commands computed (see
`sweeps.cell.fact`). It is kept in the user's cache folder.
"""
