"""Fixed-point model families, kernels and encoders: arrays in, arrays out, no chain words."""
