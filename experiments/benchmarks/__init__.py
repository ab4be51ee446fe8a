"""Speed and memory, measured as ratios within one run; `README.md` has the results and the commands.

Threads that wait for each other sleep here instead of spinning (OMP_WAIT_POLICY). Where other programs want the same
cores, spinning threads make the smallest operations many times slower, and the comparison one of luck. It has to be
said before torch is imported, and holds for both sides of every comparison.
"""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
