"""`python -I -m gatepost.client NAME`: how mail systems start a client program for each message."""

import sys

from gatepost.client.program import main

sys.exit(main(sys.argv[1:]))
