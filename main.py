"""`python main.py` is `octospool serve`; further arguments are passed on to it."""

import sys

from flow_processor.__main__ import main

if __name__ == "__main__":
    sys.exit(main(["serve", *sys.argv[1:]]))
