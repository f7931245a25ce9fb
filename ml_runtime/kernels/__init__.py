"""The inner loops, compiled by numba: int64 in, int64 out, no allocation of objects.

One file for each way of learning. Tables and constants come in as arguments, because the compiler's
cache looks at nothing but a kernel's own file. Each kernel has a plain twin of the same name in
``ml_runtime/kernels/reference/`` that gives the same bits. Signatures are explicit, so that a call
costs microseconds and compilation happens when the module is loaded, once for each machine. Integer
arithmetic does not depend on the processor, the order of loops or the number of threads.

Places in the sparse loops are unsigned, because the compiler tests a signed index for being
negative at every access, which costs more than the multiplication. Such a number must never meet a
signed one in arithmetic: the result would be a float. Source: docs/spec/ml.md §2, §5.
"""
