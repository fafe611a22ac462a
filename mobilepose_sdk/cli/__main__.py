"""``python -m mobilepose_sdk.cli``, where the program is not on the path."""

import sys

from mobilepose_sdk.cli import main

if __name__ == "__main__":
    sys.exit(main())
