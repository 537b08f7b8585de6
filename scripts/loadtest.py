"""The load tester as a script of its own; `parley load` is the same."""

import sys

from scripts.load.cli import main

if __name__ == "__main__":
    sys.exit(main())
