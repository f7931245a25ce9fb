"""The kernels again, in plain Python and numpy: what they must compute, bit for bit.

Slow and obvious. The tests hold ``ml_runtime.kernels`` to these on random and adversarial input, on
every processor they run on; a second implementation can be written from them.
"""
