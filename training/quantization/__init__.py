"""Networks in int8: what of a graph is quantised, and how far."""
