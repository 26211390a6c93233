"""ProxOptimizer: quantization in anybody's training loop, with the conventions of torch.optim."""
