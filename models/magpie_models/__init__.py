"""Training, export and evaluation of Magpie's embedding network."""
