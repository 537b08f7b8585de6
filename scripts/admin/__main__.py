"""`python -m scripts.admin`; `parley admin` is the same."""

import sys

from scripts.admin.cli import main

if __name__ == "__main__":
    sys.exit(main())
