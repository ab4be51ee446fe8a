"""One thread for each test process: small tensors gain nothing from more, and two test processes share two cores."""

import os

os.environ["OMP_NUM_THREADS"] = "1"  # for the processes that tests start

import torch

torch.set_num_threads(1)
