"""``python -m kallista`` is ``kallista``."""

from kallista.cli.main import main

if __name__ == "__main__":
    main()
