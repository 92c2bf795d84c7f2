"""Auto-encoders and models with latent variables."""
