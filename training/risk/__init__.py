"""What training minimises: costs, budget weights, the joint risk, and the baselines' variants of it."""
