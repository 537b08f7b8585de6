"""`python -m scripts.bench`, and `python -m scripts.bench peers`."""

import sys

from scripts.bench import cli
from scripts.bench.peers import cli as peers_cli

if __name__ == "__main__":
    arguments = sys.argv[1:]
    sys.exit(peers_cli.main(arguments[1:]) if arguments[:1] == ["peers"] else cli.main(arguments))
