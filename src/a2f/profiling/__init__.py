"""The cost of a network: parameters, operations, time, memory."""
