"""What a robot's recorded frame_status says: budgets, overhead and slowdown, and which paths would pay."""
