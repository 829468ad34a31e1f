"""The measurements of `parallelization.py`.

systems.py   the matrices, with their spectra
figures.py   the bound, the batch sizes, the acceptance figures
threads.py   seconds per pass over the number of threads
drawing.py   the pictures
"""
