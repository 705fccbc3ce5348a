"""Batches that survive anything: a journal of what was made of what, and the plan of what is left to do.

Nothing here knows the command line: any front end that enlarges files may work by the same journal.
"""
