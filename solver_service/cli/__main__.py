"""``python -m solver_service.cli`` is ``solver-service``."""

from .main import main

if __name__ == "__main__":
    main(prog_name="solver-service")
