"""Anti-spam: what a message says, how it is built and what that is worth. Facts and their weight, no decision.

Content checks run in the filter over a `view.MailView`; network checks run in the relay. `policy` makes a status of it.
"""

import os

# numpy's threads would start with its import, and the filters' template must have one thread when it forks.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
