"""The contest of `solvers.py`: systems × contestants, each pair in a process of its own.

systems.py       the matrices
contestants.py   who solves them, and how each is called
without_direct.py  how `auto` is kept from factorising
arena.py         one pair: the process, the clock, the limit, the judge
summary.py       the acceptance figures
profiles.py      performance profiles
tables.py        Markdown
"""
