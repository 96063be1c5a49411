"""`python -m nestdsl`."""

import sys

from nestdsl.cli.main import main

sys.exit(main())
