"""The fourth phase: the bodies of models and blocks become a graph, with levels that wait to be completed."""
