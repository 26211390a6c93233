import gc

gc.set_threshold(100_000)  # as in the command: libraries make objects by the hundred thousand
