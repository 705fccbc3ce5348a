"""Run the command ``a2f`` with ``python -m a2f``."""

from a2f.cli.main import main

if __name__ == "__main__":
    main()
