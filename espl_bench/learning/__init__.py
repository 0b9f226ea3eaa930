"""How weights learn from rollouts: rewards to advantages, trajectories to data, data to a loss."""
