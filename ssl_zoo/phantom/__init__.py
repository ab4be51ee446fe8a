"""A synthetic fetal heart under ultrasound: scans and labelled planes for trying the suite. No clinical evidence.

`write_cohort` writes the files that a hospital would; the other rooms meet the phantom through those files alone.
"""

from ssl_zoo.phantom.cohort import structure_mask, write_cohort

__all__ = ["structure_mask", "write_cohort"]
