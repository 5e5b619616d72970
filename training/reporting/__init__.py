"""Tables and charts of evaluations."""
