"""Functions from hyperparameters to runs, one per published experiment."""
