"""What a worker process does: solve, store a matrix, export one. Each task is ``task(context, request)``."""
