"""What torch.optim lacks."""
