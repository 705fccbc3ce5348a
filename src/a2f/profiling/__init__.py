"""What a network costs: parameters, operations, time."""
