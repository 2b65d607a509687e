"""Reading what an earlier run stored."""

import zipfile

# What np.load raises for a file that is missing, empty, truncated or something else.
DAMAGED = (OSError, ValueError, EOFError, zipfile.BadZipFile)
