"""``python -m node`` is the command ``quorate``."""

from node.cli import main

if __name__ == "__main__":
    main()
